"""Rows of operators/losses.py: losses that are one node each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op

INF = np.inf


def by_class(x: Any, target: Any, axis: int = 1, ignored: int | None = None, reduction: str = "none") -> Any:
    """Through all logarithms and a mask, as a textbook has it."""
    marks = jax.nn.one_hot(target, x.shape[axis], dtype="bool", axis=axis)
    losses = -jnp.sum(jnp.where(marks, jax.nn.log_softmax(x, axis), 0.0), axis)
    kept = jnp.ones(losses.shape, bool) if ignored is None else target != ignored
    losses = jnp.where(kept, losses, 0.0)
    return {"none": losses, "sum": jnp.sum(losses), "mean": jnp.sum(losses) / jnp.sum(kept)}[reduction]


def row(x: Any, target: Any, label: str = "", axis: int | None = None, ignored: int | None = -100,
        reduction: str = "none", **settings: Any) -> Case:
    own = min(x.ndim - 1, 1) if axis is None else axis
    return Case("cross_entropy",
                lambda x, t: op.cross_entropy(x, t, axis=axis, ignore_index=ignored, reduction=reduction),
                lambda x, t: by_class(x, t, own, ignored, reduction), (x, target), label, **settings)


X, T = sample(4, 3, low=-2.0, high=2.0), np.array([2, 0, 1, 0])
DEEP = sample(2, 3, 4, low=-2.0, high=2.0)
PLACES = np.array([[0, 2, 1, 1], [2, 2, 0, 1]])
FAR = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 1000.0]])
HOLES = np.array([[0.5, -INF, 1.0], [0.1, 0.2, -INF]])

CLASSES = [
    row(X, T),
    row(X, T, "mean", reduction="mean"),
    row(X, T, "sum", reduction="sum"),
    row(X, T, "mean without ignoring", ignored=None, reduction="mean"),
    row(X, T, "sum without ignoring", ignored=None, reduction="sum"),
    row(X, np.array([2, -100, 1, -100]), "some ignored", reduction="mean"),
    row(X, np.array([2, 0, 1, 0]), "a class ignored", ignored=0, reduction="mean"),
    row(X, np.array([2, -1, 1, -1]), "ignored one is -1", ignored=-1),
    row(X, T.astype(np.uint8), "unsigned", reduction="mean"),
    row(X[0], np.array(1), "vector"),
    row(DEEP, PLACES, "axes behind", reduction="mean"),
    row(np.moveaxis(DEEP, 1, 2), PLACES, "classes last", axis=-1),
    row(np.zeros((0, 3)), np.zeros(0, np.int64), "no examples"),
    row(sample(4, 1), np.zeros(4, np.int64), "one class", numeric=False),
    row(FAR, np.array([0, 0]), "far from zero"),
    row(HOLES, np.array([0, 1]), "logits of -inf", numeric=False),
    # The framework's convention of positions that only the program knows: nan is read.
    Case("cross_entropy", op.cross_entropy, lambda x, t: by_class(x, t) + jnp.array([0.0, jnp.nan, jnp.nan, 0.0]),
         (X, np.array([2, 3, -1, 0])), "no such class", order=0, nan=True),
]


def by_share(x: Any, target: Any, axis: int = 1) -> Any:
    return -jnp.sum(target * jax.nn.log_softmax(x, axis), axis)


def shares(*shape: int, axis: int = 1) -> np.ndarray:
    made = sample(*shape, low=0.1, high=1.0, seed=5)
    return made / made.sum(axis, keepdims=True)


SHARES = [
    Case("soft_cross_entropy", op.soft_cross_entropy, by_share, (X, shares(4, 3))),
    Case("soft_cross_entropy", op.soft_cross_entropy, by_share, (X, sample(4, 3, seed=6)), "any weights"),
    Case("soft_cross_entropy", op.soft_cross_entropy, lambda x, t: by_share(x, t, 0), (X[0], shares(3, axis=0)),
         "vector"),
    Case("soft_cross_entropy", op.soft_cross_entropy, by_share, (DEEP, shares(2, 3, 4)), "axes behind"),
    Case("soft_cross_entropy", lambda x, t: op.soft_cross_entropy(x, t, axis=-1), lambda x, t: by_share(x, t, -1),
         (DEEP, shares(2, 3, 4, axis=-1)), "classes last"),
    Case("soft_cross_entropy", op.soft_cross_entropy, by_share, (np.zeros((0, 3)), np.zeros((0, 3))), "no examples"),
    Case("soft_cross_entropy", op.soft_cross_entropy, by_share, (FAR, shares(2, 3)), "far from zero"),
    Case("soft_cross_entropy", op.soft_cross_entropy, lambda x, t: jnp.sum(t, 1) * jnp.log1p(
        jnp.exp(x[:, 2] - x[:, 0])) - t[:, 2] * (x[:, 2] - x[:, 0]),
         (HOLES[:1], np.array([[0.25, 0.0, 0.75]])), "nothing where a logit is -inf", wrt=(0,), numeric=False),
]


def plain_binary(p: Any, y: Any) -> Any:
    return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


P = sample(2, 3, low=0.1, high=0.9)
BINARY = [
    Case("binary_cross_entropy", op.binary_cross_entropy, plain_binary, (P, sample(2, 3, low=0.0, seed=1))),
    Case("binary_cross_entropy", op.binary_cross_entropy, plain_binary, (P, sample(3, low=0.0, seed=1)), "broadcast"),
    Case("binary_cross_entropy", op.binary_cross_entropy, plain_binary, (P, np.array([1, 0, 1])), "integer target"),
    Case("binary_cross_entropy", op.binary_cross_entropy, plain_binary, (np.zeros((0, 3)), np.zeros(3)), "empty axis"),
    # Certain and right, certain and wrong: the logarithm of zero is -100, the slope -1e12 for the divisor p (1 - p).
    Case("binary_cross_entropy", op.binary_cross_entropy,
         lambda p, y: jnp.array([0.0, 100.0, 100.0, 0.0]) + 1e12 * (p - y) * (p - jax.lax.stop_gradient(p)),
         (np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])), "certain", order=1, wrt=(0,),
         numeric=False),
]

CASES = [*CLASSES, *SHARES, *BINARY]
