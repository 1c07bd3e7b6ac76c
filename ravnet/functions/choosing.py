"""Taking, finding and setting elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError

from .function import function
from .index_text import index_of
from .kinds import Axis, Flag, IndexText, Int, Integers

# find_indices fills up rows of different lengths with it; no position, so that gathering there is an error.
NOWHERE = int(np.iinfo(np.int32).min)


def _within(name: str, indices: Any, length: int) -> None:
    positions = np.asarray(indices)
    wrong = positions[(positions < -length) | (positions >= length)]
    if wrong.size:
        raise InputError(f"{name}: position {wrong.flat[0]} is out of range for an axis of length {length}.")


def _integers(x: Any, name: str) -> Any:
    """Positions or classes as integers; what came as text or mixed lists may be floats."""
    if x.dtype.kind in "iu":
        return x
    if x.dtype.kind == "f":
        return op.cast(x, dtype=np.dtype("int32"))
    raise InputError(f"{name}: positions must be integers, but got {x.dtype.name}.")


# By position ------------------------------------------------------------------------------------------------


def _check_gather(x: Any, indices: Any) -> None:
    if not np.ndim(x):
        raise ShapeError("gather: a scalar has no rows.")
    _within("gather", indices, np.shape(x)[0])


@function("the rows of x (its elements along axis 0) at integer positions", "take(axis=0)", check=_check_gather,
          notes="one position gives one row, without its axis")
def gather(x: Any, indices: Any, /) -> Any:
    return op.take(x, _integers(indices, "gather"), axis=0)


@function("x[indices]: integers, slices, ... and None as text, or a list of integers and lists of them", "x[...]",
          notes="text is parsed, never evaluated; a list has an item for each axis: [0, 2] is x[0, 2]")
def index(x: Any, /, indices: IndexText) -> Any:
    return op.getitem(x, index_of(indices))


@function("x with value in place of x[indices]; value broadcasts", "x[...] = value", notes="indices as for index")
def set_value(x: Any, value: Any, /, indices: IndexText) -> Any:
    return op.set_at(x, index_of(indices), value)


def _patches(index1: Any, index2: Any, index3: Any) -> tuple[Any, ...]:
    return (slice(None), index1, index2, index3)


@function("x[:, index1, index2, index3]: the patches of images under a filter", "x[:, i, j, k]")
def cnn_index(x: Any, /, index1: Integers, index2: Integers, index3: Integers) -> Any:
    return op.getitem(x, _patches(index1, index2, index3))


@function("x[:, :, pad_h:height + pad_h, pad_w:width + pad_w]: images without their padding",
          "x[:, :, i:i + h, j:j + w]")
def cnn_index_2(x: Any, /, pad_h: Int, height: Int, pad_w: Int, width: Int) -> Any:
    return op.getitem(x, (slice(None), slice(None), slice(pad_h, height + pad_h), slice(pad_w, width + pad_w)))


@function("a with b added at [:, index1, index2, index3]; positions given several times receive all", "add.at")
def cnn_add_at(a: Any, b: Any, /, index1: Integers, index2: Integers, index3: Integers) -> Any:
    return op.add_at(a, _patches(index1, index2, index3), b)


def _check_classes(x: Any, depth: int) -> None:
    _within("one_hot_encoding", x, depth)


@function("for each element of x, flattened, a row of `depth` zeros with a 1 at its position",
          "squeeze(eye(depth)[x.ravel()])", check=_check_classes,
          notes="so one element gives (depth,); negative classes count from the end")
def one_hot_encoding(x: Any, /, depth: Int) -> Any:
    if depth < 1:
        raise InputError(f"one_hot_encoding: depth is the number of classes, but got {depth}.")
    classes = op.flatten(_integers(x, "one_hot_encoding"))
    return op.squeeze(op.one_hot(op.where(op.less(classes, 0), classes + depth, classes), depth))


# By value ---------------------------------------------------------------------------------------------------


@function("a where the condition is not 0, else b; of a condition alone, the positions where it is not 0", "where",
          late_when=lambda inputs, params: inputs == 1,
          notes="where(a, b, condition=c) or where(c, a, b); positions: one row for each axis")
def where(condition: Any, a: Any = None, b: Any = None, /) -> Any:
    if a is None:
        return np.stack(np.nonzero(np.atleast_1d(condition))).astype(np.int32)
    if b is None:
        raise InputError("where: takes a condition alone, or a condition and two arrays: where(a, b, condition=c).")
    return op.where(condition if condition.dtype == bool else op.not_equal(condition, 0), a, b)


def _unique_results(inputs: int, params: Mapping[str, Any]) -> int:
    return 1 + sum(bool(params.get(name)) for name in ("return_index", "return_inverse", "return_counts"))


@function("the values of x in increasing order, each once", "unique", late=True, results=_unique_results,
          notes="with return_index, return_inverse or return_counts: a list")
def unique(x: Any, /, return_index: Flag = False, return_inverse: Flag = False, return_counts: Flag = False,
           axis: Axis = None) -> Any:
    found = np.unique(x, return_index, return_inverse, return_counts, axis)
    if not isinstance(found, tuple):
        return found
    return [found[0], *[part.astype(np.int32) for part in found[1:]]]


@function("where each of the values is in x, which has one axis; for one value a list, for several a row each",
          "nonzero(x == v)[0]", late=True,
          notes=f"rows are filled up with {NOWHERE} to the length of the longest")
def find_indices(x: Any, values: Any, /) -> Any:
    if np.ndim(x) != 1:
        raise ShapeError(f"find_indices: x has one axis, but got the shape {np.shape(x)}.")
    found = [np.nonzero(x == value)[0].astype(np.int32) for value in np.ravel(values)]
    if len(found) == 1:
        return found[0]
    length = max([len(places) for places in found], default=0)
    return np.array([np.pad(places, (0, length - len(places)), constant_values=NOWHERE) for places in found],
                    np.int32).reshape(len(found), length)


@function("how often each of 0, 1, ... is in x; with weights, the sum of theirs", "bincount", late=True)
def bincount(x: Any, weights: Any = None, /, minlength: Int = 0) -> Any:
    counted = np.asarray(x)
    if counted.ndim != 1 or minlength < 0 or (counted < 0).any() or (counted != np.floor(counted)).any():
        raise InputError("bincount: x is a list of integers >= 0, and minlength is not negative.")
    if weights is not None and np.shape(weights) != counted.shape:
        raise ShapeError(f"bincount: weights have the shape {np.shape(weights)}, but x has {counted.shape}.")
    found = np.bincount(counted.astype(np.int64), weights, minlength)
    return found.astype(np.int32 if weights is None else np.float32)


FUNCTIONS = [gather, index, set_value, cnn_index, cnn_index_2, cnn_add_at, one_hot_encoding, where, unique,
             find_indices, bincount]
