"""zkynet as a backend of ONNX: what ONNX's own tools and its conformance suite run models with.

>>> from onnx import helper
>>> from zkynet.interop.onnx import backend
>>> import numpy as np
>>> add = helper.make_node("Add", ["a", "b"], ["sum"])
>>> backend.run_node(add, [np.float32(1.0), np.float32(2.0)])["sum"].tolist()
3.0

Models are run in 64-bit mode, so that int64 and float64 are what they say, and give NumPy arrays of the declared
dtypes. To train a model, or to use it within another, use `zkynet.interop.onnx.load` instead.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...framework.errors import InputError
from .import_registry import describe_node
from .importer import load


class Prepared:
    """A model that is ready to run: what the ONNX interface calls a BackendRep."""

    def __init__(self, model: Any, device: str):
        self.device = jax.devices(_platform(device))[_number(device)]
        with jax.enable_x64(True), jax.default_device(self.device):
            self.module = load(model, trainable=False)

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """The outputs as a tuple of NumPy arrays (lists of them for sequences), which may also be taken by name.

        Args:
            inputs: arrays in the order of the graph's inputs, or by name.
        """
        from onnx.backend.base import namedtupledict

        given = self._by_name(inputs)
        names = self.module.output_names
        with jax.enable_x64(True), jax.default_device(self.device):
            result = self.module(*[given.get(name) for name in self.module.input_names])
            values = result.value
        outputs = (values,) if len(names) == 1 else values
        return namedtupledict("Outputs", list(names))(*[_on_host(value) for value in outputs])

    def _by_name(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        if not isinstance(inputs, Sequence):
            inputs = [inputs]
        names = self.module.input_names
        if len(inputs) > len(names):
            raise InputError(f"the ONNX model takes {len(names)} inputs ({', '.join(names)}), but got {len(inputs)}; "
                             "what it has initializers for cannot be given.")
        return dict(zip(names, inputs, strict=False))


def _on_host(value: Any) -> Any:
    return [_on_host(item) for item in value] if isinstance(value, (list, tuple)) else np.asarray(value)


def _platform(device: str) -> str:
    kind = device.split(":")[0].upper()
    return {"CUDA": "gpu", "GPU": "gpu", "CPU": "cpu", "TPU": "tpu"}.get(kind, kind.lower())


def _number(device: str) -> int:
    return int(device.split(":")[1]) if ":" in device else 0


def supports_device(device: str) -> bool:
    """Whether models can be run on "CPU", "CUDA", "CUDA:1" ...

    >>> supports_device("CPU")
    True
    """
    try:
        return _number(device) < len(jax.devices(_platform(device)))
    except (RuntimeError, ValueError):
        return False


def prepare(model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
    """Check and import a model.

    Raises:
        InputError: as `load` does; or when there is no such device.
    """
    if not supports_device(device):
        raise InputError(f"there is no device {device!r} here.")
    return Prepared(model, device)


def run_model(model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
    """The outputs of a model for these inputs."""
    return prepare(model, device).run(inputs)


def run_node(node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any) -> Any:
    """The outputs of a single node.

    Args:
        outputs_info: (dtype, shape) of each output, where they cannot be inferred.
        opset_version: of the node's domain; the newest that the installed onnx has by default.
    """
    from onnx import defs, helper, shape_inference

    arrays = [np.asarray(value) for value in (inputs.values() if isinstance(inputs, Mapping) else inputs)]
    given = dict(zip([name for name in node.input if name], arrays, strict=True))
    typed = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
             for name, array in given.items()]
    version = int(kwargs.get("opset_version", defs.onnx_opset_version() if node.domain == "" else 1))
    model = helper.make_model(helper.make_graph([node], "node", typed, []),
                              opset_imports=[helper.make_opsetid(node.domain, version)])
    types = {value.name: value for value in shape_inference.infer_shapes(model).graph.value_info}
    for index, name in enumerate(node.output):
        if name in types:
            model.graph.output.append(types[name])
        elif name and outputs_info is not None:
            dtype, shape = outputs_info[index]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
        elif name:
            raise InputError(f"{describe_node(node)}: the type of its output {name!r} cannot be inferred; give "
                             "outputs_info.")
    return run_model(model, list(given.values()), device)


@functools.cache
def _classes() -> type:
    """The Backend class of the ONNX interface; made when somebody asks, as onnx is an extra."""
    from onnx.backend import base

    class ZkynetBackend(base.Backend):
        """`onnx.backend.base.Backend`, by the functions of this module."""

    functions: tuple[Any, ...] = (supports_device, prepare, run_model, run_node)
    for function in functions:
        setattr(ZkynetBackend, function.__name__, staticmethod(function))
    return ZkynetBackend


def __getattr__(name: str) -> Any:
    if name in ("Backend", "ZkynetBackend"):
        return _classes()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
