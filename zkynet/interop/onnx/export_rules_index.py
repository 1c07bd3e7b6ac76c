"""Rules of indexing, gathering and scattering, and of windows at computed positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from ...framework.operators.index import ARRAY
from ...framework.operators.shape import place
from .export_graph import Graph, Value
from .export_rules import by_nodes, numeric, rule
from .export_rules_shape import sliced
from .export_trace import lift

# Indexing ---------------------------------------------------------------------------------------------------


def _whole(entry: Any, n: Any) -> bool:
    return isinstance(entry, tuple) and entry == (0, n, 1)


@rule("getitem")
def _getitem(graph: Graph, x: Value, *indices: Value, index: tuple, outside: Any, distinct: bool) -> Any:
    if not indices:
        return _boxed(graph, x, index)
    entries = (*index, *[(0, n, 1) for n in x.shape[len([e for e in index if e is not None]):]])
    if len(indices) == 1 and None not in entries and all(
            entry == ARRAY or _whole(entry, n) for entry, n in zip(entries, x.shape, strict=True)):
        return graph.add("Gather", x, graph.cast(indices[0], _position_dtype(indices[0])), axis=entries.index(ARRAY))
    return graph.expand(_taken, x, *indices, index=entries)


def _position_dtype(indices: Value) -> np.dtype:
    return np.dtype("int64") if indices.dtype == np.int64 else np.dtype("int32")


def _boxed(graph: Graph, x: Value, index: tuple) -> str:
    entries = [e for e in (*index, *[(0, n, 1) for n in x.shape[len([e for e in index if e is not None]):]])
               if e is not None]
    boxes = [e if isinstance(e, tuple) else (e, lift(lambda _: 1, e), 1) for e in entries]
    starts, steps = [b[0] for b in boxes], [b[2] for b in boxes]
    stops = [lift(_stop, *box) for box in boxes]
    part = sliced(graph, x, starts, stops, steps)
    # Axes of ints go, those of None come.
    gone = [i for i, e in enumerate(entries) if not isinstance(e, tuple)]
    if gone:
        part = graph.add("Squeeze", part, np.array(gone, np.int64))
    kept = [e for e in index if e is None or isinstance(e, tuple)]
    new = [i for i, e in enumerate(kept) if e is None]
    return graph.add("Unsqueeze", part, np.array(new, np.int64)) if new else part


def _stop(start: int, count: int, step: int) -> int:
    """Where a slice ends; before the first element it is counted from far beyond the start."""
    stop = start + count * step if step < 0 else start + (count - 1) * step + 1 if count else start
    return stop if stop >= 0 else np.iinfo(np.int64).min + 1


def _split_index(x: Any, indices: Any, index: tuple) -> tuple[Any, list[Any], list[int], bool]:
    """x with the static parts of an index taken; positions (from 0) along the axes that arrays index; those axes; and
    whether they stand side by side, so that NumPy puts the result's axes in their place."""
    arrays, given = [], iter(indices)
    static: list[Any] = []
    for entry in index:
        if entry is None:
            static.append(None)
        elif isinstance(entry, tuple):
            start, count, step = entry
            stop = start + count * step
            static.append(slice(start, stop if stop >= 0 else None, step))
        else:
            static.append(slice(None))
            arrays.append((len(static) - 1, next(given) if entry == ARRAY else op.full((), entry, "int32")))
    x = x[tuple(static)]
    axes = [axis for axis, _ in arrays]
    places = [_from_start(array, x.shape[axis]) for axis, array in arrays]
    return x, places, axes, axes == list(range(axes[0], axes[0] + len(axes)))


def _from_start(places: Any, n: int) -> Any:
    return op.where(places < 0, places + n, places)


def _flattened(x: Any, places: list[Any], axes: list[int]) -> tuple[Any, Any, list[int]]:
    """x with the indexed axes merged into its first, positions in that, and the order in which the axes then are."""
    shape: Any = np.broadcast_shapes(*[p.shape for p in places])
    flat: Any = 0
    for axis, position in zip(axes, places, strict=True):
        flat = flat * x.shape[axis] + position
    order = [*axes, *[a for a in range(x.ndim) if a not in axes]]
    moved = op.transpose(x, axes=tuple(order))
    rows = op.reshape(moved, shape=(math.prod(moved.shape[:len(axes)]), *moved.shape[len(axes):]))
    return rows, op.broadcast_to(flat, shape=shape), order


