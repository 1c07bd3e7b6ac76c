"""Indexing by NumPy's rules: reading and writing.

Static parts of an index (ints, slices, None, Ellipsis) belong to the structure; arrays and nodes are inputs
without gradient. Arrays that are known on the host are checked at the call. Positions that are only known
when the program runs cannot raise there: one that is out of range reads nan (the smallest number of an integer
dtype) and writes nothing. Negative positions count from the end throughout.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..attributes import interned
from ..errors import InputError, ShapeError, TracedValueError
from ..nodes import Engine, Expression, Node
from ..operator import apply
from ..templates import Template
from .arguments import OutOfRange, axis_of, misfit, node_of
from .create import arange, full, zeros
from .elementwise import equal
from .registry import builtin
from .shape import cast, expand_dims, flatten, flip, place, reshape, sum_to

ARRAY = "array"  # stands in an index for the next of the index arrays

# One entry an axis: an int, a slice as (first element, count, step), None for a new axis, ARRAY for an array.
Index = tuple[Any, ...]


# Reading an index -------------------------------------------------------------------------------------------


class _Parser:
    """Splits an index into its static form and its arrays, for an array of a known shape."""

    def __init__(self, node: Node, name: str):
        self.node = node
        self.name = name
        self.axis = 0
        self.entries: list[Any] = []
        self.arrays: list[Any] = []
        self.inserted: list[int] = []  # axes of length 1 that NumPy's True and False index
        self.known = True  # all positions are within range
        self.distinct = True  # no position is given twice

    def parse(self, index: Any) -> None:
        items = index if isinstance(index, tuple) else (index,)
        # A list of one kind or another becomes an array; nodes and arrays stay what they are.
        items = [self._readable(item) for item in items]
        ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
        if len(ellipses) > 1:
            raise self._wrong("an index can only have one Ellipsis (...)")
        missing = self.node.ndim - builtins.sum([_consumed(item) for item in items])
        if missing < 0:
            raise self._wrong(f"{self.node.ndim - missing} indices for {self.node.aval!r}", OutOfRange)
        if ellipses:
            items[ellipses[0]:ellipses[0] + 1] = [builtins.slice(None)] * missing
        for item in items:
            self._entry(item)
        if len(self.inserted):
            self.node = expand_dims(self.node, axis=tuple(self.inserted))

    def _readable(self, item: Any) -> Any:
        if isinstance(item, Expression):
            item = item.root
            return self._mask(item) if item.dtype == bool else item
        if isinstance(item, Template):
            return self._readable(node_of(item, self.name))
        if isinstance(item, jax.Array) and item.dtype != bool:
            return node_of(item, self.name)
        if isinstance(item, (list, tuple, np.ndarray, jax.Array, np.generic)):
            array = np.asarray(item)
            if array.size == 0 and isinstance(item, (list, tuple)):
                array = array.astype(np.int32)
            return array.item() if array.ndim == 0 and array.dtype.kind in "iub" else array
        return item

    def _mask(self, node: Node) -> np.ndarray:
        try:
            return np.asarray(node.value)
        except TracedValueError as error:
            raise TracedValueError(
                f"{self.name}: a boolean mask decides the shape of the result, so it must be known now; inside "
                "compile, scan, cond or vmap use op.where, or multiply with the mask.") from error

    def _entry(self, item: Any) -> None:
        if item is None:
            self.entries.append(None)
        elif isinstance(item, builtins.slice):
            self._slice(item)
        elif item is True or item is False:
            self.inserted.append(self.axis + len(self.inserted))
            self._array(np.arange(int(item)))
        elif isinstance(item, (np.ndarray, Node)):
            self._positions(item)
        else:
            self._int(item)

    def _int(self, item: Any) -> None:
        try:
            position = operator.index(item)
        except TypeError:
            raise InputError(
                f"{self.name}: an index is made of ints, slices, None, Ellipsis and arrays or nodes of integers or "
                f"booleans, but got {type(item).__name__} {str(item)[:60]!r}.") from None
        length = self.node.shape[self.axis]
        if not -length <= position < length:
            raise self._wrong(f"index {position} is out of range for axis {self.axis} of {self.node.aval!r}",
                              OutOfRange)
        self.entries.append(position % length)
        self.axis += 1

    def _slice(self, item: builtins.slice) -> None:
        if builtins.any([isinstance(part, (Expression, Template)) for part in (item.start, item.stop, item.step)]):
            raise InputError(f"{self.name}: the bounds of a slice decide the shape of the result, so they cannot be "
                             "nodes. Use op.slice(x, starts, sizes), or int(node) where its value is known.")
        start, stop, step = item.indices(self.node.shape[self.axis])
        count = len(range(start, stop, step))
        self.entries.append((start, count, step) if count > 1 else (start if count else 0, count, 1))
        self.axis += 1

    def _positions(self, item: Any) -> None:
        if item.dtype == bool:
            shape = self.node.shape[self.axis:self.axis + item.ndim]
            if item.shape != shape:
                raise self._wrong(f"a boolean mask of shape {item.shape} on axes of lengths {shape}", OutOfRange)
            for places in np.nonzero(item):
                self._array(places)
            self.axis += item.ndim
            return
        if item.dtype.kind not in "iu":
            raise InputError(f"{self.name}: an index array needs integers or booleans, but got {item.dtype.name}.")
        if isinstance(item, np.ndarray):
            item = self._checked(item)
        else:
            self.known = False
        self.distinct = self.distinct and item.ndim == 0
        self._array(item)
        self.axis += 1

    def _checked(self, positions: np.ndarray) -> np.ndarray:
        length = self.node.shape[self.axis]
        if positions.size and not (-length <= positions.min() and positions.max() < length):
            worst = positions.max() if positions.max() >= length else positions.min()
            raise self._wrong(f"index {worst} is out of range for axis {self.axis} of {self.node.aval!r}", OutOfRange)
        return np.where(positions < 0, positions + length, positions).astype(np.int32)

    def _array(self, array: Any) -> None:
        self.entries.append(ARRAY)
        self.arrays.append(array.astype(np.int32) if isinstance(array, np.ndarray) else array)

    def _wrong(self, message: str, kind: type[ShapeError] = ShapeError) -> ShapeError:
        return misfit(self.name, message + ".", kind)


def _consumed(item: Any) -> int:
    """How many axes an item indexes."""
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype == bool else 1


def _parsed(x: Any, index: Any, name: str) -> tuple[Node, list[Any], dict[str, Any]]:
    """The node that is indexed, the index arrays, and the static attributes."""
    parser = _Parser(node_of(x, name), name)
    parser.parse(index)
    return parser.node, parser.arrays, {
        "index": tuple(parser.entries), "outside": None if parser.known else "nan", "distinct": parser.distinct}


# The static part of an index --------------------------------------------------------------------------------


class _Box:
    """The part of an array that an index without arrays takes, as a slice, a reversal and a reshape."""

    def __init__(self, index: Index, shape: Sequence[int]):
        self.starts, self.counts, self.steps, self.result = [], [], [], []
        entries = (*index, *[(0, n, 1) for n in shape[len([e for e in index if e is not None]):]])
        self.flipped = []
        for entry in entries:
            if entry is None:
                self.result.append(1)
                continue
            start, count, step = (entry, 1, 1) if isinstance(entry, int) else entry
            if step < 0:
                self.flipped.append(len(self.starts))
                start, step = start + (count - 1) * step, -step
            self.starts.append(start)
            self.counts.append(count)
            self.steps.append(step)
            if not isinstance(entry, int):
                self.result.append(count)

    @property
    def stops(self) -> list[int]:
        return [start + (count - 1) * step + 1 if count else start
                for start, count, step in zip(self.starts, self.counts, self.steps, strict=True)]

    def take(self, x: Any) -> jax.Array:
        part = jax.lax.slice(x, self.starts, self.stops, self.steps)
        return jnp.reshape(self.turned(part), self.result)

    def turned(self, part: jax.Array) -> jax.Array:
        return jax.lax.rev(part, self.flipped) if self.flipped else part

    @property
    def whole_window(self) -> bool:
        return builtins.max(self.steps, default=1) == 1

    def shaped(self, values: Any) -> jax.Array:
        """Values of the result's shape, laid out as in the array."""
        return self.turned(jnp.reshape(jnp.broadcast_to(values, self.result), self.counts))

    def spread(self, values: Any, shape: Sequence[int]) -> jax.Array:
        """Zeros of a shape with laid-out values in their places."""
        widths = [(start, n - stop, step - 1) for start, stop, step, n in
                  zip(self.starts, self.stops, self.steps, shape, strict=True)]
        return jax.lax.pad(values, jnp.zeros((), values.dtype), widths)


