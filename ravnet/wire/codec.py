"""Call graphs as bytes, and bytes as call graphs. Reading checks everything before anything is built or run."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from zkynet.framework.avals import Aval, aval_of, x64_mode
from zkynet.framework.binding import checked_attributes
from zkynet.framework.compile import structure_of
from zkynet.framework.errors import InputError, ZkynetError
from zkynet.framework.operator import Signature, _projection, output
from zkynet.framework.structure import Structure, literal, literal_signature
from zkynet.optim.update import update

from .attributes import AttributeCodec, decode_aval, encode_aval, programs_in
from .container import read_container, write_container
from .graph import CallGraph, Late, Leaf
from .operators import exported_bytes, import_program, is_named, named
from .schema import FORMAT, VERSION, Document, FormatError, LateEntry, LeafEntry, Limits, ProgramEntry

_NUMBERS = (bool, int, float, complex)


def encode(graph: CallGraph) -> bytes:
    """The bytes of a graph.

    Raises:
        InputError: when it contains operators that must run in Python, all of them listed.
    """
    writer = _Writer()
    document = writer.document(graph)
    return write_container(writer.tensors, json.dumps(document, separators=(",", ":"), allow_nan=False))


class _Table:
    """Values by number, each once."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.entries: list[Any] = []

    def add(self, key: Any, entry: Any) -> int:
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.entries)
            self.entries.append(entry() if callable(entry) else entry)
        return number


class _Writer:
    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self.operators, self.attributes, self.avals, self.programs = _Table(), _Table(), _Table(), _Table()
        self.problems: list[str] = []
        self.codec = AttributeCodec(self._program)
        self._graph = CallGraph()

    def document(self, graph: CallGraph) -> dict[str, Any]:
        self._graph = graph
        places = _Table()
        calls = [[self._program(call.program), list(call.inputs),
                  -1 if call.origin is None else places.add(call.origin, call.origin)] for call in graph.calls]
        if self.problems:
            raise InputError("this graph cannot be stored or sent:\n  " + "\n  ".join(dict.fromkeys(self.problems)))
        return {
            "format": FORMAT, "version": list(VERSION), "x64": x64_mode(), "about": graph.about,
            "operators": self.operators.entries, "attributes": self.attributes.entries, "avals": self.avals.entries,
            "programs": self.programs.entries, "leaves": [self._leaf(*item) for item in graph.leaves.items()],
            "places": places.entries, "calls": calls, "names": graph.names}

    def _aval(self, aval: Any) -> int:
        return self.avals.add(aval, lambda: encode_aval(aval))

    def _program(self, program: Any) -> int:
        known = self.programs.numbers.get(program)
        if known is not None:
            return known
        if isinstance(program, Late):
            entry = {"late": program.function, "params": program.params, "outputs": program.outputs}
            return self.programs.add(program, entry)
        places = self._graph.places.get(program, {})
        instructions: list[Any] = []
        for slot, (item, slots) in enumerate(program.instructions):
            instructions.append(self._aval(item) if item.__class__ is Aval
                                else self._instruction(item, slots, places.get(slot)))
        return self.programs.add(program, {"instructions": instructions, "outputs": list(program.outputs),
                                           "names": program.names or [],
                                           "places": {str(slot): place for slot, place in places.items()}})

    def _instruction(self, signature: Signature, slots: Sequence[int], place: str | None) -> list[Any]:
        operator = signature.operator
        attrs: Any = ()
        try:
            if is_named(operator):
                number = self.operators.add(operator, {"name": operator.name})
                attrs = signature.attrs
            else:
                number = self.operators.add(signature, lambda: self._exported(signature))
            encoded = self.codec.encode(attrs)
        except InputError as error:
            self.problems.append(f"{operator.name}{f' of {place}' if place else ''}: {error}")
            return []
        attributes = self.attributes.add(json.dumps(encoded), encoded)
        return [number, attributes, self._aval(signature.aval), list(slots)]

    def _exported(self, signature: Signature) -> dict[str, Any]:
        name = f"program.{len(self.operators.entries)}"
        self.tensors[name] = np.frombuffer(exported_bytes(signature), np.uint8)
        return {"name": signature.operator.name, "tensor": name}

    def _leaf(self, number: int, leaf: Leaf) -> dict[str, Any]:
        if isinstance(leaf, _NUMBERS):
            return {"number": number, "value": self.codec.encode(leaf)}
        name = f"leaf.{number}"
        pairs = leaf.dtype.kind == "c"
        self.tensors[name] = np.stack([np.real(leaf), np.imag(leaf)], -1) if pairs else leaf
        return {"number": number, "tensor": name, **({"complex": True} if pairs else {})}


