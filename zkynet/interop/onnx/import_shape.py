"""Import rules of shapes and layout: what makes, moves, joins, splits and repeats elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from ...framework.errors import InputError, ShapeError
from .import_registry import dtype_of, importer
from .program import constant_of

_SMALL = 1 << 16  # constants up to this many elements are kept on the host, where shapes can be computed from them


# Constants --------------------------------------------------------------------------------------------------


@importer("Constant", fold=False)
def _(ctx):
    return constant_of(ctx.attributes)


@importer("ConstantOfShape", fold=False)
def _(ctx, shape):
    sizes = ctx.ints(shape, "the shape")
    value = np.asarray(ctx.attr("value", np.zeros(1, np.float32))).reshape(())
    if np.prod(sizes, dtype=float) <= _SMALL:
        return np.full(sizes, value)
    return op.broadcast_to(value, shape=sizes)


@importer("Shape")
def _(ctx, x):
    return np.asarray(x.shape[slice(ctx.attr("start", None), ctx.attr("end", None))], dtype=np.int64)


@importer("Size")
def _(ctx, x):
    return np.asarray(math.prod(x.shape), dtype=np.int64)


@importer("Range", fold=False)
def _(ctx, start, limit, delta):
    first, last, step = (ctx.static(v, "a limit of Range") for v in (start, limit, delta))
    first, last, step = (v.reshape(()) for v in (first, last, step))
    count = max(int(np.ceil((np.float64(last) - np.float64(first)) / np.float64(step))), 0)
    if count > 1 << 28:
        raise ShapeError(f"Range would make {count} elements.")
    return (first + np.arange(count).astype(first.dtype) * step).astype(first.dtype)


@importer("EyeLike", fold=False)
def _(ctx, x):
    kind = ctx.attr("dtype", None)
    return op.eye(x.shape[0], x.shape[1], offset=ctx.attr("k", 0), dtype=x.dtype if kind is None else dtype_of(kind))


@importer("OneHot", fold=False)
def _(ctx, indices, depth, values):
    count = int(ctx.number(depth, "the depth"))
    axis = ctx.attr("axis", -1)
    if not np.issubdtype(indices.dtype, np.integer):
        indices = op.cast(indices, dtype=np.int32)
    wrapped = op.where(op.less(indices, 0), op.add(indices, count), indices)
    hot = op.one_hot(wrapped, count, dtype=bool, axis=axis)
    return op.where(hot, values[1], values[0])


# Shapes -----------------------------------------------------------------------------------------------------


@importer("Reshape")
def _(ctx, x, shape=None):
    sizes = ctx.attr("shape") if shape is None else ctx.ints(shape, "the shape")
    if not ctx.attr("allowzero", 0):
        sizes = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(sizes)]
    total, rest = math.prod(x.shape), math.prod([n for n in sizes if n != -1])
    if -1 in sizes and (rest == 0 or total % rest):
        raise ShapeError(f"cannot reshape {tuple(x.shape)} to {tuple(sizes)}.")
    return op.reshape(x, shape=tuple(total // rest if n == -1 else int(n) for n in sizes))


@importer("Flatten")
def _(ctx, x):
    axis = ctx.attr("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return op.reshape(x, shape=(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@importer("Squeeze")
def _(ctx, x, axes=None):
    found = ctx.attr("axes", None) if axes is None else ctx.ints(axes, "axes")
    if found is None:
        found = [i for i, n in enumerate(x.shape) if n == 1]
    return op.squeeze(x, axis=tuple(int(a) % x.ndim for a in found)) if len(found) else x


@importer("Unsqueeze")
def _(ctx, x, axes=None):
    found = ctx.attr("axes") if axes is None else ctx.ints(axes, "axes")
    return op.expand_dims(x, axis=tuple(int(a) % (x.ndim + len(found)) for a in found)) if len(found) else x


@importer("Transpose")
def _(ctx, x):
    return op.transpose(x, tuple(ctx.attr("perm", None) or range(x.ndim)[::-1]))


@importer("Expand", fold=False)
def _(ctx, x, shape):
    sizes = np.broadcast_shapes(tuple(x.shape), ctx.ints(shape, "the shape") or ())
    if isinstance(x, np.ndarray) and np.prod(sizes, dtype=float) <= _SMALL:
        return np.broadcast_to(x, sizes)
    return op.broadcast_to(x, shape=sizes) if sizes != tuple(x.shape) else x


@importer("Tile", fold=False)
def _(ctx, x, repeats, axis=None):
    counts: Any = ctx.ints(repeats, "the repeats") or ()
    if axis is not None:  # opset 1: how often, along which axis
        counts = [counts[0] if i == ctx.number(axis) else 1 for i in range(x.ndim)]
    if len(counts) != x.ndim:
        raise ShapeError(f"Tile needs one number of repeats for each of {x.ndim} axes, but got {counts}.")
    if isinstance(x, np.ndarray) and x.size * np.prod(counts, dtype=float) <= _SMALL:
        return np.tile(x, counts)
    return op.tile(x, tuple(counts))


# Joining and splitting --------------------------------------------------------------------------------------


@importer("Concat")
def _(ctx, *parts):
    return op.concat(parts, axis=ctx.attr("axis", 1 if ctx.opset < 4 else 0))


@importer("Split")
def _(ctx, x, split=None):
    axis = ctx.attr("axis", 0) % x.ndim
    sizes = ctx.attr("split", None) if split is None else ctx.ints(split, "the sizes")
    length = x.shape[axis]
    if sizes is None:
        count = ctx.attr("num_outputs", len(ctx.node.output))
        size = -(-length // count)
        sizes = [max(min(size, length - i * size), 0) for i in range(count)]
    if sum(sizes) != length:
        raise ShapeError(f"Split into {list(sizes)} does not fit an axis of length {length}.")
    ends = np.cumsum([0, *sizes])
    index = [slice(None)] * axis
    return tuple(x[(*index, slice(int(a), int(b)))] for a, b in zip(ends[:-1], ends[1:], strict=True))


@importer("DepthToSpace")
def _(ctx, x):
    size = ctx.attr("blocksize")
    n, c, h, w = x.shape
    if ctx.attr("mode", "DCR") == "DCR":
        parts = op.transpose(op.reshape(x, shape=(n, size, size, c // size**2, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        parts = op.transpose(op.reshape(x, shape=(n, c // size**2, size, size, h, w)), (0, 1, 4, 2, 5, 3))
    return op.reshape(parts, shape=(n, c // size**2, h * size, w * size))


@importer("SpaceToDepth")
def _(ctx, x):
    size = ctx.attr("blocksize")
    n, c, h, w = x.shape
    parts = op.reshape(x, shape=(n, c, h // size, size, w // size, size))
    order = (0, 3, 5, 1, 2, 4) if ctx.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return op.reshape(op.transpose(parts, order), shape=(n, c * size**2, h // size, w // size))


# Slices and borders -----------------------------------------------------------------------------------------


def _bounds(start: int, end: int, step: int, length: int) -> slice:
    """A slice from bounds that may be anything, such as the largest int64 for "to the end"."""
    start, end = (n + length if n < 0 else n for n in (start, end))
    if step > 0:
        return slice(min(max(start, 0), length), min(max(end, 0), length), step)
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return slice(start, None if end < 0 else end, step)


@importer("Slice")
def _(ctx, x, starts=None, ends=None, axes=None, steps=None):
    first = ctx.attr("starts") if starts is None else ctx.ints(starts, "starts")
    last = ctx.attr("ends") if ends is None else ctx.ints(ends, "ends")
    along = ctx.attr("axes", None) if axes is None else ctx.ints(axes, "axes")
    along = range(len(first)) if along is None else along
    strides = ctx.ints(steps, "steps") or [1] * len(first)
    index: list[Any] = [slice(None)] * x.ndim
    for axis, a, b, step in zip(along, first, last, strides, strict=True):
        index[axis % x.ndim] = _bounds(a, b, step, x.shape[axis])
    return x[tuple(index)]


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@importer("Pad", fold=False)
def _(ctx, x, pads=None, value=None, axes=None):
    widths = ctx.attr("pads", None) or ctx.attr("paddings", None) if pads is None else ctx.ints(pads, "pads")
    along = range(x.ndim) if axes is None else [a % x.ndim for a in ctx.ints(axes, "axes") or ()]
    if widths is None or len(widths) != 2 * len(along):
        raise InputError(f"Pad needs two widths for each of {len(along)} axes, but got {widths}.")
    mode = _PAD_MODES[ctx.attr("mode", "constant")]
    fill = ctx.attr("value", 0.0) if value is None else ctx.number(value, "the value")
    pairs = {int(a): (int(widths[i]), int(widths[len(along) + i])) for i, a in enumerate(along)}
    if mode != "circular":
        return op.pad(x, pairs, mode=mode, value=bool(fill) if x.dtype == bool else fill)
    return _wrapped(x, pairs)


def _wrapped(x: Any, pairs: dict[int, tuple[int, int]]) -> Any:
    """x repeated beyond its borders, any number of times."""
    for axis, (before, after) in pairs.items():
        if before or after:
            x = op.take(x, np.arange(-before, x.shape[axis] + after) % x.shape[axis], axis=axis)
    return x


@importer("CenterCropPad", fold=False)
def _(ctx, x, shape):
    sizes = ctx.ints(shape, "the shape") or ()
    along = [a % x.ndim for a in ctx.attr("axes", range(x.ndim))]
    for axis, size in zip(along, sizes, strict=True):
        length = x.shape[axis]
        index: list[Any] = [slice(None)] * x.ndim
        if size < length:
            start = (length - size) // 2
            index[axis] = slice(start, start + size)
            x = x[tuple(index)]
        elif size > length:
            before = (size - length) // 2
            x = op.pad(x, {axis: (before, size - length - before)})
    return x


@importer("Trilu")
def _(ctx, x, k=None):
    offset = 0 if k is None else int(ctx.number(k, "k"))
    return (op.triu if ctx.attr("upper", 1) else op.tril)(x, offset)


@importer("ReverseSequence")
def _(ctx, x, lengths):
    """Along the time axis, the first `lengths[b]` elements in reverse order."""
    time, batch = ctx.attr("time_axis", 0), ctx.attr("batch_axis", 1)
    shape = [1] * x.ndim
    shape[time] = x.shape[time]
    steps = np.arange(x.shape[time], dtype=np.int32).reshape(shape)
    shape = [1] * x.ndim
    shape[batch] = x.shape[batch]
    counts = op.reshape(op.cast(lengths, dtype=np.int32), shape=tuple(shape))
    places = op.where(op.less(steps, counts), counts - 1 - steps, steps)
    return op.take_along_axis(x, places, axis=time)