def _python_index(index: Index, arrays: Sequence[Any]) -> tuple:
    """The index that jax.numpy understands."""
    remaining = iter(arrays)
    found: list[Any] = []
    for entry in index:
        if isinstance(entry, tuple):
            start, count, step = entry
            stop = start + count * step
            found.append(builtins.slice(start, stop if stop >= 0 else None, step))
        else:
            found.append(next(remaining) if entry == ARRAY else entry)
    return tuple(found)


def mode_of(outside: str | None) -> dict[str, Any]:
    """How jax.numpy treats positions: trusted, or counted from the end when negative and checked."""
    if outside is None:
        return {"mode": "promise_in_bounds", "wrap_negative_indices": False}
    return {"mode": "fill"}


# getitem ----------------------------------------------------------------------------------------------------


@builtin(name="getitem", no_gradient=("indices",))
def indexed(x, *indices, index, outside, distinct):
    """x[index]; see `getitem`. `outside` says what positions out of range give: "nan", "zero", None for never."""
    if not indices:
        return _Box(index, x.shape).take(x)
    fill = 0 if outside == "zero" else None
    return x.at[_python_index(index, indices)].get(fill_value=fill, unique_indices=distinct, **mode_of(outside))


@indexed.def_vjp
def _(g, y, x, *indices, index, outside, distinct):
    if not indices:
        box = _Box(index, x.shape)
        g = reshape(g, shape=tuple(box.counts))
        if box.flipped:
            g = flip(g, axis=tuple(box.flipped))
        return (place(g, shape=x.shape, starts=tuple(box.starts), steps=tuple(box.steps)),)
    into_x = added(zeros(x.shape, g.dtype), g, *indices, index=index, outside=outside, distinct=distinct)
    return (into_x, *indices)


