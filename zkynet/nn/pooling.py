"""Pooling in 1, 2 and 3 dimensions, of inputs (batch, channels, *space), the batch of which may be missing."""

from __future__ import annotations

import math
from typing import Any

from ..framework import op
from ..framework.errors import InputError
from ..framework.operators.spatial import each_axis
from .recorded import RecordedLayer, static_sizes

_MAX = {1: op.max_pool1d, 2: op.max_pool2d, 3: op.max_pool3d}
_AVG = {1: op.avg_pool1d, 2: op.avg_pool2d, 3: op.avg_pool3d}
_UNPOOL = {1: op.max_unpool1d, 2: op.max_unpool2d, 3: op.max_unpool3d}


class Pool(RecordedLayer):
    """A layer without parameters that applies one function of `op` to its input."""

    space: int
    shown: tuple[str, ...] = ()  # the attributes that `repr` shows

    def pooled(self, input: Any) -> Any:
        """The output, by functions of `op`."""
        raise NotImplementedError  # overridden by all that inherit

    def call(self, input: Any) -> Any:
        return self.replay(self.pooled, input)

    def extra(self) -> str:
        return ", ".join([f"{name}={getattr(self, name)}" for name in self.shown])

    def check(self, **given: Any) -> None:
        """Raise for an argument that is neither an int nor one for each axis."""
        for name, value in given.items():
            each_axis(value, self.space, name, self.functional_name, 0 if name == "padding" else 1)


class _MaxPool(Pool):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 return_indices: bool = False, ceil_mode: bool = False):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self.check(kernel_size=kernel_size, stride=self.stride, padding=padding, dilation=dilation)

    def pooled(self, input: Any) -> Any:
        return _MAX[self.space](input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                                self.return_indices)


class MaxPool1d(_MaxPool):
    """Max pooling along one axis (torch.nn.MaxPool1d); see `MaxPool2d`.

    >>> from zkynet import nn
    >>> nn.MaxPool1d(2)([[[1.0, 3.0, 2.0, 0.0]]]).value.tolist()
    [[[3.0, 2.0]]]
    """

    space = 1


