"""What is said when training goes wrong: which node was the first that is not finite, which batch was too large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..framework.debug import find_nonfinite
from .errors import TrainingError

if TYPE_CHECKING:
    from .feeding import Block, Feed
    from .loops import Loop
    from .trainer import Trainer


def refuse_nonfinite(trainer: Trainer, loop: Loop, carry: list[Any], block: Block, start: int, losses: Any) -> None:
    """Raise when a loss is NaN or infinite; parameters and state are then those before that step."""
    values = np.asarray(losses)
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return
    number = int(bad[0])
    if number > start:
        carry, _ = loop.run(carry, block.arrays, start, number, block.rows)
    loop.commit(carry)
    trainer.mesh.gather(trainer)
    step = trainer.position["global_step"] + number - start
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