def getitem(x: Any, index: Any) -> Node:
    """x[index] by NumPy's rules; also written `node[...]`.

    The index may contain ints, slices, None, Ellipsis, arrays of integers or booleans, and nodes. A mask (an array
    or a node of booleans) must be known when this is called, because the shape depends on it.

    Raises:
        OutOfRange (an IndexError): for an int, or an integer in a list or NumPy array, that is out of range. An
            integer that is only known when the program runs reads nan instead.
        InputError: for anything else in an index.

    >>> from zkynet.framework import op
    >>> x = op.reshape(op.arange(6), (2, 3))
    >>> x[1, ::-1].value.tolist(), x[:, [0, 2]].value.tolist(), x[None, ..., op.argmax([0, 7, 0])].shape
    ([5, 4, 3], [[0, 2], [3, 5]], (1, 2))
    """
    arrays: list[Node] = []
    key = _key_of(index, arrays)
    if key is None or not isinstance(x, Node):
        node, given, attributes = _parsed(x, index, "getitem")
        return indexed(node, *given, **attributes)
    known = _known.get((x.aval.shape, key))
    if known is None:
        _, _, attributes = _parsed(x, index, "getitem")
        known = _known[x.aval.shape, key] = interned([attributes[name] for name in indexed.attributes])
    return apply(indexed, (x, *arrays), known)


# Loops over a sequence index it at every step, so reading the same kind of index again must cost next to nothing.
_known: dict[tuple, Any] = {}
_CONSTANT = (int, type(None))


def _key_of(index: Any, arrays: list[Node]) -> Any:
    """A hashable form of an index of ints, slices, None, Ellipsis and integer nodes, which are collected; None for
    any other index."""
    items = index if index.__class__ is tuple else (index,)
    key: list[Any] = []
    for item in items:
        if item.__class__ is builtins.slice:
            start, stop, step = item.start, item.stop, item.step
            if not (start.__class__ in _CONSTANT and stop.__class__ in _CONSTANT and step.__class__ in _CONSTANT):
                return None
            key.append((start, stop, step))
        elif item.__class__ is int or item is None or item is Ellipsis:
            key.append(item)
        elif isinstance(item, Node) and item.aval.dtype.kind in "iu":
            arrays.append(item)
            key.append((ARRAY, item.aval.ndim == 0))
        else:
            return None
    return tuple(key)


