"""Rows of operators/elementwise.py.

Kinks have rows of their own (`numeric=False`), as finite differences mean nothing there; where JAX follows
another convention at a kink, the reference is written so that its derivative is the one our operator states.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op

INF = np.inf


def row(name: str, reference: Callable[..., Any], *inputs: Any, label: str = "", **options: Any) -> Case:
    """The operator of that name, without attributes."""
    return Case(name, getattr(op, name), reference, tuple(np.asarray(x) for x in inputs), label, **options)


def unary(name: str, reference: Callable[..., Any], low: float = -2.0, high: float = 2.0, **options: Any) -> Case:
    return row(name, reference, sample(2, 3, low=low, high=high), **options)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


A, B = sample(2, 3, seed=1), sample(2, 3, low=0.5, high=2.0, seed=2)
BROADCAST = sample(2, 1, seed=3), sample(4, 1, 3, low=0.5, high=2.0, seed=4)
EMPTY = np.zeros((0, 3)), np.zeros((2, 0, 1))
TIES = column(-1.0, 0.0, 2.0, 0.0), column(-1.0, 0.0, 1.0, 3.0)
LARGE = column(-1e300, -1e6, -750.0, -30.0, 30.0, 750.0, 1e6, 1e300)
NEAR_ZERO = column(-1e-12, -1e-300, 0.0, 1e-300, 1e-12)
INTEGERS = np.array([-3, 0, 2, 7])

# Arithmetic -------------------------------------------------------------------------------------------------

BINARY = [
    ("add", jnp.add), ("subtract", jnp.subtract), ("mult", jnp.multiply), ("divide", jnp.divide),
    ("hypot", lambda a, b: jnp.sqrt(a * a + b * b)), ("maximum", jnp.maximum), ("minimum", jnp.minimum),
    ("arctan2", jnp.arctan2),
]
ARITHMETIC = [
    *(row(name, reference, A, B) for name, reference in BINARY),
    *(row(name, reference, *BROADCAST, label="broadcast") for name, reference in BINARY),
    *(row(name, reference, np.zeros((2, 0)), column(2.0), label="empty axis") for name, reference in BINARY[:4]),
    row("add", jnp.add, sample(2, 3), np.arange(3), label="integers meet floats"),
    row("divide", jnp.divide, np.arange(4), np.array([1, 2, 3, 4]), label="integers"),
    row("divide", jnp.divide, column(1.0, -1.0, 1e-200), column(1e200, 1e-200, 1e200), label="extreme", order=1,
        numeric=False),
    row("remainder", jnp.remainder, column(5.3, -5.3, 5.3, -5.3), column(2.0, 2.0, -2.0, -2.0)),
    row("remainder", jnp.remainder, sample(2, 1, low=3.0, high=3.9), sample(3, low=1.1, high=1.2),
        label="broadcast"),
    row("remainder", jnp.remainder, INTEGERS, np.array([2, 3, -4, 5]), label="integers", order=0),
    row("floor_divide", jnp.floor_divide, A, B),
    row("floor_divide", jnp.floor_divide, INTEGERS, np.array([2, 3, -4, 5]), label="integers", order=0),
    unary("negative", lambda x: -x),
    unary("identity", lambda x: x),
    unary("reciprocal", lambda x: 1.0 / x, 0.5, 2.0),
    unary("square", lambda x: x * x),
    row("square", lambda x: x * x, EMPTY[0], label="empty axis"),
    row("square", lambda x: x * x, INTEGERS, label="integers", order=0),
    unary("abs", jnp.abs),
    row("abs", lambda x: x * jnp.sign(x), column(-1.0, 0.0, 1.0), label="kink", numeric=False),
    unary("sign", jnp.sign),
    unary("floor", jnp.floor),
    unary("ceil", jnp.ceil),
    unary("trunc", jnp.trunc),
    unary("round", jnp.round),
    row("round", lambda x: jnp.round(x), column(0.5, 1.5, 2.5, -0.5), label="halves to even", order=0),
    Case("round", lambda x: op.round(x, decimals=2), lambda x: jnp.round(x, 2), (sample(2, 3),), "decimals"),
    row("hypot", lambda a, b: 1e200 * jnp.sqrt(jnp.square(a / 1e200) + jnp.square(b / 1e200)),
        column(3e200, -1e200), column(4e200, 2e-200), label="huge", order=1, numeric=False, float32=False),
    row("hypot", lambda a, b: 1e-200 * jnp.sqrt(jnp.square(a * 1e200) + jnp.square(b * 1e200)),
        column(3e-200, -1e-200), column(4e-200, 0.0), label="tiny", order=1, numeric=False, float32=False),
    row("hypot", lambda a, b: (a + b) * 0.0, column(0.0), column(0.0), label="origin has gradient 0", order=1,
        numeric=False),
    row("arctan2", jnp.arctan2, column(1.0, 0.0, -1.0, 1e-200), column(0.0, -1.0, -1e-3, 1.0), label="axes",
        numeric=False),
    row("arctan2", lambda a, b: (a + b) * 0.0, column(0.0), column(0.0), label="origin has gradient 0", order=1,
        numeric=False),
    *(row(name, reference, *TIES, label="ties give half", numeric=False) for name, reference in BINARY[5:7]),
    *(row(name, reference, INTEGERS, np.array([3, 0, 2, -7]), label="integers", order=0)
      for name, reference in BINARY[5:7]),
    row("maximum", jnp.maximum, column(-INF, INF, 1.0), column(0.0, 0.0, -INF), label="infinities", numeric=False),
]

# Powers, roots, exponentials, logarithms --------------------------------------------------------------------


def static_power(exponent: int, *inputs: Any, label: str = "", **options: Any) -> Case:
    return Case("integer_power", lambda x: op.power(x, exponent), lambda x: jnp.power(x, exponent), inputs,
                f"{exponent}{label}", **options)


POWERS = [
    row("power", jnp.power, B, A),
    row("power", jnp.power, *BROADCAST[::-1], label="broadcast"),
    row("power", jnp.power, EMPTY[0], column(2.0), label="empty axis"),
    Case("power", lambda x: x ** 2.5, lambda x: jnp.power(x, 2.5), (B,), "float exponent"),
    Case("power", lambda x: 2.5 ** x, lambda x: jnp.power(2.5, x), (A,), "float base"),
    row("power", jnp.power, column(-1.5, -0.5, 2.0), column(2.0, 3.0, -1.0), label="negative base", wrt=(0,)),
    row("power", jnp.power, column(-1.5, 2.0), column(2.0, 3.0), label="negative base has no slope in b",
        numeric=False, nan=True, order=1),
    row("power", jnp.power, column(0.0, 0.0, 0.0), column(1.0, 2.0, 0.5), label="zero base", order=1, numeric=False),
    row("power", lambda a, b: 1.0 + (a + b) * 0.0, column(0.0), column(0.0), label="zero to the zero", order=1,
        numeric=False),
    # JAX takes the slope of b a^(b-1) in b to be zero at b = 0; it is 1/a.
    row("power", lambda a, b: jnp.exp(b * jnp.log(a)), B, np.zeros((2, 3)), label="zero exponent"),
    row("power", jnp.power, B, np.arange(3), label="integer array exponent"),
    row("power", jnp.power, INTEGERS, np.arange(4), label="integers", order=0),
    static_power(0, sample(2, 3)),
    static_power(1, sample(2, 3)),
    static_power(2, column(-2.0, 0.0, 3.0), label=" at zero"),
    static_power(3, sample(2, 3)),
    static_power(-1, B),
    static_power(-3, -B, label=" negative base"),
    static_power(4, INTEGERS, label=" integers", order=0),
    unary("sqrt", jnp.sqrt, 0.5, 2.0),
    row("sqrt", jnp.sqrt, column(0.0, 1e-300, 1e300), label="domain limit", order=1, numeric=False),
    row("sqrt", jnp.sqrt, column(-1.0), label="outside of the domain", nan=True, numeric=False),
    unary("cbrt", jnp.cbrt, 0.5, 2.0),
    row("cbrt", jnp.cbrt, column(-8.0, -0.5, 1e6), label="negative and large", numeric=False),
    unary("rsqrt", lambda x: 1.0 / jnp.sqrt(x), 0.5, 2.0),
    unary("exp", jnp.exp),
    row("exp", jnp.exp, column(-1e4, -745.0, 700.0, 1e4), label="large", numeric=False),
    unary("exp2", jnp.exp2),
    unary("expm1", jnp.expm1),
    row("expm1", jnp.expm1, np.append(NEAR_ZERO, -1e4), label="near zero"),
    unary("log", jnp.log, 0.5, 2.0),
    row("log", jnp.log, column(0.0, 1e-300, 1e300), label="domain limit", order=1, numeric=False),
    unary("log1p", jnp.log1p, -0.5, 2.0),
    row("log1p", jnp.log1p, np.append(NEAR_ZERO, 1e300), label="near zero and large", numeric=False),
    row("log1p", jnp.log1p, column(-1.0), label="domain limit", order=1, numeric=False),
    unary("log2", jnp.log2, 0.5, 2.0),
    unary("log10", jnp.log10, 0.5, 2.0),
]

# Trigonometric and hyperbolic -------------------------------------------------------------------------------

TRIGONOMETRIC = [
    unary("sin", jnp.sin),
    row("sin", jnp.sin, np.float64(1.0), label="scalar"),
    unary("cos", jnp.cos),
    row("cos", jnp.cos, EMPTY[1], label="empty axis"),
    unary("tan", jnp.tan, -1.2, 1.2),
    unary("arcsin", jnp.arcsin, -0.9, 0.9),
    row("arcsin", jnp.arcsin, column(-1.0, 1.0), label="domain limit", order=1, numeric=False),
    unary("arccos", jnp.arccos, -0.9, 0.9),
    row("arccos", jnp.arccos, column(-1.0, 1.0), label="domain limit", order=1, numeric=False),
    unary("arctan", jnp.arctan),
    row("arctan", jnp.arctan, LARGE, label="large", order=1, numeric=False),
    unary("sinh", jnp.sinh),
    unary("cosh", jnp.cosh),
    unary("tanh", jnp.tanh),
    row("tanh", jnp.tanh, LARGE, label="large"),
    unary("arcsinh", jnp.arcsinh),
    # JAX differentiates arcsinh by 1/sqrt(1 + x^2), which vanishes where the square overflows.
    row("arcsinh", lambda x: jnp.sign(x) * (jnp.log(jnp.abs(x)) + np.log(2.0)), column(-1e300, -1e9, 1e9, 1e300),
        label="large", order=1, numeric=False),
    unary("arccosh", jnp.arccosh, 1.2, 3.0),
    row("arccosh", lambda x: jnp.log(x) + np.log(2.0), column(1e9, 1e300), label="large", order=1, numeric=False),
    row("arccosh", jnp.arccosh, column(1.0), label="domain limit", order=1, numeric=False),
    unary("arctanh", jnp.arctanh, -0.9, 0.9),
    row("arctanh", jnp.arctanh, column(-1.0, 1.0), label="domain limit", order=1, numeric=False),
    unary("erf", jax.scipy.special.erf),
    row("erf", jax.scipy.special.erf, LARGE, label="large"),
    unary("erfc", jax.scipy.special.erfc),
    row("erfc", jax.scipy.special.erfc, column(5.0, 20.0), label="tail"),
    unary("erfinv", jax.scipy.special.erfinv, -0.9, 0.9),
]

# Comparisons, logic and selection ---------------------------------------------------------------------------

COMPARED = column(1.0, 2.0, np.nan, INF, 0.0), column(2.0, 2.0, np.nan, INF, -0.0)
BOOLEANS = np.array([True, True, False, False]), np.array([True, False, True, False])
TESTS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
LOGIC = ["logical_and", "logical_or", "logical_xor"]
CHOICE = np.array([[True], [False]])

SELECTION = [
    *(row(name, getattr(jnp, name), *COMPARED, order=0) for name in TESTS),
    *(row(name, getattr(jnp, name), *BROADCAST, label="broadcast", order=0) for name in TESTS[:3]),
    *(row(name, getattr(jnp, name), INTEGERS, column(0.0, 0.5, 2.0, 7.0), label="integers with floats",
          order=0) for name in TESTS[:3]),
    *(row(name, getattr(jnp, name), COMPARED[0], order=0) for name in ("isnan", "isinf", "isfinite")),
    *(row(name, getattr(jnp, name), *BOOLEANS, order=0) for name in LOGIC),
    *(row(name, getattr(jnp, name), INTEGERS, COMPARED[1][:4], label="numbers", order=0) for name in LOGIC),
    row("logical_not", jnp.logical_not, BOOLEANS[0], order=0),
    row("where", jnp.where, A > 0.0, A, B),
    row("where", jnp.where, CHOICE, sample(3), sample(4, 1, 1), label="broadcast"),
    row("where", jnp.where, np.zeros((0, 1), bool), sample(3), sample(1), label="empty axis"),
    row("where", jnp.where, np.array([True, False]), column(1.0, INF), column(-INF, 2.0),
        label="infinity not chosen", numeric=False),
    Case("where", lambda c, x: op.where(c, x, 0.0), lambda c, x: jnp.where(c, x, 0.0), (CHOICE, sample(3)),
         "number"),
    row("clip", jnp.clip, A, column(-0.5), column(0.5)),
    row("clip", jnp.clip, *BROADCAST, sample(3, low=0.6, high=0.9), label="broadcast"),
    Case("clip", lambda x: op.clip(x, min=0.1), lambda x: jnp.clip(x, min=0.1), (A,), "no maximum"),
    Case("clip", lambda x: op.clip(x, max=0.1), lambda x: jnp.clip(x, max=0.1), (A,), "no minimum"),
    Case("clip", op.clip, lambda x: x, (A,), "no bounds"),
    row("clip", jnp.clip, column(-1.0, 0.0, 1.0), column(0.0), column(1.0), label="at the bounds", numeric=False),
]

# Activations ------------------------------------------------------------------------------------------------


def exact_gelu(x: Any) -> Any:
    return jax.nn.gelu(x, approximate=False)


def tanh_gelu(x: Any) -> Any:
    return jax.nn.gelu(x, approximate=True)


def elu(x: Any, alpha: float = 1.0) -> Any:
    return jnp.where(x > 0, x, alpha * (jnp.exp(jnp.where(x > 0, 0.0, x)) - 1.0))


def celu(x: Any, alpha: float = 1.0) -> Any:
    return jnp.where(x > 0, x, alpha * (jnp.exp(jnp.where(x > 0, 0.0, x) / alpha) - 1.0))


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    return jnp.where((x > lambd) | (x < -lambd), x, 0.0)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, 0.0))


def hardsigmoid(x: Any) -> Any:
    return jnp.where((x > -3) & (x < 3), x / 6 + 0.5, jnp.where(x > 0, 1.0, 0.0))


def hardswish(x: Any) -> Any:
    return jnp.where((x > -3) & (x < 3), x * (x + 3) / 6, jnp.where(x > 0, x, 0.0))


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    return jnp.where((x > low) & (x < high), x, jnp.where(x > low, high, low))


SMOOTH: list[tuple[str, Callable[..., Any]]] = [
    ("sigmoid", jax.nn.sigmoid), ("logsigmoid", jax.nn.log_sigmoid), ("gelu", exact_gelu), ("silu", jax.nn.silu),
    ("mish", jax.nn.mish), ("softsign", jax.nn.soft_sign), ("tanhshrink", lambda x: x - jnp.tanh(x)),
]
# Each with the inputs at which it has a kink.
KINKED: list[tuple[str, Callable[..., Any], np.ndarray]] = [
    ("relu", jax.nn.relu, column(0.0)), ("relu6", lambda x: hardtanh(x, 0.0, 6.0), column(0.0, 6.0)),
    ("leaky_relu", lambda x: jnp.where(x > 0, x, 0.01 * x), column(0.0)), ("elu", elu, column(0.0)),
    ("celu", celu, column(0.0)), ("selu", lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772), column(0.0)),
    ("hardshrink", hardshrink, column(-0.5, 0.5)), ("softshrink", softshrink, column(-0.5, 0.5)),
    ("hardtanh", hardtanh, column(-1.0, 1.0)), ("hardsigmoid", hardsigmoid, column(-3.0, 3.0)),
    ("hardswish", hardswish, column(-3.0, 3.0)),
]


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    safe = jnp.where(beta * x > threshold, 0.0, beta * x)
    return jnp.where(beta * x > threshold, x, jnp.log1p(jnp.exp(safe)) / beta)


ACTIVATIONS = [
    *(unary(name, reference, -3.0, 3.0) for name, reference in SMOOTH),
    *(row(name, reference, LARGE[1:-1], label="large") for name, reference in SMOOTH),
    *(row(name, reference, np.append(sample(4, low=-5.0, high=8.0), LARGE[1:-1]))
      for name, reference, _ in KINKED),
    *(row(name, reference, kinks, label="kink", numeric=False) for name, reference, kinks in KINKED),
    row("sigmoid", jax.nn.sigmoid, EMPTY[0], label="empty axis"),
    row("gelu", lambda x: jnp.where(x > 0, x, 0.0), column(-1e150, 1e150), label="huge",
        numeric=False),
    Case("gelu", lambda x: op.gelu(x, approximate="tanh"), tanh_gelu, (sample(2, 3, low=-3, high=3),), "tanh"),
    Case("gelu", lambda x: op.gelu(x, "tanh"), lambda x: jnp.where(x > 0, x, 0.0), (LARGE[[0, 1, 4, 5, 6, 7]],),
         "tanh large", numeric=False),
    row("softplus", softplus, column(-745.0, -30.0, -1.0, 0.0, 1.0, 19.9, 21.0, 1e6)),
    Case("softplus", lambda x: op.softplus(x, beta=2.0, threshold=3.0), lambda x: softplus(x, 2.0, 3.0),
         (column(-2.0, 0.3, 1.4, 1.6, 1e3),), "beta and threshold"),
    Case("threshold", lambda x: op.threshold(x, 0.1, 20.0), lambda x: jnp.where(x > 0.1, x, 20.0),
         (sample(2, 3),)),
    Case("threshold", lambda x: op.threshold(x, threshold=0.0, value=0.0), lambda x: jnp.where(x > 0, x, 0.0),
         (column(0.0),), "kink", numeric=False),
    Case("leaky_relu", lambda x: op.leaky_relu(x, 0.2), lambda x: jnp.where(x > 0, x, 0.2 * x), (A,), "slope"),
    Case("elu", lambda x: op.elu(x, alpha=2.0), lambda x: elu(x, 2.0), (A,), "alpha"),
    Case("celu", lambda x: op.celu(x, alpha=2.0), lambda x: celu(x, 2.0), (A,), "alpha"),
    Case("hardshrink", lambda x: op.hardshrink(x, lambd=0.2), lambda x: hardshrink(x, 0.2), (A,), "lambd"),
    Case("softshrink", lambda x: op.softshrink(x, lambd=0.2), lambda x: softshrink(x, 0.2), (A,), "lambd"),
    Case("hardtanh", lambda x: op.hardtanh(x, -0.2, 0.4), lambda x: hardtanh(x, -0.2, 0.4), (A,), "bounds"),
]

CASES = [*ARITHMETIC, *POWERS, *TRIGONOMETRIC, *SELECTION, *ACTIVATIONS]
