"""Reductions along axes, softmax and its kin.

`axis` is None (all axes), an int or a tuple of ints, negative ones counted from the end; `keepdims` keeps the
reduced axes with length 1.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Node
from .elementwise import abs, equal, sign, where
from .registry import builtin
from .running import multiplied, neighbours
from .shape import broadcast_to, cast, moveaxis, reshape


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


def as_floating(x: Any) -> jax.Array:
    """Integers and booleans as the default floating dtype."""
    return jnp.asarray(x, jnp.result_type(x, 1.0))


def _inverse(y: Node) -> Node:
    """1 / y, and 0 where y is 0; without a nan in any of its derivatives."""
    zero = equal(y, 0.0)
    return where(zero, 0.0, 1.0 / where(zero, 1.0, y))


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
    return jnp.var(as_floating(x), axis, ddof=ddof, keepdims=keepdims)


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
    return jnp.std(as_floating(x), axis, ddof=ddof, keepdims=keepdims)


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
    x = as_floating(x)
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
        return (g * sign(x),)
    if math.isinf(p):
        return (_shared(g, equal(abs(x), y), axis) * sign(x),)
    # Where x is 0 (and where all is), the gradient is 0; powers of 0 must not appear even in unused branches.
    zero = equal(x, 0.0)
    part = where(zero, 1.0, abs(x)) / where(equal(y, 0.0), 1.0, y)
    return (g * where(zero, 0.0, sign(x) * part ** (p - 1.0)),)


# Products ---------------------------------------------------------------------------------------------------


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
    others = neighbours(multiplied(line, axis=-1, reverse=False), -1, False, 1)
    others = others * neighbours(multiplied(line, axis=-1, reverse=True), -1, True, 1)
    others = moveaxis(reshape(others, shape=moved.shape), source=ends, destination=axes)
    return (_kept(g, x, axis) * others,)


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
    return (_shared(_kept(g, x, axis), equal(x, _kept(y, x, axis)), axis),)


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
    x = as_floating(x)
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
    powers = jnp.exp(_shifted(-as_floating(x), axis))
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
    # Not exp(y): the powers in softmax(x) are those of the forward pass, which the compiler then computes once.
    return (g - softmax(x, axis=axis) * sum(g, axis=axis, keepdims=True),)


__all__ = [
    "all", "any", "argmax", "argmin", "count_nonzero", "log_softmax", "max", "mean", "min", "norm", "prod",
    "softmax", "softmin", "std", "sum", "var",
]
