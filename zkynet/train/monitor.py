"""Monitor: follows one of the logged values, and tells when it became better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..framework.errors import InputError
from .callbacks import Logs

if TYPE_CHECKING:
    from .trainer import Trainer

MODES = ("min", "max", None)


class Monitor:
    """The best of a value so far.

    Args:
        name: that of the value in an epoch's logs.
        mode: "min" or "max" is better; None goes by the metric of this name (a loss: "min").
        min_delta: by how much a value must be better than the best one.

    Attributes:
        best: the best value; epoch: where it was; waited: how many epochs ended since then.

    >>> monitor = Monitor("val_loss", "min", min_delta=0.1)
    >>> [monitor.see(epoch, {"val_loss": loss}) for epoch, loss in enumerate([1.0, 0.95, 0.5])]
    [True, False, True]
    >>> monitor.best, monitor.epoch
    (0.5, 2)
    """

    def __init__(self, name: str, mode: str | None = None, min_delta: float = 0.0):
        if mode not in MODES:
            raise InputError(f'mode is "min", "max" or None, but got {mode!r}.')
        if min_delta < 0:
            raise InputError(f"min_delta is by how much a value must be better, 0 or more, but got {min_delta!r}.")
        self.name, self.mode, self.min_delta = name, mode, float(min_delta)
        self.forget()

    def forget(self) -> None:
        """Start again."""
        self.best: float | None = None
        self.epoch: int | None = None
        self.waited = 0

    def start(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Start with what is in the history, so that a resumed run decides as one that was never interrupted.

        Returns:
            the logs of the epochs that have the value.
        """
        self.forget()
        if self.mode is None:
            self.mode = self._direction(trainer)
        past = [logs for logs in trainer.history.epochs if self.name in logs]
        for logs in past:
            self.see(logs["epoch"], logs)
        return past

    def _direction(self, trainer: Trainer) -> str:
        bare = self.name.removeprefix("val_")
        if bare == "loss":
            return "min"
        for metric in getattr(trainer, "metrics", ()):
            if metric.name == bare:
                return "max" if metric.larger_is_better else "min"
        known = ", ".join(["loss", *(metric.name for metric in getattr(trainer, "metrics", ()))])
        raise InputError(f'whether a larger {self.name} is better is not known: give mode="min" or mode="max", or a '
                         f'value that is known to this trainer: {known}, or one of these with "val_" before it.')

    def see(self, epoch: int, logs: Logs) -> bool:
        """Look at an epoch's logs; whether the value is better than the best one so far.

        Raises:
            InputError: when the value is not there, or is no number.
        """
        value = self.value(logs)
        if self._better(value):
            self.best, self.epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    def value(self, logs: Logs) -> float:
        """The value in an epoch's logs."""
        if self.name not in logs:
            hint = " Pass validation data to fit." if self.name.startswith("val_") else ""
            raise InputError(f"there is no {self.name!r} in the logs to go by; there are: "
                             f"{', '.join(logs)}.{hint}")
        found: Any = np.asarray(logs[self.name])
        if found.size != 1:
            raise InputError(f"{self.name!r} is no single number, but has shape {found.shape}: monitor another value.")
        return float(found)

    def _better(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        return value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
