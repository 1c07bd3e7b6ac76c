"""What is said of arguments that a Trainer cannot use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..framework.errors import InputError
from ..optim import LBFGS, Optimizer
from .callbacks import Callback
from .feeding import TAILS
from .metric import Metric

# What logs hold besides metrics.
_LOGGED = ("loss", "epoch", "step", "steps", "total", "seconds", "lr", "steps_per_second")


def check_trainer(optimizer: Any, metrics: Any, precision: Any) -> None:
    """The arguments of a Trainer.

    Raises:
        InputError: saying what was expected.
    """
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"optimizer is one of zkynet.optim, such as optim.Adam(lr=1e-3), but got {optimizer!r}.")
    if isinstance(optimizer, LBFGS):
        raise InputError("LBFGS evaluates the loss several times a step, which a Trainer's compiled epochs do not: "
                         "call optimizer.step(function) in a loop of your own.")
    if isinstance(metrics, str | Metric) or not isinstance(metrics, Sequence):
        raise InputError(f"metrics is a list of names and Metric objects, but got {metrics!r}.")
    if precision not in (None, "float32", "bfloat16"):
        raise InputError(f'precision is "bfloat16", "float32" or None, but got {precision!r}.')


def check_names(metrics: Sequence[Metric]) -> None:
    """That the logs can hold all metrics."""
    names = [*_LOGGED, *(one.name for one in metrics)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"there are several values called {', '.join(twice)} in the logs (which have "
                         f"{', '.join(_LOGGED)} of their own): give metrics another name=.")


def check_fit(tail: Any, epochs: Any, callbacks: Any, resume: Any) -> None:
    """The arguments of `Trainer.fit`."""
    if tail not in TAILS:
        raise InputError(f"tail is {', '.join(map(repr, TAILS[:-1]))} or {TAILS[-1]!r}, but got {tail!r}.")
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
        raise InputError(f"epochs is a whole number from 0 on, but got {epochs!r}.")
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Sequence):
        raise InputError(f"callbacks is a list of callbacks, but got {callbacks!r}.")
    if resume is not None and not hasattr(resume, "restore"):
        raise InputError(f"resume is a Checkpointer, but got {resume!r}: pass train.Checkpointer(folder).")