def decode(content: bytes, limits: Limits | None = None) -> CallGraph:
    """The graph of bytes.

    Raises:
        FormatError: with the reason, when they are no call graph, damaged, of a newer major version, above the limits,
            or inconsistent. Nothing is run.
    """
    limits = limits or Limits()
    try:
        tensors, text = read_container(content, limits)
        document = Document.model_validate_json(text)
        if document.version[0] != VERSION[0]:
            raise FormatError(f"this file has version {document.version[0]}.{document.version[1]} of the call-graph "
                              f"format, but this reader knows {VERSION[0]}.{VERSION[1]}. Update zkynet.")
        graph = _Reader(document, tensors, limits).graph()
        graph.check()
        return graph
    except FormatError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise FormatError(f"this file's graph is not as it should be: {place}: {first['msg']}") from None
    except (ZkynetError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError,
            MemoryError) as error:
        raise FormatError(f"this file's graph is not as it should be: {type(error).__name__}: {error}"[:500]) from None


class _Reader:
    def __init__(self, document: Document, tensors: dict[str, np.ndarray], limits: Limits):
        self.document = document
        self.tensors = tensors
        self.limits = limits
        if document.x64 != x64_mode():
            raise FormatError(f"this graph was made with 64-bit values {'on' if document.x64 else 'off'}; read it "
                              f'{"inside" if document.x64 else "outside of"} zkynet.precision("float64").')
        for what, count, most in (("programs", len(document.programs), limits.programs),
                                  ("calls", len(document.calls), limits.calls),
                                  ("leaves", len(document.leaves), limits.leaves)):
            _bound(what, count, most)
        self._bound_operators()
        self.programs: list[Any] = []
        self.codec = AttributeCodec(lambda number: self.programs[_index(number, len(self.programs))])
        self.avals = [self._checked_aval(decode_aval(aval)) for aval in document.avals]
        self.operators = [self._operator(entry) for entry in document.operators]
        self.decoded: dict[int, Any] = {}
        self.parameters = 0  # of optimizers, together

    def _bound_operators(self) -> None:
        """Refuse more than are allowed. Wherever an operator runs a program (a loop's body), the operators of that
        are inferred again, and by JAX sometimes twice: few programs in programs can be very many operators."""
        sizes: list[int] = []
        total = 0

        @functools.cache
        def inner(attributes: int) -> int:
            numbers = programs_in(self.document.attributes[attributes])
            return 2 * sum([sizes[_index(number, len(sizes))] for number in numbers])

        for program in self.document.programs:
            instructions = program.instructions if isinstance(program, ProgramEntry) else []
            sizes.append(sum([1 if isinstance(one, int) else 1 + inner(one[1]) for one in instructions]))
            total += sizes[-1]
            _bound("operators", total, self.limits.operators)

    def _checked_aval(self, aval: Any) -> Any:
        for one in aval if isinstance(aval, tuple) else (aval,):
            if one.nbytes > self.limits.value_bytes:
                raise FormatError(f"this graph has a value {one!r} of {one.nbytes} bytes, more than the "
                                  f"{self.limits.value_bytes} that are allowed here.")
        return aval

    def _operator(self, entry: Any) -> Any:
        if entry.tensor is None:
            return named(entry.name, entry.version)
        if not self.limits.exported:
            raise FormatError(f"this graph brings a program of its own for {entry.name!r:.60}, which is not allowed "
                              "here.")
        return import_program(entry.name, self.tensors[entry.tensor])

    def graph(self) -> CallGraph:
        document = self.document
        graph = CallGraph(about=dict(document.about))
        for entry in document.programs:
            self.programs.append(Late(entry.late, entry.params, entry.outputs) if isinstance(entry, LateEntry)
                                 else self._structure(entry, graph))
        leaves = {entry.number: self._leaf(entry) for entry in document.leaves}
        if len(leaves) != len(document.leaves):
            raise FormatError("this graph gives a leaf twice.")
        for program, inputs, place in document.calls:
            self._leaves_before(graph, leaves)
            graph.call(self.programs[_index(program, len(self.programs))], inputs,
                       document.places[_index(place, len(document.places))] if place >= 0 else None)
        self._leaves_before(graph, leaves)
        if leaves:
            raise FormatError("this graph has leaves with numbers beyond its values.")
        graph.names = dict(document.names)
        return graph

    def _leaves_before(self, graph: CallGraph, leaves: dict[int, Leaf]) -> None:
        while graph.size in leaves:
            graph.leaf(leaves.pop(graph.size))

    def _leaf(self, entry: LeafEntry) -> Leaf:
        if entry.tensor is None:
            value = self.codec.decode(entry.value)
            if value.__class__ not in _NUMBERS:
                raise FormatError(f"leaf {entry.number} is neither a tensor nor a number.")
            return value
        array = self.tensors[entry.tensor]
        if entry.complex:
            array = array.view(np.complex64 if array.dtype == np.float32 else np.complex128)[..., 0]
        return array

    def _structure(self, entry: ProgramEntry, graph: CallGraph) -> Structure:
        key: list[Any] = []
        items: list[Any] = []
        for instruction in entry.instructions:
            if isinstance(instruction, int):
                item, slots = self.avals[instruction], ()
            else:
                operator, attributes, aval, slots = instruction
                if any(slot >= len(items) for slot in slots):
                    raise FormatError("this graph has an operator that uses a value before it is made.")
                item = self._signature(self.operators[operator], attributes, [items[slot] for slot in slots])
                if item.aval != self.avals[aval]:
                    raise FormatError(f"operator {item.operator.name} gives {item.aval!r}, but this graph says "
                                      f"{self.avals[aval]!r}.")
                self._checked_aval(item.aval)
            items.append(item)
            key += (item, *slots)
        if not entry.outputs or any(slot >= len(items) for slot in entry.outputs):
            raise FormatError("this graph has a program whose outputs do not exist.")
        structure = structure_of((*key, None, *entry.outputs))
        if structure.names is None:
            structure.names = list(entry.names)
        if entry.places:
            graph.places[structure] = {int(slot): place for slot, place in entry.places.items()}
        return structure

    def _signature(self, operator: Any, attributes: int, inputs: list[Any]) -> Signature:
        attrs = self.decoded.get(attributes)
        if attrs is None:
            attrs = self.decoded[attributes] = self.codec.decode(self.document.attributes[attributes])
        if operator is output:
            tupled = inputs[0]
            return _projection(tupled, _index(attrs[0], len(tupled.aval)))
        avals = tuple([item if item.__class__ is Aval else item.aval for item in inputs])
        if operator is literal:
            return literal_signature(aval_of(attrs[0]), attrs[0])
        if operator is update:
            plan, placing, *numbers = attrs
            counts = [group.count for group in plan.groups]
            if min(counts, default=0) < 0:
                raise FormatError(f"this graph has an optimizer of {min(counts)} parameters.")
            self.parameters += sum(counts)
            _bound("parameters of optimizers", self.parameters, self.limits.operators)
            attrs = plan, placing.layout(plan), *numbers
        if any(isinstance(aval, tuple) for aval in avals):
            raise FormatError(f"operator {operator.name} is given a tuple of values.")
        if not operator.variadic and len(avals) != len(operator.inputs):
            raise FormatError(f"operator {operator.name} takes {len(operator.inputs)} inputs, but is given "
                              f"{len(avals)}.")
        return operator.signature(checked_attributes(operator, attrs, {}), avals)


def _bound(what: str, count: int, most: int) -> None:
    if count > most:
        raise FormatError(f"this graph has {count} {what}, more than the {most} that are allowed here.")


def _index(number: Any, length: int) -> int:
    if not isinstance(number, int) or not 0 <= number < length:
        raise FormatError(f"this graph refers to number {number!r:.40} of {length}.")
    return number
