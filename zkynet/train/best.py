"""BestCheckpoint: keeps the state of the best epoch on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .callbacks import Callback, Logs
from .checkpoints import Checkpointer, Restored
from .monitor import Monitor

if TYPE_CHECKING:
    from .trainer import Trainer


class BestCheckpoint(Callback):
    """Save the trainer's state after every epoch that is better than all before; keep that of the best one.

    The epochs in the trainer's history count, so a resumed run does not replace a better checkpoint with a worse one.

    Args:
        folder: where; another one than that of a `Checkpointer`.
        monitor: the name of the value in the logs.
        mode: "min" or "max" is better; by default what suits the metric.
        min_delta: by how much a value must be better.

    Attributes:
        monitor: `monitor.best` is the best value, `monitor.epoch` where it was.
    """

    def __init__(self, folder: str | os.PathLike[str], monitor: str = "val_loss", mode: str | None = None,
                 min_delta: float = 0.0):
        self.files = Checkpointer(folder, keep=1)
        self.monitor = Monitor(monitor, mode, min_delta)

    def on_fit_start(self, trainer: Trainer) -> None:
        self.files.on_fit_start(trainer)
        self.monitor.start(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self.monitor.see(epoch, logs):
            self.files.save(trainer)

    def restore(self, trainer: Trainer) -> Restored | None:
        """Give the trainer the state of the best epoch; see `Checkpointer.restore`."""
        return self.files.restore(trainer)
