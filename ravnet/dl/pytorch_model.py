"""Pytorch_Model: a TorchScript model as a model that can be trained here."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from zkynet.framework import cg
from zkynet.framework.errors import InputError
from zkynet.framework.random_stream import RandomStream

from ..api.graph import GraphRecord
from ..api.op import Op
from ..api.saved import ModelFile, keep_model
from .held import op_of
from .layer import Shape, Unit, nodes_of
from .network import Network


class Script(Unit):
    """The module of a TorchScript file, as a layer."""

    def __init__(self, content: bytes):
        self.content = content
        super().__init__()

    def _make(self, shape: Shape) -> cg.Module:
        from zkynet.interop import torchscript

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.pt"
            file.write_bytes(self.content)
            return torchscript.load(file)

    def _as_node(self, graph: GraphRecord, value: Any) -> Any:
        return super()._as_node(graph, value) if isinstance(value, (Op, np.ndarray)) else value

    def _forward_pass(self, *inputs: Any, training: Any = True, **named: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        names = tuple(named)

        def function(*nodes: Any) -> Any:
            module: Any = self._module
            count = len(nodes) - len(names)
            return nodes_of(module(*nodes[:count], **dict(zip(names, nodes[count:], strict=True))))

        return self._record((*inputs, *named.values()), training, function)


class Pytorch_Model(Network):
    """A TorchScript model (`R.model("file.pt")`), trained like the other models.

    Each Pytorch_Model has weights of its own, those of the file at first. torch reads the file and nothing more.

    Args:
        model_op: what `R.model` gave, or a path.
        optimizer: may also be given to `initialize`.
    """

    def __init__(self, model_op: Any, optimizer: Any = None):
        if isinstance(model_op, (str, os.PathLike)):
            model_op = ModelFile(model_op)
        if not isinstance(model_op, ModelFile):
            raise InputError(f"Pytorch_Model takes model_op=R.model('file.pt'), but got {model_op!r}.")
        self.script = Script(model_op.path.read_bytes())
        self.initialize_params(optimizer)

    def _hint(self) -> str:
        return "Call model.initialize(optimizer) before the first step."

    def initialize(self, optimizer: Any) -> None:
        """Take the optimizer."""
        self.initialize_params(optimizer)

    def _forward_pass(self, *inputs: Any, training: Any = True, **named: Any) -> Any:
        """The output for ops or arrays, by position and by name; other arguments of `forward` are taken as they are."""
        return self.script._forward_pass(*inputs, training=training, **named)

    def save_model(self, name: str | None = None) -> None:
        """Persist the model as it is at this point of the graph: `R.fetch_persisting_op(op_name=name)` gives the torch
        module with the trained weights."""
        if not isinstance(name, str) or not name:
            raise InputError("save_model needs the name under which the model is fetched: save_model(name='my_net').")
        graph = self._recording_graph()
        graph.require_recording()
        script = self.script
        script.enter(graph)
        values = {path: op_of(held, graph) for path, held in script.held() if not isinstance(held, RandomStream)}
        keep_model(graph, name, script.content, values)
        script._saved = {path: f"{name}/{path}" for path in values}

    persist_weights = save_model
