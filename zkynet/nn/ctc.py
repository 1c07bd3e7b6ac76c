"""Connectionist temporal classification: the loss of a sequence of labels whose places in time are not known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..framework import op
from ..framework.errors import InputError, ShapeError, TracedValueError
from ..framework.nodes import Node
from ..framework.operators.arguments import node_of
from .given import known, lengths_of
from .reduction import check_reduction, reduced

INF = math.inf


def ctc_loss(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Any:
    """-ln of the probability of all paths that give the target when repeats are merged, then blanks left out.

    Graves et al., "Connectionist temporal classification", 2006, section 4.1 (the forward variable), on logarithms; one
    `op.scan` over time. The gradient is that of this sum; PyTorch's at log_probs has exp(log_probs) added, which is no
    difference at the logits before log_softmax.

    Args:
        log_probs: (T, N, C), or (T, C) without a batch: ln of probabilities of the classes.
        targets: (N, S) integer classes, what is beyond an example's length does not matter; or one after the other
            (sum of target_lengths,), whose lengths then must be known when the graph is made. (S,) without a batch.
        input_lengths: (N,) how many of the T steps count. target_lengths: (N,). Where only a program knows them they
            cannot be checked: more than T count as T.
        blank: the class that stands for no label.
        reduction: "none", "sum", or "mean": each loss divided by its target's length (at least 1), then their mean.
        zero_infinity: 0 instead of infinity (and no gradient) where the input is too short for its target. Nothing
            flows from an infinite loss in either case.

    Raises:
        ShapeError: when shapes or dtypes do not fit.
        InputError: for a blank that is no class, and for lengths that are known and out of range.

    >>> import numpy as np
    >>> even = np.full((3, 1, 2), np.log(0.5), np.float32)   # 6 of the 8 paths of 3 steps give "1"
    >>> round(float(np.exp(-float(ctc_loss(even, [[1]], [3], [1]).value))), 4)
    0.75
    """
    check_reduction(reduction)
    log_probs, targets = node_of(log_probs, "ctc_loss"), node_of(targets, "ctc_loss")
    batched = log_probs.ndim == 3
    if not batched:
        if log_probs.ndim != 2 or targets.ndim != 1:
            raise ShapeError("ctc_loss needs log_probs (T, N, C) with targets (N, S) or (sum of lengths,), or (T, C) "
                             f"with targets (S,), but got {log_probs.shape} and {targets.shape}.")
        log_probs, targets = op.expand_dims(log_probs, axis=1), op.expand_dims(targets, axis=0)
    steps, count, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise InputError(f"ctc_loss: blank must be one of the {classes} classes, but is {blank!r}.")
    width = targets.shape[1] if targets.ndim == 2 else targets.aval.size
    input_lengths = _lengths(input_lengths, "input_lengths", count, steps)
    target_lengths = _lengths(target_lengths, "target_lengths", count, width)
    if targets.ndim == 1:
        targets = _padded(targets, target_lengths)
    if targets.dtype.kind not in "iu" or targets.ndim != 2 or targets.shape[0] != count:
        raise ShapeError(f"ctc_loss: targets must be integer classes of shape ({count}, S) for log_probs "
                         f"{log_probs.shape}, but are {targets.aval!r}.")
    losses = _losses(log_probs, targets, input_lengths, target_lengths, blank)
    if zero_infinity:
        losses = op.where(op.isinf(losses), 0.0, losses)
    if reduction == "mean":
        losses = losses / op.maximum(target_lengths, 1)
    return reduced(losses if batched else op.squeeze(losses, axis=0), reduction)


def _lengths(lengths: Any, name: str, count: int, most: int) -> Node:
    node = lengths_of(lengths, "ctc_loss")
    value = known(node)
    if node.ndim == 0:
        node = op.expand_dims(node, axis=0)
    if node.shape != (count,) or node.dtype.kind not in "iu":
        raise ShapeError(f"ctc_loss: {name} must be {count} integers, one for each example, but are {node.aval!r}.")
    if value is not None and ((value < 0) | (value > most)).any():
        raise InputError(f"ctc_loss: {name} must be from 0 to {most}, but are {value.tolist()}.")
    return op.cast(node, dtype=np.dtype(np.int32))


def _padded(targets: Node, lengths: Node) -> Node:
    """(N, S) of targets that are given one after the other."""
    try:
        known = np.asarray(lengths.value)
    except TracedValueError:
        raise InputError("ctc_loss: targets of one axis can only be told apart where target_lengths are known, not in "
                         "a compiled function; give padded targets (N, S).") from None
    if known.sum() != targets.shape[0]:
        raise ShapeError(f"ctc_loss: target_lengths add up to {known.sum()}, but there are {targets.shape[0]} targets.")
    places = (np.cumsum(known) - known)[:, None] + np.arange(known.max(initial=0))
    return op.take(targets, np.minimum(places, max(targets.shape[0] - 1, 0)).astype(np.int32))


def _losses(log_probs: Node, targets: Node, input_lengths: Node, target_lengths: Node, blank: int) -> Node:
    """The loss of each example. Its states are the labels with a blank before, between and after them."""
    steps, count, _ = log_probs.shape
    width = targets.shape[1]
    lengths = op.expand_dims(target_lengths, axis=1)
    within = np.arange(width, dtype=np.int32) < lengths
    # What is beyond the length becomes blank, so that no value there can matter, not even a nan of no such class.
    labels = op.where(within, op.cast(targets, dtype=np.dtype(np.int32)), blank)
    changes = op.concat(np.zeros((count, min(width, 1)), bool), op.not_equal(labels[:, 1:], labels[:, :-1]), axis=1)
    states = _interleaved(np.full((count, width), blank, np.int32), labels, np.full((count, 1), blank, np.int32))
    # Said to be constant, as else a loop over it as a float is made, in case somebody asks for its gradient.
    may_skip = op.stop_gradient(_interleaved(np.zeros((count, width), bool), changes, np.zeros((count, 1), bool)))
    emissions = op.take_along_axis(log_probs, op.expand_dims(states, axis=0), axis=2)
    live = np.arange(steps, dtype=np.int32)[:, None] < input_lengths
    nothing = np.full((count, 2), -INF, np.float32)
    # Before the first step all probability is on the first blank; the first step may stay or go on by one.
    start = np.full((count, 2 * width + 1), -INF, np.float32)
    start[:, 0] = 0.0

    def step(alpha: Any, x: Any) -> tuple[Any, None]:
        emission, counts = x
        before = op.concat(op.cast(nothing, dtype=alpha.dtype), alpha, axis=1)
        moved = _added(alpha, before[:, 1:-1], op.where(may_skip, before[:, :-2], -INF))
        return op.where(counts, moved + emission, alpha), None

    alpha, _ = op.scan(step, op.cast(start, dtype=log_probs.dtype), (emissions, op.expand_dims(live, axis=2)))
    ends = op.concat(lengths * 2, op.maximum(lengths * 2 - 1, 0), axis=1)
    last = op.take_along_axis(alpha, ends, axis=1)
    # Without labels there is one end only.
    on_label = op.where(target_lengths > 0, last[:, 1], -INF)
    return -op.logaddexp(last[:, 0], on_label)


def _added(a: Node, b: Node, c: Node) -> Node:
    """ln(e^a + e^b + e^c), -inf of nothing else. Three exponentials, which the gradient uses again, where two of
    `op.logaddexp` have four and as many logarithms: several times faster in the backward loop."""
    top = op.stop_gradient(op.maximum(op.maximum(a, b), c))
    nothing = op.equal(top, -INF)
    top = op.where(nothing, 0.0, top)
    total = op.exp(a - top) + op.exp(b - top) + op.exp(c - top)
    return op.where(nothing, -INF, op.log(op.where(nothing, 1.0, total)) + top)


def _interleaved(even: Any, odd: Any, end: Any) -> Node:
    """even[:, 0], odd[:, 0], even[:, 1], ..., end."""
    count, width = even.shape
    return op.concat(op.reshape(op.stack(even, odd, axis=2), shape=(count, 2 * width)), end, axis=1)
