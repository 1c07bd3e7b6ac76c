"""Callback: what is told of a run's progress, and may stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import Trainer

Logs = Mapping[str, Any]


class Callback:
    """Override what you need. `trainer.stop_training = True` ends the run after the epoch in progress.

    A callback that overrides `on_steps` makes the run stop and look several times a second; one with an attribute
    `every_steps` (a number) also looks at all multiples of it. The numbers of the training do not depend on that.

    >>> class Count(Callback):
    ...     epochs = 0
    ...     def on_epoch_end(self, trainer, epoch, logs):
    ...         self.epochs += 1
    >>> import numpy as np
    >>> from zkynet import nn, optim, train
    >>> count = Count()
    >>> x = np.ones((8, 1), np.float32)
    >>> trainer = train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=0.1))
    >>> _ = trainer.fit((x, x), epochs=3, callbacks=[count], progress=False)
    >>> count.epochs
    3
    """

    every_steps: int | None = None
    watching: bool = True  # False: `on_steps` has nothing to do in this run, so epochs need not stop for it

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch; after a checkpoint was restored, if the run is resumed."""

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch, numbered from 0 on."""

    def on_steps(self, trainer: Trainer, logs: Logs) -> None:
        """After some steps. Training goes on with the parameters, states and options that are set here.

        Args:
            logs: "epoch", "step" (of all epochs), "steps" (done in this epoch), "total" (steps of an epoch), "seconds"
                (since the epoch began), and the loss and metrics of the epoch so far.
        """

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation; `trainer.history` has it already.

        Args:
            logs: "loss", metrics, "val_loss", "val_" metrics, "lr", "seconds", "steps_per_second".
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, and after a run that an error or Ctrl-C ended."""
