"""Learning rates as functions of the step count, and one that listens to a metric.

A schedule is a value: frozen, compared and hashed by its numbers, so that programs are kept by it. Called with a Python
or NumPy number it computes on the host, in double precision and without compiling anything; called with a JAX array it
is part of the program. (optax's schedules always are, and compare by identity: so the formulas are written here.) Step
0 is the first update. Wherever an optimizer takes `lr` it takes a schedule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..framework.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """A rate for every step: `schedule(step)`. Derive, as a frozen dataclass, and override `rate`."""

    def __call__(self, step: Any) -> Any:
        """The rate at a step: a float for a number, an array for an array of steps."""
        if isinstance(step, jax.Array):
            return jnp.asarray(self.rate(step, jnp), dtype=float)  # float32, whatever the formula's numbers were
        rate = self.rate(step, np)
        return rate if isinstance(rate, np.ndarray) and rate.ndim else float(rate)

    def rate(self, step: Any, xp: Any) -> Any:
        """The formula; `xp` is jax.numpy inside of a program and NumPy outside."""
        raise NotImplementedError

    def _check(self, **fits: bool) -> None:
        """Raise InputError for the first field that does not fit."""
        for name, fit in fits.items():
            if not fit:
                raise InputError(f"{type(self).__name__}: {name} must be {_EXPECTED[name]}, but got "
                                 f"{getattr(self, name)!r}.")


_RATE = "a finite number, at least 0"
_COUNT = "a whole number of steps, at least 1"
_FACTOR = "a finite number above 0"
_EXPECTED = {
    "lr": _RATE, "max_lr": _RATE, "eta_min": _RATE, "end_lr": _RATE, "start_factor": _RATE, "power": _RATE,
    "step_size": _COUNT, "T_max": _COUNT, "total_iters": _COUNT, "total_steps": _COUNT, "steps": _COUNT,
    "gamma": _FACTOR, "div_factor": _FACTOR, "final_div_factor": _FACTOR, "pct_start": "a number from 0 to 1",
    "milestones": "increasing whole numbers of steps", "anneal_strategy": "'cos' or 'linear'",
    "schedules": "one more than there are milestones", "schedule": "a schedule or a rate",
}


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _rate(value: Any) -> bool:
    return _finite(value) and value >= 0


def _factor(value: Any) -> bool:
    return _finite(value) and value > 0


def _count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _increasing(values: Sequence[Any]) -> bool:
    return all(_count(v) for v in values) and all(a < b for a, b in zip(values, values[1:], strict=False))


def as_schedule(lr: Any) -> Schedule:
    """The schedule itself, or the constant one of a number.

    >>> as_schedule(0.1)
    Constant(lr=0.1)
    """
    return lr if isinstance(lr, Schedule) else Constant(lr)


@dataclass(frozen=True)
class Constant(Schedule):
    """lr at every step.

    >>> Constant(0.1)(7)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self._check(lr=_rate(self.lr))

    def rate(self, step: Any, xp: Any) -> Any:
        return self.lr + 0.0 * step


