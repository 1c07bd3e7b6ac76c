"""Fetched results: NumPy arrays that also answer as PyTorch tensors and as the dicts of older executors did."""

from __future__ import annotations

from typing import Any

import numpy as np


class Fetched(np.ndarray):
    """A result. It is an array; a scalar (no axes) compares, computes and converts like a number.

    >>> loss = fetched(np.float32(0.25))
    >>> float(loss), loss < 1, f"{loss:.1f}", loss.detach().numpy().item(), loss["result"].tolist()
    (0.25, True, '0.2', 0.25, 0.25)
    >>> print(fetched(np.arange(3))[1:])
    [1 2]
    """

    def __getitem__(self, key: Any) -> Any:
        return self if isinstance(key, str) and key == "result" else super().__getitem__(key)

    def detach(self) -> Fetched:
        """Itself, as for a tensor."""
        return self

    def cpu(self) -> Fetched:
        """Itself, as for a tensor."""
        return self

    def numpy(self) -> np.ndarray:
        """The same data as a plain array."""
        return self.view(np.ndarray)

    def __round__(self, digits: int | None = None) -> Any:
        if self.ndim:
            return self.round(digits or 0)
        return round(self.item(), digits)

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - arrays have none, numbers do
        if self.ndim:
            raise TypeError("an array with axes cannot be hashed.")
        return hash(self.item())


def _comparison(name: str) -> Any:
    plain = getattr(np.ndarray, name)

    def compare(self: Fetched, other: Any) -> Any:
        found = plain(self, other)
        return bool(found) if isinstance(found, np.ndarray | np.bool_) and not np.ndim(found) else found

    return compare


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
    setattr(Fetched, _name, _comparison(_name))


def fetched(value: Any) -> Fetched:
    """A value as what a script is given."""
    return np.asarray(value).view(Fetched)
