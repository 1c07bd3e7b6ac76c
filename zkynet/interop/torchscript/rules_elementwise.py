"""Rules of what is computed for each element: arithmetic, comparison, functions, activations.

Most of them serve numbers as well: sizes in a model's code, and whatever else is no tensor.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ...framework import op
from ...framework.errors import InputError
from .registry import NUMBERS, PLAIN, add_rules, draw, node, rank, rule, shape_of

# Arithmetic -----------------------------------------------------------------------------------------------------


def _either(plain: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """Of two numbers (strings, lists) by Python, of anything else by the operator."""
    def computed(a: Any, b: Any) -> Any:
        return plain(a, b) if a.__class__ in PLAIN and b.__class__ in PLAIN else ours(a, b)
    return computed


_mult, _subtract = _either(operator.mul, op.mult), _either(operator.sub, op.subtract)
_divide, _floored = _either(operator.truediv, op.divide), _either(operator.floordiv, op.floor_divide)


@rule("add", python=True)
def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    if alpha != 1:
        b = _mult(b, alpha)
    return a + b if a.__class__ in PLAIN and b.__class__ in PLAIN else op.add(a, b)


@rule("sub", "subtract", python=True)
def _sub(a: Any, b: Any, alpha: Any = 1) -> Any:
    return _subtract(a, b if alpha == 1 else _mult(b, alpha))


@rule("rsub")
def _(a: Any, b: Any, alpha: Any = 1) -> Any:
    return _subtract(b, a if alpha == 1 else _mult(a, alpha))


@rule("div", "divide", python=True)
def _div(a: Any, b: Any, rounding: str | None = None) -> Any:
    if rounding == "floor":
        return _floored(a, b)
    if rounding == "trunc":
        return op.cast(op.trunc(_divide(a, b)), dtype=jnp.result_type(node(a).dtype, node(b).dtype))
    return _divide(a, b)


def _fmod(a: Any, b: Any) -> Any:
    return math.fmod(a, b) if a.__class__ in PLAIN and b.__class__ in PLAIN else a - b * op.trunc(op.divide(a, b))


def _same(a: Any, b: Any) -> Any:
    return op.equal(a, b)


add_rules({
    "mul": _mult, "multiply": _mult, "floor_divide": _floored, "true_divide": _divide,
    "remainder": _either(operator.mod, op.remainder), "fmod": _fmod, "pow": _either(operator.pow, op.power),
    "eq": _either(operator.eq, _same), "ne": _either(operator.ne, op.not_equal),
    "lt": _either(operator.lt, op.less), "le": _either(operator.le, op.less_equal),
    "gt": _either(operator.gt, op.greater), "ge": _either(operator.ge, op.greater_equal),
    "maximum": _either(max, op.maximum), "minimum": _either(min, op.minimum), "max.other": op.maximum,
    "min.other": op.minimum, "atan2": _either(math.atan2, op.arctan2), "hypot": op.hypot,
    "logaddexp": op.logaddexp,
}, python=True)


def _bits(plain: Callable[..., Any], ours: Callable[..., Any], name: str) -> Callable[..., Any]:
    def computed(*values: Any) -> Any:
        if all(value.__class__ in NUMBERS for value in values):
            return plain(*values)
        if any(node(value).dtype != bool for value in values):
            raise InputError(f"{name} of tensors of integers is not supported, only that of booleans.")
        return ours(*values)
    return computed


for _name, _plain, _ours in (("and", operator.and_, op.logical_and), ("or", operator.or_, op.logical_or),
                             ("xor", operator.xor, op.logical_xor)):
    add_rules({f"__{_name}__": _bits(_plain, _ours, _name), f"bitwise_{_name}": _bits(_plain, _ours, _name),
               f"logical_{_name}": _ours}, python=_name != "xor")
add_rules({"bitwise_not": _bits(operator.not_, op.logical_not, "bitwise_not"), "logical_not": op.logical_not})

# Functions ------------------------------------------------------------------------------------------------------


def _of_one(plain: Callable[..., Any] | None, ours: Callable[..., Any]) -> Callable[..., Any]:
    def computed(x: Any) -> Any:
        return plain(x) if plain is not None and x.__class__ in NUMBERS else ours(x)
    return computed


_FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "neg": (operator.neg, op.negative), "negative": (operator.neg, op.negative), "abs": (abs, op.abs),
    "exp": (math.exp, op.exp), "log": (math.log, op.log), "sqrt": (math.sqrt, op.sqrt), "sin": (math.sin, op.sin),
    "cos": (math.cos, op.cos), "tan": (math.tan, op.tan), "tanh": (math.tanh, op.tanh), "asin": (math.asin, op.arcsin),
    "acos": (math.acos, op.arccos), "atan": (math.atan, op.arctan), "sinh": (math.sinh, op.sinh),
    "cosh": (math.cosh, op.cosh), "asinh": (math.asinh, op.arcsinh), "acosh": (math.acosh, op.arccosh),
    "atanh": (math.atanh, op.arctanh), "floor": (math.floor, op.floor), "ceil": (math.ceil, op.ceil),
    "log2": (math.log2, op.log2), "log10": (math.log10, op.log10), "log1p": (math.log1p, op.log1p),
    "expm1": (math.expm1, op.expm1), "erf": (math.erf, op.erf), "erfc": (math.erfc, op.erfc),
    "exp2": (None, op.exp2), "erfinv": (None, op.erfinv), "rsqrt": (None, op.rsqrt), "square": (None, op.square),
    "reciprocal": (None, op.reciprocal), "sign": (None, op.sign), "sgn": (None, op.sign), "trunc": (None, op.trunc),
    "fix": (None, op.trunc), "isnan": (math.isnan, op.isnan), "isinf": (math.isinf, op.isinf),
    "isfinite": (math.isfinite, op.isfinite), "relu": (None, op.relu), "relu6": (None, op.relu6),
    "selu": (None, op.selu), "sigmoid": (None, op.sigmoid), "silu": (None, op.silu), "mish": (None, op.mish),
    "hardswish": (None, op.hardswish), "hardsigmoid": (None, op.hardsigmoid), "log_sigmoid": (None, op.logsigmoid),
    "softsign": (None, op.softsign), "positive": (None, op.identity),
}
add_rules({name: _of_one(*both) for name, both in _FUNCTIONS.items()}, python=True)
add_rules({"round": lambda x: op.round(x), "round.decimals": lambda x, decimals: op.round(x, decimals=decimals),
           "frac": lambda x: x - op.trunc(x), "logit": lambda x, eps=None: _logit(x, eps)})


def _logit(x: Any, eps: float | None) -> Any:
    x = x if eps is None else op.clip(x, eps, 1.0 - eps)
    return op.log(x) - op.log1p(op.negative(x))


@rule("clamp", "clip")
def _clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    """The gradient is 1 at the bounds, too, as PyTorch has it: where x is inside or at a bound."""
    x = node(x)
    bounded = op.clip(x, low, high)
    if not x.aval.inexact or any(bound is not None and bound.__class__ not in NUMBERS for bound in (low, high)):
        return bounded
    inside = None if low is None else op.greater_equal(x, low)
    if high is not None:
        below = op.less_equal(x, high)
        inside = below if inside is None else op.logical_and(inside, below)
    return op.where(inside, x, op.stop_gradient(bounded))


add_rules({"clamp_min": lambda x, low: _clamp(x, low, None), "clamp_max": lambda x, high: _clamp(x, None, high)})


@rule("where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar")
def _(condition: Any, a: Any, b: Any) -> Any:
    return op.where(condition, a, b)


@rule("masked_fill")
def _masked(x: Any, mask: Any, value: Any) -> Any:
    filled = op.where(mask, value, x)
    return filled if filled.dtype == x.dtype else op.cast(filled, dtype=x.dtype)


@rule("lerp")
def _(start: Any, end: Any, weight: Any) -> Any:
    return start + weight * (end - start)


@rule("addcmul")
def _(x: Any, a: Any, b: Any, value: Any = 1) -> Any:
    return _add(x, op.mult(a, b), value)


@rule("addcdiv")
def _(x: Any, a: Any, b: Any, value: Any = 1) -> Any:
    return _add(x, op.divide(a, b), value)


@rule("nan_to_num")
def _(x: Any, nan: Any = None, high: Any = None, low: Any = None) -> Any:
    ends = jnp.finfo(x.dtype)
    x = op.where(op.isnan(x), 0.0 if nan is None else nan, x)
    x = op.where(op.logical_and(op.isinf(x), op.greater(x, 0.0)), float(ends.max) if high is None else high, x)
    return op.where(op.isinf(x), float(ends.min) if low is None else low, x)


# Activations with arguments ---------------------------------------------------------------------------------------


@rule("elu")
def _(x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    if input_scale != 1:
        x = x * input_scale
        return op.where(op.greater(x, 0.0), x / input_scale, op.expm1(op.minimum(x, 0.0)) * alpha) * scale
    y = op.elu(x, alpha=float(alpha))
    return y if scale == 1 else y * scale


@rule("prelu")
def _(x: Any, weight: Any) -> Any:
    if rank(weight) and rank(x) > 1:
        weight = op.reshape(weight, shape=(-1, *(1,) * (rank(x) - 2)))
    return op.where(op.greater(x, 0.0), x, x * weight)


@rule("glu")
def _(x: Any, dim: int = -1) -> Any:
    value, gate = op.split(x, 2, axis=dim)
    return value * op.sigmoid(gate)


@rule("rrelu", random=True)
def _(stream: Any, x: Any, lower: float, upper: float, training: bool, *_: Any) -> Any:
    if not training:
        return op.leaky_relu(x, negative_slope=(float(lower) + float(upper)) / 2)
    slopes = op.uniform(draw(stream), shape_of(x), float(lower), float(upper))
    return op.where(op.greater_equal(x, 0.0), x, x * slopes)


add_rules({
    "gelu": lambda x, approximate="none": op.gelu(x, approximate=approximate),
    "leaky_relu": lambda x, slope=0.01: op.leaky_relu(x, negative_slope=float(slope)),
    "celu": lambda x, alpha=1.0: op.celu(x, alpha=float(alpha)),
    "hardtanh": lambda x, low=-1.0, high=1.0: op.hardtanh(x, min_val=float(low), max_val=float(high)),
    "softplus": lambda x, beta=1.0, limit=20.0: op.softplus(x, beta=float(beta), threshold=float(limit)),
    "hardshrink": lambda x, lambd=0.5: op.hardshrink(x, lambd=float(lambd)),
    "softshrink": lambda x, lambd=0.5: op.softshrink(x, lambd=float(lambd)),
    "threshold": lambda x, limit, value: op.threshold(x, threshold=float(limit), value=float(value)),
})
