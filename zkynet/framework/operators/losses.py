"""The losses of classification as one node each; `zkynet.nn` has all losses.

They are operators because composed of others they would cost a training step several nodes, or be unstable.
The classes are along axis 1 of (N, C, d1, ...), along the only axis of (C,), or along `axis`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..nodes import Node
from .elementwise import elementwise, log, log1p, maximum, not_equal, where
from .gather import one_hot
from .reduce import log_softmax, softmax, sum
from .registry import builtin
from .shape import cast, expand_dims

REDUCTIONS = ("none", "mean", "sum")


def wrong_reduction(reduction: Any, known: tuple[str, ...] = REDUCTIONS) -> str:
    """The message about a reduction that is not one of the known ones."""
    return f"reduction must be one of {', '.join(map(repr, known))}, but is {reduction!r}"


def class_axis(ndim: int, axis: int | None = None) -> int:
    """The axis of the classes, counted from 0."""
    if not ndim:
        raise ValueError("input needs an axis of classes, but is a scalar")
    return min(ndim - 1, 1) if axis is None else axis % ndim


def misfit_of_classes(x: Any, target: Any, axis: int) -> str | None:
    """What is wrong with integer classes for an input, arrays or nodes; None when they fit."""
    expected = (*x.shape[:axis], *x.shape[axis + 1:])
    if target.dtype.kind not in "iu":
        return f"target must be integer classes of the shape {expected}, but is {target.dtype.name}{[*target.shape]}"
    if target.shape != expected:
        return (f"target must have the shape {expected}, that of input without its axis {axis} of {x.shape[axis]} "
                f"classes, but has {target.shape}")
    return None


@builtin(no_gradient=("target",))
def cross_entropy(input, target, *, axis=None, ignore_index=-100, reduction="none"):
    """y = -ln softmax(input)[target]: log sum_c exp(input_c) - input_target, computed so that it does not overflow.

    Args:
        input: (N, C, d1, ...) or (C,), logits. target: (N, d1, ...) or (), integer classes.
        axis: that of the classes, when it is another.
        ignore_index: the class whose examples count nothing; None for no such.
        reduction: "none" for (N, d1, ...), "sum", or "mean" over the examples that are not ignored.

    A class that is neither in [0, C) nor ignored makes the loss nan.

    >>> from zkynet.framework import op
    >>> op.cross_entropy([[1000.0, 0.0], [0.0, 1000.0]], [0, 0]).value.tolist()
    [0.0, 1000.0]
    """
    x = jnp.asarray(input, jnp.result_type(input, 1.0))
    axis = class_axis(x.ndim, axis)
    wrong = misfit_of_classes(x, target, axis)
    if wrong or reduction not in REDUCTIONS:
        raise ValueError(wrong or wrong_reduction(reduction))
    classes = target.astype(np.int32)
    # Gathered, not compared with all classes: that reads the logits once less. Below 0 would count from the end.
    places = jnp.expand_dims(jnp.where(classes < 0, x.shape[axis], classes), axis)
    picked = jnp.take_along_axis(x, places, axis, mode="fill", fill_value=jnp.nan)
    # The powers and their sum are written as in softmax, so that the compiler shares them with the gradient.
    top = jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    total = jnp.sum(jnp.exp(x - top), axis, keepdims=True)
    losses = jnp.squeeze(jnp.log(total) + (top - picked), axis)
    if ignore_index is None:
        return losses if reduction == "none" else (jnp.mean if reduction == "mean" else jnp.sum)(losses)
    kept = classes != ignore_index
    losses = jnp.where(kept, losses, 0)
    if reduction == "none":
        return losses
    # Reduced here and not by nn/reduction.py, so that the loss of nearly every classifier is one node.
    summed = jnp.sum(losses)
    return summed if reduction == "sum" else summed / jnp.sum(kept).astype(summed.dtype)


@cross_entropy.def_vjp
def _(g, y, input, target, *, axis, ignore_index, reduction):
    """(softmax(input) - one_hot(target)) times the cotangent of each example."""
    axis = class_axis(input.ndim, axis)
    classes = cast(target, dtype=np.dtype(np.int32))
    kept = None if ignore_index is None else not_equal(classes, ignore_index)
    if reduction == "mean":
        g = g / (float(target.aval.size or 1) if kept is None else sum(kept))
    if kept is not None:
        g = where(kept, g, 0.0)
    marks = one_hot(classes, input.shape[axis], dtype=g.dtype, axis=axis)
    return (softmax(input, axis=axis) - marks) * _over_classes(g, axis), target


def _over_classes(g: Node, axis: int) -> Node:
    return expand_dims(g, axis=axis) if g.ndim else g


@builtin
def soft_cross_entropy(input, target, *, axis=None):
    """y = -sum_c target_c ln softmax(input)_c, for targets that are distributions (or any weights).

    Where a target is 0 its term is 0, even for a logit of -inf.

    Args:
        input: (N, C, d1, ...) or (C,), logits. target: the same shape.

    Returns:
        (N, d1, ...) or ().

    >>> from zkynet.framework import op
    >>> round(float(op.soft_cross_entropy([0.0, 0.0], [0.5, 0.5]).value), 4)
    0.6931
    """
    axis = class_axis(input.ndim, axis)
    if target.shape != input.shape:
        raise ValueError(f"target must have a number for each class, the shape {input.shape} of input, but has "
                         f"{target.shape}")
    terms = target * log_softmax.body(input, axis=axis)
    return -jnp.sum(jnp.where(target == 0, 0, terms), axis)


@soft_cross_entropy.def_vjp
def _(g, y, input, target, *, axis):
    axis = class_axis(input.ndim, axis)
    g = _over_classes(g, axis)
    total = sum(target, axis=axis, keepdims=True)
    return (softmax(input, axis=axis) * total - target) * g, -(log_softmax(input, axis=axis) * g)


_LEAST = -100.0  # of a logarithm: what PyTorch takes instead of ln 0


def _binary(p, target):
    positive, negative = jnp.maximum(jnp.log(p), _LEAST), jnp.maximum(jnp.log1p(-p), _LEAST)
    return -(target * positive + (1 - target) * negative)


binary_cross_entropy = elementwise(
    "binary_cross_entropy", _binary,
    lambda g, y, p, target: g * ((p - target) / maximum(p * (1.0 - p), 1e-12)),
    lambda g, y, p, target: g * (maximum(log1p(-p), _LEAST) - maximum(log(p), _LEAST)),
    doc="y = -(target ln p + (1 - target) ln(1 - p)), for p in [0, 1]; logarithms are at least -100")

__all__ = ["binary_cross_entropy", "cross_entropy", "soft_cross_entropy"]
