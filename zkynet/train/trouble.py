"""What is said when training goes wrong: which node was the first that is not finite, which batch was too large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..framework.debug import find_nonfinite
from .errors import TrainingError

if TYPE_CHECKING:
    from .feeding import Block, Feed
    from .loops import Loop
    from .trainer import Trainer


class Chunk(NamedTuple):
    """Steps that were run: what the loop carried before, the block, its first batch, and the steps made before."""

    carry: list[Any]
    block: Block
    start: int
    step: int


def refuse_nonfinite(trainer: Trainer, loop: Loop, chunk: Chunk, losses: Any) -> None:
    """Raise when a loss is NaN or infinite; parameters and state are then those before that step."""
    values = np.asarray(losses)
    if np.isfinite(values).all():
        return
    number = int(np.flatnonzero(~np.isfinite(values))[0])
    carry, block = chunk.carry, chunk.block
    if number > chunk.start:
        carry, _ = loop.run(carry, block.arrays, chunk.start, number, block.rows)
    loop.commit(carry)
    trainer.mesh.gather(trainer)
    step = chunk.step + number - chunk.start
    size = block.arrays[0].shape[1]
    real = min(block.rows - number * size, size)
    graph = trainer.graph_of([np.asarray(array[number])[:real] for array in block.arrays])
    found = find_nonfinite(graph)
    reason = str(found) if found is not None else "evaluated alone it is finite, so the update before it is to blame"
    raise TrainingError(f"the loss is {values[number]} in step {step} (epoch {trainer.position['epoch']}): {reason}. "
                        "The parameters are those before that step. Lower the learning rate, clip the gradients "
                        "(clip_norm=), or look at the data.")


@contextlib.contextmanager
def explained(trainer: Trainer, feed: Feed) -> Iterator[None]:
    """Say which batch size was tried when memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = str(error).splitlines()[0][:200]
        raise TrainingError(f"out of memory with batches of {feed.size} rows: {reason}. Try a batch size of "
                            f"{max(1, feed.size // 2)}, with accumulate=2 in the optimizer for the same update."
                            ) from error
