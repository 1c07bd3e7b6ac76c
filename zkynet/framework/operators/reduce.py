"""Reductions along axes, softmax and its kin, running sums and products, sorting.

`axis` is None (all axes), an int or a tuple of ints, negative ones counted from the end; `keepdims` keeps the
reduced axes with length 1.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Node
from . import elementwise as ew
from .arguments import axis_of, misfit, node_of
from .create import zeros
from .index import scattered
from .padding import padded
from .registry import builtin
from .shape import broadcast_to, cast, cut_axis, flatten, moveaxis, reshape


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple([a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))])


def _count(x: Node, axis: Any) -> int:
    """How many elements are reduced into one."""
    return math.prod([x.shape[a] for a in _axes(axis, x.ndim)])


def _kept(y: Node, x: Node, axis: Any) -> Node:
    """Something of the output's shape with the reduced axes as length 1, to broadcast against x."""
    axes = _axes(axis, x.ndim)
    return reshape(y, shape=tuple([1 if i in axes else n for i, n in enumerate(x.shape)]))


def _real(x: Any) -> jax.Array:
    """Integers and booleans as the default floating dtype."""
    return jnp.asarray(x, jnp.result_type(x, 1.0))


def _inverse(y: Node) -> Node:
    """1 / y, and 0 where y is 0; without a nan in any of its derivatives."""
    zero = ew.equal(y, 0)
    return ew.where(zero, 0.0, 1.0 / ew.where(zero, 1.0, y))


# Sums and means ---------------------------------------------------------------------------------------------


@builtin
def sum(x, *, axis=None, keepdims=False):
    """y = sum of x over the axes.

    >>> from zkynet.framework import op
    >>> op.sum([[1.0, 2.0], [3.0, 4.0]], axis=0).value.tolist()
    [4.0, 6.0]
    """
    return jnp.sum(x, axis, keepdims=keepdims)


@sum.def_vjp
def _(g, y, x, *, axis, keepdims):
    return (broadcast_to(_kept(g, x, axis), shape=x.shape),)


@builtin
def mean(x, *, axis=None, keepdims=False):
    """y = sum of x over the axes / their number of elements; integers give floats.

    >>> from zkynet.framework import op
    >>> float(op.mean([1.0, 2.0, 6.0]).value)
    3.0
    """
    return jnp.mean(x, axis, keepdims=keepdims)


@mean.def_vjp
def _(g, y, x, *, axis, keepdims):
    # An empty mean is nan, and no element is there to receive a gradient.
    return (broadcast_to(_kept(g / float(_count(x, axis) or 1), x, axis), shape=x.shape),)


@builtin
def var(x, *, axis=None, ddof=0, keepdims=False):
    """y = sum (x - mean x)^2 / (n - ddof) over the axes of n elements; nan for n <= ddof.

    The divisor is NumPy's: `ddof=1` gives the unbiased estimate.

    >>> from zkynet.framework import op
    >>> float(op.var([1.0, 3.0]).value), float(op.var([1.0, 3.0], ddof=1).value)
    (1.0, 2.0)
    """
    return jnp.var(_real(x), axis, ddof=ddof, keepdims=keepdims)


@var.def_vjp
def _(g, y, x, *, axis, ddof, keepdims):
    return (_kept(g * _per_freedom(x, axis, ddof, 2.0), x, axis) * _centred(x, axis),)


def _centred(x: Node, axis: Any) -> Node:
    return x - mean(x, axis=axis, keepdims=True)


def _per_freedom(x: Node, axis: Any, ddof: float, factor: float) -> float:
    free = _count(x, axis) - ddof
    return factor / free if free > 0 else math.nan


@builtin
def std(x, *, axis=None, ddof=0, keepdims=False):
    """y = sqrt(var(x)). Where y is 0 its gradient is taken to be 0, as in PyTorch.

    >>> from zkynet.framework import op
    >>> float(op.std([1.0, 3.0]).value)
    1.0
    """
    return jnp.std(_real(x), axis, ddof=ddof, keepdims=keepdims)


@std.def_vjp
def _(g, y, x, *, axis, ddof, keepdims):
    return (_kept(g * _inverse(y) * _per_freedom(x, axis, ddof, 1.0), x, axis) * _centred(x, axis),)


