"""The table of rules: how each operator is written in ONNX.

A rule is a function (graph, *inputs, **attributes) -> name of the output, or names. There are two kinds: nodes added by
name, for what ONNX has; and functions of zkynet's nodes (`by_nodes`), for what is made of other operators. Those run
once for each trace, so shapes in them are plain numbers even where they depend on the batch.

The rules stand in export_rules_*.py, by the same kinds as the operators' own modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...framework.operators.registry import REGISTRY
from ...framework.structure import literal
from .export_graph import Graph, Value
from .export_trace import Unsupported

Rule = Callable[..., Any]

RULES: dict[str, Rule] = {}

_KEYS = "it draws random numbers by JAX's generator, which ONNX has not"
_TRANSPOSE = "it is part of gradients only"
# Operators without a rule, and why.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("bernoulli", "categorical", "dropout", "permutation", "randint", "random_key", "split_key",
                     "standard_normal", "standard_uniform", "truncated_normal"), _KEYS),
    **dict.fromkeys(("adaptive_avg_pool_spread", "avg_pool_spread", "cofactor", "conv_weight", "max_pool_pick",
                     "max_pool_spread", "recurrent_back", "resize_spread"), _TRANSPOSE),
}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule of the operators of these names."""

    def declared(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return declared


def by_nodes(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: operators as a function of nodes and their attributes, which uses other operators."""

    def declared(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, expanded(function)))
        return function

    return declared


def expanded(function: Callable[..., Any]) -> Rule:
    def expand(graph: Graph, *inputs: Value, **attributes: Any) -> Any:
        return graph.expand(function, *inputs, **attributes)

    return expand


def rule_of(operator: Any) -> Rule:
    """The rule that an operator declares, or that of the built-in one; or one that says why there is none."""
    if operator.onnx is not None:
        return operator.onnx
    if operator is literal or operator is REGISTRY.get(operator.name):
        return RULES.get(operator.name) or _refusal(REFUSED.get(operator.name, "there is no rule for it"))
    return _refusal("it is an operator of your own without a rule; declare one as its `onnx`")


def _refusal(reason: str) -> Rule:
    def refuse(graph: Graph, *inputs: Value, **attributes: Any) -> Any:
        raise Unsupported(reason)

    return refuse


# What ONNX runtimes compute with, in place of dtypes that many operators of theirs do not take.
_WORKING = {np.dtype(small): np.dtype(wide) for small, wide in (
    ("int8", "int32"), ("uint8", "int32"), ("int16", "int32"), ("uint16", "int32"), ("uint32", "int64"),
    ("uint64", "int64"))}


def working(dtype: np.dtype) -> np.dtype:
    return _WORKING.get(dtype, dtype)


def numeric(dtype: np.dtype) -> np.dtype:
    """The same, with booleans as integers."""
    return np.dtype("int32") if dtype.kind == "b" else working(dtype)


def in_dtype(graph: Graph, op_type: str, dtype: np.dtype, *inputs: Any, **attributes: Any) -> Any:
    """A node whose inputs are cast to a dtype, and its output to the one that is asked for."""
    name = graph.add(op_type, *[graph.cast(x, dtype) if isinstance(x, str) else x for x in inputs], **attributes)
    return name if dtype == graph.out.dtype else graph.cast(name, graph.out.dtype)
