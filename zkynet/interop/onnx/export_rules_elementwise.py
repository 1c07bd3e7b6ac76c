"""Rules of the elementwise operators."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...framework import op
from .export_graph import Graph, Value
from .export_rules import RULES, by_nodes, expanded, in_dtype, numeric, rule, working
from .export_trace import Kind

BOOL = np.dtype("bool")


def promoted(*inputs: Value) -> np.dtype:
    """The dtype that NumPy's rules (with weak types) give to inputs together."""
    found: list[np.dtype] = []
    jax.eval_shape(lambda *arrays: found.append(jnp.result_type(*arrays)), *[x.kind.aval(0).struct for x in inputs])
    return found[0]


# One node, in the dtype of the output -----------------------------------------------------------------------


def _same(op_type: str, **fixed: Any) -> Any:
    def apply(graph: Graph, *inputs: Value) -> str:
        return in_dtype(graph, op_type, working(graph.out.dtype), *inputs, **fixed)

    return apply


_SAME = {
    "divide": "Div", "negative": "Neg", "reciprocal": "Reciprocal", "abs": "Abs", "sign": "Sign", "power": "Pow",
    "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "tan": "Tan", "arcsin": "Asin",
    "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh", "arcsinh": "Asinh",
    "arccosh": "Acosh", "arctanh": "Atanh", "erf": "Erf", "sigmoid": "Sigmoid", "relu": "Relu", "softsign": "Softsign",
    "subtract": "Sub",
}
RULES.update({name: _same(op_type) for name, op_type in _SAME.items()})
RULES.update({
    "elu": lambda graph, x, *, alpha: in_dtype(graph, "Elu", graph.out.dtype, x, alpha=float(alpha)),
    "celu": lambda graph, x, *, alpha: in_dtype(graph, "Celu", graph.out.dtype, x, alpha=float(alpha)),
    "leaky_relu": lambda graph, x, *, negative_slope:
        in_dtype(graph, "LeakyRelu", graph.out.dtype, x, alpha=float(negative_slope)),
    "hardsigmoid": _same("HardSigmoid", alpha=1.0 / 6.0, beta=0.5),
    "hardswish": _same("HardSwish"),
    "selu": _same("Selu", alpha=1.6732632423543772, gamma=1.0507009873554805),
    "softshrink": lambda graph, x, *, lambd:
        in_dtype(graph, "Shrink", graph.out.dtype, x, bias=float(lambd), lambd=float(lambd)),
    "hardshrink": lambda graph, x, *, lambd: in_dtype(graph, "Shrink", graph.out.dtype, x, bias=0.0,
                                                      lambd=float(lambd)),
    "relu6": lambda graph, x: _clipped(graph, x, 0, 6),
    "hardtanh": lambda graph, x, *, min_val, max_val: _clipped(graph, x, min_val, max_val),
})


def _clipped(graph: Graph, x: Value, low: Any, high: Any) -> str:
    dtype = graph.out.dtype
    return graph.add("Clip", graph.cast(x, dtype), np.asarray(low, dtype), np.asarray(high, dtype))


# Of booleans these are logic.
_LOGIC = {"add": ("Add", "Or"), "mult": ("Mul", "And"), "maximum": ("Max", "Or"), "minimum": ("Min", "And")}


def _arithmetic(number: str, logic: str) -> Any:
    def apply(graph: Graph, a: Value, b: Value) -> str:
        dtype = graph.out.dtype
        return in_dtype(graph, logic if dtype == BOOL else number, working(dtype), a, b)

    return apply


RULES.update({name: _arithmetic(*both) for name, both in _LOGIC.items()})


@rule("identity", "stop_gradient")
def _identity(graph: Graph, x: Value) -> Value:
    return x


@rule("barrier")
def _barrier(graph: Graph, *inputs: Value) -> tuple[Value, ...]:
    return inputs


def _whole(op_type: str) -> Any:
    def apply(graph: Graph, x: Value, decimals: int = 0) -> Any:
        if decimals:
            return graph.expand(_to_decimals, x, decimals=decimals)
        return graph.cast(x, graph.out.dtype) if graph.out.dtype.kind in "iub" else in_dtype(
            graph, op_type, graph.out.dtype, x)

    return apply


RULES.update(floor=_whole("Floor"), ceil=_whole("Ceil"), round=_whole("Round"))


