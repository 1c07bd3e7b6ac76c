"""EarlyStopping: end a run that no longer gets better."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..framework.errors import InputError
from .callbacks import Callback, Logs
from .monitor import Monitor

if TYPE_CHECKING:
    from .trainer import Trainer


class EarlyStopping(Callback):
    """Stop when a value was not better for some epochs.

    The epochs in the trainer's history count: a run that is resumed stops where it would have stopped otherwise.

    Args:
        monitor: the name of the value in the logs.
        patience: after how many epochs without a better value to stop.
        min_delta: by how much a value must be better.
        mode: "min" or "max" is better; by default what suits the metric.
        restore_best: at the end give the model the parameters and states of the best epoch.

    Attributes:
        stopped: the epoch after which it stopped the run, or None.

    >>> import numpy as np
    >>> from zkynet import nn, optim, train
    >>> x = np.ones((8, 1), np.float32)
    >>> trainer = train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=0.0))
    >>> history = trainer.fit((x, x), epochs=9, callbacks=[EarlyStopping("loss", patience=2)], progress=False)
    >>> len(history)
    3
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, mode: str | None = None,
                 restore_best: bool = False):
        if patience < 1:
            raise InputError(f"patience is a number of epochs, 1 or more, but got {patience!r}.")
        self.monitor = Monitor(monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.stopped: int | None = None
        self._best: dict[str, np.ndarray] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        kept = self.monitor.epoch if self._best is not None else None
        self.monitor.start(trainer)
        if self.monitor.epoch != kept:
            self._best = None
        self.stopped = None
        self._judge(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self.monitor.see(epoch, logs) and self.restore_best:
            self._best = {name: np.array(value) for name, value in trainer.model.state_dict().items()}
        self._judge(trainer)

    def _judge(self, trainer: Trainer) -> None:
        if self.monitor.waited >= self.patience:
            self.stopped = trainer.history.last.get("epoch")
            trainer.stop_training = True

    def on_fit_end(self, trainer: Trainer) -> None:
        # After an error the model stays as it is: the run did not come to its end.
        done = trainer.stop_training or trainer.position["epoch"] >= trainer.epochs
        if not self.restore_best or not done or self.monitor.epoch is None:
            return
        if self.monitor.epoch == trainer.history.last.get("epoch"):
            return
        if self._best is None:
            warnings.warn(f"the best epoch, {self.monitor.epoch}, was before this run was resumed, so its parameters "
                          "are not at hand: the model keeps the last ones. Use BestCheckpoint to have them in a file.",
                          stacklevel=2)
            return
        trainer.model.load_state_dict(self._best)
