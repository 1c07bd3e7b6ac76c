"""The engine that runs graphs in this process, in the background, and keeps what it computes on disk.

One thread runs the programs, another one keeps results: what is computed is stored within about 20 ms, also while the
next program compiles, and the disk is synced once for all that came meanwhile. From time to time the values that later
calls use are stored as well (a checkpoint), so that a run that was killed goes on from there.

The threads are no daemons: at the end of a script, Python waits until the execution is finished. Whoever wants to leave
earlier interrupts it (Ctrl-C); it can be continued by `R.execute()` in any process.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zkynet.framework.errors import ZkynetError

from ..errors import StateError
from ..functions import learners
from ..wire.graph import CallGraph, Late
from .engine import Failure, GraphInfo
from .federated import Part, Rules, statistics
from .run import Stopped, execute, needed_calls
from .store import GraphGone, Store, StoreError

CHECKPOINT = 10.0  # seconds between checkpoints, at least
_SHARE = 20  # and so many times what one takes
_PAUSE = 0.02  # seconds between commits
_POLL = 0.2  # seconds between looks for participants of other processes
_BACKLOG = 256 * 2**20  # bytes that may wait to be stored


class EmbeddedEngine:
    """Graphs of one account, run in this process.

    Args:
        store: where graphs and results are kept.
        token: of the account.
    """

    def __init__(self, store: Store, token: str):
        self.store = store
        self._account = store.account(token)
        self._runs: dict[int, Run] = {}
        self._submitted: dict[int, CallGraph] = {}  # by this process: need not be read again

    def submit(self, graph: CallGraph, wanted: Collection[int], cost: Mapping[str, Any]) -> int:
        """Keep a graph that is activated; returns its id.

        Raises:
            InputError: when it holds operators that cannot be stored, all of them named.
            StoreError: when the disk is full.
        """
        from ..wire.codec import encode

        total = len(needed_calls(graph, wanted))
        made = self.store.add(self._account, graph.about, cost, encode(graph), wanted, graph.names, total)
        self._submitted[made] = graph
        return made

    def start(self, graph: int, participants: int = 1) -> None:
        """Run it in the background, from where an earlier run ended; participants are all this process."""
        self._require_unfinished(graph)
        content = self._submitted.pop(graph, None) or read(self.store.content(graph))
        preload(content)
        claim = self.store.claim(graph)
        try:
            self._require_unfinished(graph)  # another process may have finished it just now
            self.store.tidy(graph)
            self.store.mark(graph, "executing")
        except BaseException:
            claim.close()
            raise
        self._runs[graph] = Run(self.store, graph, claim, content)
        self._runs[graph].start()

    def _require_unfinished(self, graph: int) -> None:
        if self._existing(graph).status == "computed":
            raise StateError(f"graph {graph} is executed already: R.fetch_persisting_op(op_name=) gives its results. "
                             "R.Graph() begins a new one.")

    def wait(self, graph: int, seconds: float) -> None:
        """Return when it is not running any more, or after some seconds."""
        run = self._runs.get(graph)
        if run is not None:
            run.join(seconds)
        else:
            time.sleep(seconds)  # another process runs it

    def stop(self, graph: int) -> None:
        """End a run of this process after the present call; what is computed is kept."""
        run = self._runs.pop(graph, None)
        if run is not None:
            run.stopped.set()
            run.join()

    def info(self, graph: int) -> GraphInfo | None:
        """Its state now."""
        return next(iter(self._infos(graph)), None)

    def graphs(self) -> list[GraphInfo]:
        """All of them, oldest first."""
        return self._infos()

    def _infos(self, graph: int | None = None) -> list[GraphInfo]:
        return [self._checked(info) for info in self.store.infos(self._account, graph)]

    def _checked(self, info: GraphInfo) -> GraphInfo:
        """Who executes it may have been killed; or may have finished since the row was read."""
        if info.status != "executing" or self.store.is_claimed(info.id):
            return info
        now = next(iter(self.store.infos(self._account, info.id)), info)
        return replace(now, status="interrupted") if now.status == "executing" else now

    def _existing(self, graph: int) -> GraphInfo:
        info = self.info(graph)
        if info is None:
            raise StateError(f"there is no graph {graph} (any more). R.get_my_graphs() lists those that there are.")
        return info

    def names(self, graph: int) -> dict[str, int]:
        """Its persist names."""
        self._existing(graph)
        return self.store.names(graph)

    def number(self, graph: int, name: str) -> int | None:
        """The value of a persist name."""
        self._existing(graph)
        return self.store.number(graph, name)

    def state(self, graph: int, number: int) -> str:
        """"pending", "computed" or "failed"."""
        return self.store.state(graph, number)

    def result(self, graph: int, number: int) -> np.ndarray | Failure | None:
        """A value; None when it is not there yet."""
        return self.store.result(graph, number)

    def failures(self, graph: int) -> list[str]:
        """Why values failed."""
        return self.store.failures(graph)

    def contribute(self, graph: int, source: str, part: Part) -> str:
        """Take a participant's part of a federated graph; returns how many have contributed.

        Raises:
            StateError: when the graph is not federated, all parts are there, or this source's is.
        """
        about = self._existing(graph).about
        if about.get("approach") != "federated":
            raise StateError(f"graph {graph} is {about.get('approach')}: it has data of its own and takes no others.")
        most = Rules.read(about.get("rules")).max_clients
        return contributed(self.store.contribute(graph, source, part, most), most)

    def is_of(self, token: str) -> bool:
        """Whether it is the token's account."""
        return self.store.account(token) == self._account

    def flush(self) -> None:
        """Stop and forget all graphs of the account; another process that runs one notices."""
        for graph in list(self._runs):
            self.stop(graph)
        for info in self.store.infos(self._account):
            self.store.remove(info.id)


