"""The call graph: what a requester recorded, as programs that are called over numbered values.

A program is a structure (operators and topology, without values); a recorded training loop is one program, called once
for every batch. So a graph grows with its calls and their bindings, not with the operators inside.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from zkynet.framework.avals import Aval, aval_of
from zkynet.framework.errors import GraphError
from zkynet.framework.session import describe_origin
from zkynet.framework.structure import Structure

Number = bool | int | float | complex
Leaf = np.ndarray | Number


class Late(NamedTuple):
    """A function that is looked up by name and run on arrays: the shapes of its results depend on values.

    Attributes:
        function: a name in `ravnet.functions`.
        params: its parameters, as JSON text with sorted keys, so that equal calls are equal.
        outputs: how many arrays it returns.
    """

    function: str
    params: str
    outputs: int = 1


Program = Structure | Late


class Call(NamedTuple):
    """One program, applied to values; its results get the numbers from `first` on."""

    program: Program
    inputs: tuple[int, ...]
    first: int
    origin: str | None = None  # 'file:line' in the requester's script

    @property
    def outputs(self) -> range:
        return range(self.first, self.first + outputs_of(self.program))


def outputs_of(program: Program) -> int:
    """How many results it has."""
    return program.outputs if isinstance(program, Late) else len(program.outputs)


@dataclass
class CallGraph:
    """Values by number: leaves, which are given, and results of calls, each of which uses earlier values only.

    Attributes:
        about: name, algorithm, approach, rules, gpu_required: what the requester said of it.
        leaves: arrays, and Python numbers, which adapt to the arrays they meet.
        names: the persisted values.
        places: for each program and slot, the module's path and the line that made it, for messages.
    """

    about: dict[str, Any] = field(default_factory=dict)
    leaves: dict[int, Leaf] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    places: dict[Structure, dict[int, str]] = field(default_factory=dict)
    size: int = 0

    def leaf(self, value: Leaf) -> int:
        """A given value, as a number."""
        number = self.size
        self.leaves[number] = value
        self.size += 1
        return number

    def call(self, program: Program, inputs: Sequence[int], origin: str | None = None) -> range:
        """Note a call; returns the numbers of its results."""
        made = Call(program, tuple(inputs), self.size, origin)
        self.calls.append(made)
        self.size += outputs_of(program)
        if isinstance(program, Structure) and program not in self.places and program.places:
            self.places[program] = described_places(program)
        return made.outputs

    def producer(self, number: int) -> tuple[Call, int] | None:
        """The call that gives this value and the place among its results; None for leaves."""
        if number in self.leaves:
            return None
        call = self.calls[bisect.bisect_right(self.calls, number, key=lambda call: call.first) - 1]
        return call, number - call.first

    def aval(self, number: int) -> Aval | None:
        """Shape and dtype of a value; None where they are not known before execution."""
        found = self.producer(number)
        if found is None:
            return aval_of(self.leaves[number])
        call, place = found
        return None if isinstance(call.program, Late) else call.program.aval(call.program.outputs[place])

    def programs(self) -> list[Program]:
        """Each program once, in the order of first use."""
        return list(dict.fromkeys(call.program for call in self.calls))

    def components(self) -> list[list[Call]]:
        """The calls in groups that share no result: they can run at different places at the same time."""
        parent = list(range(len(self.calls)))

        def root(index: int) -> int:
            while parent[index] != index:
                parent[index] = parent[parent[index]]
                index = parent[index]
            return index

        starts = [call.first for call in self.calls]
        for index, call in enumerate(self.calls):
            for number in call.inputs:
                if number not in self.leaves:
                    parent[root(index)] = root(bisect.bisect_right(starts, number) - 1)
        groups: dict[int, list[Call]] = {}
        for index, call in enumerate(self.calls):
            groups.setdefault(root(index), []).append(call)
        return list(groups.values())

    def check(self) -> None:
        """Raise GraphError unless every call uses earlier values only, and in the shapes its program was made for."""
        for call in self.calls:
            self._check_call(call)
        for name, number in self.names.items():
            if not 0 <= number < self.size:
                raise GraphError(f"the persisted op {name!r} is value {number}, which does not exist.")

    def _check_call(self, call: Call) -> None:
        for number in call.inputs:
            if not 0 <= number < call.first:
                raise GraphError(f"a call uses value {number} before it is made (its own results start at "
                                 f"{call.first}).")
        if isinstance(call.program, Late):
            return
        wanted = call.program.in_avals
        if len(wanted) != len(call.inputs):
            raise GraphError(f"a program of {len(wanted)} inputs is called with {len(call.inputs)}.")
        for aval, number in zip(wanted, call.inputs, strict=True):
            given = self.aval(number)
            if given is not None and (given.shape, given.dtype) != (aval.shape, aval.dtype):
                raise GraphError(f"a program wants {aval!r} where value {number} is {given!r}.")


def described_places(structure: Structure) -> dict[int, str]:
    """For each operator of a structure where it was made: 'Net.layer at script.py:12'."""
    found: dict[int, str] = {}
    lines: Mapping[Any, str | None] = {}
    for slot, place in structure.places.items():
        if place.origin not in lines:
            lines = {**lines, place.origin: describe_origin(place.origin)}
        parts = [part for part in (place.path, lines[place.origin]) if part]
        if parts:
            found[slot] = " at ".join(parts)
    return found


def operators_of(structure: Structure) -> Iterator[tuple[int, Any, tuple[int, ...]]]:
    """(slot, signature, slots of the inputs) of every operator."""
    for slot, (item, slots) in enumerate(structure.instructions):
        if item.__class__ is not Aval:
            yield slot, item, slots
