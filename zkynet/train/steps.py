"""One batch as a graph: what a training and an evaluation step compute, and what they add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..framework import config, op
from ..framework.errors import GraphError, InputError
from ..framework.leaves import in_precision
from .loops import real_rows
from .metric import ratio
from .metrics import Metric
from .weighing import counted, weighed


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
        return self.predicted(*inputs), target

    def predicted(self, *inputs: Any) -> Any:
        """The model's output, in float32 at least."""
        if self.precision is None:
            return jax.tree.map(_widened, self.model(*inputs))
        with config.precision(self.precision):  # which casts what enters a graph; these are nodes of one already
            prediction = self.model(*jax.tree.map(_narrowed, inputs))
        return jax.tree.map(_widened, prediction)

    def batch_loss(self, prediction: Any, target: Any, weights: Any) -> Any:
        """The loss of a batch as a node; with weights, over the rows they select."""
        loss = (self.loss(prediction, target) if weights is None
                else weighed(self.loss, prediction, target, weights))
        if getattr(loss, "shape", None) != ():
            raise GraphError(f"the loss must be a scalar, but has shape {getattr(loss, 'shape', None)}: give it a "
                             "reduction, such as the mean.")
        return loss

    def totals(self, prediction: Any, target: Any, loss: Any, weights: Any, count: Any) -> list[Any]:
        """What is added up over batches: the loss times what its mean divides by, this, the rows, and the metrics'
        terms."""
        rows = op.cast(count, "float32")
        part = counted(self.loss, target, weights, rows)
        sums = [op.where(op.greater(part, 0.0), op.cast(loss, "float32") * part, 0.0), part, rows]
        for one in self.metrics:
            for term in one.terms(prediction, target):
                term = op.cast(term, "float32")
                if weights is not None:
                    term = term * op.reshape(weights, (term.shape[0],) + (1,) * (term.ndim - 1))
                sums.append(op.sum(term, axis=0))
        return sums

    def results(self, totals: Sequence[Any]) -> dict[str, Any]:
        """Loss and metrics, of what was added up; nan where nothing was."""
        total, part, rows, *terms = [np.asarray(value) for value in totals]
        logs: dict[str, Any] = {"loss": ratio(total, part)}
        for one in self.metrics:
            value = one.result(terms[:one.size], float(rows))
            logs[one.name] = value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value
            terms = terms[one.size:]
        return logs


def training_step(task: Task, optimizer: Any, size: int, ragged: bool) -> Callable[..., Any]:
    """The step of a Loop: forward, loss, update. In a ragged batch only the first `count` rows are real."""

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


def _narrowed(value: Any) -> Any:
    root = getattr(value, "root", None)
    return value if root is None else in_precision(root)


def _widened(prediction: Any) -> Any:
    """Floating predictions of low precision as float32: a loss needs its digits."""
    root = getattr(prediction, "root", None)
    low = root is not None and root.aval.inexact and root.aval.dtype.itemsize < 4
    return op.cast(prediction, "float32") if low else prediction
