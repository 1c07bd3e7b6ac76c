"""Learning rates that are set between epochs, on the host. Schedules inside the program: `zkynet.optim`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import optim
from ..framework.errors import InputError
from .callbacks import Callback, Logs
from .monitor import Monitor

if TYPE_CHECKING:
    from .trainer import Trainer


def _refuse_schedule(optimizer: Any, callback: Callback) -> None:
    if any(callable(group["lr"]) for group in optimizer.param_groups):
        raise InputError(f"{type(callback).__name__} sets the learning rate, but the optimizer has a schedule of its "
                         "own as lr: give it a number, or leave this callback out.")


class LearningRateSchedule(Callback):
    """Set the learning rate at the start of each epoch; this compiles nothing.

    Args:
        rate: a function of the epoch (from 0 on) that gives the rate.

    >>> import numpy as np
    >>> from zkynet import nn, optim, train
    >>> x = np.ones((8, 1), np.float32)
    >>> trainer = train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=1.0))
    >>> halves = LearningRateSchedule(lambda epoch: 0.5 ** epoch)
    >>> trainer.fit((x, x), epochs=3, callbacks=[halves], progress=False)["lr"]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, rate: Callable[[int], float]):
        if isinstance(rate, optim.ReduceOnPlateau):
            raise InputError("a rate that listens to a value is set by train.ReduceOnPlateau(monitor=...).")
        if not callable(rate):
            raise InputError(f"LearningRateSchedule needs a function from the epoch to the rate, but got {rate!r}.")
        self.rate = rate

    def on_fit_start(self, trainer: Trainer) -> None:
        _refuse_schedule(trainer.optimizer, self)

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        trainer.optimizer.lr = float(self.rate(epoch))


class ReduceOnPlateau(Callback):
    """Multiply the learning rates with a factor when a value was not better for more than `patience` epochs.

    Arguments and behaviour are those of torch.optim.lr_scheduler.ReduceLROnPlateau (and of `optim.ReduceOnPlateau`).
    The epochs in the trainer's history count, so that a resumed run goes on as if it had never been interrupted.

    Args:
        monitor: the name of the value in the logs.
        mode: "min" or "max" is better; by default what suits the metric.
        factor: what rates are multiplied with.
        patience: how many epochs without a better value are let pass.
        threshold: by how much a value must be better: as a fraction of the best one ("rel"), or as it is ("abs").
        cooldown: how many epochs to wait after a reduction before counting again.
        min_lr: no rate goes below.
        eps: smaller changes are not made.
    """

    def __init__(self, monitor: str = "val_loss", mode: str | None = None, factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0,
                 eps: float = 1e-8):
        self.monitor = Monitor(monitor, mode)
        self._new = functools.partial(optim.ReduceOnPlateau, factor=factor, patience=patience, threshold=threshold,
                                      threshold_mode=threshold_mode, cooldown=cooldown, min_lr=min_lr, eps=eps)
        self._plateau = self._new()  # which looks at the options

    def on_fit_start(self, trainer: Trainer) -> None:
        _refuse_schedule(trainer.optimizer, self)
        past = self.monitor.start(trainer)
        self._plateau = self._new(mode=self.monitor.mode or "min")
        for logs in past:
            self._plateau.observe(self.monitor.value(logs))

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self._plateau.observe(self.monitor.value(logs)):
            for group in trainer.optimizer.param_groups:
                # From and to float32, what the optimizer computes with and a checkpoint holds: the same after a resume.
                group["lr"] = float(np.float32(self._plateau.reduced(float(np.float32(group["lr"])))))
