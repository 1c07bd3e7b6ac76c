"""The losses as layers: each holds its options and calls the function of `zkynet.nn.losses` that has the equation."""

from __future__ import annotations

from typing import Any

from ..framework import cg
from ..framework.operators.losses import REDUCTIONS
from . import losses
from .layer import Layer
from .reduction import check_reduction


class Loss(Layer):
    """What the losses have in common.

    Args:
        reduction: "none" gives the loss of each element (or example), "mean" (the default) and "sum" one number.

    Raises:
        InputError: for another reduction. Calls raise ShapeError when input and target do not fit.
    """

    reductions: tuple[str, ...] = REDUCTIONS
    rowwise = True  # whether "mean" is the mean of what "none" gives (of the classes that are not ignored, by weight)
    decision = 0.0  # a single score above it is a yes: 0 for logits, 0.5 for probabilities

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = check_reduction(reduction, self.reductions)

    def extra(self) -> str:
        """The options by name; a weight by its shape."""
        shown = []
        for name, value in vars(self).items():
            if name.startswith("_") or value is None:
                continue
            shown.append(f"{name}={value.shape if isinstance(value, cg.Constant) else repr(value)}")
        return ", ".join(shown)


def _held(name: str, weight: Any) -> cg.Constant | None:
    """A weight as an argument of compiled programs, which are then the same for all weights of its shape."""
    return None if weight is None else cg.Constant(name, weight)


class MSELoss(Loss):
    """(input - target)^2: `losses.mse_loss`, torch.nn.MSELoss.

    >>> from zkynet import nn
    >>> float(nn.MSELoss()([1.0, 2.0], [1.0, 4.0]).value)
    2.0
    """

    def call(self, input: Any, target: Any) -> Any:
        return losses.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """|input - target|: `losses.l1_loss`, torch.nn.L1Loss.

    >>> from zkynet import nn
    >>> float(nn.L1Loss()([1.0, 2.0], [1.0, 4.0]).value)
    1.0
    """

    def call(self, input: Any, target: Any) -> Any:
        return losses.l1_loss(input, target, self.reduction)


class HuberLoss(Loss):
    """Quadratic up to a difference of delta, linear beyond: `losses.huber_loss`, torch.nn.HuberLoss.

    >>> from zkynet import nn
    >>> float(nn.HuberLoss(delta=2.0)([0.0], [4.0]).value)
    6.0
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = delta

    def call(self, input: Any, target: Any) -> Any:
        return losses.huber_loss(input, target, self.reduction, self.delta)


class SmoothL1Loss(Loss):
    """The Huber loss divided by beta: `losses.smooth_l1_loss`, torch.nn.SmoothL1Loss.

    >>> from zkynet import nn
    >>> float(nn.SmoothL1Loss(beta=2.0)([0.0], [4.0]).value)
    3.0
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = beta

    def call(self, input: Any, target: Any) -> Any:
        return losses.smooth_l1_loss(input, target, self.reduction, self.beta)


class CrossEntropyLoss(Loss):
    """-ln softmax(input) at the target: `losses.cross_entropy`, torch.nn.CrossEntropyLoss.

    Args:
        weight: (C,), a factor for each class. ignore_index: the class whose examples count nothing.
        label_smoothing: the part of the target, in [0, 1], that all classes share.

    Call: input (N, C, d1, ...) or (C,), logits; target (N, d1, ...) or (), integer classes; or probabilities of the
    shape of input.

    >>> from zkynet import nn
    >>> round(float(nn.CrossEntropyLoss()([[2.0, 1.0]], [0]).value), 4)
    0.3133
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0):
        super().__init__(reduction)
        self.weight = _held("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def call(self, input: Any, target: Any) -> Any:
        return losses.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction,
                                    self.label_smoothing)


class NLLLoss(Loss):
    """-input at the target, for logarithms of probabilities: `losses.nll_loss`, torch.nn.NLLLoss.

    >>> from zkynet import nn
    >>> float(nn.NLLLoss()([[-1.0, -0.5]], [0]).value)
    1.0
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = _held("weight", weight)
        self.ignore_index = ignore_index

    def call(self, input: Any, target: Any) -> Any:
        return losses.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MultiMarginLoss(Loss):
    """max(0, margin - input_target + input_c)^p over the other classes: `losses.multi_margin_loss`,
    torch.nn.MultiMarginLoss.

    >>> from zkynet import nn
    >>> float(nn.MultiMarginLoss()([[0.5, 1.0]], [0]).value)
    0.75
    """

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.p = p
        self.margin = margin
        self.weight = _held("weight", weight)

    def call(self, input: Any, target: Any) -> Any:
        return losses.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)


