"""Sums and products of numbers that are kept as logarithms, because they themselves would over- or underflow.

A logarithm of zero is -inf. Nothing flows into it: where a result is -inf, its gradients are taken to be 0.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Node
from .arguments import misfit, node_of
from .control import cond
from .elementwise import equal, exp, expm1, isfinite, sigmoid, where
from .linalg import matmul, matrix_transpose
from .reduce import all, as_floating, max, sum
from .registry import builtin, elementwise
from .running import along, linear_recurrence, neighbours
from .shape import broadcast_to, expand_dims, reshape, squeeze, stop_gradient, sum_to

INF = math.inf


def _top(x: Any, axis: Any) -> Any:
    """The maximum along axes, kept, to be subtracted before exp; 0 where it is infinite."""
    top = jnp.max(x, axis, keepdims=True, initial=-INF)
    return jnp.where(jnp.isfinite(top), top, 0)


def _top_node(x: Node, axis: Any) -> Node:
    """The same of a node, as a constant: what it is subtracted from and added to does not depend on it."""
    top = stop_gradient(max(x, axis=axis, keepdims=True))
    return where(isfinite(top), top, 0.0)


def _or_zero(y: Node) -> Node:
    """y, but 0 where it is -inf: exp(x - y) is then 0 there, as x is -inf too."""
    return where(equal(y, -INF), 0.0, y)


# Elementwise ------------------------------------------------------------------------------------------------

logaddexp = elementwise("logaddexp", lambda a, b: jnp.logaddexp(a, b),
                        lambda g, y, a, b: g * sigmoid(a - where(equal(y, -INF), 0.0, b)),
                        lambda g, y, a, b: g * sigmoid(b - where(equal(y, -INF), 0.0, a)),
                        doc="y = ln(e^a + e^b)")


def _log1mexp(x: Any) -> Any:
    # Maechler, "Accurately computing log(1 - exp(-|a|))", 2012: where to change from one form to the other.
    return jnp.where(x < math.log(2.0), jnp.log(-jnp.expm1(-x)), jnp.log1p(-jnp.exp(-x)))


log1mexp = elementwise("log1mexp", lambda x: _log1mexp(as_floating(x)), lambda g, y, x: g * (exp(-x) / -expm1(-x)),
                       doc="y = ln(1 - e^-x), for x >= 0")


def _logsubexp(a, b):
    return a + _log1mexp(as_floating(jnp.where(b == -INF, INF, a - b)))


def _gap(a: Any, b: Any) -> Node:
    return where(equal(b, -INF), INF, a - b)


logsubexp = elementwise("logsubexp", _logsubexp, lambda g, y, a, b: g / -expm1(-_gap(a, b)),
                        lambda g, y, a, b: -(g * (exp(-_gap(a, b)) / -expm1(-_gap(a, b)))),
                        doc="y = ln(e^a - e^b), for a >= b")

# Sums -------------------------------------------------------------------------------------------------------


@builtin
def logsumexp(x, *, axis=None, keepdims=False):
    """y = ln sum e^x over the axes (all by default); -inf where there is nothing to sum.

    >>> from zkynet.framework import op
    >>> round(float(op.logsumexp([1e4, 1e4]).value) - 1e4, 3)
    0.693
    """
    x = as_floating(x)
    top = _top(x, axis)
    y = jnp.log(jnp.sum(jnp.exp(x - top), axis, keepdims=True)) + top
    return y if keepdims else jnp.squeeze(y, axis)


@logsumexp.def_vjp
def _(g, y, x, *, axis, keepdims):
    if not x.aval.size:
        return (x * 0.0,)
    # Softmax from differences of x, which are exact; exp(x - y) would have the rounding error of y.
    parts = exp(x - _top_node(x, axis))
    total = sum(parts, axis=axis, keepdims=True)
    return (reshape(g, shape=total.shape) * (parts / where(equal(total, 0.0), 1.0, total)),)


@builtin(name="log_sum_exp")
def _weighted(x, weights, *, axis, keepdims):
    """y = ln sum w e^x; see `log_sum_exp`."""
    x, weights = jnp.broadcast_arrays(as_floating(x), as_floating(weights))
    counts = weights != 0
    top = _top(jnp.where(counts, x, -INF), axis)
    parts = jnp.where(counts, weights * jnp.exp(jnp.where(counts, x - top, 0)), 0)
    y = jnp.log(jnp.sum(parts, axis, keepdims=True)) + top
    return y if keepdims else jnp.squeeze(y, axis)


@_weighted.def_vjp
def _(g, y, x, weights, *, axis, keepdims):
    shape = jnp.broadcast_shapes(x.shape, weights.shape)
    if 0 in shape:
        return x * 0.0, weights * 0.0
    wide_x, wide_weights = broadcast_to(x, shape=shape), broadcast_to(weights, shape=shape)
    powers = exp(wide_x - _top_node(where(equal(wide_weights, 0.0), -INF, wide_x), axis))
    parts = wide_weights * powers
    total = sum(parts, axis=axis, keepdims=True)
    share = reshape(g, shape=total.shape) / where(equal(total, 0.0), 1.0, total)
    return sum_to(share * parts, shape=x.shape), sum_to(share * powers, shape=weights.shape)


def log_sum_exp(x: Any, axis: Any = None, weights: Any = None, keepdims: bool = False) -> Node:
    """y = ln sum w e^x over the axes: the logarithm of a weighted sum of what x are the logarithms of.

    Args:
        x: logarithms.
        axis: an int, a tuple of ints, or None for all, of x and weights broadcast together.
        weights: plain factors (not logarithms), of either sign; ones by default, as in `logsumexp`. A weight of
            zero leaves its term out, even an infinite one. The result is nan where the sum is negative.
        keepdims: keep the reduced axes with length 1.

    >>> from zkynet.framework import op
    >>> float(op.log_sum_exp([-1e4, -1e4], weights=[0.5, 0.5]).value)
    -10000.0
    """
    if weights is None:
        return logsumexp(x, axis=axis, keepdims=keepdims)
    return _weighted(x, weights, axis=axis, keepdims=keepdims)


@builtin(name="logcumsumexp")
def _running(x, *, axis, reverse):
    """y_i = ln (e^x_0 + ... + e^x_i) along an axis; see `logcumsumexp`."""
    return jax.lax.cumlogsumexp(as_floating(x), axis % x.ndim, reverse)


@_running.def_vjp
def _(g, y, x, *, axis, reverse):
    """x_i's cotangent is the sum of g_j e^(x_i - y_j) over the j not before i: e^(x_i - y_i) s_i, where
    s_i = g_i + e^(y_i - y_(i+1)) s_(i+1). As y grows along the axis, no exponent is positive."""
    following = neighbours(y, axis, not reverse, INF)
    sums = linear_recurrence(exp(y - _or_zero(following)), g, axis=axis, reverse=not reverse)
    return (exp(x - _or_zero(y)) * sums,)


def logcumsumexp(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """y_i = ln (e^x_0 + ... + e^x_i) along an axis (of the flattened array by default); from the end with `reverse`.

    >>> from zkynet.framework import op
    >>> op.logcumsumexp([-1e4, -1e4, 0.0]).value.round(2).tolist()
    [-10000.0, -9999.3095703125, 0.0]
    """
    node, axis = along(x, axis, "logcumsumexp")
    return _running(node, axis=axis, reverse=reverse)


# Products ---------------------------------------------------------------------------------------------------


def _limit(terms: int, dtype: Any) -> float:
    """Sums of products not below this lose nothing that matters when some of their terms underflow."""
    info = jnp.finfo(dtype)
    return terms * float(info.tiny) / float(info.eps)


@builtin(name="log_matmul")
def _product(a, b):
    """y = ln (e^a @ e^b) of matrices; see `log_matmul`."""
    dtype = jnp.result_type(a, b, 1.0)
    a, b = a.astype(dtype), b.astype(dtype)
    top_a, top_b = _top(a, -1), _top(b, -2)
    scaled = jnp.exp(a - top_a) @ jnp.exp(b - top_b)

    def exact(scaled):
        terms = a[..., :, :, None] + b[..., None, :, :]
        top = _top(terms, -2)
        return jnp.squeeze(jnp.log(jnp.sum(jnp.exp(terms - top), -2, keepdims=True)) + top, -2)

    return jax.lax.cond(jnp.all(scaled >= _limit(a.shape[-1], dtype)),
                        lambda scaled: jnp.log(scaled) + top_a + top_b, exact, scaled)


@_product.def_vjp
def _(g, y, a, b):
    if not a.shape[-1]:
        return a * 0.0, b * 0.0

    def scaled_factors(a: Node, b: Node) -> tuple[Node, Node]:
        return exp(a - _top_node(a, -1)), exp(b - _top_node(b, -2))

    def by_matmul(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
        left, right = scaled_factors(a, b)
        ratio = g / matmul(left, right)
        return (sum_to(left * matmul(ratio, matrix_transpose(right)), shape=a.shape),
                sum_to(right * matmul(matrix_transpose(left), ratio), shape=b.shape))

    def by_terms(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
        """Each term's share of its sum, none above 1."""
        terms = expand_dims(a, axis=-1) + expand_dims(b, axis=-3)
        flow = expand_dims(g, axis=-2) * exp(terms - expand_dims(_or_zero(y), axis=-2))
        return sum_to(sum(flow, axis=-1), shape=a.shape), sum_to(sum(flow, axis=-3), shape=b.shape)

    enough = matmul(*scaled_factors(a, b)) >= _limit(a.shape[-1], y.dtype)
    return cond(all(enough), by_matmul, by_terms, g, y, a, b)