def _to_decimals(x: Any, *, decimals: int) -> Any:
    scale = 10.0 ** abs(decimals)
    return op.round(x * scale) / scale if decimals > 0 else op.round(x / scale) * scale


# Comparisons and logic --------------------------------------------------------------------------------------


def _compared(op_type: str, inverted: bool = False) -> Any:
    def apply(graph: Graph, a: Value, b: Value) -> str:
        dtype = promoted(a, b)
        dtype = dtype if dtype == BOOL and op_type == "Equal" else numeric(dtype)
        name = graph.add(op_type, graph.cast(a, dtype), graph.cast(b, dtype))
        return graph.add("Not", name) if inverted else name

    return apply


RULES.update(
    equal=_compared("Equal"), not_equal=_compared("Equal", inverted=True), less=_compared("Less"),
    less_equal=_compared("LessOrEqual"), greater=_compared("Greater"), greater_equal=_compared("GreaterOrEqual"))


def _logical(op_type: str) -> Any:
    return lambda graph, *inputs: graph.add(op_type, *[graph.cast(x, BOOL) for x in inputs])


RULES.update(logical_and=_logical("And"), logical_or=_logical("Or"), logical_xor=_logical("Xor"),
             logical_not=_logical("Not"))


@rule("where")
def _where(graph: Graph, condition: Value, a: Value, b: Value) -> str:
    dtype = graph.out.dtype
    inner = numeric(dtype)
    name = graph.add("Where", graph.cast(condition, BOOL), graph.cast(a, inner), graph.cast(b, inner))
    return name if inner == dtype else graph.cast(name, dtype)


def _tested(op_type: str) -> Any:
    def apply(graph: Graph, x: Value) -> str:
        if x.dtype.kind in "iub":  # never: but of this shape
            return graph.add("Not", graph.add("Equal", x, x))
        return graph.add(op_type, x)

    return apply


RULES.update(isnan=_tested("IsNaN"), isinf=_tested("IsInf"))


@rule("integer_power")
def _integer_power(graph: Graph, x: Value, *, exponent: int) -> str:
    if exponent == 2:
        return in_dtype(graph, "Mul", working(graph.out.dtype), x, x)
    return in_dtype(graph, "Pow", working(graph.out.dtype), x, np.asarray(exponent, working(graph.out.dtype)))


# Several nodes ----------------------------------------------------------------------------------------------

_LN2 = math.log(2.0)


@by_nodes("expm1")
def _expm1(x: Any) -> Any:
    """Kahan's: with u = e^x rounded, (u - 1) x / ln u has the error of x alone."""
    power = op.exp(x)
    less = power - 1.0
    plain = op.logical_or(op.isinf(power), op.equal(less, -1.0))
    safe = op.where(op.logical_or(plain, op.equal(power, 1.0)), 2.0, power)
    return op.where(op.equal(power, 1.0), x * 1.0, op.where(plain, less, less * x / op.log(safe)))


@by_nodes("log1p")
def _log1p(x: Any) -> Any:
    more = x + 1.0
    rest = more - 1.0
    plain = op.logical_or(op.equal(rest, 0.0), op.isinf(more))
    exact = op.log(more) * x / op.where(plain, 1.0, rest)
    return op.where(op.equal(rest, 0.0), x * 1.0, op.where(op.isinf(more), more, exact))


@by_nodes("softplus")
def _softplus(x: Any, *, beta: float, threshold: float) -> Any:
    return op.where(x * beta > threshold, x, op.logaddexp(x * beta, 0.0) / beta)


@by_nodes("gelu")
def _gelu(x: Any, *, approximate: str) -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + op.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))))
    return x * 0.5 * (1.0 + op.erf(x * math.sqrt(0.5)))


@by_nodes("hypot")
def _hypot(a: Any, b: Any) -> Any:
    a, b = op.abs(a), op.abs(b)
    longer, shorter = op.maximum(a, b), op.minimum(a, b)
    scale = op.where(op.logical_or(op.equal(longer, 0.0), op.isinf(longer)), 1.0, longer)
    ratio = shorter / scale
    return op.where(op.isinf(longer), longer * 1.0, longer * op.sqrt(ratio * ratio + 1.0))


