"""Linear algebra: products, diagonals and triangles. Leading axes of matrices are batch axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ..nodes import Engine, Node
from .arguments import node_of
from .registry import builtin
from .shape import broadcast_to, reshape, sum_to, transpose


def permuted(x: Node, axes: Sequence[int]) -> Node:
    """x with its axes permuted; no node when they keep their order."""
    return x if list(axes) == list(range(x.ndim)) else transpose(x, axes=tuple(axes))


def matrix_transpose(x: Node) -> Node:
    """x with its last two axes exchanged."""
    axes = tuple(range(x.ndim))
    return transpose(x, axes=(*axes[:-2], axes[-1], axes[-2]))


def over_last(x: Node, count: int = 1) -> Node:
    """x with size-1 axes appended."""
    return reshape(x, shape=x.shape + (1,) * count)


# Products -------------------------------------------------------------------------------------------------


@builtin
def tensordot(a, b, *, axes=2):
    """The sum of products over `axes`: y = sum_k a[..., k] b[k, ...].

    Args:
        a, b: arrays of any rank.
        axes: how many axes, the last of `a` with the first of `b`; or two lists, the axes of each.

    Returns:
        shape: the axes of `a` that are left, then those of `b`.

    Raises:
        ShapeError: when the axes differ in number or length.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=((1, 2), (1, 0))).shape
    (2, 5)
    """
    return jnp.tensordot(a, b, axes)


def _summed_axes(a: Node, b: Node, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    ours, theirs = ([side] if isinstance(side, int) else side for side in axes)
    return [axis % a.ndim for axis in ours], [axis % b.ndim for axis in theirs]


@tensordot.def_vjp
def _(g, y, a, b, *, axes):
    summed_a, summed_b = _summed_axes(a, b, axes)
    return _pull_product(g, a, b, summed_a, summed_b)


def _pull_product(g: Node, a: Node, b: Node, summed_a: list[int], summed_b: list[int]) -> tuple[Node, Node]:
    """Cotangents of a product whose output has the free axes of `a`, then those of `b`."""
    free_a = [axis for axis in range(a.ndim) if axis not in summed_a]
    free_b = [axis for axis in range(b.ndim) if axis not in summed_b]
    into_a = tensordot(g, b, axes=(tuple(range(len(free_a), g.ndim)), tuple(free_b)))
    into_b = tensordot(a, g, axes=(tuple(free_a), tuple(range(len(free_a)))))
    # The axes of `into_a` are: free_a, then the summed ones in b's order; of `into_b`: summed in a's order, free_b.
    a_now = free_a + [summed_a[i] for i in _argsort(summed_b)]
    b_now = [summed_b[i] for i in _argsort(summed_a)] + free_b
    return permuted(into_a, _argsort(a_now)), permuted(into_b, _argsort(b_now))


def _argsort(values: list[int]) -> list[int]:
    return sorted(range(len(values)), key=values.__getitem__)


@builtin
def dot(a, b):
    """NumPy's dot: the sum of products over the last axis of `a` and the last but one of `b` (or its only one).

    A scalar multiplies. Unlike `matmul`, leading axes are not paired: all of `a` meet all of `b`.

    Raises:
        ShapeError: when the summed axes differ in length.

    >>> from zkynet.framework import op
    >>> float(op.dot([1.0, 2.0], [3.0, 4.0]).value)
    11.0
    """
    return jnp.dot(a, b)


@dot.def_vjp
def _(g, y, a, b):
    if a.ndim == 0 or b.ndim == 0:
        return g * b, g * a
    return _pull_product(g, a, b, [a.ndim - 1], [max(b.ndim - 2, 0)])


@builtin
def matmul(a, b):
    """Matrix product y[..., i, k] = sum_j a[..., i, j] b[..., j, k]; also written `a @ b`.

    Leading axes are batch axes and are broadcast. A vector is a row on the left and a column on the right,
    and its axis is left out of the output.

    Raises:
        ShapeError: for scalars, and when the matrices or the batch axes do not fit.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.matmul(np.ones((5, 2, 3)), np.ones((3, 4))).shape
    (5, 2, 4)
    """
    return jnp.matmul(a, b)


@matmul.def_vjp
def _(g, y, a, b):
    if b.ndim <= 2:  # nothing is paired, so all leading axes of `a` are one: a single large product
        return _pull_product(g, a, b, [a.ndim - 1], [0])
    left = reshape(a, shape=(1, *a.shape)) if a.ndim == 1 else a
    g = reshape(g, shape=(*g.shape[:-1], 1, g.shape[-1])) if a.ndim == 1 else g
    into_left = matmul(g, matrix_transpose(b))
    into_b = matmul(matrix_transpose(left), g)
    return reshape(sum_to(into_left, shape=left.shape), shape=a.shape), sum_to(into_b, shape=b.shape)


@builtin(name="linear")
def affine(x, weight, bias):
    """y = x weight^T + bias."""
    return jnp.matmul(x, weight.T) + bias


@affine.def_vjp
def _(g, y, x, weight, bias):
    if x.ndim == 1:
        return tensordot(g, weight, axes=1), outer(g, x), g
    leading = tuple(range(x.ndim - 1))
    return tensordot(g, weight, axes=1), tensordot(g, x, axes=(leading, leading)), g


def linear(x: Any, weight: Any, bias: Any = None) -> Node:
    """y[..., o] = sum_i x[..., i] weight[o, i] + bias[o], as one node; the weight is laid out as in PyTorch.

    Args:
        x: (..., in); weight: (out, in); bias: (out,), or None.

    Raises:
        ShapeError: when they do not fit.

    >>> from zkynet.framework import op
    >>> op.linear([1.0, 2.0], [[1.0, 1.0], [0.0, 1.0]], [0.5, 0.5]).value.tolist()
    [3.5, 2.5]
    """
    return inner(x, weight) if bias is None else affine(x, weight, bias)


@builtin
def outer(a, b):
    """y[i, j] = a[i] b[j]; arrays of higher rank are flattened.

    >>> from zkynet.framework import op
    >>> op.outer([1.0, 2.0], [3.0, 4.0]).value.tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    return jnp.outer(a, b)


