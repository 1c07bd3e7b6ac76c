"""Programs: what one method of one module is, decoded once: a list of steps over a list of registers.

A step is a closure of register numbers; whatever belongs to the module (parameters, states, other modules) is in the
registers, so that a copy of the module runs on its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from .memory import View, assign
from .registry import VIEWS
from .rules_python import number

Registers = list[Any]
Step = Callable[[Registers], None]
MEMORY = 0  # the register of the call's memory


class Block(NamedTuple):
    """Steps, and where in the user's source each comes from."""

    steps: list[Step]
    places: list[str]

    def add(self, step: Step, place: str) -> None:
        self.steps.append(step)
        self.places.append(place)

    def run(self, registers: Registers) -> None:
        step: Any = None
        try:
            for step in self.steps:
                step(registers)
        except Exception as error:
            if not getattr(error, "__notes__", None):  # the innermost place says it
                error.add_note(f"in the TorchScript model: {place_of(self.places[self.steps.index(step)])}")
            raise


class Program(NamedTuple):
    """A method: the registers as they are at first, where its arguments go, what runs, and where the result is."""

    registers: Registers
    arguments: slice
    block: Block
    result: int

    def run(self, arguments: Sequence[Any], memory: Any) -> Any:
        registers = self.registers.copy()
        registers[MEMORY] = memory
        registers[self.arguments] = arguments
        self.block.run(registers)
        return registers[self.result]


def place_of(source_range: str) -> str:
    """'model.py:13: x = F.relu(x)' of PyTorch's drawing of a place."""
    places = re.findall(r'File "([^"]+)", line (\d+)', source_range)
    where = f"{places[0][0]}:{places[0][1]}" if places else "unknown place"
    lines = source_range.splitlines()
    for i, line in enumerate(lines):
        if "<--- HERE" in line and i:
            return f"{where}: {lines[i - 1].strip()}"
    return where


# Steps ----------------------------------------------------------------------------------------------------------


def plain_step(call: Callable[..., Any], inputs: Sequence[int], outputs: Sequence[int]) -> Step:
    """outputs = call(*inputs)."""
    if len(outputs) == 1:
        out = outputs[0]
        if len(inputs) == 1:
            only = inputs[0]

            def of_one(registers: Registers) -> None:
                registers[out] = call(registers[only])
            return of_one
        take = take_of(inputs)

        def of_several(registers: Registers) -> None:
            registers[out] = call(*take(registers))
        return of_several
    take = take_of(inputs)

    def to_several(registers: Registers) -> None:
        made = call(*take(registers))
        for out, item in zip(outputs, made or (), strict=True):
            registers[out] = item
    return to_several


def take_of(inputs: Sequence[int]) -> Callable[[Registers], Sequence[Any]]:
    if len(inputs) > 1:
        return itemgetter(*inputs)
    return (lambda registers: (registers[inputs[0]],)) if inputs else lambda registers: ()


def reading_step(call: Callable[..., Any], inputs: Sequence[int], outputs: Sequence[int]) -> Step:
    """The same, where tensors may have been written to."""
    take = take_of(inputs)

    def step(registers: Registers) -> None:
        memory = registers[MEMORY]
        made = memory.identity(call(*memory.now(tuple(take(registers)))))
        if len(outputs) == 1:
            registers[outputs[0]] = made
        else:
            for out, item in zip(outputs, made or (), strict=True):
                registers[out] = item
    return step


def view_step(call: Callable[..., Any], name: str, inputs: Sequence[int], out: int) -> Step:
    """A view of the first input. Its arguments stay what they are now, whatever is written to them later."""
    take = take_of(inputs)

    def step(registers: Registers) -> None:
        memory, (base, *rest) = registers[MEMORY], take(registers)
        arguments = memory.now(tuple(rest))
        made = call(memory.now(base), *arguments)
        registers[out] = memory.viewed(made, View(base, call, arguments, name, *VIEWS[name]))
    return step


def writing_step(call: Callable[..., Any], inputs: Sequence[int], out: int, target: int) -> Step:
    """An in-place operator: the tensor in `target` becomes the result."""
    take = take_of(inputs)

    def step(registers: Registers) -> None:
        memory = registers[MEMORY]
        registers[out] = memory.write(registers[target], call(*memory.now(tuple(take(registers)))))
    return step


def assigning_step(call: Callable[..., Any], inputs: Sequence[int], outputs: Sequence[int], target: int) -> Step:
    """The same for a buffer, where nothing else is written to."""
    take = take_of(inputs)

    def step(registers: Registers) -> None:
        held = assign(registers[target], call(*take(registers)))
        for out in outputs:
            registers[out] = held
    return step


def copy_step(sources: Sequence[int], targets: Sequence[int]) -> Step:
    take = take_of(sources)

    def step(registers: Registers) -> None:
        for target, value in zip(targets, take(registers), strict=True):
            registers[target] = value
    return step


# Control flow -----------------------------------------------------------------------------------------------------


def truth(registers: Registers, slot: int) -> bool:
    value = registers[slot]
    if value.__class__ is bool:
        return value
    memory = registers[MEMORY]
    return number(value if memory is None else memory.now(value), bool)


def branch_step(condition: int, if_true: Block, if_false: Block) -> Step:
    def step(registers: Registers) -> None:
        (if_true if truth(registers, condition) else if_false).run(registers)
    return step


def loop_step(limit: int, condition: int, index: int, body: Block, go_on: int) -> Step:
    """While the condition holds, at most `limit` times; the body leaves the next condition in `go_on`."""
    def step(registers: Registers) -> None:
        count, most = 0, number(registers[limit], int)
        going = truth(registers, condition)
        while going and count < most:
            registers[index] = count
            body.run(registers)
            going = truth(registers, go_on)
            count += 1
    return step
