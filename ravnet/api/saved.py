"""TorchScript models: the file that a script gives, and the trained model that it fetches."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zkynet.framework.errors import InputError

from .graph import GraphRecord
from .op import Op

MODELS = "models"  # the key of a graph's `about` under which saved models are listed


class ModelFile:
    """A TorchScript file, as `ravnet.dl.Pytorch_Model(model_op=)` takes it.

    Args:
        path: of the file.

    Raises:
        InputError: when it does not exist.
    """

    def __init__(self, path: str | os.PathLike[str]):
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f"R.model() takes the path of a TorchScript file, but got {type(path).__name__}.")
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"there is no file {str(self.path)!r}. Save the model by "
                             "torch.jit.script(model).save(path) first.")

    @cached_property
    def module(self) -> Any:
        """The model as a zkynet Module; read when it is first asked for."""
        from zkynet.interop import torchscript

        return torchscript.load(self.path)

    def __repr__(self) -> str:
        return f"<TorchScript model {str(self.path)!r}>"


def keep_model(graph: GraphRecord, name: str, content: bytes, values: Mapping[str, Op]) -> None:
    """Keep a TorchScript model under a persist name.

    Args:
        content: the bytes of its file (`TorchScriptModule.content`).
        values: the trained parameters and buffers, by their names in the model.

    Raises:
        PersistNameError: when the name is taken.
    """
    file = graph.tensor(np.frombuffer(content, np.uint8))
    graph.persist(file, name)
    for key, op in values.items():
        graph.persist(op, f"{name}/{key}")
    graph.about.setdefault(MODELS, {})[name] = {"kind": "torchscript", "values": list(values)}


def restored(entry: Mapping[str, Any], name: str, fetch: Callable[[str], np.ndarray]) -> Any:
    """The torch module of a saved model, with its trained values.

    Args:
        entry: of the graph's `about`.
        fetch: gives the result of a persist name.
    """
    from zkynet.interop import torchscript

    values = {key: np.asarray(fetch(f"{name}/{key}")) for key in entry["values"]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pt"
        file.write_bytes(np.asarray(fetch(name)).tobytes())
        module = torchscript.load(file)
    module.load_state_dict(values, strict=False)
    return torchscript.to_torch(module)
