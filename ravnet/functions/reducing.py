"""Sums, extremes and statistics along axes; products of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.nodes import Node
from zkynet.framework.operators.arguments import axis_of

from .function import Function, function
from .kinds import Axes, Axis, Flag, Int, Numbers, choice

METHODS = ("linear", "lower", "higher", "nearest", "midpoint", "hazen", "weibull", "median_unbiased",
           "normal_unbiased", "inverted_cdf", "averaged_inverted_cdf", "closest_observation",
           "interpolated_inverted_cdf")
Method = Annotated[str, choice(*METHODS)]

# name: (operator, meaning, NumPy's counterpart)
REDUCTIONS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "sum": (op.sum, "the sum of x along axes; all by default", "sum"),
    "prod": (op.prod, "the product of x along axes; all by default", "prod"),
    "min": (op.min, "the smallest x along axes; all by default", "min"),
    "max": (op.max, "the largest x along axes; all by default", "max"),
    "mean": (op.mean, "the sum of x along axes / their number of elements", "mean"),
}
MOMENTS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "variance": (op.var, "the sum of (x - mean)^2 / (n - ddof) along axes", "var"),
    "std": (op.std, "the square root of the variance", "std"),
}
POSITIONS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "argmax": (op.argmax, "where the first largest x is along an axis; in the flattened array by default", "argmax"),
    "argmin": (op.argmin, "where the first smallest x is along an axis; in the flattened array by default", "argmin"),
}


def _reduction(name: str, run: Callable[..., Any], meaning: str, numpy: str) -> Function:
    def body(x: Any, /, axis: Axes = None, keepdims: Flag = False) -> Any:
        return run(x, axis=axis, keepdims=keepdims)

    return function(meaning, numpy, name)(body)


def _moment(name: str, run: Callable[..., Any], meaning: str, numpy: str) -> Function:
    def body(x: Any, /, axis: Axes = None, keepdims: Flag = False, ddof: Int = 0) -> Any:
        return run(x, axis=axis, keepdims=keepdims, ddof=ddof)

    return function(meaning, numpy, name)(body)


def _position(name: str, run: Callable[..., Any], meaning: str, numpy: str) -> Function:
    def body(x: Any, /, axis: Axis = None, keepdims: Flag = False) -> Any:
        return run(x, axis=axis, keepdims=keepdims)

    return function(meaning, numpy, name)(body)


# Order statistics -------------------------------------------------------------------------------------------


def _lined(x: Node, axis: Any, name: str) -> tuple[Node, tuple[int, ...], tuple[int, ...]]:
    """x with the reduced axes as its last one, the shape without them, and with length 1 in their place."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = [axis_of(a, x.ndim, name) for a in axes]
    if len(set(axes)) != len(axes):
        raise InputError(f"{name}: an axis is given twice: {axis!r}.")
    rest = [a for a in range(x.ndim) if a not in axes]
    left = tuple([x.shape[a] for a in rest])
    count = math.prod([x.shape[a] for a in axes])
    if not count:
        raise ShapeError(f"{name}: there are no elements along {axis!r} of {x.aval!r}.")
    moved = op.transpose(x, axes=(*rest, *axes)) if x.ndim else x
    return (op.reshape(moved, shape=(*left, count)), left,
            tuple([1 if a in axes else n for a, n in enumerate(x.shape)]))


@function("the middle element in order along axes; the mean of the two middle ones for an even number", "median")
def median(x: Any, /, axis: Axes = None, keepdims: Flag = False) -> Any:
    line, left, kept = _lined(x, axis, "median")
    return op.reshape(op.median(line, axis=-1), shape=kept if keepdims else left)


@function("the value below which q percent of x lie along axes, between elements by `method`", "percentile",
          notes="q: a number from 0 to 100, or a list of them, which become the first axis")
