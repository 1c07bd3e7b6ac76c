"""Rows of operators/random.py: the same key must give the numbers of jax.random."""

import jax.numpy as jnp
import numpy as np
from cases import Case, sample
from jax import random

from zkynet.framework.operators import random as ours

KEY = np.array([3, 5], np.uint32)
LOGITS = sample(2, 3)


def dropped(x, key):
    return jnp.where(random.bernoulli(key, 0.75, x.shape), x / 0.75, 0.0)


def plain(name, function, reference, *inputs, label=""):
    return Case(name, function, reference, inputs, label, order=0)


CASES = [
    plain("random_key", ours.random_key, random.PRNGKey, np.array(7)),
    plain("split_key", ours.split_key, lambda key: tuple(random.split(key)), KEY),
    plain("standard_uniform", ours.uniform, lambda key: random.uniform(key), KEY),
    plain("standard_normal", ours.normal, lambda key: random.normal(key), KEY),
    Case("uniform", lambda key, low, high: ours.uniform(key, (2, 3), low, high),
         lambda key, low, high: low + (high - low) * random.uniform(key, (2, 3), low.dtype),
         (KEY, sample(3), sample(2, 1) + 3.0), "parameters"),
    plain("uniform", lambda key: ours.uniform(key, 2, dtype="float32"),
          lambda key: random.uniform(key, (2,), "float32"), KEY, label="dtype"),
    Case("normal", lambda key, mean, std: ours.normal(key, (2, 3), mean, std),
         lambda key, mean, std: mean + std * random.normal(key, (2, 3), mean.dtype), (KEY, sample(), sample(2, 1)),
         "parameters"),
    plain("normal", lambda key: ours.normal(key, (0, 2), 1.0, 2.0), lambda key: 1.0 + 2.0 * random.normal(key, (0, 2)),
          KEY, label="empty"),
    Case("truncated_normal", lambda key, std: ours.truncated_normal(key, (4,), std=std, lower=-1.0, upper=0.5),
         lambda key, std: std * random.truncated_normal(key, -1.0, 0.5, (4,), std.dtype), (KEY, sample(4))),
    plain("randint", lambda key: ours.randint(key, (2, 2), -3, 9),
          lambda key: random.randint(key, (2, 2), -3, 9, "int32"), KEY),
    plain("bernoulli", lambda key, p: ours.bernoulli(key, p), random.bernoulli, KEY, sample(5, low=0.0)),
    plain("bernoulli", lambda key: ours.bernoulli(key, 0.25, (4,)), lambda key: random.bernoulli(key, 0.25, (4,)), KEY,
          label="shape"),
    plain("categorical", lambda key, x: ours.categorical(key, x, 0, (5, 3)),
          lambda key, x: random.categorical(key, x, 0, (5, 3)), KEY, LOGITS),
    Case("permutation", lambda key, x: ours.permutation(key, x, -1),
         lambda key, x: x[:, random.permutation(key, x.shape[1])], (KEY, sample(2, 4))),
    plain("permutation", lambda key: ours.permutation(key, 5),
          lambda key: random.permutation(key, jnp.arange(5, dtype=jnp.int32)), KEY, label="of a number"),
    Case("dropout", lambda x, key: ours.dropout(x, key, p=0.25), dropped, (sample(3, 4), KEY)),
    Case("dropout", lambda x, key: ours.dropout(x, key, p=0), lambda x, key: x, (sample(3), KEY), "p = 0"),
    Case("dropout", lambda x, key: ours.dropout(x, key, p=1), lambda x, key: x * 0.0, (sample(3), KEY), "p = 1"),
    Case("dropout", lambda x, key: ours.dropout(x, key), lambda x, key: 2.0 * x, (sample(0, 2), KEY), "empty"),
]
