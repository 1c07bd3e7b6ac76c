"""What the contenders of `benchmarks.train` have in common."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Contender(NamedTuple):
    """A way to train.

    Attributes:
        call: trains `steps` steps, going on from the last call; returns the loss (the mean over the steps) where it is.
        steps: one, or those of an epoch.
    """

    call: Callable[[], Any]
    steps: int = 1


def stepper(step: Callable[[Any, Any], Any], batches: Sequence[tuple[Any, Any]]) -> Contender:
    """A contender that makes one step with one batch after the other, over and over."""
    following = itertools.cycle(batches)
    return Contender(lambda: step(*next(following)))


def optional(name: str) -> Any:
    """The package, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def sequential(nn: Any, name: str) -> Any:
    """The nets without branches, of torch.nn's layers or of zkynet.nn's, which have the same names."""
    if name == "mlp":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if name == "lenet":
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10))
