"""Positions: what tells a net without recurrence where in a sequence it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..framework import cg, op
from ..framework.errors import InputError, ShapeError
from .given import known
from .init import Initialiser, initial
from .layer import Layer


def _angles(max_length: int, dim: int, base: float) -> np.ndarray:
    """t base^(-2 i / dim) for each position t and each pair i of dimensions, (max_length, dim / 2), in float64."""
    return np.arange(max_length)[:, None] * base ** (-np.arange(0, dim, 2) / dim)


def _in_dtype_of(input: Any, made: Any) -> Any:
    """What comes of an input in its dtype, as of half precision; of integers in that which it has."""
    return made if made.dtype == input.dtype or not input.aval.inexact else op.cast(made, dtype=input.dtype)


class _Positions(Layer):
    """What positions have in common: a table with a row for each."""

    def __init__(self, dim: int, max_length: int):
        super().__init__()
        self.check_sizes(1, dim=dim, max_length=max_length)
        self.dim, self.max_length = dim, max_length

    def _rows(self, table: Any, length: int, offset: Any) -> Any:
        """The rows from `offset` on; None, which is known to be 0, is a static slice."""
        if length > self.max_length:
            raise ShapeError(f"{self.functional_name} was made for max_length={self.max_length}, but got {length} "
                             "positions.")
        if offset is not None:
            first = known(offset)
            if first is not None and ((first < 0) | (first > self.max_length - length)).any():
                raise InputError(f"{self.functional_name} was made for max_length={self.max_length}, so {length} "
                                 f"positions start at an offset from 0 to {self.max_length - length}, but got {first}.")
            return op.dynamic_slice(table, [offset, 0], (length, table.shape[1]))
        return table if length == self.max_length else table[:length]

    def extra(self) -> str:
        return f"{self.dim}, max_length={self.max_length}"


class _Added(_Positions):
    """A row added to each element of a sequence."""

    batch_first: bool

    def _table(self) -> Any:
        raise NotImplementedError

    def call(self, input: Any, offset: Any = None) -> Any:
        self.check_last(input, self.dim, "dim")
        if input.ndim not in (2, 3):
            raise ShapeError(f"{self.functional_name} takes an input of 3 axes, or of 2 without a batch, but its shape "
                             f"is {tuple(input.shape)}.")
        across = input.ndim == 3 and not self.batch_first
        rows = self._rows(self._table(), input.shape[-3 if across else -2], offset)
        rows = op.expand_dims(rows, axis=1) if across else rows
        return op.add(input, _in_dtype_of(input, rows))


class SinusoidalPositions(_Added):
    """y = x + p with p[t, 2i] = sin(t / base^(2i/dim)), p[t, 2i + 1] = cos(t / base^(2i/dim)).

    Vaswani et al., "Attention is all you need", 2017. Nothing is learned.

    Args:
        dim: size of the input's last axis.
        max_length: how many positions there are at most.
        batch_first: whether the input is (batch, length, dim) instead of (length, batch, dim).
        base: of the wave lengths, which go from 2 pi to 2 pi base.

    Called with the input, also (length, dim), and offset, the position of its first element (a number or a node; 0 by
    default; offset + length must not exceed max_length, which cannot be checked where only a program knows the offset).

    Raises:
        ShapeError: when the input does not fit or is longer than max_length.
        InputError: when a size is no int or less than 1, or an offset is known and out of range.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.SinusoidalPositions(2)(np.zeros((1, 2), np.float32)).value.tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, dim: int, max_length: int = 4096, batch_first: bool = False, base: float = 10000.0):
        super().__init__(dim, max_length)
        self.batch_first, self.base = batch_first, base
        angles = _angles(max_length, dim, base)
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(max_length, -1)[:, :dim]
        self._waves = cg.Constant("waves", waves.astype(np.float32))

    def _table(self) -> Any:
        return self._waves


