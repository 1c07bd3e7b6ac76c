"""The mathematics of the optimizers: from gradients to directions, in torch's variants.

Each function takes the options of one parameter group, all but the learning rate, and gives an
`optax.GradientTransformation`: `init(params)` makes the state, `update(gradients, state, params)` the direction d and
the next state; the parameter becomes p - lr d. They are optax's own wherever those give torch's numbers. Where torch
computes something else, the transformation is written here, and its docstring names the difference. Two differences
are general: steps are counted for each parameter (one that is frozen or absent at first begins at its own first step),
and the weight decay is part of no state, so that it may change between steps.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, nan
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..framework.errors import InputError

# Options: the least value, the greatest, and whether that one is excluded.
_LIMITS: dict[str, tuple[float, float, bool]] = {
    "lr": (0.0, inf, True), "eps": (0.0, inf, True), "weight_decay": (0.0, inf, True), "momentum": (0.0, inf, True),
    "dampening": (-inf, inf, True), "beta": (0.0, 1.0, True), "alpha": (0.0, 1.0, False), "rho": (0.0, 1.0, False),
    "lr_decay": (0.0, inf, True), "initial_accumulator_value": (0.0, inf, True), "clip_value": (0.0, inf, False),
    "clip_norm": (0.0, inf, False), "average": (0.0, 1.0, False),
    "tolerance_grad": (0.0, inf, False), "tolerance_change": (0.0, inf, False),
}
_COUNTS = ("accumulate", "max_iter", "max_eval", "history_size")  # whole numbers from 1 on


def check(**options: Any) -> None:
    """Raise InputError unless each number lies within its limits (see `_LIMITS` and `_COUNTS`).

    >>> check(lr=0.1, betas=(0.9, 1.5))
    Traceback (most recent call last):
    zkynet.framework.errors.InputError: betas[1] must be a number with 0 <= betas[1] < 1, but got 1.5.
    """
    for name, value in options.items():
        if name == "betas":
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise InputError(f"betas must be two numbers (beta1, beta2), but got {value!r}.")
            for index, beta in enumerate(value):
                _check_one(f"betas[{index}]", beta, *_LIMITS["beta"])
        elif name in _COUNTS:
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a whole number from 1 on, but got {value!r}.")
        else:
            _check_one(name, value, *_LIMITS[name])


def _check_one(name: str, value: Any, low: float, high: float, excluded: bool) -> None:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    if low <= number and (number < high or (number == high and not excluded)):
        return
    lower = "" if low == -inf else f"{low:g} <= "
    upper = f" {'<' if excluded else '<='} {high:g}"
    raise InputError(f"{name} must be a number with {lower}{name}{upper}, but got {value!r}.")


def sgd(*, momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0,
        nesterov: bool = False) -> optax.GradientTransformation:
    """d = g, or with momentum the buffer b = momentum b + (1 - dampening) g; Nesterov: d = g + momentum b.

    g includes weight_decay p. Sutskever et al., "On the importance of initialization and momentum in deep learning",
    2013; as in torch the rate multiplies the buffer when it is used, not what goes into it.
    """
    check(momentum=momentum, dampening=dampening, weight_decay=weight_decay)
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError("nesterov=True needs a momentum above 0 and no dampening, but got "
                         f"momentum={momentum!r}, dampening={dampening!r}.")
    if momentum == 0:
        return _decayed(weight_decay, optax.identity())
    return _decayed(weight_decay, optax.trace(momentum, nesterov) if dampening == 0
                    else damped_trace(momentum, dampening))


def adam(*, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0,
         amsgrad: bool = False) -> optax.GradientTransformation:
    """d = m' / (sqrt(v') + eps) with the bias-corrected means m' of g and v' of g^2; g includes weight_decay p.

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """
    check(betas=betas, eps=eps, weight_decay=weight_decay)
    return _decayed(weight_decay, scale_by_adam(*betas, eps, amsgrad))


def adamw(*, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
          amsgrad: bool = False) -> optax.GradientTransformation:
    """Adam's direction plus weight_decay p, which the means do not see.

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019; as in torch the decay is multiplied by lr.
    """
    check(betas=betas, eps=eps, weight_decay=weight_decay)
    return _decoupled(weight_decay, scale_by_adam(*betas, eps, amsgrad))


def rmsprop(*, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0, momentum: float = 0.0,
            centered: bool = False) -> optax.GradientTransformation:
    """d = g / (sqrt(v) + eps), v the mean of g^2; centered: v minus the squared mean of g. Momentum sums the d.

    Tieleman and Hinton, lecture 6.5, 2012; centered: Graves, "Generating sequences with recurrent neural networks",
    2013.
    """
    check(alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
    scaled = scale_by_deviation(alpha, eps) if centered else optax.scale_by_rms(alpha, eps, eps_in_sqrt=False)
    return _decayed(weight_decay, scaled if momentum == 0 else optax.chain(scaled, optax.trace(momentum)))


def adagrad(*, lr_decay: float = 0.0, weight_decay: float = 0.0, initial_accumulator_value: float = 0.0,
            eps: float = 1e-10) -> optax.GradientTransformation:
    """d = g / (sqrt(s) + eps) / (1 + t lr_decay), s the sum of g^2 and t the parameter's steps before this one.

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning", 2011.
    """
    check(lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value, eps=eps)
    return _decayed(weight_decay, scale_by_sum(lr_decay, initial_accumulator_value, eps))


def adadelta(*, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """d = g sqrt(u + eps) / sqrt(v + eps), v the mean of g^2, u that of d^2 up to the step before.

    Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """
    check(rho=rho, eps=eps, weight_decay=weight_decay)
    return _decayed(weight_decay, optax.scale_by_adadelta(rho, eps))


def adamax(*, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
           weight_decay: float = 0.0) -> optax.GradientTransformation:
    """d = m' / u with the bias-corrected mean m' of g and u = max(beta2 u, |g| + eps).

    Kingma and Ba, 2015, section 7.1.
    """
    check(betas=betas, eps=eps, weight_decay=weight_decay)
    return _decayed(weight_decay, scale_by_adamax(*betas, eps))


def lion(*, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0) -> optax.GradientTransformation:
    """d = sign(beta1 m + (1 - beta1) g) + weight_decay p; then m = beta2 m + (1 - beta2) g.

    Chen et al., "Symbolic discovery of optimization algorithms", 2023.
    """
    check(betas=betas, weight_decay=weight_decay)
    return _decoupled(weight_decay, optax.scale_by_lion(*betas))


# Where torch differs from optax ----------------------------------------------------------------------------
#
# `apart` is how `packing.together` gives back the parameters' own arrays: what depends on a parameter's number of steps
# is computed on those.


def _itself(tree: Any) -> Any:
    return tree


class DampedTrace(NamedTuple):
    count: Any
    trace: Any


def damped_trace(momentum: float, dampening: float) -> optax.GradientTransformation:
    """b = momentum b + (1 - dampening) g. optax has no dampening; torch leaves it out in the first step: b = g."""

    def update(updates: Any, state: Any, params: Any = None, *, apart: Callable = _itself) -> tuple[Any, DampedTrace]:
        share = jax.tree.map(lambda t: jnp.where(t == 0, 1.0, 1.0 - dampening), state.count)
        trace = jax.tree.map(lambda g, b, s: momentum * b + s.astype(g.dtype) * g,
                             apart(updates), apart(state.trace), apart(share))
        return trace, DampedTrace(_next(state.count), trace)

    return optax.GradientTransformationExtraArgs(
        lambda params: DampedTrace(_zeros(params), optax.tree.zeros_like(params)), update)


class Moments(NamedTuple):
    count: Any
    mu: Any
    nu: Any
    nu_max: Any = None  # of AMSGrad


def scale_by_adam(b1: float, b2: float, eps: float, amsgrad: bool) -> optax.GradientTransformation:
    """Adam and AMSGrad (Reddi, Kale and Kumar, 2018). optax counts the steps of all parameters together. Of AMSGrad
    torch takes the maximum of the second moments as they are and corrects the bias of that maximum;
    `optax.scale_by_amsgrad` takes the maximum of the corrected ones, or corrects nothing."""

    def init(params: Any) -> Moments:
        mu, nu, nu_max = (optax.tree.zeros_like(params) for _ in range(3))
        return Moments(_zeros(params), mu, nu, nu_max if amsgrad else None)

    def update(updates: Any, state: Any, params: Any = None, *, apart: Callable = _itself) -> tuple[Any, Moments]:
        count = _next(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu) if amsgrad else None
        direction = jax.tree.map(
            lambda m, v, a, b: m * a.astype(m.dtype) / (jnp.sqrt(v * b.astype(v.dtype)) + eps),
            *map(apart, (mu, nu_max if amsgrad else nu, _unbiased(b1, count), _unbiased(b2, count))))
        return direction, Moments(count, mu, nu, nu_max)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_adamax(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adamax; `optax.scale_by_adamax` counts the steps of all parameters together."""

    def update(updates: Any, state: Any, params: Any = None, *, apart: Callable = _itself) -> tuple[Any, Moments]:
        count = _next(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_infinity_moment(updates, state.nu, b2, eps)
        direction = jax.tree.map(lambda m, u, a: m * a.astype(m.dtype) / u, *map(apart, (mu, nu, _unbiased(b1, count))))
        return direction, Moments(count, mu, nu)

    return optax.GradientTransformationExtraArgs(
        lambda params: Moments(_zeros(params), optax.tree.zeros_like(params), optax.tree.zeros_like(params)), update)


class Deviation(NamedTuple):
    mu: Any
    nu: Any


def scale_by_deviation(alpha: float, eps: float) -> optax.GradientTransformation:
    """d = g / (sqrt(v - m^2) + eps). `optax.scale_by_stddev`, with the variance kept from being negative: the rounding
    of a constant gradient makes it so, and its root (in optax and in torch) NaN."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Deviation]:
        mu = optax.tree.update_moment(updates, state.mu, alpha, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, alpha, 2)
        direction = jax.tree.map(lambda g, m, v: g / (jnp.sqrt(jnp.maximum(v - m * m, 0)) + eps), updates, mu, nu)
        return direction, Deviation(mu, nu)

    return optax.GradientTransformation(
        lambda params: Deviation(optax.tree.zeros_like(params), optax.tree.zeros_like(params)), update)


class SumOfSquares(NamedTuple):
    count: Any
    total: Any


def scale_by_sum(lr_decay: float, initial: float, eps: float) -> optax.GradientTransformation:
    """Adagrad. torch adds eps outside of the square root (`optax.scale_by_rss`: inside) and lets the rate decay."""

    def update(updates: Any, state: Any, params: Any = None, *, apart: Callable = _itself) -> tuple[Any, SumOfSquares]:
        total = jax.tree.map(lambda g, s: s + g * g, updates, state.total)
        rate = jax.tree.map(lambda t: 1.0 / (1.0 + lr_decay * t), state.count)
        direction = jax.tree.map(lambda g, s, r: r.astype(g.dtype) * g / (jnp.sqrt(s) + eps),
                                 *map(apart, (updates, total, rate)))
        return direction, SumOfSquares(_next(state.count), total)

    return optax.GradientTransformationExtraArgs(
        lambda params: SumOfSquares(_zeros(params), optax.tree.full_like(params, initial)), update)


def _zeros(params: Any) -> Any:
    """No step yet, of each parameter."""
    return jax.tree.map(lambda _: jnp.zeros((), jnp.int32), params)


def _next(count: Any) -> Any:
    return jax.tree.map(optax.safe_increment, count)


def _unbiased(decay: float, count: Any) -> Any:
    """1 / (1 - decay^t), without the rounding of decay^t, which is near 1 at first; a factor, as XLA would make
    a program of its own of each division by a scalar."""
    exponent = log(decay) if decay else -inf
    return jax.tree.map(lambda t: -1.0 / jnp.expm1(t * exponent), count)


def _decayed(weight_decay: float, rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """The rule of g + weight_decay p."""
    inner = optax.with_extra_args_support(rule)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if weight_decay:
            updates = jax.tree.map(lambda g, p: g + weight_decay * p, updates, params)
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(rule.init, update)


def _decoupled(weight_decay: float, rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """The rule's direction plus weight_decay p."""
    inner = optax.with_extra_args_support(rule)

    def update(updates: Any, state: Any, params: Any = None, *, apart: Callable = _itself) -> tuple[Any, Any]:
        direction, state = inner.update(updates, state, params, apart=apart)
        if weight_decay:
            direction = jax.tree.map(lambda d, p: d + weight_decay * p, apart(direction), apart(params))
        return direction, state

    return optax.GradientTransformationExtraArgs(rule.init, update)
