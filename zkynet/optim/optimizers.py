"""The optimizers: torch.optim's names, argument order and defaults. What each computes is in `rules`.

All take `params` (parameters, groups of them, or None to be bound by a trainer), `lr` (a number or a schedule) and the
keywords of `Optimizer`: maximize, clip_value, clip_norm, accumulate, average.
"""

from __future__ import annotations

from typing import Any

from ..framework.errors import InputError
from . import rules
from .optimizer import Optimizer

Betas = tuple[float, float]


_COMMON = ("maximize", "clip_value", "clip_norm", "accumulate", "average")
# torch's other arguments, and what there is instead.
_INSTEAD = {"decoupled_weight_decay": "AdamW decouples it", **dict.fromkeys(
    ("foreach", "fused", "capturable", "differentiable"),
    "it chooses among torch's implementations, and here there is one: leave it out")}


class _Ruled(Optimizer):
    """An optimizer of one of the rules, which refuses wrong options when it is made and when a group is added."""

    elementwise = True

    def __init__(self, params: Any, lr: Any, options: dict[str, Any], common: dict[str, Any]):
        if strange := [name for name in common if name not in _COMMON]:
            hints = "".join(f" {name}: {_INSTEAD[name]}." for name in strange if name in _INSTEAD)
            raise InputError(f"{type(self).__name__} does not take {', '.join(strange)}; it takes: params, lr, "
                             f"{', '.join([*options, *_COMMON])}.{hints}")
        options = {"lr": lr} | {name: tuple(value) if isinstance(value, list) else value
                                for name, value in options.items()}
        self.check(options)
        super().__init__(params, options, **common)


class SGD(_Ruled):
    """Stochastic gradient descent, with momentum, dampening and Nesterov's variant; see `rules.sgd`.

    >>> from zkynet.framework import cg, op
    >>> p = cg.Parameter("p", 4.0)
    >>> SGD([p], lr=0.25).step(op.square(p))
    >>> float(p.value)
    2.0
    """

    transformation: Any = staticmethod(rules.sgd)

    def __init__(self, params: Any = None, lr: Any = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
                 weight_decay: float = 0.0, nesterov: bool = False, **common: Any):
        super().__init__(params, lr, {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                      "nesterov": nesterov}, common)


class Adam(_Ruled):
    """Adam with L2 decay (in the gradient), and AMSGrad; see `rules.adam`.

    >>> Adam(lr=0.1)
    Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, amsgrad=False)
    """

    transformation: Any = staticmethod(rules.adam)

    def __init__(self, params: Any = None, lr: Any = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, amsgrad: bool = False, **common: Any):
        super().__init__(params, lr, {"betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad},
                         common)


class AdamW(_Ruled):
    """Adam with decoupled weight decay; see `rules.adamw`."""

    transformation: Any = staticmethod(rules.adamw)

    def __init__(self, params: Any = None, lr: Any = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, **common: Any):
        super().__init__(params, lr, {"betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad},
                         common)


class RMSprop(_Ruled):
    """Gradients over the root of their mean square, with momentum, and centered; see `rules.rmsprop`."""

    transformation: Any = staticmethod(rules.rmsprop)

    def __init__(self, params: Any = None, lr: Any = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, **common: Any):
        super().__init__(params, lr, {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
                                      "centered": centered}, common)


class Adagrad(_Ruled):
    """Gradients over the root of the sum of their squares; see `rules.adagrad`."""

    transformation: Any = staticmethod(rules.adagrad)

    def __init__(self, params: Any = None, lr: Any = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
                 initial_accumulator_value: float = 0.0, eps: float = 1e-10, **common: Any):
        super().__init__(params, lr, {"lr_decay": lr_decay, "weight_decay": weight_decay,
                                      "initial_accumulator_value": initial_accumulator_value, "eps": eps}, common)


class Adadelta(_Ruled):
    """Steps of the size of earlier steps; see `rules.adadelta`."""

    transformation: Any = staticmethod(rules.adadelta)

    def __init__(self, params: Any = None, lr: Any = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0.0, **common: Any):
        super().__init__(params, lr, {"rho": rho, "eps": eps, "weight_decay": weight_decay}, common)


class Adamax(_Ruled):
    """Adam with the greatest gradient in place of the second moment; see `rules.adamax`."""

    transformation: Any = staticmethod(rules.adamax)

    def __init__(self, params: Any = None, lr: Any = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, **common: Any):
        super().__init__(params, lr, {"betas": betas, "eps": eps, "weight_decay": weight_decay}, common)


class Lion(_Ruled):
    """The sign of a momentum, with decoupled weight decay (torch has none; defaults of the paper); see `rules.lion`."""

    transformation: Any = staticmethod(rules.lion)

    def __init__(self, params: Any = None, lr: Any = 1e-4, betas: Betas = (0.9, 0.99), weight_decay: float = 0.0,
                 **common: Any):
        super().__init__(params, lr, {"betas": betas, "weight_decay": weight_decay}, common)
