"""Modules to ONNX models; see `zkynet.interop.onnx.export`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ...framework.avals import make_aval
from ...framework.errors import InputError, ZkynetError
from ...framework.module import Module
from ...framework.templates import Constant
from . import (
    export_rules_control,  # noqa: F401 - these modules fill the table of rules
    export_rules_elementwise,  # noqa: F401
    export_rules_index,  # noqa: F401
    export_rules_linalg,  # noqa: F401
    export_rules_logspace,  # noqa: F401
    export_rules_recurrent,  # noqa: F401
    export_rules_reduce,  # noqa: F401
    export_rules_shape,  # noqa: F401
    export_rules_space,  # noqa: F401
)
from .export_graph import Graph, Model, Value
from .export_trace import ExportError, Kind, Traced, Unsupported, trace

OLDEST = 18  # reductions take their axes as inputs from here on
_UNTIL_KNOWN = 21  # what is written where no onnxruntime is installed that could be asked


@functools.cache
def newest_opset() -> int:
    """The newest opset that both onnx and the installed onnxruntime know."""
    import onnx

    try:
        import onnxruntime
    except ImportError:
        return min(onnx.defs.onnx_opset_version(), _UNTIL_KNOWN)
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe",
                              [info("x", TensorProto.FLOAT, [1])], [info("y", TensorProto.FLOAT, [1])])
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    for opset in range(onnx.defs.onnx_opset_version(), OLDEST, -1):
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports))
        with contextlib.suppress(Exception):  # onnxruntime has no common class of its errors
            onnxruntime.InferenceSession(model.SerializeToString(), quiet)
            return opset
    return OLDEST


# Inputs -----------------------------------------------------------------------------------------------------


class Inputs:
    """The example's leaves: their names, kinds, and which axis of each is the batch."""

    def __init__(self, module: Any, examples: Sequence[Any], dynamic: bool | Mapping[str, int],
                 names: Sequence[str] | None):
        leaves, self.tree = jax.tree.flatten(tuple(examples))
        arrays = [_array(leaf) for leaf in leaves]
        self.names = _names(_input_names(module, examples), names, len(arrays), "input_names")
        self.shapes, self.dtypes = [a.shape for a in arrays], [a.dtype for a in arrays]
        self.axes = self._batch_axes(dynamic)
        lengths = {shape[axis] for shape, axis in zip(self.shapes, self.axes, strict=True) if axis is not None}
        if len(lengths) > 1:
            raise InputError(f"the axes in dynamic_batch share one length, but those of the examples are "
                             f"{sorted(lengths)}.")
        first = lengths.pop() if lengths else 0
        # Smaller and larger than the example's, too: what holds for all of these is taken to hold for any.
        self.sizes = list(dict.fromkeys((first, first + 3, first + 10, 2))) if self.dynamic else [first]

    @property
    def dynamic(self) -> bool:
        return any(axis is not None for axis in self.axes)

    def _batch_axes(self, dynamic: bool | Mapping[str, int]) -> list[int | None]:
        if isinstance(dynamic, Mapping):
            unknown = [name for name in dynamic if name not in self.names]
            if unknown:
                raise InputError(f"dynamic_batch names {', '.join(unknown)}, but the inputs are "
                                 f"{', '.join(self.names)}.")
            found = [dynamic.get(name) for name in self.names]
            for axis, shape, name in zip(found, self.shapes, self.names, strict=True):
                if axis is not None and not -len(shape) <= axis < len(shape):
                    raise InputError(f"dynamic_batch: {name} has the shape {shape}, and no axis {axis}.")
            return [None if axis is None else axis % len(shape) for axis, shape in
                    zip(found, self.shapes, strict=True)]
        if not dynamic or not self.shapes or not self.shapes[0]:
            return [None] * len(self.shapes)
        return [0 if shape[:1] == self.shapes[0][:1] else None for shape in self.shapes]

    def avals(self, size: int) -> list[Any]:
        """The function's arguments, as Avals, for a size of the batch."""
        found = [make_aval(tuple([size if i == axis else n for i, n in enumerate(shape)]), dtype)
                 for shape, dtype, axis in zip(self.shapes, self.dtypes, self.axes, strict=True)]
        return list(jax.tree.unflatten(self.tree, found))


def _array(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise InputError(f"export needs arrays of numbers as its examples, but got {type(leaf).__name__} of "
                         f"{array.dtype}.")
    return np.empty(array.shape, jax.dtypes.canonicalize_dtype(array.dtype))


def _input_names(module: Any, examples: Sequence[Any]) -> list[str]:
    given = [variable.short_name for variable in module.inputs] if isinstance(module, Module) else []
    found = []
    for index, example in enumerate(examples):
        name = given[index] if index < len(given) else f"input_{index}"
        found += [name + "".join(f".{_key(part)}" for part in path)
                  for path, _ in jax.tree_util.tree_flatten_with_path(example)[0]]
    return found


def _key(part: Any) -> Any:
    return getattr(part, "key", getattr(part, "idx", part))


def _names(own: Sequence[str], given: Sequence[str] | None, count: int, what: str) -> list[str]:
    if given is None:
        return list(own)
    if len(given) != count or len(set(given)) != count:
        raise InputError(f"{what} needs {count} different names, but got {list(given)}.")
    return list(given)


# Tracing ----------------------------------------------------------------------------------------------------


def _trace(module: Any, inputs: Inputs) -> Traced:
    try:
        return trace(module, [inputs.avals(size) for size in inputs.sizes])
    except (ZkynetError, Unsupported) as error:
        if not inputs.dynamic:
            raise
        try:  # whose fault is it?
            trace(module, [inputs.avals(inputs.sizes[0])])
        except (ZkynetError, Unsupported):
            raise error from None
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"the module cannot be traced at other batch sizes than the example's: {error} Export it "
                          "with dynamic_batch=False, or name the axes of the batch: dynamic_batch={'x': 0}.") from error


