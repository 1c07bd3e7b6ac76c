"""Sorting and choosing by size."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Node
from .arguments import axis_of, misfit, node_of
from .create import zeros
from .elementwise import equal, where
from .gather import scattered
from .reduce import mean
from .registry import builtin
from .running import along
from .shape import cut_axis, reshape


@builtin(name="sort")
def ordered(x, *, axis, descending):
    """The sorted elements and where they were; what is not used of the two costs nothing once compiled."""
    places = jax.lax.broadcasted_iota(jnp.result_type(int), x.shape, axis)
    operands = (x, places)
    if descending:  # reversed before and after, so that equal elements keep their order
        operands = jax.tree.map(lambda part: jax.lax.rev(part, (axis,)), operands)
    result = jax.lax.sort(operands, dimension=axis, is_stable=True, num_keys=1)
    if descending:
        result = jax.tree.map(lambda part: jax.lax.rev(part, (axis,)), result)
    return tuple(result)


@ordered.def_vjp
def _(g, y, x, *, axis, descending):
    return (scattered(zeros(x.shape, x.dtype), y[1], g[0], axis=axis, outside=None),)


def sort(x: Any, axis: int | None = -1, descending: bool = False) -> Node:
    """The elements in order along an axis (of the flattened array for None); nan counts as the largest.

    Stable: equal elements keep their order, which decides whose gradient is whose.

    >>> from zkynet.framework import op
    >>> op.sort([3.0, 1.0, 2.0]).value.tolist()
    [1.0, 2.0, 3.0]
    """
    node, axis = along(x, axis, "sort")
    return ordered(node, axis=axis, descending=descending)[0]


def argsort(x: Any, axis: int | None = -1, descending: bool = False) -> Node:
    """The positions of the elements in order along an axis: `take_along_axis(x, argsort(x))` is sorted. Stable.

    >>> from zkynet.framework import op
    >>> op.argsort([3.0, 1.0, 2.0]).value.tolist()
    [1, 2, 0]
    """
    node, axis = along(x, axis, "argsort")
    return ordered(node, axis=axis, descending=descending)[1]


@builtin(name="top_k")
def chosen(x, *, k, axis, largest):
    """The k largest (smallest) elements along an axis and where they are."""
    x = jnp.moveaxis(x, axis, -1)
    if largest:
        values, places = jax.lax.top_k(x, k)
    else:
        # ~ turns the order of integers around without overflow, - that of floats.
        exact = jnp.issubdtype(x.dtype, jnp.integer)
        values, places = jax.lax.top_k(~x if exact else -x, k)
        values = ~values if exact else -values
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(places, -1, axis)


@chosen.def_vjp
def _(g, y, x, *, k, axis, largest):
    return (scattered(zeros(x.shape, x.dtype), y[1], g[0], axis=axis, outside=None),)


def top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Node, Node]:
    """The k largest (or smallest) elements along an axis, in order, and their positions; the first of equals first.

    Raises:
        ShapeError: when the axis has fewer than k elements.

    >>> from zkynet.framework import op
    >>> values, positions = op.top_k([3.0, 1.0, 2.0], 2)
    >>> values.value.tolist(), positions.value.tolist()
    ([3.0, 2.0], [0, 2])
    """
    node = node_of(x, "top_k")
    axis = axis_of(axis, node.ndim, "top_k")
    if not 0 <= k <= node.shape[axis]:
        raise misfit("top_k", f"k = {k}, but axis {axis} of {node.aval!r} has {node.shape[axis]} elements.")
    return chosen(node, k=int(k), axis=axis, largest=largest)


def median(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """The middle element in order along an axis (of all by default); the mean of the two middle ones for an even
    number, nan where there is one.

    >>> from zkynet.framework import op
    >>> float(op.median([5.0, 1.0, 2.0]).value), float(op.median([4.0, 1.0]).value)
    (2.0, 2.5)
    """
    node = node_of(x, "median")
    line, place = along(node, axis, "median")
    length = line.shape[place]
    if not length:
        raise misfit("median", f"there is no median of no elements ({node.aval!r}).")
    line = sort(line, place)
    middle = mean(cut_axis(line, place, (length - 1) // 2, length // 2 + 1), axis=place, keepdims=True)
    last = cut_axis(line, place, length - 1, length)  # nan is sorted to the end
    middle = where(equal(last, last), middle, last)
    if axis is None:
        return reshape(middle, shape=(1,) * node.ndim if keepdims else ())
    return middle if keepdims else reshape(middle, shape=node.shape[:place] + node.shape[place + 1:])


__all__ = ["argsort", "median", "sort", "top_k"]
