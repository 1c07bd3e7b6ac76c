"""foreach: another function, on every part of x along axis 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import zkynet
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.operators.arguments import node_of

from .function import Function, function
from .kinds import Text, plain


def _named(operation: str) -> Function:
    from .table import FUNCTIONS

    found = FUNCTIONS.get(operation) if isinstance(operation, str) else None
    if found is None or found is FUNCTIONS["foreach"] or found.random:
        raise InputError(f"foreach: operation {operation!r} is not the name of a function that takes the parts of an "
                         "array.")
    return found


def _is_late(inputs: int, params: Mapping[str, Any]) -> bool:
    return _named(params["operation"]).late


def _results(inputs: int, params: Mapping[str, Any]) -> int:
    return _named(params["operation"]).outputs(params, inputs)


@function("the function called `operation`, with these parameters, on every part of x along axis 0",
          "stack([f(part) for part in x])", late_when=_is_late, results=_results,
          notes="params: a second operand, as in foreach(operation='div', params=2)")
def foreach(x: Any, /, operation: Text, **params: Any) -> Any:
    inner = _named(operation)
    operands = [params.pop("params")] if params.get("params") is not None else []
    if not x.shape:
        raise ShapeError("foreach: a scalar has no parts.")
    if inner.late:
        return _stacked(operation, [inner.call(part, *operands, **params) for part in np.asarray(x)])
    operands = [node_of(plain(operand), "foreach") for operand in operands]
    return zkynet.vmap(lambda part: inner.call(part, *operands, **params))(x)


def _stacked(operation: str, results: list[Any]) -> Any:
    if results and isinstance(results[0], (list, tuple)):
        return [_stacked(operation, list(column)) for column in zip(*results, strict=True)]
    if len({np.shape(result) for result in results}) > 1:
        raise ShapeError(f"foreach: {operation} gives results of different shapes: "
                         f"{sorted({np.shape(result) for result in results})[:4]}.")
    return np.stack(results) if results else np.zeros(0, np.float32)


FUNCTIONS = [foreach]
