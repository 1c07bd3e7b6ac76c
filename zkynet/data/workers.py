"""Worker processes that read batches into shared memory.

Each worker has a pipe and some slots of one block of shared memory. Batch k goes to worker k mod W and is taken back in
that order, so nothing depends on which worker is faster, and no lock is shared that a dying process could keep.
Processes come from a fork server, or are spawned: forking a process in which JAX runs threads can deadlock.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import jax
import numpy as np

from ..framework.errors import InputError, ShapeError
from .dataset import Dataset, Rows, read_rows
from .errors import DataError

SLOTS = 2  # of each worker: one that it fills, one that waits to be taken
ALIGN = 64
KNOWN_ERRORS = {kind.__name__: kind for kind in (DataError, InputError, ShapeError)}
GONE = (EOFError, ConnectionError, BrokenPipeError)


class Task(NamedTuple):
    """One batch to be read."""

    number: int
    indices: np.ndarray
    seed: int
    epoch: int


class Layout:
    """Where the arrays of a batch lie in a slot of shared memory."""

    def __init__(self, sample: Rows, batch_size: int) -> None:
        self.kinds = [(a.dtype, a.shape[1:]) for a in sample.arrays]
        self.offsets, end = [], 0
        for dtype, shape in self.kinds:
            self.offsets.append(end)
            end += -(-batch_size * dtype.itemsize * int(np.prod(shape)) // ALIGN) * ALIGN
        self.slot_bytes = end

    def views(self, memory: Any, slot: int, count: int) -> list[np.ndarray]:
        start = slot * self.slot_bytes
        return [np.frombuffer(memory, dtype, count * int(np.prod(shape)), start + offset).reshape(count, *shape)
                for (dtype, shape), offset in zip(self.kinds, self.offsets, strict=True)]

    def write(self, memory: Any, slot: int, rows: Rows) -> int:
        found = [(a.dtype, a.shape[1:]) for a in rows.arrays]
        if found != self.kinds:
            raise ShapeError(f"expected rows of {self.kinds}, as those before; got {found}")
        count = len(rows.arrays[0])
        for view, array in zip(self.views(memory, slot, count), rows.arrays, strict=True):
            view[...] = array
        return count


def _work(pipe: Connection, memory: Any, layout: Layout, first_slot: int, dataset: Dataset) -> None:
    """The life of a worker: a task in, its rows into shared memory, a short answer out; until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, and closes the pipe
    jax.config.update("jax_platforms", "cpu")  # a worker leaves the accelerator alone, whatever its data set does
    while True:
        try:
            slot, task = pipe.recv()
        except GONE:
            return
        try:
            rows = read_rows(dataset, task.indices, task.seed, task.epoch)
            count = layout.write(memory, first_slot + slot, rows)
            answer: tuple[Any, ...] = ("rows", count, rows.kept, dict(rows.problems))
        except Exception as error:
            answer = ("error", type(error).__name__, str(error), traceback.format_exc())
        try:
            pipe.send(answer)
        except GONE:
            return


def _context() -> Any:
    """Of multiprocessing. The fork server imports this package once, and every worker is a fork of it."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class Workers:
    """Worker processes that read batches of one data set, from the first use until `close()` or the end of the program.

    Args:
        dataset: has to be picklable (by multiprocessing, to send it to the workers).
        count: of processes.
        batch_size: rows of the largest batch.
        sample: some rows (or none of them readable), for shapes and dtypes.
    """

    def __init__(self, dataset: Dataset, count: int, batch_size: int, sample: Rows) -> None:
        context = _context()
        self.layout = Layout(sample, batch_size)
        self.memory = context.RawArray(ctypes.c_char, max(1, count * SLOTS * self.layout.slot_bytes))
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        self.owed = [0] * count  # answers of abandoned tasks, to be taken from each pipe first
        self.close = weakref.finalize(self, _end, self.pipes, self.processes)
        try:
            for k in range(count):
                ours, theirs = context.Pipe()
                self.pipes.append(ours)
                process = context.Process(target=_work, daemon=True, name=f"zkynet-worker-{k}",
                                          args=(theirs, self.memory, self.layout, k * SLOTS, dataset))
                process.start()
                theirs.close()
                self.processes.append(process)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            raise DataError(f"the data set cannot be sent to worker processes ({type(error).__name__}: {error}). "
                            "Define its class and functions at the top level of a module (no lambdas), or use workers=0"
                            ) from error

    def read(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Rows]]:
        """The rows of each task, in order. Their arrays are the caller's."""
        count = len(self.processes)
        tasks, pending, turn = iter(tasks), deque[tuple[int, int, Task]](), 0
        try:
            for k in range(count):
                while self.owed[k]:
                    self._receive(k)
                    self.owed[k] -= 1
            while True:
                while len(pending) < count * SLOTS and (task := next(tasks, None)) is not None:
                    worker, slot = turn % count, turn // count % SLOTS
                    self._send(worker, (slot, task))
                    pending.append((worker, slot, task))
                    turn += 1
                if not pending:
                    return
                worker, slot, task = pending[0]
                answer = self._receive(worker)
                pending.popleft()
                yield task, self._rows(worker, slot, task, answer)
        except (KeyboardInterrupt, SystemExit):  # an answer may be taken half
            self.close()
            raise
        finally:
            for worker, _, _ in pending:
                self.owed[worker] += 1

    def _send(self, worker: int, message: Any) -> None:
        try:
            self.pipes[worker].send(message)
        except GONE as error:
            raise self._died(worker) from error

    def _receive(self, worker: int) -> Any:
        try:
            return self.pipes[worker].recv()
        except GONE as error:
            raise self._died(worker) from error

    def _died(self, worker: int) -> DataError:
        self.processes[worker].join(5)
        code = self.processes[worker].exitcode
        self.close()
        return DataError(f"worker process {worker} ended (exit code {code}). A negative code is a signal: -9 often "
                         "means that memory ran out. When it ends at once: a script that uses workers runs its main "
                         "part under `if __name__ == '__main__':`, and its data set is importable. workers=0 shows the "
                         "error itself")

    def _rows(self, worker: int, slot: int, task: Task, answer: tuple[Any, ...]) -> Rows:
        if answer[0] == "error":
            _, kind, message, trace = answer
            known = KNOWN_ERRORS.get(kind)
            error = known(message) if known else DataError(f"{kind}: {message}")
            error.add_note(f"In worker process {worker}, reading batch {task.number} of epoch {task.epoch}:\n{trace}")
            raise error
        _, count, kept, problems = answer
        views = self.layout.views(self.memory, worker * SLOTS + slot, count)
        # Copied, since JAX may keep using the memory of the arrays that it is given.
        return Rows(tuple(view.copy() for view in views), kept, problems)


def _end(pipes: list[Connection], processes: list[Any]) -> None:
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(2)
        if process.is_alive():
            process.terminate()
            process.join()
