"""Resampling of planes to another size: nearest, linear and cubic interpolation, one spatial axis after the other.

An output element is a sum of few input elements, the taps, with weights that depend on its position alone; so is an
element of the transpose. Positions are computed in the precision in which PyTorch does, so that the same neighbours are
chosen where one is close to the middle.

Measured on XLA's CPU backend (jaxlib 0.10, 2 cores, milliseconds, float32; linear, to twice the size): 16 x 64 channels
of 32 x 32: gathered taps 2.9 forward and 2.2 backward, products with a matrix for each axis 3.6 and 6.2, PyTorch 10.8
and 7.7; 4 x 32 channels of 128 x 128: 7.2 and 6.4, 21 and 37, 15 and 16. An element that is not finite stays with its
neighbours, where a matrix would spread it along the axis.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .pool_kernels import times_matrix
from .registry import builtin

# More taps than this would make a large program: a product with a matrix instead.
_TAPS = 16
_CUBIC = -0.75  # the constant of Keys' cubic convolution, as PyTorch has it

Taps = tuple[np.ndarray, np.ndarray]  # positions and weights, (taps, elements)


@builtin
def resize(x, *, size, mode, align_corners=False, scale=None):
    """(batch, channels, *space) to (batch, channels, *size).

    `mode` is "nearest", "nearest-exact", "linear" or "cubic". With `align_corners` the middles of the first and last
    elements stay in place, otherwise the outer edges do. `scale` has the distance between output elements, in input
    elements, for each axis; None for the ratio of the sizes.
    """
    dtype, x = _summable(x, mode)
    for axis, n, m, step in _axes(x.shape[2:], size, scale):
        x = _sum(x, axis, taps(n, m, mode, align_corners, step, _kind(x, mode)))
    return x.astype(dtype)


@resize.def_vjp
def _(g, y, x, *, size, **how):
    return (resize_spread(g, size=x.shape[2:], **how),)


@builtin
def resize_spread(g, *, size, mode, align_corners=False, scale=None):
    """The transpose of `resize`, to planes of shape `size`."""
    dtype, g = _summable(g, "linear")
    for axis, n, m, step in _axes(size, g.shape[2:], scale):
        g = _sum(g, axis, _transposed(*taps(n, m, mode, align_corners, step, _kind(g, mode)), n))
    return g.astype(dtype)


@resize_spread.def_vjp
def _(c, y, g, *, size, **how):
    return (resize(c, size=g.shape[2:], **how),)


def _axes(small: Any, large: Any, scale: Any) -> list[tuple[int, int, int, float | None]]:
    steps = (None,) * len(small) if scale is None else scale
    return list(zip(range(2, 2 + len(small)), small, large, steps, strict=True))


def _summable(x: Any, mode: str) -> tuple[Any, Any]:
    """The dtype of the result, and x in one that is precise enough for sums."""
    if mode.startswith("nearest"):
        return x.dtype, x
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.result_type(float)
    return dtype, x.astype(jnp.promote_types(dtype, jnp.float32))


def _kind(x: jax.Array, mode: str) -> type:
    """What PyTorch computes positions in: float32, and float64 for the weights of such an array."""
    return np.float64 if x.dtype == np.float64 and not mode.startswith("nearest") else np.float32


def _sum(x: jax.Array, axis: int, found: Taps) -> jax.Array:
    """y[i] = sum_k weights[k, i] x[positions[k, i]] along an axis."""
    positions, weights = found
    if not x.size or not weights.size:
        return jnp.zeros((*x.shape[:axis], weights.shape[1], *x.shape[axis + 1:]), x.dtype)
    if len(positions) > _TAPS:
        matrix = np.zeros((x.shape[axis], weights.shape[1]))
        np.add.at(matrix, (positions, np.arange(weights.shape[1])), weights)
        return times_matrix(x, axis, matrix)
    along = [1] * x.ndim
    along[axis] = -1
    total: Any = None
    for where, weight in zip(positions, weights, strict=True):
        part = jnp.take(x, where, axis, mode="clip")
        if (weight != 1.0).any():
            part = part * jnp.asarray(weight.reshape(along), x.dtype)
        total = part if total is None else total + part
    return total


@functools.lru_cache(maxsize=1024)
def taps(n: int, m: int, mode: str, align_corners: bool, step: float | None, kind: type = np.float32) -> Taps:
    """Which of n elements, and with which weights, each of m elements is made of."""
    half = kind(0.5)
    apart = kind(n) / kind(m) if step is None else kind(step)
    if align_corners:
        apart = kind(n - 1) / kind(m - 1) if m > 1 else kind(0)
    at = np.arange(m, dtype=kind)
    if mode.startswith("nearest"):
        place = at * apart if mode == "nearest" else (at + half) * apart
        return np.minimum(np.floor(place), n - 1).astype(np.int32)[None], np.ones((1, m), kind)
    place = at * apart if align_corners else (at + half) * apart - half
    if mode == "linear":
        place = np.clip(place, 0, n - 1)
    first = np.floor(place)
    rest = place - first
    if mode == "linear":
        near, weights = (0, 1), [1 - rest, rest]
    else:
        near, weights = (-1, 0, 1, 2), [_far(1 + rest), _near(rest), _near(1 - rest), _far(2 - rest)]
    positions = np.stack([np.clip(first + k, 0, n - 1) for k in near])
    return positions.astype(np.int32), np.stack(weights).astype(kind)


def _near(t: np.ndarray) -> np.ndarray:
    """Keys' kernel for a distance up to 1: "Cubic convolution interpolation for digital image processing", 1981."""
    return ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1


def _far(t: np.ndarray) -> np.ndarray:
    """The same for a distance from 1 to 2."""
    return ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC


def _transposed(positions: np.ndarray, weights: np.ndarray, n: int) -> Taps:
    """The taps of the transpose: for each of n elements those that it is a tap of, with zeros where there are less."""
    order = np.argsort(positions, axis=None, kind="stable")
    source, target = positions.reshape(-1)[order], (order % positions.shape[1]).astype(np.int32)
    counts = np.bincount(source, minlength=n)
    rank = np.arange(len(source)) - (np.cumsum(counts) - counts)[source]
    shape = (max(int(counts.max(initial=0)), 1), n)
    places, values = np.zeros(shape, np.int32), np.zeros(shape, weights.dtype)
    places[rank, source], values[rank, source] = target, weights.reshape(-1)[order]
    return places, values