def _taken(x: Any, *indices: Any, index: tuple) -> Any:
    x, places, axes, together = _split_index(x, indices, index)
    rows, flat, _ = _flattened(x, places, axes)
    y = op.take(rows, flat, axis=0)
    if not together or not flat.ndim or not axes[0]:
        return y
    own = tuple(range(flat.ndim))
    return op.moveaxis(y, own, tuple([axes[0] + i for i in own]))


@rule("add_at")
def _add_at(graph: Graph, x: Value, values: Value, *indices: Value, index: tuple, **_: Any) -> Any:
    return _written(graph, x, values, indices, index, "add")


@rule("set_at")
def _set_at(graph: Graph, x: Value, values: Value, *indices: Value, index: tuple, **_: Any) -> Any:
    return _written(graph, x, values, indices, index, "none")


def _written(graph: Graph, x: Value, values: Value, indices: Any, index: tuple, reduction: str) -> Any:
    if not indices:
        return graph.expand(_written_box, x, values, index=index, reduction=reduction)
    if index == (ARRAY,) and values.shape == (*indices[0].shape, *x.shape[1:]):
        inner = numeric(x.dtype)
        places = graph.add("Unsqueeze", graph.cast(indices[0], "int64"), np.array([-1], np.int64))
        name = graph.add("ScatterND", graph.cast(x, inner), places, graph.cast(values, inner), reduction=reduction)
        return graph.cast(name, x.dtype) if inner != x.dtype else name
    return graph.expand(_written_rows, x, values, *indices, index=index, reduction=reduction)


def _written_box(x: Any, values: Any, *, index: tuple, reduction: str) -> Any:
    """Values laid out as the part of x they go to, then placed in zeros; and where they are."""
    entries = (*index, *[(0, n, 1) for n in x.shape[len([e for e in index if e is not None]):]])
    result = [1 if e is None else e[1] for e in entries if e is None or isinstance(e, tuple)]
    boxes = [e if isinstance(e, tuple) else (e, 1, 1) for e in entries if e is not None]
    laid = op.reshape(op.broadcast_to(op.cast(values, x.dtype), shape=tuple(result)),
                      shape=tuple([count for _, count, _ in boxes]))
    turned = tuple([i for i, (_, _, step) in enumerate(boxes) if step < 0])
    laid = op.flip(laid, axis=turned) if turned else laid
    starts = tuple([start + (count - 1) * step if step < 0 else start for start, count, step in boxes])
    how = {"shape": tuple(x.shape), "starts": starts, "steps": tuple([abs(step) for _, _, step in boxes])}
    if reduction == "add":
        return x + place(laid, **how)
    marks = place(op.full(laid.shape, 1, "int32"), **how)
    return op.where(marks > 0, place(op.cast(laid, "int32") if x.dtype == bool else laid, **how), x)


def _written_rows(x: Any, values: Any, *indices: Any, index: tuple, reduction: str) -> Any:
    """Written to rows of the part of x that the static parts of the index take, which is then put back."""
    entries = (*index, *[(0, n, 1) for n in x.shape[len([e for e in index if e is not None]):]])
    part, places, axes, together = _split_index(x, indices, entries)
    rows, flat, order = _flattened(part, places, axes)
    rest = [part.shape[a] for a in order[len(axes):]]
    own = flat.ndim
    first = axes[0] if together else 0
    target = (*rest[:first], *flat.shape, *rest[first:])
    updates = op.broadcast_to(op.cast(values, x.dtype), shape=target)
    updates = op.moveaxis(updates, tuple(range(first, first + own)), tuple(range(own))) if own and first else updates
    flat, updates = op.reshape(flat, shape=(-1,)), op.reshape(updates, shape=(math.prod(flat.shape), *rest))
    written = (op.add_at if reduction == "add" else op.set_at)(rows, flat, updates)
    written = op.transpose(op.reshape(written, shape=tuple([part.shape[a] for a in order])),
                           axes=tuple(np.argsort(order).tolist()))
    box = tuple([None if e is None else slice(e[0], e[0] + e[1] * e[2] if e[0] + e[1] * e[2] >= 0 else None, e[2])
                 if isinstance(e, tuple) else slice(None) for e in entries])
    return written if written.shape == x.shape and all(
        e is not None and (not isinstance(e, tuple) or e[2] == 1) for e in entries) else op.set_at(x, box, written)


