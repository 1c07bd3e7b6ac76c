"""The steps of one epoch, run in chunks that are looked at while the next one runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .callbacks import Callback
from .feeding import Block, Feed
from .loops import Loop
from .pace import Pace
from .trouble import refuse_nonfinite

if TYPE_CHECKING:
    from .trainer import Trainer


class Point(NamedTuple):
    """A place between two steps."""

    loop: Loop
    carry: list[Any]  # what the loop carries there
    step: int  # steps made in this epoch
    global_step: int  # in all epochs

    def moved(self, carry: list[Any], steps: int) -> Point:
        """The place that many steps further on."""
        return Point(self.loop, carry, self.step + steps, self.global_step + steps)


class Chunk(NamedTuple):
    """Steps that were run: where they began, over which batches, and the losses (of the whole block)."""

    before: Point
    block: Block
    start: int
    losses: Any


class EpochRun:
    """What is left of an epoch. However it ends, by its last step, an error, or Ctrl-C: parameters, position and sums
    of the trainer are those of one place, the last whose losses are known to be finite.

    Args:
        loop_of: the loop for batches of so many rows.
    """

    def __init__(self, trainer: Trainer, feed: Feed, loop_of: Callable[[int], Loop], callbacks: Sequence[Callback]):
        self.trainer, self.feed, self.loop_of, self.callbacks = trainer, feed, loop_of, callbacks
        self.pace = Pace(callbacks)
        loop, position = loop_of(feed.size), trainer.position
        self.at = self.safe = Point(loop, trainer.mesh.copy(loop.start(trainer.totals)), position["step"],
                                    position["global_step"])
        self.unchecked: Chunk | None = None

    def run(self) -> None:
        try:
            for block in self.feed.blocks(self.trainer.position["epoch"], self.at.step, self.trainer.mesh.split):
                self._block(block)
            self._check()
        finally:
            self._settle()

    def _block(self, block: Block) -> None:
        if block.size != self.at.loop.size:
            self._check()
            self._settle()
            loop = self.loop_of(block.size)
            self.at = self.safe = self.at._replace(loop=loop, carry=self.trainer.mesh.copy(
                loop.start(self.trainer.totals)))
        self.at = self.at._replace(step=block.first + block.start)  # a loader may have left batches out
        number = block.start
        while number < block.stop:
            end = self.pace.end(number, block.stop, self.at.global_step)
            carry, losses = self.at.loop.run(self.at.carry, block.arrays, number, end, block.rows)
            self._check()  # the chunk before, while this one runs
            self.unchecked = Chunk(self.at, block, number, losses)
            self.at = self.at.moved(carry, end - number)
            number = end
            if self.pace.due(self.at.global_step):
                self._look()

    def _check(self) -> None:
        """Whether the losses of the last chunk are finite."""
        chunk, self.unchecked = self.unchecked, None
        if chunk is None:
            return
        bad = np.flatnonzero(~np.isfinite(np.asarray(chunk.losses)))
        if len(bad):
            self._stop_at(chunk, int(bad[0]))
        self.safe = self.at

    def _stop_at(self, chunk: Chunk, number: int) -> None:
        """Go back to the place before this batch, and raise."""
        before, block = chunk.before, chunk.block
        if number > chunk.start:
            carry, _ = before.loop.run(before.carry, block.arrays, chunk.start, number, block.rows)
            before = before.moved(carry, number - chunk.start)
        self.safe = before
        self._settle()
        self.trainer.mesh.gather(self.trainer)
        refuse_nonfinite(self.trainer, block.batch(number), float(np.asarray(chunk.losses)[number]))

    def _settle(self) -> None:
        """Give the trainer what belongs to the last safe place."""
        place = self.safe
        place.loop.commit(place.carry)
        self.trainer.totals = place.loop.totals(place.carry)
        self.trainer.position |= {"step": place.step, "global_step": place.global_step}

    def _look(self) -> None:
        self._check()
        self._settle()
        trainer = self.trainer
        logs = {"epoch": trainer.position["epoch"], "steps": self.at.step, "total": self.feed.steps,
                "step": self.at.global_step, "seconds": self.pace.seconds, **trainer.task.results(trainer.totals)}
        for callback in self.callbacks:
            callback.on_steps(trainer, logs)
        loop = self.at.loop
        if any(held.value is not value for held, value in zip(loop.updated, self.at.carry)):  # noqa: B905 - sums follow
            self.at = self.safe = self.at._replace(carry=trainer.mesh.copy(loop.start(trainer.totals)))