class LearnedPositions(_Added):
    """y = x + weight[t], a learned row for each position t.

    Gehring et al., "Convolutional sequence to sequence learning", 2017; the choice of GPT-2 and BERT, whose initial
    values (normal, standard deviation 0.02) are the default.

    Args:
        max_length: how many positions there are.
        dim: size of the input's last axis.
        batch_first: whether the input is (batch, length, dim) instead of (length, batch, dim).
        weight_init: initialiser (see `nn.init`).

    Called as `SinusoidalPositions`, with the same errors. Parameters: weight (max_length, dim).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.LearnedPositions(16, 4, batch_first=True)(np.zeros((2, 5, 4), np.float32)).shape
    (2, 5, 4)
    """

    weight: cg.Parameter

    def __init__(self, max_length: int, dim: int, batch_first: bool = False, *,
                 weight_init: Initialiser | None = None):
        super().__init__(dim, max_length)
        self.batch_first = batch_first
        how = ("normal", {"std": 0.02}) if weight_init is None else weight_init
        self.weight = cg.Parameter("weight", initial(how, (max_length, dim)))

    def _table(self) -> Any:
        return self.weight


class RotaryPositions(_Positions):
    """Each pair (a, b) of dimensions turned by the angle t base^(-2i/dim) at position t:

        a' = a cos - b sin,    b' = b cos + a sin

    so that the product of a turned query and a turned key depends on how far apart they are, not on where. Su et al.,
    "RoFormer: enhanced transformer with rotary position embedding", 2021. `MultiheadAttention` takes it as `rotary`.

    Args:
        dim: size of the input's last axis; for attention, of one head.
        max_length: how many positions there are at most.
        base: of the wave lengths.
        interleaved: pair i is (2i, 2i + 1), as in the paper; False: (i, i + dim/2), as in GPT-NeoX and Llama.

    Called with the input, (..., length, dim), and offset, as `SinusoidalPositions`.

    Raises:
        InputError: when dim is odd, and when an offset is known and out of range.
        ShapeError: when the input does not fit or is longer than max_length.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> y = nn.RotaryPositions(2)(np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)).value
    >>> bool(abs(y[1, 0] - np.cos(1.0)) < 1e-6 and abs(y[1, 1] - np.sin(1.0)) < 1e-6)
    True
    """

    def __init__(self, dim: int, max_length: int = 4096, base: float = 10000.0, interleaved: bool = False):
        super().__init__(dim, max_length)
        if dim % 2:
            raise InputError(f"RotaryPositions turns pairs of dimensions, so dim must be even, but is {dim}.")
        self.base, self.interleaved = base, interleaved
        angles = _angles(max_length, dim, base)
        self._cos = cg.Constant("cos", np.cos(angles).astype(np.float32))
        self._sin = cg.Constant("sin", np.sin(angles).astype(np.float32))

    def call(self, input: Any, offset: Any = None) -> Any:
        if input.ndim < 2:
            raise ShapeError("RotaryPositions takes an input (..., length, dim), but its shape is "
                             f"{tuple(input.shape)}.")
        return self.turned(input, input.ndim - 2, offset)

    def turned(self, input: Any, axis: int, offset: Any = None) -> Any:
        """The input, whose positions are along `axis`, turned."""
        self.check_last(input, self.dim, "dim")
        length, half = input.shape[axis], self.dim // 2
        placed = (length, *(1,) * (input.ndim - axis - 2), half)
        cos, sin = (op.reshape(self._rows(table, length, offset), shape=placed) for table in (self._cos, self._sin))
        if self.interleaved:
            pairs = op.reshape(input, shape=(*input.shape[:-1], half, 2))
            a, b = pairs[..., 0], pairs[..., 1]
            turned = op.reshape(op.stack(a * cos - b * sin, b * cos + a * sin, axis=-1), shape=input.shape)
        else:
            a, b = op.split(input, 2, axis=-1)
            turned = op.concat(a * cos - b * sin, b * cos + a * sin, axis=-1)
        return _in_dtype_of(input, turned)
