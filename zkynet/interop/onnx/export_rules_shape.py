"""Rules of constructors and of what moves elements: dtype, layout, joining, slices, padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from .export_graph import Graph, Value
from .export_rules import by_nodes, rule
from .export_trace import Dim

# Constructors -----------------------------------------------------------------------------------------------


@rule("literal")
def _literal(graph: Graph, *, value: Any) -> str:
    return graph.scalar(value, graph.out.dtype)


@rule("full")
def _full(graph: Graph, *, shape: tuple, dtype: Any, value: Any) -> str:
    name = graph.scalar(value, dtype)
    return graph.add("Expand", name, graph.dims(shape)) if shape else name


@rule("arange")
def _arange(graph: Graph, *, start: Any, stop: Any, step: Any, dtype: Any) -> str:
    if not any(isinstance(part, Dim) for part in (start, stop, step)):
        return graph.constant(np.arange(start, stop, step, dtype=np.dtype(dtype)))
    inner = np.dtype(dtype)
    return graph.add("Range", *[graph.scalar(part, inner) for part in (start, stop, step)])


@by_nodes("eye")
def _eye(*, rows: int, columns: int, offset: int, dtype: Any) -> Any:
    places = op.expand_dims(op.arange(offset, rows + offset), axis=1)
    return op.cast(op.equal(op.arange(columns), places), dtype)


@by_nodes("basis")
def _basis(*, shape: tuple, dtype: Any) -> Any:
    size = math.prod(shape)
    return op.reshape(op.eye(size, dtype=dtype), shape=(size, *shape))


@rule("cast")
def _cast(graph: Graph, x: Value, *, dtype: Any) -> Any:
    if x.dtype.kind == "f" and graph.out.dtype == bool:
        return graph.add("Not", graph.add("Equal", x, np.zeros((), x.dtype)))
    return graph.cast(x, graph.out.dtype)


# Layout -----------------------------------------------------------------------------------------------------


def reshaped(graph: Graph, x: str, shape: tuple) -> str:
    """x in another shape, of which one number that depends on the batch is left to be inferred."""
    moving = [i for i, n in enumerate(shape) if isinstance(n, Dim)]
    if 0 in shape:
        return graph.add("Reshape", x, graph.dims(shape), allowzero=1)
    if moving:
        hidden = next((i for i in moving if shape[i].affine(graph.model.sizes) is None), moving[0])
        shape = tuple([-1 if i == hidden else n for i, n in enumerate(shape)])
    return graph.add("Reshape", x, graph.dims(shape))


@rule("reshape")
def _reshape(graph: Graph, x: Value, *, shape: Any) -> str:
    return x if x.shape == graph.out.shape else reshaped(graph, x, graph.out.shape)


@rule("expand_dims")
def _expand_dims(graph: Graph, x: Value, *, axis: Any) -> str:
    axes = axis if isinstance(axis, tuple) else (axis,)
    return graph.add("Unsqueeze", x, np.array([a % len(graph.out.shape) for a in axes], np.int64))


@rule("squeeze")
def _squeeze(graph: Graph, x: Value, *, axis: Any) -> str:
    given = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else axis
    axes = given if isinstance(given, (tuple, list)) else (given,)
    return graph.add("Squeeze", x, np.array([a % x.ndim for a in axes], np.int64)) if axes else x


def _permuted(graph: Graph, x: Value, order: Any) -> str:
    order = [int(i) for i in order]
    return x if order == list(range(x.ndim)) else graph.add("Transpose", x, perm=order)


@rule("transpose")
def _transpose(graph: Graph, x: Value, *, axes: Any) -> str:
    return _permuted(graph, x, [a % x.ndim for a in axes] if axes is not None else range(x.ndim)[::-1])


@rule("swapaxes")
def _swapaxes(graph: Graph, x: Value, *, axis1: int, axis2: int) -> str:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return _permuted(graph, x, order)


@rule("moveaxis")
def _moveaxis(graph: Graph, x: Value, *, source: Any, destination: Any) -> str:
    ours, theirs = ([a % x.ndim for a in (part if isinstance(part, tuple) else (part,))]
                    for part in (source, destination))
    order = [a for a in range(x.ndim) if a not in ours]
    for to, a in sorted(zip(theirs, ours, strict=True)):
        order.insert(to, a)
    return _permuted(graph, x, order)


@rule("concat")
def _concat(graph: Graph, *inputs: Value, axis: int) -> str:
    given = [graph.cast(x, graph.out.dtype) for x in inputs]
    return graph.add("Concat", *given, axis=axis) if len(given) > 1 else given[0]


@by_nodes("stack")
def _stack(*inputs: Any, axis: int) -> Any:
    return op.concat(*[op.expand_dims(x, axis=axis % (x.ndim + 1)) for x in inputs], axis=axis % (inputs[0].ndim + 1))


@rule("split")
def _split(graph: Graph, x: Value, *, sizes: tuple, axis: int) -> Any:
    if len(sizes) == 1:
        return (x,)
    return graph.add("Split", x, graph.dims(sizes), outputs=len(sizes), axis=axis % x.ndim)


@rule("broadcast_to")
def _broadcast_to(graph: Graph, x: Value, *, shape: tuple) -> str:
    if 0 in graph.out.shape:  # an axis of one element does not become empty
        return graph.add("ConstantOfShape", graph.dims(graph.out.shape), value=_zero(x.dtype))
    return x if x.shape == graph.out.shape else graph.add("Expand", x, graph.dims(graph.out.shape))


def _zero(dtype: np.dtype) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.zeros((1,), dtype))


@by_nodes("sum_to")
def _sum_to(x: Any, *, shape: tuple) -> Any:
    extra = x.ndim - len(shape)
    summed = [i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1]
    return op.reshape(op.sum(x, axis=(*range(extra), *summed)), shape=shape)


@rule("tile")
def _tile(graph: Graph, x: Value, *, reps: Any) -> str:
    reps = reps if isinstance(reps, tuple) else (reps,)
    shape = (1,) * (len(reps) - x.ndim) + x.shape
    given = x if len(shape) == x.ndim else reshaped(graph, x, shape)
    return graph.add("Tile", given, graph.dims((1,) * (len(shape) - len(reps)) + reps)) if shape else given


@by_nodes("repeat")
def _repeat(x: Any, *, repeats: int, axis: int) -> Any:
    before, after = x.shape[:axis + 1], x.shape[axis + 1:]
    apart = op.broadcast_to(op.expand_dims(x, axis=axis + 1), shape=(*before, repeats, *after))
    return op.reshape(apart, shape=(*before[:-1], before[-1] * repeats, *after))


@by_nodes("roll")
def _roll(x: Any, *, shift: Any, axis: Any) -> Any:
    if axis is None:
        return op.reshape(op.roll(op.reshape(x, shape=(-1,)), shift, 0), shape=x.shape)
    shifts, axes = (part if isinstance(part, tuple) else (part,) for part in (shift, axis))
    for by, along in zip(np.broadcast_to(shifts, len(axes)).tolist(), axes, strict=True):
        n = x.shape[along]
        if n and by % n:
            x = op.concat(*op.split(x, [n - by % n, by % n], axis=along)[::-1], axis=along % x.ndim)
    return x


# Slices and padding -----------------------------------------------------------------------------------------


def sliced(graph: Graph, x: Value, starts: Any, stops: Any, steps: Any) -> str:
    """Slice the axes of which not everything is taken."""
    axes = [i for i, (a, b, s, n) in enumerate(zip(starts, stops, steps, x.shape, strict=True))
            if not (a == 0 and b == n and s == 1)]
    if not axes:
        return x
    starts, stops, steps = ([part[i] for i in axes] for part in (starts, stops, steps))
    return graph.add("Slice", x, graph.dims(starts), graph.dims(stops), np.array(axes, np.int64), graph.dims(steps))


@rule("slice")
def _cut(graph: Graph, x: Value, *, starts: tuple, stops: tuple, steps: tuple) -> str:
    if x in graph.model.last_states:
        return x
    return sliced(graph, x, starts, stops, steps)


@rule("flip")
def _flip(graph: Graph, x: Value, *, axis: Any) -> str:
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    turned = np.array([a % x.ndim for a in axes], np.int64)
    ends = np.full(len(turned), np.iinfo(np.int64).min)
    return graph.add("Slice", x, np.full(len(turned), -1), ends, turned, np.full(len(turned), -1)) if len(turned) else x


@by_nodes("place")
def _place(x: Any, *, shape: tuple, starts: tuple, steps: tuple) -> Any:
    """Zeros after every element, then around all of them; what is too much at the end is cut off."""
    for axis, (start, step, length) in enumerate(zip(starts, steps, shape, strict=True)):
        count = x.shape[axis]
        if step > 1 and count:
            x = op.pad(op.expand_dims(x, axis=axis + 1), {axis + 1: (0, step - 1)})
            x = op.reshape(x, shape=(*x.shape[:axis], count * step, *x.shape[axis + 2:]))
        x = op.pad(x, {axis: (start, length - start - x.shape[axis])})
    return x


@rule("pad")
def _pad(graph: Graph, x: Value, *, widths: tuple, mode: str, value: Any) -> Any:
    if all(width == (0, 0) for width in widths):
        return x
    if mode != "constant":
        return graph.expand(_extended, x, widths=widths, mode=mode)
    counts = [n for column in zip(*widths, strict=True) for n in column]
    return graph.add("Pad", x, graph.dims(counts), graph.scalar(value, x.dtype))


def _extended(x: Any, *, widths: tuple, mode: str) -> Any:
    """The other modes, as rows that are taken again."""
    for axis, (before, after) in enumerate(widths):
        n = x.shape[axis]
        if not (before or after):
            continue
        places = np.arange(-before, n + after)
        if mode == "reflect":
            places = np.abs(places)
            places = np.where(places >= n, 2 * (n - 1) - places, places)
        else:
            places = places % n if mode == "circular" else np.clip(places, 0, n - 1)
        x = op.take(x, places, axis)
    return x
