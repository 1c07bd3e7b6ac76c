"""Arithmetic, comparisons and logic, element by element; arrays broadcast by NumPy's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zkynet.framework import op
from zkynet.framework.errors import InputError

from .function import Function, function
from .kinds import MaybeNumber

# name: (operator, meaning, NumPy's counterpart)
UNARY: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "lin": (op.identity, "x", "positive"),
    "pos": (op.identity, "x", "positive"),
    "neg": (op.negative, "-x", "negative"),
    "exp": (op.exp, "e^x", "exp"),
    "natlog": (op.log, "ln x", "log"),
    "square": (op.square, "x^2", "square"),
    "cube": (lambda x: op.integer_power(x, exponent=3), "x^3", "x ** 3"),
    "square_root": (op.sqrt, "x^(1/2)", "sqrt"),
    "cube_root": (op.cbrt, "x^(1/3), also of negative numbers", "cbrt"),
    "abs": (op.abs, "|x|", "abs"),
    "sign": (op.sign, "-1, 0 or 1", "sign"),
    "logical_not": (op.logical_not, "x = 0", "logical_not"),
}
BINARY: dict[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "add": (op.add, "a + b", "add"),
    "sub": (op.subtract, "a - b", "subtract"),
    "mul": (op.mult, "a b, element by element", "multiply"),
    "multiply": (op.mult, "a b, element by element", "multiply"),
    "div": (op.divide, "a / b; integers give floats", "divide"),
    "greater": (op.greater, "a > b", "greater"),
    "greater_equal": (op.greater_equal, "a >= b", "greater_equal"),
    "less": (op.less, "a < b", "less"),
    "less_equal": (op.less_equal, "a <= b", "less_equal"),
    "equal": (op.equal, "a = b", "equal"),
    "not_equal": (op.not_equal, "a != b", "not_equal"),
    "logical_and": (op.logical_and, "a and b are not 0", "logical_and"),
    "logical_or": (op.logical_or, "a or b is not 0", "logical_or"),
    "logical_xor": (op.logical_xor, "either a or b is not 0", "logical_xor"),
}


def _unary(name: str, run: Callable[[Any], Any], meaning: str, numpy: str) -> Function:
    def body(x: Any, /) -> Any:
        return run(x)

    return function(meaning, numpy, name)(body)


def _binary(name: str, run: Callable[[Any, Any], Any], meaning: str, numpy: str) -> Function:
    def body(a: Any, b: Any, /) -> Any:
        return run(a, b)

    return function(meaning, numpy, name)(body)


@function("min(max(x, lower_limit), upper_limit)", "clip", notes="one of the limits may be missing")
def clip(x: Any, /, lower_limit: MaybeNumber = None, upper_limit: MaybeNumber = None) -> Any:
    return op.clip(x, lower_limit, upper_limit)


def _check_power(a: Any, b: Any) -> None:
    kinds = [(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype).kind for x in (a, b)]
    if all([kind in "biu" for kind in kinds]) and (np.asarray(b) < 0).any():
        raise InputError("pow: integers to negative powers are no integers. Make one of the two floats: x ** -1.0.")


@function("a^b", "power", check=_check_power, notes="integers take powers >= 0; for others, make either a float")
def pow_(a: Any, b: Any, /) -> Any:
    return op.power(a, b)


FUNCTIONS = [*[_unary(name, *row) for name, row in UNARY.items()],
             *[_binary(name, *row) for name, row in BINARY.items()], clip, pow_]
