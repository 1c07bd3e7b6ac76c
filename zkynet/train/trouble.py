"""What is said when training goes wrong: which node was the first that is not finite, which batch was too large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..framework.debug import find_nonfinite
from .errors import TrainingError

if TYPE_CHECKING:
    from .trainer import Trainer


def refuse_nonfinite(trainer: Trainer, batch: Sequence[Any], loss: float) -> NoReturn:
    """Say where a loss that is NaN or infinite comes from. The trainer is at the place before the step."""
    found = find_nonfinite(trainer.graph_of(batch))
    reason = str(found) if found is not None else "evaluated alone it is finite, so the update before it is to blame"
    raise TrainingError(f"the loss is {loss} in step {trainer.position['global_step']} (epoch "
                        f"{trainer.position['epoch']}): {reason}. The parameters are those before that step. Lower the "
                        "learning rate, clip the gradients (clip_norm=), or look at the data.")


@contextlib.contextmanager
def explained(size: int, advice: str = "") -> Iterator[None]:
    """Say which batch size was tried when memory runs out."""
    try:
        yield
    except TrainingError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = (str(error).splitlines() or ["MemoryError"])[0][:200].rstrip(".")
        hint = f"Try a batch size of {size // 2}{advice}." if size > 1 else "Not even one row fits."
        raise TrainingError(f"out of memory with batches of {size} rows: {reason}. {hint}") from error
