"""What graphs are written with: templates, Modules, Operators, nodes."""

from .module import Module
from .nodes import LeafNode, ModuleGraph, Node, OperatorNode, get_all_nodes, get_input_nodes
from .operator import Operator, operator
from .random_stream import RandomStream
from .templates import Constant, Parameter, State, Template, Variable

__all__ = [
    "Constant", "LeafNode", "Module", "ModuleGraph", "Node", "Operator", "OperatorNode", "Parameter", "RandomStream",
    "State", "Template", "Variable", "get_all_nodes", "get_input_nodes", "operator",
]
