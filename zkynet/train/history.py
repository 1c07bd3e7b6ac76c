"""History: what every epoch of a run gave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class History:
    """The logs of all epochs, one dict each: "epoch" (from 0 on), "loss", metrics, "val_loss" and so on.

    Attributes:
        epochs: the dicts, in order. Arrays among the values (a confusion matrix) are nested lists.

    >>> history = History()
    >>> history.append(0, {"loss": 2.0})
    >>> history.append(1, {"loss": 1.5, "val_loss": 1.75})
    >>> history["loss"], history["val_loss"], history.last["loss"]
    ([2.0, 1.5], [None, 1.75], 1.5)
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def append(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Add an epoch."""
        self.epochs.append({"epoch": int(epoch), **{name: _plain(value) for name, value in logs.items()}})

    @property
    def names(self) -> list[str]:
        """The names of all values, in the order in which they came up."""
        return list(dict.fromkeys(name for logs in self.epochs for name in logs))

    @property
    def last(self) -> dict[str, Any]:
        """The last epoch's logs; empty before there is one."""
        return self.epochs[-1] if self.epochs else {}

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.names:
            raise KeyError(f"the history has no {name!r}; it has: {', '.join(self.names) or 'no epoch yet'}.")
        return [logs.get(name) for logs in self.epochs]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.epochs)

    def __len__(self) -> int:
        return len(self.epochs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.to_json() == other.to_json()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it changes

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={value:.4g}" for name, value in self.last.items() if isinstance(value, float))
        return f"History({len(self)} epochs{'; ' if last else ''}{last})"

    def to_json(self) -> str:
        """The history as JSON text; `from_json` gives the same numbers to the last bit."""
        return json.dumps(self.epochs)

    @classmethod
    def from_json(cls, text: str) -> History:
        """The history that `to_json` wrote."""
        history = cls()
        history.epochs = json.loads(text)
        return history


def _plain(value: Any) -> Any:
    """A value as JSON has them."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    return np.asarray(value).tolist()
