"""Losses, with the numbers of PyTorch: the mean over examples, logits within."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zkynet.framework import op
from zkynet.framework.errors import ShapeError
from zkynet.framework.nodes import Node
from zkynet.nn import losses

from .function import Function, function
from .kinds import MaybeInt, MaybeNewShape


@function("the mean of (y_pred - y_true)^2", "torch mse_loss", notes="shapes broadcast")
def square_loss(y_true: Any, y_pred: Any, /) -> Any:
    return op.mean(op.square(op.subtract(y_pred, y_true)))


def _reshaped(y_true: Node, y_pred: Node, reshape_label: Any, reshape_target: Any) -> tuple[Node, Node]:
    """As the names do not say: reshape_target is for the predictions, reshape_label for what is true."""
    return (y_true if reshape_label is None else op.reshape(y_true, shape=reshape_label),
            y_pred if reshape_target is None else op.reshape(y_pred, shape=reshape_target))


def _cross_entropy(y_true: Node, y_pred: Node, ignore_index: int | None) -> Node:
    if y_true.dtype.kind != "f" and y_true.shape == y_pred.shape:
        y_true = op.cast(y_true, dtype=np.dtype("float32"))  # one-hot rows of integers
    return losses.cross_entropy(y_pred, y_true, ignore_index=-100 if ignore_index is None else ignore_index)


def _labels(y_true: Node, y_pred: Node) -> Node:
    """Classes as integers of the shape of y_pred without its classes; a column of labels loses its axis."""
    wanted = (*y_pred.shape[:1], *y_pred.shape[2:]) if y_pred.ndim > 1 else ()
    if y_true.aval.size == np.prod(wanted, dtype=int):
        y_true = op.reshape(y_true, shape=wanted)
    return y_true if y_true.dtype.kind in "iu" else op.cast(y_true, dtype=np.dtype("int32"))


def _accuracy(classes: Node, y_pred: Node, ignore_index: int | None) -> Node:
    found = op.argmax(y_pred, axis=min(y_pred.ndim - 1, 1))
    if classes.shape != found.shape:
        raise ShapeError(f"accuracy: the classes have the shape {classes.shape}, but the predictions {found.shape}.")
    hits = op.cast(op.equal(classes, found), dtype=np.dtype("float32"))
    if ignore_index is None:
        return op.mean(hits)
    kept = op.cast(op.not_equal(classes, ignore_index), dtype=np.dtype("float32"))
    return op.sum(hits * kept) / op.sum(kept)


@function("the mean of -ln softmax(y_pred)[y_true]; or of -sum y_true ln softmax(y_pred), for probabilities",
          "torch cross_entropy",
          notes="y_pred: logits, classes along axis 1. reshape_target is for y_pred, reshape_label for y_true")
def cross_entropy_loss(y_true: Any, y_pred: Any, /, ignore_index: MaybeInt = None,
                       reshape_target: MaybeNewShape = None, reshape_label: MaybeNewShape = None) -> Any:
    return _cross_entropy(*_reshaped(y_true, y_pred, reshape_label, reshape_target), ignore_index)


@function("the share of examples whose largest y_pred is at y_true: a class, or the largest of its row",
          "mean(argmax(y_true, 1) == argmax(y_pred, 1))", notes="further arguments as for cross_entropy_loss")
def cross_entropy_accuracy(y_true: Any, y_pred: Any, /, ignore_index: MaybeInt = None,
                           reshape_target: MaybeNewShape = None, reshape_label: MaybeNewShape = None) -> Any:
    y_true, y_pred = _reshaped(y_true, y_pred, reshape_label, reshape_target)
    rows = y_true.shape == y_pred.shape
    classes = op.argmax(y_true, axis=min(y_true.ndim - 1, 1)) if rows else _labels(y_true, y_pred)
    return _accuracy(classes, y_pred, ignore_index)


def _sparse(name: str, of: Callable[[Node, Node, int | None], Node], meaning: str, counterpart: str) -> Function:
    def body(y_true: Any, y_pred: Any, /, ignore_index: MaybeInt = None, reshape_target: MaybeNewShape = None,
             reshape_label: MaybeNewShape = None) -> Any:
        y_true, y_pred = _reshaped(y_true, y_pred, reshape_label, reshape_target)
        return of(_labels(y_true, y_pred), y_pred, ignore_index)

    return function(meaning, counterpart, name, notes="y_true: classes, also as floats or as a column")(body)


# name: (loss of classes and logits, meaning, counterpart)
SPARSE: dict[str, tuple[Callable[[Node, Node, int | None], Node], str, str]] = {
    "sparse_categorical_cross_entropy": (_cross_entropy, "the mean of -ln softmax(y_pred)[y_true]",
                                         "torch cross_entropy"),
    "sparse_categorical_cross_entropy_loss": (_cross_entropy, "the mean of -ln softmax(y_pred)[y_true]",
                                              "torch cross_entropy"),
    "sparse_categorical_cross_entropy_accuracy": (
        _accuracy, "the share of examples whose largest y_pred is at y_true", "mean(y_true == argmax(y_pred, 1))"),
}

FUNCTIONS = [square_loss, cross_entropy_loss, cross_entropy_accuracy,
             *[_sparse(name, *row) for name, row in SPARSE.items()]]
