"""Rows of operators/linalg.py, solving.py and einsum.py."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from cases import Case, sample

from zkynet.framework import op
from zkynet.framework.operators.linalg import embed_diagonal, trace
from zkynet.framework.operators.solving import cofactor


def square(*shape: int, seed: int = 0) -> np.ndarray:
    """Matrices that are far from singular."""
    return sample(*shape, seed=seed) + 2.0 * np.eye(shape[-1])


def definite(*shape: int, seed: int = 0) -> np.ndarray:
    x = sample(*shape, seed=seed)
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])


def product(name, label, a, b, **kwargs):
    ours, reference = getattr(op, name), getattr(jnp, name)
    return Case(name, lambda x, y: ours(x, y, **kwargs), lambda x, y: reference(x, y, **kwargs), (a, b), label)


def of(name, label, x, reference, **kwargs):
    ours = getattr(op, name)
    return Case(name, lambda x: ours(x, **kwargs), reference, (x,), label)


def einstein(subscripts, *shapes, label=None):
    inputs = tuple(sample(*shape, seed=i) for i, shape in enumerate(shapes))
    return Case("einsum", lambda *x: op.einsum(subscripts, *x), lambda *x: jnp.einsum(subscripts, *x), inputs,
                label or subscripts)


def triangular(b, lower, trans):
    label = f"{'lower' if lower else 'upper'}{', transposed' if trans else ''}, {b.ndim} axes"
    return Case("solve_triangular", lambda a, b: op.solve_triangular(a, b, lower=lower, trans=trans),
                lambda a, b: jsl.solve_triangular(a, b, trans=int(trans), lower=lower), (square(3, 3), b), label)


def singular_det(x):
    """The determinant of 3 x 3 matrices, written out: differentiable at singular ones too."""
    return jnp.dot(x[0], jnp.cross(x[1], x[2]))


def cofactors(x):
    return jax.jacrev(jnp.linalg.det)(x)


SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])

CASES = [
    product("tensordot", "default axes", sample(2, 3, 4), sample(3, 4, 2, seed=1)),
    product("tensordot", "outer product", sample(2), sample(3, seed=1), axes=0),
    product("tensordot", "lists", sample(2, 3, 4), sample(4, 5, 2, seed=1), axes=((0, 2), (2, 0))),
    product("tensordot", "single negative axes", sample(2, 3), sample(4, 3, seed=1), axes=(-1, -1)),
    product("tensordot", "empty sum", sample(2, 0), sample(0, 3), axes=1),
    product("dot", "vectors", sample(3), sample(3, seed=1)),
    product("dot", "matrices", sample(2, 3), sample(3, 4, seed=1)),
    product("dot", "scalar", sample(), sample(2, 3, seed=1)),
    product("dot", "higher ranks", sample(2, 1, 3), sample(2, 3, 2, seed=1)),
    product("dot", "vector on the right", sample(2, 2, 3), sample(3, seed=1)),
    product("matmul", "matrices", sample(2, 3), sample(3, 4, seed=1)),
    product("matmul", "vectors", sample(3), sample(3, seed=1)),
    product("matmul", "row", sample(3), sample(2, 3, 4, seed=1)),
    product("matmul", "column", sample(2, 4, 3), sample(3, seed=1)),
    product("matmul", "one matrix for a batch", sample(2, 4, 3), sample(3, 2, seed=1)),
    product("matmul", "broadcast batch", sample(2, 1, 2, 3), sample(3, 3, 2, seed=1)),
    product("matmul", "batch on the right only", sample(2, 3), sample(2, 3, 2, seed=1)),
    product("matmul", "empty axis", sample(0, 3), sample(3, 2, seed=1)),
    product("matmul", "size 1", sample(1, 1), sample(1, 1, seed=1)),
    Case("matmul", lambda a, b: a @ b, jnp.matmul, (np.arange(6).reshape(2, 3), sample(3, 2)), "integers"),
    product("outer", "vectors", sample(2), sample(3, seed=1)),
    product("outer", "flattened", sample(2, 2), sample(1, seed=1)),
    product("inner", "matrices", sample(2, 3), sample(4, 3, seed=1)),
    *[Case("linear", op.linear, lambda x, w, b: x @ w.T + b, (x, sample(2, 3, seed=1), sample(2, seed=2)), label)
      for label, x in {"matrix": sample(4, 3), "vector": sample(3), "several leading axes": sample(2, 4, 3),
                       "empty": sample(0, 3)}.items()],
    Case("tensordot", op.linear, lambda x, w: x @ w.T, (sample(4, 3), sample(2, 3, seed=1)), "linear without bias"),

    of("diagonal", "rectangular", sample(2, 3), jnp.diagonal),
    of("diagonal", "axes", sample(2, 3, 4), lambda x: jnp.diagonal(x, 1, -1, 0), offset=1, axis1=-1, axis2=0),
    of("diagonal", "outside", sample(2, 2), lambda x: jnp.diagonal(x, 3), offset=3),
    Case("embed_diagonal", lambda x: embed_diagonal(x, shape=(3, 2, 4), offset=-1, axis1=0, axis2=2),
         lambda x: jnp.stack([jnp.zeros((3, 4)).at[[1, 2], [0, 1]].set(row) for row in x], 1), (sample(2, 2),)),
    of("diag", "vector", sample(3), lambda x: jnp.diag(x, -1), k=-1),
    of("diag", "matrix", sample(3, 2), lambda x: jnp.diag(x, 1), k=1),
    Case("trace", trace, jnp.trace, (sample(3, 2),), "rectangular"),
    Case("trace", lambda x: trace(x, offset=1, axis1=1, axis2=-1), lambda x: jnp.trace(x, 1, 1, -1),
         (sample(2, 3, 3),), "axes"),
    Case("trace", lambda x: trace(x, offset=-2), lambda x: jnp.trace(x, -2), (sample(2, 2),), "outside"),
    of("tril", "batch", sample(2, 3, 3), jnp.tril),
    of("tril", "k", sample(2, 3), lambda x: jnp.tril(x, -1), k=-1),
    of("triu", "k", sample(3, 3), lambda x: jnp.triu(x, 1), k=1),
    of("triu", "empty", sample(0, 3), jnp.triu),

    of("inv", "batch", square(2, 3, 3), jnp.linalg.inv),
    of("inv", "size 1", np.array([[3.0]]), jnp.linalg.inv),
    of("inv", "empty", np.zeros((0, 0)), jnp.linalg.inv),
    Case("solve", op.solve, jnp.linalg.solve, (square(3, 3), sample(3)), "vector"),
    Case("solve", op.solve, jnp.linalg.solve, (square(3, 3), sample(3, 2)), "matrix"),
    Case("solve", op.solve, jnp.linalg.solve, (square(2, 2, 2), sample(2, 2, 3)), "batch"),
    Case("solve", op.solve, lambda a, b: jnp.linalg.inv(a) @ b, (square(2, 1, 2, 2), sample(3, 2, 1)),
         "broadcast batch"),
    Case("solve", op.solve, lambda a, b: jnp.linalg.inv(a) @ b, (square(2, 2, 2), sample(2)), "vector for a batch"),
    *[triangular(b, lower, not lower) for b in (sample(3), sample(3, 2)) for lower in (True, False)],
    Case("solve_triangular", op.solve_triangular, lambda a, b: jnp.linalg.inv(jnp.triu(a)) @ b,
         (square(2, 2, 2), sample(2, 1)), "broadcast batch"),
    of("cholesky", "batch", definite(2, 3, 3), jnp.linalg.cholesky),
    of("cholesky", "size 1", np.array([[4.0]]), jnp.linalg.cholesky),
    of("cholesky", "not symmetric", definite(2, 2) + np.array([[0.0, 0.3], [0.0, 0.0]]), jnp.linalg.cholesky),
    of("det", "batch", square(2, 3, 3), jnp.linalg.det),
    of("det", "size 1", np.array([[3.0]]), jnp.linalg.det),
    Case("det", op.det, singular_det, (SINGULAR,), "singular", order=1),
    Case("det", op.det, singular_det, (np.zeros((3, 3)),), "zero", order=1),
    Case("cofactor", cofactor, cofactors, (square(3, 3),)),
    of("slogdet", "batch", square(2, 3, 3), lambda x: tuple(jnp.linalg.slogdet(x))),
    of("slogdet", "negative", -square(3, 3), lambda x: tuple(jnp.linalg.slogdet(x))),

    einstein("ij,jk->ik", (2, 3), (3, 2)),
    einstein("...i,...i->i", (5, 3), (1, 3), label="summed, of length 1 in one of them"),
    einstein("ij,ij->j", (4, 1), (1, 3), label="both broadcast"),
    einstein("ij,jk", (2, 3), (3, 2)),
    einstein("ij->j", (2, 3)),
    einstein("ij->ji", (2, 3)),
    einstein("ij,k->", (2, 3), (2,)),
    einstein("i,ij,j->", (2,), (2, 3), (3,)),
    einstein("...ij,...jk->...ik", (2, 2, 3), (3, 2)),
    einstein("b...,b->...", (2, 3), (2,)),
    einstein("...,...", (2, 1), (3,)),
    einstein("bhqd,bhkd->bhqk", (1, 2, 2, 3), (1, 2, 3, 3)),
    einstein("ii", (3, 3)),
    einstein("iij,ik->kj", (2, 2, 3), (2, 2)),
    einstein("iii->i", (2, 2, 2)),
    einstein("...ii->...", (2, 3, 3)),
    einstein(" i j , j -> i ", (2, 0), (0,), label="empty sum"),
]
