"""How pooling is computed: one spatial axis after the other, on arrays with the channels last.

The largest element of a window is the largest of its rows' largest, so pooling is separable; and taking the
first of equal elements along each axis, columns first, finds the first in row-major order. An axis costs k
shifted slices forward and k backward, so a window of k x k costs 2 k instead of k^2.

Measured on XLA's CPU backend (jaxlib 0.10, 2 cores, milliseconds; 16 x 64 channels of 32 x 32, float32), max
pooling, forward and its gradient: window 3, stride 2: lax.reduce_window 1.2 and (select_and_scatter) 27, slices
over the whole window 0.4 and 3.0, indices and a scatter 2.0 backward, separable 0.4 and 1.2. Window 3, stride 1:
4.8 and 60, 0.9 and 9.2, 19, 0.8 and 3.0. Window 2, stride 2: 0.2 and 10, 0.1 and 0.5, 1.4, 0.1 and 0.5.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Windows side by side of up to this many elements have a shorter way back.
_SMALL = 16


class Windows(NamedTuple):
    """The windows along one axis: `count` of `kernel` elements each, `dilation` apart, the first at -before."""

    kernel: int
    stride: int
    before: int
    dilation: int
    count: int

    @property
    def covered(self) -> int:
        """From one slice's first element to its last, counted."""
        return (self.count - 1) * self.stride + 1

    def after(self, length: int) -> int:
        """How much is padded at the end (cropped, if negative) of an axis of this length."""
        return self.covered + self.dilation * (self.kernel - 1) - length - self.before

    def slices(self, x: jax.Array, axis: int, fill: Any) -> list[jax.Array]:
        """For each position in the window, the elements there."""
        widths = [(0, 0, 0)] * x.ndim
        widths[axis] = (self.before, self.after(x.shape[axis]), 0)
        padded = lax.pad(x, jnp.asarray(fill, x.dtype), widths)
        return [lax.slice_in_dim(padded, t * self.dilation, t * self.dilation + self.covered, self.stride, axis)
                for t in range(self.kernel)]

    def placed(self, parts: Sequence[jax.Array], axis: int, length: int) -> jax.Array:
        """The transpose of `slices`: each part where its elements came from, added up."""
        total: Any = None
        for t, part in enumerate(parts):
            low = t * self.dilation - self.before
            widths = [(0, 0, 0)] * part.ndim
            widths[axis] = (low, length - low - self.covered, self.stride - 1)
            placed = lax.pad(part, jnp.zeros((), part.dtype), widths)
            total = placed if total is None else total + placed
        return total


def axes_of(x: Any) -> range:
    return range(1, x.ndim - 1)


# Largest elements -------------------------------------------------------------------------------------------


def lowest(dtype: Any) -> Any:
    return -np.inf if jnp.issubdtype(dtype, jnp.inexact) else jnp.iinfo(dtype).min


def max_pool(x: jax.Array, windows: Sequence[Windows]) -> jax.Array:
    return _largest(_stages(x, windows)[-1], 1, windows[0])


def spread_to_largest(g: jax.Array, x: jax.Array, y: jax.Array, windows: Sequence[Windows]) -> jax.Array:
    """The transpose of max pooling at x: every cotangent goes to the element that was the largest."""
    if _apart(x, windows):
        return _spread_apart(g, x, y, windows)
    zero = jnp.zeros((), g.dtype)
    stages = [*_stages(x, windows), y]
    for axis in axes_of(x):
        before, after = stages[-1 - axis], stages[-axis]
        parts = [jnp.where(mask, g, zero) for mask in _first_along(before, after, axis, windows[axis - 1])]
        g = windows[axis - 1].placed(parts, axis, before.shape[axis])
    return g


