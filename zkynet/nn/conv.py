"""Convolution in 1, 2 and 3 dimensions, and transposed."""

from __future__ import annotations

import math
from typing import Any

from ..framework import cg, op
from ..framework.errors import InputError, ShapeError
from ..framework.operators.conv import least_size
from ..framework.operators.spatial import each_axis
from .init import Initialiser
from .recorded import RecordedLayer, static_sizes

_PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
_CONV = {1: op.conv1d, 2: op.conv2d, 3: op.conv3d}
_TRANSPOSED = {1: op.conv_transpose1d, 2: op.conv_transpose2d, 3: op.conv_transpose3d}


class _Convolution(RecordedLayer):
    """What both directions have in common."""

    space: int
    transposed = False
    weight: cg.Parameter
    bias: cg.Parameter | None = None

    def _settings(self, in_channels: int | None, out_channels: int, kernel_size: Any, stride: Any, dilation: Any,
                  groups: int, inits: tuple) -> None:
        name, space = self.functional_name, self.space
        self.check_sizes(1, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = each_axis(kernel_size, space, "kernel_size", name)
        self.stride = each_axis(stride, space, "stride", name)
        self.dilation = each_axis(dilation, space, "dilation", name)
        (self.groups,) = each_axis(groups, 1, "groups", name)
        self._has_bias, self._weight_init, self._bias_init = inits
        if in_channels is None:
            self.deferred = True
        else:
            self._make(in_channels)

    def _make(self, in_channels: int) -> None:
        self.check_sizes(1, in_channels=in_channels)
        self.in_channels = in_channels
        for what, channels in (("in_channels", in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise InputError(f"{self.functional_name}: {what}={channels} cannot be cut into groups={self.groups}.")
        first, second = self.out_channels, in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        fan_in = math.prod(shape[1:])
        self.make("weight", shape, self._weight_init, fan_in)
        if self._has_bias:
            self.make("bias", (self.out_channels,), self._bias_init, fan_in)
        self.deferred = False

    def _ready(self, input: Any) -> Any:
        """The parameters, once their shapes are known."""
        if self.deferred:
            shape = self._shape(input)
            self._make(shape[-self.space - 1])
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def _shape(self, input: Any) -> tuple[int, ...]:
        """The input's shape, which must have the right number of axes and channels."""
        if not hasattr(input, "aval"):
            raise self.no_array([input])
        shape, space = input.shape, self.space
        if len(shape) not in (space + 1, space + 2):
            axes = ("length", "height, width", "depth, height, width")[space - 1]
            raise ShapeError(f"{self.functional_name} takes an input (batch, channels, {axes}), or one without the "
                             f"batch, but got the shape {shape}.")
        if not self.deferred and shape[-space - 1] != self.in_channels:
            raise ShapeError(f"{self.functional_name} was made for in_channels={self.in_channels}, but its input has "
                             f"the shape {shape}: axis {len(shape) - space - 1} must be {self.in_channels}.")
        return shape

    def extra(self) -> str:
        none, ones = (0,) * self.space, (1,) * self.space
        defaults = {"padding": none, "dilation": ones, "output_padding": none, "groups": 1, "bias": True,
                    "padding_mode": "zeros"}
        own = {**vars(self), "bias": self._has_bias}
        other = [f", {name}={own[name]!r}" for name, default in defaults.items() if own.get(name, default) != default]
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
                + "".join(other))


class _Conv(_Convolution):
    def __init__(self, in_channels: int | None, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", *, weight_init: Initialiser | None = None,
                 bias_init: Initialiser | None = None):
        super().__init__()
        name = self.functional_name
        if padding_mode not in _PADDING_MODES:
            raise InputError(f"{name}: padding_mode must be one of {', '.join(_PADDING_MODES)}, but got "
                             f"{padding_mode!r}.")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise InputError(f"{name}: padding must be 'same', 'valid', an int or one for each axis, but got "
                                 f"{padding!r}.")
            if padding == "same" and set(each_axis(stride, self.space, "stride", name)) != {1}:
                raise InputError(f"{name}: padding='same' keeps the input's size, which needs a stride of 1, but got "
                                 f"stride={stride!r}.")
        self.padding = padding if isinstance(padding, str) else each_axis(padding, self.space, "padding", name, 0)
        self.padding_mode = padding_mode
        self._settings(in_channels, out_channels, kernel_size, stride, dilation, groups,
                       (bias, weight_init, bias_init))

    def _pairs(self) -> list[tuple[int, int]]:
        """How much is padded before and after, for each axis."""
        if self.padding == "valid":
            return [(0, 0)] * self.space
        if self.padding == "same":
            totals = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            return [(total // 2, total - total // 2) for total in totals]
        return [(p, p) for p in each_axis(self.padding, self.space, "padding", self.functional_name, 0)]

    def _operators(self, input: Any, *weights: Any) -> Any:
        axes, pairs = len(self._shape(input)) - self.space, self._pairs()
        if self.padding_mode != "zeros" and any(map(any, pairs)):
            mode = _PADDING_MODES[self.padding_mode]
            input = op.pad(input, {axis: pair for axis, pair in enumerate(pairs, axes)}, mode)
            pairs = [(0, 0)] * self.space
        weight, bias = (*weights, None)[:2]
        return _CONV[self.space](input, weight, bias, self.stride, pairs, self.dilation, self.groups)

    def call(self, input: Any) -> Any:
        return self.replay(self._operators, input, *self._ready(input))


class Conv1d(_Conv):
    """Convolution along one axis (torch.nn.Conv1d); see `Conv2d`.

    Input (batch, in_channels, length), weight (out_channels, in_channels / groups, k).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Conv1d(2, 4, 3, padding="same")(np.ones((1, 2, 10), np.float32)).shape
    (1, 4, 10)
    """

    space = 1


class Conv2d(_Conv):
    """Convolution in two dimensions (torch.nn.Conv2d): `op.conv2d` with this layer's weight and bias.

    y[n, o, p, q] = bias[o] + sum_{c, i, j} x[n, c, p s + i d - pad, q s + j d - pad] weight[o, c, i, j]

    Args:
        in_channels: channels of the input (batch, in_channels, height, width), the batch of which may be missing; None
            takes them from the first input.
        out_channels: channels of the output.
        kernel_size, stride, dilation: an int, or one for each spatial axis.
        padding: how much is added on both sides, an int or one for each spatial axis; "valid" for nothing; "same" for
            an output of the input's size, which needs a stride of 1 (where it cannot be equal, more comes after).
        groups: channels are cut into this many groups, each with its own weights.
        bias: whether there is one.
        padding_mode: what is added: "zeros", "reflect", "replicate" or "circular".
        weight_init, bias_init: initialisers (see `nn.init`); PyTorch's by default, uniform in +-1/sqrt(fan_in), where
            fan_in is in_channels / groups * kh * kw.

    Parameters: weight (out_channels, in_channels / groups, kh, kw), bias (out_channels,).

    Raises:
        InputError: when the arguments make no sense.
        ShapeError: when an input does not fit, or is smaller than the kernel.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Conv2d(3, 4, 3, stride=2, padding=1)(np.ones((1, 3, 8, 8), np.float32)).shape
    (1, 4, 4, 4)
    """

    space = 2


class Conv3d(_Conv):
    """Convolution in three dimensions (torch.nn.Conv3d); see `Conv2d`.

    Input (batch, in_channels, depth, height, width), weight (out_channels, in_channels / groups, kd, kh, kw).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Conv3d(1, 2, 3)(np.ones((1, 1, 4, 4, 4), np.float32)).shape
    (1, 2, 2, 2, 2)
    """

    space = 3


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(self, in_channels: int | None, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
                 padding_mode: str = "zeros", *, weight_init: Initialiser | None = None,
                 bias_init: Initialiser | None = None):
        super().__init__()
        name = self.functional_name
        if padding_mode != "zeros":
            raise InputError(f"{name}: a transposed convolution has padding_mode='zeros' only, but got "
                             f"{padding_mode!r}.")
        self.padding = each_axis(padding, self.space, "padding", name, 0)
        self.output_padding = each_axis(output_padding, self.space, "output_padding", name, 0)
        self._settings(in_channels, out_channels, kernel_size, stride, dilation, groups,
                       (bias, weight_init, bias_init))
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(s, d):
                raise InputError(f"{name}: output_padding={output_padding!r} must be smaller than stride={stride!r} or "
                                 f"dilation={dilation!r}: it chooses among the sizes that a stride leaves open.")

    def call(self, input: Any, output_size: Any = None) -> Any:
        size = None if output_size is None else static_sizes(output_size)
        return self.replay(lambda *nodes: self._operators(size, *nodes), input, *self._ready(input), how=size)

    def _operators(self, output_size: tuple[int, ...] | None, input: Any, weight: Any, bias: Any = None) -> Any:
        size = self._shape(input)[-self.space:]
        extra = self.output_padding if output_size is None else self._padding_for(size, output_size)
        return _TRANSPOSED[self.space](input, weight, bias, self.stride, self.padding, extra, self.groups,
                                       self.dilation)

    def _padding_for(self, size: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The output_padding, less than a stride on each axis, with which the output has the shape that is wanted."""
        if len(wanted) not in (self.space, self.space + 1, self.space + 2):
            raise InputError(f"{self.functional_name}: output_size needs {self.space} ints, but got {wanted}.")
        wanted = wanted[-self.space:]
        least = least_size(size, self.kernel_size, self.stride, self.padding, self.dilation)
        extra = tuple([m - n for m, n in zip(wanted, least, strict=True)])
        if not all(0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple([n + s - 1 for n, s in zip(least, self.stride, strict=True)])
            raise InputError(f"{self.functional_name}: output_size must be from {least} to {most} for this input, but "
                             f"got {wanted}.")
        return extra


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution along one axis (torch.nn.ConvTranspose1d); see `ConvTranspose2d`.

    Input (batch, in_channels, length), weight (in_channels, out_channels / groups, k).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.ConvTranspose1d(2, 4, 2, stride=2)(np.ones((1, 2, 5), np.float32)).shape
    (1, 4, 10)
    """

    space = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d` (torch.nn.ConvTranspose2d), from the shape of its output to that of its input.

    Args:
        in_channels: channels of the input (batch, in_channels, height, width), the batch of which may be missing; None
            takes them from the first input.
        out_channels: channels of the output.
        kernel_size, stride, dilation: an int, or one for each spatial axis.
        padding: how much the corresponding convolution pads; here it crops the output.
        output_padding: added to one side of the output, whose size a stride leaves open; smaller than the stride or
            the dilation.
        groups, bias, weight_init, bias_init: as for `Conv2d`; fan_in is out_channels / groups * kh * kw, as PyTorch's.
        padding_mode: "zeros"; there are no others.

    Call: `layer(x, output_size=None)`; `output_size` (the spatial shape) stands in for `output_padding`.

    Returns:
        height: (height - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.

    Parameters: weight (in_channels, out_channels / groups, kh, kw), bias (out_channels,).

    Raises:
        InputError: when the arguments make no sense, or no input of `Conv2d` has the size asked for.
        ShapeError: when an input does not fit, or the output would be empty.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> up = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1)
    >>> x = np.ones((1, 3, 4, 4), np.float32)
    >>> up(x).shape, up(x, output_size=(8, 8)).shape
    ((1, 2, 7, 7), (1, 2, 8, 8))
    """

    space = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution in three dimensions (torch.nn.ConvTranspose3d); see `ConvTranspose2d`.

    Input (batch, in_channels, depth, height, width), weight (in_channels, out_channels / groups, kd, kh, kw).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.ConvTranspose3d(1, 2, 2, stride=2)(np.ones((1, 1, 2, 2, 2), np.float32)).shape
    (1, 2, 4, 4, 4)
    """

    space = 3
