"""TorchScriptModule: a ScriptModule as a Module of zkynet, with its parameters, buffers and sub-modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...framework import cg
from ...framework.errors import InputError
from ...framework.nodes import Node
from ...framework.session import Scope, current_session
from .memory import Memory
from .program import Program


class Argument(NamedTuple):
    """One of a method's arguments."""

    name: str
    kind: str  # its type, as PyTorch writes it
    default: tuple  # (value,), or () without one


class TorchScriptModule(cg.Module):
    """A TorchScript model (`load`), or a part of one: its graphs run in zkynet's operators.

    Parameters, states (buffers) and sub-modules have PyTorch's names; `train()` and `eval()` set what the graphs read
    as `training`. Each call runs the methods' control flow in Python: where it depends on values of tensors, these are
    computed then, which inside `zkynet.compile` cannot be.

    Raises (when called):
        InputError: when the model itself raises, with its message; for wrong inputs.
        TracedValueError: when control flow needs a value that is not known.
        ShapeError: when shapes do not fit; a note says the place in the model's source.
    """

    def __init__(self, name: str, class_name: str, arguments: Sequence[Argument]):
        self._name = name
        super().__init__(inputs=tuple([cg.Variable(argument.name) for argument in arguments]))
        self.class_name = class_name
        self.members: dict[str, Any] = {}  # parameters, states, constants and modules
        self.values: dict[str, Any] = {}  # attributes that are no tensors
        self.method = "forward"
        self._arguments = tuple(arguments)
        self.programs: dict[tuple[str, bool], Program] = {}
        self.writes = False  # whether the model writes to tensors in place
        self.aliases: dict[str, str] = {}  # of the root: further names of shared tensors, and the first
        self.content: bytes | None = None  # of the root: the file, into which weights are written back

    # The parts ------------------------------------------------------------------------------------------

    @property
    def functional_name(self) -> str:
        return self._name

    def _own(self, kind: type) -> Iterator[tuple[str, Any]]:
        for name, value in self.members.items():
            if isinstance(value, kind):
                yield name, value

    def __getattr__(self, name: str) -> Any:
        for place in ("members", "values"):
            found = self.__dict__.get(place, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} {self.__dict__.get('_name', '')} has no attribute {name!r}")

    def param(self, name: str) -> cg.Parameter:
        """The Parameter of this name."""
        found = self.members.get(name)
        return found if isinstance(found, cg.Parameter) else super().param(name)

    def attribute(self, name: str) -> Any:
        """What the graphs read as an attribute."""
        if name == "training":
            return self.training
        return self.members[name] if name in self.members else self.values[name]

    def assign_attribute(self, name: str, value: Any) -> None:
        self.values[name] = value

    def load_state_dict(self, arrays: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """As for every Module; PyTorch's further names of shared parameters are taken, too."""
        return super().load_state_dict({self.aliases.get(name, name): array for name, array in arrays.items()}, strict)

    # Calling --------------------------------------------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip([argument.name for argument in self._arguments], args, strict=False)) | kwargs
        values = [_received(given[argument.name], argument) if argument.name in given else argument.default[0]
                  for argument in self._arguments]
        memory = Memory() if self.writes else None
        result = self._program(self.method).run(values, memory)
        return result if memory is None else memory.now(result)

    def run(self, method: str, arguments: Sequence[Any], memory: Memory | None) -> Any:
        """A method, called by another of the model's modules: values are the graphs' own."""
        session = current_session.get()
        program = self._program(method)
        if session is None:
            return program.run(arguments, memory)
        outer, session.scope = session.scope, Scope(self, session.scope)
        try:
            return program.run(arguments, memory)
        finally:
            session.scope = outer

    def _program(self, method: str) -> Program:
        program = self.programs.get((method, self.training))
        if program is None:
            raise InputError(f"{self._name} has no method {method!r} that the loaded model uses: load the model with "
                             "method=..., or call the whole model.")
        return program

    def _check_missing(self, variables: Sequence[cg.Variable], named: dict[str, Any]) -> None:
        missing = [argument.name for argument in self._arguments if not argument.default
                   and argument.name not in named and argument.name in {v.short_name for v in variables}]
        if missing:
            raise InputError(f"{self._name} is missing its input {', '.join(map(repr, missing))}: it takes "
                             f"({', '.join(f'{a.name}: {a.kind}' for a in self._arguments)}).")


_NUMBERS = {"int": int, "float": float, "bool": bool}


def _received(value: Any, argument: Argument) -> Any:
    """An input as the graph takes it: numbers are Python's where it says so, else tensors."""
    kind = argument.kind
    while kind.startswith("Optional["):
        kind = kind[len("Optional["):-1]
        if value is None:
            return None
    if kind.startswith("List["):
        inner = Argument(argument.name, kind[len("List["):-1], ())
        if inner.kind in _NUMBERS and isinstance(value, Node):
            return [_NUMBERS[inner.kind](item) for item in np.asarray(value.value).ravel().tolist()]
        return [_received(item, inner) for item in value]
    if kind in _NUMBERS and isinstance(value, Node):
        return _NUMBERS[kind](value.value.item())
    if kind == "Tensor" and not isinstance(value, Node):
        raise InputError(f"the TorchScript model takes a tensor as {argument.name!r}, but got {type(value).__name__}.")
    return value
