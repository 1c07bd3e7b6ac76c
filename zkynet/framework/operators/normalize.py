"""Normalising over axes: what batch, layer, group, instance and root-mean-square normalisation have in common.

Statistics are those of x minus one of its own elements: the difference is exact or nearly so, and means far from zero
(1000 with deviations of 1, in float32) cost no digits. Half precision is computed in float32.

`normalize` and `deviation` form a closed system: each one's rule is written with both, so derivatives of any order
exist. What a rule computes again is the same as in the forward pass, and the compiler computes it once.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..binding import bound_attributes
from ..errors import InputError
from ..nodes import Node
from ..operator import apply
from .arguments import node_of
from .elementwise import rsqrt
from .reduce import mean, sum
from .registry import builtin
from .shape import cast, reshape


def _wide(x: jax.Array) -> jax.Array:
    """Half precision as float32, integers as the default floating dtype."""
    return x.astype(_wide_dtype(x.dtype))


def _wide_dtype(dtype: Any) -> np.dtype:
    return jnp.promote_types(jnp.result_type(dtype, 1.0), jnp.float32)


def _wide_node(x: Node) -> Node:
    dtype = _wide_dtype(x.dtype)
    return x if x.dtype == dtype else cast(x, dtype=dtype)


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    return tuple([a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))])


def _others(axis: Any, ndim: int) -> tuple[int, ...]:
    axes = _axes(axis, ndim)
    return tuple([a for a in range(ndim) if a not in axes])


def _along(value: Any, shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape in which a weight for some axes of x broadcasts against x."""
    axes = _axes(axis, len(shape))
    placed = tuple([n if a in axes else 1 for a, n in enumerate(shape)])
    if math.prod(placed) != math.prod(value.shape):
        raise ValueError(f"a weight or bias for axes {axes} of an input of shape {shape} needs "
                         f"{math.prod(placed)} elements, but its shape is {value.shape}")
    return placed


def _centred(x: jax.Array, axis: Any) -> tuple[jax.Array, jax.Array]:
    """x minus its mean, and the mean."""
    axes = _axes(axis, x.ndim)
    if not x.size:
        return x, jnp.mean(x, axes, keepdims=True)
    first = lax.slice(x, (0,) * x.ndim, [1 if a in axes else n for a, n in enumerate(x.shape)])
    shifted = x - first
    offset = jnp.mean(shifted, axes, keepdims=True)
    return shifted - offset, first + offset


def _scaled(x: Any, axis: Any, eps: float, center: bool) -> tuple[jax.Array, jax.Array]:
    """x, centred if asked for, and the factor that makes its mean square 1."""
    x = _wide(x)
    if center:
        x, _ = _centred(x, axis)
    return x, lax.rsqrt(jnp.mean(lax.square(x), _axes(axis, x.ndim), keepdims=True) + eps)


def _fit(x: jax.Array, scale: Any, affine: tuple, along: Any, dtype: Any) -> jax.Array:
    """x scale weight + bias, in the dtype that inputs and affine have together."""
    if affine:
        scale = scale * _wide(affine[0]).reshape(_along(affine[0], x.shape, along))
    y = x * scale
    for bias in affine[1:]:
        y = y + _wide(bias).reshape(_along(bias, x.shape, along))
    return y.astype(jnp.result_type(dtype, *affine))


@builtin(name="normalize")
def normalized(x, *affine, axis, eps, center, along=None):
    """y = (x - mean x) / sqrt(var x + eps) weight + bias; see `normalize`."""
    wide, scale = _scaled(x, axis, eps, center)
    return _fit(wide, scale, affine, axis if along is None else along, jnp.result_type(x, 1.0))


@builtin
def deviation(x, *, axis, eps, center):
    """y = 1 / sqrt(var x + eps) over the axes, which stay with length 1; see `normalize`."""
    return _scaled(x, axis, eps, center)[1]


@deviation.def_vjp
def _(g, y, x, *, axis, eps, center):
    count = math.prod([x.shape[a] for a in _axes(axis, x.ndim)])
    x = _wide_node(x)
    return (normalized(x, axis=axis, eps=eps, center=center) * (g * y * y * (-1.0 / max(count, 1))),)


