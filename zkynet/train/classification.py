"""Metrics of predicted classes.

Predictions are scores (logits or probabilities) with an axis of classes: axis 1, as in `nn.CrossEntropyLoss`, or the
last one where only that fits the target. Targets are classes (the same shape without that axis), or probabilities of
the classes (the same shape). A single score is a yes or no: yes above `threshold`; so is each of several scores with
`binary=True`. Positions whose target is `ignore_index` count nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..framework import op
from ..framework.errors import InputError, ShapeError
from .metric import Metric, ratio

IGNORE = -100


class Decided(NamedTuple):
    """What was predicted and what is true; (n, positions) classes, or (n, positions, labels) of yes and no."""

    predicted: Any
    actual: Any
    counted: Any  # of the same shape, 1.0 where it counts
    labels: int  # the number of classes, or of yes-or-no labels
    binary: bool

    def indicators(self) -> tuple[Any, Any]:
        """Both as (n, positions, labels) of 0 and 1; all 0 where nothing counts."""
        if self.binary:
            return tuple(op.cast(x, "float32") * self.counted for x in (self.predicted, self.actual))
        mask = op.expand_dims(self.counted, -1)
        return tuple(op.one_hot(x, self.labels, "float32") * mask for x in (self.predicted, self.actual))


class Classification(Metric):
    """What metrics of classes have in common.

    Args:
        axis: the axis of the classes.
        threshold: of a single score: 0 for a logit, 0.5 for a probability; by default that of a Trainer's loss, or 0.
        binary: whether each score is a yes or no of its own; by default where there is only one.
        ignore_index: the target whose positions count nothing.
        name: how logs call it.
    """

    def __init__(self, *, axis: int | None = None, threshold: float | None = None, binary: bool | None = None,
                 ignore_index: int = IGNORE, name: str | None = None):
        super().__init__(name)
        self.axis, self.threshold, self.binary, self.ignore_index = axis, threshold, binary, ignore_index

    def suited_to(self, loss: Any) -> Metric:
        suited = copy.copy(self)
        if self.threshold is None:
            suited.threshold = getattr(loss, "decision", None)
        return suited

    def axis_of(self, prediction: Any, target: Any) -> int:
        """The axis of the classes; -1 too is the last."""
        scores, classes = tuple(prediction.shape), tuple(target.shape)
        if scores == classes:
            return (1 if self.axis is None else self.axis) if len(scores) > 1 else 0
        for axis in (1, len(scores) - 1) if self.axis is None else (self.axis % len(scores),):
            if 0 < axis < len(scores) and scores[:axis] + scores[axis + 1:] == classes:
                return axis
        raise ShapeError(f"{self.name}: scores {scores} and targets {classes} do not belong together: targets are "
                         "classes, with the shape of the scores without their axis of classes (axis 1 or the last), "
                         "or have the same shape.")

    def scores_last(self, prediction: Any, target: Any) -> tuple[Any, Any]:
        """Scores (n, positions, classes), and targets (n, positions) or (n, positions, classes)."""
        axis, rows = self.axis_of(prediction, target), prediction.shape[0]
        if prediction.ndim == 1:
            return op.reshape(prediction, (rows, 1, 1)), op.reshape(target, (rows, 1, 1))
        soft = prediction.shape == target.shape
        scores = prediction if axis in (-1, prediction.ndim - 1) else op.moveaxis(prediction, axis, -1)
        if soft:
            target = target if axis in (-1, target.ndim - 1) else op.moveaxis(target, axis, -1)
        classes = scores.shape[-1]
        return op.reshape(scores, (rows, -1, classes)), op.reshape(target, (rows, -1, classes) if soft else (rows, -1))

    def decide(self, prediction: Any, target: Any) -> Decided:
        """What the scores predict."""
        scores, target = self.scores_last(prediction, target)
        rows, positions, classes = scores.shape
        if self.binary or self.binary is None and classes == 1:
            target = op.reshape(target, (rows, positions, -1))
            if target.shape[-1] != classes:
                raise ShapeError(f"{self.name}: with binary=True targets are a yes or no for each of the {classes} "
                                 "scores, in the same shape.")
            yes = op.greater(scores, self.threshold or 0.0)
            return Decided(yes, op.greater(target, 0.5), self.counted(target), classes, True)
        predicted = op.argmax(scores, axis=-1)
        if target.ndim == 3:
            return Decided(predicted, op.argmax(target, axis=-1), op.ones((rows, positions)), classes, False)
        return Decided(predicted, op.cast(target, "int32"), self.counted(target), classes, False)

    def counted(self, target: Any) -> Any:
        """1 where the target is a class (or a yes or no), 0 where it is ignored."""
        return op.cast(op.not_equal(target, self.ignore_index), "float32")


class Accuracy(Classification):
    """The part of the predictions that are right.

    >>> Accuracy()(np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]]), np.array([0, 1, 1]))
    0.666...
    """

    name = "accuracy"
    size = 2

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        found = self.decide(prediction, target)
        right = op.cast(op.equal(found.predicted, found.actual), "float32")
        axes = tuple(range(1, right.ndim))
        return op.sum(right * found.counted, axis=axes), op.sum(found.counted, axis=axes)

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        return ratio(*totals)


class TopK(Classification):
    """The part of the examples whose class is among the k with the largest scores.

    >>> TopK(2)(np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]), np.array([1, 0]))
    0.5
    """

    size = 2

    def __init__(self, k: int = 5, *, axis: int | None = None, ignore_index: int = IGNORE, name: str | None = None):
        super().__init__(axis=axis, ignore_index=ignore_index, name=name or f"top{k}")
        if k < 1:
            raise InputError(f"TopK looks at the k largest scores, k from 1 on, but got {k!r}.")
        self.k = k

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        scores, target = self.scores_last(prediction, target)
        target = op.argmax(target, axis=-1) if target.ndim == 3 else op.cast(target, "int32")
        _, best = op.top_k(scores, min(self.k, scores.shape[-1]))
        hit = op.cast(op.any(op.equal(best, op.expand_dims(target, -1)), axis=-1), "float32")
        counted = self.counted(target)
        return op.sum(hit * counted, axis=1), op.sum(counted, axis=1)

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        return ratio(*totals)


class Counted(Classification):
    """Precision, recall and F1, of how often each class was predicted, was true, and both.

    Args:
        average: "macro", the mean over the classes that occur (in predictions or targets); "micro", of all counts
            together; "weighted", the mean weighted with how often a class is true; None, an array with one for each.
        options: axis, threshold, binary, ignore_index and name.

    Where there is nothing to divide by, the figure is 0. A single score has one class, yes.
    """

    size = 3

    def __init__(self, average: str | None = "macro", **options: Any):
        super().__init__(**options)
        if average not in ("macro", "micro", "weighted", None):
            raise InputError(f'{self.name}: average is "macro", "micro", "weighted" or None, but got {average!r}.')
        self.average = average

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        predicted, actual = self.decide(prediction, target).indicators()
        return tuple(op.sum(x, axis=1) for x in (predicted * actual, predicted, actual))

    def result(self, totals: Sequence[np.ndarray], count: float) -> Any:
        hits, predicted, actual = (np.asarray(total, np.float64) for total in totals)
        if self.average == "micro":
            return float(self.quotient(hits.sum(), predicted.sum(), actual.sum()))
        each = self.quotient(hits, predicted, actual)
        if self.average is None:
            return each
        weights = actual if self.average == "weighted" else (predicted + actual > 0).astype(np.float64)
        return float((each * weights).sum() / weights.sum()) if weights.sum() else 0.0

    def quotient(self, hits: Any, predicted: Any, actual: Any) -> np.ndarray:
        """The figure for each class."""
        raise NotImplementedError


def _divided(part: Any, whole: Any) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(np.asarray(part, np.float64)), where=np.asarray(whole) > 0)


class Precision(Counted):
    """How much of what was predicted is true: hits / predicted, for each class, then averaged.

    >>> Precision(average=None)(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1])).tolist()
    [0.5, 1.0]
    """

    name = "precision"

    def quotient(self, hits: Any, predicted: Any, actual: Any) -> np.ndarray:
        return _divided(hits, predicted)


class Recall(Counted):
    """How much of what is true was predicted: hits / actual, for each class, then averaged.

    >>> Recall(average=None)(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1])).tolist()
    [1.0, 0.5]
    """

    name = "recall"

    def quotient(self, hits: Any, predicted: Any, actual: Any) -> np.ndarray:
        return _divided(hits, actual)


class F1(Counted):
    """The harmonic mean of precision and recall, 2 hits / (predicted + actual), for each class, then averaged.

    >>> F1(average="micro")(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1]))
    0.666...
    """

    name = "f1"

    def quotient(self, hits: Any, predicted: Any, actual: Any) -> np.ndarray:
        return _divided(2 * hits, predicted + actual)


class ConfusionMatrix(Classification):
    """How often class i (row) was predicted as class j (column), as integers; [no, yes] for a single score.

    >>> ConfusionMatrix()(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1])).tolist()
    [[1, 0], [1, 1]]
    """

    name = "confusion_matrix"

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        found = self.decide(prediction, target)
        predicted, actual = found.indicators()
        if found.binary:
            if found.labels > 1:
                raise InputError(f"{self.name} is that of one question, but got {found.labels} yes-or-no labels.")
            predicted, actual = (op.concat([found.counted - x, x], axis=2) for x in (predicted, actual))
        return (op.matmul(op.swapaxes(actual, 1, 2), predicted),)

    def result(self, totals: Sequence[np.ndarray], count: float) -> np.ndarray:
        return np.rint(totals[0]).astype(np.int64)


class Perplexity(Classification):
    """exp of the mean of -ln softmax(scores)[class].

    >>> round(Perplexity()(np.zeros((3, 4)), np.array([0, 1, 2])), 4)
    4.0
    """

    name = "perplexity"
    size = 2
    larger_is_better = False

    def __init__(self, *, axis: int | None = None, ignore_index: int = IGNORE, name: str | None = None):
        super().__init__(axis=axis, ignore_index=ignore_index, name=name)

    def terms(self, prediction: Any, target: Any) -> tuple[Any, ...]:
        axis, rows = self.axis_of(prediction, target), prediction.shape[0]
        if prediction.shape == target.shape:
            loss = op.soft_cross_entropy(prediction, target, axis=axis)
            counted = op.ones(loss.shape)
        else:
            loss = op.cross_entropy(prediction, target, axis=axis, ignore_index=self.ignore_index)
            counted = self.counted(target)
        return tuple(op.sum(op.reshape(x, (rows, -1)), axis=1) for x in (loss, counted))

    def result(self, totals: Sequence[np.ndarray], count: float) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(ratio(*totals)))