@builtin
def norm(x, *, ord=2, axis=None, keepdims=False):
    """y = (sum |x|^p)^(1/p) with p = `ord`, the vector norm of all elements along the axes.

    `ord` is a number, inf (the largest |x|), -inf (the smallest), 0 (how many are not 0) or "fro" (the same as
    2: the Frobenius norm of a matrix). The gradient at the zero vector is 0, ties of inf share it equally.

    >>> from zkynet.framework import op
    >>> float(op.norm([3.0, -4.0]).value), float(op.norm([3.0, -4.0], ord=1).value)
    (5.0, 7.0)
    """
    p = _order(ord)
    x = _real(x)
    if p == 2:
        return jnp.sqrt(jnp.sum(jnp.square(jnp.abs(x)), axis, keepdims=keepdims))
    if p == 0:
        return jnp.sum(x != 0, axis, dtype=x.dtype, keepdims=keepdims)
    size = jnp.abs(x)
    if math.isinf(p):
        return (jnp.max if p > 0 else jnp.min)(size, axis, keepdims=keepdims)
    if p == 1:
        return jnp.sum(size, axis, keepdims=keepdims)
    return jnp.sum(size ** p, axis, keepdims=keepdims) ** (1 / p)


def _order(ord: Any) -> float:
    if ord is None or ord == "fro":
        return 2.0
    if not isinstance(ord, (int, float)):
        raise ValueError(f'ord must be a number, inf, -inf or "fro", but is {ord!r}')
    return float(ord)


@norm.def_vjp
def _(g, y, x, *, ord, axis, keepdims):
    p = _order(ord)
    if p == 2:
        return (_kept(g * _inverse(y), x, axis) * x,)
    y, g = _kept(y, x, axis), _kept(g, x, axis)
    if p == 0:
        return (broadcast_to(g * 0.0, shape=x.shape),)
    if p == 1:
        return (g * ew.sign(x),)
    if math.isinf(p):
        return (_shared(g, ew.equal(ew.abs(x), y), axis) * ew.sign(x),)
    # Where x is 0 (and where all is), the gradient is 0; powers of 0 must not appear even in unused branches.
    zero = ew.equal(x, 0)
    part = ew.where(zero, 1.0, ew.abs(x)) / ew.where(ew.equal(y, 0), 1.0, y)
    return (g * ew.where(zero, 0.0, ew.sign(x) * part ** (p - 1.0)),)


# Extremes ---------------------------------------------------------------------------------------------------


@builtin
def max(x, *, axis=None, keepdims=False):
    """y = the largest x along the axes; nan where there is one. Equal largest elements share the gradient.

    >>> from zkynet.framework import op
    >>> op.max([[1.0, 5.0], [3.0, 2.0]], axis=1).value.tolist()
    [5.0, 3.0]
    """
    return jnp.max(x, axis, keepdims=keepdims)


@builtin
def min(x, *, axis=None, keepdims=False):
    """y = the smallest x along the axes; nan where there is one. Equal smallest elements share the gradient.

    >>> from zkynet.framework import op
    >>> float(op.min([1.0, -5.0]).value)
    -5.0
    """
    return jnp.min(x, axis, keepdims=keepdims)


@max.def_vjp
@min.def_vjp
def _(g, y, x, *, axis, keepdims):
    return (_shared(_kept(g, x, axis), ew.equal(x, _kept(y, x, axis)), axis),)


def _shared(g: Node, hits: Node, axis: Any) -> Node:
    """The cotangent in equal parts to the elements that hit; `g` is of length 1 along the axes."""
    hits = cast(hits, dtype=g.dtype)
    return g * (hits / sum(hits, axis=axis, keepdims=True))


@builtin(no_gradient=True)
def argmax(x, *, axis=None, keepdims=False):
    """The position of the first largest x along one axis; in the flattened array by default.

    >>> from zkynet.framework import op
    >>> op.argmax([[1.0, 5.0], [3.0, 2.0]], axis=1).value.tolist()
    [1, 0]
    """
    return jnp.argmax(x, axis, keepdims=keepdims)


@builtin(no_gradient=True)
def argmin(x, *, axis=None, keepdims=False):
    """The position of the first smallest x along one axis; in the flattened array by default.

    >>> from zkynet.framework import op
    >>> int(op.argmin([1.0, -5.0]).value)
    1
    """
    return jnp.argmin(x, axis, keepdims=keepdims)


