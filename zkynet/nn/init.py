"""Initial values of parameters, made by NumPy on the host: nothing is compiled to fill a weight.

All take a shape, give a float32 array and draw from one generator that `manual_seed` sets anew, so the same seed and the
same order of layers give the same net. For a weight (out, in, *kernel) the fan-in is in * prod(kernel), the fan-out
out * prod(kernel). Layers take a name ("he_normal"), a function of the shape, a number or an array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..framework.errors import InputError

Shape = tuple[int, ...]
Initialiser = str | float | np.ndarray | Callable[[Shape], Any]

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Start the generator of initial values (and of the layers' random streams) anew.

    >>> manual_seed(3)
    >>> first = uniform((2,))
    >>> manual_seed(3)
    >>> bool((first == uniform((2,))).all())
    True
    """
    global _generator
    _generator = np.random.default_rng(seed)


def fresh_seed() -> int:
    """A seed for a random stream, drawn from the generator."""
    return int(_generator.integers(2**31 - 1))


def uniform(shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform in [low, high)."""
    return (low + (high - low) * _generator.random(shape, np.float32)).astype(np.float32)


def zeros(shape: Shape) -> np.ndarray:
    return np.zeros(shape, np.float32)


def ones(shape: Shape) -> np.ndarray:
    return np.ones(shape, np.float32)


def fans(shape: Shape) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in, *kernel)."""
    if len(shape) < 2:
        raise InputError(f"fan-in and fan-out need a weight of at least two axes (out, in, ...), but got {shape}.")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def kaiming_uniform(shape: Shape, a: float = 0.0) -> np.ndarray:
    """Uniform in [-b, b), b = sqrt(6 / ((1 + a^2) fan_in)): He et al., "Delving deep into rectifiers", 2015.

    PyTorch's layers use a = sqrt(5), which gives b = 1 / sqrt(fan_in).
    """
    bound = math.sqrt(6.0 / ((1.0 + a * a) * fans(shape)[0]))
    return uniform(shape, -bound, bound)


BY_NAME: dict[str, Callable[[Shape], np.ndarray]] = {
    "zeros": zeros, "ones": ones, "uniform": uniform, "kaiming_uniform": kaiming_uniform, "he_uniform": kaiming_uniform,
}


def initial(how: Initialiser, shape: Shape) -> np.ndarray:
    """The float32 array that a name, a function of the shape, a number or an array stands for.

    >>> initial("zeros", (2,)), initial(0.5, (2,)).tolist(), initial(lambda shape: np.eye(2), (2, 2)).shape
    (array([0., 0.], dtype=float32), [0.5, 0.5], (2, 2))
    """
    if isinstance(how, str):
        if how not in BY_NAME:
            raise InputError(f"there is no initialiser {how!r}; there are: {', '.join(sorted(BY_NAME))}.")
        how = BY_NAME[how]
    made = np.asarray(how(shape) if callable(how) else how, np.float32)
    if made.shape not in ((), shape):
        raise InputError(f"an initial value of shape {shape} is needed, but got {made.shape}.")
    return np.broadcast_to(made, shape)
