"""Rows of operators/elementwise.py."""

import jax.numpy as jnp
from cases import Case, sample

from zkynet.framework import op

CASES = [
    Case("add", op.add, jnp.add, (sample(2, 3), sample(3, seed=1)), "broadcast"),
    Case("mult", op.mult, jnp.multiply, (sample(2, 1), sample(3, seed=1)), "broadcast"),
    Case("square", op.square, jnp.square, (sample(2, 3),)),
    Case("identity", op.identity, lambda x: x, (sample(2, 3),)),
    Case("sin", op.sin, jnp.sin, (sample(2, 3),)),
    Case("cos", op.cos, jnp.cos, (sample(0, 3),), "empty axis"),
    Case("negative", op.negative, jnp.negative, (sample(2, 3),)),
]
