"""Import rules of normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from ...framework.operators.conv import conv
from .import_registry import importer

# Batch normalisation ----------------------------------------------------------------------------------------


@importer("BatchNormalization")
def _(ctx, x, scale, bias, mean, variance):
    eps, shape = ctx.attr("epsilon", 1e-5), x.shape
    held = mean, variance
    if ctx.opset < 9 and not ctx.attr("spatial", 1):  # statistics for each element instead of each channel
        x = op.reshape(x, shape=(shape[0], -1))
        scale, bias, mean, variance = (op.reshape(v, shape=(-1,)) for v in (scale, bias, mean, variance))
    elif x.ndim == 1:
        x = op.reshape(x, shape=(-1, 1))
    if not (ctx.training or _asks_for_training(ctx)):
        y = op.standardize(x, mean, variance, scale, bias, eps)
        return (y if y.shape == shape else op.reshape(y, shape=shape)), *held, *held
    axes = tuple(a for a in range(x.ndim) if a != 1)
    y = op.normalize(x, scale, bias, axis=axes, eps=eps, along=1)
    y = y if y.shape == shape else op.reshape(y, shape=shape)
    if not (ctx.training or ctx.wants(1)):
        return y
    wide = _wide(x)
    count = math.prod([x.shape[a] for a in axes])
    news = op.mean(wide, axis=axes), op.var(wide, axis=axes, ddof=int(ctx.training and ctx.unbiased and count > 1))
    moved = [_moved(ctx, *pair) for pair in zip(held, news, strict=True)]
    if ctx.training:
        for index, value in zip((3, 4), moved, strict=True):
            state = ctx.state(index)
            if state is not None:
                state.value = value
    return y, *moved, *news


def _asks_for_training(ctx: Any) -> bool:
    """Whether the file itself wants the batch's statistics."""
    if ctx.opset >= 14:
        return bool(ctx.attr("training_mode", 0))
    return not ctx.attr("is_test", 0) and ctx.wants(1)


def _moved(ctx: Any, held: Any, new: Any) -> Any:
    """The running statistic after one more batch."""
    momentum = ctx.attr("momentum", 0.9)
    new = op.reshape(new, shape=held.shape)
    return op.cast(held * momentum + new * (1.0 - momentum), dtype=held.dtype)


def _wide(x: Any) -> Any:
    """Half precision as float32, whose sums are exact enough."""
    return x if x.dtype.itemsize > 2 else op.cast(x, dtype=np.dtype("float32"))


# Normalisation of single examples ---------------------------------------------------------------------------


def _scaled(x: Any, scale: Any, bias: Any, axis: int, eps: float, center: bool) -> Any:
    """Normalised over the axes from one on; scale and bias broadcast to x."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    whole = x.shape[axes[0]:]
    if scale.shape == whole and (bias is None or bias.shape == whole):
        return op.normalize(x, scale, bias, axis=axes, eps=eps, center=center)
    y = op.normalize(x, axis=axes, eps=eps, center=center) * scale
    return y if bias is None else y + bias


@importer("LayerNormalization")
def _(ctx, x, scale, bias=None):
    axis, eps = ctx.attr("axis", -1), ctx.attr("epsilon", 1e-5)
    y = _scaled(x, scale, bias, axis, eps, center=True)
    if not (ctx.wants(1) or ctx.wants(2)):
        return y
    wide, axes = _wide(x), tuple(range(axis % x.ndim, x.ndim))
    return (y, op.mean(wide, axis=axes, keepdims=True),
            op.rsqrt(op.var(wide, axis=axes, keepdims=True) + eps))


@importer("RMSNormalization")
def _(ctx, x, scale):
    return _scaled(x, scale, None, ctx.attr("axis", -1), ctx.attr("epsilon", 1e-5), center=False)


@importer("InstanceNormalization")
def _(ctx, x, scale, bias):
    return op.normalize(x, scale, bias, axis=tuple(range(2, x.ndim)), eps=ctx.attr("epsilon", 1e-5), along=1)


@importer("GroupNormalization", since=18)
def _(ctx, x, scale, bias):
    groups = ctx.attr("num_groups")
    # Scale and bias are for each group before version 21, for each channel since then.
    along = (1, 2) if ctx.opset >= 21 else 1
    grouped = op.reshape(x, shape=(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    y = op.normalize(grouped, scale, bias, axis=tuple(range(2, grouped.ndim)), eps=ctx.attr("epsilon", 1e-5),
                     along=along)
    return op.reshape(y, shape=x.shape)


@importer("MeanVarianceNormalization")
def _(ctx, x):
    axes = tuple(ctx.attr("axes", None) or (0, 2, 3))
    return op.normalize(x, axis=axes, eps=1e-18)  # ONNX adds 1e-9 to the standard deviation


@importer("LpNormalization")
def _(ctx, x):
    axis, p = ctx.attr("axis", -1), ctx.attr("p", 2)
    if p == 1:
        norm = op.sum(op.abs(x), axis=axis, keepdims=True)
        return x / op.where(op.equal(norm, 0), op.ones_like(norm), norm)
    squares = op.sum(op.square(x), axis=axis, keepdims=True)
    return x / op.sqrt(op.where(op.equal(squares, 0), op.ones_like(squares), squares))


@importer("LRN")
def _(ctx, x):
    size = ctx.attr("size")
    rows = op.reshape(op.square(x), shape=(x.shape[0], 1, x.shape[1], -1))
    sums = conv(rows, np.ones((1, 1, size, 1), x.dtype), stride=(1, 1), padding=(((size - 1) // 2, size // 2), (0, 0)),
                dilation=(1, 1), groups=1)
    scale = op.reshape(sums, shape=x.shape) * (ctx.attr("alpha", 1e-4) / size) + ctx.attr("bias", 1.0)
    return x * op.power(scale, -ctx.attr("beta", 0.75))
