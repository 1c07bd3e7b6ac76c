"""Rows of operators/logspace.py, many at magnitudes where the plain form over- or underflows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op

INF = np.inf


def array(*values: Any) -> np.ndarray:
    return np.array(values, np.float64)


def plain_logaddexp(a: Any, b: Any) -> Any:
    return jnp.log(jnp.exp(a) + jnp.exp(b))


def plain_logsumexp(x: Any, axis: Any = None) -> Any:
    return jnp.log(jnp.sum(jnp.exp(x), axis))


def shifted(shift: float, function: Any) -> Any:
    """The plain form of inputs so far from zero that it fails, by moving them there and the result back."""
    return lambda *inputs: function(*[x - shift for x in inputs]) + shift


ELEMENTWISE = [
    Case("logaddexp", op.logaddexp, plain_logaddexp, (sample(2, 3), sample(2, 3, seed=1))),
    Case("logaddexp", op.logaddexp, plain_logaddexp, (sample(2, 1), sample(3, seed=1)), "broadcast"),
    Case("logaddexp", op.logaddexp, plain_logaddexp, (sample(3), sample(3)), "equal"),
    Case("logaddexp", op.logaddexp, plain_logaddexp, (np.zeros((0, 3)), np.zeros(3)), "empty axis"),
    Case("logaddexp", op.logaddexp, shifted(-1e4, plain_logaddexp), (-1e4 + sample(3), -1e4 + sample(3, seed=1)),
         "far below"),
    Case("logaddexp", op.logaddexp, jnp.maximum, (array(1e4, -1e4, -INF), array(-1e4, 1e4, 2.0)), "one outweighs",
         numeric=False),
    # Nothing flows into a logarithm of zero; JAX's formula has a nan there.
    Case("logaddexp", op.logaddexp, lambda a, b: jnp.full(1, -INF) + 0.0 * jnp.where(jnp.isinf(a), 0.0, a + b),
         (array(-INF), array(-INF)), "two logarithms of zero", numeric=False),
    Case("log1mexp", op.log1mexp, lambda x: jnp.log(1.0 - jnp.exp(-x)), (sample(6, low=0.3, high=3.0),)),
    Case("log1mexp", op.log1mexp, lambda x: jnp.log(x), (array(1e-300, 1e-13),), "near zero", order=1,
         tolerance=1e-9, numeric=False),
    Case("log1mexp", op.log1mexp, lambda x: -jnp.exp(-x), (array(40.0, 700.0, 1e4),), "far from zero"),
    Case("logsubexp", op.logsubexp, lambda a, b: jnp.log(jnp.exp(a) - jnp.exp(b)),
         (sample(2, 1, low=1.0, high=2.0), sample(3))),
    Case("logsubexp", op.logsubexp, shifted(-1e4, lambda a, b: jnp.log(jnp.exp(a) - jnp.exp(b))),
         (array(-1e4 + 1.0, -1e4 + 2.0), array(-1e4, -1e4 - 1.0)), "far below"),
    Case("logsubexp", op.logsubexp, lambda a, b: a, (array(3.0, -1e4), array(-INF, -INF)), "nothing subtracted",
         numeric=False),
]

X = sample(2, 3, 2)
SUMS = [
    Case("logsumexp", op.logsumexp, plain_logsumexp, (X,)),
    *(Case("logsumexp", lambda x, axis=axis: op.logsumexp(x, axis=axis),
           lambda x, axis=axis: plain_logsumexp(x, axis), (X,), f"axis {axis}") for axis in (1, -1, (0, -1))),
    Case("logsumexp", lambda x: op.logsumexp(x, axis=1, keepdims=True),
         lambda x: jnp.log(jnp.sum(jnp.exp(x), 1, keepdims=True)), (X,), "keepdims"),
    Case("logsumexp", op.logsumexp, lambda x: x, (np.float64(0.5),), "scalar"),
    Case("logsumexp", lambda x: op.logsumexp(x, axis=0), lambda x: x[0], (sample(1, 3),), "one element"),
    Case("logsumexp", lambda x: op.logsumexp(x, axis=0), lambda x: jnp.full(3, -INF), (np.zeros((0, 3)),),
         "empty axis", numeric=False),
    Case("logsumexp", lambda x: op.logsumexp(x, axis=1), lambda x: plain_logsumexp(x, 1), (np.zeros((0, 3)),),
         "empty result"),
    Case("logsumexp", op.logsumexp, shifted(1e4, plain_logsumexp), (1e4 + sample(4),), "far above"),
    Case("logsumexp", op.logsumexp, shifted(-1e4, plain_logsumexp), (-1e4 + sample(4),), "far below"),
    Case("logsumexp", lambda x: op.logsumexp(x, axis=1), lambda x: plain_logsumexp(x, 1),
         (np.array([[0.5, -INF, 1.0], [-INF, 2.0, -INF]]),), "logarithms of zero", numeric=False),
    Case("logsumexp", op.logsumexp, lambda x: -INF + jnp.sum(jnp.where(jnp.isinf(x), 0.0, x)), (array(-INF, -INF),),
         "of nothing but zeros", numeric=False),
    Case("logsumexp", lambda x: op.log_sum_exp(x, axis=1), lambda x: plain_logsumexp(x, 1), (X,),
         "by log_sum_exp without weights"),
    Case("log_sum_exp", lambda x, w: op.log_sum_exp(x, 1, w), lambda x, w: jnp.log(jnp.sum(w * jnp.exp(x), 1)),
         (X, sample(2, 3, 2, low=0.5, high=2.0)), "weights"),
    Case("log_sum_exp", lambda x, w: op.log_sum_exp(x, weights=w), lambda x, w: jnp.log(jnp.sum(w * jnp.exp(x))),
         (sample(3), sample(2, 1, low=0.5, high=2.0)), "broadcast weights"),
    Case("log_sum_exp", lambda x, w: op.log_sum_exp(x, -1, w, keepdims=True),
         lambda x, w: jnp.log(jnp.sum(w * jnp.exp(x), -1, keepdims=True)), (X, array(2.0, -0.2)), "negative weight"),
    Case("log_sum_exp", lambda x, w: op.log_sum_exp(x, weights=w), lambda x, w: jnp.log(jnp.sum(w * jnp.exp(x))),
         (sample(3), array(1.0, 0.0, 2.0)), "zero weight"),
    Case("log_sum_exp", lambda x, w: op.log_sum_exp(x, weights=w),
         lambda x, w: jnp.log(jnp.sum(w * jnp.exp(x + 1e4))) - 1e4, (-1e4 + sample(3), array(1.0, 0.5, 2.0)), "far"),
    Case("log_sum_exp", lambda x: op.log_sum_exp(x, weights=array(1.0, 0.0)), lambda x: x[0], (array(0.5, INF),),
         "zero weight of infinity", order=0),
    Case("log_sum_exp", lambda x, w: op.log_sum_exp(x, 0, w), lambda x, w: jnp.full(2, -INF),
         (np.zeros((0, 2)), np.ones((1, 2))), "empty axis", numeric=False),
]


def plain_running(x: Any, axis: int = -1) -> Any:
    return jnp.log(jnp.cumsum(jnp.exp(x), axis))


def shifted_running(x: Any) -> Any:
    return jax.lax.cumlogsumexp(x, axis=0)


RUNNING = [
    Case("logcumsumexp", lambda x: op.logcumsumexp(x, 0), lambda x: plain_running(x, 0), (sample(4, 2),)),
    Case("logcumsumexp", lambda x: op.logcumsumexp(x, axis=-1, reverse=True),
         lambda x: jnp.flip(plain_running(jnp.flip(x, -1)), -1), (sample(2, 4),), "reverse"),
    Case("logcumsumexp", op.logcumsumexp, lambda x: plain_running(x.reshape(-1)), (sample(2, 2),), "flattened"),
    Case("logcumsumexp", lambda x: op.logcumsumexp(x, 1), lambda x: plain_running(x, 1), (np.zeros((2, 0)),),
         "empty axis"),
    Case("logcumsumexp", lambda x: op.logcumsumexp(x, 1), lambda x: x, (sample(2, 1),), "one element"),
    Case("logcumsumexp", op.logcumsumexp, shifted(-1e4, plain_running), (-1e4 + sample(4),), "far below"),
    Case("logcumsumexp", op.logcumsumexp, shifted_running, (array(-1e4, 0.0, 1e4, 0.0, 1e4),), "far apart"),
    Case("logcumsumexp", op.logcumsumexp, lambda x: jnp.concatenate([jnp.full(2, -INF), plain_running(x[2:])]),
         (array(-INF, -INF, 1.0, 0.5),), "logarithms of zero", numeric=False),
]


def plain_matmul(a: Any, b: Any) -> Any:
    return jnp.log(jnp.exp(a) @ jnp.exp(b))


def by_terms(a: Any, b: Any) -> Any:
    return jax.scipy.special.logsumexp(a[..., :, :, None] + b[..., None, :, :], axis=-2)


UNEVEN = array([0.0, -1e4], [-1e4, 3.0], [-1e4, -1e4]), array([-1e4, -800.0, 1.0], [0.0, -1e4, 2.0])
PRODUCTS = [
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(2, 3), sample(3, 4))),
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(2, 2, 3), sample(3, 2)), "one matrix for a stack"),
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(2, 1, 2, 3), sample(2, 3, 2)), "stacks broadcast"),
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(3), sample(3, 2)), "vector and matrix"),
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(2, 3), sample(3)), "matrix and vector"),
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(3), sample(3, seed=1)), "vectors"),
    Case("log_matmul", op.log_matmul, lambda a, b: jnp.full((2, 2), -INF), (sample(2, 0), sample(0, 2)),
         "nothing to sum", numeric=False),
    Case("log_matmul", op.log_matmul, plain_matmul, (sample(0, 3), sample(3, 2)), "empty axis"),
    Case("log_matmul", op.log_matmul, lambda a, b: plain_matmul(a + 1e4, b - 1e4),
         (-1e4 + sample(2, 3), 1e4 + sample(3, 2)), "far from zero"),
    Case("log_matmul", op.log_matmul, by_terms, UNEVEN, "underflows when scaled"),
    Case("log_matmul", op.log_matmul, lambda a, b: jnp.stack([a[:, 0] + b[0, 0], jnp.logaddexp(
        a[:, 0] + b[0, 1], a[:, 1] + b[1, 1])], -1), (sample(2, 2), array([0.5, 0.1], [-INF, 0.7])),
         "a logarithm of zero", numeric=False),
]

CASES = [*ELEMENTWISE, *SUMS, *RUNNING, *PRODUCTS]
