"""Linear algebra: products, solving, decompositions, diagonals. Leading axes of matrices are batch axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Engine, Node
from .arguments import node_of
from .registry import builtin
from .shape import broadcast_to, reshape, sum_to, transpose


def permuted(x: Node, axes: Sequence[int]) -> Node:
    """x with its axes permuted; no node when they keep their order."""
    return x if list(axes) == list(range(x.ndim)) else transpose(x, axes=tuple(axes))


def _swapped(x: Node) -> Node:
    """The matrices of x, transposed."""
    axes = tuple(range(x.ndim))
    return transpose(x, axes=(*axes[:-2], axes[-1], axes[-2]))


def _over_last(x: Node, count: int = 1) -> Node:
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
    into_left = matmul(g, _swapped(b))
    into_b = matmul(_swapped(left), g)
    return reshape(sum_to(into_left, shape=left.shape), shape=a.shape), sum_to(into_b, shape=b.shape)


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
    spread = broadcast_to(_over_last(g), shape=(*g.shape, max(0, min(rows, columns))))
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


# Solving --------------------------------------------------------------------------------------------------


@builtin
def inv(x):
    """The inverse of square matrices: y x = 1.

    Args:
        x: (..., n, n). A singular matrix gives infinities or NaN, not an error.

    Raises:
        ShapeError: when the matrices are not square.

    >>> from zkynet.framework import op
    >>> op.inv([[2.0, 0.0], [0.0, 4.0]]).value.tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return jnp.linalg.inv(x)


@inv.def_vjp
def _(g, y, x):
    back = _swapped(y)
    return (-matmul(back, matmul(g, back)),)


@builtin
def solve(a, b):
    """The solution of the linear equations a y = b, by LU decomposition with pivoting.

    Args:
        a: (..., n, n).
        b: a vector (n,), or matrices (..., n, k); batch axes are broadcast. As in NumPy 2, only a `b` of
            rank 1 is a vector.

    Raises:
        ShapeError: when the shapes do not fit.

    >>> from zkynet.framework import op
    >>> op.solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0]).value.tolist()
    [0.5, 0.25]
    """
    return _batched(jnp.linalg.solve, a, b)


def _batched(body: Any, a: jax.Array, b: jax.Array) -> jax.Array:
    """Solve with the batch axes of both broadcast, and a vector taken as one column."""
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"needs square matrices, but a has shape {a.shape}")
    if not b.ndim or b.shape[-min(2, b.ndim)] != a.shape[-1]:
        raise ValueError(f"matrices of {a.shape[-1]} rows need a right-hand side of as many, but b has shape {b.shape}")
    dtype = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    columns = (b[:, None] if b.ndim == 1 else b).astype(dtype)
    batch = jnp.broadcast_shapes(a.shape[:-2], columns.shape[:-2])
    out = body(jnp.broadcast_to(a.astype(dtype), (*batch, *a.shape[-2:])),
               jnp.broadcast_to(columns, (*batch, *columns.shape[-2:])))
    return out[..., 0] if b.ndim == 1 else out


@solve.def_vjp
def _(g, y, a, b):
    into_columns, into_a = _pull_solution(solve(_swapped(a), _as_columns(g, b)), _as_columns(y, b))
    return sum_to(into_a, shape=a.shape), _like_right_side(into_columns, b)


def _as_columns(x: Node, b: Node) -> Node:
    return _over_last(x) if b.ndim == 1 else x


def _pull_solution(into_columns: Node, y: Node) -> tuple[Node, Node]:
    return into_columns, -matmul(into_columns, _swapped(y))


def _like_right_side(into_columns: Node, b: Node) -> Node:
    columns = (*b.shape, 1) if b.ndim == 1 else b.shape
    return reshape(sum_to(into_columns, shape=columns), shape=b.shape)


@builtin
def solve_triangular(a, b, *, lower=False, trans=False):
    """The solution of a y = b (of a^T y = b with `trans`) for triangular a; only that triangle is read.

    Args:
        a: (..., n, n), lower or upper (the default) triangular.
        b: a vector (n,), or matrices (..., n, k); batch axes are broadcast.

    Raises:
        ShapeError: when the shapes do not fit.

    >>> from zkynet.framework import op
    >>> op.solve_triangular([[2.0, 0.0], [1.0, 1.0]], [2.0, 2.0], lower=True).value.tolist()
    [1.0, 1.0]
    """
    return _batched(lambda a, b: jax.lax.linalg.triangular_solve(a, b, left_side=True, lower=lower, transpose_a=trans),
                    a, b)


