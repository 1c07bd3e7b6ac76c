"""How data reaches the compiled loops: as blocks of batches, from memory or from a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data import Loader, as_dataset, epoch_order, in_memory
from ..framework.avals import Aval, make_aval
from ..framework.errors import InputError
from .loops import shuffled

# Larger data sets are gathered on the host, block by block, instead of on the device as a whole.
RESIDENT_BYTES = 2 * 2**30
BLOCK_BYTES = 256 * 2**20


class Block(NamedTuple):
    """Batches (batches, batch size, ...) of which start..stop are to run; `rows` real rows from batch 0 on."""

    arrays: Sequence[Any]
    start: int
    stop: int
    rows: int
    first: int  # the number of batch 0 within the epoch


Place = Callable[[Any], Any]  # puts an array where it is computed with


class Resident:
    """Arrays in memory. An epoch is their rows in an order that depends on seed and epoch alone.

    Attributes:
        size: rows of a batch; steps: batches of an epoch; count: rows of an epoch.
        ragged: whether the last batch is filled up with rows that count nothing.
    """

    def __init__(self, arrays: Sequence[Any], size: int, shuffle: bool, seed: int, tail: str):
        counts = {len(array) for array in arrays}
        if len(counts) != 1 or 0 in counts or size < 1:
            raise InputError(f"data are arrays with the same number of rows, at least one, in batches of at least one; "
                             f"got {[np.shape(array) for array in arrays]} and batches of {size}.")
        self.arrays = list(arrays)
        (self.total,) = counts
        self.size = min(size, self.total)
        self.shuffle, self.seed = shuffle, seed
        self.steps = -(-self.total // self.size) if tail == "pad" else self.total // self.size
        self.count = min(self.total, self.steps * self.size)
        self.ragged = self.count % self.size != 0
        self._on_device: list[Any] | None = None

    @property
    def avals(self) -> list[Aval]:
        """Of one batch's arrays."""
        return [_aval((self.size, *a.shape[1:]), a) for a in self.arrays]

    def blocks(self, epoch: int, first: int, place: Place = lambda array: array) -> Iterator[Block]:
        """The blocks of an epoch, without the first batches."""
        order = epoch_order(self.total, self.seed, epoch) if self.shuffle else np.arange(self.total)
        order = np.resize(order, self.steps * self.size).astype(np.int32)  # what fills the last batch is from the start
        nbytes = sum(a.nbytes for a in self.arrays)
        if nbytes <= RESIDENT_BYTES:
            if self._on_device is None:
                self._on_device = [jnp.asarray(array) for array in self.arrays]
            arrays = shuffled(self._on_device, order, self.steps, self.size)
            yield Block([place(a) for a in arrays], first, self.steps, self.count, 0)
            return
        batches = min(self.steps, max(1, int(BLOCK_BYTES * self.total / nbytes) // self.size))
        for start in range(first // batches * batches, self.steps, batches):
            rows = np.resize(order[start * self.size:(start + batches) * self.size], batches * self.size)
            arrays = [np.asarray(a[rows]).reshape(batches, self.size, *a.shape[1:]) for a in self.arrays]
            yield Block([place(jnp.asarray(a)) for a in arrays], max(first - start, 0),
                        min(batches, self.steps - start), self.count - start * self.size, start)

    def parts(self) -> list[Resident]:
        """The full batches, and what is left as one batch of its own."""
        cut = self.total // self.size * self.size
        pieces = [[a[:cut] for a in self.arrays], [a[cut:] for a in self.arrays]]
        return [Resident(arrays, self.size, self.shuffle, self.seed, "pad") for arrays in pieces if len(arrays[0])]

    def example(self) -> list[Any]:
        """A small batch."""
        return [np.asarray(a[:min(self.size, 32)]) for a in self.arrays]

    def identity(self) -> dict[str, Any]:
        """What must be the same for an epoch to be taken up in the middle."""
        return {"rows": self.total, "batch_size": self.size, "steps": self.steps, "shuffle": self.shuffle,
                "shapes": [f"{a.dtype}{list(a.shape[1:])}" for a in self.arrays]}


class Streamed:
    """A loader: every batch is a block of its own, and the next ones are loaded meanwhile."""

    def __init__(self, loader: Loader):
        self.loader = loader
        self.size, self.steps = loader.batch_size, len(loader)
        self.count = loader.length if not loader.drop_last else self.steps * self.size
        self.ragged = not loader.drop_last  # unreadable rows can leave any batch short
        self._example: list[np.ndarray] | None = None

    @property
    def avals(self) -> list[Aval]:
        return [_aval((self.size, *a.shape[1:]), a) for a in self.example()]

    def blocks(self, epoch: int, first: int, place: Place = lambda array: array) -> Iterator[Block]:
        self.loader.epoch, self.loader.position = epoch, first
        for batch in self.loader:
            arrays = [place(jnp.asarray(a)[None]) for a in batch.arrays]
            yield Block(arrays, 0, 1, batch.size, self.loader.position - 1)

    def parts(self) -> list[Streamed]:
        raise InputError("this loss is no plain mean over the rows, so a loader's batches cannot be padded for it: use "
                         "a Loader with drop_last=True, or arrays in memory.")

    def example(self) -> list[Any]:
        if self._example is None:
            self._example = [np.asarray(a) for a in self.loader.peek().arrays]
        return self._example

    def identity(self) -> dict[str, Any]:
        loader = self.loader
        return {"rows": loader.length, "batch_size": self.size, "steps": self.steps, "shuffle": loader.shuffle,
                "shapes": [f"{a.dtype}{list(a.shape[1:])}" for a in self.example()]}


Feed = Resident | Streamed


def _aval(shape: tuple[int, ...], array: Any) -> Aval:
    return make_aval(shape, jax.dtypes.canonicalize_dtype(array.dtype))


def feed_of(data: Any, size: int, shuffle: bool, seed: int, tail: str) -> Feed:
    """The feed of a tuple of arrays, a data set in memory, any other data set, or a loader."""
    if isinstance(data, Loader):
        return Streamed(data)
    if isinstance(data, tuple) and all(isinstance(a, jax.Array) for a in data):
        return Resident(data, size, shuffle, seed, tail)  # where they are
    data = as_dataset(data)
    held = in_memory(data)
    if held is not None:
        return Resident(held.arrays, size, shuffle, seed, tail)
    return Streamed(Loader(data, size, shuffle=shuffle, seed=seed, drop_last=tail == "drop"))
