"""Metric: a figure that comes from sums over the examples, so that it can be computed inside compiled epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..framework import op
from ..framework.errors import InputError
from ..framework.operators.arguments import node_of


class Metric:
    """Derive, and give `terms` and `result`.

    A trainer computes the terms inside its compiled loop, adds up their rows over all batches (without those that only
    fill up the last one), and passes the sums to `result` on the host.

    Args:
        name: how logs call it, when the usual name will not do.

    Attributes:
        size: how many terms there are.
        larger_is_better: what early stopping, best checkpoints and the like go by.

    >>> class LargestError(Metric):
    ...     name = "large_errors"  # how many are above 1
    ...     larger_is_better = False
    ...     def terms(self, prediction, target):
    ...         return (op.greater(op.abs(prediction - target), 1.0),)
    ...     def result(self, totals, count):
    ...         return float(totals[0])
    >>> LargestError()(np.array([1.0, 5.0, 9.0]), np.array([1.5, 3.0, 2.0]))
    2.0
    """

    name: str = "metric"
    size: int = 1
    larger_is_better: bool = True

    def __init__(self, name: str | None = None):
        if name is not None:
            self.name = name

    def suited_to(self, loss: Any) -> Metric:
        """The metric for predictions that this loss is for: where it was not told whether they are probabilities."""
        return self

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        """Nodes with a row for each example, (n, ...), of the model's output and the target."""
        raise NotImplementedError(f"{type(self).__name__} does not define terms().")

    def result(self, totals: Sequence[np.ndarray], count: float) -> Any:
        """The figure, of the terms summed over all examples, and their number."""
        raise NotImplementedError(f"{type(self).__name__} does not define result().")

    def __call__(self, prediction: Any, target: Any) -> Any:
        """The figure of arrays as a whole."""
        terms = self.terms(node_of(prediction, self.name), node_of(target, self.name))
        totals = [np.asarray(op.sum(op.cast(term, "float32"), axis=0).value) for term in terms]
        return self.result(totals, float(len(prediction)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Mean(Metric):
    """The mean of a function of prediction and target over all examples (and what else a row has).

    Args:
        function: of two nodes (n, ...), gives a node (n, ...); written with `op`.

    >>> Mean(lambda prediction, target: op.abs(prediction - target), "error")(np.zeros(2), np.array([1.0, 2.0]))
    1.5
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None, larger_is_better: bool = False):
        super().__init__(name or getattr(function, "__name__", None))
        if not self.name.isidentifier():
            raise InputError(f"a metric made of a function needs a name for the logs, but this is {self.name!r}: "
                             'Mean(function, "name").')
        self.function, self.larger_is_better = function, larger_is_better

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        rows = op.cast(self.function(prediction, target), "float32")
        return (op.mean(op.reshape(rows, (rows.shape[0], -1)), axis=1),)

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        return ratio(totals[0], count)


def ratio(part: Any, whole: Any) -> float:
    """part / whole as a float; nan where there is nothing."""
    return float(part) / float(whole) if float(whole) else float("nan")
