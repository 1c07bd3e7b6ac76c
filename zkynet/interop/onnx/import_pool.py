"""Import rules of pooling."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...framework import op
from ...framework.operator import operator
from ...framework.operators.conv import conv
from .import_conv import Windows, windows
from .import_registry import importer

_MAX_POOL = {1: op.max_pool1d, 2: op.max_pool2d, 3: op.max_pool3d}


# Max --------------------------------------------------------------------------------------------------------


def _lowest(dtype: Any) -> float | int:
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else -math.inf


def _symmetric(how: Windows) -> bool:
    """Whether these are windows that PyTorch can describe: padded alike on both sides, by half of them at most."""
    return all(a == b and 2 * a <= reach for (a, b), reach in zip(how.pads, how.reach, strict=True))


@importer("MaxPool")
def _(ctx, x):
    size = x.shape[2:]
    how = windows(ctx, size)
    filled, pool = how.filled(size), _MAX_POOL[len(size)]
    node, padding, before = x, 0, (0,) * len(size)
    if _symmetric(how) and all(after <= b for (_, after), (_, b) in zip(filled, how.pads, strict=True)):
        padding = tuple([a for a, _ in how.pads])
    else:
        widths = {2 + axis: pair for axis, pair in enumerate(filled)}
        node, before = op.pad(x, widths, value=_lowest(x.dtype)), tuple([a for a, _ in filled])
    made = pool(node, how.kernel, how.stride, padding, how.dilation, return_indices=ctx.wants(1))
    if not ctx.wants(1):
        return made
    y, places = made
    return y, flat_places(places, before=before, padded=node.shape[2:], shape=x.shape,
                          columns=bool(ctx.attr("storage_order", 0)))


@operator(no_gradient=True)
def flat_places(places, *, before, padded, shape, columns):
    """Positions in padded planes as positions in the flattened input, whose planes are laid out by rows or columns."""
    found = [axis - b for axis, b in zip(jnp.unravel_index(places, padded), before, strict=True)]
    size = shape[2:]
    order = range(len(size)) if columns else range(len(size) - 1, -1, -1)
    total, step = 0, 1
    for axis in order:
        total, step = total + found[axis] * step, step * size[axis]
    planes = jnp.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * len(size))
    return (planes * step + total).astype(jnp.result_type(int))


@importer("MaxUnpool")
def _(ctx, x, places, output_shape=None):
    space = x.ndim - 2
    kernel, flat = ctx.attr("kernel_shape"), ctx.attr("pads", None) or (0,) * (2 * space)
    stride = ctx.attr("strides", None) or (1,) * space
    size = tuple([(n - 1) * s - flat[a] - flat[a + space] + k
                  for a, (n, s, k) in enumerate(zip(x.shape[2:], stride, kernel, strict=True))])
    shape = (*x.shape[:2], *size)
    y = op.set_at(op.zeros((math.prod(shape),), x.dtype), op.reshape(places, shape=(-1,)), op.reshape(x, shape=(-1,)))
    y = op.reshape(y, shape=shape)
    wanted = ctx.ints(output_shape, "output_shape")
    if wanted is None or wanted[-space:] == size:
        return y
    return op.pad(y, {2 + a: (0, m - n) for a, (m, n) in enumerate(zip(wanted[-space:], size, strict=True))})


# Sums -------------------------------------------------------------------------------------------------------


def _sums(x: Any, how: Windows) -> Any:
    """The sum of each window, as a convolution of every plane with ones."""
    size = x.shape[2:]
    planes = op.reshape(x, shape=(x.shape[0] * x.shape[1], 1, *size))
    ones = np.ones((1, 1, *how.kernel), x.dtype)
    sums = conv(planes, ones, stride=how.stride, padding=how.filled(size), dilation=how.dilation, groups=1)
    return op.reshape(sums, shape=(*x.shape[:2], *sums.shape[2:]))


def _elements(size: tuple[int, ...], how: Windows, with_pads: bool) -> np.ndarray:
    """How many elements each window has, in the input or in the padding too; not in what ceil_mode adds behind."""
    counts = []
    for n, k, s, d, (before, after), m in zip(size, *how, strict=True):
        places = np.arange(m)[:, None] * s + np.arange(k) * d - before
        first, last = (-before, n + after) if with_pads else (0, n)
        counts.append(((first <= places) & (places < last)).sum(1))
    return functools.reduce(np.multiply.outer, counts)


@importer("AveragePool")
def _(ctx, x):
    size = x.shape[2:]
    how = windows(ctx, size)
    counts = np.maximum(_elements(size, how, bool(ctx.attr("count_include_pad", 0))), 1)
    return _sums(x, how) / counts.astype(x.dtype)


def _root(total: Any, p: float) -> Any:
    return op.sqrt(total) if p == 2 else total if p == 1 else op.power(total, 1.0 / p)


def _powers(x: Any, p: float) -> Any:
    if p == 2:
        return op.square(x)
    return op.abs(x) if p == 1 else op.power(op.abs(x), int(p) if p == int(p) else p)


@importer("LpPool")
def _(ctx, x):
    p = ctx.attr("p", 2)
    return _root(_sums(_powers(x, p), windows(ctx, x.shape[2:])), p)


# Global -----------------------------------------------------------------------------------------------------


def _planes(x: Any) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@importer("GlobalAveragePool")
def _(ctx, x):
    return op.mean(x, axis=_planes(x), keepdims=True)


@importer("GlobalMaxPool")
def _(ctx, x):
    return op.max(x, axis=_planes(x), keepdims=True)


@importer("GlobalLpPool")
def _(ctx, x):
    p = ctx.attr("p", 2)
    return _root(op.sum(_powers(x, p), axis=_planes(x), keepdims=True), p)
