"""A graph as readable text: the tree of calls with shapes and values; what `print(result)` shows."""

from __future__ import annotations

from .nodes import ModuleGraph, Node, short_value

_LINES = 60


def describe_graph(graph: ModuleGraph) -> str:
    """The nodes of a graph, grouped by the module calls that made them, inputs first."""
    lines = [f"{graph.module.functional_name}, call {graph.call_id}"]
    names: dict[Node, str] = {}
    nodes = graph.nodes
    scope: object = None
    for node in nodes[:_LINES]:
        names[node] = _name(node, names)
        depth = node.scope.depth if node.scope is not None else 0
        if node.scope is not scope and node.scope is not None and node.scope.parent is not None:
            lines.append(f"{'  ' * depth}{node.scope.path}")
        scope = node.scope
        lines.append(f"{'  ' * (depth + 1)}{_line(node, names)}")
    if len(nodes) > _LINES:
        lines.append(f"  ... and {len(nodes) - _LINES} more nodes (zkynet.summary(module, x) counts by module)")
    return "\n".join(lines)


def _name(node: Node, names: dict[Node, str]) -> str:
    base = node.name
    taken = set(names.values())
    if base not in taken:
        return base
    index = 2
    while f"{base}_{index}" in taken:
        index += 1
    return f"{base}_{index}"


def _line(node: Node, names: dict[Node, str]) -> str:
    text = names[node]
    if node.inputs:
        text += f" = {node.name}({', '.join(names.get(child, '...') for child in node.inputs)})"
    text += f": {node.aval!r}"
    if node.is_computed:
        text += f" = {short_value(node._value)}"
    return text