@dataclass(frozen=True)
class Step(Schedule):
    """lr gamma^floor(step / step_size) (torch.optim.lr_scheduler.StepLR).

    >>> [Step(1.0, step_size=2, gamma=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._check(lr=_rate(self.lr), step_size=_count(self.step_size), gamma=_factor(self.gamma))

    def rate(self, step: Any, xp: Any) -> Any:
        return self.lr * _power(self.gamma, step // self.step_size, xp)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """lr gamma^n, n the number of milestones reached (torch.optim.lr_scheduler.MultiStepLR).

    >>> [MultiStep(1.0, milestones=(1, 3), gamma=0.5)(step) for step in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        self._check(lr=_rate(self.lr), milestones=_increasing(self.milestones), gamma=_factor(self.gamma))

    def rate(self, step: Any, xp: Any) -> Any:
        return self.lr * _power(self.gamma, sum((step >= milestone) * 1 for milestone in self.milestones), xp)


@dataclass(frozen=True)
class Exponential(Schedule):
    """lr gamma^step (torch.optim.lr_scheduler.ExponentialLR).

    >>> Exponential(1.0, gamma=0.5)(3)
    0.125
    """

    lr: float
    gamma: float

    def __post_init__(self) -> None:
        self._check(lr=_rate(self.lr), gamma=_factor(self.gamma))

    def rate(self, step: Any, xp: Any) -> Any:
        return self.lr * _power(self.gamma, step, xp)


@dataclass(frozen=True)
class Cosine(Schedule):
    """eta_min + (lr - eta_min) (1 + cos(pi step / T_max)) / 2 (torch.optim.lr_scheduler.CosineAnnealingLR).

    As in torch it rises again after T_max; to stay at the end, `Join([Cosine(...), eta_min], [T_max])`.
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.

    >>> [round(Cosine(1.0, T_max=4)(step), 4) for step in range(5)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0]
    """

    lr: float
    T_max: int
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        self._check(lr=_rate(self.lr), T_max=_count(self.T_max), eta_min=_rate(self.eta_min))

    def rate(self, step: Any, xp: Any) -> Any:
        return _cosine(self.lr, self.eta_min, step / self.T_max, xp)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """end_lr + (lr - end_lr) (1 - min(step / total_iters, 1))^power (torch's PolynomialLR has end_lr = 0).

    >>> [Polynomial(1.0, total_iters=4)(step) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    lr: float
    total_iters: int
    power: float = 1.0
    end_lr: float = 0.0

    def __post_init__(self) -> None:
        self._check(lr=_rate(self.lr), total_iters=_count(self.total_iters), power=_rate(self.power),
                    end_lr=_rate(self.end_lr))

    def rate(self, step: Any, xp: Any) -> Any:
        left = 1.0 - xp.minimum(step / self.total_iters, 1.0)
        return self.end_lr + (self.lr - self.end_lr) * left**self.power


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From max_lr / div_factor up to max_lr in the first pct_start of the steps, then down to 1 / final_div_factor of
    where it began, along half cosines or lines (torch.optim.lr_scheduler.OneCycleLR of two phases); there it stays.

    The momentum does not move: this is torch's cycle_momentum=False, where its default also takes the momentum from
    0.95 down to 0.85 and back.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.

    >>> [round(OneCycle(1.0, total_steps=11, anneal_strategy="linear")(step), 2) for step in (0, 2, 3, 10)]
    [0.04, 0.87, 0.91, 0.0]
    """

    max_lr: float
    total_steps: int
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        self._check(max_lr=_rate(self.max_lr), total_steps=_count(self.total_steps),
                    pct_start=_rate(self.pct_start) and self.pct_start <= 1,
                    anneal_strategy=self.anneal_strategy in ("cos", "linear"), div_factor=_factor(self.div_factor),
                    final_div_factor=_factor(self.final_div_factor))

    def rate(self, step: Any, xp: Any) -> Any:
        curve = _cosine if self.anneal_strategy == "cos" else _line
        start, peak, end = self.max_lr / self.div_factor, self.pct_start * self.total_steps - 1, self.total_steps - 1
        last = start / self.final_div_factor
        rising = curve(start, self.max_lr, _part(step, 0, peak, xp), xp)
        falling = curve(self.max_lr, last, _part(step, peak, end, xp), xp)
        return xp.where(step <= peak, rising, falling)


@dataclass(frozen=True)
class Warmup(Schedule):
    """Linear from start_factor times its first rate to that rate in `steps` steps, then the schedule from its start.

    As torch's LinearLR followed by another by SequentialLR. Goyal et al., "Accurate, large minibatch SGD", 2017.

    >>> [Warmup(Step(1.0, step_size=2), steps=2)(step) for step in range(5)]
    [0.0, 0.5, 1.0, 1.0, 0.1]
    """

    schedule: Schedule | float
    steps: int
    start_factor: float = 0.0

    def __post_init__(self) -> None:
        self._check(schedule=isinstance(self.schedule, Schedule) or _rate(self.schedule))
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        self._check(steps=_count(self.steps), start_factor=_rate(self.start_factor))

    def rate(self, step: Any, xp: Any) -> Any:
        factor = _line(self.start_factor, 1.0, xp.minimum(step / self.steps, 1.0), xp)
        return factor * as_schedule(self.schedule).rate(xp.maximum(step - self.steps, 0), xp)


@dataclass(frozen=True)
class Join(Schedule):
    """One schedule after the other: each begins anew at its milestone (torch.optim.lr_scheduler.SequentialLR).

    >>> [Join([0.1, Exponential(1.0, 0.5)], milestones=[2])(step) for step in range(5)]
    [0.1, 0.1, 1.0, 0.5, 0.25]
    """

    schedules: Sequence[Schedule | float]
    milestones: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", tuple(as_schedule(schedule) for schedule in self.schedules))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        self._check(milestones=_increasing(self.milestones),
                    schedules=len(self.schedules) == len(self.milestones) + 1)

    def rate(self, step: Any, xp: Any) -> Any:
        first, *others = [as_schedule(schedule) for schedule in self.schedules]
        rate = first.rate(step, xp)
        for milestone, schedule in zip(self.milestones, others, strict=True):
            # A step before the milestone is of no use to the later schedule, but must not give a NaN.
            rate = xp.where(step < milestone, rate, schedule.rate(xp.maximum(step - milestone, 0), xp))
        return rate


