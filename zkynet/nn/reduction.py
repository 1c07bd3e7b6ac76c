"""How the losses of the elements of a batch become one number."""

from __future__ import annotations

from typing import Any

from ..framework import op
from ..framework.errors import InputError
from ..framework.operators.losses import REDUCTIONS, wrong_reduction


def check_reduction(reduction: str, known: tuple[str, ...] = REDUCTIONS) -> str:
    """The reduction, if it is one of those."""
    if reduction not in known:
        raise InputError(f"{wrong_reduction(reduction, known)}.")
    return reduction


def reduced(losses: Any, reduction: str, over: Any = None) -> Any:
    """The losses themselves ("none"), their sum, or their mean.

    Args:
        over: weights that the losses already have in them; the mean then divides the sum by theirs.

    Raises:
        InputError: for another reduction.

    >>> float(reduced([1.0, 3.0], "mean").value), float(reduced([1.0, 3.0], "mean", over=[0.5, 0.5]).value)
    (2.0, 4.0)
    """
    check_reduction(reduction)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return op.sum(losses)
    return op.mean(losses) if over is None else op.sum(losses) / op.sum(over)
