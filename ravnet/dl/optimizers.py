"""Optimizers: options of zkynet.optim's, with torch's names and defaults. Each model keeps a state of its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from zkynet import optim
from zkynet.framework.errors import InputError

_BETAS = tuple[float, float]


class Optimizer:
    """What models are given. `lr` may be changed between steps; the other options are fixed.

    >>> Adam(lr=0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0, amsgrad=False)
    """

    _kind: ClassVar[type[optim.Optimizer]]

    def __init__(self, lr: Any, **options: Any):
        self.lr = lr
        self.options = options
        self.bound(None)  # refuses wrong options here

    def bound(self, params: Any) -> optim.Optimizer:
        """zkynet's optimizer of these parameters, or groups of them."""
        kind: Any = self._kind
        return kind(params, lr=self.lr, **self.options)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in {"lr": self.lr, **self.options}.items())
        return f"{type(self).__name__}({options})"


class RMSprop(Optimizer):
    """torch.optim.RMSprop; see `zkynet.optim.RMSprop`."""

    _kind = optim.RMSprop

    def __init__(self, lr: Any = 0.01, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
                 momentum: float = 0, centered: bool = False):
        super().__init__(lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered)


class Adam(Optimizer):
    """torch.optim.Adam; see `zkynet.optim.Adam`."""

    _kind = optim.Adam

    def __init__(self, lr: Any = 0.001, betas: _BETAS = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
                 amsgrad: bool = False):
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)


class AdamW(Optimizer):
    """torch.optim.AdamW; see `zkynet.optim.AdamW`."""

    _kind = optim.AdamW

    def __init__(self, lr: Any = 0.001, betas: _BETAS = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01,
                 amsgrad: bool = False):
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)


class SGD(Optimizer):
    """torch.optim.SGD; see `zkynet.optim.SGD`."""

    _kind = optim.SGD

    def __init__(self, lr: Any = 0.001, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
                 nesterov: bool = False):
        super().__init__(lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)


class Adagrad(Optimizer):
    """torch.optim.Adagrad; see `zkynet.optim.Adagrad`."""

    _kind = optim.Adagrad

    def __init__(self, lr: Any = 0.01, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10):
        super().__init__(lr, lr_decay=lr_decay, weight_decay=weight_decay,
                         initial_accumulator_value=initial_accumulator_value, eps=eps)


class Adadelta(Optimizer):
    """torch.optim.Adadelta; see `zkynet.optim.Adadelta`."""

    _kind = optim.Adadelta

    def __init__(self, lr: Any = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0):
        super().__init__(lr, rho=rho, eps=eps, weight_decay=weight_decay)


class Adamax(Optimizer):
    """torch.optim.Adamax; see `zkynet.optim.Adamax`."""

    _kind = optim.Adamax

    def __init__(self, lr: Any = 0.002, betas: _BETAS = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0):
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay)


BY_NAME: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (RMSprop, Adam, AdamW, SGD, Adagrad, Adadelta, Adamax)}


def as_optimizer(given: Any) -> Optimizer:
    """An optimizer of an object, a class, a name ("sgd"), or a dict {"name": "sgd", "lr": 0.1}.

    Raises:
        InputError: for anything else, and for unknown options.
    """
    options: dict[str, Any] = {}
    if isinstance(given, Mapping):
        options = dict(given)
        given = options.pop("name", None)
    if isinstance(given, str):
        name = given.lower()
        if name not in BY_NAME:
            raise InputError(f"there is no optimizer {given!r}; there are: {', '.join(BY_NAME)}.")
        given = BY_NAME[name]
    if isinstance(given, type) and issubclass(given, Optimizer):
        known = inspect.signature(given).parameters
        unknown = [name for name in options if name not in known]
        if unknown:
            raise InputError(f"{given.__name__} has no option {unknown[0]!r}; it has: {', '.join(known)}.")
        made: Any = given
        return made(**options)
    if not isinstance(given, Optimizer):
        raise InputError(f"an optimizer is needed, such as Adam(), or the name of one, but got {given!r}.")
    return given
