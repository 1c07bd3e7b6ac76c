"""Metrics against scikit-learn, whole and in batches with padding."""

from __future__ import annotations

import numpy as np
import pytest

from zkynet import train
from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.train import metric

judges = pytest.importorskip("sklearn.metrics")

RNG = np.random.default_rng(7)
N, C = 60, 5
SCORES = RNG.normal(size=(N, C)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
PREDICTED = SCORES.argmax(1)
# Only classes 0..2 occur here, in predictions and targets: macro averages leave the others out.
FEW = SCORES - np.array([0, 0, 0, 50, 50], np.float32)
FEW_LABELS = LABELS % 3
LOGIT = RNG.normal(size=N).astype(np.float32)
YES = RNG.integers(0, 2, N)
MANY_YES = RNG.integers(0, 2, (N, C))
PROBABILITIES = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
Y = (RNG.normal(size=(N, 3)) + 2).astype(np.float32)
P = (Y + RNG.normal(size=(N, 3)) * 0.5).astype(np.float32)
COMMON = {"zero_division": 0.0}


def f1(average, predicted=PREDICTED, actual=LABELS):
    return judges.f1_score(actual, predicted, average=average, **COMMON)


# name: (our metric, prediction, target, what scikit-learn gives)
CASES = {
    "accuracy": (metric("accuracy"), SCORES, LABELS, judges.accuracy_score(LABELS, PREDICTED)),
    "accuracy, one logit": (metric("accuracy"), LOGIT, YES, judges.accuracy_score(YES, LOGIT > 0)),
    "accuracy, a column": (metric("accuracy"), LOGIT[:, None], YES[:, None], judges.accuracy_score(YES, LOGIT > 0)),
    "accuracy, a column and rows": (metric("accuracy"), LOGIT[:, None], YES, judges.accuracy_score(YES, LOGIT > 0)),
    "accuracy, threshold": (metric("accuracy", threshold=0.5), LOGIT, YES.astype(np.float32),
                            judges.accuracy_score(YES, LOGIT > 0.5)),
    "accuracy, soft targets": (metric("accuracy"), SCORES, np.roll(PROBABILITIES, 1, 0),
                               judges.accuracy_score(np.roll(PREDICTED, 1), PREDICTED)),
    "accuracy, labels": (metric("accuracy", binary=True), SCORES, MANY_YES,
                         judges.accuracy_score(MANY_YES.ravel(), SCORES.ravel() > 0)),
    "top1": (metric("top1"), SCORES, LABELS, judges.top_k_accuracy_score(LABELS, SCORES, k=1)),
    "top3": (metric("top_3"), SCORES, LABELS, judges.top_k_accuracy_score(LABELS, SCORES, k=3)),
    "top9 of 5": (metric("top9"), SCORES, LABELS, 1.0),
    "mse": (metric("mse"), P, Y, judges.mean_squared_error(Y, P)),
    "mae": (metric("mae"), P, Y, judges.mean_absolute_error(Y, P)),
    "mse, integer targets": (metric("mse"), LOGIT[:, None], YES, judges.mean_squared_error(YES, LOGIT)),
    "r2": (metric("r2"), P, Y, judges.r2_score(Y, P)),
    "r2, one column": (metric("r2"), P[:, 0], Y[:, 0], judges.r2_score(Y[:, 0], P[:, 0])),
    "r2, constant": (metric("r2"), P[:, 0], np.full(N, 3.0, np.float32), judges.r2_score(np.full(N, 3.0), P[:, 0])),
    "r2, far from zero": (metric("r2", center=1e4), P + 1e4, Y + 1e4, judges.r2_score(Y + 1e4, P + 1e4)),
    "perplexity": (metric("perplexity"), SCORES, LABELS, np.exp(judges.log_loss(LABELS, PROBABILITIES))),
    "confusion_matrix": (metric("confusion_matrix"), SCORES, LABELS, judges.confusion_matrix(LABELS, PREDICTED)),
    "confusion_matrix, one logit": (metric("confusion_matrix"), LOGIT, YES, judges.confusion_matrix(YES, LOGIT > 0)),
    "f1, few classes": (metric("f1"), FEW, FEW_LABELS, f1("macro", FEW.argmax(1), FEW_LABELS)),
    "f1, one logit": (metric("f1"), LOGIT[:, None], YES, f1("binary", LOGIT > 0, YES)),
    "precision, one logit": (metric("precision"), LOGIT, YES, judges.precision_score(YES, LOGIT > 0)),
    "recall, never yes": (metric("recall"), LOGIT - 99, YES * 0, judges.recall_score(YES * 0, LOGIT > 99, **COMMON)),
    "f1, labels": (metric("f1", binary=True), SCORES, MANY_YES,
                   judges.f1_score(MANY_YES, SCORES > 0, average="macro", **COMMON)),
}
for average in ("macro", "micro", "weighted", None):
    for name, judge in (("precision", judges.precision_score), ("recall", judges.recall_score),
                        ("f1", judges.f1_score)):
        CASES[f"{name}, {average}"] = (metric(name, average=average), SCORES, LABELS,
                                       judge(LABELS, PREDICTED, average=average, **COMMON))


def in_batches(ours, prediction, target, size=16):
    """As a trainer does: batches of one size, the last one filled up with rows of weight 0."""
    totals, count = None, 0
    for start in range(0, len(target), size):
        rows = np.arange(start, start + size) % len(target)
        weights = (np.arange(start, start + size) < len(target)).astype(np.float32)
        terms = ours.terms(op.identity(prediction[rows]), op.identity(target[rows]))
        assert len(terms) == ours.size and all(term.shape[0] == size for term in terms)
        sums = [np.tensordot(weights, np.asarray(term.value, np.float32), 1) for term in terms]
        totals = sums if totals is None else [a + b for a, b in zip(totals, sums, strict=True)]
        count += weights.sum()
    return ours.result(totals, float(count))


@pytest.mark.parametrize("case", CASES)
def test_metrics_agree_with_scikit_learn(case):
    ours, prediction, target, judged = CASES[case]
    for found in (ours(prediction, target), in_batches(ours, prediction, target)):
        np.testing.assert_allclose(found, judged, rtol=2e-5, atol=1e-7)
        assert type(found) is float or found.dtype == np.asarray(judged).dtype


LAYOUTS = {"axis 1": lambda x: x, "last axis": lambda x: np.moveaxis(x, 1, -1)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["accuracy", "top2", "f1", "perplexity", "confusion_matrix"])
def test_positions_count_each_and_ignored_ones_do_not(name, layout):
    scores = RNG.normal(size=(8, C, 6)).astype(np.float32)
    labels = RNG.integers(0, C, (8, 6))
    labels[RNG.random((8, 6)) < 0.3] = -100
    kept = labels != -100
    flat = np.moveaxis(scores, 1, -1)[kept]
    np.testing.assert_allclose(metric(name)(LAYOUTS[layout](scores), labels), metric(name)(flat, labels[kept]),
                               rtol=1e-5)


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "confusion_matrix"])
def test_a_yes_or_no_may_be_ignored_too(name):
    scores, answers = RNG.normal(size=(40, 1)).astype(np.float32), RNG.integers(0, 2, (40, 1)).astype(np.float32)
    answers[RNG.random(40) < 0.3] = -1
    kept = answers[:, 0] != -1
    found = metric(name, ignore_index=-1)(scores, answers)
    np.testing.assert_allclose(found, metric(name)(scores[kept], answers[kept]))


