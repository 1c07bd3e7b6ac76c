"""A stream of random keys that advances by itself."""

from __future__ import annotations

import jax
import numpy as np

from .errors import InputError
from .nodes import Node
from .operators.random import split_key
from .templates import State


class RandomStream(State):
    """A State that holds a random key; every `draw()` gives a fresh one and advances the stream.

    The key is an argument of compiled programs: the same seed gives the same numbers, eager or compiled, and a new
    key compiles nothing. Make it an attribute of the Module that draws from it, so that `state_dict` finds it.

    Args:
        name: its name within the Module.
        seed: an int.

    Raises:
        InputError: when the seed is no int.

    >>> from zkynet.framework import op
    >>> stream = RandomStream("noise", seed=0)
    >>> a, b = op.normal(stream.draw()), op.normal(stream.draw())
    >>> bool(a.value == b.value)
    False
    >>> stream.reset()
    >>> bool(op.normal(stream.draw()).value == a.value)
    True
    """

    __slots__ = ("seed",)
    optional = True  # other libraries' weights come without

    def __init__(self, name: str, seed: int = 0):
        self.seed = seed
        super().__init__(name, _key_of(seed))

    def draw(self) -> Node:
        """A fresh key. Inside `call()` the stream advances with the step; inside scan, cond or vmap it cannot: draw
        outside, and pass keys in."""
        following, key = split_key(self)
        self.value = following
        return key

    def reset(self, seed: int | None = None) -> None:
        """Start again, from another seed or from the same one."""
        if seed is not None:
            self.seed = seed
        self.value = _key_of(self.seed)


def _key_of(seed: int) -> jax.Array:
    if not isinstance(seed, (int, np.integer)):
        raise InputError(f"a RandomStream needs an int as its seed, but got {type(seed).__name__} {seed!r}.")
    return jax.random.key_data(jax.random.key(int(seed), impl="threefry2x32"))