def percentile(x: Any, /, q: Numbers, axis: Axes = None, keepdims: Flag = False, method: Method = "linear") -> Any:
    line, left, kept = _lined(x, axis, "percentile")
    wanted = np.asarray(q, np.float64)
    if not ((wanted >= 0) & (wanted <= 100)).all():
        raise InputError(f"percentile: q is from 0 to 100, but got {q!r}.")
    # The percentiles of 0, 1, ... are the positions between which to take those of x.
    positions = np.percentile(np.arange(line.shape[-1]), wanted, method=method)  # pyright: ignore[reportCallIssue, reportArgumentType]
    below = np.floor(positions).astype(np.int32)
    share = (positions - below).astype(np.float32)
    ordered = op.sort(line, axis=-1)
    ordered = ordered if ordered.dtype.kind == "f" else op.cast(ordered, dtype=np.dtype("float32"))
    low, high = (op.take(ordered, place, axis=-1) for place in (below, np.ceil(positions).astype(np.int32)))
    found = op.where(share > 0, low + (high - low) * share, low)
    last = op.reshape(ordered[..., -1], shape=left + (1,) * wanted.ndim)
    found = op.where(op.isnan(last), last, found)  # nan is sorted to the end
    ends = tuple(range(len(left), len(left) + wanted.ndim))
    found = op.moveaxis(found, source=ends, destination=tuple(range(wanted.ndim))) if ends else found
    return op.reshape(found, shape=(*wanted.shape, *kept)) if keepdims else found


@function("the most frequent value along an axis, the smallest of several; of all elements for None",
          "scipy.stats.mode(x).mode")
def mode(x: Any, /, axis: Axis = 0, keepdims: Flag = False) -> Any:
    line, left, kept = _lined(x, axis if x.ndim else None, "mode")
    count = line.shape[-1]
    rows = op.sort(op.reshape(line, shape=(math.prod(left), count)), axis=-1)
    begins = op.concat(op.zeros((rows.shape[0], 1), "int32"),
                       op.cast(op.not_equal(rows[:, 1:], rows[:, :-1]), dtype=np.dtype("int32")), axis=1)
    run = op.cumsum(begins, axis=1)  # equal elements have one number
    sizes = op.scatter_add(op.zeros((rows.shape[0], count), "int32"), run, 1, axis=1)
    longest = op.argmax(sizes, axis=1, keepdims=True)
    first = op.argmax(op.equal(run, longest), axis=1, keepdims=True)
    return op.reshape(op.take_along_axis(rows, first, axis=1), shape=kept if keepdims else left)


@function("the sum of weights times x along axes / the sum of the weights; the mean without weights", "average",
          notes="weights: of the shape of x, or one for each element along the axis")
def average(x: Any, weights: Any = None, /, axis: Axes = None, keepdims: Flag = False) -> Any:
    if weights is None:
        return op.mean(x, axis=axis, keepdims=keepdims)
    if weights.shape != x.shape:
        if not isinstance(axis, int) or weights.shape != (x.shape[axis_of(axis, x.ndim, "average")],):
            raise ShapeError(f"average: weights have the shape {weights.shape}; it must be that of x, {x.shape}, or "
                             "there must be one for each element along one axis.")
        place = axis_of(axis, x.ndim, "average")
        weights = op.reshape(weights, shape=tuple([n if a == place else 1 for a, n in enumerate(x.shape)]))
        weights = op.broadcast_to(weights, shape=x.shape)
    total = op.sum(weights, axis=axis, keepdims=keepdims)
    return op.divide(op.sum(x * weights, axis=axis, keepdims=keepdims), total)


# Products ---------------------------------------------------------------------------------------------------


@function("the sum of products over the last axis of a and the last but one of b, for each pair of matrices", "matmul")
def matmul(a: Any, b: Any, /) -> Any:
    return op.matmul(a, b)


@function("the sum of products over the last axis of a and the last but one of b; all of a meet all of b", "dot")
def dot(a: Any, b: Any, /) -> Any:
    return op.dot(a, b)


@function("the inverse of a matrix, of each along the leading axes", "linalg.inv",
          notes="a singular matrix gives inf or nan")
def inv(x: Any, /) -> Any:
    return op.inv(x)


FUNCTIONS = [*[_reduction(name, *row) for name, row in REDUCTIONS.items()],
             *[_moment(name, *row) for name, row in MOMENTS.items()],
             *[_position(name, *row) for name, row in POSITIONS.items()],
             median, percentile, mode, average, matmul, dot, inv]