def pick_largest(c: jax.Array, x: jax.Array, y: jax.Array, windows: Sequence[Windows]) -> jax.Array:
    """The elements of c at the places where x has its largest."""
    stages = [*_stages(x, windows), y]
    zero = jnp.zeros((), c.dtype)
    for axis in reversed(axes_of(x)):
        before, after = stages[-1 - axis], stages[-axis]
        masks = _first_along(before, after, axis, windows[axis - 1])
        parts = windows[axis - 1].slices(c, axis, 0)
        c = functools.reduce(jnp.add, [jnp.where(m, part, zero) for m, part in zip(masks, parts, strict=True)])
    return c


def _stages(x: jax.Array, windows: Sequence[Windows]) -> list[jax.Array]:
    """x, then with its last spatial axis pooled, then the one before, ...: all but the end result."""
    found = [x]
    for axis in reversed(axes_of(x)[1:]):
        found.append(_largest(found[-1], axis, windows[axis - 1]))
    return found


def _largest(x: jax.Array, axis: int, windows: Windows) -> jax.Array:
    return functools.reduce(jnp.maximum, windows.slices(x, axis, lowest(x.dtype)))


def _first_along(x: jax.Array, y: jax.Array, axis: int, windows: Windows) -> list[jax.Array]:
    """For each position in the window, whether the largest element is there; the first one, if several are."""
    taken: Any = None
    masks = []
    for part in windows.slices(x, axis, lowest(x.dtype)):
        equal = part == y
        masks.append(equal if taken is None else equal & ~taken)
        taken = equal if taken is None else taken | equal
    return masks


# Windows side by side: no intermediate results. With those, a convolutional net's step took 37 MB of temporary memory
# instead of 33; and what exceeds 32 MiB the C library takes from the system and gives back in every step, which cost
# a fifth of its time.


def _apart(x: jax.Array, windows: Sequence[Windows]) -> bool:
    """Whether the windows are side by side, cover x, and are small."""
    return math.prod(w.kernel for w in windows) <= _SMALL and all(
        w.stride == w.kernel and w.before == 0 and w.dilation == 1 and w.count * w.kernel == n
        for n, w in zip(x.shape[1:-1], windows, strict=True))


def _spread_apart(g: jax.Array, x: jax.Array, y: jax.Array, windows: Sequence[Windows]) -> jax.Array:
    """The number of the position that was chosen in each window, compared with the number of every position."""
    kernel = [w.kernel for w in windows]
    pairs = itertools.chain(*((w.count, w.kernel) for w in windows))
    view = x.reshape(x.shape[0], *pairs, x.shape[-1])
    chosen = jnp.zeros(y.shape, np.int8)
    for number, position in reversed(list(enumerate(itertools.product(*map(range, kernel))))):
        at = (slice(None), *itertools.chain(*((slice(None), p) for p in position)))
        chosen = jnp.where(view[at] == y, np.int8(number), chosen)
    numbers = np.arange(math.prod(kernel), dtype=np.int8).reshape(1, *itertools.chain(*((1, k) for k in kernel)), 1)
    inner = range(2, 2 * len(kernel) + 1, 2)  # the axes within windows
    spread = jnp.where(jnp.expand_dims(chosen, inner) == numbers, jnp.expand_dims(g, inner), jnp.zeros((), g.dtype))
    return spread.reshape(x.shape)


# Where they are ---------------------------------------------------------------------------------------------


def window_table(length: int, windows: Windows) -> np.ndarray:
    """(count, kernel) positions along an axis; those in the padding are replaced by the window's nearest others,
    which changes neither the largest element nor the first place where it is."""
    starts = np.arange(windows.count)[:, None] * windows.stride - windows.before
    table = starts + np.arange(windows.kernel) * windows.dilation
    valid = (table >= 0) & (table < length)
    first = np.where(valid, table, length).min(1, keepdims=True)
    last = np.where(valid, table, -1).max(1, keepdims=True)
    return np.clip(table, first, last)


def all_windows_meet(length: int, windows: Windows) -> bool:
    """Whether every window has an element outside the padding."""
    table = window_table(length, windows)
    return bool((table >= 0).all() and (table < length).all())