class Run(threading.Thread):
    """One execution of a graph, and the thread that stores what it computes."""

    def __init__(self, store: Store, graph: int, claim: Any, content: CallGraph):
        super().__init__(name=f"ravnet graph {graph}", daemon=False)
        self.stopped = threading.Event()
        self._store, self._graph, self._claim, self._content = store, graph, claim, content
        self._keeper = Keeper(store, graph)
        self._checkpoint_at = time.monotonic() + CHECKPOINT
        self._checkpoints, self._done = False, 0

    def run(self) -> None:
        """Execute, and say how it ended."""
        status, message = "stopped", ""
        self._keeper.start()
        try:
            if self._content.about.get("approach") == "federated":
                self._gather()
            known = Known(self._store, self._graph)
            wanted = self._store.wanted(self._graph)
            self._checkpoints = not set(known) <= wanted
            execute(self._content, wanted, self._report, known)
            if self._checkpoints:  # the last one is of no use any more
                self._keeper.put(self._done, {}, {})
            status = ""
        except Stopped:
            message = "stopped by the user"
        except GraphGone:
            pass
        except (ZkynetError, OSError, MemoryError) as error:
            message = str(error) or type(error).__name__
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._end(status, message)

    def _gather(self) -> None:
        """Wait for the participants of a federated graph. The statistics of their parts are known from then on."""
        most = Rules.read(self._content.about.get("rules")).max_clients
        told, parts = -1, self._store.parts(self._graph)
        while len(parts) < most:
            if len(parts) > told:
                told = len(parts)
                self._store.mark(self._graph, "executing", f"waits for participants: {contributed(told, most)}")
            if self.stopped.wait(_POLL):
                raise Stopped
            if self._store.is_gone(self._graph):
                raise GraphGone
            parts = self._store.parts(self._graph)
        self._store.mark(self._graph, "executing")
        self._store.keep(self._graph, statistics(self._content, parts), 0)

    def _end(self, status: str, message: str) -> None:
        try:
            error = self._keeper.finish()
            if error is not None:
                status, message = "stopped", str(error)
            with contextlib.suppress(StoreError):  # a full disk: it is found interrupted, which is as good
                status = status or ("failed" if self._store.failures(self._graph) else "computed")
                self._store.mark(self._graph, status, message)
                if self._store.is_gone(self._graph):  # a file may have been written while they were removed
                    self._store.sweep()
        finally:
            self._claim.close()
            self._content = CallGraph()  # all given data: this outlives the run

    def _report(self, done: int, total: int, found: Mapping[int, Any], values: Mapping[int, Any]) -> None:
        if self.stopped.is_set():
            raise Stopped
        self._done, checkpoint = done, None
        if time.monotonic() > self._checkpoint_at and done < total:
            checkpoint = {number: value for number, value in values.items()
                          if number not in self._content.leaves and not isinstance(value, Failure)}
        took = self._keeper.put(done, found, checkpoint)
        if checkpoint is not None:
            self._checkpoints = True
            self._checkpoint_at = time.monotonic() + max(CHECKPOINT, _SHARE * took)


