"""Layers that look at the shape of an input once: the operators they make of it are kept and applied again.

The functions of `op` check and complete their arguments at every call, which takes longer than making a node. For a
layer all but the input is fixed, so it runs them at the first input of a shape and dtype only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..framework.errors import GraphError, InputError
from ..framework.nodes import Node
from ..framework.operator import apply
from ..framework.operators.arguments import node_of
from .layer import Layer


class Recording:
    """The operators between some nodes and what a function made of them, for other nodes like those.

    `steps` are (operator, static attributes, positions of its inputs), counted through the given nodes and then the
    steps before; `outputs` is the position of what was returned, or a tuple of positions.
    """

    __slots__ = ("steps", "outputs")

    def __init__(self, inputs: Sequence[Node], returned: Node | tuple[Node, ...]):
        self.steps: list[tuple[Any, tuple, tuple[int, ...]]] = []
        positions = {node: position for position, node in enumerate(inputs)}
        if isinstance(returned, tuple):
            self.outputs: int | tuple[int, ...] = tuple([self._add(node, positions) for node in returned])
        else:
            self.outputs = self._add(returned, positions)

    def _add(self, node: Any, positions: dict[Node, int]) -> int:
        if node not in positions:
            if node.operator is None or node.aval.__class__ is tuple:
                raise GraphError(f"{node!r} is neither an input nor made by an operator with one output, so it cannot "
                                 "be recorded.")
            slots = tuple([self._add(child, positions) for child in node.inputs])
            self.steps.append((node.operator, node.signature.attrs, slots))
            positions[node] = len(positions)
        return positions[node]

    def __call__(self, inputs: Sequence[Any]) -> Any:
        made = list(inputs)
        for operator, attributes, slots in self.steps:
            made.append(apply(operator, tuple([made[slot] for slot in slots]), attributes))
        return made[self.outputs] if isinstance(self.outputs, int) else tuple([made[slot] for slot in self.outputs])


class RecordedLayer(Layer):
    """A layer with `replay`. Setting an attribute of it makes it look at shapes anew."""

    __slots__ = ("_recordings",)  # beside the attributes, which are searched for parameters and sub-modules
    _recordings: dict[Any, Recording]

    def __init__(self):
        super().__init__()
        self._recordings = {}

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if not name.startswith("_"):
            getattr(self, "_recordings", {}).clear()

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.__dict__, {"_recordings": {}}  # a copy looks for itself

    def replay(self, function: Callable[..., Any], input: Any, *further: Any, how: Any = None) -> Any:
        """function(input, *further), or the operators that it made of an input of the same shape and dtype before.

        The function may depend on this layer's attributes and on the shapes of its Parameters; what else it depends on
        must be in `how`: the avals of other inputs, arguments of the call. It must not look at values.
        """
        try:
            key = input.aval if how is None else (input.aval, how)
        except AttributeError:
            raise self.no_array([input]) from None
        recording = self._recordings.get(key)
        if recording is not None:
            return recording((input, *further))
        nodes = [node_of(given, self.functional_name) for given in (input, *further)]
        returned = function(*nodes)
        if len(set(nodes)) == len(nodes):  # otherwise two inputs that may differ later could not be told apart
            self._recordings[key] = Recording(nodes, returned)
        return returned

    def no_array(self, inputs: Sequence[Any]) -> InputError:
        wrong = next(given for given in inputs if not hasattr(given, "aval"))
        return InputError(f"{self.functional_name} needs an array or a node, but got {type(wrong).__name__} "
                          f"{str(wrong)[:60]!r}.")


def static_sizes(given: Any) -> tuple[int, ...]:
    """The ints of a size that was given to a call, where numbers become nodes."""
    items = given if isinstance(given, (tuple, list)) else np.atleast_1d(np.asarray(given))
    return tuple([int(item) for item in items])
