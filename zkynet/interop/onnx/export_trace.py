"""What a function does, as steps that hold for every batch size: traced at several, and compared.

A number that is the same in all traces is that number; one that differs is a `Dim`, which knows its value in each. So
rules of operators and functions of nodes need no symbolic arithmetic: they are run once for each trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from ...framework.avals import Aval, make_aval
from ...framework.errors import ZkynetError
from ...framework.leaves import placeholder
from ...framework.nodes import Node
from ...framework.operators.control import nodes_of
from ...framework.session import Session, current_session, describe_origin
from ...framework.structure import Structure, linearize
from ...framework.templates import Held


class ExportError(ZkynetError):
    """A module cannot be written as an ONNX model; says what, where and why."""


class Unsupported(Exception):
    """Raised by a rule: this operator, with these attributes and shapes, cannot be exported. Becomes an ExportError."""


class Dim:
    """A number that depends on the batch size: its value in each trace."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]):
        self.values = tuple(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def affine(self, sizes: Sequence[int]) -> tuple[Fraction, Fraction] | None:
        """(a, c) with value = a size + c; None where it is no such function of the batch size."""
        if not all(math.isfinite(value) for value in self.values):  # nan, of a mean over nothing for instance
            return None
        first, second = (Fraction(value) for value in self.values[:2])
        slope = (second - first) / (sizes[1] - sizes[0])
        start = first - slope * sizes[0]
        fits = all(slope * size + start == Fraction(value) for size, value in zip(sizes, self.values, strict=True))
        return (slope, start) if fits else None

    def __repr__(self) -> str:
        return f"<{', '.join(map(str, self.values))}>"


def at(value: Any, trace: int) -> Any:
    """A value with the numbers of one trace in place of each Dim."""
    if isinstance(value, Dim):
        return value.values[trace]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple([at(item, trace) for item in value])
    if isinstance(value, Program):
        return value.structures[trace]
    return value


def merged(values: Sequence[Any], what: str) -> Any:
    """One value of those in all traces."""
    first = values[0]
    if isinstance(first, Structure):
        return Program(values)  # pyright: ignore[reportArgumentType]
    if isinstance(first, tuple) and all(isinstance(v, tuple) and len(v) == len(first) for v in values):
        return tuple([merged(column, what) for column in zip(*values, strict=True)])
    if isinstance(first, (np.ndarray, jax.Array)):
        if all(value is first for value in values) or _equal_arrays(values):
            return first
    elif all(type(v) is type(first) and (v == first or v != v and first != first) for v in values):
        return first
    elif all(type(v) in (int, float) for v in values):
        return Dim(values)
    raise Unsupported(f"{what} depends on the batch size")


def _equal_arrays(values: Sequence[Any]) -> bool:
    arrays = [np.asarray(value) for value in values]
    first = arrays[0]
    return all(a.shape == first.shape and a.dtype == first.dtype and np.array_equal(a, first, a.dtype.kind in "fc")
               for a in arrays)


def lift(function: Callable[..., Any], *args: Any) -> Any:
    """A function of numbers, of numbers some of which are Dims."""
    count = next((len(dim.values) for dim in _dims(args)), 1)
    return merged([function(*at(args, trace)) for trace in range(count)], "a number")


def _dims(value: Any) -> list[Dim]:
    if isinstance(value, Dim):
        return [value]
    return [dim for item in value for dim in _dims(item)] if isinstance(value, tuple) else []


class Kind(NamedTuple):
    """Shape, dtype and weak type of a value; the shape may hold Dims."""

    shape: tuple
    dtype: np.dtype
    weak: bool = False

    def aval(self, trace: int) -> Aval:
        return make_aval(at(self.shape, trace), self.dtype, self.weak)


class Step(NamedTuple):
    """An operator applied to earlier values."""

    operator: Any
    attributes: dict[str, Any]
    inputs: tuple[int, ...]
    several: bool  # whether it has several outputs, which `output` steps pick
    kinds: tuple[Kind, ...]
    path: str | None
    origin: Any


class Program:
    """Structures of one function, one for each trace, as one. Inputs are Kinds, everything else Steps."""

    def __init__(self, structures: Sequence[Structure], places: dict[int, Any] | None = None):
        self.structures = list(structures)
        self.places = self.structures[0].places if places is None else places
        self.outputs = self.structures[0].outputs

    @cached_property
    def items(self) -> list[Kind | Step]:
        columns = [structure.instructions for structure in self.structures]
        for number, column in enumerate(zip(*columns, strict=False)):
            if len({(_operator(item), slots) for item, slots in column}) > 1:
                raise ExportError(self._misfit(number, column))
        if len({(len(items), structure.outputs) for items, structure in
                zip(columns, self.structures, strict=True)}) > 1:
            raise ExportError(self._misfit(len(columns[0]) - 1, None))
        return [self._item(slot, column) for slot, column in enumerate(zip(*columns, strict=True))]

    def _item(self, slot: int, column: Sequence[tuple[Any, tuple]]) -> Kind | Step:
        items = [item for item, _ in column]
        if isinstance(items[0], Aval):
            return _kind(items)
        first, place = items[0], self._place(slot)
        avals = [item.aval if isinstance(item.aval, tuple) else (item.aval,) for item in items]
        kinds = tuple([_kind(same) for same in zip(*avals, strict=True)])
        names = first.kwargs
        attributes = {name: merged([item.kwargs[name] for item in items], f"its attribute {name}") for name in names}
        return Step(first.operator, attributes, column[0][1], isinstance(first.aval, tuple), kinds, *place)

    def _place(self, slot: int) -> tuple[str | None, Any]:
        place = self.places.get(slot)
        if place is None:
            return None, None
        return (place.scope.path if place.scope is not None else None), place.origin

    def _misfit(self, slot: int, column: Any) -> str:
        path, origin = self._place(slot)
        line = describe_origin(origin)
        where = f"{path or 'the function'}{f' at {line}' if line else ''}"
        names = [] if column is None else [getattr(_operator(item), "name", "an input") for item, _ in column]
        what = " or ".join(dict.fromkeys(names)) or "another number of operators"
        return (f"the graph depends on the batch size: {where} makes {what}. Export it with dynamic_batch=False, for "
                "the example's own size, or write it so that Python sees no difference between batch sizes.")

    @property
    def inputs(self) -> list[Kind]:
        return [item for item in self.items if isinstance(item, Kind)]

    @cached_property
    def readers(self) -> dict[int, list[Step | None]]:
        """Which steps read the value of a slot; None for what is an output of the program."""
        found: dict[int, list[Step | None]] = {}
        for item in self.items:
            for slot in set(item.inputs) if isinstance(item, Step) else ():
                found.setdefault(slot, []).append(item)  # pyright: ignore[reportArgumentType]
        for slot in self.outputs:
            found.setdefault(slot, []).append(None)
        return found

    def output_readers(self, slot: int) -> dict[int, list[Step | None]]:
        """The same for each output of a step that has several."""
        return {item.attributes["index"]: self.readers.get(place, []) for place, item in enumerate(self.items)
                if isinstance(item, Step) and item.operator.name == "output" and item.inputs == (slot,)}


def _operator(item: Any) -> Any:
    return None if isinstance(item, Aval) else item.operator


def _kind(avals: Sequence[Aval]) -> Kind:
    if len({aval.dtype for aval in avals}) > 1 or len({aval.ndim for aval in avals}) > 1:
        raise Unsupported("its dtype or number of axes depends on the batch size")
    shape = merged([aval.shape for aval in avals], "its shape")
    return Kind(shape, avals[0].dtype, avals[0].weak_type)


class Captured(NamedTuple):
    """What a function read from outside: a parameter or state, or a constant (an array or a number)."""

    held: Held | None
    value: Any
    dtype: np.dtype


class Traced(NamedTuple):
    """A function's program, whose inputs are the function's, then what it captured; and the tree of its outputs."""

    program: Program
    captured: list[Captured]
    tree: Any


def trace(function: Callable[..., Any], avals: Sequence[Any]) -> Traced:
    """Trace a function of nodes once for each of `avals`: a tree of Avals for each size of the batch."""
    runs = [_trace_once(function, one) for one in avals]
    structures, leaves, places, trees = zip(*runs, strict=True)
    program = Program(structures, places[0])
    _ = program.items  # raises unless the traces agree
    return Traced(program, [_captured(column) for column in zip(*leaves, strict=True)], trees[0])


def _trace_once(function: Callable[..., Any], avals: Any) -> tuple[Structure, list[Node], dict[int, Node], Any]:
    session = Session(traced=True)
    token = current_session.set(session)
    try:
        flat, treedef = jax.tree.flatten(avals)
        given = [placeholder(aval, None, session.call) for aval in flat]
        outputs, tree = nodes_of(function(*jax.tree.unflatten(treedef, given)), "export")
        key, leaves, slots = linearize(outputs, arguments=given)
    finally:
        current_session.reset(token)
        for held, pending, value in reversed(session.updates):  # exporting changes nothing
            held.restore(pending, value)
    places = {slot: node for node, slot in slots.items() if node.inputs or node.operator is not None}
    return Structure(key), leaves[len(given):], places, tree


def _captured(leaves: Sequence[Node]) -> Captured:
    first = leaves[0]
    if isinstance(first.template, Held):
        if any(leaf.template is not first.template for leaf in leaves):
            raise ExportError(f"which parameter is used depends on the batch size: {first.template!r}. Export with "
                              "dynamic_batch=False.")
        return Captured(first.template, None, first.aval.dtype)
    try:
        value = merged([leaf._value for leaf in leaves], "an array")
    except Unsupported:
        shapes = " or ".join(dict.fromkeys(str(leaf.aval) for leaf in leaves))
        raise ExportError(f"an array in the graph depends on the batch size ({shapes}): make it of operators, such as "
                          "op.arange and op.full, or export with dynamic_batch=False.") from None
    return Captured(None, value, first.aval.dtype)
