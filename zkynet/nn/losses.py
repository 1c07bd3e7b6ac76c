"""Losses as functions of nodes and arrays, with the names and arguments of torch.nn.functional.

Each computes a loss for every element (or example), then `reduction` says what becomes of them: "none" leaves them,
"sum" adds them up, "mean" (the default) divides that by their number. Input and target must have the same shape, where
nothing else is said; one of them may be a number. As layers: `zkynet.nn.MSELoss` and so on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..framework import op
from ..framework.errors import InputError, ShapeError
from ..framework.nodes import Node
from ..framework.operators.arguments import axis_of, node_of
from ..framework.operators.losses import REDUCTIONS, class_axis, misfit_of_classes
from .ctc import ctc_loss
from .given import known
from .reduction import check_reduction, reduced


def _pair(input: Any, target: Any, name: str) -> tuple[Node, Node]:
    """The nodes of both. Shapes that only broadcast are refused: (N, 1) and (N,) would give N x N losses."""
    input, target = node_of(input, name), node_of(target, name)
    if input.shape != target.shape and input.shape and target.shape:
        raise ShapeError(f"{name}: input has the shape {input.shape} and target {target.shape}; they must be the same. "
                         "Reshape one of them.")
    return input, target


# Differences ------------------------------------------------------------------------------------------------


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2.

    >>> float(mse_loss([1.0, 2.0], [1.0, 4.0]).value)
    2.0
    """
    input, target = _pair(input, target, "mse_loss")
    return reduced(op.square(input - target), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|.

    >>> float(l1_loss([1.0, 2.0], [1.0, 4.0]).value)
    1.0
    """
    input, target = _pair(input, target, "l1_loss")
    return reduced(op.abs(input - target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), of d = input - target.

    >>> huber_loss([1.0, 2.0], [1.5, 4.0], reduction="none").value.tolist()
    [0.125, 1.5]
    """
    if not delta > 0:
        raise InputError(f"huber_loss: delta must be greater than 0, but is {delta!r}.")
    return reduced(_huber(*_pair(input, target, "huber_loss"), delta), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, of d = input - target: `huber_loss` / beta.

    Girshick, "Fast R-CNN", 2015, has beta = 1; for beta = 0 it is `l1_loss`.

    >>> smooth_l1_loss([1.0, 2.0], [1.25, 4.0], reduction="none", beta=0.5).value.tolist()
    [0.0625, 1.75]
    """
    if not beta >= 0:
        raise InputError(f"smooth_l1_loss: beta must not be below 0, but is {beta!r}.")
    if beta == 0:
        return l1_loss(input, target, reduction)
    input, target = _pair(input, target, "smooth_l1_loss")
    losses = _huber(input, target, beta)
    return reduced(losses if beta == 1 else losses / beta, reduction)


def _huber(input: Node, target: Node, delta: float) -> Node:
    # Through the difference brought into [-delta, delta], which is also the slope.
    difference = input - target
    near = op.clip(difference, -delta, delta)
    return near * (difference - near * 0.5)


# Classes ----------------------------------------------------------------------------------------------------


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:
    """-ln softmax(input)[target], or -sum_c target_c ln softmax(input)_c for targets that are probabilities.

    Args:
        input: (C,), (N, C) or (N, C, d1, ...), logits.
        target: classes, integers of the shape of input without its axis C; or probabilities, floats of its shape.
        weight: (C,), a factor for each class. The mean over classes divides by the weights of the examples, over
            probabilities by their number, as in PyTorch.
        ignore_index: the class whose examples count nothing (not with probabilities).
        label_smoothing: e in [0, 1]: the target is mixed with equal shares, (1 - e) target + e / C (Szegedy et al.,
            "Rethinking the Inception architecture", 2016).

    A class that is neither in [0, C) nor ignored makes the loss nan.

    Raises:
        ShapeError: when the target or the weight does not fit the input. InputError: wrong reduction or
            label_smoothing, or an ignore_index from 0 on with probabilities.

    >>> round(float(cross_entropy([[2.0, 1.0]], [0]).value), 4)
    0.3133
    """
    check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise InputError(f"cross_entropy: label_smoothing must be in [0, 1], but is {label_smoothing!r}.")
    target = node_of(target, "cross_entropy")
    if target.dtype.kind in "iu":
        if weight is None and not label_smoothing:
            return op.cross_entropy(input, target, ignore_index=ignore_index, reduction=reduction)
        input = node_of(input, "cross_entropy")
        axis = _axis_of_classes(input, "cross_entropy")
        return _by_class(op.log_softmax(input, axis=axis), target, weight, ignore_index, reduction, "cross_entropy",
                         label_smoothing)
    input = node_of(input, "cross_entropy")
    axis = _axis_of_classes(input, "cross_entropy")
    wrong = misfit_of_classes(input, target, axis) if target.shape != input.shape else None
    if wrong:
        raise ShapeError(f"cross_entropy: {wrong}; probabilities have the shape {input.shape} of input.")
    if ignore_index >= 0:
        raise InputError(f"cross_entropy: ignore_index={ignore_index} is a class to ignore, but the targets are "
                         "probabilities: leave it out, or give classes.")
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / input.shape[axis]
    if weight is not None:
        target = target * _along(_class_weight(weight, input, axis, "cross_entropy"), axis, input)
    return reduced(op.soft_cross_entropy(input, target), reduction)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[target], for input = ln of probabilities; weight and ignore_index as in `cross_entropy`.

    Args:
        input: (C,), (N, C) or (N, C, d1, ...), logarithms of probabilities. target: integer classes.

    >>> float(nll_loss([[-1.0, -0.5]], [0]).value)
    1.0
    """
    check_reduction(reduction)
    input, target = node_of(input, "nll_loss"), node_of(target, "nll_loss")
    return _by_class(input, target, weight, ignore_index, reduction, "nll_loss")


def multi_margin_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
                      reduction: str = "mean") -> Any:
    """sum over c != target of weight[target] max(0, margin - input_target + input_c)^p, divided by C.

    Args:
        input: (N, C) or (C,), scores. target: (N,) or (), integer classes.
        p: 1 or 2. weight: (C,), a factor for each class.

    >>> float(multi_margin_loss([[0.5, 1.0]], [0]).value)
    0.75
    """
    if p not in (1, 2):
        raise InputError(f"multi_margin_loss: p must be 1 or 2, but is {p!r}.")
    input, target = node_of(input, "multi_margin_loss"), node_of(target, "multi_margin_loss")
    axis = _axis_of_classes(input, "multi_margin_loss")
    classes = _classes(input, target, axis, "multi_margin_loss")
    places = op.expand_dims(classes, axis=axis)
    terms = op.relu(margin - op.gather(input, places, axis) + input)
    if p == 2:
        terms = op.square(terms)
    if weight is not None:
        weight = _class_weight(weight, input, axis, "multi_margin_loss")
        terms = terms * op.expand_dims(op.take(weight, classes), axis=axis)
    own = op.one_hot(classes, input.shape[axis], dtype="bool", axis=axis)
    return reduced(op.mean(op.where(own, 0.0, terms), axis=axis), reduction)


def _axis_of_classes(input: Node, name: str) -> int:
    if not input.ndim:
        raise ShapeError(f"{name}: input needs an axis of classes, but is a scalar.")
    return class_axis(input.ndim)


def _classes(input: Node, target: Node, axis: int, name: str) -> Node:
    """The classes as positions: those below 0, which would count from the end, become C, at which nan is read."""
    wrong = misfit_of_classes(input, target, axis)
    if wrong:
        raise ShapeError(f"{name}: {wrong}.")
    target = op.cast(target, dtype=np.dtype(np.int32))
    return op.where(target < 0, input.shape[axis], target)


def _class_weight(weight: Any, input: Node, axis: int, name: str) -> Node:
    """The factors of the classes, one for each: taken at classes, others would give a number all the same."""
    weight, classes = node_of(weight, name), input.shape[axis]
    if weight.shape != (classes,):
        raise ShapeError(f"{name}: weight needs one factor for each of the {classes} classes, the shape ({classes},), "
                         f"but has {weight.shape}.")
    return weight


def _along(weight: Node, axis: int, input: Node) -> Node:
    """The weights of the classes, to multiply what has the shape of input."""
    return op.reshape(weight, shape=(-1,) + (1,) * (input.ndim - axis - 1)) if input.ndim > axis + 1 else weight


def _by_class(logs: Node, target: Node, weight: Any, ignored: int, reduction: str, name: str,
              smoothing: float = 0.0) -> Any:
    """The loss of logarithms of probabilities at classes, with everything that `cross_entropy` can add to it."""
    axis = _axis_of_classes(logs, name)
    classes = _classes(logs, target, axis, name)
    if weight is not None:
        weight = _class_weight(weight, logs, axis, name)
    kept = op.not_equal(target if target.dtype.kind == "i" else classes, ignored)
    losses = -op.squeeze(op.gather(logs, op.expand_dims(classes, axis=axis), axis), axis=axis)
    factor = None if weight is None else op.take(weight, classes)
    if factor is not None:
        losses = losses * factor
    if smoothing:
        shared = logs if weight is None else logs * _along(weight, axis, logs)
        losses = losses * (1.0 - smoothing) - op.sum(shared, axis=axis) * (smoothing / logs.shape[axis])
    return reduced(op.where(kept, losses, 0.0), reduction, kept if factor is None else op.where(kept, factor, 0.0))


# Probabilities ----------------------------------------------------------------------------------------------


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-weight (target ln input + (1 - target) ln(1 - input)), for probabilities; nan where input is not in [0, 1].

    Logarithms are taken to be at least -100, as in PyTorch. `binary_cross_entropy_with_logits` is more exact.

    >>> round(float(binary_cross_entropy([0.5, 0.5], [1.0, 0.0]).value), 4)
    0.6931
    """
    name = "binary_cross_entropy"
    losses = op.binary_cross_entropy(*_pair(input, target, name))
    if weight is not None:
        losses = losses * _factor(weight, "weight", losses.shape, name)
    return reduced(losses, reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, reduction: str = "mean",
                                     pos_weight: Any = None) -> Any:
    """-weight (pos_weight target ln p + (1 - target) ln(1 - p)), p = sigmoid(input), without overflow.

    Args:
        weight, pos_weight: factors that broadcast to input: of all, and of the positive part.

    >>> round(float(binary_cross_entropy_with_logits([0.0, 1000.0], [1.0, 1.0]).value), 4)
    0.3466
    """
    name = "binary_cross_entropy_with_logits"
    input, target = _pair(input, target, name)
    shape = input.shape or target.shape
    logs = op.logsigmoid(input)
    if pos_weight is not None:
        logs = logs * ((_factor(pos_weight, "pos_weight", shape, name) - 1.0) * target + 1.0)
    losses = (1.0 - target) * input - logs
    if weight is not None:
        losses = losses * _factor(weight, "weight", shape, name)
    return reduced(losses, reduction)


def _factor(factor: Any, what: str, shape: tuple[int, ...], name: str) -> Node:
    """A factor of losses of this shape, which it must not make more: (N, 1) and (N,) would give N x N."""
    factor = node_of(factor, name)
    if factor.ndim > len(shape) or any(n not in (1, m) for n, m in zip(factor.shape[::-1], shape[::-1], strict=False)):
        raise ShapeError(f"{name}: {what} must broadcast to the shape {shape} of the losses, but has {factor.shape}. "
                         "Reshape it.")
    return factor


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """target (ln target - input), for input = ln of probabilities: the terms of KL(target || exp input).

    Args:
        reduction: also "batchmean", the sum divided by the length of axis 0, which is what the divergence is.
        log_target: whether the target is given as logarithms, too.

    >>> float(kl_div([[-1.0, -1.0]], [[1.0, 0.0]], reduction="batchmean").value)
    1.0
    """
    check_reduction(reduction, (*REDUCTIONS, "batchmean"))
    input, target = _pair(input, target, "kl_div")
    if log_target:
        losses = op.exp(target) * (target - input)
    else:  # where the target is 0, so is its term, and nothing of it may be infinite
        losses = target * (op.log(op.where(op.equal(target, 0.0), 1.0, target)) - input)
    if reduction == "batchmean":
        return op.sum(losses) / float(losses.shape[0] if losses.ndim else 1)
    return reduced(losses, reduction)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Any:
    """(ln v + (input - target)^2 / v) / 2, for a normal distribution of mean input and variance v = max(var, eps).

    Args:
        var: (not below 0) of the shape of input, or with its last axis of length 1 or missing, or a number.
        full: add the constant ln(2 pi) / 2.
        eps: the least variance. As in PyTorch, var has the gradient of v even where it is below eps.

    Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.

    Raises:
        ShapeError: when shapes do not fit.
        InputError: for a var below 0, where it is known before anything is computed.

    >>> float(gaussian_nll_loss([1.0], [3.0], [1.0]).value)
    2.0
    """
    input, target = _pair(input, target, "gaussian_nll_loss")
    var = node_of(var, "gaussian_nll_loss")
    value = known(var)
    shape = input.shape
    if var.shape != shape and var.shape == shape[:-1]:
        var = op.expand_dims(var, axis=-1)
    if var.shape not in (shape, (*shape[:-1], 1), ()):
        raise ShapeError(f"gaussian_nll_loss: var has the shape {var.shape}, but must have that of input, {shape}, or "
                         "be of length 1 in its last axis, or lack it.")
    if value is not None and (value < 0).any():
        raise InputError(f"gaussian_nll_loss: var must not be below 0, but its least is {value.min()}.")
    var = var + op.stop_gradient(op.maximum(var, eps) - var)
    losses = (op.log(var) + op.square(input - target) / var) * 0.5
    return reduced(losses + 0.5 * math.log(2.0 * math.pi) if full else losses, reduction)


def poisson_nll_loss(input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8,
                     reduction: str = "mean") -> Any:
    """exp(input) - target input, or input - target ln(input + eps) where input is no logarithm (log_input=False).

    Args:
        full: add Stirling's approximation of ln target!, for targets above 1.

    >>> float(poisson_nll_loss([0.0], [3.0]).value)
    1.0
    """
    input, target = _pair(input, target, "poisson_nll_loss")
    losses = op.exp(input) - target * input if log_input else input - target * op.log(input + eps)
    if full:
        large = target > 1.0
        safe = op.where(large, target, 1.0)
        stirling = safe * op.log(safe) - safe + op.log(safe * (2.0 * math.pi)) * 0.5
        losses = losses + op.where(large, stirling, 0.0)
    return reduced(losses, reduction)


# Margins and angles -----------------------------------------------------------------------------------------


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """input where the target is 1, max(0, margin - input) where it is -1.

    >>> hinge_embedding_loss([0.25, 0.25], [1, -1], reduction="none").value.tolist()
    [0.25, 0.75]
    """
    input, target = _pair(input, target, "hinge_embedding_loss")
    far = op.where(op.not_equal(target, 1), op.relu(margin - input), 0.0)
    return reduced(op.where(op.not_equal(target, -1), input, 0.0) + far, reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """max(0, margin - target (input1 - input2)): target 1 wants input1 to be the larger, -1 the smaller.

    >>> margin_ranking_loss([1.0, 1.0], [3.0, 3.0], [1.0, -1.0], reduction="none").value.tolist()
    [2.0, 0.0]
    """
    input1, input2 = _pair(input1, input2, "margin_ranking_loss")
    difference, target = _pair(input1 - input2, target, "margin_ranking_loss")
    return reduced(op.relu(margin - target * difference), reduction)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along the axis `dim`, which is left out; x1 and x2 broadcast, and `dim`
    is an axis of their common shape.

    >>> cosine_similarity([[0.0, 4.0]], [[3.0, 0.0]]).value.tolist()
    [0.0]
    """
    x1, x2 = node_of(x1, "cosine_similarity"), node_of(x2, "cosine_similarity")
    products = x1 * x2
    axis = axis_of(dim, products.ndim, "cosine_similarity") - products.ndim
    lengths = []
    for x in (x1, x2):
        if x.ndim < -axis or x.shape[axis] != products.shape[axis]:  # what is repeated along the axis is longer
            x = op.broadcast_to(x, shape=products.shape)
        lengths.append(op.maximum(op.norm(x, axis=axis), eps))
    return op.sum(products, axis=axis) / (lengths[0] * lengths[1])


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1, of the angle between the inputs.

    Args:
        input1, input2: (N, D) or (D,). target: (N,) or ().
        margin: in [-1, 1].

    >>> cosine_embedding_loss([[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2, [1, -1], reduction="none").value.tolist()
    [1.0, 0.0]
    """
    input1, input2 = _pair(input1, input2, "cosine_embedding_loss")
    target = node_of(target, "cosine_embedding_loss")
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ShapeError("cosine_embedding_loss needs inputs (N, D) with a target (N,), or (D,) with a scalar, but got "
                         f"{input1.shape}, {input2.shape} and {target.shape}.")
    # The squared lengths are kept away from 0 by 1e-12, where `cosine_similarity` bounds the lengths.
    squares = [op.sum(op.square(x), axis=-1) + 1e-12 for x in (input1, input2)]
    cosine = op.sum(input1 * input2, axis=-1) / op.sqrt(squares[0] * squares[1])
    near = op.where(op.equal(target, 1), 1.0 - cosine, 0.0)
    return reduced(near + op.where(op.equal(target, -1), op.relu(cosine - margin), 0.0), reduction)


__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cosine_similarity",
    "cross_entropy", "ctc_loss", "gaussian_nll_loss", "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss",
    "margin_ranking_loss", "mse_loss", "multi_margin_loss", "nll_loss", "poisson_nll_loss", "smooth_l1_loss",
]