class BCELoss(Loss):
    """-(target ln input + (1 - target) ln(1 - input)), for probabilities: `losses.binary_cross_entropy`,
    torch.nn.BCELoss.

    Args:
        weight: a factor that broadcasts to input.

    >>> from zkynet import nn
    >>> round(float(nn.BCELoss()([0.5, 0.5], [1.0, 0.0]).value), 4)
    0.6931
    """

    decision = 0.5

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = _held("weight", weight)

    def call(self, input: Any, target: Any) -> Any:
        return losses.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """BCELoss of sigmoid(input), without overflow: `losses.binary_cross_entropy_with_logits`,
    torch.nn.BCEWithLogitsLoss.

    Args:
        weight, pos_weight: factors that broadcast to input: of all, and of the positive part.

    >>> from zkynet import nn
    >>> float(nn.BCEWithLogitsLoss()([1000.0], [0.0]).value)
    1000.0
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction)
        self.weight = _held("weight", weight)
        self.pos_weight = _held("pos_weight", pos_weight)

    def call(self, input: Any, target: Any) -> Any:
        return losses.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Loss):
    """target (ln target - input), for input = ln of probabilities: `losses.kl_div`, torch.nn.KLDivLoss.

    Args:
        reduction: also "batchmean", the sum divided by the number of examples: the divergence itself.
        log_target: whether the target is given as logarithms, too.

    >>> from zkynet import nn
    >>> float(nn.KLDivLoss(reduction="batchmean")([[-1.0, -1.0]], [[1.0, 0.0]]).value)
    1.0
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = log_target

    def call(self, input: Any, target: Any) -> Any:
        return losses.kl_div(input, target, self.reduction, self.log_target)


class GaussianNLLLoss(Loss):
    """-ln of a normal density but for its constant: `losses.gaussian_nll_loss`, torch.nn.GaussianNLLLoss.

    >>> from zkynet import nn
    >>> float(nn.GaussianNLLLoss()([1.0], [3.0], [1.0]).value)
    2.0
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def call(self, input: Any, target: Any, var: Any) -> Any:
        return losses.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Loss):
    """-ln of a Poisson probability: `losses.poisson_nll_loss`, torch.nn.PoissonNLLLoss.

    >>> from zkynet import nn
    >>> float(nn.PoissonNLLLoss()([0.0], [3.0]).value)
    1.0
    """

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"):
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def call(self, log_input: Any, target: Any) -> Any:
        return losses.poisson_nll_loss(log_input, target, self.log_input, self.full, self.eps, self.reduction)


class HingeEmbeddingLoss(Loss):
    """input where the target is 1, max(0, margin - input) where it is -1: `losses.hinge_embedding_loss`,
    torch.nn.HingeEmbeddingLoss.

    >>> from zkynet import nn
    >>> float(nn.HingeEmbeddingLoss()([0.25, 0.25], [1, -1]).value)
    0.5
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def call(self, input: Any, target: Any) -> Any:
        return losses.hinge_embedding_loss(input, target, self.margin, self.reduction)


class MarginRankingLoss(Loss):
    """max(0, margin - target (input1 - input2)): `losses.margin_ranking_loss`, torch.nn.MarginRankingLoss.

    >>> from zkynet import nn
    >>> float(nn.MarginRankingLoss()([1.0], [3.0], [1.0]).value)
    2.0
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def call(self, input1: Any, input2: Any, target: Any) -> Any:
        return losses.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos or max(0, cos - margin), as the target is 1 or -1: `losses.cosine_embedding_loss`,
    torch.nn.CosineEmbeddingLoss.

    >>> from zkynet import nn
    >>> float(nn.CosineEmbeddingLoss()([[1.0, 0.0]], [[0.0, 1.0]], [1]).value)
    1.0
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def call(self, input1: Any, input2: Any, target: Any) -> Any:
        return losses.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class CTCLoss(Loss):
    """-ln of the probability of all alignments of a sequence of labels: `losses.ctc_loss`, torch.nn.CTCLoss.

    Args:
        blank: the class that stands for no label. zero_infinity: 0 where the input is too short for its target.

    Call: log_probs (T, N, C); targets (N, S), padded; input_lengths and target_lengths (N,).

    >>> import numpy as np
    >>> from zkynet import nn
    >>> even = np.full((3, 1, 2), np.log(0.5), np.float32)
    >>> round(float(nn.CTCLoss(reduction="sum")(even, [[1]], [3], [1]).value), 4)
    0.2877
    """

    rowwise = False  # the mean divides each loss by its target's length

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def call(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        return losses.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction,
                               self.zero_infinity)


class CosineSimilarity(Layer):
    """The cosine of the angle between x1 and x2 along an axis: `losses.cosine_similarity`, torch.nn.CosineSimilarity.

    >>> from zkynet import nn
    >>> nn.CosineSimilarity()([[0.0, 4.0]], [[3.0, 0.0]]).value.tolist()
    [0.0]
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        super().__init__()
        self.dim = dim
        self.eps = eps

    def call(self, x1: Any, x2: Any) -> Any:
        return losses.cosine_similarity(x1, x2, self.dim, self.eps)

    def extra(self) -> str:
        return f"dim={self.dim}, eps={self.eps}"
