"""The table of rules: what each operator of TorchScript is, in zkynet's operators or in plain Python.

A rule is called with the arguments of the operator's schema, by position. Tensors are nodes, parameters, states or
constants; in graphs made by tracing, scalar tensors may be Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...framework.nodes import Node
from ...framework.operators.arguments import node_of
from ...framework.random_stream import RandomStream


class Rule(NamedTuple):
    """How an operator is computed.

    Attributes:
        call: the function.
        python: whether it may be computed when the file is loaded, as soon as all its arguments are known then.
        raw: whether it only moves values, or asks for nothing that an in-place operator could have changed.
        random: whether its first argument is the model's stream of random keys.
    """

    call: Callable[..., Any]
    python: bool = False
    raw: bool = False
    random: bool = False


RULES: dict[str, Rule] = {}
# Operators whose results are views of their first argument: what is written to one is written to the other. Of each the
# `put` and the `layout` (see `view`).
VIEWS: dict[str, tuple[Callable[..., Any] | None, Callable[..., Any]]] = {}
PLAIN = frozenset((int, float, bool, str, list, tuple, dict, type(None)))
NUMBERS = frozenset((int, float, bool))


def rule(*names: str, python: bool = False, raw: bool = False, random: bool = False) -> Callable[..., Any]:
    """Decorator: the rule of these operators, as "name" for all overloads or "name.overload" for one of them;
    "aten::" goes without saying."""
    def registered(call: Callable[..., Any]) -> Callable[..., Any]:
        add_rules(dict.fromkeys(names, call), python=python, raw=raw, random=random)
        return call
    return registered


def add_rules(table: dict[str, Callable[..., Any]], python: bool = False, raw: bool = False,
              random: bool = False) -> None:
    """The same, of a table."""
    for name, call in table.items():
        RULES[name if "::" in name else f"aten::{name}"] = Rule(call, python, raw, random)


def in_order(base: np.ndarray, shape: tuple[int, ...], *_: Any) -> np.ndarray | None:
    """The layout of a view that reads the same elements in the same order."""
    made = base.reshape(shape)
    return made if np.may_share_memory(made, base) else None


def view(name: str, put: Callable[..., Any] | None = None, layout: Callable[..., Any] = in_order) -> Callable[..., Any]:
    """Decorator: a view. `put(base, new, *arguments)` is the base with the view's elements replaced.
    `layout(base, shape, *arguments)` is the view of a NumPy array that stands for the base, with the same strides; None
    where these do not allow a view and PyTorch copies. Of an operator that makes several, `put(base, new, index,
    *arguments)` and `layout(base, shape, index, *arguments)`."""
    def registered(call: Callable[..., Any]) -> Callable[..., Any]:
        add_rules({name: call})
        VIEWS[f"aten::{name}"] = put, layout
        return call
    return registered


def find_rule(kind: str, overload: str) -> Rule | None:
    """The rule of an overload, or of all of that name."""
    return RULES.get(f"{kind}.{overload}") or RULES.get(kind)


# What rules are written with ------------------------------------------------------------------------------------


def node(value: Any) -> Node:
    return value if isinstance(value, Node) else node_of(value, "torchscript")


def shape_of(value: Any) -> tuple[int, ...]:
    return () if value.__class__ in NUMBERS else value.shape


def rank(value: Any) -> int:
    return len(shape_of(value))


def draw(stream: RandomStream) -> Node:
    return stream.draw()


# PyTorch's numbers of dtypes, and of those that JAX has.
_DTYPES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64",
           8: "complex64", 9: "complex64", 10: "complex128", 11: "bool", 15: "bfloat16"}
_CODES = {"uint8": 0, "int8": 1, "int16": 2, "int32": 4, "int64": 4, "float16": 5, "float32": 6, "float64": 7,
          "complex64": 9, "complex128": 10, "bool": 11, "bfloat16": 15, "uint32": 4}


def dtype_of(code: Any, default: Any = None) -> Any:
    """The dtype of PyTorch's number; 64 bits become 32, unless JAX computes in 64."""
    if code is None:
        return default
    if code.__class__ is not int:
        return code
    return jax.dtypes.canonicalize_dtype(jnp.dtype(_DTYPES[code]))


def code_of(value: Any) -> int:
    """PyTorch's number of a value's dtype. Integers of 32 bits stand for those of 64."""
    if value.__class__ in NUMBERS:
        return {int: 4, float: 6, bool: 11}[value.__class__]
    return _CODES[np.dtype(value.dtype).name]


def axes_of(dims: Any) -> Any:
    """An axis, a tuple of them, or None for all."""
    if dims is None or dims.__class__ is int:
        return dims
    return tuple(dims) or None
