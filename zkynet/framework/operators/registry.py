"""The list of all built-in operators, and the helpers their modules declare them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..operator import FunctionOperator, operator

REGISTRY: dict[str, FunctionOperator] = {}


def builtin(body: Callable[..., Any] | None = None, *, name: str | None = None,
            no_gradient: bool | Sequence[str] = (), vjp: Any = None) -> Any:
    """`@operator` that also enters the registry."""
    if body is None:
        return lambda function: builtin(function, name=name, no_gradient=no_gradient, vjp=vjp)
    made: FunctionOperator = operator(body, name=name, no_gradient=no_gradient, vjp=vjp)
    made.elementwise = False
    REGISTRY[made.name] = made
    return made


def elementwise(name: str, body: Callable[..., Any], *rules: Callable[..., Any], doc: str,
                no_gradient: bool | Sequence[str] = ()) -> FunctionOperator:
    """An operator that works element by element, with one rule for each input: `rule(g, y, *inputs)`.

    `g` is the cotangent of the output `y`; broadcasting is undone by the reverse walk, never here.
    """
    made: FunctionOperator = builtin(body, name=name, no_gradient=no_gradient, vjp=rules or None)
    made.elementwise = True
    made.__doc__ = doc
    return made
