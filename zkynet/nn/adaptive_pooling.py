"""Pooling to a given spatial shape, of inputs (batch, channels, *space), the batch of which may be missing; and over
all space, where it may not."""

from __future__ import annotations

from typing import Any

from ..framework import op
from .pooling import Pool

_MAX = {1: op.adaptive_max_pool1d, 2: op.adaptive_max_pool2d, 3: op.adaptive_max_pool3d}
_AVG = {1: op.adaptive_avg_pool1d, 2: op.adaptive_avg_pool2d, 3: op.adaptive_avg_pool3d}


class _Adaptive(Pool):
    shown = ("output_size",)

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * self.space
        self.check(output_size=[1 if n is None else n for n in sizes])


class _AdaptiveAvgPool(_Adaptive):
    def pooled(self, input: Any) -> Any:
        return _AVG[self.space](input, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average pooling to a given length (torch.nn.AdaptiveAvgPool1d); see `AdaptiveAvgPool2d`.

    >>> from zkynet import nn
    >>> nn.AdaptiveAvgPool1d(2)([[[1.0, 3.0, 2.0]]]).value.tolist()
    [[[2.0, 2.5]]]
    """

    space = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average pooling to a given spatial shape (torch.nn.AdaptiveAvgPool2d).

    Window i of m along an axis of n elements goes from floor(i n / m) up to ceil((i + 1) n / m), so that windows
    overlap where m does not divide n.

    Args:
        output_size: an int, or for each axis an int or None (which keeps it).

    Raises:
        InputError: when the size makes no sense.
        ShapeError: when an input has another number of axes, or no elements.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.AdaptiveAvgPool2d((3, None))(np.ones((1, 2, 5, 7), np.float32)).shape
    (1, 2, 3, 7)
    """

    space = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average pooling to a given spatial shape (torch.nn.AdaptiveAvgPool3d); see `AdaptiveAvgPool2d`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.AdaptiveAvgPool3d(2)(np.ones((1, 2, 3, 4, 5), np.float32)).shape
    (1, 2, 2, 2, 2)
    """

    space = 3


class _AdaptiveMaxPool(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def pooled(self, input: Any) -> Any:
        return _MAX[self.space](input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Max pooling to a given length (torch.nn.AdaptiveMaxPool1d); see `AdaptiveMaxPool2d`.

    >>> from zkynet import nn
    >>> nn.AdaptiveMaxPool1d(2)([[[1.0, 3.0, 2.0]]]).value.tolist()
    [[[3.0, 3.0]]]
    """

    space = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Max pooling to a given spatial shape (torch.nn.AdaptiveMaxPool2d), with the windows of `AdaptiveAvgPool2d`.

    Args:
        output_size: an int, or for each axis an int or None (which keeps it).
        return_indices: return (y, indices): where the elements are in the flattened plane, int32.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.AdaptiveMaxPool2d((3, None))(np.ones((1, 2, 5, 7), np.float32)).shape
    (1, 2, 3, 7)
    """

    space = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Max pooling to a given spatial shape (torch.nn.AdaptiveMaxPool3d); see `AdaptiveMaxPool2d`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.AdaptiveMaxPool3d(2)(np.ones((1, 2, 3, 4, 5), np.float32)).shape
    (1, 2, 2, 2, 2)
    """

    space = 3


class GlobalAvgPool(Pool):
    """The average of each plane: (batch, channels, *space) to (batch, channels, 1, ...), for any number of axes.

    An input without a batch is taken for one of fewer spatial axes: give it a batch of 1.

    >>> from zkynet import nn
    >>> nn.GlobalAvgPool()([[[1.0, 3.0, 2.0]]]).value.tolist()
    [[[2.0]]]
    """

    def pooled(self, input: Any) -> Any:
        return op.global_avg_pool(input)


class GlobalMaxPool(Pool):
    """The largest element of each plane: (batch, channels, *space) to (batch, channels, 1, ...); the gradient goes to
    the first, if several are equal. The batch may not be missing (see `GlobalAvgPool`).

    >>> from zkynet import nn
    >>> nn.GlobalMaxPool()([[[1.0, 3.0, 2.0]]]).value.tolist()
    [[[3.0]]]
    """

    def pooled(self, input: Any) -> Any:
        return op.global_max_pool(input)
