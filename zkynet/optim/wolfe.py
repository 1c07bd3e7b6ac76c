"""A step length that satisfies the strong Wolfe conditions, found inside of a compiled program.

Nocedal and Wright, "Numerical optimization", 2006, algorithms 3.5 and 3.6, with the cubic interpolation and the
safeguards of torch.optim.LBFGS. Two things differ. A loss that is NaN counts as infinite: the search goes back from it.
And where values differ by no more than rounding, the slope alone decides (the approximate Wolfe condition of Hager and
Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search", 2005): in float32, values
say nothing any more within about 1e-4 of a minimum, where slopes still lead on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_DECREASE, _CURVATURE = 1e-4, 0.9  # c1 and c2
_BRACKETING, _NARROWING, _DONE = np.int32(0), np.int32(1), np.int32(2)  # int32 also where JAX computes in 64 bits


class Point(NamedTuple):
    """A point on the line x + t d: value and gradient there, and the slope along d. With an axis in front, several."""

    t: Any
    value: Any
    slope: Any
    gradient: Any


class _Search(NamedTuple):
    trial: Any  # the t to be evaluated next
    evaluations: Any
    stage: Any
    previous: Point
    ends: Point  # two, of the interval that holds a good length
    low: Any  # which of them has the lower value
    stuck: Any  # whether the last trial was close to an end


def strong_wolfe(evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]], x: jax.Array, d: jax.Array, t: jax.Array,
                 start: Point, wanted: Any, most: Any, tolerance: Any) -> tuple[Point, Any]:
    """The point found on x + t d, and the number of evaluations.

    Args:
        t: the first trial.
        start: the point at t = 0.
        wanted: False to do nothing and return the start.
        most: evaluations after the first one.
        tolerance: an interval that moves no parameter by more is not narrowed.
    """
    greatest = jnp.max(jnp.abs(d))
    noise = 8.0 * jnp.finfo(d.dtype).eps * jnp.abs(start.value)

    def level(point: Point) -> Any:
        """Whether the value is the start's but for rounding, and the slope no steeper uphill than the start's down."""
        return (jnp.abs(point.value - start.value) <= noise) & (point.slope <= (2.0 * _DECREASE - 1.0) * start.slope)

    def sufficient(point: Point) -> Any:
        return ~(point.value > start.value + _DECREASE * point.t * start.slope) | level(point)

    def flat(point: Point) -> Any:
        return jnp.abs(point.slope) <= -_CURVATURE * start.slope

    def narrowing(search: _Search) -> _Search:
        """With the next trial inside of the interval, unless that is small or no evaluation is left."""
        a, b = _end(search.ends, 0), _end(search.ends, 1)
        over = (jnp.abs(b.t - a.t) * greatest < tolerance) | (search.evaluations > most)
        trial, stuck = _inside(a, b, search.stuck)
        return search._replace(trial=trial, stuck=stuck, stage=jnp.where(over, _DONE, _NARROWING))

    def bracketed(search: _Search, new: Point) -> _Search:
        """A trial beyond the ones before: does the interval up to it hold a good length?"""
        out = search.evaluations > most
        risen = ~sufficient(new) | ((search.evaluations > 2) & (new.value >= search.previous.value))
        good = ~out & ~risen & flat(new)
        left = _where(out, start, _where(good, new, search.previous))
        ends = jax.tree.map(lambda a, b: jnp.stack([a, b]), left, new)
        search = search._replace(ends=ends, low=_lower(ends))
        further = _between(search.previous, new, new.t + 0.01 * (new.t - search.previous.t), 10.0 * new.t)
        onward = search._replace(trial=further, previous=new)
        ended = search._replace(stage=jnp.full_like(search.stage, _DONE))
        return _where(out | good, ended, _where(risen | (new.slope >= 0), narrowing(search), onward))

    def narrowed(search: _Search, new: Point) -> _Search:
        """A trial inside of the interval becomes one of its ends."""
        low, high, ends = search.low, 1 - search.low, search.ends
        lowest = _end(ends, low)
        worse = ~sufficient(new) | ((new.value >= lowest.value) & ~level(new))
        good = ~worse & flat(new)
        turned = ~worse & ~good & (new.slope * (_end(ends, high).t - lowest.t) >= 0)
        ends = _placed(ends, high, _where(worse, new, _where(turned, lowest, _end(ends, high))))
        ends = _placed(ends, low, _where(worse, lowest, new))
        search = narrowing(search._replace(ends=ends, low=jnp.where(worse, _lower(ends), low)))
        return search._replace(stage=jnp.where(good, _DONE, search.stage))

    def advance(search: _Search) -> _Search:
        value, gradient = evaluate(x + search.trial * d)
        value = jnp.where(jnp.isnan(value), jnp.inf, value)
        new = Point(search.trial, value, jnp.sum(gradient * d), gradient)
        search = search._replace(evaluations=search.evaluations + 1)
        return jax.lax.cond(search.stage == _BRACKETING, bracketed, narrowed, search, new)

    begun = _Search(t, jnp.int32(0), jnp.where(wanted, _BRACKETING, _DONE), start,
                    jax.tree.map(lambda a: jnp.stack([a, a]), start), jnp.int32(0), jnp.bool_(False))
    ended = jax.lax.while_loop(lambda search: search.stage != _DONE, advance, begun)
    return _end(ended.ends, ended.low), ended.evaluations


def _between(a: Point, b: Point, least: Any, greatest: Any) -> Any:
    """Where the cubic of both values and slopes has its minimum, within limits; the middle where it has none."""
    first, second = _where(a.t <= b.t, a, b), _where(a.t <= b.t, b, a)
    mean = first.slope + second.slope - 3.0 * (first.value - second.value) / (first.t - second.t)
    square = mean * mean - first.slope * second.slope
    root = jnp.sqrt(jnp.maximum(square, 0.0))
    part = (second.slope + root - mean) / (second.slope - first.slope + 2.0 * root)
    position = second.t - (second.t - first.t) * part
    found = (square >= 0) & jnp.isfinite(position)
    return jnp.where(found, jnp.clip(position, least, greatest), (least + greatest) / 2)


def _inside(a: Point, b: Point, stuck: Any) -> tuple[Any, Any]:
    """The next trial between two ends, and whether it is close to one; a tenth of the interval away the second time."""
    left, right = jnp.minimum(a.t, b.t), jnp.maximum(a.t, b.t)
    trial = _between(a, b, left, right)
    margin = 0.1 * (right - left)
    close = jnp.minimum(right - trial, trial - left) < margin
    moved = close & (stuck | (trial >= right) | (trial <= left))
    away = jnp.where(right - trial < trial - left, right - margin, left + margin)
    return jnp.where(moved, away, trial), close & ~moved


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _end(ends: Point, index: Any) -> Point:
    return Point(*[part[index] for part in ends])


def _placed(ends: Point, index: Any, point: Point) -> Point:
    return Point(*[part.at[index].set(new) for part, new in zip(ends, point, strict=True)])


def _lower(ends: Point) -> Any:
    return jnp.where(ends.value[0] <= ends.value[1], 0, 1).astype(jnp.int32)
