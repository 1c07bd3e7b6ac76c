"""v1's layers: those of v2 with v1's arguments.

What differs: batch normalisation keeps momentum of the old statistics, running = momentum running + (1 - momentum)
batch; convolution and pooling pad by "same", which with a stride s gives ceil(length / s).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.nodes import Node

from .. import units
from ..layer import Layer, Shape, Unit
from ..units import Activation, Flatten

__all__ = ["Activation", "BatchNormalization", "Conv2D", "Dense", "Dropout", "Flatten", "Layer", "MaxPooling2D"]

_LEAST = float(np.finfo(np.float32).min)


class Dense(units.Dense):
    """y = x W^T + w0, on the last axis; see `ravnet.dl.layers.Dense`."""

    def __init__(self, n_units: int, input_shape: Any = None):
        super().__init__(n_units, input_shape=input_shape)


class Dropout(units.Dropout):
    """In training each element is zero with probability p, else divided by 1 - p."""

    def __init__(self, p: float = 0.2, input_shape: Any = None):
        super().__init__(p, input_shape)


class BatchNormalization(Unit):
    """y = (x - mean) / sqrt(var + 0.01) gamma + beta for each channel, the input's second axis.

    In training, running = momentum running + (1 - momentum) batch (v2 has it the other way round).

    Input and output (batch, channels), (batch, channels, length) or (batch, channels, height, width).
    """

    _needs_shape = True

    def __init__(self, momentum: float = 0.99, input_shape: Any = None):
        self.momentum, self.epsilon = momentum, 0.01
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
        return kind(shape[1] if len(shape) > 1 else None, self.epsilon, 1.0 - self.momentum)


class _Padded(Unit):
    """A window over height and width, "valid" or padded so that with a stride of 1 the size stays."""

    _fill = 0.0
    padding: str

    def _take(self, shape: Any, padding: str, stride: Any, what: str) -> None:
        self.window = pair(shape, what)
        self.stride = pair(stride, "stride")
        if padding not in ("same", "valid"):
            raise InputError(f"{type(self).__name__}: padding is 'same' or 'valid', but got {padding!r}.")
        self.padding = padding

    def _apply(self, *nodes: Any) -> Node:
        (node,) = nodes
        if len(node.shape) != 4:
            raise ShapeError(f"{type(self).__name__} takes inputs (batch, channels, height, width), but got one of "
                             f"shape {node.shape}.")
        if self.padding == "same" and self.window != (1, 1):
            pairs = [((size - 1) // 2, size // 2) for size in self.window]
            node = op.pad(node, {2: pairs[0], 3: pairs[1]}, value=self._fill)
        return super()._apply(node)


class Conv2D(_Padded):
    """Convolution of (batch, channels, height, width).

    Args:
        n_filters: number of output channels.
        filter_shape: (height, width).
        input_shape: (channels, height, width), for a first layer.
        padding: "same" (zeros around) or "valid".
        stride: an int, or one for each axis.
    """

    _needs_shape = True

    def __init__(self, n_filters: int, filter_shape: Any, input_shape: Any = None, padding: str = "same",
                 stride: Any = 1):
        self.n_filters = n_filters
        self._take(filter_shape, padding, stride, "filter_shape")
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        if len(shape) != 4:
            raise ShapeError("Conv2D takes inputs (batch, channels, height, width), but got one of shape "
                             f"{shape}.")
        return nn.Conv2d(shape[1], self.n_filters, self.window, self.stride)


class MaxPooling2D(_Padded):
    """The largest element of each window of (batch, channels, height, width); the padding never is.

    Args:
        pool_shape: (height, width).
        stride: an int, or one for each axis.
        padding: "same" or "valid".
    """

    _fill = _LEAST

    def __init__(self, pool_shape: Any = (2, 2), stride: Any = 1, padding: str = "same", input_shape: Any = None):
        self._take(pool_shape, padding, stride, "pool_shape")
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.MaxPool2d(self.window, self.stride)


def pair(value: Any, what: str) -> tuple[int, int]:
    """Two ints, of one or two."""
    items = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(items) != 2 or any(isinstance(n, bool) or not hasattr(n, "__index__") or n < 1 for n in items):
        raise InputError(f"{what} is an int above 0, or two of them, but got {value!r}.")
    return int(items[0]), int(items[1])
