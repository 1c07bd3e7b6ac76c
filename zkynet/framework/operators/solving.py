"""Linear algebra: inverses, linear equations, decompositions, determinants; on batches of matrices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..nodes import Node
from .linalg import matmul, matrix_transpose, over_last, tril, triu
from .registry import builtin
from .shape import reshape, sum_to

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
    back = matrix_transpose(y)
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
    into_columns, into_a = _pull_solution(solve(matrix_transpose(a), _as_columns(g, b)), _as_columns(y, b))
    return sum_to(into_a, shape=a.shape), _like_right_side(into_columns, b)


def _as_columns(x: Node, b: Node) -> Node:
    return over_last(x) if b.ndim == 1 else x


def _pull_solution(into_columns: Node, y: Node) -> tuple[Node, Node]:
    return into_columns, -matmul(into_columns, matrix_transpose(y))


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
    into_a = matrix_transpose(into_a) if trans else into_a
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
    product = matmul(matrix_transpose(y), g)
    half = (tril(product) + tril(product, k=-1)) * 0.5  # the lower triangle, with its diagonal halved
    left = solve_triangular(y, half, lower=True, trans=True)
    both = matrix_transpose(solve_triangular(y, matrix_transpose(left), lower=True, trans=True))
    return ((both + matrix_transpose(both)) * 0.5,)


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
    return (over_last(g, 2) * cofactor(x),)


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
    inverse = matrix_transpose(inv(x))
    along = sum_to(g * inverse, shape=(*x.shape[:-2], 1, 1))
    return (along * y - matmul(matmul(inverse, matrix_transpose(g)), y),)


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
    return (over_last(g[1], 2) * matrix_transpose(inv(x)),)


__all__ = ["cholesky", "cofactor", "det", "inv", "slogdet", "solve", "solve_triangular"]
