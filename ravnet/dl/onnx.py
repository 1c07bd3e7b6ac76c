"""Models to ONNX files and back."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from zkynet.framework import cg
from zkynet.framework.avals import aval_of
from zkynet.framework.errors import InputError
from zkynet.framework.nodes import LeafNode
from zkynet.framework.session import Call

from ..api import session as sessions
from ..api.graph import GraphRecord
from ..api.op import Op
from .layer import Shape, Unit
from .naming import units
from .network import Network, require_computed
from .sequential import NeuralNetwork


def write(model: Network, name: str, examples: Sequence[Any] = ()) -> str:
    """Write a model with its weights to name.onnx; see `Network.get_onnx_model`."""
    from zkynet.interop import onnx

    require_computed(model)
    if not examples:
        known = model.input_example()
        if known is None:
            raise InputError(f"the shape of the input of {model._title} is not known: use the model first, give its "
                             "first layer input_shape=, or pass examples: get_onnx_model(name, X[:1]).")
        examples = [np.zeros(shape, dtype) for shape, dtype in known]
    path = os.fspath(name)
    path = path if path.endswith(".onnx") else f"{path}.onnx"
    names = ["input"] if len(examples) == 1 else [f"input_{i}" for i in range(len(examples))]
    onnx.export(Exported(model), *examples, path=path, input_names=names)
    return path


class Exported(cg.Module):
    """A copy of a model with its weights as arrays, as a module of nodes; parameters are named by their layers."""

    def __init__(self, model: Network):
        super().__init__()
        self._model = copy.deepcopy(model)
        for unit in units(self._model):
            if unit._module is not None:
                setattr(self, unit._title, unit._module)

    def call(self, *inputs: Any) -> Any:
        graph = Scratch(approach="distributed")
        with recording_into(graph):
            return _nodes(self._model._forward_pass(*[graph.wrap(node) for node in inputs], training=False))


class Scratch(GraphRecord):
    """A graph that nobody executes: data stays data."""

    def _leaf(self, value: Any) -> LeafNode:
        array = super()._leaf(value)._value
        data = self.recorder.graph.leaves[array.number]
        value = data if isinstance(data, (bool, int, float, complex)) else jnp.asarray(data)
        return LeafNode(aval_of(value), value, None, Call(), None)


@contextlib.contextmanager
def recording_into(graph: GraphRecord) -> Iterator[None]:
    """Have `R.t` make ops of this graph meanwhile."""
    before = sessions._session
    session = sessions.Session(cast(Any, None))
    session.record = graph
    sessions._session = session
    try:
        yield
    finally:
        sessions._session = before


def _nodes(found: Any) -> Any:
    if isinstance(found, Op):
        return found.node
    return tuple([_nodes(item) for item in found])


# And back -----------------------------------------------------------------------------------------------------


class Onnx(Unit):
    """The module of an ONNX file, as a layer."""

    def __init__(self, content: bytes):
        self.content = content
        super().__init__()
        self.build()

    def _make(self, shape: Shape) -> cg.Module:
        from zkynet.interop import onnx

        return onnx.load(self.content)

    @property
    def input_shape(self) -> Shape | None:
        """Of the file's input, with a batch of one; None where it is not fixed."""
        module: Any = self._module
        ((_, shape), *others) = module._signature.values()
        if others or not shape or any(not size for size in shape[1:]):
            return None
        return (1, *shape[1:])


def load_onnx(model_file_path: Any, optimizer: Any = None, loss: Any = None) -> NeuralNetwork:
    """A NeuralNetwork of an ONNX file, from PyTorch or from `get_onnx_model`, to be trained or used further.

    Raises:
        InputError: when the file is missing or damaged, or uses operators that cannot be imported (all are listed).
    """
    path = Path(model_file_path)
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}.")
    layer = Onnx(path.read_bytes())
    model = NeuralNetwork(optimizer=optimizer, loss=loss)
    shape = layer.input_shape
    if shape is not None:
        layer._input = shape
    model.add(layer)
    return model