@solve_triangular.def_vjp
def _(g, y, a, b, *, lower, trans):
    into_columns, into_a = _pull_solution(
        solve_triangular(a, _as_columns(g, b), lower=lower, trans=not trans), _as_columns(y, b))
    into_a = _swapped(into_a) if trans else into_a
    return sum_to((tril if lower else triu)(into_a), shape=a.shape), _like_right_side(into_columns, b)


@builtin
def cholesky(x):
    """The lower triangular L with L L^T = x, of symmetric positive definite matrices.

    Both triangles count: the decomposition is that of (x + x^T) / 2, so the gradient is symmetric. A matrix
    that is not positive definite gives NaN. The rule is the level-3 form of Murray, "Differentiation of the
    Cholesky decomposition", 2016.

    Raises:
        ShapeError: when the matrices are not square.

    >>> from zkynet.framework import op
    >>> op.cholesky([[4.0, 0.0], [0.0, 9.0]]).value.tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    return jnp.linalg.cholesky(x)


@cholesky.def_vjp
def _(g, y, x):
    product = matmul(_swapped(y), g)
    half = (tril(product) + tril(product, k=-1)) * 0.5  # the lower triangle, with its diagonal halved
    left = solve_triangular(y, half, lower=True, trans=True)
    both = _swapped(solve_triangular(y, _swapped(left), lower=True, trans=True))
    return ((both + _swapped(both)) * 0.5,)


# Determinants ---------------------------------------------------------------------------------------------


@builtin
def det(x):
    """The determinant of square matrices (..., n, n).

    The gradient is the cofactor matrix, which is right for singular matrices too; second derivatives need
    an invertible one.

    Raises:
        ShapeError: when the matrices are not square.

    >>> from zkynet.framework import op
    >>> float(op.det([[2.0, 0.0], [0.0, 4.0]]).value)
    8.0
    """
    return jnp.linalg.det(x)


@det.def_vjp
def _(g, y, x):
    return (_over_last(g, 2) * cofactor(x),)


@builtin
def cofactor(x):
    """The cofactor matrices d det(x) / d x = det(x) x^-T, finite for singular x as well.

    From the singular values: x = U S V^T has the cofactors det(U) det(V) U C V^T, where C_ii is the product
    of all singular values but the i-th.
    """
    u, s, vt = jnp.linalg.svd(x)
    ones = jnp.ones_like(s[..., :1])
    before = jnp.cumprod(jnp.concatenate([ones, s[..., :-1]], -1), -1)
    after = jnp.cumprod(jnp.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    sign = jnp.linalg.det(u) * jnp.linalg.det(vt)
    return (u * (before * after * sign[..., None])[..., None, :]) @ vt


@cofactor.def_vjp
def _(g, y, x):
    inverse = _swapped(inv(x))
    along = sum_to(g * inverse, shape=(*x.shape[:-2], 1, 1))
    return (along * y - matmul(matmul(inverse, _swapped(g)), y),)


@builtin
def slogdet(x):
    """(sign, log |det x|) of square matrices: where the determinant itself would over- or underflow.

    The sign is constant (its gradient is zero); a singular matrix gives 0 and -inf.

    Raises:
        ShapeError: when the matrices are not square.

    >>> from zkynet.framework import op
    >>> [float(part.value) for part in op.slogdet([[1.0, 0.0], [0.0, -1.0]])]
    [-1.0, 0.0]
    """
    return tuple(jnp.linalg.slogdet(x))


@slogdet.def_vjp
def _(g, y, x):
    return (_over_last(g[1], 2) * _swapped(inv(x)),)


Engine.symbols.update(matmul=matmul)

__all__ = [
    "cholesky", "cofactor", "det", "diag", "diagonal", "dot", "embed_diagonal", "inner", "inv", "matmul", "outer",
    "slogdet", "solve", "solve_triangular", "tensordot", "trace", "tril", "triu",
]