# Truth ------------------------------------------------------------------------------------------------------


@builtin(no_gradient=True)
def any(x, *, axis=None, keepdims=False):
    """Whether any x along the axes is true (not 0).

    >>> from zkynet.framework import op
    >>> bool(op.any([0.0, 2.0]).value)
    True
    """
    return jnp.any(x, axis, keepdims=keepdims)


@builtin(no_gradient=True)
def all(x, *, axis=None, keepdims=False):
    """Whether all x along the axes are true (not 0).

    >>> from zkynet.framework import op
    >>> bool(op.all([0.0, 2.0]).value)
    False
    """
    return jnp.all(x, axis, keepdims=keepdims)


@builtin(no_gradient=True)
def count_nonzero(x, *, axis=None, keepdims=False):
    """How many x along the axes are not 0.

    >>> from zkynet.framework import op
    >>> int(op.count_nonzero([0.0, 2.0]).value)
    1
    """
    return jnp.count_nonzero(x, axis, keepdims=keepdims)


# Softmax ----------------------------------------------------------------------------------------------------


def _shifted(x: Any, axis: Any) -> jax.Array:
    """x minus its largest element, so that exp cannot overflow."""
    x = _real(x)
    return x - jnp.max(x, axis, keepdims=True, initial=-jnp.inf)


@builtin
def softmax(x, *, axis=-1):
    """y = exp(x) / sum exp(x) along the axis (or axes), computed so that it neither over- nor underflows.

    >>> from zkynet.framework import op
    >>> op.softmax([1000.0, 1000.0]).value.tolist()
    [0.5, 0.5]
    """
    powers = jnp.exp(_shifted(x, axis))
    return powers / jnp.sum(powers, axis, keepdims=True)


@softmax.def_vjp
def _(g, y, x, *, axis):
    return (y * (g - sum(g * y, axis=axis, keepdims=True)),)


@builtin
def softmin(x, *, axis=-1):
    """y = softmax(-x).

    >>> from zkynet.framework import op
    >>> op.softmin([1000.0, -1000.0]).value.tolist()
    [0.0, 1.0]
    """
    powers = jnp.exp(_shifted(-_real(x), axis))
    return powers / jnp.sum(powers, axis, keepdims=True)


@softmin.def_vjp
def _(g, y, x, *, axis):
    return (y * (sum(g * y, axis=axis, keepdims=True) - g),)


@builtin
def log_softmax(x, *, axis=-1):
    """y = x - log sum exp(x) along the axis (or axes): log(softmax(x)) that stays finite.

    >>> from zkynet.framework import op
    >>> op.log_softmax([0.0, -1000.0]).value.tolist()
    [0.0, -1000.0]
    """
    shifted = _shifted(x, axis)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis, keepdims=True))


@log_softmax.def_vjp
def _(g, y, x, *, axis):
    return (g - ew.exp(y) * sum(g, axis=axis, keepdims=True),)


# Running sums and products ----------------------------------------------------------------------------------


def _neighbours(x: Node, axis: int, later: bool, fill: float) -> Node:
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
    before = _neighbours(y, axis, reverse, 1)
    after = linear_recurrence(_neighbours(x, axis, not reverse, 0), g, axis=axis, reverse=not reverse)
    return (before * after,)


@builtin
def linear_recurrence(a, b, *, axis=-1, reverse=False):
    """y_t = a_t y_(t-1) + b_t along an axis, from y_(-1) = 0; with `reverse`, y_t = a_t y_(t+1) + b_t.

    Computed in log(n) parallel steps (Blelloch, "Prefix sums and their applications", 1990). a and b broadcast.

    >>> from zkynet.framework import op
    >>> op.linear_recurrence([0.5, 0.5, 0.5], [8.0, 0.0, 1.0]).value.tolist()
    [8.0, 4.0, 3.0]
    """
    dtype = jnp.result_type(a, b)
    a, b = (jnp.asarray(part, dtype) for part in jnp.broadcast_arrays(a, b))

    def joined(first, second):
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(joined, (a, b), reverse=reverse, axis=axis)[1]


@linear_recurrence.def_vjp
def _(g, y, a, b, *, axis, reverse):
    following = _neighbours(broadcast_to(a, shape=y.shape), axis, not reverse, 0)
    total = linear_recurrence(following, g, axis=axis, reverse=not reverse)
    return total * _neighbours(y, axis, reverse, 0), total


