"""Flax's streams of random numbers as zkynet's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...framework.nodes import Node
from ...framework.operator import operator
from ...framework.random_stream import RandomStream


@operator(no_gradient=True)
def next_key(state, *, impl):
    """The next key of a stream (key, count), and the stream after it."""
    key, count = unpacked(state, impl)
    return jax.random.key_data(jax.random.fold_in(key, count)), packed(key, count + 1)


def packed(key: Any, count: Any) -> jax.Array:
    """A stream's key and count as one vector of uint32."""
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return jnp.concatenate([data, jnp.asarray(count, jnp.uint32)[None]])


def unpacked(state: Any, impl: Any) -> tuple[Any, Any]:
    """The key and the count; `impl` None for a key that is no more than its numbers."""
    return (state[:-1] if impl is None else jax.random.wrap_key_data(state[:-1], impl=impl)), state[-1]


class FlaxStream(RandomStream):
    """An nnx.RngStream: the n-th key is fold_in(key, n), so that the same draws come as in flax.

    Its value is the key's numbers followed by the count.
    """

    __slots__ = ("impl", "start")

    def __init__(self, name: str, key: Any, count: Any):
        super().__init__(name)
        self.impl = jax.random.key_impl(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else None
        self.start = np.asarray(packed(key, count))
        self._store(jnp.asarray(self.start))

    def draw(self) -> Node:
        key, following = next_key(self, impl=self.impl)
        self.value = following
        return key

    def reset(self, seed: int | None = None) -> None:
        if seed is not None:
            self.seed = seed
            key = jax.random.key(seed, impl=self.impl)
            self.start = np.asarray(packed(key, 0))
        self.value = self.start
