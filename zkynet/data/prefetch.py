"""Runs an iterator ahead of its consumer, in a thread."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """The items of a generator, of which a background thread keeps up to `depth` ready.

    An exception of the generator comes out where its item would have. `close()` (also called when this is dropped, and
    at exit) ends the thread and closes the generator.

    >>> list(Prefetch((i * i for i in range(4)), depth=2))
    [0, 1, 4, 9]
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(depth)
        self._stop = threading.Event()
        # The thread must not refer to this object: dropping it is what ends the thread.
        self._thread = threading.Thread(target=_run, args=(items, self._ready, self._stop), daemon=True,
                                        name="zkynet-prefetch")
        self._thread.start()
        self.close = weakref.finalize(self, _end, self._ready, self._stop, self._thread)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._stop.is_set():
            raise StopIteration
        kind, item = self._ready.get()
        if kind == "item":
            return item
        self.close()
        raise StopIteration if item is None else item


def _run(items: Iterator[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    end: tuple[str, BaseException | None] = ("end", None)
    try:
        for item in items:
            ready.put(("item", item))
            if stop.is_set():
                break
    except BaseException as error:  # handed to the consumer, whatever it is
        end = ("end", error)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
        ready.put(end)


def _end(ready: queue.Queue[Any], stop: threading.Event, thread: threading.Thread) -> None:
    stop.set()
    if thread is threading.current_thread():  # the collector may run anywhere
        return
    while thread.is_alive():
        # Room for what the thread is waiting to put down; it stops after that.
        while not ready.empty():
            ready.get_nowait()
        thread.join(0.01)
