"""Functions of ONNX, expanded: those of the model, and operators without a rule whose schema has a function body."""

from __future__ import annotations

from typing import Any

from ...framework.errors import InputError
from .import_registry import find_rule
from .reading import domain_of, graphs_of, opset_imports

_DEPTH = 16  # functions within functions


def expanded(model: Any) -> Any:
    """The model without calls of functions, with the types of all values that can be inferred.

    Args:
        model: as `light` makes it.
    """
    from onnx import inliner

    try:
        if model.functions:
            model = _keeping_metadata(inliner.inline_local_functions(model, True), model)
        for _ in range(_DEPTH):
            model = inferred(model)
            wanted = _expandable(model)
            if not wanted:
                break
            before = _count(model, wanted)
            _give_defaults(model, wanted)
            opened = inliner.inline_selected_functions(model, wanted, inline_schema_functions=True)
            if _count(opened, wanted) >= before:
                break
            model = _keeping_metadata(opened, model)
    except RuntimeError as error:
        raise InputError(f"the functions of the ONNX model cannot be expanded: {error}") from None
    return model


def _keeping_metadata(opened: Any, model: Any) -> Any:
    if not opened.graph.metadata_props:
        opened.graph.metadata_props.extend(model.graph.metadata_props)
    return opened


def inferred(model: Any) -> Any:
    """The model with the types of its values, as far as they can be inferred."""
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(model, strict_mode=False)
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return model


def _expandable(model: Any) -> list[tuple[str, str]]:
    """The operators that have no rule but a function body."""
    from onnx import defs

    versions = opset_imports(model)
    found: set[tuple[str, str]] = set()
    for graph in graphs_of(model.graph):
        for node in graph.node:
            domain, version = domain_of(node), versions.get(domain_of(node), 1)
            if find_rule(domain, node.op_type, version) is None and defs.has(node.op_type, version, domain):
                schema: Any = defs.get_schema(node.op_type, version, domain)
                if schema.has_function or schema.has_context_dependent_function:
                    found.add((domain, node.op_type))
    return sorted(found)


def _give_defaults(model: Any, operators: list[tuple[str, str]]) -> None:
    """Write attributes that are left out into the nodes: function bodies refer to them."""
    from onnx import defs

    versions = opset_imports(model)
    wanted = set(operators)
    for graph in graphs_of(model.graph):
        for node in graph.node:
            if (domain_of(node), node.op_type) in wanted:
                schema = defs.get_schema(node.op_type, versions.get(domain_of(node), 1), domain_of(node))
                present = {attribute.name for attribute in node.attribute}
                node.attribute.extend(a.default_value for name, a in schema.attributes.items()
                                      if name not in present and a.default_value.name)


def _count(model: Any, operators: list[tuple[str, str]]) -> int:
    wanted = set(operators)
    return sum((domain_of(node), node.op_type) in wanted for graph in graphs_of(model.graph) for node in graph.node)
