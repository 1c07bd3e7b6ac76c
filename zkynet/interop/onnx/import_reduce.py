"""Import rules of reductions, running sums, and what sorts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...framework import op
from .import_registry import importer


def _limit(x: Any, largest: bool) -> Any:
    """The number that a maximum (minimum) of nothing is."""
    if x.dtype == bool:
        return not largest
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return -np.inf if largest else np.inf
    limits = np.iinfo(x.dtype)
    return int(limits.min if largest else limits.max)


def _extreme(x: Any, axis: Any, keepdims: bool, largest: bool) -> Any:
    if not all(x.shape[a] for a in axis):
        shape = tuple(1 if i in axis else n for i, n in enumerate(x.shape) if keepdims or i not in axis)
        return op.full(shape, _limit(x, largest), x.dtype)
    if x.dtype == bool:
        return (op.any if largest else op.all)(x, axis=axis, keepdims=keepdims)
    return (op.max if largest else op.min)(x, axis=axis, keepdims=keepdims)


def _log_sum_exp(x: Any, axis: Any, keepdims: bool) -> Any:
    if not all(x.shape[a] for a in axis):
        return op.log(op.sum(x, axis=axis, keepdims=keepdims))
    return op.logsumexp(x, axis=axis, keepdims=keepdims)


REDUCTIONS: dict[str, Callable[[Any, tuple[int, ...], bool], Any]] = {
    "ReduceSum": lambda x, axis, keepdims: op.sum(x, axis=axis, keepdims=keepdims),
    "ReduceMean": lambda x, axis, keepdims: op.mean(x, axis=axis, keepdims=keepdims),
    "ReduceProd": lambda x, axis, keepdims: op.prod(x, axis=axis, keepdims=keepdims),
    "ReduceMax": lambda x, axis, keepdims: _extreme(x, axis, keepdims, True),
    "ReduceMin": lambda x, axis, keepdims: _extreme(x, axis, keepdims, False),
    "ReduceL1": lambda x, axis, keepdims: op.sum(op.abs(x), axis=axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: op.norm(x, axis=axis, keepdims=keepdims),
    "ReduceSumSquare": lambda x, axis, keepdims: op.sum(op.mult(x, x), axis=axis, keepdims=keepdims),
    "ReduceLogSum": lambda x, axis, keepdims: op.log(op.sum(x, axis=axis, keepdims=keepdims)),
    "ReduceLogSumExp": _log_sum_exp,
}


def _reduction(name: str, function: Callable[..., Any]) -> None:
    @importer(name)
    def _(ctx, x, axes=None):
        found = ctx.attr("axes", None) if axes is None else ctx.ints(axes, "axes")
        if not found:
            if ctx.attr("noop_with_empty_axes", 0):
                return _of_each(name, x)
            found = range(x.ndim)
        return function(x, tuple(a % x.ndim for a in found), bool(ctx.attr("keepdims", 1)))


def _of_each(name: str, x: Any) -> Any:
    """The reduction over no axes: each element on its own."""
    if name in ("ReduceL1", "ReduceL2"):
        return op.abs(x)
    if name == "ReduceSumSquare":
        return op.mult(x, x)
    return op.log(x) if name == "ReduceLogSum" else x


for _name, _function in REDUCTIONS.items():
    _reduction(_name, _function)


def _position(largest: bool) -> Callable[..., Any]:
    find = op.argmax if largest else op.argmin

    def rule(ctx: Any, x: Any) -> Any:
        axis = ctx.attr("axis", 0) % x.ndim
        keepdims = bool(ctx.attr("keepdims", 1))
        if not ctx.attr("select_last_index", 0):
            return find(x, axis=axis, keepdims=keepdims)
        return (x.shape[axis] - 1) - find(op.flip(x, axis=axis), axis=axis, keepdims=keepdims)

    return rule


importer("ArgMax")(_position(True))
importer("ArgMin")(_position(False))


def _running(function: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    def rule(ctx: Any, x: Any, axis: Any) -> Any:
        at = ctx.number(axis, "axis") % x.ndim
        reverse = bool(ctx.attr("reverse", 0))
        made = function(x, axis=at, reverse=reverse)
        if not ctx.attr("exclusive", 0):
            return made
        # without the element itself: moved by one place, from the neutral element
        index: list[Any] = [slice(None)] * x.ndim
        index[at] = slice(1, None) if reverse else slice(0, -1)
        return op.pad(made[tuple(index)], {at: (0, 1) if reverse else (1, 0)}, value=neutral)

    return rule


importer("CumSum")(_running(op.cumsum, 0))
importer("CumProd")(_running(op.cumprod, 1))


@importer("TopK")
def _(ctx, x, k=None):
    count = ctx.attr("k") if k is None else ctx.number(k, "k")
    return op.top_k(x, int(count), axis=ctx.attr("axis", -1) % x.ndim, largest=bool(ctx.attr("largest", 1)))


@importer("Unique")
def _(ctx, x):
    """The shape of the output depends on the values, so they are looked at; elements keep their gradient."""
    values = ctx.static(x, "the input of Unique")
    axis = ctx.attr("axis", None)
    source, at = (op.reshape(x, shape=(-1,)), 0) if axis is None else (x, axis % x.ndim)
    found = np.unique(_comparable(values), return_index=True, return_inverse=True, return_counts=True, axis=axis)
    _, first, inverse, counts = found
    inverse = inverse.reshape(-1)
    if not ctx.attr("sorted", 1):
        order = np.argsort(first, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        first, inverse, counts = first[order], places[inverse], counts[order]
    return op.take(source, first, axis=at), first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


def _comparable(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype.kind == "V" else values


@importer("NonZero")
def _(ctx, x):
    return np.asarray(np.nonzero(ctx.static(x, "the input of NonZero")), dtype=np.int64)
