"""Metrics of predicted numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..framework import op
from ..framework.errors import ShapeError
from .metric import Metric, ratio


def _columns(prediction: Any, target: Any, name: str) -> tuple[Any, Any]:
    """Both as (n, columns) in float32; (n, 1) and (n,) are the same."""
    if _bare(prediction.shape) != _bare(target.shape):
        raise ShapeError(f"{name}: prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must have the "
                         "same shape. Reshape one of them.")
    rows = prediction.shape[0]
    both = [op.reshape(op.cast(x, "float32"), (rows, -1)) for x in (prediction, target)]
    return both[0], both[1]


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape)


class MSE(Metric):
    """Mean squared error, 1/n sum (prediction - target)^2.

    Prediction and target (n, ...).

    >>> MSE()(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    2.0
    """

    name = "mse"
    larger_is_better = False

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        prediction, target = _columns(prediction, target, self.name)
        return (op.mean(op.square(prediction - target), axis=1),)

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        return ratio(totals[0], count)


class MAE(Metric):
    """Mean absolute error, 1/n sum |prediction - target|.

    Prediction and target (n, ...).

    >>> MAE()(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """

    name = "mae"
    larger_is_better = False

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        prediction, target = _columns(prediction, target, self.name)
        return (op.mean(op.abs(prediction - target), axis=1),)

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        return ratio(totals[0], count)


class R2(Metric):
    """Coefficient of determination, 1 - sum (prediction - target)^2 / sum (target - mean)^2; the mean over columns.

    Prediction and target (n, ...). A column whose targets are all the same counts 1 if it is predicted exactly, else 0,
    as in scikit-learn.

    Args:
        center: a number near the targets' mean. The sums are in float32, so give it where targets lie far from zero
            compared with how much they vary.

    >>> R2()(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    0.5
    """

    name = "r2"
    size = 3

    def __init__(self, center: float = 0.0, name: str | None = None):
        super().__init__(name)
        self.center = center

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        prediction, target = _columns(prediction, target, self.name)
        moved = target - self.center
        return op.square(prediction - target), moved, op.square(moved)

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        residual, first, second = (np.asarray(total, np.float64) for total in totals)
        spread = second - first**2 / count
        spread = np.where(spread > second * 1e-6, spread, 0.0)  # below, it is rounding of the sums
        exact = np.where(residual == 0, 1.0, 0.0)
        return float(np.mean(np.where(spread > 0, 1 - residual / np.where(spread > 0, spread, 1.0), exact)))
