"""What layers are given: activations, probabilities, lengths, and values that are known before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from jax.core import Tracer

from ..framework import op
from ..framework.errors import InputError
from ..framework.nodes import Node
from ..framework.operators.arguments import node_of
from ..framework.templates import Held

Activation = str | Callable[[Any], Any]
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": op.relu, "tanh": op.tanh, "sigmoid": op.sigmoid, "gelu": op.gelu, "silu": op.silu, "elu": op.elu,
    "selu": op.selu, "leaky_relu": op.leaky_relu, "softplus": op.softplus,
}


def activation_of(given: Activation, name: str) -> Callable[[Any], Any]:
    """The function of an activation given by name, or as it is."""
    if callable(given):
        return given
    if given not in ACTIVATIONS:
        raise InputError(f"{name} knows the activations {', '.join(ACTIVATIONS)}, or takes a function or a Module, but "
                         f"got {given!r}.")
    return ACTIVATIONS[given]


def known(given: Any) -> np.ndarray | None:
    """The value of a number, an array or a node on the host; None for one that only a program will know."""
    value = given._value if isinstance(given, Node) else given
    return None if value is None or isinstance(value, Tracer) else np.asarray(value)


def lengths_of(given: Any, name: str) -> Node:
    """The node of lengths: an array, or a list or tuple with a number or a node for each sequence."""
    if isinstance(given, (list, tuple)):
        nodes = [node_of(length, name) for length in given]
        # Numbers, of which a call makes a node each, become one array, whose values are known. A state's may change.
        values = [None if isinstance(node.template, Held) else known(node) for node in nodes]
        unknown = any(value is None for value in values)
        given = op.stack(nodes) if unknown else np.array(values, None if values else int)
    return node_of(given, name)


def probability(given: Any, layer: str, name: str = "p") -> float:
    """The probability of zero that a layer was given, if it is one."""
    if not isinstance(given, Real) or not 0.0 <= float(given) <= 1.0:
        raise InputError(f"{layer}: {name} is the probability of zero, from 0 to 1, but got {given!r}.")
    return float(given)
