"""Import rules of quantised arithmetic."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ...framework import op
from ...framework.operator import operator
from ...framework.operators.conv import conv
from .import_conv import windows
from .import_registry import dtype_of, importer

_INT32 = np.dtype("int32")


# Scales -----------------------------------------------------------------------------------------------------


def _spread(value: Any, x: Any, axis: int, block: int) -> Any:
    """A scale or zero point so that it broadcasts to x: one for all, for each index of an axis, or for each block."""
    if value is None or value.ndim == 0 or (value.ndim == 1 and value.shape[0] == 1 and not block):
        return value if value is None or value.ndim == 0 else op.reshape(value, shape=())
    axis %= x.ndim
    if not block:
        if value.ndim == x.ndim:
            return value
        return op.reshape(value, shape=tuple([-1 if a == axis else 1 for a in range(x.ndim)]))
    length = x.shape[axis]
    whole = op.repeat(value, block, axis=axis)
    if whole.shape[axis] == length:
        return whole
    return whole[(slice(None),) * axis + (slice(0, length),)]


def _limits(dtype: np.dtype) -> tuple[float, float]:
    info = jnp.iinfo(dtype) if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo(dtype)
    return float(info.min), float(info.max)


@operator(no_gradient=True)
def quantized(x, scale, zero, *, dtype, saturate=True):
    """saturate(round(x / scale) + zero) as an integer type; without rounding and in its own precision as float8."""
    low, high = _limits(dtype)
    scaled = x / scale
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.clip(jnp.round(scaled) + zero.astype(scaled.dtype), low, high).astype(dtype)
    scaled = scaled + zero.astype(scaled.dtype)
    return (jnp.clip(scaled, low, high) if saturate else scaled).astype(dtype)


@importer("QuantizeLinear")
def _(ctx, x, scale, zero=None):
    axis, block = ctx.attr("axis", 1), ctx.attr("block_size", 0)
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = dtype_of(ctx.attr("output_dtype", 0) or 2)
        zero = np.zeros((), np.int32)
    precision = ctx.attr("precision", 0)
    wide = dtype_of(precision) if precision else scale.dtype
    scale = _spread(scale, x, axis, block)
    return quantized(op.cast(x, dtype=wide), op.cast(scale, dtype=wide), _spread(zero, x, axis, block),
                     dtype=np.dtype(dtype), saturate=bool(ctx.attr("saturate", 1)))


@importer("DequantizeLinear")
def _(ctx, x, scale, zero=None):
    axis, block = ctx.attr("axis", 1), ctx.attr("block_size", 0)
    chosen = ctx.attr("output_dtype", 0)
    dtype = dtype_of(chosen) if chosen else scale.dtype
    narrow = jnp.issubdtype(x.dtype, jnp.integer)
    value = op.cast(x, dtype=_INT32 if narrow else dtype)
    if zero is not None:
        value = value - op.cast(_spread(zero, x, axis, block), dtype=value.dtype)
    return op.cast(value, dtype=dtype) * op.cast(_spread(scale, x, axis, block), dtype=dtype)


@importer("DynamicQuantizeLinear")
def _(ctx, x):
    low, high = op.minimum(op.min(x), 0.0), op.maximum(op.max(x), 0.0)
    scale = (high - low) / 255.0
    scale = op.where(op.equal(scale, 0.0), op.ones_like(scale), scale)
    zero = op.cast(op.clip(op.round(-low / scale), 0.0, 255.0), dtype=np.dtype("uint8"))
    return quantized(x, scale, zero, dtype=np.dtype("uint8")), scale, zero


# Products ---------------------------------------------------------------------------------------------------


def _centred(x: Any, zero: Any, shape: tuple[int, ...] | None = None) -> Any:
    """x minus its zero point, in int32."""
    x = op.cast(x, dtype=_INT32)
    if zero is None:
        return x
    zero = op.cast(zero, dtype=_INT32)
    return x - (op.reshape(zero, shape=shape) if shape is not None and zero.ndim == 1 else zero)


def _result(total: Any, scale: Any, y_scale: Any, y_zero: Any) -> Any:
    """An int32 sum of products in the output's quantisation."""
    return quantized(op.cast(total, dtype=np.dtype("float32")) * op.cast(scale, dtype=np.dtype("float32")),
                     op.cast(y_scale, dtype=np.dtype("float32")), y_zero, dtype=np.dtype(y_zero.dtype))


def _rows(value: Any, matrix: Any) -> Any:
    """A scale or zero point for each row, as a column."""
    return op.reshape(value, shape=(-1, 1)) if value is not None and value.ndim == 1 and matrix.ndim > 1 else value


@importer("MatMulInteger")
def _(ctx, a, b, a_zero=None, b_zero=None):
    return op.matmul(_centred(a, _rows(a_zero, a)), _centred(b, b_zero))


@importer("QLinearMatMul")
def _(ctx, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    total = op.matmul(_centred(a, _rows(a_zero, a)), _centred(b, b_zero))
    return _result(total, op.mult(_rows(a_scale, a), b_scale), y_scale, y_zero)


def _convolved(ctx: Any, x: Any, weight: Any) -> Any:
    how = windows(ctx, x.shape[2:], weight.shape[2:])
    return conv(x, weight, stride=how.stride, padding=how.pads, dilation=how.dilation, groups=ctx.attr("group", 1))


def _each_output(value: Any, weight: Any) -> tuple[int, ...]:
    return (-1, *(1,) * (weight.ndim - 1))


@importer("ConvInteger")
def _(ctx, x, weight, x_zero=None, w_zero=None):
    shape = _each_output(w_zero, weight)
    return _convolved(ctx, _centred(x, x_zero, ()), _centred(weight, w_zero, shape))


@importer("QLinearConv")
def _(ctx, x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero, bias=None):
    shape = _each_output(w_zero, weight)
    total = _convolved(ctx, _centred(x, x_zero, ()), _centred(weight, w_zero, shape))
    if bias is not None:
        total = op.add_channels(total, bias)
    if w_scale.ndim == 1:
        w_scale = op.reshape(w_scale, shape=shape[:-1])
    return _result(total, op.mult(x_scale, w_scale), y_scale, y_zero)
