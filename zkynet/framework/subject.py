"""What gradcheck checks, whatever it is: a function of one point, in float64."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import transforms
from .compile import evaluate
from .errors import InputError
from .module import Module
from .nodes import Expression
from .operator import Operator
from .operators.control import nodes_of
from .templates import Held


class Subject:
    """What is checked, as a function of a point: float64 arrays, first of the moved inputs, then of parameters."""

    def __init__(self, function: Any, inputs: Sequence[Any], attributes: dict[str, Any]):
        if isinstance(function, type) and issubclass(function, (Operator, Module)):
            function = function()
        self.function = function
        self.attributes = attributes
        self.name = getattr(function, "functional_name", None) or getattr(function, "__name__", repr(function))
        count = _count(function, inputs)
        inputs, self.attributes_by_position = inputs[:count], inputs[count:]
        leaves, self.tree = jax.tree.flatten(list(inputs), is_leaf=lambda x: isinstance(x, Expression))
        self.leaves = [_as_example(leaf, numbers=isinstance(function, (Operator, Module))) for leaf in leaves]
        names = _names(function, inputs)
        floating = [i for i, leaf in enumerate(self.leaves) if _is_real(leaf)]
        self.moved = [i for i in floating
                      if not isinstance(function, Operator) or function.differentiable(i)]
        self.names = [names[i] for i in self.moved]
        self.parameters: list[Held] = []
        self.states: list[Held] = []
        if isinstance(function, Module):
            named = [(name, p) for name, p in function.named_parameters() if _is_real(p.value)]
            self.names += [name for name, _ in named]
            self.parameters = [parameter for _, parameter in named]
            self.states = [state for _, state in function.named_states()]
        if not floating and not self.parameters:
            raise InputError(f"gradcheck of {self.name} needs a floating input, but got "
                             f"{', '.join(str(getattr(x, 'dtype', type(x).__name__)) for x in self.leaves)}. "
                             "Integer arrays are held fixed: pass a float.")
        self.kept = [held.value for held in (*self.parameters, *self.states)]
        self.point = [np.asarray(x, np.float64) for x in (*[self.leaves[i] for i in self.moved],
                                                           *[p.value for p in self.parameters])]

    def outputs(self, *moved: Any) -> list[Any]:
        """The floating outputs, as nodes; parameters have their present values."""
        leaves = list(self.leaves)
        for place, value in zip(self.moved, moved, strict=True):
            leaves[place] = value
        inputs = jax.tree.unflatten(self.tree, leaves)
        returned = self.function(*inputs, *self.attributes_by_position, **self.attributes)
        # The result of a Module called from outside of any: its nodes.
        nodes, _ = nodes_of(returned.root if isinstance(returned, Expression) else returned, "gradcheck")
        return [node for node in nodes if jnp.issubdtype(node.dtype, jnp.floating)]

    def gradients(self, cotangents: Any, *moved: Any) -> list[Any]:
        """J^T c for inputs and parameters, as arrays or as nodes."""
        found = self._pull(self.outputs, range(len(moved)))(*moved, cotangent=cotangents)[1]
        return [*found[0], *found[1]] if self.parameters and moved else list(found)

    def _pull(self, function: Callable[..., Any], argnums: Sequence[int]) -> Callable[..., Any]:
        return transforms.vjp(function, tuple(argnums), self.parameters or None)  # pyright: ignore[reportArgumentType]

    def place(self, point: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Set the parameters to their part of the point, undo what states have seen; returns the inputs' part."""
        count = len(self.moved)
        held_in_float64 = [_as_example(value, numbers=False) for value in self.kept[len(self.parameters):]]
        for held, value in zip((*self.parameters, *self.states), (*point[count:], *held_in_float64), strict=True):
            held.restore(None, jnp.asarray(value))  # assignment would keep its dtype
        return point[:count]

    def restore(self) -> None:
        for held, value in zip((*self.parameters, *self.states), self.kept, strict=True):
            held.restore(None, value)

    def _split(self, flat: Sequence[Any]) -> Any:
        """In the form in which derivatives for inputs and parameters come."""
        count = len(self.moved)
        if not self.parameters:
            return tuple(flat)
        return (tuple(flat[:count]), list(flat[count:])) if count else list(flat)

    # Each of these is one compiled program, whatever the point.

    def value(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        nodes = self.outputs(*self.place(point))
        evaluate(nodes)
        return [np.asarray(node.value) for node in nodes]

    def gradient(self, point: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(g) for g in self.gradients(list(cotangents), *self.place(point))]

    def forward(self, point: Sequence[np.ndarray], tangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        inputs = self.place(point)
        pushed = transforms.jvp(self.outputs, tuple(range(len(inputs))), self.parameters or None)  # pyright: ignore[reportArgumentType]
        return [np.asarray(t) for t in pushed(*inputs, tangent=self._split(tangents))[1]]

    def second(self, point: Sequence[np.ndarray], cotangents: Sequence[np.ndarray],
               tangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        inputs = self.place(point)
        pull = self._pull(self.gradients, range(len(inputs) + 1))
        found = pull(list(cotangents), *inputs, cotangent=list(tangents))[1]
        by_input, by_parameter = found if self.parameters else (found, [])
        return [np.asarray(g) for g in (*by_input[1:], *by_parameter)]


def _as_example(leaf: Any, numbers: bool) -> Any:
    """A leaf of the inputs, as an array where it is one; `numbers`: a Python int means a real number."""
    if isinstance(leaf, (Expression, Held)):
        leaf = leaf.value
    if isinstance(leaf, float) or numbers and type(leaf) is int:
        return np.asarray(leaf, np.float64)
    if isinstance(leaf, (np.ndarray, np.generic, jax.Array)):
        return np.asarray(leaf, np.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
    return leaf


def _is_real(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def _count(function: Any, inputs: Sequence[Any]) -> int:
    """How many positional arguments are inputs; those after an operator's are its attributes."""
    if not isinstance(function, Operator):
        return len(inputs)
    if function.variadic:
        return 1 if inputs and isinstance(inputs[0], (list, tuple)) else len(inputs)
    return len(function.inputs)


def _names(function: Any, inputs: Sequence[Any]) -> list[str]:
    """A name for each leaf of the inputs."""
    if isinstance(function, Operator):
        return [function.input_name(i) for i in range(len(jax.tree.leaves(list(inputs))))]
    if isinstance(function, Module):
        given = [variable.short_name for variable in function.inputs]
    else:
        parameters = inspect.signature(function).parameters.values()
        given = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = []
    for index, value in enumerate(inputs):
        name = given[index] if index < len(given) else f"input {index}"
        paths = jax.tree_util.tree_leaves_with_path(value, is_leaf=lambda x: isinstance(x, Expression))
        names += [name + jax.tree_util.keystr(path) for path, _ in paths]
    return names
