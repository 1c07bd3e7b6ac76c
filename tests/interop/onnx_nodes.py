"""Single ONNX nodes, run by the importer and by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper, shape_inference  # noqa: E402


def model_of(op_type: str, inputs: list[Any], opset: int, outputs: int = 1, constant: tuple[int, ...] = (),
             domain: str = "", **attributes: Any) -> Any:
    """A model of one node; inputs that are None are left out, those at `constant` are initializers."""
    from onnx import numpy_helper

    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, made, domain=domain, **attributes)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
             for i, (n, x) in enumerate(zip(names, inputs, strict=True)) if x is not None and i not in constant]
    weights = [numpy_helper.from_array(inputs[i], names[i]) for i in constant]
    graph = helper.make_graph([node], "node", infos, [helper.make_empty_tensor_value_info(n) for n in made], weights)
    versions = [helper.make_opsetid(domain, opset)] if domain == "" else [
        helper.make_opsetid("", 18), helper.make_opsetid(domain, opset)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    model = shape_inference.infer_shapes(model)  # which declares most outputs' types
    for output in model.graph.output:
        if not output.type.HasField("tensor_type"):
            output.type.CopyFrom(infos[0].type)
    return model


def fed(inputs: list[Any], constant: tuple[int, ...] = ()) -> list[Any]:
    return [x for i, x in enumerate(inputs) if x is not None and i not in constant]


def by_onnxruntime(model: Any, arrays: list[Any]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {given.name: x for given, x in zip(session.get_inputs(), arrays, strict=True)})


def by_zkynet(model: Any, arrays: list[Any]) -> list[np.ndarray]:
    from zkynet.interop.onnx import load

    made = load(model)(*arrays).value
    return [np.asarray(y) for y in (made if isinstance(made, tuple) else (made,))]


def array(*shape: int, seed: int = 0, kind: Any = np.float32, low: float | None = None,
          high: float = 1.0) -> np.ndarray:
    """Normal numbers, or uniform ones from `low` to `high`."""
    rng = np.random.default_rng((seed, *shape))
    values = rng.normal(size=shape) if low is None else rng.uniform(low, high, size=shape)
    return values.astype(kind)
