"""Rules of linear algebra: products, diagonals, and what is solved by elimination."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from .export_graph import Graph, Value
from .export_rules import by_nodes, in_dtype, numeric, rule

# Products ---------------------------------------------------------------------------------------------------


@rule("matmul")
def _matmul(graph: Graph, a: Value, b: Value) -> Any:
    return in_dtype(graph, "MatMul", numeric(graph.out.dtype), a, b)


@rule("linear")
def _linear(graph: Graph, x: Value, weight: Value, bias: Value) -> str:
    dtype = graph.out.dtype
    x, weight, bias = (graph.cast(part, dtype) for part in (x, weight, bias))
    if x.ndim == 2 and bias.ndim == 1:
        return graph.add("Gemm", x, weight, bias, transB=1)
    return graph.add("Add", graph.add("MatMul", x, graph.add("Transpose", weight, perm=[1, 0])), bias)


def _summed(a: Any, b: Any, axes: Any) -> tuple[list[int], list[int]]:
    """The axes that are summed over, of both."""
    if isinstance(axes, int):
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    ours, theirs = ([side] if isinstance(side, int) else side for side in axes)
    return [axis % a.ndim for axis in ours], [axis % b.ndim for axis in theirs]


@by_nodes("tensordot")
def _tensordot(a: Any, b: Any, *, axes: Any) -> Any:
    """The summed axes last in a and first in b; as matrices, unless they are so already."""
    ours, theirs = _summed(a, b, axes)
    left = [axis for axis in range(a.ndim) if axis not in ours]
    right = [axis for axis in range(b.ndim) if axis not in theirs]
    a, b = op.transpose(a, axes=(*left, *ours)), op.transpose(b, axes=(*theirs, *right))
    if len(ours) == 1 and a.ndim > 1 and b.ndim == 2:
        return op.matmul(a, b)
    shape = (*a.shape[:len(left)], *b.shape[len(theirs):])
    inner = math.prod(b.shape[:len(theirs)])
    matrix = op.matmul(op.reshape(a, shape=(math.prod(a.shape[:len(left)]), inner)),
                       op.reshape(b, shape=(inner, math.prod(b.shape[len(theirs):]))))
    return op.reshape(matrix, shape=shape)


@by_nodes("dot")
def _dot(a: Any, b: Any) -> Any:
    return op.tensordot(a, b, axes=((-1,), (max(b.ndim - 2, 0),))) if a.ndim and b.ndim else a * b


@by_nodes("outer")
def _outer(a: Any, b: Any) -> Any:
    return op.reshape(a, shape=(-1, 1)) * op.reshape(b, shape=(1, -1))


@rule("einsum")
def _einsum(graph: Graph, *operands: Value, subscripts: str) -> Any:
    lengths: dict[str, set] = {}
    for term, operand in zip(subscripts.split("->")[0].split(","), operands, strict=True):
        for letter, n in zip(term, operand.shape, strict=True):
            lengths.setdefault(letter, set()).add(n)
    if any(len(found) > 1 for found in lengths.values()):  # an axis of one element is broadcast
        return graph.expand(_broadcast_sum, *operands, subscripts=subscripts)
    return in_dtype(graph, "Einsum", numeric(graph.out.dtype), *operands, equation=subscripts)


def _broadcast_sum(*operands: Any, subscripts: str) -> Any:
    """The same with the axes of one element left out, where others are longer."""
    left, out = subscripts.split("->")
    terms = left.split(",")
    longest: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, n in zip(term, operand.shape, strict=True):
            longest[letter] = max(n, longest.get(letter, 0))
    given, kept = [], []
    for term, operand in zip(terms, operands, strict=True):
        keeps = [letter for letter, n in zip(term, operand.shape, strict=True) if n == longest[letter]]
        kept.append("".join(keeps))
        given.append(op.reshape(operand, shape=tuple([longest[letter] for letter in keeps])))
    return op.einsum(f"{','.join(kept)}->{out}", *given)


# Diagonals and triangles ------------------------------------------------------------------------------------


@by_nodes("diagonal")
def _diagonal(x: Any, *, offset: int, axis1: int, axis2: int) -> Any:
    x = op.moveaxis(x, source=(axis1, axis2), destination=(-2, -1))
    rows, columns = x.shape[-2:]
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    first = max(offset, 0) + max(-offset, 0) * columns
    line = op.reshape(x, shape=(*x.shape[:-2], rows * columns))
    return op.take(line, op.arange(count) * (columns + 1) + first, axis=-1)


@by_nodes("trace")
def _trace(x: Any, *, offset: int, axis1: int, axis2: int) -> Any:
    return op.sum(op.diagonal(x, offset=offset, axis1=axis1, axis2=axis2), axis=-1)


@by_nodes("embed_diagonal")
def _embed_diagonal(x: Any, *, shape: tuple, offset: int, axis1: int, axis2: int) -> Any:
    axis1, axis2 = axis1 % len(shape), axis2 % len(shape)
    rows, columns = shape[axis1], shape[axis2]
    row, column = op.expand_dims(op.arange(rows), axis=1), op.arange(columns)
    count = x.shape[-1]
    if not count:
        return op.full(shape, 0, x.dtype)
    places = op.clip(op.arange(rows) + min(offset, 0), 0, count - 1)
    wide = op.expand_dims(op.take(x, places, axis=-1), axis=-1)
    made = op.where(op.equal(column, row + offset), wide, op.full((), 0, x.dtype))
    return op.moveaxis(made, source=(-2, -1), destination=(axis1, axis2))


def _triangle(upper: bool) -> Any:
    def apply(graph: Graph, x: Value, *, k: int) -> Any:
        dtype = np.dtype("int64") if x.dtype.kind in "iu" else x.dtype
        return in_dtype(graph, "Trilu", dtype, x, np.array(k, np.int64), upper=int(upper))

    return apply


rule("tril")(_triangle(False))
rule("triu")(_triangle(True))


# Elimination ------------------------------------------------------------------------------------------------


def _columns(b: Any) -> Any:
    return op.expand_dims(b, axis=-1) if b.ndim == 1 else b


def _joined(a: Any, b: Any) -> tuple[Any, Any]:
    """Matrices and right-hand sides in one dtype, with the same leading axes."""
    dtype = np.promote_types(op.add(op.sum(a), op.sum(b)).dtype, np.float32)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (op.broadcast_to(op.cast(part, dtype), shape=(*batch, *part.shape[-2:])) for part in (a, b))
    return a, b


def _eliminated(table: Any) -> tuple[Any, Any, Any]:
    """Gauss and Jordan's elimination of the first n columns of (..., n, m), with the largest pivot of each column.

    Returns the table, whose first n columns are then those of the identity, the pivots (n, ...) and the signs (n, ...)
    of the exchanges of rows.
    """
    n = table.shape[-2]
    if not n:
        none = op.full((0, *table.shape[:-2]), 1.0, table.dtype)
        return table, none, none
    rows = op.arange(n)

    def step(table: Any, k: Any) -> Any:
        column = op.take(table, k, axis=-1)
        size = op.where(rows >= k, op.abs(column), -1.0)
        best = op.argmax(size, axis=-1, keepdims=True)  # (..., 1)
        here, there = op.equal(rows, k), op.equal(rows, best)  # (n,), (..., n)
        chosen = op.take_along_axis(table, op.expand_dims(best, axis=-1), axis=-2)  # (..., 1, m)
        row = op.expand_dims(op.take(table, k, axis=-2), axis=-2)
        table = op.where(op.expand_dims(there, axis=-1), row, table)
        pivot = op.take(chosen, k, axis=-1)  # (..., 1)
        unit = chosen / op.expand_dims(pivot, axis=-1)
        factor = op.expand_dims(op.take(table, k, axis=-1), axis=-1)
        table = op.where(op.expand_dims(here, axis=-1), unit, table - factor * unit)
        swapped = op.squeeze(op.not_equal(best, k), axis=-1)
        return table, (op.squeeze(pivot, axis=-1), op.where(swapped, -1.0, 1.0))

    table, (pivots, signs) = op.scan(step, table, op.arange(n))
    return table, pivots, signs


@by_nodes("solve")
def _solve(a: Any, b: Any) -> Any:
    wide_a, wide_b = _joined(a, _columns(b))
    table = _eliminated(op.concat(wide_a, wide_b, axis=-1))[0]
    y = op.split(table, [wide_a.shape[-1], wide_b.shape[-1]], axis=-1)[1]
    return op.squeeze(y, axis=-1) if b.ndim == 1 else y


@by_nodes("inv")
def _inv(x: Any) -> Any:
    return op.solve(x, op.eye(x.shape[-1], dtype=(x * 1.0).dtype))


@by_nodes("det")
def _det(x: Any) -> Any:
    """By elimination; of a singular matrix the last pivots are 0, and what follows must not spoil the product."""
    _, pivots, signs = _eliminated(x * 1.0)
    bad = op.any(op.equal(pivots, 0.0), axis=0)
    return op.where(bad, 0.0, op.prod(pivots * signs, axis=0))


@by_nodes("slogdet")
def _slogdet(x: Any) -> Any:
    _, pivots, signs = _eliminated(x * 1.0)
    bad = op.any(op.equal(pivots, 0.0), axis=0)
    sign = op.where(bad, 0.0, op.prod(op.sign(pivots) * signs, axis=0))
    return sign, op.where(bad, -math.inf, op.sum(op.log(op.abs(pivots)), axis=0))


@by_nodes("solve_triangular")
def _solve_triangular(a: Any, b: Any, *, lower: bool, trans: bool) -> Any:
    """Row by row: each unknown from those before it."""
    wide_a, wide_b = _joined(a, _columns(b))
    n = wide_a.shape[-1]
    triangle = (op.tril if lower else op.triu)(wide_a)
    triangle = op.swapaxes(triangle, axis1=-1, axis2=-2) if trans else triangle
    rows = op.arange(n)

    def step(y: Any, k: Any) -> Any:
        line = op.take(triangle, k, axis=-2)  # (..., n)
        known = op.where(op.equal(rows, k), 0.0, line)
        total = op.matmul(op.expand_dims(known, axis=-2), y)  # (..., 1, columns)
        pivot = op.expand_dims(op.expand_dims(op.take(line, k, axis=-1), axis=-1), axis=-1)
        value = (op.expand_dims(op.take(wide_b, k, axis=-2), axis=-2) - total) / pivot
        return op.where(op.expand_dims(op.equal(rows, k), axis=-1), value, y), 0.0

    y = op.scan(step, op.zeros_like(wide_b), rows, reverse=lower == trans)[0]
    return op.squeeze(y, axis=-1) if b.ndim == 1 else y


@by_nodes("cholesky")
def _cholesky(x: Any) -> Any:
    """Column by column: what is left of x after the columns before, over the root of its diagonal element."""
    x = (x + op.swapaxes(x, axis1=-1, axis2=-2)) * 0.5
    n = x.shape[-1]
    rows = op.arange(n)

    def step(y: Any, k: Any) -> Any:
        line = op.take(y, k, axis=-2)  # of the columns so far
        column = op.take(x, k, axis=-1) - op.squeeze(op.matmul(y, op.expand_dims(line, axis=-1)), axis=-1)
        column = column / op.sqrt(op.expand_dims(op.take(column, k, axis=-1), axis=-1))
        column = op.expand_dims(op.where(rows < k, 0.0, column), axis=-1)
        return op.where(op.equal(rows, k), column, y), 0.0

    return op.scan(step, op.zeros_like(x), rows)[0]


