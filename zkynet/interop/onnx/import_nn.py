"""Import rules of activations, softmax and dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...framework import op
from ...framework.errors import InputError
from ...framework.operator import operator
from .import_registry import importer


def choice(ctx: Any, name: str, default: str, *others: str) -> str:
    """A string attribute that is one of a few."""
    value = ctx.attr(name, default)
    if value not in (default, *others):
        raise InputError(f"the attribute {name!r} is one of {', '.join((default, *others))}, but got {value!r}.")
    return value


# Activations ------------------------------------------------------------------------------------------------

# How each is made of its input and of its float attributes, whose defaults stand beside.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], dict[str, float]]] = {
    "Relu": (op.relu, {}),
    "Sigmoid": (op.sigmoid, {}),
    "Tanh": (op.tanh, {}),
    "Softsign": (op.softsign, {}),
    "Softplus": (lambda x: op.softplus(x, threshold=math.inf), {}),
    "Mish": (op.mish, {}),
    "HardSwish": (op.hardswish, {}),
    "LeakyRelu": (lambda x, alpha: op.leaky_relu(x, negative_slope=alpha), {"alpha": 0.01}),
    "Elu": (lambda x, alpha: op.elu(x, alpha=alpha), {"alpha": 1.0}),
    "Celu": (lambda x, alpha: op.celu(x, alpha=alpha), {"alpha": 1.0}),
    "Selu": (lambda x, alpha, gamma: op.elu(x, alpha=alpha) * gamma,
             {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "ThresholdedRelu": (lambda x, alpha: op.threshold(x, threshold=alpha, value=0.0), {"alpha": 1.0}),
    "HardSigmoid": (lambda x, alpha, beta: op.clip(x * alpha + beta, 0.0, 1.0), {"alpha": 0.2, "beta": 0.5}),
    "Swish": (lambda x, alpha: op.silu(x) if alpha == 1.0 else x * op.sigmoid(x * alpha), {"alpha": 1.0}),
    "SwiGLU": (lambda a, b, alpha: swish(a, alpha) * b, {"alpha": 1.0}),
}
swish = ACTIVATIONS["Swish"][0]

# The coefficients where they are part of an older version; since then they have these defaults.
_FIRST_DEFAULTS = {"Elu": {"alpha": 1.0}, "Selu": {"alpha": 1.6732, "gamma": 1.0507}}


def _activation(name: str, body: Callable[..., Any], defaults: dict[str, float]) -> None:
    def rule(ctx: Any, *inputs: Any) -> Any:
        known = _FIRST_DEFAULTS.get(name, defaults) if ctx.opset < 6 else defaults
        return body(*inputs, **{key: float(ctx.attr(key, value)) for key, value in known.items()})

    importer(name)(rule)


for _name, (_body, _defaults) in ACTIVATIONS.items():
    _activation(_name, _body, _defaults)


@importer("Gelu")
def _(ctx, x):
    return op.gelu(x, approximate=choice(ctx, "approximate", "none", "tanh"))


@importer("PRelu")
def _(ctx, x, slope):
    if ctx.opset < 7 and slope.ndim == 1 and slope.shape[0] > 1:  # one for each channel
        slope = op.reshape(slope, shape=(-1, *(1,) * (x.ndim - 2)))
    return op.where(op.less(x, 0), x * slope, x)


@importer("Shrink")
def _(ctx, x):
    lambd, bias = ctx.attr("lambd", 0.5), ctx.attr("bias", 0.0)
    zero = op.zeros_like(x)
    return op.where(op.less(x, -lambd), x + bias, op.where(op.greater(x, lambd), x - bias, zero))


# Softmax ----------------------------------------------------------------------------------------------------


@operator(no_gradient=True)
def hardmax(x, *, axis):
    """1 at the first largest element along an axis, 0 elsewhere."""
    places = jnp.expand_dims(jnp.argmax(x, axis), axis)
    return (jnp.expand_dims(jnp.arange(x.shape[axis]), [a for a in range(x.ndim) if a != axis % x.ndim])
            == places).astype(x.dtype)


_NORMALIZED: dict[str, Callable[..., Any]] = {"Softmax": op.softmax, "LogSoftmax": op.log_softmax, "Hardmax": hardmax}


def _normalized(name: str, body: Callable[..., Any]) -> None:
    @importer(name, since=13)
    def _(ctx, x):
        return body(x, axis=ctx.attr("axis", -1))

    @importer(name)
    def _(ctx, x):
        """Before version 13: over all axes from this one on."""
        axis = ctx.attr("axis", 1)
        axis += x.ndim if axis < 0 else 0
        if axis == x.ndim - 1:
            return body(x, axis=-1)
        rows = op.reshape(x, shape=(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        return op.reshape(body(rows, axis=-1), shape=x.shape)


for _name, _body in _NORMALIZED.items():
    _normalized(_name, _body)


# Dropout ----------------------------------------------------------------------------------------------------


def _kept(ctx: Any, x: Any, mask_dtype: Any) -> Any:
    """The input as it is, and a mask of ones where somebody reads it."""
    return x, np.ones(x.shape, mask_dtype) if ctx.wants(1) else None


def _dropped(ctx: Any, x: Any, p: float, mask_dtype: Any) -> Any:
    if p == 0.0:
        return _kept(ctx, x, mask_dtype)
    if not ctx.wants(1):
        return op.dropout(x, ctx.random_key(), p=p)
    kept = op.bernoulli(ctx.random_key(), 1.0 - p, x.shape)
    scale = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    return op.where(kept, x * scale, op.zeros_like(x)), op.cast(kept, dtype=mask_dtype)


@importer("Dropout", since=12, fold=False)
def _(ctx, x, ratio=None, training=None):
    if not (ctx.training or (training is not None and ctx.number(training, "training_mode"))):
        return _kept(ctx, x, bool)
    p = ctx.number(ratio, "ratio")
    return _dropped(ctx, x, 0.5 if p is None else p, bool)


@importer("Dropout", fold=False)
def _(ctx, x):
    mask_dtype = bool if ctx.opset >= 10 else x.dtype
    if ctx.training:
        return _dropped(ctx, x, ctx.attr("ratio", 0.5), mask_dtype)
    return _kept(ctx, x, mask_dtype)
