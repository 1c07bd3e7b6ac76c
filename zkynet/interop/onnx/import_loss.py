"""Import rules of losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...framework import op
from .import_nn import choice
from .import_registry import importer


def _likelihood_loss(ctx: Any, logp: Any, target: Any, weight: Any) -> Any:
    """-log p of the target class, times the class's weight; the mean is over those weights."""
    ignored, reduction = ctx.attr("ignore_index", None), choice(ctx, "reduction", "mean", "sum", "none")
    kept = None if ignored is None else op.not_equal(target, int(ignored))
    places = target if kept is None else op.where(kept, target, 0)
    loss = -op.squeeze(op.take_along_axis(logp, op.expand_dims(places, axis=1), axis=1), axis=1)
    weights = None if weight is None else op.take(weight, places, axis=0)
    if kept is not None:
        ones = np.ones((), logp.dtype) if weights is None else weights
        weights = op.where(kept, ones, np.zeros((), logp.dtype))
        loss = op.where(kept, loss, np.zeros((), logp.dtype))
    if weights is not None:
        loss = loss * weights
    if reduction == "none":
        return loss
    if reduction == "sum":
        return op.sum(loss)
    return op.mean(loss) if weights is None else op.sum(loss) / op.sum(weights)


@importer("NegativeLogLikelihoodLoss")
def _(ctx, logp, target, weight=None):
    return _likelihood_loss(ctx, logp, target, weight)


@importer("SoftmaxCrossEntropyLoss")
def _(ctx, scores, target, weight=None):
    logp = op.log_softmax(scores, axis=1)
    return _likelihood_loss(ctx, logp, target, weight), logp