@normalized.def_vjp
def _(g, y, x, *affine, axis, eps, center, along):
    along = axis if along is None else along
    x_shape, g, x = x.shape, _wide_node(g), _wide_node(x)
    unit = normalized(x, axis=axis, eps=eps, center=center)
    scale = deviation(x, axis=axis, eps=eps, center=center)
    if not affine:
        return (_pulled(g, unit, scale, axis, center),)
    others = _others(along, x.ndim)
    weight = reshape(_wide_node(affine[0]), shape=_along(affine[0], x_shape, along))
    to_weight = sum(g * unit, axis=others, keepdims=True)
    to_bias = sum(g, axis=others, keepdims=True)
    if _axes(axis, x.ndim) == others:  # one weight for all that is normalised together: its sums serve twice
        share = 1.0 / max(math.prod([x_shape[a] for a in others]), 1)
        left = g - unit * (to_weight * share)
        to_x = (left - to_bias * share if center else left) * (scale * weight)
    else:
        to_x = _pulled(g * weight, unit, scale, axis, center)
    return to_x, *[reshape(total, shape=part.shape)
                   for total, part in zip((to_weight, to_bias), affine, strict=False)]


def _pulled(g: Node, unit: Node, scale: Node, axis: Any, center: bool) -> Node:
    """What remains of g without its parts along a constant and along the normalised x, which change nothing."""
    left = g - unit * mean(g * unit, axis=axis, keepdims=True)
    return (left - mean(g, axis=axis, keepdims=True) if center else left) * scale


@builtin(name="standardize")
def standardized(x, center, variance, *affine, eps):
    """y = (x - center) / sqrt(variance + eps) weight + bias for each channel; see `standardize`."""
    shape = _along(center, x.shape, 1)
    shifted = _wide(x) - _wide(center).reshape(shape)
    scale = lax.rsqrt(_wide(variance).reshape(_along(variance, x.shape, 1)) + eps)
    return _fit(shifted, scale, affine, 1, jnp.result_type(x, 1.0))


@standardized.def_vjp
def _(g, y, x, center, variance, *affine, eps):
    shape, others = _along(center, x.shape, 1), _others(1, x.ndim)
    g, x = _wide_node(g), _wide_node(x)
    scale = rsqrt(reshape(_wide_node(variance), shape=shape) + eps)
    unit = (x - reshape(_wide_node(center), shape=shape)) * scale
    weight = reshape(_wide_node(affine[0]), shape=shape) * scale if affine else scale
    to_weight = sum(g * unit, axis=others, keepdims=True)
    to_bias = sum(g, axis=others, keepdims=True)
    parts = [-to_bias * weight, to_weight * weight * scale * -0.5, to_weight, to_bias]
    return g * weight, *[reshape(total, shape=part.shape)
                         for total, part in zip(parts, (center, variance, *affine), strict=False)]


@builtin(name="running_moments", no_gradient=True)
def moved_moments(average, variance, count, x, *, axis, momentum):
    """The running mean and variance after one more batch; see `running_moments`."""
    if not x.size:  # an empty batch has no statistics: it is counted, and moves nothing
        return average, variance, count + 1
    wide = _wide(x)
    axes = _axes(axis, x.ndim)
    size = math.prod([x.shape[a] for a in axes])
    wide, level = _centred(wide, axes)
    spread = jnp.mean(lax.square(wide), axes, keepdims=True) * (size / max(size - 1, 1))
    count = count + 1
    rate = 1.0 / count.astype(wide.dtype) if momentum is None else momentum
    others = _others(1, x.ndim)

    def moved(held: Any, new: jax.Array) -> jax.Array:
        new = jnp.mean(new, others).reshape(held.shape)
        return (held + rate * (new - held)).astype(held.dtype)

    return moved(average, level), moved(variance, spread), count


# Public functions -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096, typed=True)
def _remembered(operator: Any, *values: Any) -> tuple:
    return bound_attributes(operator, values, {})


