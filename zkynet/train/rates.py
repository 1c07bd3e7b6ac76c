"""Learning rates that are set between epochs, on the host. Schedules inside the program: `zkynet.optim`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

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
        if not callable(rate):
            raise InputError(f"LearningRateSchedule needs a function from the epoch to the rate, but got {rate!r}.")
        self.rate = rate

    def on_fit_start(self, trainer: Trainer) -> None:
        _refuse_schedule(trainer.optimizer, self)

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        trainer.optimizer.lr = float(self.rate(epoch))


class ReduceOnPlateau(Callback):
    """Multiply the learning rates with a factor when a value was not better for more than `patience` epochs.

    Arguments and behaviour are those of torch.optim.lr_scheduler.ReduceLROnPlateau, except that for values below zero,
    too, a better one must be better by `threshold` times the magnitude. The epochs in the trainer's history count, so
    that a resumed run goes on as if it had never been interrupted.

    Args:
        monitor: the name of the value in the logs.
        mode: "min" or "max" is better; by default what suits the metric.
        factor: what rates are multiplied with.
        patience: how many epochs without a better value are let pass.
        threshold: by how much a value must be better: of the best one's magnitude ("rel"), or as it is ("abs").
        cooldown: how many epochs to wait after a reduction before counting again.
        min_lr: no rate goes below.
        eps: smaller changes are not made.
    """

    def __init__(self, monitor: str = "val_loss", mode: str | None = None, factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0,
                 eps: float = 1e-8):
        if not 0 < factor < 1:
            raise InputError(f"factor is what the rate is multiplied with, between 0 and 1, but got {factor!r}.")
        if threshold_mode not in ("rel", "abs"):
            raise InputError(f'threshold_mode is "rel" or "abs", but got {threshold_mode!r}.')
        self.monitor = Monitor(monitor, mode, threshold, relative=threshold_mode == "rel")
        self.factor, self.patience, self.cooldown = factor, patience, cooldown
        self.min_lr, self.eps = min_lr, eps
        self._bad = self._cooling = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        _refuse_schedule(trainer.optimizer, self)
        self._bad = self._cooling = 0
        for _, better in self.monitor.start(trainer):
            self._plateau(better)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self._plateau(self.monitor.see(epoch, logs)):
            for group in trainer.optimizer.param_groups:
                self._reduce(group)

    def _plateau(self, better: bool) -> bool:
        """Count an epoch; whether it is time to reduce."""
        self._bad = 0 if better else self._bad + 1
        if self._cooling > 0:
            self._cooling -= 1
            self._bad = 0
        if self._bad <= self.patience:
            return False
        self._bad, self._cooling = 0, self.cooldown
        return True

    def _reduce(self, group: Any) -> None:
        # From and to float32, what the optimizer computes with and a checkpoint holds: the same after a resume.
        rate = float(np.float32(group["lr"]))
        new = max(float(np.float32(rate * self.factor)), self.min_lr)
        if rate - new > self.eps:
            group["lr"] = new
