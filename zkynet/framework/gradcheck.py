"""gradcheck: an operator's own gradients against finite differences of what it computes.

Everything runs in float64. The inputs are moved one element after another, and the slope of the value (of the
gradient, for second order) is compared with what the gradient rules say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from . import config
from .errors import InputError, ZkynetError
from .subject import Subject

# Steps, as fractions of what is moved where that is above 1. The first is best for smooth functions in
# float64; the others serve steep and noisy ones.
STEPS = (1e-3, 1e-5, 1e-2, 1e-7)
# Of more elements than this, a random choice of so many is moved.
MOST_ELEMENTS = 512


@dataclass(frozen=True)
class Element:
    """One number of a gradient, by the rules and by finite differences.

    Attributes:
        input: the name of the input or parameter (of the output, in forward mode).
        index: which element of it; () for a scalar.
        order: 1 for the gradient, 2 for the gradient of the gradient.
        analytic: what the gradient rules say.
        numeric: the slope by finite differences.
        uncertainty: how well the finite differences themselves agree with each other.
        deviation: |analytic - numeric| as a multiple of what is allowed; above 1 it is wrong.
        mode: "reverse" (vjp) or "forward" (jvp).
    """

    input: str
    index: tuple[int, ...]
    order: int
    analytic: float
    numeric: float
    uncertainty: float
    deviation: float
    mode: str = "reverse"

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        where = f"input {self.input}" if self.mode == "reverse" else f"{self.input} in forward mode"
        doubt = ""
        if self.deviation > 1 and not self.uncertainty < 1e-2 * abs(self.numeric):
            doubt = " (finite differences do not settle here: a kink, a pole or noise?)"
        return (f"{where}{place}, order {self.order}: analytic {self.analytic:.10g}, "
                f"numeric {self.numeric:.10g}{doubt}")


@dataclass(frozen=True)
class Verdict:
    """What `gradcheck` found; true when every gradient is right.

    Attributes:
        name: the operator, module or function that was checked.
        ok: whether everything agrees.
        order: the highest order that was asked for.
        checked: how many elements were compared.
        worst: the element that deviates most from finite differences; None when there was none to compare.
        error: why a gradient could not be computed at all: a rule that raises, a cotangent of wrong shape.
    """

    name: str
    ok: bool
    order: int
    checked: int
    worst: Element | None = None
    error: str | None = None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = f"gradcheck of {self.name}: "
        if self.error is not None:
            return f"{head}WRONG: {self.error}"
        if self.worst is None:
            return f"{head}ok, nothing to differentiate"
        if self.ok:
            return f"{head}ok to order {self.order} ({self.checked} elements); the worst is {self.worst}"
        return f"{head}WRONG at {self.worst}"

    __repr__ = __str__


def gradcheck(operator: Any, *inputs: Any, order: int = 2, tolerance: float | None = None, seed: int = 0,
              **attributes: Any) -> Verdict:
    """Compare gradients with finite differences of values, and second derivatives with those of gradients.

    With random cotangents c and a random tangent v: every element of J^T c against the slope of c . y, J v
    (forward mode) against the slope of y along v, every element of the gradient of v . (J^T c) against the
    slope of v . (J^T c).

    Args:
        operator: an Operator of any style (or its class), a Module, or a Python function of nodes. A Module is
            checked with respect to its parameters too.
        inputs: example inputs, away from kinks and poles: arrays, numbers, or trees of them. Floating ones are
            moved, unless declared to have no gradient; integer arrays are held fixed.
        order: 1 for gradients only, 2 (default) for gradients of gradients too.
        tolerance: relative to the largest element of that gradient; 1e-6 by default, 1e-3 where the operator
            itself computes in less than float64.
        seed: of the random cotangents and tangents.
        attributes: static attributes of the operator (by keyword, or by position after its inputs), or keyword
            inputs of the function: held fixed.

    Returns:
        a `Verdict`: true or false, readable when printed, with the worst element. A wrong gradient, also one
        of the wrong shape or a rule that raises, gives a false verdict and no exception.

    Raises:
        InputError: when the order is neither 1 nor 2, or nothing floating is given.
        ShapeError: when the operator does not take these inputs.

    >>> import numpy as np
    >>> from zkynet.framework import cg, op
    >>> bool(gradcheck(op.softplus, np.array([-1.0, 2.0]), beta=2.0))
    True
    >>> class Twice(cg.Operator):
    ...     def __init__(self):
    ...         super().__init__(inputs=(cg.Variable("x"),))
    ...     def call(self, x):
    ...         return 2.0 * x.value
    ...     def vjp(self, cotangent, output, x):
    ...         return (3.0 * cotangent,)
    >>> verdict = gradcheck(Twice(), 1.0)
    >>> verdict.ok, verdict.worst.input, round(verdict.worst.analytic / verdict.worst.numeric, 6)
    (False, 'x', 1.5)
    """
    if order not in (1, 2):
        raise InputError(f"gradcheck: order must be 1 or 2, but is {order!r}.")
    with config.precision("float64"):
        subject = Subject(operator, inputs, attributes)
    try:
        with config.precision("float64"):
            return _Check(subject, order, tolerance, seed).verdict()
    finally:
        subject.restore()  # outside, so that parameters of 32 bits belong to that mode again


class _Check:
    """One run: the random directions, the comparisons, the worst element."""

    def __init__(self, subject: Subject, order: int, tolerance: float | None, seed: int):
        self.subject = subject
        self.order = order
        self.rng = np.random.default_rng(seed)
        self.point = subject.point
        self.values = subject.value(self.point)
        self.epsilon = max([float(jnp.finfo(v.dtype).eps) for v in self.values], default=0.0)
        self.tolerance = tolerance or (1e-6 if self.epsilon < 1e-12 else 1e-3)
        self.elements: list[Element] = []

    def verdict(self) -> Verdict:
        worst = None
        stages = {"order 1": self._reverse, "forward mode": self._forward, "order 2": self._second}
        if self.order == 1:
            del stages["order 2"]
        for name, stage in stages.items() if self.point and self.values else ():
            error = None
            try:
                stage()
            except ZkynetError as wrong:
                error = f"{name}: {wrong}"
            except Exception as wrong:  # whatever a rule does: the value itself was computed before
                error = f"{name}: {type(wrong).__name__}: {wrong}"
            worst = max(self.elements, key=lambda element: element.deviation, default=None)
            # What comes later is derived from what is wrong already.
            if error is not None or worst is not None and worst.deviation > 1.0:
                return Verdict(self.subject.name, False, self.order, len(self.elements), worst, error)
        return Verdict(self.subject.name, True, self.order, len(self.elements), worst)

    def _random(self, like: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Away from zero, so that no element goes unseen."""
        return [self.rng.uniform(0.5, 1.5, x.shape) * self.rng.choice([-1.0, 1.0], x.shape) for x in like]

    def _reverse(self) -> None:
        subject = self.subject
        cotangents = [self._random(self.values) for _ in range(2)]
        found = [subject.gradient(self.point, c) for c in cotangents]

        def projected(point: Sequence[np.ndarray]) -> np.ndarray:
            value = subject.value(point)
            return np.array([_dot(c, value) for c in cotangents])

        self._compare_elements(found, projected, _size(cotangents[0], self.values), order=1)

    def _forward(self) -> None:
        subject = self.subject
        # Steps along the tangent must suit small and large elements at once.
        tangents = [t * np.where(x == 0.0, 1.0, np.minimum(np.abs(x), 1e3)) for t, x in
                    zip(self._random(self.point), self.point, strict=True)]
        found = subject.forward(self.point, tangents)

        def along(t: float) -> np.ndarray:
            return _flat(subject.value([x + t * v for x, v in zip(self.point, tangents, strict=True)]))

        numeric, doubt, noise = self._slope(along, STEPS, np.abs(_flat(self.values)).max(initial=0.0))
        names = ["output"] if len(found) == 1 else [f"output {i}" for i in range(len(found))]
        start = 0
        for name, analytic in zip(names, found, strict=True):
            part = slice(start, start + analytic.size)
            start += analytic.size
            self._judge(name, list(np.ndindex(analytic.shape)), analytic.reshape(-1), numeric[part], doubt[part],
                        np.full(analytic.size, noise), 1, "forward")

    def _second(self) -> None:
        subject = self.subject
        cotangents, tangents = self._random(self.values), self._random(self.point)
        found = subject.second(self.point, cotangents, tangents)
        size = _size(tangents, subject.gradient(self.point, cotangents))

        def projected(point: Sequence[np.ndarray]) -> np.ndarray:
            return np.array([_dot(tangents, subject.gradient(point, cotangents))])

        self._compare_elements([found], projected, size, order=2)

    def _compare_elements(self, found: Sequence[Sequence[np.ndarray]],
                          projected: Callable[[Sequence[np.ndarray]], np.ndarray], size: float, order: int) -> None:
        """Each element of the gradients `found` against the slope of the function `projected`."""
        chosen = self._choice()
        for number, name in enumerate(self.subject.names):
            places = chosen[number]
            slopes = [self._move(projected, number, place, size) for place in places]
            noise = np.array([noise for _, _, noise in slopes])
            for row, gradients in enumerate(found):
                analytic = np.array([gradients[number][place] for place in places])
                numeric = np.array([slope[row] for slope, _, _ in slopes])
                doubt = np.array([doubt[row] for _, doubt, _ in slopes])
                self._judge(name, places, analytic, numeric, doubt, noise, order)

    def _choice(self) -> list[list[tuple[int, ...]]]:
        places = [(number, index) for number, x in enumerate(self.point) for index in np.ndindex(x.shape)]
        if len(places) > MOST_ELEMENTS:
            places = [places[i] for i in np.sort(self.rng.choice(len(places), MOST_ELEMENTS, replace=False))]
        chosen: list[list[tuple[int, ...]]] = [[] for _ in self.point]
        for number, index in places:
            chosen[number].append(index)
        return chosen

    def _move(self, function: Callable[[Sequence[np.ndarray]], np.ndarray], number: int, place: tuple[int, ...],
              size: float) -> tuple[np.ndarray, np.ndarray, float]:
        """The slope of the function as one element of one input moves."""
        start = abs(float(self.point[number][place]))
        steps = [step * max(1.0, start) for step in STEPS]
        if 0.0 < start < 0.1:
            steps.append(1e-3 * start)  # a domain that ends at zero

        def along(t: float) -> np.ndarray:
            point = list(self.point)
            point[number] = point[number].copy()
            point[number][place] += t
            return function(point)

        return self._slope(along, steps, size)

    def _slope(self, function: Callable[[float], np.ndarray], steps: Sequence[float],
               size: float) -> tuple[np.ndarray, np.ndarray, float]:
        """The slope at 0 by the step at which two estimates agree best, their disagreement, and rounding noise."""
        best: tuple[np.ndarray, np.ndarray, float] | None = None
        least = np.inf
        for step in steps:
            low, high, far_low, far_high = (function(t) for t in (-step, step, -2 * step, 2 * step))
            near, far = (high - low) / (2 * step), (far_high - far_low) / (4 * step)
            slope, doubt = (4 * near - far) / 3, np.abs(near - far) / 3
            noise = self.epsilon * size / step
            # Relative, as a step far too large makes both the slope and its doubt small.
            total = (float(doubt.max(initial=0.0)) + noise) / (float(np.abs(slope).max(initial=0.0)) + 1e-300)
            if best is None or total < least:
                best, least = (slope, doubt, noise), total if np.isfinite(total) else np.inf
            if total <= 0.1 * self.tolerance:
                break
        assert best is not None
        return best

    def _judge(self, name: str, places: Sequence[tuple[int, ...]], analytic: np.ndarray, numeric: np.ndarray,
               doubt: np.ndarray, noise: np.ndarray, order: int, mode: str = "reverse") -> None:
        """Enter elements; what is allowed grows with the doubt, but never hides an error of 1 %."""
        scale = np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0)
        allowed = self.tolerance * scale + np.minimum(3.0 * doubt, 0.01 * scale) + 10.0 * noise
        for k, place in enumerate(places):
            difference = abs(analytic[k] - numeric[k])
            deviation = 0.0 if difference == 0.0 else float(difference / allowed[k]) if allowed[k] else np.inf
            self.elements.append(Element(name, place, order, float(analytic[k]), float(numeric[k]), float(doubt[k]),
                                         np.inf if np.isnan(deviation) else deviation, mode))


def _dot(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    return float(sum(np.vdot(x, y) for x, y in zip(a, b, strict=True)))


def _size(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """The magnitude of what a dot product sums, hence of its rounding errors."""
    return float(sum(np.vdot(np.abs(x), np.abs(y)) for x, y in zip(a, b, strict=True)))


def _flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in arrays])
