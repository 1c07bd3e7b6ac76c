"""Changing the shape and the order of elements, and joining arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.operators.arguments import axis_of

from .function import function, is_place
from .kinds import Axes, Axis, Counts, Flag, Int, MaybeCounts, NewShape, Number, Order, Reps, Widths, choice

Layout = Annotated[str, choice("C", "F")]
PadMode = Annotated[str, choice("constant", "edge", "reflect", "symmetric", "wrap")]


# Shapes -----------------------------------------------------------------------------------------------------


@function("x with the axes in another order; reversed by default", "transpose")
def transpose(x: Any, /, axes: Order = None) -> Any:
    return op.transpose(x, axes=(axes,) if isinstance(axes, int) else axes)


@function("x in another shape; -1 stands for what is left", "reshape")
def reshape(x: Any, /, shape: NewShape) -> Any:
    return op.reshape(x, shape=shape)


@function("a new axis of length 1", "expand_dims", notes="axis 0 by default")
def expand_dims(x: Any, /, axis: Axes = 0) -> Any:
    return op.expand_dims(x, axis=0 if axis is None else axis)


@function("x without axes of length 1; all of them by default", "squeeze")
def squeeze(x: Any, /, axis: Axes = None) -> Any:
    return op.squeeze(x, axis=axis)


@function("x as one axis; column by column with order='F'", "ravel", name="flatten")
def flatten(x: Any, /, order: Layout = "C") -> Any:
    return op.flatten(op.transpose(x) if order == "F" else x)


ravel = function("x as one axis; column by column with order='F'", "ravel", name="ravel")(flatten.body)


# Order ------------------------------------------------------------------------------------------------------


@function("x in increasing order along an axis; of all elements for None", "sort")
def sort(x: Any, /, axis: Axis = -1) -> Any:
    return op.sort(x, axis=axis)


@function("x with the order of elements reversed along axes; all by default", "flip")
def reverse(x: Any, /, axis: Axes = None) -> Any:
    return op.flip(x, axis=axis)


# Joining and repeating --------------------------------------------------------------------------------------


@function("arrays one after the other along an axis", "concatenate",
          notes="a scalar counts as an array of one element, an empty one as one of any shape")
def concat(*arrays: Any, axis: Axis = 0) -> Any:
    if not arrays:
        raise InputError("concat: there are no arrays to join.")
    if axis is None:
        return op.concat(*[op.flatten(x) for x in arrays], axis=0)
    parts = [op.reshape(x, shape=(1,)) if not x.shape else x for x in arrays]
    # Scripts begin a list with an empty tensor, which has one axis whatever they append.
    if any(x.ndim > 1 for x in parts):
        parts = [x for x in parts if x.shape != (0,)]
    return op.concat(*parts, axis=axis)


@function("arrays of one shape along a new axis", "stack",
          notes="of one array that is in no list: its parts along axis 0")
def stack(*arrays: Any, axis: Int = 0, listed: Flag = False) -> Any:
    if len(arrays) != 1 or listed:
        if not arrays:
            raise InputError("stack: there are no arrays to join.")
        return op.stack(*arrays, axis=axis)
    x = arrays[0]
    return op.moveaxis(x, source=0, destination=axis_of(axis, x.ndim, "stack")) if x.shape else x


@function("the elements of a, then those of b, as one axis", "append")
def join_to_list(a: Any, b: Any, /) -> Any:
    return op.concat(op.flatten(a), op.flatten(b), axis=0)


@function("a and b along a new first axis", "array([a, b])")
def combine_to_list(a: Any, b: Any, /) -> Any:
    return op.stack(a, b, axis=0)


@function("x repeated as a whole, reps[i] times along axis i", "tile")
def tile(x: Any, /, reps: Reps) -> Any:
    return op.tile(x, reps=reps)


@function("every element of x several times in a row; of the flattened array by default", "repeat",
          notes="repeats: a number, or one for each element along the axis")
def repeat(x: Any, /, repeats: Counts, axis: Axis = None) -> Any:
    return op.repeat(x, list(repeats) if isinstance(repeats, tuple) else repeats, axis)


@function("x with elements added at the ends of its axes", "pad",
          notes="sequence: a width, a pair (before, after), or one pair for each axis")
def pad(x: Any, /, sequence: Widths, mode: PadMode = "constant", constant_values: Number = 0) -> Any:
    try:
        widths = np.broadcast_to(np.asarray(sequence), (x.ndim, 2)).tolist()
    except ValueError:
        raise ShapeError(f"pad: the widths {sequence!r} do not fit an array of {x.ndim} axes.") from None
    if min([width for pair in widths for width in pair], default=0) < 0:
        raise InputError(f"pad: widths must not be negative, but got {sequence!r}.")
    if mode == "constant":
        return op.pad(x, widths, value=constant_values)
    for axis, pair in enumerate(widths):
        if any(pair):
            if not x.shape[axis]:
                raise ShapeError(f"pad: axis {axis} has no elements, so mode {mode!r} has nothing to repeat.")
            # Which element stands where is the same question for the positions.
            x = op.take(x, np.pad(np.arange(x.shape[axis]), pair, mode=mode), axis=axis)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return x


def _parts(inputs: int, params: Mapping[str, Any]) -> int:
    parts = params["numOrSizeSplits"]
    if is_place(parts):
        raise InputError("split: numOrSizeSplits says how many results there are, so it must be a number or a list.")
    return parts if isinstance(parts, int) else len(parts) + 1


@function("x cut along an axis, into equal parts or at positions", "split", results=_parts,
          notes="numOrSizeSplits: the number of parts, or the list of positions at which the later ones begin; "
                "gives a list")
def split(x: Any, /, numOrSizeSplits: Counts, axis: Axis = 0) -> Any:
    place = axis_of(axis or 0, x.ndim, "split")
    if isinstance(numOrSizeSplits, int):
        return op.split(x, numOrSizeSplits, place)
    bounds = [0, *numOrSizeSplits, None]
    whole = (slice(None),) * place
    return tuple([x[(*whole, slice(start, stop))] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)])


@function("`size` elements of x from `begin` on along axis 0; lists have one number for each of the first axes",
          "x[begin:begin + size]", name="slice", notes="all that follow without `size`")
def part_of(x: Any, /, begin: Counts = 0, size: MaybeCounts = None) -> Any:
    begins = begin if isinstance(begin, tuple) else (begin,)
    sizes = size if isinstance(size, tuple) else (size,) * len(begins)
    if len(sizes) != len(begins) or len(begins) > x.ndim:
        raise ShapeError(f"slice: begin {begin!r} and size {size!r} do not fit an array of {x.ndim} axes.")
    index = []
    for first, count, length in zip(begins, sizes, x.shape, strict=False):
        if not -length <= first <= length or (count is not None and count < 0):
            raise ShapeError(f"slice: begin {first} and size {count} do not fit an axis of length {length}.")
        first %= length + (first >= 0)
        index.append(slice(first, None if count is None else first + count))
    return x[tuple(index)]


FUNCTIONS = [transpose, reshape, expand_dims, squeeze, flatten, ravel, sort, reverse, concat, stack, join_to_list,
             combine_to_list, tile, repeat, pad, split, part_of]
