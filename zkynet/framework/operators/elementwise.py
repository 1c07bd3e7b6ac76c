"""Elementwise operators: one row each, `name = elementwise(name, body, rule for each input, doc=equation)`.

Rules use other operators of this table, so they must be finite wherever the derivative is, also in the branch
of a `where` that is not taken: its cotangent is zero there, and zero times infinity is a NaN one order later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..nodes import Engine, Node
from .registry import elementwise

# Bodies -----------------------------------------------------------------------------------------------------
# Programs are built by tracing bodies, and a primitive of jax.lax traces twice as fast as the jax.numpy
# function that promotes for it. So the primitive is used where nothing is to promote, else jax.numpy.

_FLOATS = frozenset(np.dtype(d) for d in (jnp.bfloat16, np.float16, np.float32, np.float64))
_NUMBERS = _FLOATS | {np.dtype(d) for d in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32)}
_BOOL = np.dtype(bool)


def _unary(lean: Callable[..., Any], general: Callable[..., Any]) -> Callable[[Any], Any]:
    def body(x: Any) -> Any:
        return lean(x) if getattr(x, "dtype", None) in _FLOATS else general(x)

    return body


def _binary(lean: Callable[..., Any], general: Callable[..., Any],
            dtypes: frozenset[np.dtype] = _NUMBERS) -> Callable[[Any, Any], Any]:
    def body(a: Any, b: Any) -> Any:
        kind = getattr(a, "dtype", None)
        other = getattr(b, "dtype", None)
        if kind is other:  # not ==, by which NumPy takes None for float64
            if kind in dtypes and a.shape == b.shape:
                return lean(a, b)
        elif kind in _FLOATS and (b.__class__ is float or b.__class__ is int):
            return lean(a, lax.full_like(a, b))
        elif other in _FLOATS and (a.__class__ is float or a.__class__ is int):
            return lean(lax.full_like(b, a), b)
        return general(a, b)

    return body


def _where(condition: Any, a: Any, b: Any) -> Any:
    if getattr(condition, "dtype", None) is _BOOL:
        if a.__class__ is float and getattr(b, "dtype", None) in _FLOATS:
            a = lax.full_like(b, a)
        elif b.__class__ is float and getattr(a, "dtype", None) in _FLOATS:
            b = lax.full_like(a, b)
        if getattr(a, "dtype", 0) is getattr(b, "dtype", 1) and a.shape == b.shape == condition.shape:
            return lax.select(condition, a, b)
    return jnp.where(condition, a, b)


# Arithmetic -------------------------------------------------------------------------------------------------

add = elementwise("add", _binary(lax.add, jnp.add), lambda g, y, a, b: g, lambda g, y, a, b: g,
                  doc="y = a + b")
subtract = elementwise("subtract", _binary(lax.sub, jnp.subtract),
                       lambda g, y, a, b: g, lambda g, y, a, b: -g, doc="y = a - b")
mult = elementwise("mult", _binary(lax.mul, jnp.multiply),
                   lambda g, y, a, b: g * b, lambda g, y, a, b: g * a, doc="y = a b")
divide = elementwise("divide", _binary(lax.div, jnp.divide, _FLOATS),
                     lambda g, y, a, b: g / b, lambda g, y, a, b: -(g * y) / b, doc="y = a / b")
floor_divide = elementwise("floor_divide", lambda a, b: jnp.floor_divide(a, b), no_gradient=True,
                           doc="y = floor(a / b); the gradient is zero")
remainder = elementwise("remainder", lambda a, b: jnp.remainder(a, b),
                        lambda g, y, a, b: g, lambda g, y, a, b: -(g * floor_divide(a, b)),
                        doc="y = a - b floor(a / b), of the sign of b")
negative = elementwise("negative", _unary(lax.neg, jnp.negative), lambda g, y, x: -g, doc="y = -x")
identity = elementwise("identity", lambda x: x, lambda g, y, x: g, doc="y = x")
reciprocal = elementwise("reciprocal", lambda x: jnp.reciprocal(x), lambda g, y, x: -(g * y * y),
                         doc="y = 1 / x")
square = elementwise("square", _unary(lax.square, jnp.square), lambda g, y, x: g * (x * 2.0), doc="y = x^2")
abs = elementwise("abs", _unary(lax.abs, jnp.abs), lambda g, y, x: g * sign(x), doc="y = |x|; y'(0) = 0")
sign = elementwise("sign", lambda x: jnp.sign(x), no_gradient=True,
                   doc="y = -1, 0 or 1; the gradient is zero")
floor = elementwise("floor", lambda x: jnp.floor(x), no_gradient=True,
                    doc="y = floor(x); the gradient is zero")
ceil = elementwise("ceil", lambda x: jnp.ceil(x), no_gradient=True, doc="y = ceil(x); the gradient is zero")
trunc = elementwise("trunc", lambda x: jnp.trunc(x), no_gradient=True,
                    doc="y = x without its fraction; the gradient is zero")
round = elementwise("round", lambda x, *, decimals=0: jnp.round(x, decimals), no_gradient=True,
                    doc="y = x rounded to `decimals`, halves to even; the gradient is zero")
# At the origin, where the slope depends on the direction, the gradient is zero like that of abs.
hypot = elementwise("hypot", lambda a, b: jnp.hypot(a, b), lambda g, y, a, b: g * (a / _nonzero(y)),
                    lambda g, y, a, b: g * (b / _nonzero(y)), doc="y = sqrt(a^2 + b^2) without overflow")


def _nonzero(x: Any) -> Node:
    return where(equal(x, 0.0), 1.0, x)


# Powers and roots -------------------------------------------------------------------------------------------

integer_power = elementwise(
    "integer_power", lambda x, *, exponent: lax.integer_pow(x, exponent),
    lambda g, y, x, *, exponent: g * (power(x, exponent - 1) * float(exponent)) if exponent else g * 0.0,
    doc="y = x^n for a static integer n; repeated multiplication")
# a^(b-1) is infinite at a = 0, b < 1, where only b = 0 makes the derivative b a^(b-1) finite (zero).
# As in JAX, dy/db is taken to be 0 at a = 0, and is NaN for a < 0.
_power = elementwise(
    "power", _binary(lax.pow, jnp.power, _FLOATS),
    lambda g, y, a, b: g * (b * _power(a, where(logical_and(equal(a, 0.0), equal(b, 0.0)), 1.0, b - 1.0))),
    lambda g, y, a, b: g * (y * log(_nonzero(a))), doc="y = a^b")


def power(a: Any, b: Any) -> Node:
    """y = a^b, elementwise; also written `a ** b`.

    A Python integer b becomes part of the compiled program (repeated multiplication, right for every a);
    any other exponent is an input. The gradient with respect to b is 0 where a = 0 and NaN where a < 0.

    >>> from zkynet.framework import op
    >>> float(op.power(-3.0, 2).value), float(op.power(4.0, 0.5).value)
    (9.0, 2.0)
    """
    return integer_power(a, exponent=b) if b.__class__ is int else _power(a, b)


sqrt = elementwise("sqrt", _unary(lax.sqrt, jnp.sqrt), lambda g, y, x: g * 0.5 / y, doc="y = x^(1/2)")
cbrt = elementwise("cbrt", lambda x: jnp.cbrt(x), lambda g, y, x: g / (y * y * 3.0),
                   doc="y = x^(1/3), also for x < 0")
rsqrt = elementwise("rsqrt", lambda x: lax.rsqrt(_floating(x)), lambda g, y, x: g * (y / x * -0.5),
                    doc="y = x^(-1/2)")


def _floating(x: Any) -> Any:
    """Integers as floats, by the rule jax.numpy follows."""
    return x if getattr(x, "dtype", None) in _FLOATS else jnp.multiply(x, 1.0)


# Exponentials and logarithms --------------------------------------------------------------------------------

exp = elementwise("exp", _unary(lax.exp, jnp.exp), lambda g, y, x: g * y, doc="y = e^x")
exp2 = elementwise("exp2", lambda x: jnp.exp2(x), lambda g, y, x: g * (y * math.log(2.0)), doc="y = 2^x")
expm1 = elementwise("expm1", _unary(lax.expm1, jnp.expm1), lambda g, y, x: g * (y + 1.0), doc="y = e^x - 1")
log = elementwise("log", _unary(lax.log, jnp.log), lambda g, y, x: g / x, doc="y = ln x")
log1p = elementwise("log1p", _unary(lax.log1p, jnp.log1p), lambda g, y, x: g / (x + 1.0), doc="y = ln(1 + x)")
log2 = elementwise("log2", lambda x: jnp.log2(x), lambda g, y, x: g / (x * math.log(2.0)), doc="y = log_2 x")
log10 = elementwise("log10", lambda x: jnp.log10(x), lambda g, y, x: g / (x * math.log(10.0)),
                    doc="y = log_10 x")

# Trigonometric and hyperbolic -------------------------------------------------------------------------------

sin = elementwise("sin", _unary(lax.sin, jnp.sin), lambda g, y, x: g * cos(x), doc="y = sin x")
cos = elementwise("cos", _unary(lax.cos, jnp.cos), lambda g, y, x: -(g * sin(x)), doc="y = cos x")
tan = elementwise("tan", _unary(lax.tan, jnp.tan), lambda g, y, x: g * (y * y + 1.0), doc="y = tan x")
arcsin = elementwise("arcsin", lambda x: jnp.arcsin(x),
                     lambda g, y, x: g * (rsqrt(1.0 - x) * rsqrt(1.0 + x)),
                     doc="y = arcsin x, in [-pi/2, pi/2]")
arccos = elementwise("arccos", lambda x: jnp.arccos(x),
                     lambda g, y, x: -(g * (rsqrt(1.0 - x) * rsqrt(1.0 + x))), doc="y = arccos x, in [0, pi]")
arctan = elementwise("arctan", lambda x: jnp.arctan(x), lambda g, y, x: g / (x * x + 1.0),
                     doc="y = arctan x, in [-pi/2, pi/2]")
# Dividing twice by the length, not by its square, which would overflow or vanish long before it.
arctan2 = elementwise("arctan2", lambda a, b: jnp.arctan2(a, b),
                      lambda g, y, a, b: g * (b / _nonzero(hypot(a, b)) / _nonzero(hypot(a, b))),
                      lambda g, y, a, b: -(g * (a / _nonzero(hypot(a, b)) / _nonzero(hypot(a, b)))),
                      doc="y = the angle of the point (b, a), in [-pi, pi]; the gradient at the origin is 0")
sinh = elementwise("sinh", lambda x: jnp.sinh(x), lambda g, y, x: g * cosh(x), doc="y = sinh x")
cosh = elementwise("cosh", lambda x: jnp.cosh(x), lambda g, y, x: g * sinh(x), doc="y = cosh x")
tanh = elementwise("tanh", _unary(lax.tanh, jnp.tanh), lambda g, y, x: g * (1.0 - y * y), doc="y = tanh x")
arcsinh = elementwise("arcsinh", lambda x: jnp.arcsinh(x), lambda g, y, x: g / hypot(x, 1.0),
                      doc="y = arsinh x")
arccosh = elementwise("arccosh", lambda x: jnp.arccosh(x),
                      lambda g, y, x: g * (rsqrt(x - 1.0) * rsqrt(x + 1.0)), doc="y = arcosh x, for x >= 1")
arctanh = elementwise("arctanh", lambda x: jnp.arctanh(x), lambda g, y, x: g / ((1.0 - x) * (1.0 + x)),
                      doc="y = artanh x, for |x| < 1")

# Error function ---------------------------------------------------------------------------------------------

erf = elementwise("erf", lambda x: lax.erf(_floating(x)),
                  lambda g, y, x: g * (exp(-(x * x)) * (2.0 / math.sqrt(math.pi))),
                  doc="y = 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x")
erfc = elementwise("erfc", lambda x: lax.erfc(_floating(x)),
                   lambda g, y, x: g * (exp(-(x * x)) * (-2.0 / math.sqrt(math.pi))),
                   doc="y = 1 - erf(x), exact where that would cancel")
erfinv = elementwise("erfinv", lambda x: lax.erf_inv(_floating(x)),
                     lambda g, y, x: g * (exp(y * y) * (0.5 * math.sqrt(math.pi))),
                     doc="the y with erf(y) = x")

# Comparisons and logic --------------------------------------------------------------------------------------


def _test(name: str, lean: Callable[..., Any], general: Callable[..., Any], doc: str) -> Any:
    return elementwise(name, _binary(lean, general), no_gradient=True, doc=doc)


equal = _test("equal", lax.eq, jnp.equal, "y = whether a = b")
not_equal = _test("not_equal", lax.ne, jnp.not_equal, "y = whether a and b differ")
less = _test("less", lax.lt, jnp.less, "y = whether a < b")
less_equal = _test("less_equal", lax.le, jnp.less_equal, "y = whether a <= b")
greater = _test("greater", lax.gt, jnp.greater, "y = whether a > b")
greater_equal = _test("greater_equal", lax.ge, jnp.greater_equal, "y = whether a >= b")
isnan = elementwise("isnan", lambda x: jnp.isnan(x), no_gradient=True, doc="y = whether x is a NaN")
isinf = elementwise("isinf", lambda x: jnp.isinf(x), no_gradient=True, doc="y = whether x is infinite")
isfinite = elementwise("isfinite", lambda x: jnp.isfinite(x), no_gradient=True,
                       doc="y = whether x is a finite number")
logical_and = elementwise("logical_and", lambda a, b: jnp.logical_and(a, b), no_gradient=True,
                          doc="y = a and b")
logical_or = elementwise("logical_or", lambda a, b: jnp.logical_or(a, b), no_gradient=True, doc="y = a or b")
logical_xor = elementwise("logical_xor", lambda a, b: jnp.logical_xor(a, b), no_gradient=True,
                          doc="y = whether exactly one of a and b holds")
logical_not = elementwise("logical_not", lambda x: jnp.logical_not(x), no_gradient=True, doc="y = not x")

# Selection --------------------------------------------------------------------------------------------------

where = elementwise("where", lambda condition, a, b: _where(condition, a, b),
                    lambda g, y, condition, a, b: g * 0.0,  # never asked for: a condition has no gradient
                    lambda g, y, condition, a, b: where(condition, g, 0.0),
                    lambda g, y, condition, a, b: where(condition, 0.0, g),
                    no_gradient=("condition",), doc="y = a where the condition holds, else b")
maximum = elementwise("maximum", _binary(lax.max, jnp.maximum), lambda g, y, a, b: g * _share(a, b),
                      lambda g, y, a, b: g * _share(b, a),
                      doc="y = the larger of a and b; where they are equal, each gets half of the gradient")
minimum = elementwise("minimum", _binary(lax.min, jnp.minimum), lambda g, y, a, b: g * _share(b, a),
                      lambda g, y, a, b: g * _share(a, b),
                      doc="y = the smaller of a and b; where they are equal, each gets half of the gradient")


def _share(a: Any, b: Any) -> Node:
    """1 where a > b, half where they are equal."""
    return where(a > b, 1.0, where(equal(a, b), 0.5, 0.0))


def clip(x: Any, min: Any = None, max: Any = None) -> Node:
    """y = x brought into [min, max], elementwise; a bound that is None does not bind.

    The bounds are inputs like any other (arrays, nodes, numbers) and broadcast. At a bound, half of the
    gradient goes to x and half to the bound, as for `maximum` and `minimum`; where min > max, y = max.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.clip(np.array([-2.0, 0.5, 2.0], np.float32), -1.0, 1.0).value.tolist()
    [-1.0, 0.5, 1.0]
    """
    low = identity(x) if min is None else maximum(x, min)
    return low if max is None else minimum(low, max)


# Activations, with the names, defaults and conventions at kinks of torch.nn.functional ----------------------

sigmoid = elementwise("sigmoid", _unary(lax.logistic, lambda x: lax.logistic(_floating(x))),
                      lambda g, y, x: g * (y * (1.0 - y)), doc="y = 1 / (1 + e^-x)")
logsigmoid = elementwise("logsigmoid", lambda x: -jnp.logaddexp(-x, 0.0), lambda g, y, x: g * sigmoid(-x),
                         doc="y = ln sigmoid(x)")
relu = elementwise("relu", _unary(lambda x: lax.max(x, lax.full_like(x, 0)), lambda x: jnp.maximum(x, 0)),
                   lambda g, y, x: where(x > 0.0, g, 0.0),
                   doc="y = max(x, 0); y'(0) = 0")
relu6 = elementwise("relu6", lambda x: jnp.clip(x, 0, 6),
                    lambda g, y, x: where(logical_and(x > 0.0, x < 6.0), g, 0.0),
                    doc="y = min(max(x, 0), 6); y' = 0 at both kinks")
leaky_relu = elementwise(
    "leaky_relu", lambda x, *, negative_slope=0.01: jnp.where(x > 0, x, negative_slope * x),
    lambda g, y, x, *, negative_slope: where(x > 0.0, g, g * negative_slope),
    doc="y = x where x > 0, else negative_slope x; y'(0) = negative_slope")
elu = elementwise("elu", lambda x, *, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0))),
                  lambda g, y, x, *, alpha: where(x > 0.0, g, g * (exp(_not_above(x)) * alpha)),
                  doc="y = x where x > 0, else alpha (e^x - 1); y'(0) = alpha")
celu = elementwise(
    "celu", lambda x, *, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0) / alpha)),
    lambda g, y, x, *, alpha: where(x > 0.0, g, g * exp(_not_above(x) / alpha)),
    doc="y = x where x > 0, else alpha (e^(x / alpha) - 1); y'(0) = 1")

# Klambauer et al., "Self-normalizing neural networks", 2017, equation 14.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
selu = elementwise(
    "selu", lambda x: _SELU_SCALE * jnp.where(x > 0, x, _SELU_ALPHA * jnp.expm1(jnp.minimum(x, 0))),
    lambda g, y, x: where(x > 0.0, g * _SELU_SCALE, g * (exp(_not_above(x)) * (_SELU_SCALE * _SELU_ALPHA))),
    doc="y = s x where x > 0, else s a (e^x - 1); s = 1.0507, a = 1.6733; y'(0) = s a")


def _not_above(x: Any) -> Node:
    """x where it is at most 0, else 0: the argument of an exponential that counts only there."""
    return where(x > 0.0, 0.0, x)


_SQRT_HALF = math.sqrt(0.5)
# Hendrycks and Gimpel, "Gaussian error linear units", 2016, section 2.
_GELU_SLOPE, _GELU_CUBIC = math.sqrt(2.0 / math.pi), 0.044715


def _gelu_body(x, *, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1.0 + jnp.tanh(_GELU_SLOPE * (x + _GELU_CUBIC * (x * x * x))))
    if approximate != "none":
        raise ValueError(f"approximate must be 'none' or 'tanh', but is {approximate!r}")
    return 0.5 * x * lax.erfc(_floating(-x * _SQRT_HALF))


def _gelu_rule(g, y, x, *, approximate):
    if approximate == "none":
        return g * (erfc(x * -_SQRT_HALF) * 0.5 + x * exp(x * x * -0.5) * math.sqrt(0.5 / math.pi))
    near = clip(x, -30.0, 30.0)  # tanh is flat beyond, where its inner derivative may be infinite
    inner = tanh((near + near * near * near * _GELU_CUBIC) * _GELU_SLOPE)
    slope = (near * near * (3.0 * _GELU_CUBIC) + 1.0) * _GELU_SLOPE
    return g * ((inner + 1.0) * 0.5 + near * (1.0 - inner * inner) * slope * 0.5)


gelu = elementwise("gelu", _gelu_body, _gelu_rule,
                   doc='y = x Phi(x), Phi the normal distribution; approximate="tanh" for a formula near it')


def _softplus_body(x, *, beta=1.0, threshold=20.0):
    return jnp.where(x * beta > threshold, x, jnp.logaddexp(x * beta, 0.0) / beta)


softplus = elementwise(
    "softplus", _softplus_body,
    lambda g, y, x, *, beta, threshold: where(x * beta > threshold, g, g * sigmoid(x * beta)),
    doc="y = ln(1 + e^(beta x)) / beta; exactly x where beta x > threshold")
softsign = elementwise("softsign", lambda x: x / (1.0 + jnp.abs(x)), lambda g, y, x: g / square(abs(x) + 1.0),
                       doc="y = x / (1 + |x|)")
tanhshrink = elementwise("tanhshrink", lambda x: x - jnp.tanh(x), lambda g, y, x: g * square(tanh(x)),
                         doc="y = x - tanh x")
hardshrink = elementwise("hardshrink", lambda x, *, lambd=0.5: jnp.where(jnp.abs(x) > lambd, x, 0),
                         lambda g, y, x, *, lambd: where(abs(x) > lambd, g, 0.0),
                         doc="y = x where |x| > lambd, else 0")
softshrink = elementwise("softshrink", lambda x, *, lambd=0.5: x - jnp.clip(x, -lambd, lambd),
                         lambda g, y, x, *, lambd: where(abs(x) > lambd, g, 0.0),
                         doc="y = x brought nearer to 0 by lambd; 0 where |x| <= lambd")
hardtanh = elementwise(
    "hardtanh", lambda x, *, min_val=-1.0, max_val=1.0: jnp.clip(x, min_val, max_val),
    lambda g, y, x, *, min_val, max_val: where(logical_and(x > min_val, x < max_val), g, 0.0),
    doc="y = x brought into [min_val, max_val]; y' = 0 at both kinks")
hardsigmoid = elementwise("hardsigmoid", lambda x: jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
                          lambda g, y, x: where(abs(x) < 3.0, g * (1.0 / 6.0), 0.0),
                          doc="y = x / 6 + 1/2 brought into [0, 1]; y' = 0 at both kinks")
hardswish = elementwise(
    "hardswish", lambda x: x * jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
    lambda g, y, x: where(abs(x) < 3.0, g * (x * (1.0 / 3.0) + 0.5), where(x > 0.0, g, 0.0)),
    doc="y = x hardsigmoid(x); y'(-3) = 0, y'(3) = 1")
threshold = elementwise("threshold", lambda x, *, threshold, value: jnp.where(x > threshold, x, value),
                        lambda g, y, x, *, threshold, value: where(x > threshold, g, 0.0),
                        doc="y = x where x > threshold, else value")
silu = elementwise("silu", lambda x: x * lax.logistic(_floating(x)),
                   lambda g, y, x: g * (sigmoid(x) * (x * sigmoid(-x) + 1.0)), doc="y = x sigmoid(x)")


def _mish_rule(g, y, x):
    inner = tanh(softplus(x))
    return g * (inner + x * sigmoid(x) * (1.0 - inner * inner))


mish = elementwise("mish", lambda x: x * jnp.tanh(jnp.logaddexp(x, 0.0)), _mish_rule,
                   doc="y = x tanh(softplus(x))")

Engine.symbols.update(
    abs=abs, add=add, divide=divide, floor_divide=floor_divide, greater=greater, greater_equal=greater_equal,
    identity=identity, less=less, less_equal=less_equal, logical_and=logical_and, logical_not=logical_not,
    logical_or=logical_or, logical_xor=logical_xor, mult=mult, negative=negative, power=power,
    remainder=remainder, subtract=subtract)

__all__ = [
    "abs", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt",
    "ceil", "celu", "clip", "cos", "cosh", "divide", "elu", "equal", "erf", "erfc", "erfinv", "exp",
    "exp2", "expm1", "floor", "floor_divide", "gelu", "greater", "greater_equal", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "hypot", "identity", "integer_power", "isfinite", "isinf",
    "isnan", "leaky_relu", "less", "less_equal", "log", "log10", "log1p", "log2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logsigmoid", "maximum", "minimum", "mish", "mult",
    "negative", "not_equal", "power", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt",
    "selu", "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "softshrink", "softsign", "sqrt",
    "square", "subtract", "tan", "tanh", "tanhshrink", "threshold", "trunc", "where",
]
