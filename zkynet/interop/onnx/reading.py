"""ONNX files into checked protos: sources, external data, opset versions, cycles, operators without a rule."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...framework.errors import InputError
from .import_registry import describe_node, find_rule

_OWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training")
_CHECKER_LIMIT = 2**31 - 1  # protobuf cannot serialise more, and the checker serialises


def read_model(source: Any) -> Any:
    """The checked ModelProto of a path, of bytes, or of a ModelProto, with its external data read in.

    Raises:
        InputError: when it cannot be read, is no valid ONNX, or its external data is missing or outside its folder.
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        model, what = source, "the ModelProto"
    elif isinstance(source, (bytes, bytearray, memoryview)):
        model, what = _parsed(bytes(source), "the bytes"), "the bytes"
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        what = f"{str(path)!r}"
        model = _parsed(_content(path), what)
        _read_external(model, path.parent, what)
    else:
        raise InputError(f"an ONNX model is given as a path, bytes or an onnx.ModelProto, but got "
                         f"{type(source).__name__}.")
    _check(model, what)
    return model


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error.strerror or error}. Give the path of an .onnx file.") from None


def _parsed(content: bytes, what: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{what} is no ONNX model, or it is damaged: {error}") from None
    if not model.HasField("graph") or not model.ir_version:
        raise InputError(f"{what} is no ONNX model, or it is damaged: there is no graph in it.")
    return model


def _read_external(model: Any, folder: Path, what: str) -> None:
    from onnx import checker, external_data_helper

    try:
        external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, checker.ValidationError) as error:
        raise InputError(f"{what} keeps weights in other files, which cannot be read: {_line(error)}. Put them next "
                         "to the model, in its folder.") from None


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def graphs_of(graph: Any) -> Iterator[Any]:
    """A graph and all graphs in its nodes' attributes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs_of(inner)


def tensors_of(model: Any) -> Iterator[Any]:
    """All tensors of a model that are constants of its graphs."""
    for graph in graphs_of(model.graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t


def opset_imports(model: Any) -> dict[str, int]:
    """The opset version of each domain; ai.onnx is the domain ""."""
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}


# Checks ---------------------------------------------------------------------------------------------------


def _check(model: Any, what: str) -> None:
    from onnx import checker

    for tensor in tensors_of(model):
        if tensor.data_location == tensor.EXTERNAL:
            raise InputError(f"{what} keeps the tensor {tensor.name!r} in another file: load it by its path, or read "
                             "it with onnx.load first.")
    _check_versions(model, what)
    for graph in graphs_of(model.graph):
        _check_order(graph, what)
    try:
        if model.ByteSize() < _CHECKER_LIMIT:
            checker.check_model(_checkable(model))
    except (checker.ValidationError, ValueError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{what} is no valid ONNX model: {_line(error)}.") from None


def _checkable(model: Any) -> Any:
    """The model itself, unless the checker is stricter than need be: about outputs without a shape, or operators that
    it would report one at a time."""
    if unknown_schemas(model):
        copy = light(model)
        for part in (copy.graph.node, copy.graph.output, copy.functions):
            del part[:]
        return copy
    tensors = [value.type.tensor_type for value in model.graph.output if value.type.HasField("tensor_type")]
    if all(tensor.HasField("shape") for tensor in tensors):
        return model
    copy = light(model)
    for value in copy.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return copy


def light(model: Any) -> Any:
    """A copy without the data of the initializers, which become inputs: cheap to rewrite and to infer types in."""
    from onnx import ModelProto

    copy = ModelProto()
    for field, value in model.ListFields():
        if field.name == "graph":
            continue
        if hasattr(value, "append"):
            getattr(copy, field.name).extend(value)
        else:
            setattr(copy, field.name, value)
    graph = copy.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    graph.metadata_props.extend(model.graph.metadata_props)
    declared = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if tensor.name not in declared:
            value = graph.input.add(name=tensor.name)
            value.type.tensor_type.elem_type = tensor.data_type
            value.type.tensor_type.shape.SetInParent()
            for length in tensor.dims:
                value.type.tensor_type.shape.dim.add(dim_value=length)
    return copy


def unknown_schemas(model: Any) -> list[Any]:
    """The nodes of ONNX's own domains for which this version of onnx has no operator."""
    from onnx import defs

    versions = opset_imports(model)
    local = {(f.domain, f.name) for f in model.functions}
    return [node for graph in graphs_of(model.graph) for node in graph.node
            if (node.domain, node.op_type) not in local and node.domain in _OWN_DOMAINS
            and not defs.has(node.op_type, versions.get(domain_of(node), 1), domain_of(node))]


def domain_of(node: Any) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _check_versions(model: Any, what: str) -> None:
    from onnx import defs

    versions = opset_imports(model)
    if not versions:
        raise InputError(f"{what} does not say which opset version it uses, so its operators have no meaning.")
    newest = defs.onnx_opset_version()
    version = versions.get("", 1)
    if not 1 <= version <= newest:
        raise InputError(f"{what} uses opset version {version} of ai.onnx, but the installed onnx knows versions 1 to "
                         f"{newest}: export it with one of those (opset_version=...), or install a newer onnx.")


def _check_order(graph: Any, what: str) -> None:
    """Every value must be made before it is used; a cycle cannot be ordered so."""
    makers = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    for start in graph.node:
        stack = [start]
        active = {id(start): start}
        while stack:
            node = stack[-1]
            maker = next((makers[n] for n in node.input if n in makers and id(makers[n]) not in done), None)
            if maker is None:
                stack.pop()
                active.pop(id(node), None)
                done.add(id(node))
            elif id(maker) in active:
                path = [describe_node(n) for n in active.values()]
                raise InputError(f"{what} has a cycle: {describe_node(maker)} is computed from itself (among "
                                 f"{'; '.join(path[:5])}).")
            else:
                active[id(maker)] = maker
                stack.append(maker)


def check_operators(model: Any, what: str = "the model") -> None:
    """Report all nodes without a rule at once."""
    versions = opset_imports(model)
    missing: dict[str, list[str]] = {}
    for graph in graphs_of(model.graph):
        for node in graph.node:
            domain = domain_of(node)
            if find_rule(domain, node.op_type, versions.get(domain, 1)) is None:
                operator = f"{domain + '.' if domain else ''}{node.op_type} (version {versions.get(domain, 1)})"
                missing.setdefault(operator, []).append(node.name or (node.output[0] if node.output else "?"))
    if missing:
        listed = "; ".join(f"{operator}: {', '.join(map(repr, names[:8]))}" + (", ..." if len(names) > 8 else "")
                           for operator, names in sorted(missing.items()))
        raise InputError(f"{what} uses operators that cannot be imported, by node: {listed}.")


def array_of(tensor: Any) -> np.ndarray:
    """The NumPy array of a TensorProto; strings become an array of str objects."""
    from onnx import numpy_helper

    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"the tensor {tensor.name!r} of the ONNX model is damaged: {_line(error)}.") from None
    if array.dtype.kind in "OSU":
        return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in array.ravel()],
                        dtype=object).reshape(array.shape)
    return array
