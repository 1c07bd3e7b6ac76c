"""How data reaches the compiled loops: as blocks of batches, from memory or from a loader."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data import ArrayDataset, Loader, as_dataset, epoch_order, fingerprint, in_memory
from ..data.dataset import put
from ..framework.avals import Aval, make_aval
from ..framework.errors import InputError
from .loops import shuffled

# Larger data sets are gathered on the host, block by block, instead of on the device as a whole.
RESIDENT_BYTES = 2 * 2**30
BLOCK_BYTES = 256 * 2**20

TAILS = ("pad", "drop", "short")  # what becomes of rows that do not fill a batch


class Block(NamedTuple):
    """Batches (batches, batch size, ...) of which start..stop are to run; `rows` real rows from batch 0 on."""

    arrays: Sequence[Any]
    start: int
    stop: int
    rows: int
    first: int  # the number of batch 0 within the epoch

    @property
    def size(self) -> int:
        return self.arrays[0].shape[1]

    def batch(self, number: int) -> list[np.ndarray]:
        """The real rows of a batch."""
        real = min(self.rows - number * self.size, self.size)
        return [np.asarray(array[number])[:real] for array in self.arrays]


Place = Callable[[Any], Any]  # puts an array where it is computed with


class Resident:
    """Arrays in memory. An epoch is their rows in an order that depends on seed and epoch alone.

    Args:
        tail: "pad" fills the last batch with rows that count nothing, "drop" leaves its rows out, "short" gives them as
            a batch of their own size.
        multiple: of which the batch size should be one, where batches are padded.

    Attributes:
        size: rows of a batch; steps: batches of an epoch; count: rows of an epoch.
        ragged: whether batches may have rows that only fill them up.
    """

    def __init__(self, arrays: Sequence[Any], size: int, shuffle: bool, seed: int, tail: str, multiple: int = 1):
        counts = {len(array) for array in arrays}
        if len(counts) != 1 or 0 in counts:
            raise InputError("data are arrays with the same number of rows, at least one, but these have the shapes "
                             f"{[np.shape(array) for array in arrays]}.")
        self.arrays = list(arrays)
        (self.total,) = counts
        self.size = min(size, self.total)
        if tail == "pad":
            self.size = -(-self.size // multiple) * multiple
        self.shuffle, self.seed = shuffle, seed
        self.full = -(-self.total // self.size) if tail == "pad" else self.total // self.size  # batches of that size
        self.count = self.total if tail != "drop" else self.full * self.size
        self.rest = self.count - min(self.count, self.full * self.size)  # rows of the short batch
        self.steps = self.full + (self.rest > 0)
        self.ragged = tail == "pad" and self.count % self.size != 0
        self._on_device: list[Any] | None = None

    def avals(self, size: int) -> list[Aval]:
        """Of the arrays of a batch of so many rows."""
        return [_aval((size, *a.shape[1:]), a) for a in self.arrays]

    def blocks(self, epoch: int, first: int, place: Place = lambda array: array) -> Iterator[Block]:
        """The blocks of an epoch, without the first batches."""
        order = epoch_order(self.total, self.seed, epoch) if self.shuffle else np.arange(self.total)
        nbytes = sum(a.nbytes for a in self.arrays)
        gather, batches = self._from_device, self.full
        if nbytes > RESIDENT_BYTES:
            gather = self._from_host
            batches = min(self.full, max(1, int(BLOCK_BYTES * self.total / nbytes) // self.size))
        for start in range(first // batches * batches, self.full, batches):
            # Blocks have one shape: what fills up the last batch, and the last block, is from the start.
            rows = np.resize(np.roll(order, -start * self.size), batches * self.size)
            arrays = gather(rows.astype(np.int32), batches, self.size)
            yield Block([place(a) for a in arrays], max(first - start, 0), min(batches, self.full - start),
                        self.count - start * self.size, start)
        if self.rest and first <= self.full:
            rows = order[self.full * self.size:].astype(np.int32)
            yield Block([place(a) for a in gather(rows, 1, self.rest)], 0, 1, self.rest, self.full)

    def _from_device(self, rows: np.ndarray, batches: int, size: int) -> Sequence[Any]:
        if self._on_device is None:
            self._on_device = list(put(tuple(self.arrays)))
        return shuffled(self._on_device, rows, batches, size)

    def _from_host(self, rows: np.ndarray, batches: int, size: int) -> Sequence[Any]:
        return put(tuple([np.asarray(a[rows]).reshape(batches, size, *a.shape[1:]) for a in self.arrays]))

    def example(self) -> list[Any]:
        """A small batch."""
        return [np.asarray(a[:min(self.size, 32)]) for a in self.arrays]

    def reseed(self, seed: int) -> None:
        """Take the order of another seed."""
        self.seed = seed

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What must be the same for an epoch to be taken up in the middle."""
        return {"rows": self.total, "batch_size": self.size, "steps": self.steps, "shuffle": self.shuffle, "seed": None,
                "shapes": [f"{a.dtype}{list(a.shape[1:])}" for a in self.arrays],
                "fingerprint": fingerprint(ArrayDataset(*self.arrays))}