@outer.def_vjp
def _(g, y, a, b):
    rows = reshape(a, shape=(a.aval.size,))
    columns = reshape(b, shape=(b.aval.size,))
    return reshape(matmul(g, columns), shape=a.shape), reshape(matmul(rows, g), shape=b.shape)


def inner(a: Any, b: Any) -> Node:
    """The sum of products over the last axes of both: y[i, j] = sum_k a[i, k] b[j, k].

    Raises:
        ShapeError: when the last axes differ in length.

    >>> from zkynet.framework import op
    >>> op.inner([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]).value.tolist()
    [[11.0, 17.0]]
    """
    return tensordot(a, b, axes=((-1,), (-1,)))


# Diagonals and triangles ----------------------------------------------------------------------------------


@builtin
def diagonal(x, *, offset=0, axis1=0, axis2=1):
    """The diagonal of axes `axis1` and `axis2`, as a new last axis: y[..., i] = x[..., i, ..., i + offset, ...].

    >>> from zkynet.framework import op
    >>> op.diagonal([[1.0, 2.0], [3.0, 4.0]]).value.tolist()
    [1.0, 4.0]
    """
    return jnp.diagonal(x, offset, axis1, axis2)


@diagonal.def_vjp
def _(g, y, x, *, offset, axis1, axis2):
    return (embed_diagonal(g, shape=x.shape, offset=offset, axis1=axis1, axis2=axis2),)


@builtin
def embed_diagonal(x, *, shape, offset=0, axis1=0, axis2=1):
    """The transpose of `diagonal`: zeros of `shape`, whose diagonal is the last axis of x."""
    axis1, axis2 = axis1 % len(shape), axis2 % len(shape)
    rest = [axis for axis in range(len(shape)) if axis not in (axis1, axis2)]
    places = jnp.arange(x.shape[-1])
    rows, columns = places + max(-offset, 0), places + max(offset, 0)
    made = jnp.zeros([*(shape[axis] for axis in rest), shape[axis1], shape[axis2]], x.dtype)
    return jnp.transpose(made.at[..., rows, columns].set(x), _argsort([*rest, axis1, axis2]))


@embed_diagonal.def_vjp
def _(g, y, x, *, shape, offset, axis1, axis2):
    return (diagonal(g, offset=offset, axis1=axis1, axis2=axis2),)


def diag(x: Any, k: int = 0) -> Node:
    """The k-th diagonal of a matrix, or the square matrix with a vector on its k-th diagonal.

    >>> from zkynet.framework import op
    >>> op.diag([1.0, 2.0]).value.tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    node = node_of(x, "diag")
    if node.ndim == 1:
        size = node.shape[0] + abs(k)
        return embed_diagonal(node, shape=(size, size), offset=k)
    return diagonal(node, offset=k)


@builtin
def trace(x, *, offset=0, axis1=0, axis2=1):
    """The sum of a diagonal: y = sum_i x[i, i + offset], over axes `axis1` and `axis2`.

    >>> from zkynet.framework import op
    >>> float(op.trace([[1.0, 2.0], [3.0, 4.0]]).value)
    5.0
    """
    return jnp.trace(x, offset, axis1, axis2)


@trace.def_vjp
def _(g, y, x, *, offset, axis1, axis2):
    rows, columns = x.shape[axis1] + min(offset, 0), x.shape[axis2] - max(offset, 0)
    spread = broadcast_to(over_last(g), shape=(*g.shape, max(0, min(rows, columns))))
    return (embed_diagonal(spread, shape=x.shape, offset=offset, axis1=axis1, axis2=axis2),)


@builtin
def tril(x, *, k=0):
    """The lower triangle: y[..., i, j] = x[..., i, j] where j <= i + k, else 0."""
    return jnp.tril(x, k)


@tril.def_vjp
def _(g, y, x, *, k):
    return (tril(g, k=k),)


@builtin
def triu(x, *, k=0):
    """The upper triangle: y[..., i, j] = x[..., i, j] where j >= i + k, else 0."""
    return jnp.triu(x, k)


@triu.def_vjp
def _(g, y, x, *, k):
    return (triu(g, k=k),)


Engine.symbols.update(matmul=matmul)

__all__ = [
    "diag", "diagonal", "dot", "embed_diagonal", "inner", "linear", "matmul", "outer", "tensordot", "trace", "tril",
    "triu",
]
