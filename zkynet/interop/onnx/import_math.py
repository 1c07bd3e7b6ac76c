"""Import rules of arithmetic: elementwise functions, comparisons, logic, bits, casts, products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...framework import op
from ...framework.operator import operator
from .import_registry import dtype_of, importer

# Elementwise functions of one input -------------------------------------------------------------------------

UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": op.abs, "Neg": op.negative, "Reciprocal": op.reciprocal, "Sqrt": op.sqrt, "Exp": op.exp, "Log": op.log,
    "Sign": op.sign, "Floor": op.floor, "Ceil": op.ceil, "Round": op.round, "Erf": op.erf, "IsNaN": op.isnan,
    "Sin": op.sin, "Cos": op.cos, "Tan": op.tan, "Asin": op.arcsin, "Acos": op.arccos, "Atan": op.arctan,
    "Sinh": op.sinh, "Cosh": op.cosh, "Asinh": op.arcsinh, "Acosh": op.arccosh, "Atanh": op.arctanh,
    "Not": op.logical_not, "Det": op.det,
}


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda ctx, *inputs: function(*inputs)


for _name, _function in UNARY.items():
    importer(_name)(_plain(_function))


@importer("Identity")
def _(ctx, x):
    return x


@importer("IsInf")
def _(ctx, x):
    found = op.isinf(x)
    if not ctx.attr("detect_negative", 1):
        found = op.logical_and(found, op.greater(x, 0))
    if not ctx.attr("detect_positive", 1):
        found = op.logical_and(found, op.less(x, 0))
    return found


# Two inputs -------------------------------------------------------------------------------------------------


def aligned(ctx: Any, a: Any, b: Any) -> Any:
    """b as it broadcasts with a: before opset 7 its axes could be matched with others of a than the last."""
    if ctx.opset >= 7 or not ctx.attr("broadcast", 0) or b.ndim == 0:
        return b
    axis = ctx.attr("axis", a.ndim - b.ndim)
    trailing = a.ndim - axis % a.ndim - b.ndim if a.ndim else 0
    return op.reshape(b, shape=(*b.shape, *[1] * trailing)) if trailing > 0 else b


def _binary(name: str, function: Callable[[Any, Any], Any]) -> None:
    importer(name)(lambda ctx, a, b: function(a, aligned(ctx, a, b)))


def _divided(a: Any, b: Any) -> Any:
    return truncated(a, b) if np.dtype(a.dtype).kind in "iu" else op.divide(a, b)


@operator(no_gradient=True)
def truncated(a, b):
    """a / b of integers, rounded towards zero."""
    return jax.lax.div(*jnp.broadcast_arrays(a, b))


def _power(a: Any, b: Any) -> Any:
    return op.power(a, b if b.dtype == a.dtype else op.cast(b, dtype=a.dtype)) if _floating(a) else _integer_power(a, b)


def _integer_power(a: Any, b: Any) -> Any:
    if _floating(b):
        return op.power(op.cast(a, dtype=b.dtype), b)
    return raised(a, b)


@operator(no_gradient=True)
def raised(a, b):
    """a^b of integers."""
    return jnp.power(a, b)


def _floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": op.add, "Sub": op.subtract, "Mul": op.mult, "Div": _divided, "Pow": _power, "Equal": op.equal,
    "Greater": op.greater, "GreaterOrEqual": op.greater_equal, "Less": op.less, "LessOrEqual": op.less_equal,
    "And": op.logical_and, "Or": op.logical_or, "Xor": op.logical_xor,
}
for _name, _function in BINARY.items():
    _binary(_name, _function)


@importer("Mod")
def _(ctx, a, b):
    if not ctx.attr("fmod", 0):
        return op.remainder(a, b)
    return fmod(a, b)


@operator
def fmod(a, b):
    """The remainder of a / b, of the sign of a."""
    return jax.lax.rem(*jnp.broadcast_arrays(a, b))


@fmod.def_vjp
def _(g, y, a, b):
    return g, -(g * op.trunc((a - y) / b))


# Any number of inputs ---------------------------------------------------------------------------------------


def _variadic(name: str, function: Callable[[Any, Any], Any]) -> None:
    importer(name)(lambda ctx, *inputs: reduce(function, inputs))


for _name, _function in {"Sum": op.add, "Max": op.maximum, "Min": op.minimum}.items():
    _variadic(_name, _function)


@importer("Mean")
def _(ctx, *inputs):
    return reduce(op.add, inputs) / float(len(inputs))


@importer("Where")
def _(ctx, condition, a, b):
    return op.where(condition, a, b)


@importer("Clip", since=11)
def _(ctx, x, low=None, high=None):
    # min(max(x, low), high), also where low > high; the limits may be nodes
    if low is not None:
        x = op.maximum(x, low)
    return x if high is None else op.minimum(x, high)


@importer("Clip")
def _(ctx, x):
    low, high = ctx.attr("min", None), ctx.attr("max", None)
    return op.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


# Bits -------------------------------------------------------------------------------------------------------


@operator(no_gradient=True)
def bitwise(a, b, *, kind):
    """The bitwise "and", "or" or "xor" of integers."""
    return getattr(jnp, f"bitwise_{kind}")(a, b)


@operator(no_gradient=True)
def bitwise_not(a):
    """The bits of an integer, inverted."""
    return jnp.bitwise_not(a)


@operator(no_gradient=True)
def shifted(a, b, *, left):
    """The bits of a, moved by b places; all out for a shift of the width or more, or a negative one."""
    a, b = jnp.broadcast_arrays(a, b)
    width = a.dtype.itemsize * 8
    inside = (b >= 0) & (b < width)
    places = jnp.where(inside, b, 0).astype(a.dtype)
    if left:
        return jnp.where(inside, jax.lax.shift_left(a, places), 0)
    signed = jnp.issubdtype(a.dtype, jnp.signedinteger)
    moved = (jax.lax.shift_right_arithmetic if signed else jax.lax.shift_right_logical)(a, places)
    return jnp.where(inside, moved, jnp.where(a < 0, -1, 0).astype(a.dtype) if signed else 0)


def _bitwise(kind: str) -> None:
    importer(f"Bitwise{kind}")(lambda ctx, a, b: bitwise(a, b, kind=kind.lower()))


for _name in ("And", "Or", "Xor"):
    _bitwise(_name)
importer("BitwiseNot")(_plain(bitwise_not))


@importer("BitShift")
def _(ctx, a, b):
    return shifted(a, b, left=ctx.attr("direction") == "LEFT")


# Dtypes -----------------------------------------------------------------------------------------------------


@operator(no_gradient=True)
def bits_as(x, *, dtype):
    """The same bits read as another dtype of the same width."""
    if x.dtype == bool or dtype == np.bool_:
        return x.astype(dtype)
    return jax.lax.bitcast_convert_type(x, dtype)


@operator(no_gradient=True)
def saturated(x, *, dtype, saturate):
    """x in an 8-bit floating dtype; what is too large becomes its largest number, or with `saturate` False infinite
    (nan where the dtype has no infinity)."""
    if not saturate:
        return x.astype(dtype)
    limit = float(jnp.finfo(dtype).max)
    wide = x.astype(jnp.float32)
    return jnp.where(jnp.isnan(wide), wide, jnp.clip(wide, -limit, limit)).astype(dtype)


@operator(no_gradient=True)
def power_of_two(x, *, mode):
    """x in the dtype float8_e8m0fnu, which has powers of two from 2^-127 to 2^127 only: that above ("up") or below
    ("down"), or the nearest."""
    wide = x.astype(jnp.float32)
    part, exponent = jnp.frexp(wide)  # of the mantissa from 0.5 on
    floor = exponent - 1
    above = {"up": part > 0.5, "down": jnp.zeros_like(part, bool), "nearest": part >= 0.75}[mode]
    bits = jnp.clip(jnp.where(wide == 0, -127, floor + above), -127, 127) + 127
    bits = jnp.where(jnp.isnan(wide), 255, jnp.where(jnp.isinf(wide), 254, bits))
    return jax.lax.bitcast_convert_type(bits.astype(jnp.uint8), jnp.float8_e8m0fnu)


def converted(ctx: Any, x: Any, dtype: np.dtype) -> Any:
    """x as Cast makes it."""
    if np.dtype(dtype).name == "float8_e8m0fnu":
        return power_of_two(x, mode=ctx.attr("round_mode", "up"))
    if np.dtype(dtype).name.startswith("float8"):
        return saturated(x, dtype=dtype, saturate=bool(ctx.attr("saturate", 1)))
    if dtype == np.bool_:
        return op.not_equal(x, 0)
    if np.dtype(dtype).name in _SUB_BYTE and _floating(x):  # wraps, as between integers
        x = op.cast(x, dtype=np.int32)
    return op.cast(x, dtype=dtype)


_SUB_BYTE = ("int2", "uint2", "int4", "uint4")
_NAMED = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "STRING": 8, "BOOL": 9,
          "FLOAT16": 10, "DOUBLE": 11}


@importer("Cast")
def _(ctx, x):
    to = ctx.attr("to")
    return converted(ctx, x, dtype_of(_NAMED[to] if isinstance(to, str) else to))


@importer("CastLike")
def _(ctx, x, like):
    return converted(ctx, x, np.dtype(like.dtype))


@importer("BitCast")
def _(ctx, x):
    return bits_as(x, dtype=dtype_of(ctx.attr("to")))


# Products of matrices ---------------------------------------------------------------------------------------


@importer("MatMul")
def _(ctx, a, b):
    return op.matmul(a, b)


@importer("Gemm")
def _(ctx, a, b, c=None):
    alpha, beta = ctx.attr("alpha", 1.0), ctx.attr("beta", 1.0)
    if ctx.attr("transA", 0):
        a = op.transpose(a, (1, 0))
    if alpha == beta == 1.0 and ctx.attr("transB", 0) and c is not None and c.ndim == 1 and c.shape[0] == b.shape[0]:
        return op.linear(a, b, c)
    product = op.matmul(a, op.transpose(b, (1, 0)) if ctx.attr("transB", 0) else b)
    if alpha != 1.0:
        product = product * alpha
    if c is None or beta == 0.0:
        return product
    return product + (c if beta == 1.0 else op.mult(c, beta))


@importer("Einsum")
def _(ctx, *operands):
    return op.einsum(ctx.attr("equation").replace(" ", ""), *operands)
