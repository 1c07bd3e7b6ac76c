"""Layer: what has a `_forward_pass`; Unit: a layer that is one zkynet module."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from zkynet.framework import cg
from zkynet.framework.avals import make_aval
from zkynet.framework.errors import GraphError, InputError, ShapeError, ZkynetError
from zkynet.framework.leaves import placeholder
from zkynet.framework.nodes import Node
from zkynet.framework.random_stream import RandomStream
from zkynet.framework.session import Call
from zkynet.framework.templates import Held
from zkynet.nn.init import fresh_seed

from ..api.graph import GraphRecord
from .held import Later, move, op_of, pickled, present
from .values import array_of, flag, graph_of, op_in

Shape = tuple[int, ...]


class Layer:
    """Base of all layers and models.

    Attributes:
        name: given by the model that holds it: "Dense_1", "CustomLayer1_1_Dense_1".
        trainable: whether its parameters are trained; `set_trainable` changes it.
        optimizer: what `initialize_params` gave it.
    """

    name: str | None = None
    trainable: bool = True
    optimizer: Any = None

    def _forward_pass(self, *args: Any, **kwargs: Any) -> Any:
        raise GraphError(f"{type(self).__name__} does not define _forward_pass.")

    def set_trainable(self, trainable: Any = True) -> None:
        """Train the parameters of this layer from now on, or keep them as they are."""
        self.trainable = flag(trainable, "trainable")

    @property
    def _title(self) -> str:
        """What messages call it."""
        return self.name or type(self).__name__


class Unit(Layer):
    """A layer that records the nodes of one zkynet module (or of a function) on its input.

    Subclasses give `_make`, the module for an input of this shape (batch included), and list which of their arguments
    are initial values of which parameter or state; one that is set when the layer is built counts from then on. What
    pickle takes is the arguments and NumPy arrays.
    """

    _initial: ClassVar[dict[str, str]] = {}  # arguments, and the names of what they are the values of
    _takes: ClassVar[Any] = np.float32  # dtype of the input, where only its shape is known
    _needs_shape: ClassVar[bool] = False
    _runtime: ClassVar[tuple[str, ...]] = ("_module", "_graph", "_parameters")

    _module: cg.Module | None = None
    _parameters: list[cg.Parameter] | None = None  # of the module
    _graph: GraphRecord | None = None  # in which it was used last
    _input: Shape | None = None  # of the input it was made for
    _output: Any = None  # shape of its last output, or a tuple of shapes
    _later: dict[str, Later] | None = None  # values that are not fetched yet
    _saved: dict[str, str] | None = None  # names under which values are persisted

    def __init__(self, input_shape: Any = None):
        if input_shape is not None:
            self.build((1, *sizes(input_shape, "input_shape")))

    # What subclasses define ----------------------------------------------------------------------------------

    def _make(self, shape: Shape) -> cg.Module | None:
        """The module for inputs of this shape; () where the shape is not needed and not known."""
        return None

    def _apply(self, *nodes: Any) -> Any:
        """The output's node."""
        module: Any = self._module
        return nodes_of(module(*nodes))

    def _as_node(self, graph: GraphRecord, value: Any) -> Node:
        """The node of an input: an op, an array, a number."""
        return op_in(graph, value).node

    # Building ------------------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        return self._input is not None

    def build(self, shape: Shape = ()) -> None:
        """Make the parameters, for an input of this shape (with the batch)."""
        if self.built or (not shape and self._needs_shape):
            return
        module = self._make(tuple(shape))
        for argument in self._initial:
            value = getattr(self, argument, None)
            if module is not None and value is not None:
                self._set_initial(module, argument, value)
        self._module, self._input = module, tuple(shape)  # last: what was refused is refused again the next time
        if not self.trainable:
            self.set_trainable(False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._initial and value is not None and self._module is not None:  # of a layer that is built
            self._set_initial(self._module, name, value)
        super().__setattr__(name, value)

    def _set_initial(self, module: cg.Module, argument: str, value: Any) -> None:
        path = self._initial[argument]
        own: dict[str, Held] = dict(held_in(module))
        if path not in own:
            raise InputError(f"{self._title}: {argument} was given, but the layer has no {path}.")
        array = array_of(value, f"{self._title}: {argument}").astype(np.float32)
        if array.shape != own[path].shape:
            raise ShapeError(f"{self._title}: {argument} must have the shape {own[path].shape} (weights are stored "
                             f"as (out, in, ...)), but has {array.shape}.")
        own[path].value = array
        if self._later:
            self._later.pop(path, None)

    def set_trainable(self, trainable: Any = True) -> None:
        super().set_trainable(trainable)
        for parameter in self.parameters():
            parameter.trainable = self.trainable

    # Recording -----------------------------------------------------------------------------------------------

    def _forward_pass(self, input: Any, training: Any = True) -> Any:
        return self._record((input,), training)

    def _record(self, inputs: tuple[Any, ...], training: Any, function: Callable[..., Any] | None = None) -> Any:
        """The output as an op, or as a tuple of ops."""
        graph = graph_of(inputs)
        try:
            nodes = [self._as_node(graph, value) for value in inputs]
            if not self.built:
                self.build(nodes[0].shape)
            if self._graph is not graph:
                self.enter(graph)
            self._set_mode(flag(training, "training"))
            with graph.recorder:
                found = (function or self._apply)(*nodes)
        except ZkynetError as error:
            raise type(error)(f"{self._title}: {error}") from None
        self._output = mapped(found, lambda node: node.shape)
        return mapped(found, graph.wrap)

    def enter(self, graph: GraphRecord) -> None:
        """Use it in this graph from now on."""
        if self._graph is not graph:
            self.fetch()
            move([held for _, held in self.held()], self._graph, graph, "the layer")
            self._graph = graph

    def _set_mode(self, training: bool) -> None:
        module = self._module
        if module is not None and module.training != training:
            module.train(training)

    def infer(self, shape: Shape) -> Any:
        """The output's shape (or shapes) for an input of this shape, the batch included; builds the layer."""
        self.build(shape)
        self._set_mode(False)
        try:
            found = self._apply(placeholder(make_aval(tuple(shape), np.dtype(self._takes)), None, Call()))
        except ZkynetError as error:
            raise type(error)(f"{self._title}: {error}") from None
        self._output = mapped(found, lambda node: node.shape)
        return self._output

    # Values --------------------------------------------------------------------------------------------------

    def held(self) -> Iterator[tuple[str, Held]]:
        """Parameters and states, with their names."""
        return held_in(self._module) if self._module is not None else iter(())

    def parameters(self) -> list[cg.Parameter]:
        """The parameters, as zkynet has them."""
        if self._parameters is None:
            if self._module is None:
                return []
            self._parameters = self._module.parameters()
        return self._parameters

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(parameter.shape) for parameter in self.parameters())

    def fetch(self) -> None:
        """Get the values that were not known when the layer was pickled."""
        if self._later:
            own = dict(self.held())
            for path, later in self._later.items():
                own[path].value = later.fetch(f"{path} of {self._title}")
            self._later = None

    def values(self) -> dict[str, np.ndarray | Later]:
        """Parameters and states by name: arrays, or what stands for those that are not computed yet.

        Random streams that are not computed are left out: they start anew.
        """
        saved, later = self._saved or {}, self._later or {}
        found = {path: (held, later.get(path) or pickled(held, self._graph, saved.get(path)))
                 for path, held in self.held()}
        return {path: value for path, (held, value) in found.items()
                if not (isinstance(held, RandomStream) and isinstance(value, Later))}

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters and states by name, as arrays.

        Raises:
            StateError: when the graph that trains them was not executed.
        """
        self.fetch()
        return {path: value.fetch(f"{path} of {self._title}") if isinstance(value, Later) else value
                for path, value in self.values().items()}

    def persist(self, graph: GraphRecord, prefix: str) -> None:
        """Keep the present values of parameters and running statistics under names that begin so."""
        self.enter(graph)
        saved = {}
        for path, held in self.held():
            if isinstance(held, RandomStream):
                continue
            saved[path] = f"{prefix}{self._title}.{path}"
            op_of(held, graph).persist_op(saved[path])
        self._saved = saved

    # Pickle --------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in self._runtime}
        for name in self._initial:
            if state.get(name) is not None:  # what the values below are by now
                state[name] = None if self.built else array_of(state[name], f"{self._title}: {name}")
        return {**state, "_values": self.values() if self.built else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state.pop("_values")
        vars(self).update(state)
        if values is None:
            return
        shape, self._input = self._input, None
        self.build(shape or ())
        self.load(values)

    def __deepcopy__(self, memo: dict[int, Any]) -> Unit:
        """With the same values, also where they are not computed yet, and random numbers of its own."""
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        if not self._later and self._graph is not None:
            made._later, made._graph = None, self._graph
            for (_, mine), (_, its) in zip(self.held(), made.held(), strict=True):
                its._store(present(mine, self._graph))
        for _, held in made.held():
            if isinstance(held, RandomStream):
                held.reset(fresh_seed())
        return made

    def load(self, values: dict[str, Any]) -> None:
        """Take what `values` gave."""
        own = dict(self.held())
        for path, value in values.items():
            if not isinstance(value, Later):
                own[path].value = value
        self._later = {path: value for path, value in values.items() if isinstance(value, Later)} or None

    def __repr__(self) -> str:
        return f"<{self._title}>" if self.name is None else f"<{type(self).__name__} {self.name}>"


def held_in(module: cg.Module) -> Iterator[tuple[str, Held]]:
    """Parameters and states of a module."""
    yield from module.named_parameters()
    yield from module.named_states()


def nodes_of(found: Any) -> Any:
    """What a module's call returned, as nodes: it is they themselves within another call."""
    return getattr(found, "root", found)


def mapped(found: Any, function: Callable[[Node], Any]) -> Any:
    """A function of each node in what a layer returned: a node, or several in a tuple, list or dict."""
    if isinstance(found, Node):
        return function(found)
    if isinstance(found, dict):
        return {key: mapped(item, function) for key, item in found.items()}
    return tuple([mapped(item, function) for item in found])


def sizes(shape: Any, what: str) -> Shape:
    """A shape as a tuple of ints; one number stands for one axis."""
    items = shape if isinstance(shape, (tuple, list)) else (shape,)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") or n < 1 for n in items):
        raise InputError(f"{what} is a tuple of sizes, without the batch, but got {shape!r}.")
    return tuple([int(n) for n in items])
