"""A graph as readable text: the calls of modules with their nodes, shapes and values; what `print(result)` shows."""

from __future__ import annotations

from collections import Counter

from .nodes import ModuleGraph, Node, short_value
from .session import Scope
from .templates import Parameter

_LINES = 60


def describe_graph(graph: ModuleGraph) -> str:
    """The nodes of a graph under the module calls that made them, inputs first. Nothing is computed for it."""
    lines = [f"{graph.module.functional_name}, call {graph.call_id}"]
    names: dict[Node, str] = {}
    counts: Counter[str] = Counter()
    waiting: list[Node] = []  # leaves belong to no module: they are shown where they are used first
    place: Scope | None = None
    nodes = graph.nodes
    for node in nodes[:_LINES]:
        if node.isleaf() and node.template is None and node.aval.shape == ():
            names[node] = "?" if node._value is None else short_value(node._value)
            continue
        counts[node.name] += 1
        names[node] = node.name if counts[node.name] == 1 else f"{node.name}_{counts[node.name]}"
        waiting.append(node)
        if node.isleaf():
            continue
        if node.scope is not place and node.scope is not None and node.scope.parent is not None:
            lines.append(f"{'  ' * node.scope.depth}{node.scope.path}")
        place = node.scope
        indent = "  " * ((place.depth if place is not None else 0) + 1)
        lines += [indent + _line(one, names) for one in waiting]
        waiting = []
    lines += ["  " + _line(node, names) for node in waiting]
    if len(nodes) > _LINES:
        lines.append(f"  ... and {len(nodes) - _LINES} more nodes")
    used = {node.template for node in nodes if isinstance(node.template, Parameter)}
    lines.append(f"{sum(parameter.aval.size for parameter in used)} parameters in {len(used)} arrays "
                 "(zkynet.summary(module, ...) counts by module)")
    return "\n".join(lines)


def _line(node: Node, names: dict[Node, str]) -> str:
    text = names[node]
    if node.inputs:
        text += f" = {node.name}({', '.join(names.get(child, '...') for child in node.inputs)})"
    text += f": {node.aval!r}"
    return text if node._value is None else f"{text} = {short_value(node._value)}"
