"""Which rows of a batch count in its loss, where others only fill it up."""

from __future__ import annotations

import copy
from typing import Any

from ..framework import op


def can_weigh(loss: Any) -> bool:
    """Whether the loss can be taken over some rows of a batch: whether its mean is one of rows, or of classes that are
    not ignored."""
    return (getattr(loss, "reduction", None) == "mean" and getattr(loss, "rowwise", False)
            and (hasattr(loss, "ignore_index") or getattr(loss, "weight", None) is None))


def weighed(loss: Any, prediction: Any, target: Any, weights: Any) -> Any:
    """The loss over the rows whose weight is 1; those of weight 0 only fill the batch up."""
    if _has_classes(loss, target):
        real = op.greater(_along_rows(weights, target.ndim), 0.5)
        return loss(prediction, op.where(real, op.cast(target, "int32"), loss.ignore_index))
    rows = copy.copy(loss)
    rows.reduction = "none"
    losses = rows(prediction, target)
    losses = op.mean(op.reshape(losses, (losses.shape[0], -1)), axis=1) if losses.ndim > 1 else losses
    return op.sum(losses * weights) / op.sum(weights)


def counted(loss: Any, target: Any, weights: Any, rows: Any) -> Any:
    """What the loss's mean divides by, float32: the rows, or the places that are not ignored, by the class's weight.
    Losses of several batches, times this, add up to the loss of all rows."""
    if not (can_weigh(loss) and _has_classes(loss, target)):
        return rows
    target = op.cast(target, "int32")
    kept = op.not_equal(target, loss.ignore_index)
    if weights is not None:
        kept = op.logical_and(kept, op.greater(_along_rows(weights, target.ndim), 0.5))
    if loss.weight is None:
        return op.sum(op.cast(kept, "float32"))
    return op.sum(op.where(kept, op.take(loss.weight, op.where(kept, target, 0)), 0.0))


def _has_classes(loss: Any, target: Any) -> bool:
    return hasattr(loss, "ignore_index") and target.dtype.kind in "iu"


def _along_rows(weights: Any, ndim: int) -> Any:
    return op.reshape(weights, (weights.shape[0],) + (1,) * (ndim - 1))