class MaxPool2d(_MaxPool):
    """The largest element of each window (torch.nn.MaxPool2d); the gradient goes to the first, if several are equal.

    y[n, c, p, q] = max_{i, j} x[n, c, p s + i d - pad, q s + j d - pad]

    Args:
        kernel_size, stride, dilation: an int, or one for each axis; the stride is the kernel size by default.
        padding: elements around the input that are never the largest; at most half of the window.
        return_indices: return (y, indices): where the elements are in the flattened plane, int32.
        ceil_mode: also pool a rest that does not fill a window.

    Raises:
        InputError: when the arguments make no sense.
        ShapeError: when an input has another number of axes, or is smaller than the window.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.MaxPool2d(2)(np.arange(16.0, dtype=np.float32).reshape(1, 1, 4, 4)).value.tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    space = 2


class MaxPool3d(_MaxPool):
    """Max pooling in three dimensions (torch.nn.MaxPool3d); see `MaxPool2d`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.MaxPool3d(2)(np.ones((1, 2, 4, 4, 4), np.float32)).shape
    (1, 2, 2, 2, 2)
    """

    space = 3


class _AvgPool(Pool):
    shown = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override
        self.check(kernel_size=kernel_size, stride=self.stride, padding=padding)
        if divisor_override == 0:
            raise InputError(f"{self.functional_name}: divisor_override must not be zero.")

    def pooled(self, input: Any) -> Any:
        return _AVG[self.space](input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                                self.count_include_pad, self.divisor_override)


class AvgPool1d(_AvgPool):
    """Average pooling along one axis (torch.nn.AvgPool1d); see `AvgPool2d`.

    >>> from zkynet import nn
    >>> nn.AvgPool1d(2)([[[1.0, 3.0, 2.0, 0.0]]]).value.tolist()
    [[[2.0, 1.0]]]
    """

    space = 1


class AvgPool2d(_AvgPool):
    """The average of each window (torch.nn.AvgPool2d).

    y[n, c, p, q] = (1 / |window|) sum_{i, j} x[n, c, p s + i - pad, q s + j - pad]

    Args:
        kernel_size, stride: an int, or one for each axis; the stride is the kernel size by default.
        padding: zeros around the input; at most half of the window.
        ceil_mode: also pool a rest that does not fill a window, and divide by what there is of it.
        count_include_pad: whether the padding counts as elements of the average.
        divisor_override: divide all windows by this instead.

    Raises:
        InputError: when the arguments make no sense.
        ShapeError: when an input has another number of axes, or is smaller than the window.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.AvgPool2d(2)(np.arange(16.0, dtype=np.float32).reshape(1, 1, 4, 4)).value.tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """

    space = 2


class AvgPool3d(_AvgPool):
    """Average pooling in three dimensions (torch.nn.AvgPool3d); see `AvgPool2d`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.AvgPool3d(2)(np.ones((1, 2, 4, 4, 4), np.float32)).shape
    (1, 2, 2, 2, 2)
    """

    space = 3


class _LPPool(Pool):
    shown = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False):
        super().__init__()
        if not norm_type:
            raise InputError(f"{self.functional_name}: norm_type must not be zero.")
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode
        self.check(kernel_size=kernel_size, stride=kernel_size if stride is None else stride)

    def pooled(self, input: Any) -> Any:
        return _AVG[self.space](input, self.kernel_size, self.stride, 0, self.ceil_mode, True,
                                None if self.ceil_mode else 1)

    def call(self, input: Any) -> Any:
        p = int(self.norm_type) if self.norm_type == int(self.norm_type) else self.norm_type
        powers = self.replay(self.pooled, op.power(input, p))
        if self.ceil_mode:  # PyTorch's multiplies averages, so that a window at the edge counts as if full
            powers = powers * float(math.prod(each_axis(self.kernel_size, self.space, "", "")))
        return op.power(powers, 1.0 / p)


class LPPool1d(_LPPool):
    """Power-average pooling along one axis (torch.nn.LPPool1d); see `LPPool2d`.

    >>> from zkynet import nn
    >>> nn.LPPool1d(2, 2)([[[3.0, 4.0]]]).value.tolist()
    [[[5.0]]]
    """

    space = 1


class LPPool2d(_LPPool):
    """The p-norm of each window (torch.nn.LPPool2d): y = (sum of x^p over the window)^(1/p).

    The derivative is infinite where the sum is zero, and an odd p gives nan where it is negative.

    Args:
        norm_type: p.
        kernel_size, stride: an int, or one for each axis; the stride is the kernel size by default.
        ceil_mode: also pool a rest that does not fill a window, as if the window were full of its average.

    >>> from zkynet import nn
    >>> nn.LPPool2d(2, (1, 2))([[[[3.0, 4.0]]]]).value.tolist()
    [[[[5.0]]]]
    """

    space = 2


class LPPool3d(_LPPool):
    """Power-average pooling in three dimensions (torch.nn.LPPool3d); see `LPPool2d`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.LPPool3d(2, 2)(np.full((1, 1, 2, 2, 2), 2**0.5, np.float32)).shape
    (1, 1, 1, 1, 1)
    """

    space = 3


class _MaxUnpool(Pool):
    shown = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        super().__init__()
        name, space = self.functional_name, self.space
        self.kernel_size = each_axis(kernel_size, space, "kernel_size", name)
        self.stride = self.kernel_size if stride is None else each_axis(stride, space, "stride", name)
        self.padding = each_axis(padding, space, "padding", name, 0)

    def call(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        if not hasattr(indices, "aval"):
            raise self.no_array([indices])
        size = None if output_size is None else static_sizes(output_size)
        return self.replay(
            lambda x, at: _UNPOOL[self.space](x, at, self.kernel_size, self.stride, self.padding, size),
            input, indices, how=(indices.aval, size))


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of `MaxPool1d` (torch.nn.MaxUnpool1d); see `MaxUnpool2d`.

    >>> from zkynet import nn
    >>> y, indices = nn.MaxPool1d(2, return_indices=True)([[[1.0, 3.0, 2.0, 0.0]]])
    >>> nn.MaxUnpool1d(2)(y, indices).value.tolist()
    [[[0.0, 3.0, 2.0, 0.0]]]
    """

    space = 1


class MaxUnpool2d(_MaxUnpool):
    """The partial inverse of `MaxPool2d` (torch.nn.MaxUnpool2d): x at the places it came from, zeros elsewhere.

    Args:
        kernel_size, stride, padding: those of the pooling.

    Call: `layer(x, indices, output_size=None)` with what `MaxPool2d(..., return_indices=True)` returned;
    `output_size` is the spatial (or whole) shape of what was pooled, which a rest leaves open. Where windows
    overlapped and chose the same element, one of their values stays (on CPU the last) and, as in PyTorch, each of them
    has the gradient of that place. An index outside is dropped.

    Raises:
        ShapeError: when the indices have another shape than x.
        InputError: when output_size is not the shape of anything that was pooled so.

    >>> from zkynet import nn
    >>> y, indices = nn.MaxPool2d(2, return_indices=True)([[[[1.0, 3.0], [2.0, 0.0]]]])
    >>> nn.MaxUnpool2d(2)(y, indices).value.tolist()
    [[[[0.0, 3.0], [0.0, 0.0]]]]
    """

    space = 2


class MaxUnpool3d(_MaxUnpool):
    """The partial inverse of `MaxPool3d` (torch.nn.MaxUnpool3d); see `MaxUnpool2d`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.MaxUnpool3d(2)(np.ones((1, 1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1, 1), np.int32)).shape
    (1, 1, 2, 2, 2)
    """

    space = 3
