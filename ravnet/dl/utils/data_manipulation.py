"""Data in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zkynet.framework.errors import InputError


def batch_iterator(X: Any, y: Any = None, batch_size: int = 64) -> Iterator[Any]:
    """Rows of X (and y) in order, batch_size at a time; the last batch may be smaller.

    >>> import numpy as np
    >>> [(len(a), b.tolist()) for a, b in batch_iterator(np.zeros((5, 2)), np.arange(5), batch_size=2)]
    [(2, [0, 1]), (2, [2, 3]), (1, [4])]
    >>> [len(a) for a in batch_iterator(np.zeros((5, 2)), batch_size=4)]
    [4, 1]
    """
    count = len(X)
    if int(batch_size) < 1:
        raise InputError(f"batch_size is 1 or more, but got {batch_size!r}.")
    if y is not None and len(y) != count:
        raise InputError(f"X has {count} rows, but y has {len(y)}.")
    for start in range(0, count, int(batch_size)):
        end = min(start + int(batch_size), count)
        yield X[start:end] if y is None else (X[start:end], y[start:end])
