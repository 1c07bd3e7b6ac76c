"""Batches of a data set, in an order that can be repeated and taken up in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..framework.errors import DeviceError, InputError
from .dataset import Rows, as_dataset, put, read_rows
from .draws import epoch_order
from .errors import DataError
from .prefetch import Prefetch
from .workers import Task, Workers

FIXED = ("length", "batch_size", "shuffle", "drop_last")  # what a state has to agree in


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """One batch. `x, y = batch` gives its arrays.

    Attributes:
        arrays: one for each component of the examples, (rows, ...).
        weights: float32 (rows,): 1 for an example, 0 for a row that only pads; a mean over the examples is
            sum(weights * loss) / size.
        size: how many rows are examples; they come first.
    """

    arrays: tuple[Any, ...]
    weights: Any
    size: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self.arrays)


class Loader:
    """Batches of a data set. Each loop over it gives what is left of an epoch; then the next epoch begins.

    The order depends on (seed, epoch) alone, and so do random transforms, with any number of workers. Every example
    comes once in an epoch. All batches have one shape: the last is padded with repeated rows of its own, of weight 0.

    Leaving a loop early keeps the place: the next loop goes on after the last batch that was handed out, and with the
    next epoch where that was the last of its own. `state()` is that place, `load_state()` goes to it, `peek()` looks at
    the next batch and leaves the place as it is.

    Args:
        dataset: a data set, an array, or a tuple of arrays. All are read on the host, jax arrays as NumPy copies: each
            batch is sent to the device when its turn comes.
        batch_size: rows of a batch.
        shuffle: a new order for each epoch; otherwise that of the data set.
        seed: of the order and of random transforms.
        drop_last: leave out the examples that do not fill a batch.
        pad_last: pad the last batch; if False it is shorter, and a compiled step is compiled a second time for it.
        workers: processes that read and transform; 0 reads in this one. Worth it for decoding and transforms, not for
            arrays in memory. The data set is sent to them, so it has to be picklable; scripts need
            `if __name__ == "__main__":`.
        prefetch: batches that a background thread keeps ready on the device while others are computed with; 0 for none.
        device: where batches are put: None for JAX's default device, a name ("cpu", "gpu", "gpu:1"), a jax device or
            sharding; "host" leaves them NumPy arrays.

    Attributes:
        epoch, position: where the next loop begins, at position `len(loader)` with the next epoch; epoch can be set.
        problems: file -> reason, of the examples that could not be read and were left out (see `ImageFolder`).

    Raises:
        InputError: arguments without meaning, or no batch at all.
        DataError: when a batch is put on the device: 64-bit integers beyond the 32 bits that JAX keeps of them.

    >>> loader = Loader((np.arange(5), np.arange(5) * 10), batch_size=2, device="host")
    >>> for x, y in loader:
    ...     print(x, y)
    [0 1] [ 0 10]
    [2 3] [20 30]
    [4 4] [40 40]
    >>> [batch.weights.tolist() for batch in loader][-1], loader.epoch
    ([1.0, 0.0], 2)
    """

    def __init__(self, dataset: Any, batch_size: int = 32, *, shuffle: bool = False, seed: int = 0,
                 drop_last: bool = False, pad_last: bool = True, workers: int = 0, prefetch: int = 2,
                 device: Any = None) -> None:
        self.dataset = as_dataset(dataset)
        self.batch_size, self.shuffle, self.seed = int(batch_size), bool(shuffle), int(seed)
        self.drop_last, self.pad_last = bool(drop_last), bool(pad_last)
        self.workers, self.prefetch, self.device = int(workers), int(prefetch), _device(device)
        self.length = len(self.dataset)
        if self.batch_size < 1 or self.workers < 0 or self.prefetch < 0:
            raise InputError("Loader: expected batch_size >= 1, workers >= 0 and prefetch >= 0; got "
                             f"{batch_size}, {workers} and {prefetch}")
        if not len(self):
            raise InputError(f"Loader: {self.length} examples make no batch of {batch_size}"
                             + (" with drop_last=True" if self.length else ""))
        self.epoch = self.position = 0
        self.problems: dict[str, str] = {}
        self._pool: Workers | None = None
        self._loop: Any = None
        self._ones: tuple[Any, Any] | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.length // self.batch_size if self.drop_last else -(-self.length // self.batch_size)

    def __repr__(self) -> str:
        place = f"epoch {self.epoch}, batch {self.position} of {len(self)}"
        return f"Loader({self.dataset!r}, batch_size={self.batch_size}, {place})"

    def order(self, epoch: int | None = None) -> np.ndarray:
        """The indices of an epoch (by default this one), int64, in the order of its batches."""
        epoch = self.epoch if epoch is None else epoch
        order = epoch_order(self.length, self.seed, epoch) if self.shuffle else np.arange(self.length)
        return order[:len(self) * self.batch_size]

    def __iter__(self) -> Iterator[Batch]:
        self._leave()
        self.epoch, self.position = epoch, position = self._next()
        batches: Any = self._batches(self._tasks(epoch, position))
        self._loop = batches = Prefetch(batches, self.prefetch) if self.prefetch else batches
        try:
            for number, problems, batch in batches:
                self.problems.update(problems)
                if batch is not None:
                    self.position = number + 1
                    yield batch
            if self._loop is not batches:
                raise InputError("the loader was taken elsewhere (by another loop, load_state or close) before this "
                                 "loop ended; it has one place: make a second loader")
            self.epoch, self.position = epoch + 1, 0
        finally:
            batches.close()
            if self._loop is batches:
                self.epoch, self.position = self._next()

    def _next(self) -> tuple[int, int]:
        """Epoch and number of the next batch. Who takes all batches and asks for no more is still in their epoch."""
        return (self.epoch, self.position) if self.position < len(self) else (self.epoch + 1, 0)

    def _leave(self) -> None:
        """Ends the loop under way, if there is one: nothing else may use the workers."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    def peek(self) -> Batch:
        """The next batch (of the next epoch at the end of one), read again when its turn comes."""
        for task in self._tasks(*self._next()):
            batch = self._placed(read_rows(self.dataset, task.indices, task.seed, task.epoch))
            if batch is not None:
                return batch
        raise DataError("none of the remaining examples can be read")

    def state(self) -> dict[str, Any]:
        """The place after the last batch that was handed out, as a dict that JSON can hold."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed, "length": self.length,
                "batch_size": self.batch_size, "shuffle": self.shuffle, "drop_last": self.drop_last}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes to the place of a state: the next loop gives exactly the batches that were left there.

        Raises:
            DataError: no state, or one of a loader with other batches.
        """
        try:
            epoch, position, seed = (int(state[name]) for name in ("epoch", "position", "seed"))
            other = {name: state[name] for name in FIXED if state[name] != getattr(self, name)}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not the state of a loader ({type(error).__name__}: {error}): {state!r}") from error
        if other or not 0 <= position <= len(self):
            raise DataError(f"a state of other batches: it has {other or {'position': position}}, this loader "
                            f"{ {name: getattr(self, name) for name in other} or f'{len(self)} batches'}")
        self._leave()
        self.epoch, self.position, self.seed = epoch, position, seed

    def close(self) -> None:
        """Ends the worker processes; a later loop starts new ones. Also done when the loader is dropped."""
        self._leave()
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _tasks(self, epoch: int, position: int) -> list[Task]:
        order = self.order(epoch)
        return [Task(number, order[number * self.batch_size:(number + 1) * self.batch_size], self.seed, epoch)
                for number in range(position, len(self))]

    def _batches(self, tasks: list[Task]) -> Iterator[tuple[int, Any, Batch | None]]:
        # A context of the caller (a default device, 64 bits) holds for its thread alone: this runs in another.
        device, wide = jax.config.jax_default_device, jax.config.jax_enable_x64  # pyright: ignore
        return self._read(tasks, device, wide)

    def _read(self, tasks: list[Task], device: Any, wide: bool) -> Iterator[tuple[int, Any, Batch | None]]:
        for task, rows in self._rows(tasks):
            with jax.default_device(device), jax.enable_x64(wide):
                batch = self._placed(rows)
            yield task.number, rows.problems, batch

    def _rows(self, tasks: list[Task]) -> Iterator[tuple[Task, Rows]]:
        if not self.workers or not tasks:
            for task in tasks:
                yield task, read_rows(self.dataset, task.indices, task.seed, task.epoch)
            return
        if self._pool is None or not self._pool.close.alive:
            first = tasks[0]
            sample = read_rows(self.dataset, first.indices[:1], first.seed, first.epoch)
            self._pool = Workers(self.dataset, self.workers, self.batch_size, sample)
        yield from self._pool.read(tasks)

    def _placed(self, rows: Rows) -> Batch | None:
        """The rows as a batch, padded and on the device; None where nothing could be read."""
        arrays, size = rows.arrays, len(rows.arrays[0])
        if not size:
            return None
        if self.pad_last and size < self.batch_size:
            places = np.arange(self.batch_size) % size
            arrays = tuple(a[places] for a in arrays)
        count = len(arrays[0])
        if size < count:
            weights, *arrays = self._put(((np.arange(count) < size).astype(np.float32), *arrays))
        else:
            weights, arrays = self._weights(count), self._put(arrays)
        return Batch(tuple(arrays), weights, size)

    def _weights(self, count: int) -> Any:
        """Ones, put on the device once for all full batches."""
        place = (count, self.device, jax.config.jax_default_device)  # pyright: ignore
        if self._ones is None or self._ones[0] != place:
            ones = np.ones(count, np.float32)
            ones.flags.writeable = False
            self._ones = place, self._put((ones,))[0]
        return self._ones[1]

    def _put(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        return arrays if self.device == "host" else put(arrays, self.device)


def _device(device: Any) -> Any:
    if not isinstance(device, str) or device == "host":
        return device
    platform, _, number = device.partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        there = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise DeviceError(f"Loader: no device {device!r}; there is: {there}, and 'host' for NumPy arrays") from error