def _attributes(operator: Any, *values: Any) -> tuple:
    """An operator's attributes as nodes hold them. Checking numbers and tuples takes longer than making the node, and
    layers give the same ones in every call."""
    try:
        return _remembered(operator, *values)
    except TypeError:  # a list
        return bound_attributes(operator, values, {})


def _inputs(inputs: tuple, weight: Any, bias: Any, name: str) -> tuple:
    """What the operator takes: a list would stand for all of its inputs, and what is None is left out."""
    if isinstance(inputs[0], (list, tuple)):
        inputs = (node_of(inputs[0], name), *inputs[1:])
    if weight is None:
        if bias is not None:
            raise InputError(f"{name}: a bias needs a weight beside it; pass op.ones_like(bias) for none.")
        return inputs
    return (*inputs, weight) if bias is None else (*inputs, weight, bias)


def normalize(x: Any, weight: Any = None, bias: Any = None, axis: int | tuple[int, ...] = -1, eps: float = 1e-5,
              center: bool = True, along: int | tuple[int, ...] | None = None) -> Node:
    """y = (x - mean x) / sqrt(var x + eps) weight + bias, mean and (biased) variance over the axes.

    Args:
        x: any shape.
        weight, bias: with an element for each of x's along the axes `along`; or None.
        axis: an int or a tuple of ints.
        eps: added to the variance.
        center: False leaves the mean out: y = x / sqrt(mean x^2 + eps) weight + bias (Zhang and Sennrich, "Root mean
            square layer normalization", 2019).
        along: the axes of weight and bias; by default those that are normalised over.

    Raises:
        InputError: for a bias without a weight.
        ShapeError: when a weight or bias has another number of elements.

    >>> from zkynet.framework import op
    >>> op.normalize([[1.0, 3.0]], [2.0, 2.0], [0.0, 10.0], eps=0.0).value.tolist()
    [[-2.0, 12.0]]
    """
    inputs = _inputs((x,), weight, bias, "normalize")
    return apply(normalized, inputs, _attributes(normalized, axis, eps, center, along))


def standardize(x: Any, center: Any, variance: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Node:
    """y[n, c, ...] = (x[n, c, ...] - center[c]) / sqrt(variance[c] + eps) weight[c] + bias[c], with given statistics.

    Args:
        x: (batch, channels, ...).
        center, variance: (channels,).
        weight, bias: (channels,), or None.

    Raises:
        InputError: for a bias without a weight.
        ShapeError: when one of them has not an element for each channel.

    >>> from zkynet.framework import op
    >>> op.standardize([[5.0], [7.0]], [6.0], [4.0], eps=0.0).value.tolist()
    [[-0.5], [0.5]]
    """
    inputs = _inputs((x, center, variance), weight, bias, "standardize")
    return apply(standardized, inputs, _attributes(standardized, eps))


def running_moments(average: Any, variance: Any, count: Any, x: Any, axis: int | tuple[int, ...],
                    momentum: float | None = 0.1) -> tuple[Node, Node, Node]:
    """The running mean and (unbiased) variance of channels after one more batch, and the number of batches.

    Each is moved by `momentum` towards the batch's own; with None by 1 / number of batches, so that it is the
    average of all. What is left of the batch's statistics after the axes are reduced is averaged over the batch. An
    empty batch is counted and moves nothing.

    Args:
        average, variance: (channels,), the present ones.
        count: an integer scalar, the batches so far.
        x: (batch, channels, ...).
        axis: the axes over which each mean and variance is taken.

    >>> from zkynet.framework import op
    >>> average, variance, count = op.running_moments([0.0], [1.0], 0, [[1.0], [3.0]], axis=0, momentum=0.5)
    >>> average.value.tolist(), variance.value.tolist(), int(count.value)
    ([1.0], [1.5], 1)
    """
    return apply(moved_moments, (average, variance, count, x), _attributes(moved_moments, axis, momentum))


__all__ = ["normalize", "running_moments", "standardize"]
