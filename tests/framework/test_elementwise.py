"""What the rows do not show: Python's symbols, weak numbers, and float32 at its extremes."""

from __future__ import annotations

import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from zkynet.framework import cg, op, transforms
from zkynet.framework.errors import ShapeError

X, Y = np.array([0.5, 2.0], np.float32), np.array([1.5, -2.0], np.float32)

SYMBOLS: dict[str, Any] = {
    "add": operator.add, "subtract": operator.sub, "mult": operator.mul, "divide": operator.truediv,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "power": operator.pow, "less": operator.lt,
    "less_equal": operator.le, "greater": operator.gt, "greater_equal": operator.ge, "logical_and": operator.and_,
    "logical_or": operator.or_, "logical_xor": operator.xor,
}


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_of_two(name: str) -> None:
    symbol = SYMBOLS[name]
    a, b = op.identity(X), op.identity(Y)
    assert symbol(a, b).name == name and symbol(a, Y).name == name
    if not name.startswith("logical"):
        # A comparison the other way round is the mirrored one.
        mirrored = {"less": "greater", "greater": "less", "less_equal": "greater_equal", "greater_equal": "less_equal"}
        assert symbol(X, b).name == mirrored.get(name, name)
        expected = symbol(X, Y)
        np.testing.assert_allclose(symbol(a, b).value, expected, rtol=1e-6)
        np.testing.assert_allclose(symbol(X, b).value, expected, rtol=1e-6)


def test_symbols_of_one() -> None:
    x = op.identity(X)
    for symbol, name in [(operator.neg, "negative"), (operator.pos, "identity"), (operator.abs, "abs"),
                         (operator.invert, "logical_not")]:
        assert symbol(x).name == name
    assert (x ** 2).name == "integer_power" and (x ** 2).attrs == {"exponent": 2}
    assert (x ** 2.0).name == "power" and (2 ** x).name == "power"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_python_numbers_take_the_dtype_they_meet(dtype: str) -> None:
    x = op.cast(X, dtype=jnp.dtype(dtype))
    for y in (x + 1, 1.5 * x, x / 3.0, 2 - x, x ** 2, x ** 0.5, op.maximum(x, 0.1), op.where(x > 1, x, 0.0),
              op.clip(x, -1.0, 1.0), op.leaky_relu(x, 0.3), op.softplus(x, beta=2.0)):
        assert y.dtype == x.dtype, y
        assert y.value.dtype == x.dtype
    integers = op.identity(np.arange(3))
    assert (integers + 1).dtype == integers.dtype and (integers * 0.5).dtype == np.float32


ACTIVATIONS = [
    "celu", "elu", "erf", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
    "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink",
]


def test_activations_are_finite_for_every_float32() -> None:
    """Value, gradient and second derivative, in one program."""
    largest = float(np.finfo(np.float32).max) / 8
    x = np.array([-largest, -1e15, -1e4, -100.0, -1e-30, 0.0, 1e-30, 100.0, 1e4, 1e15, largest], np.float32)

    ones = np.ones_like(x)

    def all_of_them(x: Any) -> Any:
        names = [getattr(op, name)(x) for name in ACTIVATIONS]
        return [*names, op.gelu(x, approximate="tanh"), op.logaddexp(x, 0.0), op.log1p(op.abs(x))]

    def slopes(x: Any) -> Any:
        return transforms.jvp(all_of_them)(x, tangent=ones)[1]

    first, second = transforms.jvp(slopes)(x, tangent=ones)
    names = [*ACTIVATIONS, "gelu tanh", "logaddexp", "log1p"]
    for kind, parts in (("value", all_of_them(x)), ("gradient", first), ("second derivative", second)):
        for name, part in zip(names, parts, strict=True):
            value = np.asarray(part)
            assert value.dtype == np.float32 and np.isfinite(value).all(), f"{kind} of {name}: {value}"


def test_unknown_formula() -> None:
    with pytest.raises(ShapeError, match="approximate must be 'none' or 'tanh'"):
        op.gelu(X, approximate="fast")


def test_gradient_through_a_python_power_is_right_at_zero() -> None:
    line = cg.Module.build("Cube", lambda x: x ** 3 + x ** 1 + x ** 0, (cg.Variable("x"),))
    assert float(transforms.grad(transforms.grad(line))(0.0)) == 0.0
    assert float(transforms.grad(line)(0.0)) == 1.0
