"""Rows of operators/normalize.py; references are written with jnp.mean and jnp.var."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op
from zkynet.framework.operators.normalize import deviation

X = sample(3, 4, seed=1)
IMAGES = sample(2, 3, 2, 2, seed=2)
POSITIVE = sample(3, low=0.5, high=2.0, seed=3)
EPS = 0.1


def scale_of(x, axis, center):
    return 1.0 / jnp.sqrt((jnp.var(x, axis, keepdims=True) if center else jnp.mean(x * x, axis, keepdims=True)) + EPS)


def reference(x, weight=1.0, bias=0.0, *, axis, center=True, shape=None):
    """With weight and bias reshaped to broadcast."""
    level = jnp.mean(x, axis, keepdims=True) if center else 0.0
    placed = [v if shape is None or v.__class__ is float else jnp.reshape(v, shape) for v in (weight, bias)]
    return (x - level) * scale_of(x, axis, center) * placed[0] + placed[1]


def row(label, x, axis, affine=(), center=True, shape=None, along=None):
    inputs = (x, *[sample(*size, seed=5 + i) for i, size in enumerate(affine)])
    return Case("normalize", lambda *v: op.normalize(*v, axis=axis, eps=EPS, center=center, along=along),
                lambda *v: reference(*v, axis=axis, center=center, shape=shape), inputs, label)


def given(x, center, variance, weight=None, bias=None):
    shape = (-1, *(1,) * (x.ndim - 2))
    y = (x - center.reshape(shape)) / jnp.sqrt(variance.reshape(shape) + EPS)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def moved(average, variance, count, x, axis, momentum):
    """Of unbiased variances; those of single images are averaged."""
    rest = tuple(a for a in range(x.ndim) if a != 1)
    level = jnp.mean(jnp.mean(x, axis, keepdims=True), rest)
    spread = jnp.mean(jnp.var(x, axis, keepdims=True, ddof=1), rest)
    rate = momentum or 1.0 / (count + 1)
    return average * (1 - rate) + rate * level, variance * (1 - rate) + rate * spread, count + 1


def running(label, x, axis, momentum):
    inputs = (sample(3, seed=8), POSITIVE, np.array(4, np.int32), x)
    return Case("running_moments", lambda *v: op.running_moments(*v, axis=axis, momentum=momentum),
                lambda *v: moved(*v, axis=axis, momentum=momentum), inputs, label, order=0)


CASES = [
    row("", X, -1),
    row("weight and bias", X, -1, ((4,), (4,))),
    row("two axes, weight", sample(2, 2, 3, seed=4), (-2, -1), ((2, 3),)),
    row("channels", IMAGES, (0, 2, 3), ((3,), (3,)), shape=(3, 1, 1), along=1),
    row("instances", IMAGES, (2, 3), ((3,), (3,)), shape=(3, 1, 1), along=1),
    row("channels alone", X, 0, ((4,), (4,)), along=1),
    row("groups", sample(2, 2, 2, 3, seed=6), (2, 3), ((4,), (4,)), shape=(1, 2, 2, 1), along=(1, 2)),
    row("root mean square", X, -1, center=False),
    row("root mean square, weight and bias", X, -1, ((4,), (4,)), center=False),
    row("root mean square of channels", IMAGES, (0, 2, 3), ((3,),), center=False, shape=(3, 1, 1), along=1),
    row("far from zero", X + 100.0, -1),
    row("constant", np.full((2, 3), 0.75), -1, ((3,), (3,))),
    row("one element", X[:, :1], -1),
    row("empty", np.zeros((0, 3)), -1, ((3,), (3,))),
    Case("normalize", lambda x: op.normalize(x, eps=EPS), lambda x: reference(x * 1.0, axis=-1),
         (np.array([[3, 1, 2], [2, 2, 0]]),), "integers"),
    Case("deviation", lambda x: deviation(x, axis=-1, eps=EPS, center=True), lambda x: scale_of(x, -1, True), (X,)),
    Case("deviation", lambda x: deviation(x, axis=(0, 2, 3), eps=EPS, center=False),
         lambda x: scale_of(x, (0, 2, 3), False), (IMAGES,), "root mean square"),
    Case("standardize", lambda *v: op.standardize(*v, eps=EPS), given,
         (IMAGES, sample(3, seed=7), POSITIVE, sample(3, seed=5), sample(3, seed=6))),
    Case("standardize", lambda *v: op.standardize(*v, eps=EPS), given, (X[:, :3], sample(3, seed=7), POSITIVE),
         "without weight"),
    running("", IMAGES, (0, 2, 3), 0.1),
    running("average of all", IMAGES, (0, 2, 3), None),
    running("instances", IMAGES, (2, 3), 0.25),
]
