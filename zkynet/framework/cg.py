"""What graphs are written with: templates, Modules, Operators, nodes."""

from .module import Module
from .nodes import LeafNode, ModuleGraph, Node, OperatorNode, topological
from .operator import Operator, operator
from .templates import Constant, Parameter, State, Template, Variable


def get_all_nodes(root):
    """All nodes of a graph, inputs before users."""
    return topological(root.roots if isinstance(root, ModuleGraph) else [root])


def get_input_nodes(root):
    """The leaves of a graph: grounded inputs, parameters, states and constants."""
    return [node for node in get_all_nodes(root) if node.isleaf()]


__all__ = [
    "Constant", "LeafNode", "Module", "ModuleGraph", "Node", "Operator", "OperatorNode", "Parameter", "State",
    "Template", "Variable", "get_all_nodes", "get_input_nodes", "operator",
]