def _held_names(module: Any) -> dict[Any, str]:
    if not isinstance(module, Module):
        return {}
    found = itertools.chain(module.named_parameters(), module.named_states(), module._named(Constant))
    return {held: name for name, held in found}


# Writing ----------------------------------------------------------------------------------------------------


def export(module: Any, examples: Sequence[Any], path: Any, opset: int | None, dynamic: bool | Mapping[str, int],
           input_names: Sequence[str] | None, output_names: Sequence[str] | None) -> Any:
    try:
        import onnx
    except ImportError:
        raise ImportError("exporting to ONNX needs the package onnx: pip install onnx onnxruntime") from None
    newest = onnx.defs.onnx_opset_version()
    opset = newest_opset() if opset is None else opset
    if not OLDEST <= opset <= newest:
        raise InputError(f"opset must be from {OLDEST} to {newest} (the newest of the installed onnx), but is {opset}.")
    inputs = Inputs(module, examples, dynamic, input_names)
    with module.evaluating() if isinstance(module, Module) else contextlib.nullcontext():
        traced = _trace(module, inputs)
        made = _model(module, traced, inputs, opset, output_names)
    onnx.checker.check_model(made, full_check=True)
    made = onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True)
    if path is not None:
        _write(path, made.SerializeToString())
    return made


def _model(module: Any, traced: Traced, inputs: Inputs, opset: int, output_names: Sequence[str] | None) -> Any:
    from onnx import helper

    model = Model(inputs.sizes, opset)
    graph = Graph(model)
    kinds = traced.program.inputs
    values = [Value.of(model.names(name), kind) for name, kind in zip(inputs.names, kinds, strict=False)]
    names = _names(_output_names(traced.tree), output_names, len(traced.program.outputs), "output_names")
    names = [model.names(name) for name in names]
    model.batch = functools.cache(lambda graph: _batch(graph, values, inputs.axes))
    held = _held_names(module)
    captured = [_initializer(graph, one, held, kind) if one.held is not None else graph.capture(one, kind)
                for one, kind in zip(traced.captured, kinds[len(values):], strict=True)]
    outputs = graph.run(traced.program, [*values, *captured])
    if model.problems:
        count = len(model.problems)
        raise ExportError(f"{count} operator{'s' if count > 1 else ''} cannot be exported:\n  "
                          + "\n  ".join(model.problems))
    graph.nodes = _needed(graph.nodes, outputs)
    for name, output in zip(names, outputs, strict=True):
        _give(graph, output, name, outputs)
    finished = helper.make_graph(
        graph.nodes, getattr(module, "functional_name", getattr(module, "__name__", "function")),
        [model.info(value, value.kind) for value in values],
        [model.info(name, value.kind) for name, value in zip(names, outputs, strict=True)],
        [tensor for name, tensor in model.initializers.items() if name in _used(graph.nodes)])
    imports = [helper.make_opsetid("", opset)] + [
        helper.make_opsetid(domain, 1) for domain in sorted({node.domain for node in graph.nodes} - {""})]
    return helper.make_model(finished, producer_name="zkynet", opset_imports=imports,
                             ir_version=helper.find_min_ir_version_for(imports[:1]))


def _batch(graph: Graph, values: Sequence[Value], axes: Sequence[int | None]) -> str:
    value, axis = next((v, a) for v, a in zip(values, axes, strict=True) if a is not None)
    return graph.add("Shape", value, start=axis, end=axis + 1)


def _initializer(graph: Graph, captured: Any, held: Mapping[Any, str], kind: Kind) -> Value:
    from onnx import numpy_helper

    name = graph.model.names(held.get(captured.held, captured.held.short_name))
    graph.model.initializers[name] = numpy_helper.from_array(np.asarray(captured.held.value), name)
    return Value.of(name, kind)


def _output_names(tree: Any) -> list[str]:
    paths = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(tree, range(tree.num_leaves)))[0]
    keys = [[str(_key(part)) for part in path] for path, _ in paths]
    return ["_".join(["output", *key]) for key in keys]


def _give(graph: Graph, value: str, name: str, outputs: Sequence[str]) -> None:
    """Name an output: where one node makes it and nothing else reads it, that node's output."""
    from onnx import helper

    maker = next((node for node in graph.nodes if value in node.output), None)
    if maker is not None and list(outputs).count(value) == 1 and value not in _used(graph.nodes):
        maker.output[list(maker.output).index(value)] = name
    else:
        graph.nodes.append(helper.make_node("Identity", [value], [name], name=graph.model.names("Identity")))


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    """The nodes that the outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= _used([node])
            kept.append(node)
    return kept[::-1]


def _used(nodes: Any) -> set[str]:
    """The names that nodes read, those in bodies included."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _used(attribute.g.node)
    return found


def _write(path: Any, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    file = Path(path)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


__all__ = ["ExportError", "export", "newest_opset"]
