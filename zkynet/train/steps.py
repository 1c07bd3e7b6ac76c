"""One batch as a graph: what a training and an evaluation step compute, and what they add up."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..framework import cg, config, op
from ..framework.errors import GraphError, InputError
from .loops import real_rows
from .metrics import Metric


class Task(NamedTuple):
    """What is trained: model, loss, metrics; `prepare` makes (inputs..., target) of a batch's nodes."""

    model: Callable[..., Any]
    loss: Callable[..., Any]
    metrics: Sequence[Metric]
    prepare: Callable[..., Any] | None
    precision: str | None

    def forward(self, batch: Sequence[Any]) -> tuple[Any, Any]:
        """Prediction, in float32 at least, and target."""
        if self.prepare is not None:
            batch = self.prepare(*batch)
        if len(batch) < 2:
            raise InputError("data are (inputs..., target), but a batch has one array only. Where the input is its own "
                             "target, pass it twice.")
        *inputs, target = batch
        with contextlib.nullcontext() if self.precision is None else config.precision(self.precision):
            prediction = self.model(*inputs)
        return _widened(prediction), target

    def batch_loss(self, prediction: Any, target: Any, weights: Any) -> Any:
        """The loss of a batch as a node; with weights, the mean over the rows they select."""
        if weights is None:
            loss = self.loss(prediction, target)
        else:
            rows = per_row(self.loss)(prediction, target)
            rows = op.mean(op.reshape(rows, (rows.shape[0], -1)), axis=1) if rows.ndim > 1 else rows
            loss = op.sum(rows * weights) / op.sum(weights)
        if getattr(loss, "shape", None) != ():
            raise GraphError(f"the loss must be a scalar, but has shape {getattr(loss, 'shape', None)}: give it a "
                             "reduction, such as the mean.")
        return loss

    def totals(self, prediction: Any, target: Any, loss: Any, weights: Any, count: Any) -> list[Any]:
        """What is added up over batches: the loss times rows, the rows, and the metrics' terms."""
        rows = op.cast(count, "float32")
        sums = [loss * rows, rows]
        for one in self.metrics:
            for term in one.terms(prediction, target):
                term = op.cast(term, "float32")
                if weights is not None:
                    term = term * op.reshape(weights, (term.shape[0],) + (1,) * (term.ndim - 1))
                sums.append(op.sum(term, axis=0))
        return sums

    def results(self, totals: Sequence[Any]) -> dict[str, Any]:
        """Loss and metrics, of what was added up."""
        values = [np.asarray(total) for total in totals]
        rows = float(values[1])
        logs: dict[str, Any] = {"loss": float(values[0]) / rows}
        place = 2
        for one in self.metrics:
            logs[one.name] = one.result(values[place:place + one.size], rows)
            place += one.size
        return logs


def training_step(task: Task, optimizer: Any, size: int, ragged: bool) -> Callable[..., Any]:
    """The step of a Loop: forward, loss, update."""

    def step(*nodes: Any) -> Any:
        *batch, count = nodes
        weights = real_rows(count, size) if ragged else None
        prediction, target = task.forward(batch)
        loss = task.batch_loss(prediction, target, weights)
        optimizer.step(loss)
        return task.totals(prediction, target, loss, weights, count), loss

    return step


def evaluation_step(task: Task, size: int, ragged: bool) -> Callable[..., Any]:
    """The step of a Loop without update."""

    def step(*nodes: Any) -> Any:
        *batch, count = nodes
        weights = real_rows(count, size) if ragged else None
        prediction, target = task.forward(batch)
        loss = task.batch_loss(prediction, target, weights)
        return task.totals(prediction, target, loss, weights, count), loss

    return step


def can_weigh(loss: Any) -> bool:
    """Whether the loss is a plain mean over rows, so that it can be taken over some of them."""
    return (getattr(loss, "reduction", None) == "mean" and getattr(loss, "weight", None) is None
            and isinstance(loss, cg.Module))


def per_row(loss: Any) -> Any:
    """The same loss without reduction."""
    made = copy.copy(loss)
    made.reduction = "none"
    return made


def _widened(prediction: Any) -> Any:
    """Floating predictions of low precision as float32: a loss needs its digits."""
    if isinstance(prediction, (tuple, list)):
        return type(prediction)(map(_widened, prediction))
    if isinstance(prediction, dict):
        return {name: _widened(value) for name, value in prediction.items()}
    low = prediction.root.aval.inexact and prediction.root.aval.dtype.itemsize < 4
    return op.cast(prediction, "float32") if low else prediction