# Gathering, scattering, windows -----------------------------------------------------------------------------


@rule("gather")
def _gather(graph: Graph, x: Value, indices: Value, *, axis: int, outside: Any) -> str:
    return graph.add("GatherElements", x, graph.cast(indices, _position_dtype(indices)), axis=axis)


@rule("scatter_add")
def _scatter_add(graph: Graph, x: Value, indices: Value, values: Value, *, axis: int, outside: Any) -> Any:
    if values.shape != indices.shape:
        return graph.expand(_widened, x, indices, values, axis=axis)
    inner = numeric(x.dtype)
    name = graph.add("ScatterElements", graph.cast(x, inner), graph.cast(indices, _position_dtype(indices)),
                     graph.cast(values, inner), axis=axis, reduction="add")
    return graph.cast(name, x.dtype) if inner != x.dtype else name


def _widened(x: Any, indices: Any, values: Any, *, axis: int) -> Any:
    return op.scatter_add(x, indices, op.broadcast_to(values, shape=indices.shape), axis)


@by_nodes("one_hot")
def _one_hot(indices: Any, *, num_classes: int, dtype: Any, axis: int) -> Any:
    axis %= indices.ndim + 1
    classes = op.reshape(op.arange(num_classes), shape=(num_classes, *(1,) * (indices.ndim - axis)))
    return op.cast(op.equal(op.expand_dims(indices, axis=axis), classes), dtype)


@rule("dynamic_slice")
def _dynamic_slice(graph: Graph, x: Value, *starts: Value, sizes: tuple) -> str:
    one = np.array([0], np.int64)
    begins, ends, axes = [], [], []
    for axis, (start, size, n) in enumerate(zip(starts, sizes, x.shape, strict=True)):
        if size == n:
            continue
        given = graph.add("Unsqueeze", graph.cast(start, "int64"), one)
        length, zero = graph.dims([n]), np.zeros((1,), np.int64)
        wrapped = graph.add("Where", graph.add("Less", given, zero), graph.add("Add", given, length), given)
        first = graph.add("Min", graph.add("Max", wrapped, zero),
                          graph.dims([lift(lambda n, size: n - size, n, size)]))
        begins.append(first)
        ends.append(graph.add("Add", first, graph.dims([size])))
        axes.append(axis)
    if not axes:
        return x
    begin, end = (graph.add("Concat", *part, axis=0) if len(part) > 1 else part[0] for part in (begins, ends))
    return graph.add("Slice", x, begin, end, np.array(axes, np.int64))


def _at_start(x: Any, values: Any, starts: Any) -> tuple[Any, Any]:
    """Values spread over the shape of x from `starts` on, and where they are."""
    marks = op.full((1,) * x.ndim, True)
    for axis, (start, size, n) in enumerate(zip(starts, values.shape, x.shape, strict=True)):
        if size == n:
            continue
        first = op.clip(_from_start(start, n), 0, n - size)
        places = op.arange(n) - first
        values = op.take(values, op.clip(places, 0, size - 1), axis)
        inside = op.logical_and(places >= 0, places < size)
        marks = op.logical_and(marks, op.reshape(inside, shape=(n, *(1,) * (x.ndim - axis - 1))))
    return values, marks


@by_nodes("dynamic_update_slice")
def _dynamic_update_slice(x: Any, values: Any, *starts: Any) -> Any:
    if 0 in values.shape:
        return op.identity(x)
    spread, marks = _at_start(x, op.cast(values, x.dtype), starts)
    return op.where(marks, spread, x)


@by_nodes("dynamic_add_slice")
def _dynamic_add_slice(x: Any, values: Any, *starts: Any) -> Any:
    if 0 in values.shape:
        return op.identity(x)
    spread, marks = _at_start(x, op.cast(values, x.dtype), starts)
    return op.where(marks, x + spread, x)


