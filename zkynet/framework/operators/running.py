"""Running sums, running products and linear recurrences along an axis."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Node
from .arguments import axis_of, node_of
from .padding import padded
from .registry import builtin
from .shape import broadcast_to, flatten


def neighbours(x: Node, axis: int, later: bool, fill: float) -> Node:
    """y_t = x_(t+1), or x_(t-1) unless `later`; `fill` at the end that has no neighbour."""
    width = (-1, 1) if later else (1, -1)
    axis %= x.ndim
    return padded(x, widths=tuple([width if i == axis else (0, 0) for i in range(x.ndim)]), mode="constant",
                  value=fill)


@builtin(name="cumsum")
def summed(x, *, axis, reverse):
    """Running sums along an axis; see `cumsum`."""
    return jax.lax.cumsum(x.astype(jnp.result_type(int)) if x.dtype == bool else x, axis % x.ndim, reverse)


@summed.def_vjp
def _(g, y, x, *, axis, reverse):
    return (summed(g, axis=axis, reverse=not reverse),)


@builtin(name="cumprod")
def multiplied(x, *, axis, reverse):
    """Running products along an axis; see `cumprod`."""
    return jax.lax.cumprod(x.astype(jnp.result_type(int)) if x.dtype == bool else x, axis % x.ndim, reverse)


@multiplied.def_vjp
def _(g, y, x, *, axis, reverse):
    """With p_i the product of all x before i: x_i's cotangent is p_i r_i, where r_i = g_i + x_(i+1) r_(i+1)
    gathers what comes after. Nothing is divided, so zeros do no harm."""
    before = neighbours(y, axis, reverse, 1)
    after = linear_recurrence(neighbours(x, axis, not reverse, 0), g, axis=axis, reverse=not reverse)
    return (before * after,)


@builtin
def linear_recurrence(a, b, *, axis=-1, reverse=False):
    """y_t = a_t y_(t-1) + b_t along an axis, from y_(-1) = 0; with `reverse`, y_t = a_t y_(t+1) + b_t.

    Computed in log(n) parallel steps (Blelloch, "Prefix sums and their applications", 1990). a and b broadcast.

    >>> from zkynet.framework.operators.running import linear_recurrence
    >>> linear_recurrence([0.5, 0.5, 0.5], [8.0, 0.0, 1.0]).value.tolist()
    [8.0, 4.0, 3.0]
    """
    dtype = jnp.result_type(a, b)
    a, b = (jnp.asarray(part, dtype) for part in jnp.broadcast_arrays(a, b))

    def joined(first, second):
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(joined, (a, b), reverse=reverse, axis=axis % a.ndim)[1]


@linear_recurrence.def_vjp
def _(g, y, a, b, *, axis, reverse):
    following = neighbours(broadcast_to(a, shape=y.shape), axis, not reverse, 0)
    total = linear_recurrence(following, g, axis=axis, reverse=not reverse)
    return total * neighbours(y, axis, reverse, 0), total


def cumsum(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """y_i = x_0 + ... + x_i along an axis (of the flattened array by default); from the end with `reverse`.

    >>> from zkynet.framework import op
    >>> op.cumsum([1.0, 2.0, 3.0]).value.tolist(), op.cumsum([1.0, 2.0], reverse=True).value.tolist()
    ([1.0, 3.0, 6.0], [3.0, 2.0])
    """
    node, axis = along(x, axis, "cumsum")
    return summed(node, axis=axis, reverse=reverse)


def cumprod(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """y_i = x_0 x_1 ... x_i along an axis (of the flattened array by default); from the end with `reverse`.

    All derivatives are right where there are zeros, too.

    >>> from zkynet.framework import op
    >>> op.cumprod([1.0, 2.0, 3.0]).value.tolist()
    [1.0, 2.0, 6.0]
    """
    node, axis = along(x, axis, "cumprod")
    return multiplied(node, axis=axis, reverse=reverse)


def along(x: Any, axis: int | None, name: str) -> tuple[Node, int]:
    node = node_of(x, name)
    if axis is None or not node.ndim:
        return flatten(node), 0
    return node, axis_of(axis, node.ndim, name)


__all__ = ["cumprod", "cumsum", "linear_recurrence"]