class Streamed:
    """A loader: every batch is a block of its own, and the next ones are loaded meanwhile.

    Args:
        tail: as in `Resident`; unreadable examples can leave any batch short.
        own: whether the loader was made here, with the trainer's seed.
    """

    def __init__(self, loader: Loader, tail: str, own: bool = False):
        self.loader, self.own = loader, own
        self.tail = "short" if tail == "pad" and not loader.pad_last else tail
        self.size = loader.batch_size
        self.steps = loader.length // self.size if tail == "drop" else len(loader)
        if not self.steps:
            raise InputError(f"{loader.length} examples do not fill a batch of {self.size}, and rows that do not fill "
                             "one are left out here: choose a smaller batch size.")
        self.ragged = self.tail == "pad"
        self._example: list[np.ndarray] | None = None

    def avals(self, size: int) -> list[Aval]:
        return [_aval((size, *a.shape[1:]), a) for a in self.example()]

    def blocks(self, epoch: int, first: int, place: Place = lambda array: array) -> Iterator[Block]:
        if first >= self.steps:
            return
        self.loader.epoch, self.loader.position = epoch, first
        for batch in self.loader:
            arrays, number = batch.arrays, self.loader.position - 1
            if batch.size < self.size:
                if self.tail == "drop":
                    continue
                arrays = [a[:batch.size] for a in arrays] if self.tail == "short" else arrays
            yield Block([place(jnp.asarray(a)[None]) for a in arrays], 0, 1, batch.size, number)

    def example(self) -> list[Any]:
        if self._example is None:
            self._example = [np.asarray(a) for a in self.loader.peek().arrays]
        return self._example

    def reseed(self, seed: int) -> None:
        if self.own:
            self.loader.seed = seed

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        loader, own = self.loader, self.own or not self.loader.shuffle
        return {"rows": loader.length, "batch_size": self.size, "steps": self.steps, "shuffle": loader.shuffle,
                "seed": None if own else loader.seed,  # None: the trainer's, or no order but that of the data
                "shapes": [f"{a.dtype}{list(a.shape[1:])}" for a in self.example()],
                "fingerprint": fingerprint(loader.dataset)}


Feed = Resident | Streamed


def _aval(shape: tuple[int, ...], array: Any) -> Aval:
    return make_aval(shape, jax.dtypes.canonicalize_dtype(array.dtype))


def feed_of(data: Any, size: int, shuffle: bool, seed: int, tail: str, multiple: int = 1) -> Feed:
    """The feed of a tuple of arrays, a data set in memory, any other data set, or a loader."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise InputError(f"batch_size is a whole number from 1 on, but got {size!r}.")
    size = int(size)
    if isinstance(data, Loader):
        return Streamed(data, tail)
    if isinstance(data, tuple) and data and all(isinstance(a, jax.Array) for a in data):
        return Resident(data, size, shuffle, seed, tail, multiple)  # where they are
    data = as_dataset(data)
    held = in_memory(data)
    if held is not None:
        return Resident(held.arrays, size, shuffle, seed, tail, multiple)
    size = -(-size // multiple) * multiple
    return Streamed(Loader(data, size, shuffle=shuffle, seed=seed, drop_last=tail == "drop"), tail, own=True)
