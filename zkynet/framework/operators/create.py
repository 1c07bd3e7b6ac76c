"""Constructors: arrays made of static numbers, part of the compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import config
from ..nodes import Node
from .arguments import node_of
from .registry import builtin


@builtin(name="full")
def filled(*, shape, dtype, value):
    """An array filled with one Python number."""
    return jnp.full(shape, value, dtype)


@builtin
def basis(*, shape, dtype):
    """All unit arrays of a shape, stacked on axis 0: an identity matrix reshaped to (size, *shape).

    >>> from zkynet.framework.operators.create import basis
    >>> basis((2,), "float32").value.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    size = int(np.prod(shape))
    return jnp.eye(size, dtype=dtype).reshape(size, *shape)


@builtin(name="arange")
def counted(*, start, stop, step, dtype):
    """start, start + step, ... up to but without stop."""
    return jnp.arange(start, stop, step, dtype)


@builtin(name="eye")
def diagonal(*, rows, columns, offset, dtype):
    """Ones on one diagonal of a matrix of zeros."""
    return jnp.eye(rows, columns, offset, dtype)


def default_dtype() -> np.dtype:
    """The floating dtype in force: float32, or that of `zkynet.precision`."""
    return config.compute_dtype() or jax.dtypes.canonicalize_dtype(float)


def _dtype(dtype: Any, *values: Any) -> np.dtype:
    """A concrete dtype: given, or that of Python numbers."""
    if dtype is not None:
        return jax.dtypes.canonicalize_dtype(dtype)
    if not values:
        return default_dtype()
    found = np.result_type(*values)
    return default_dtype() if found.kind == "f" else jax.dtypes.canonicalize_dtype(found)


def shape_of(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple([int(n) for n in shape])


def full(shape: int | Sequence[int], value: Any, dtype: Any = None) -> Node:
    """An array filled with one value: a number, or a node that broadcasts to the shape (and has a gradient).

    >>> from zkynet.framework import op
    >>> op.full(2, 3).value.tolist(), op.full((1, 1), 0.5).dtype.name
    ([3, 3], 'float32')
    """
    if isinstance(value, (int, float, np.generic)):
        value = value.item() if isinstance(value, np.generic) else value
        return filled(shape=shape_of(shape), dtype=_dtype(dtype, value), value=value)
    from .shape import broadcast_to, cast

    node = node_of(value, "full")
    return broadcast_to(node if dtype is None else cast(node, dtype=_dtype(dtype)), shape=shape_of(shape))


def zeros(shape: int | Sequence[int], dtype: Any = None) -> Node:
    """An array of zeros; float32 (or the precision in force) by default.

    >>> from zkynet.framework import op
    >>> op.zeros(2).value.tolist()
    [0.0, 0.0]
    """
    return filled(shape=shape_of(shape), dtype=_dtype(dtype), value=0)


def ones(shape: int | Sequence[int], dtype: Any = None) -> Node:
    """An array of ones; float32 (or the precision in force) by default.

    >>> from zkynet.framework import op
    >>> op.ones(2, "int32").value.tolist()
    [1, 1]
    """
    return filled(shape=shape_of(shape), dtype=_dtype(dtype), value=1)


def full_like(x: Any, value: float, dtype: Any = None) -> Node:
    """An array of the shape (and dtype) of x, filled with a number; x gets no gradient.

    >>> from zkynet.framework import op
    >>> op.full_like([1.0, 2.0], 5).value.tolist()
    [5.0, 5.0]
    """
    node = node_of(x, "full_like")
    return full(node.shape, value, node.dtype if dtype is None else dtype)


def zeros_like(x: Any, dtype: Any = None) -> Node:
    """Zeros of the shape (and dtype) of x, which gets no gradient.

    >>> from zkynet.framework import op
    >>> op.zeros_like([1, 2]).value.tolist()
    [0, 0]
    """
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Node:
    """Ones of the shape (and dtype) of x, which gets no gradient.

    >>> from zkynet.framework import op
    >>> op.ones_like([1.5, 2.0]).value.tolist()
    [1.0, 1.0]
    """
    return full_like(x, 1, dtype)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Node:
    """start, start + step, ... up to but without stop; from 0 when only one number is given.

    >>> from zkynet.framework import op
    >>> op.arange(3).value.tolist(), op.arange(0.0, 1.0, 0.5).value.tolist()
    ([0, 1, 2], [0.0, 0.5])
    """
    if stop is None:
        start, stop = 0, start
    return counted(start=start, stop=stop, step=step, dtype=_dtype(dtype, start, stop, step))


def eye(rows: int, columns: int | None = None, offset: int = 0, dtype: Any = None) -> Node:
    """Ones on the diagonal (`offset` above the main one), zeros elsewhere; square by default.

    >>> from zkynet.framework import op
    >>> op.eye(2).value.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    columns = rows if columns is None else columns
    return diagonal(rows=rows, columns=columns, offset=offset, dtype=_dtype(dtype))


__all__ = ["arange", "eye", "full", "full_like", "ones", "ones_like", "zeros", "zeros_like"]
