"""Import rules of indexing: gathering and scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...framework import op
from ...framework.operator import operator
from .import_registry import importer


def _wrapped(indices: Any, length: int) -> Any:
    """Positions counted from the start."""
    if isinstance(indices, np.ndarray):
        return np.where(indices < 0, indices + length, indices)
    return op.where(op.less(indices, 0), op.add(indices, length), indices)


# Gathering --------------------------------------------------------------------------------------------------


@importer("Gather")
def _(ctx, x, indices):
    axis = ctx.attr("axis", 0) % x.ndim
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return x[(*[slice(None)] * axis, int(indices))]
    return op.take(x, indices, axis=axis)


@importer("GatherElements")
def _(ctx, x, indices):
    return op.gather(x, indices, axis=ctx.attr("axis", 0) % x.ndim)


@importer("GatherND")
def _(ctx, x, indices):
    batch = ctx.attr("batch_dims", 0)
    return op.getitem(x, _position(x, indices, batch))  # x[...] of an array of the file would compute the positions


def _position(x: Any, indices: Any, batch: int) -> tuple:
    """What NumPy indexes with, for positions along the last axis of `indices`, after shared batch axes."""
    depth = indices.shape[-1]
    free = indices.ndim - 1
    grid = tuple(np.arange(n).reshape([n if i == a else 1 for i in range(free)])
                 for a, n in enumerate(x.shape[:batch]))
    return (*grid, *[_wrapped(indices[..., i], x.shape[batch + i]) for i in range(depth)])


@importer("Compress")
def _(ctx, x, condition):
    chosen = np.flatnonzero(ctx.static(condition, "the condition of Compress"))
    axis = ctx.attr("axis", None)
    if axis is None:
        return op.take(op.reshape(x, shape=(-1,)), chosen, axis=0)
    return op.take(x, chosen, axis=axis % x.ndim)


@importer("ArrayFeatureExtractor", domain="ai.onnx.ml")
def _(ctx, x, indices):
    made = op.take(x, op.reshape(indices, shape=(-1,)), axis=x.ndim - 1)
    return op.reshape(made, shape=(1, -1)) if x.ndim == 1 else made


# Scattering -------------------------------------------------------------------------------------------------
# Sums and replacements have gradients; products and extremes are composed so that theirs follow.

_REDUCERS = {"add": "add", "mul": "multiply", "max": "max", "min": "min"}


@operator(no_gradient=("positions",))
def combined(x, values, *positions, reduction):
    """x with `values` combined into the elements at `positions`: "multiply", "max" or "min"."""
    return getattr(x.at[positions], reduction)(values)


@combined.def_vjp
def _(g, y, x, values, *positions, reduction):
    """Of max and min: to the elements that are the result, in equal parts. Of products: what the others multiply to,
    where no factor is zero."""
    there = y[positions]
    if reduction == "multiply":
        return (g * _quotient(y, x), g[positions] * _quotient(there, values), *positions)
    own = op.cast(op.equal(x, y), dtype=g.dtype)
    others = op.cast(op.equal(values, there), dtype=g.dtype)
    share = g / op.maximum(op.add_at(own, positions, others), 1.0)
    return (share * own, share[positions] * others, *positions)


def _quotient(product: Any, factor: Any) -> Any:
    zero = op.equal(factor, 0.0)
    return op.where(zero, 0.0, product / op.where(zero, 1.0, factor))


def scattered(x: Any, positions: tuple, values: Any, reduction: str) -> Any:
    """x with `values` at NumPy positions: replaced ("none"), or combined with what is there."""
    if reduction == "none":
        return op.set_at(x, positions, values)
    if reduction == "add":
        return op.add_at(x, positions, values)
    shape = np.broadcast_shapes(*[tuple(p.shape) for p in positions])
    nodes = [op.broadcast_to(p, shape=shape) for p in positions]
    return combined(x, values, *nodes, reduction=_REDUCERS[reduction])


@importer("ScatterElements", "Scatter")
def _(ctx, x, indices, updates):
    axis = ctx.attr("axis", 0) % x.ndim
    grid: list[Any] = [np.arange(n).reshape([n if i == a else 1 for i in range(x.ndim)])
                       for a, n in enumerate(indices.shape)]
    grid[axis] = _wrapped(indices, x.shape[axis])
    return scattered(x, tuple(grid), updates, ctx.attr("reduction", "none"))


@importer("ScatterND")
def _(ctx, x, indices, updates):
    return scattered(x, _position(x, indices, 0), updates, ctx.attr("reduction", "none"))


@importer("TensorScatter")
def _(ctx, past, update, starts=None):
    """Writes each batch element's update into its cache from its start on."""
    axis = ctx.attr("axis", -2) % past.ndim
    count, length = update.shape[axis], past.shape[axis]
    steps = np.arange(count, dtype=np.int32).reshape([count if i == axis else 1 for i in range(past.ndim)])
    if starts is not None:
        first = op.reshape(op.cast(starts, dtype=np.int32), shape=(-1, *[1] * (past.ndim - 1)))
        steps = first + steps
    if ctx.attr("mode", "linear") == "circular":
        steps = op.remainder(steps, length)
    grid: list[Any] = [np.arange(n).reshape([n if i == a else 1 for i in range(past.ndim)])
                       for a, n in enumerate(update.shape)]
    grid[axis] = steps
    return op.set_at(past, tuple(grid), update)