def test_where_two_axes_fit_the_classes_are_on_axis_1_unless_said_otherwise():
    scores = RNG.normal(size=(4, C, C)).astype(np.float32)
    labels = RNG.integers(0, C, (4, C))
    assert metric("accuracy")(scores, labels) == np.mean(scores.argmax(1) == labels)
    assert metric("accuracy", axis=-1)(scores, labels) == np.mean(scores.argmax(2) == labels)


def test_a_prediction_that_is_not_finite_is_not_right():
    assert metric("top3")(np.full((4, C), np.nan, np.float32), np.full(4, C - 1)) == 0
    assert np.isnan(metric("mse")(np.full(4, np.nan), np.ones(4)))


def test_nothing_counted_is_nan():
    assert np.isnan(metric("accuracy")(SCORES, np.full(N, -100)))


def test_unknown_names_list_what_exists():
    with pytest.raises(InputError, match=r"no metric 'acuracy'; there are: accuracy, precision, .*top5"):
        metric("acuracy")


def test_a_function_is_a_metric():
    def bias(prediction, target):
        return prediction - target

    assert metric(bias).name == "bias" and not metric(bias).larger_is_better
    np.testing.assert_allclose(in_batches(metric(bias), P, Y), np.mean(P - Y), rtol=1e-4)
    assert isinstance(metric(train.Accuracy), train.Accuracy)
    with pytest.raises(InputError, match="needs a name"):
        metric(lambda prediction, target: prediction)


REFUSED = {
    "shapes of classes": (metric("accuracy"), SCORES, LABELS[:, None, None], ShapeError, "do not belong together"),
    "shapes of numbers": (metric("mse"), P, Y[:, :2], ShapeError, "the same shape"),
    "labels without scores": (metric("f1", binary=True), SCORES, LABELS, ShapeError, "a yes or no for each of the 5"),
    "matrix of labels": (metric("confusion_matrix", binary=True), SCORES, MANY_YES, InputError, "one question"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    ours, prediction, target, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        ours(prediction, target)


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match="average"):
        metric("f1", average="mean")
    with pytest.raises(InputError, match="k from 1 on"):
        train.TopK(0)