def log_matmul(a: Any, b: Any) -> Node:
    """y_ij = ln sum_k e^(a_ik + b_kj): the matrix product of numbers given by their logarithms.

    Vectors and stacks of matrices as in `matmul`. It is computed as a matrix product after each row of a and column
    of b is scaled by its largest element; where that would underflow, which sparse or very uneven matrices make
    happen, term by term, right but many times slower.

    Raises:
        ShapeError: when the inner lengths differ or an input is a scalar.

    >>> from zkynet.framework import op
    >>> op.log_matmul([[0.0, -1e4]], [[-1e4], [0.0]]).value.round(2).tolist()
    [[-9999.3095703125]]
    """
    left, right = node_of(a, "log_matmul"), node_of(b, "log_matmul")
    if not left.ndim or not right.ndim:
        raise misfit("log_matmul", f"needs vectors or matrices, but got {left.aval!r} and {right.aval!r}.")
    y = _product(expand_dims(left, axis=0) if left.ndim == 1 else left,
                 expand_dims(right, axis=1) if right.ndim == 1 else right)
    y = squeeze(y, axis=-1) if right.ndim == 1 else y
    return squeeze(y, axis=-2 if right.ndim > 1 else -1) if left.ndim == 1 else y


__all__ = [
    "log1mexp", "log_matmul", "log_sum_exp", "logaddexp", "logcumsumexp", "logsubexp", "logsumexp",
]
