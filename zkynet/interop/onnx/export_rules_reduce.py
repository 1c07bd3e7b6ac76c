"""Rules of reductions, softmax, sorting, running sums and normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from .export_graph import Graph, Value
from .export_rules import by_nodes, in_dtype, numeric, rule, working
from .export_rules_elementwise import BOOL
from .export_trace import Dim, Kind

# Reductions -------------------------------------------------------------------------------------------------


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from 0, in order."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))))


def _reduction(op_type: str) -> Any:
    def apply(graph: Graph, x: Value, *, axis: Any, keepdims: bool) -> Any:
        axes, dtype = axes_of(axis, x.ndim), numeric(graph.out.dtype)
        if not axes:
            return graph.cast(x, graph.out.dtype)
        return in_dtype(graph, op_type, dtype, x, np.array(axes, np.int64), keepdims=int(keepdims))

    return apply


for _name, _op_type in (("sum", "ReduceSum"), ("mean", "ReduceMean"), ("max", "ReduceMax"), ("min", "ReduceMin"),
                        ("prod", "ReduceProd")):
    rule(_name)(_reduction(_op_type))


def _position(op_type: str) -> Any:
    def apply(graph: Graph, x: Value, *, axis: int | None, keepdims: bool) -> str:
        dtype = np.dtype("int32") if x.dtype in (BOOL, np.dtype("int16"), np.dtype("uint16")) else x.dtype
        given = graph.cast(x, dtype)
        if axis is None:
            given = graph.add("Reshape", given, np.array([-1], np.int64))
        name = graph.add(op_type, given, axis=0 if axis is None else axis % x.ndim,
                         keepdims=int(keepdims and axis is not None))
        if axis is None and keepdims:
            name = graph.add("Reshape", name, np.ones(x.ndim, np.int64))
        return graph.cast(name, graph.out.dtype)

    return apply


rule("argmax")(_position("ArgMax"))
rule("argmin")(_position("ArgMin"))


@by_nodes("any")
def _any(x: Any, *, axis: Any, keepdims: bool) -> Any:
    return op.count_nonzero(x, axis=axis, keepdims=keepdims) > 0


@by_nodes("all")
def _all(x: Any, *, axis: Any, keepdims: bool) -> Any:
    return op.equal(op.count_nonzero(op.equal(x, 0), axis=axis, keepdims=keepdims), 0)


@by_nodes("count_nonzero")
def _count_nonzero(x: Any, *, axis: Any, keepdims: bool) -> Any:
    return op.sum(op.cast(op.not_equal(x, 0), "int32"), axis=axis, keepdims=keepdims)


def count(x: Any, axis: Any) -> int:
    """How many elements are reduced into one."""
    return math.prod([x.shape[a] for a in axes_of(axis, x.ndim)])


@by_nodes("var")
def _var(x: Any, *, axis: Any, ddof: int, keepdims: bool) -> Any:
    free = count(x, axis) - ddof
    squares = op.square(x - op.mean(x, axis=axis, keepdims=True))
    return op.sum(squares, axis=axis, keepdims=keepdims) / (float(free) if free > 0 else math.nan)


@by_nodes("std")
def _std(x: Any, *, axis: Any, ddof: int, keepdims: bool) -> Any:
    return op.sqrt(op.var(x, axis=axis, ddof=ddof, keepdims=keepdims))


@by_nodes("norm")
def _norm(x: Any, *, ord: Any, axis: Any, keepdims: bool) -> Any:
    p = 2.0 if ord is None or ord == "fro" else float(ord)
    x = x * 1.0
    if p == 2:
        return op.sqrt(op.sum(op.square(x), axis=axis, keepdims=keepdims))
    if p == 0:
        return op.sum(op.cast(op.not_equal(x, 0.0), x.dtype), axis=axis, keepdims=keepdims)
    if math.isinf(p):
        return (op.max if p > 0 else op.min)(op.abs(x), axis=axis, keepdims=keepdims)
    powers = op.abs(x) if p == 1 else op.power(op.abs(x), p)
    total = op.sum(powers, axis=axis, keepdims=keepdims)
    return total if p == 1 else op.power(total, 1.0 / p)


# Softmax ----------------------------------------------------------------------------------------------------


def _along_one(op_type: str, several: Any) -> Any:
    def apply(graph: Graph, x: Value, *, axis: Any) -> Any:
        axes = axes_of(axis, x.ndim)
        if len(axes) == 1:
            return in_dtype(graph, op_type, graph.out.dtype, x, axis=axes[0])
        return graph.expand(several, x, axis=axes)

    return apply


def _shifted(x: Any, axis: Any) -> Any:
    return x * 1.0 - op.max(x, axis=axis, keepdims=True)


def _softmax(x: Any, *, axis: Any) -> Any:
    powers = op.exp(_shifted(x, axis)) if axis else op.full(x.shape, 1.0)
    return powers / op.sum(powers, axis=axis, keepdims=True)


def _log_softmax(x: Any, *, axis: Any) -> Any:
    shifted = _shifted(x, axis)
    return shifted - op.log(op.sum(op.exp(shifted), axis=axis, keepdims=True))


rule("softmax")(_along_one("Softmax", _softmax))
rule("log_softmax")(_along_one("LogSoftmax", _log_softmax))


@by_nodes("softmin")
def _softmin(x: Any, *, axis: Any) -> Any:
    return op.softmax(-x, axis=axis)


# Order ------------------------------------------------------------------------------------------------------


@rule("sort")
def _sort(graph: Graph, x: Value, *, axis: int, descending: bool) -> tuple:
    return _largest(graph, x, x.shape[axis], axis, descending)


@rule("top_k")
def _top_k(graph: Graph, x: Value, *, k: int, axis: int, largest: bool) -> tuple:
    return _largest(graph, x, k, axis, largest)


def _largest(graph: Graph, x: Value, k: Any, axis: int, largest: bool) -> tuple:
    """The first of equal elements comes first, as ONNX has it too."""
    values, places = graph.add("TopK", graph.cast(x, numeric(x.dtype)), graph.dims([k]), outputs=2, axis=axis,
                               largest=int(largest), sorted=1)
    values = Value.of(values, Kind(graph.outs[0].shape, numeric(x.dtype)))
    return graph.cast(values, x.dtype), graph.cast(places, graph.outs[1].dtype)


# Running sums and products ----------------------------------------------------------------------------------


@rule("cumsum")
def _cumsum(graph: Graph, x: Value, *, axis: int, reverse: bool) -> str:
    return in_dtype(graph, "CumSum", working(graph.out.dtype), x, np.array(axis % x.ndim, np.int64),
                    reverse=int(reverse))


def along(step: Any, first: float, x: Any, axis: int, reverse: bool) -> Any:
    """A running y_t = step(y_(t-1), x_t) along an axis."""
    if 0 in x.shape:
        return op.identity(x)
    moved = op.moveaxis(x, source=axis, destination=0)
    start = op.full(moved.shape[1:], first, x.dtype)

    def one(carry: Any, item: Any) -> Any:
        after = step(carry, item)
        return after, after

    return op.moveaxis(op.scan(one, start, moved, reverse=reverse)[1], source=0, destination=axis)


@by_nodes("cumprod")
def _cumprod(x: Any, *, axis: int, reverse: bool) -> Any:
    x = op.cast(x, "int32") if x.dtype == bool else x
    return along(lambda carry, item: carry * item, 1.0 if x.aval.inexact else 1, x, axis, reverse)


@by_nodes("logcumsumexp")
def _logcumsumexp(x: Any, *, axis: int, reverse: bool) -> Any:
    return along(op.logaddexp, -math.inf, x * 1.0, axis, reverse)


@by_nodes("linear_recurrence")
def _linear_recurrence(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    """y_t = a_t y_(t-1) + b_t, step by step."""
    total = a + b  # for its shape and dtype
    both = [op.moveaxis(op.broadcast_to(op.cast(x, total.dtype), shape=total.shape), source=axis, destination=0)
            for x in (a, b)]

    def one(carry: Any, item: Any) -> Any:
        after = item[0] * carry + item[1]
        return after, after

    start = op.full(both[0].shape[1:], 0, total.dtype)
    return op.moveaxis(op.scan(one, start, tuple(both), reverse=reverse)[1], source=0, destination=axis)


# Normalisation ----------------------------------------------------------------------------------------------


@rule("normalize")
def _normalize(graph: Graph, x: Value, *affine: Value, axis: Any, eps: float, center: bool, along: Any) -> Any:
    """One node where all trailing axes are normalised and have weights of their own, as in layer normalisation."""
    axes, dtype = axes_of(axis, x.ndim), graph.out.dtype
    inner = x.shape[axes[0]:]
    whole = axes == tuple(range(axes[0], x.ndim)) and not any(isinstance(n, Dim) for n in inner)
    if center and whole and along is None and all(part.shape == inner for part in affine) and dtype == np.float32:
        weight = [graph.cast(part, dtype) for part in affine] or [np.ones(inner, dtype)]
        return graph.add("LayerNormalization", graph.cast(x, dtype), *weight, axis=axes[0], epsilon=eps)
    return graph.expand(_normalized, x, *affine, axis=axes, eps=eps, center=center, along=along)


def _placed(value: Any, shape: Any, axis: Any) -> Any:
    """A weight for some axes of x, shaped so that it broadcasts."""
    axes = axes_of(axis, len(shape))
    return op.reshape(value, shape=tuple([n if a in axes else 1 for a, n in enumerate(shape)]))


def _normalized(x: Any, *affine: Any, axis: Any, eps: float, center: bool, along: Any) -> Any:
    y = x * 1.0
    if center:
        y = y - op.mean(y, axis=axis, keepdims=True)
    y = y * op.rsqrt(op.mean(op.square(y), axis=axis, keepdims=True) + eps)
    for part, combine in zip(affine, (op.mult, op.add), strict=False):
        y = combine(y, _placed(part, x.shape, axis if along is None else along))
    return y


@by_nodes("deviation")
def _deviation(x: Any, *, axis: Any, eps: float, center: bool) -> Any:
    x = x - op.mean(x, axis=axis, keepdims=True) if center else x * 1.0
    return op.rsqrt(op.mean(op.square(x), axis=axis, keepdims=True) + eps)


@rule("standardize")
def _standardize(graph: Graph, x: Value, center: Value, variance: Value, *affine: Value, eps: float) -> Any:
    dtype, channels = graph.out.dtype, x.shape[1]
    if isinstance(channels, Dim) or any(part.shape != (channels,) for part in (center, variance, *affine)):
        return graph.expand(_standardized, x, center, variance, *affine, eps=eps)
    plain = np.ones(channels, dtype), np.zeros(channels, dtype)
    weight, bias = *[graph.cast(part, dtype) for part in affine], *plain[len(affine):]
    return graph.add("BatchNormalization", graph.cast(x, dtype), weight, bias, graph.cast(center, dtype),
                     graph.cast(variance, dtype), epsilon=eps)


def _standardized(x: Any, center: Any, variance: Any, *affine: Any, eps: float) -> Any:
    y = (x - _placed(center, x.shape, 1)) * op.rsqrt(_placed(variance, x.shape, 1) + eps)
    for part, combine in zip(affine, (op.mult, op.add), strict=False):
        y = combine(y, _placed(part, x.shape, 1))
    return y


@by_nodes("running_moments")
def _running_moments(average: Any, variance: Any, number: Any, x: Any, *, axis: Any, momentum: float | None) -> Any:
    axes = axes_of(axis, x.ndim)
    size, others = count(x, axes), tuple([a for a in range(x.ndim) if a != 1])
    level = op.mean(x, axis=axes, keepdims=True)
    spread = op.mean(op.square(x - level), axis=axes, keepdims=True) * float(size) / float(max(size - 1, 1))
    number = number + 1
    rate = 1.0 / number if momentum is None else momentum

    def moved(held: Any, new: Any) -> Any:
        new = op.reshape(op.mean(new, axis=others), shape=held.shape)
        return op.cast(held + rate * (new - held), held.dtype)

    return moved(average, level), moved(variance, spread), number
