"""The metrics, and their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..framework.errors import InputError
from .classification import F1, Accuracy, ConfusionMatrix, Perplexity, Precision, Recall, TopK
from .metric import Mean, Metric
from .regression import MAE, MSE, R2

NAMES: dict[str, type[Metric]] = {kind.name: kind for kind in (
    Accuracy, Precision, Recall, F1, ConfusionMatrix, Perplexity, MSE, MAE, R2)}


def metric(name: str | Callable[..., Any], **options: Any) -> Metric:
    """The metric of this name ("top5", or any other number, for `TopK`), or the mean of a function.

    Raises:
        InputError: for an unknown name; it lists those that exist.

    >>> metric("top3").k, metric("f1", average="micro").average
    (3, 'micro')
    """
    if isinstance(name, type) and issubclass(name, Metric):
        return name(**options)
    if callable(name):
        return Mean(name, **options)
    if isinstance(name, str):
        top = re.fullmatch(r"top_?([1-9]\d*)", name)
        if top:
            return TopK(int(top.group(1)), **options)
        if name in NAMES:
            return NAMES[name](**options)
    raise InputError(f"there is no metric {name!r}; there are: {', '.join(NAMES)}, top5 (or another number). For "
                     "one of your own pass a function of prediction and target, or derive from train.Metric.")


__all__ = [
    "F1", "MAE", "MSE", "Accuracy", "ConfusionMatrix", "Mean", "Metric", "Perplexity", "Precision", "R2", "Recall",
    "TopK", "metric",
]