def _power(base: float, exponent: Any, xp: Any) -> Any:
    """base^exponent, exact to rounding for thousands of steps in float32 too, where a rounded base would not be."""
    return base**exponent if xp is np else xp.exp(exponent * math.log(base))


def _line(start: float, end: float, part: Any, xp: Any) -> Any:
    return start + (end - start) * part


def _cosine(start: float, end: float, part: Any, xp: Any) -> Any:
    return end + (start - end) * (0.5 + 0.5 * xp.cos(math.pi * part))


def _part(step: Any, first: float, last: float, xp: Any) -> Any:
    """How far a step is between two others, from 0 to 1."""
    return xp.clip((step - first) / max(last - first, 1e-9), 0.0, 1.0)


class ReduceOnPlateau:
    """Reduces rates when a metric has stopped improving (torch.optim.lr_scheduler.ReduceLROnPlateau); on the host.

    Args:
        mode: "min" when less is better, "max" when more is.
        factor: what a rate is multiplied by, below 1.
        patience: how many results in a row may be no improvement.
        threshold: an improvement is one by more than this, as a fraction of the best (threshold_mode "rel") or absolute
            ("abs").
        cooldown: how many results after a reduction do not count.
        min_lr: no rate goes below it.
        eps: smaller reductions are left out.

    >>> plateau = ReduceOnPlateau(factor=0.5, patience=1)
    >>> rate = 1.0
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     rate = plateau.step(loss, rate)
    >>> rate
    0.5
    """

    def __init__(self, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
                 threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0, eps: float = 1e-8):
        if mode not in ("min", "max"):
            raise InputError(f"ReduceOnPlateau: mode must be 'min' or 'max', but got {mode!r}.")
        if threshold_mode not in ("rel", "abs"):
            raise InputError(f"ReduceOnPlateau: threshold_mode must be 'rel' or 'abs', but got {threshold_mode!r}.")
        if not (_factor(factor) and factor < 1):
            raise InputError(f"ReduceOnPlateau: factor must be a number above 0 and below 1, but got {factor!r}.")
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lr, self.eps = min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.bad = 0  # results in a row that were no improvement
        self.waiting = 0  # of the cooldown

    def step(self, metric: Any, lr: float) -> float:
        """Take a result; returns the rate to go on with. With several rates: `observe`, then `reduced` for each."""
        return self.reduced(lr) if self.observe(metric) else lr

    def observe(self, metric: Any) -> bool:
        """Take a result; whether rates are to be reduced now."""
        value = float(metric)
        if self._improves(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.waiting > 0:
            self.waiting -= 1
            self.bad = 0
        if self.bad <= self.patience:
            return False
        self.bad, self.waiting = 0, self.cooldown
        return True

    def reduced(self, lr: float) -> float:
        """The rate after this one."""
        new = max(lr * self.factor, self.min_lr)
        return new if lr - new > self.eps else lr

    def _improves(self, value: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "abs":
            return sign * value < sign * self.best - self.threshold
        return sign * value < sign * self.best * (1.0 - sign * self.threshold)

    def state_dict(self) -> dict[str, float]:
        """What changes, as numbers."""
        return {"best": self.best, "bad": self.bad, "waiting": self.waiting}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on where `state_dict` was taken."""
        missing = {"best", "bad", "waiting"} ^ set(state)
        if missing:
            raise InputError(f"ReduceOnPlateau: a state has the keys best, bad and waiting, but got {sorted(state)}.")
        self.best, self.bad, self.waiting = float(state["best"]), int(state["bad"]), int(state["waiting"])

    def __repr__(self) -> str:
        return f"ReduceOnPlateau(mode={self.mode!r}, factor={self.factor!r}, patience={self.patience!r})"