def take(x: Any, indices: Any, axis: int | None = None) -> Node:
    """The elements at integer positions along an axis (of the flattened array by default): x[..., indices, ...].

    >>> from zkynet.framework import op
    >>> op.take([[1.0, 2.0], [3.0, 4.0]], [1, 1, 0], axis=1).value.tolist()
    [[2.0, 2.0, 1.0], [4.0, 4.0, 3.0]]
    """
    node = node_of(x, "take")
    node, axis = (flatten(node), 0) if axis is None else (node, axis_of(axis, node.ndim, "take"))
    node, arrays, attributes = _parsed(node, (builtins.slice(None),) * axis + (indices,), "take")
    return indexed(node, *arrays, **attributes)


# Writing ----------------------------------------------------------------------------------------------------


@builtin(name="add_at", no_gradient=("indices",))
def added(x, values, *indices, index, outside, distinct):
    """x with values added at an index; see `add_at`."""
    if indices:
        where = x.at[_python_index(index, indices)]
        return where.add(values.astype(x.dtype), unique_indices=distinct, **mode_of(outside))
    box = _Box(index, x.shape)
    values = box.shaped(values.astype(x.dtype))
    if not box.whole_window:
        return x + box.spread(values, x.shape)
    present = jax.lax.slice(x, box.starts, box.stops)
    return jax.lax.dynamic_update_slice(x, present + values, box.starts)


@added.def_vjp
def _(g, y, x, values, *indices, index, outside, distinct):
    return (g, _values_part(g, values, indices, index, outside, distinct), *indices)


def _values_part(g: Node, values: Node, indices: Sequence[Node], index: Index, outside: Any, distinct: bool) -> Node:
    """The cotangent of values that were written at an index."""
    part = indexed(g, *indices, index=index, outside=outside and "zero", distinct=distinct)
    return sum_to(part, shape=values.shape)


@builtin(name="set_at", no_gradient=("indices",))
def assigned(x, values, *indices, index, outside, distinct):
    """x with values in place of what was at an index; see `set_at`."""
    values = values.astype(x.dtype)
    if indices:
        where = x.at[_python_index(index, indices)]
        return where.set(values, unique_indices=distinct, **mode_of(outside))
    box = _Box(index, x.shape)
    values = box.shaped(values)
    if box.whole_window:
        return jax.lax.dynamic_update_slice(x, values, box.starts)
    chosen = box.spread(jnp.ones(values.shape, bool), x.shape)
    return jax.lax.select(chosen, box.spread(values, x.shape), x)


@assigned.def_vjp
def _(g, y, x, values, *indices, index, outside, distinct):
    attributes = {"index": index, "outside": outside, "distinct": distinct}
    into_x = assigned(g, zeros((), g.dtype), *indices, **attributes)
    part = indexed(g, *indices, index=index, outside=outside and "zero", distinct=distinct)
    if not distinct:
        # Where a position is given twice, only the value that was written last has a gradient.
        ticket = reshape(arange(part.aval.size), shape=part.shape)
        kept = assigned(full(x.shape, -1), ticket, *indices, **attributes)
        part = part * cast(equal(indexed(kept, *indices, **attributes), ticket), dtype=g.dtype)
    return (into_x, sum_to(part, shape=values.shape), *indices)


def set_at(x: Any, index: Any, values: Any) -> Node:
    """A copy of x with x[index] = values; differentiable in x and in values, which broadcast.

    The result has the dtype of x. Where a position is given twice, one of its values stays (on CPU the last).

    >>> from zkynet.framework import op
    >>> op.set_at([1.0, 2.0, 3.0], [0, 2], 9.0).value.tolist()
    [9.0, 2.0, 9.0]
    """
    whole = node_of(x, "set_at")
    node, arrays, attributes = _parsed(whole, index, "set_at")
    return _restored(assigned(node, node_of(values, "set_at"), *arrays, **attributes), whole)


def add_at(x: Any, index: Any, values: Any) -> Node:
    """A copy of x with x[index] += values; positions that are given twice receive both. Differentiable in both.

    The result has the dtype of x.

    >>> from zkynet.framework import op
    >>> op.add_at([1.0, 2.0, 3.0], [0, 0], 1.0).value.tolist()
    [3.0, 2.0, 3.0]
    """
    whole = node_of(x, "add_at")
    node, arrays, attributes = _parsed(whole, index, "add_at")
    return _restored(added(node, node_of(values, "add_at"), *arrays, **attributes), whole)


def _restored(node: Node, x: Node) -> Node:
    """Without the axes that were inserted for a True or False in the index."""
    return node if node.shape == x.shape else reshape(node, shape=x.shape)


Engine.symbols["getitem"] = getitem

__all__ = ["add_at", "getitem", "set_at", "take"]
