"""Rules of sums and products in log space, and of losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from ...framework.operators.losses import class_axis
from .export_rules import by_nodes
from .export_rules_reduce import axes_of

# Log space --------------------------------------------------------------------------------------------------


@by_nodes("logaddexp")
def _logaddexp(a: Any, b: Any) -> Any:
    """The larger, plus ln(1 + e^-distance); two equal infinities have no distance."""
    top = op.maximum(a, b)
    distance = op.where(op.equal(a, b), 0.0, op.abs(a - b))
    return op.where(op.isinf(top), top, top + op.log1p(op.exp(-distance)))


@by_nodes("log1mexp")
def _log1mexp(x: Any) -> Any:
    return op.where(x < math.log(2.0), op.log(-op.expm1(-x)), op.log1p(-op.exp(-x)))


@by_nodes("logsubexp")
def _logsubexp(a: Any, b: Any) -> Any:
    return a + op.log1mexp(op.where(op.equal(b, -math.inf), math.inf, a - b))


def _top(x: Any, axis: Any) -> Any:
    top = op.max(x, axis=axis, keepdims=True)
    return op.where(op.isinf(top), 0.0, top)


def _without(y: Any, axis: Any, keepdims: bool) -> Any:
    return y if keepdims else op.squeeze(y, axis=axes_of(axis, y.ndim))


@by_nodes("logsumexp")
def _logsumexp(x: Any, *, axis: Any, keepdims: bool) -> Any:
    if 0 in x.shape:
        return op.log(op.sum(op.exp(x), axis=axis, keepdims=keepdims))
    top = _top(x * 1.0, axis)
    return _without(op.log(op.sum(op.exp(x - top), axis=axis, keepdims=True)) + top, axis, keepdims)


@by_nodes("log_sum_exp")
def _log_sum_exp(x: Any, weights: Any, *, axis: Any, keepdims: bool) -> Any:
    shape: Any = np.broadcast_shapes(x.shape, weights.shape)
    x, weights = (op.broadcast_to(part * 1.0, shape=shape) for part in (x, weights))
    if 0 in shape:
        return op.log(op.sum(weights * op.exp(x), axis=axis, keepdims=keepdims))
    counts = op.not_equal(weights, 0.0)
    top = _top(op.where(counts, x, -math.inf), axis)
    parts = op.where(counts, weights * op.exp(op.where(counts, x - top, 0.0)), 0.0)
    return _without(op.log(op.sum(parts, axis=axis, keepdims=True)) + top, axis, keepdims)


@by_nodes("log_matmul")
def _log_matmul(a: Any, b: Any) -> Any:
    """A matrix product of what is scaled, unless that would underflow; then term by term."""
    if not a.shape[-1] or 0 in (*a.shape, *b.shape):
        return op.log(op.matmul(op.exp(a), op.exp(b)))
    top_a, top_b = _top(a * 1.0, -1), _top(b * 1.0, -2)
    scaled = op.matmul(op.exp(a - top_a), op.exp(b - top_b))
    info = np.finfo(scaled.dtype)

    def by_terms(scaled: Any) -> Any:
        terms = op.expand_dims(a, axis=-1) + op.expand_dims(b, axis=-3)
        return op.logsumexp(terms, axis=-2)

    enough = op.all(scaled >= a.shape[-1] * float(info.tiny) / float(info.eps))
    return op.cond(enough, lambda scaled: op.log(scaled) + top_a + top_b, by_terms, scaled)


# Losses -----------------------------------------------------------------------------------------------------


@by_nodes("cross_entropy")
def _cross_entropy(input: Any, target: Any, *, axis: int | None, ignore_index: int | None, reduction: str) -> Any:
    """Minus the logarithm at the target; nan for a class that is none, 0 for one that is ignored."""
    axis = class_axis(input.ndim, axis)
    classes = op.cast(target, "int32")
    known = op.logical_and(classes >= 0, classes < input.shape[axis])
    places = op.expand_dims(op.where(known, classes, 0), axis=axis)
    picked = op.squeeze(op.gather(op.log_softmax(input, axis=axis), places, axis), axis=axis)
    losses = op.where(known, -picked, math.nan)
    number: Any = float(math.prod(losses.shape))
    if ignore_index is not None:
        kept = op.not_equal(classes, ignore_index)
        losses = op.where(kept, losses, 0.0)
        number = op.sum(op.cast(kept, losses.dtype))
    if reduction == "none":
        return losses
    return op.sum(losses) / number if reduction == "mean" else op.sum(losses)


@by_nodes("soft_cross_entropy")
def _soft_cross_entropy(input: Any, target: Any, *, axis: int | None) -> Any:
    axis = class_axis(input.ndim, axis)
    terms = target * op.log_softmax(input, axis=axis)
    return -op.sum(op.where(op.equal(target, 0), 0.0, terms), axis=axis)