def cumsum(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """y_i = x_0 + ... + x_i along an axis (of the flattened array by default); from the end with `reverse`.

    >>> from zkynet.framework import op
    >>> op.cumsum([1.0, 2.0, 3.0]).value.tolist(), op.cumsum([1.0, 2.0], reverse=True).value.tolist()
    ([1.0, 3.0, 6.0], [3.0, 2.0])
    """
    node, axis = _along(x, axis, "cumsum")
    return summed(node, axis=axis, reverse=reverse)


def cumprod(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """y_i = x_0 x_1 ... x_i along an axis (of the flattened array by default); from the end with `reverse`.

    All derivatives are right where there are zeros, too.

    >>> from zkynet.framework import op
    >>> op.cumprod([1.0, 2.0, 3.0]).value.tolist()
    [1.0, 2.0, 6.0]
    """
    node, axis = _along(x, axis, "cumprod")
    return multiplied(node, axis=axis, reverse=reverse)


def _along(x: Any, axis: int | None, name: str) -> tuple[Node, int]:
    node = node_of(x, name)
    if axis is None or not node.ndim:
        return flatten(node), 0
    return node, axis_of(axis, node.ndim, name)


@builtin
def prod(x, *, axis=None, keepdims=False):
    """y = product of x over the axes. All derivatives are right where there are zeros, too.

    >>> import zkynet
    >>> from zkynet.framework import op
    >>> zkynet.grad(lambda x: op.prod(x))(op.full(3, 2.0).value * 0).tolist()
    [0.0, 0.0, 0.0]
    """
    return jnp.prod(x, axis, keepdims=keepdims)


@prod.def_vjp
def _(g, y, x, *, axis, keepdims):
    """x_i's cotangent is g times the product of all others: of those before and of those after."""
    axes = _axes(axis, x.ndim)
    ends = tuple(range(x.ndim - len(axes), x.ndim))
    rest = [n for i, n in enumerate(x.shape) if i not in axes]
    moved = moveaxis(x, source=axes, destination=ends)
    line = reshape(moved, shape=(*rest, _count(x, axis)))
    others = _neighbours(multiplied(line, axis=-1, reverse=False), -1, False, 1)
    others = others * _neighbours(multiplied(line, axis=-1, reverse=True), -1, True, 1)
    others = moveaxis(reshape(others, shape=moved.shape), source=ends, destination=axes)
    return (_kept(g, x, axis) * others,)


# Order ------------------------------------------------------------------------------------------------------


@builtin(name="sort")
def ordered(x, *, axis, descending):
    """The sorted elements and where they were; what is not used of the two costs nothing once compiled."""
    places = jax.lax.broadcasted_iota(jnp.int32, x.shape, axis)
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
    node, axis = _along(x, axis, "sort")
    return ordered(node, axis=axis, descending=descending)[0]


def argsort(x: Any, axis: int | None = -1, descending: bool = False) -> Node:
    """The positions of the elements in order along an axis: `take_along_axis(x, argsort(x))` is sorted. Stable.

    >>> from zkynet.framework import op
    >>> op.argsort([3.0, 1.0, 2.0]).value.tolist()
    [1, 2, 0]
    """
    node, axis = _along(x, axis, "argsort")
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
    line, along = _along(node, axis, "median")
    length = line.shape[along]
    if not length:
        raise misfit("median", f"there is no median of no elements ({node.aval!r}).")
    line = sort(line, along)
    middle = mean(cut_axis(line, along, (length - 1) // 2, length // 2 + 1), axis=along, keepdims=True)
    last = cut_axis(line, along, length - 1, length)  # nan is sorted to the end
    middle = ew.where(ew.equal(last, last), middle, last)
    if axis is None:
        return reshape(middle, shape=(1,) * node.ndim if keepdims else ())
    return middle if keepdims else reshape(middle, shape=node.shape[:along] + node.shape[along + 1:])


__all__ = [
    "all", "any", "argmax", "argmin", "argsort", "count_nonzero", "cumprod", "cumsum", "linear_recurrence",
    "log_softmax", "max", "mean", "median", "min", "norm", "prod", "softmax", "softmin", "sort", "std", "sum",
    "top_k", "var",
]