class Keeper(threading.Thread):
    """Stores results in the order in which they come, many at a time."""

    def __init__(self, store: Store, graph: int):
        super().__init__(name=f"ravnet results of graph {graph}", daemon=False)
        self.error: Exception | None = None
        self._store, self._graph = store, graph
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()  # (done, found, checkpoint), at the end None
        self._waiting = 0  # bytes; written by both threads, so it is a rough figure
        self._stored = threading.Condition()

    def put(self, done: int, found: Mapping[int, Any], checkpoint: Mapping[int, Any] | None) -> float:
        """Have results stored. A checkpoint, or too much that waits, is waited for; returns the seconds it took."""
        if self.error is not None:
            raise self.error
        self._waiting += sum(getattr(value, "nbytes", 0) for value in found.values())
        self._queue.put((done, found, checkpoint))
        if checkpoint is None and self._waiting < _BACKLOG:
            return 0.0
        began = time.monotonic()
        with self._stored:
            self._stored.wait_for(lambda: self._queue.empty() and not self._waiting or self.error is not None)
        return time.monotonic() - began

    def finish(self) -> Exception | None:
        """Wait until everything is stored; what went wrong."""
        self._queue.put(None)
        self.join()
        return self.error

    def run(self) -> None:
        """Store what comes until None does. After an error, only take it."""
        going_on = True
        while going_on:
            items = [self._queue.get(), *self._rest()]
            going_on = items[-1] is not None
            items = [item for item in items if item is not None]
            if items and self.error is None:
                try:
                    self._keep(items)
                except Exception as error:  # raised by the next `put`, in the thread that runs the programs
                    self.error = error
            with self._stored:
                if self._queue.empty():
                    self._waiting = 0
                self._stored.notify_all()
            if going_on:
                time.sleep(_PAUSE)

    def _rest(self) -> Iterator[Any]:
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._queue.get_nowait()

    def _keep(self, items: list[Any]) -> None:
        found: dict[int, np.ndarray | Failure] = {}
        checkpoint = None
        for _, results, values in items:
            found.update({number: arrived(value) for number, value in results.items()})
            if values is not None:
                arrays = {number: None if value is None else arrived(value) for number, value in values.items()}
                checkpoint = {number: array for number, array in arrays.items() if not isinstance(array, Failure)}
        self._store.keep(self._graph, found, items[-1][0], checkpoint)


def contributed(parts: int, most: int) -> str:
    """How many participants of a federated graph have done their part."""
    return f"{parts} of {most} have contributed"


def read(content: bytes) -> CallGraph:
    """A graph that this engine wrote: of any size."""
    from ..wire.codec import decode
    from ..wire.schema import Limits

    return decode(content, Limits(file_bytes=2**50, document_bytes=2**40, programs=2**31, operators=2**40, calls=2**40,
                                  leaves=2**40, value_bytes=2**50))


def preload(graph: CallGraph) -> None:
    """Import what cannot be imported any more once the script has ended and Python waits for the run: thread pools."""
    importlib.import_module("concurrent.futures.thread")
    names = {function.name for function in learners.FUNCTIONS}
    if any(isinstance(program, Late) and program.function in names for program in graph.programs()):
        with contextlib.suppress(ImportError):  # the op says what is missing
            importlib.import_module("joblib")


def arrived(value: Any) -> np.ndarray | Failure:
    """A result as a NumPy array; waits for JAX, which may still be computing it."""
    if isinstance(value, Failure):
        return value
    try:
        array = np.asarray(value)
    except Exception as error:  # of the device, e.g. out of memory
        return Failure(f"a value could not be computed: {str(error).strip().splitlines()[0] or type(error).__name__}")
    if array.dtype.kind not in "biufcV" or array.dtype.hasobject:
        return Failure(f"a value is no array of numbers, but of dtype {array.dtype}.")
    return array


class Known(Mapping[int, np.ndarray]):
    """What earlier runs computed, read when it is needed."""

    def __init__(self, store: Store, graph: int):
        self._store, self._graph = store, graph
        self._numbers = store.known(graph)

    def __getitem__(self, number: int) -> np.ndarray:
        value = self._store.result(self._graph, number) if number in self._numbers else None
        if not isinstance(value, np.ndarray):
            raise KeyError(number)
        return value

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: object) -> bool:
        return number in self._numbers
