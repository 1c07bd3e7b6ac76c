"""Data sets that worker processes can import."""

from __future__ import annotations

import os
import signal
import time

import jax._src.xla_bridge
import numpy as np

from zkynet.data import Transform


class Squares:
    """Item by item, as a user would write it: (i, i * i)."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int):
        return np.float32(index), np.full(3, index * index, np.int32)


class Slow(Squares):
    """Even examples take longer, so that workers finish out of order."""

    def __getitem__(self, index: int):
        time.sleep(0.02 * (index % 2 == 0))
        return super().__getitem__(index)


class Where(Squares):
    """Who reads: the process, and whether JAX has started a backend in it."""

    def __getitem__(self, index: int):
        return np.int64(os.getpid()), np.bool_(jax._src.xla_bridge.backends_are_initialized())


class Fails(Squares):
    """Refuses example 5."""

    def __getitem__(self, index: int):
        if index == 5:
            raise KeyError("no five")
        return super().__getitem__(index)


class Ragged(Squares):
    """Of another shape from example 8 on."""

    def __getitem__(self, index: int):
        return (np.zeros(3 if index < 8 else 4),)


class Dies(Squares):
    """Kills the process that reads example 9."""

    def __getitem__(self, index: int):
        if index == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Jitter(Transform):
    """A random transform of a user's own."""

    random = True

    def call(self, x, *draws):
        return x + draws[0].uniform(-0.25, 0.25).astype(np.float32)[:, None]
