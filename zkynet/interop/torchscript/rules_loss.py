"""Rules of losses. PyTorch numbers the reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...framework import op
from ...nn import losses
from ...nn.reduction import reduced
from .registry import add_rules, node, rule

_REDUCTIONS = ("none", "mean", "sum")


def _loss(loss: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """Of an input, a target, the reduction, and further arguments of these names."""
    def computed(input: Any, target: Any, reduction: int = 1, *more: Any) -> Any:
        return loss(input, target, reduction=_REDUCTIONS[reduction], **dict(zip(names, more, strict=False)))
    return computed


add_rules({
    "mse_loss": _loss(losses.mse_loss), "l1_loss": _loss(losses.l1_loss),
    "smooth_l1_loss": _loss(losses.smooth_l1_loss, "beta"), "huber_loss": _loss(losses.huber_loss, "delta"),
    "kl_div": _loss(losses.kl_div, "log_target"),
    "soft_margin_loss": _loss(lambda x, y, reduction: reduced(op.softplus(op.negative(x * y)), reduction)),
    "cosine_similarity": lambda a, b, dim=1, eps=1e-8: losses.cosine_similarity(a, b, dim, eps),
})


@rule("cross_entropy_loss")
def _(input: Any, target: Any, weight: Any = None, reduction: int = 1, ignored: int = -100,
      smoothing: float = 0.0) -> Any:
    return losses.cross_entropy(input, target, weight, ignored, _REDUCTIONS[reduction], float(smoothing))


@rule("nll_loss", "nll_loss_nd", "nll_loss2d")
def _(input: Any, target: Any, weight: Any = None, reduction: int = 1, ignored: int = -100) -> Any:
    return losses.nll_loss(node(input), target, weight, ignored, _REDUCTIONS[reduction])


@rule("binary_cross_entropy")
def _(input: Any, target: Any, weight: Any = None, reduction: int = 1) -> Any:
    return losses.binary_cross_entropy(input, target, weight, _REDUCTIONS[reduction])


@rule("binary_cross_entropy_with_logits")
def _(input: Any, target: Any, weight: Any = None, positive: Any = None, reduction: int = 1) -> Any:
    return losses.binary_cross_entropy_with_logits(input, target, weight, _REDUCTIONS[reduction], positive)


@rule("poisson_nll_loss")
def _(input: Any, target: Any, log_input: bool, full: bool, eps: float, reduction: int) -> Any:
    return losses.poisson_nll_loss(input, target, bool(log_input), bool(full), float(eps), _REDUCTIONS[reduction])


@rule("hinge_embedding_loss")
def _(input: Any, target: Any, margin: float = 1.0, reduction: int = 1) -> Any:
    return losses.hinge_embedding_loss(input, target, float(margin), _REDUCTIONS[reduction])


@rule("margin_ranking_loss")
def _(a: Any, b: Any, target: Any, margin: float = 0.0, reduction: int = 1) -> Any:
    return losses.margin_ranking_loss(a, b, target, float(margin), _REDUCTIONS[reduction])


@rule("cosine_embedding_loss")
def _(a: Any, b: Any, target: Any, margin: float = 0.0, reduction: int = 1) -> Any:
    return losses.cosine_embedding_loss(a, b, target, float(margin), _REDUCTIONS[reduction])