def adaptive_bounds(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of `count` windows that cover an axis; they overlap where it does not divide."""
    index = np.arange(count)
    return index * length // count, -((index + 1) * length // -count)


def adaptive_table(length: int, count: int) -> np.ndarray:
    starts, stops = adaptive_bounds(length, count)
    table = starts[:, None] + np.arange((stops - starts).max(initial=1))
    return np.minimum(table, stops[:, None] - 1)


def first_largest(x: jax.Array, tables: Sequence[np.ndarray]) -> jax.Array:
    """Index of each window's largest element (NaN counts as such) in the flattened plane; int32.

    x has its channels on axis 1.
    """
    space = x.shape[2:]
    if all(table.shape == (1, n) for table, n in zip(tables, space, strict=True)):
        places = jnp.argmax(x.reshape(*x.shape[:2], -1), -1)
        return places.astype(jnp.int32).reshape(*x.shape[:2], *(1,) * len(space))
    places = jnp.broadcast_to(jnp.arange(math.prod(space), dtype=jnp.int32).reshape(space), x.shape)
    for axis in reversed(range(2, x.ndim)):
        table = tables[axis - 2]
        values, candidates = jnp.take(x, table, axis), jnp.take(places, table, axis)
        best = jnp.argmax(values, axis + 1, keepdims=True)
        x = jnp.take_along_axis(values, best, axis + 1).squeeze(axis + 1)
        places = jnp.take_along_axis(candidates, best, axis + 1).squeeze(axis + 1)
    return places


def flat(x: jax.Array) -> jax.Array:
    """(batch, channels, elements of the plane)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


# Sums -------------------------------------------------------------------------------------------------------

# A window of more elements along an axis is summed by a matrix product instead of slices.
_SLICES = 16


def sum_pool(x: jax.Array, windows: Sequence[Windows]) -> jax.Array:
    for axis, along in zip(axes_of(x), windows, strict=True):
        if along.kernel <= _SLICES:
            x = functools.reduce(jnp.add, along.slices(x, axis, 0))
        else:
            x = times_matrix(x, axis, _membership(x.shape[axis], along))
    return x


def spread_sums(g: jax.Array, size: Sequence[int], windows: Sequence[Windows]) -> jax.Array:
    """The transpose of `sum_pool`."""
    for axis, length, along in zip(axes_of(g), size, windows, strict=True):
        if along.kernel <= _SLICES:
            g = along.placed([g] * along.kernel, axis, length)
        else:
            g = times_matrix(g, axis, _membership(length, along).T)
    return g


def _membership(length: int, windows: Windows) -> np.ndarray:
    """(length, count): 1 where an element is in a window."""
    starts = np.arange(windows.count) * windows.stride - windows.before
    index = np.arange(length)[:, None]
    return ((index >= starts) & (index < starts + windows.kernel)).astype(np.float64)


def adaptive_matrix(length: int, count: int) -> np.ndarray:
    """(length, count): the weights of an average over each window."""
    starts, stops = adaptive_bounds(length, count)
    index = np.arange(length)[:, None]
    return ((index >= starts) & (index < stops)) / np.maximum(stops - starts, 1)


def times_matrix(x: jax.Array, axis: int, matrix: np.ndarray) -> jax.Array:
    product = jnp.tensordot(x, jnp.asarray(matrix, x.dtype), ((axis,), (0,)), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(product, -1, axis)


def divisors(size: Sequence[int], windows: Sequence[Windows], include_pad: bool) -> np.ndarray | int:
    """What the sums are divided by: the number of elements, of which padding that the caller asked for may be a
    part, but not what ceil_mode adds."""
    counts = []
    for length, along in zip(size, windows, strict=True):
        starts = np.arange(along.count) * along.stride - along.before
        stops = np.minimum(starts + along.kernel, length + along.before if include_pad else length)
        counts.append(stops - (starts if include_pad else np.maximum(starts, 0)))
    if all((count == count[:1]).all() for count in counts):
        return math.prod(int(count[0]) for count in counts)
    outer: Callable[..., Any] = np.multiply.outer
    return functools.reduce(outer, counts)[..., None]
