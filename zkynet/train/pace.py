"""How many steps run before somebody looks: as many as possible, but enough looks for a live display."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from .callbacks import Callback

SECONDS = 0.25  # between two looks


class Pace:
    """Ends of chunks: at multiples of a callback's `every_steps`, and about four times a second when one watches.

    The numbers that come out of training do not depend on it.
    """

    def __init__(self, callbacks: Sequence[Callback]):
        watching = [c for c in callbacks if c.watching and type(c).on_steps is not Callback.on_steps]
        self.every = [n for c in watching if (n := getattr(c, "every_steps", None))]
        self.watched = bool(watching)
        self.steps = 1
        self.start = self._chunk = self._look = time.perf_counter()

    def end(self, number: int, stop: int, done: int) -> int:
        """Where the chunk that begins at `number` ends; `done` steps were made before, in all epochs."""
        if not self.watched:
            return stop
        steps = min([self.steps, *(every - done % every for every in self.every)], default=self.steps)
        return min(stop, number + steps)

    def due(self, done: int) -> bool:
        """Whether to look now, after a chunk; `done` steps are made, in all epochs."""
        if not self.watched:
            return False
        now = time.perf_counter()
        took, self._chunk = now - self._chunk, now
        self.steps = max(1, math.ceil(self.steps * min(2.0, SECONDS / max(took, 1e-6))))
        if now - self._look < SECONDS and all(done % every for every in self.every):
            return False
        self._look = now
        return True

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start