@by_nodes("arctan2")
def _arctan2(a: Any, b: Any) -> Any:
    """Of the smaller coordinate by the larger, turned to the right eighth."""
    up, right = op.abs(a), op.abs(b)
    steep = up > right
    small, large = op.where(steep, right, up), op.where(steep, up, right)
    both = op.logical_and(op.isinf(small), op.isinf(large))
    none = op.equal(large, 0.0)
    angle = op.arctan(op.where(both, 1.0, small) / op.where(op.logical_or(both, none), 1.0, large))
    angle = op.where(steep, 0.5 * math.pi - angle, angle)
    angle = op.where(_negative(b), math.pi - angle, angle)
    return op.where(_negative(a), -angle, angle)


def _negative(x: Any) -> Any:
    """Whether the sign is negative, of zeros too."""
    return op.logical_or(x < 0.0, op.logical_and(op.equal(x, 0.0), 1.0 / op.where(op.equal(x, 0.0), x, 1.0) < 0.0))


@rule("floor_divide")
def _floor_divide(graph: Graph, a: Value, b: Value) -> str:
    """What is left when the remainder is taken away is a multiple of b, but for rounding."""
    dtype = working(graph.out.dtype)
    a, b = (graph.cast(x, dtype) for x in (a, b))
    rest = graph.cast(graph.expand(op.remainder, a, b), dtype)
    quotient = graph.add("Div", graph.add("Sub", a, rest), b)
    return in_dtype(graph, "Identity" if dtype.kind in "iu" else "Round", dtype, Value.of(quotient, Kind((), dtype)))


@rule("remainder")
def _remainder(graph: Graph, a: Value, b: Value) -> str:
    dtype = working(graph.out.dtype)
    if dtype.kind in "iu":
        return in_dtype(graph, "Mod", dtype, a, b)
    b = graph.cast(b, dtype)
    rest = Value.of(graph.add("Mod", graph.cast(a, dtype), b, fmod=1), Kind(graph.out.shape, dtype))
    return graph.expand(_of_sign, rest, b)


def _of_sign(rest: Any, b: Any) -> Any:
    """C's remainder, which has the sign of the dividend, with that of the divisor."""
    other = op.logical_and(op.not_equal(rest, 0.0), op.not_equal(rest < 0.0, b < 0.0))
    return op.where(other, rest + b, rest)


# Giles, "Approximating the erfinv function", 2010, table 5: in w - 2.5 for w < 5, in sqrt(w) - 3 beyond.
_NEAR = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
         -0.00417768164, 0.246640727, 1.50140941)
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
         1.00167406, 2.83297682)


@by_nodes("erfinv")
def _erfinv(x: Any) -> Any:
    w = -(op.log1p(-x) + op.log1p(x))
    near, tail = w - 2.5, op.sqrt(op.maximum(w, 5.0)) - 3.0
    parts = []
    for argument, factors in ((near, _NEAR), (tail, _TAIL)):
        total: Any = factors[0]
        for factor in factors[1:]:
            total = total * argument + factor
        parts.append(total)
    bounded = x * op.where(w < 5.0, *parts)
    return op.where(op.equal(op.abs(x), 1.0), x * math.inf, bounded)


_BY_NODES = {
    "square": lambda x: op.mult(x, x),
    "trunc": lambda x: op.where(x < 0, op.ceil(x), op.floor(x)),
    "cbrt": lambda x: op.sign(x) * op.power(op.abs(x), 1.0 / 3.0),
    "rsqrt": lambda x: op.reciprocal(op.sqrt(x)),
    "exp2": lambda x: op.exp(x * _LN2),
    "log2": lambda x: op.log(x) * (1.0 / _LN2),
    "log10": lambda x: op.log(x) * (1.0 / math.log(10.0)),
    "erfc": lambda x: 1.0 - op.erf(x),
    "isfinite": lambda x: op.logical_not(op.logical_or(op.isnan(x), op.isinf(x))),
    "logsigmoid": lambda x: -op.logaddexp(-x, 0.0),
    "tanhshrink": lambda x: x - op.tanh(x),
    "threshold": lambda x, *, threshold, value: op.where(x > threshold, x, value),
    "silu": lambda x: x * op.sigmoid(x),
    "mish": lambda x: x * op.tanh(op.logaddexp(x, 0.0)),
    "binary_cross_entropy": lambda p, target: -(target * op.maximum(op.log(p), -100.0)
                                                + (1.0 - target) * op.maximum(op.log1p(-p), -100.0)),
}
RULES.update({name: expanded(function) for name, function in _BY_NODES.items()})
