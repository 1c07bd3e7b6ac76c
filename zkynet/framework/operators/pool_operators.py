"""The operators behind pooling, with their rules. Pooling is linear once it is known which elements are the largest,
so every operator has its transpose as its rule and is the rule of its transpose.

The attributes kernel, stride, padding (before), dilation and size (the number of windows) have an int for each
spatial axis. Bodies are in pool_kernels.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from . import pool_kernels as kernels
from .conv_kernels import to_first, to_last
from .create import zeros
from .gather import scattered
from .pool_kernels import Windows
from .registry import builtin
from .shape import flatten, reshape


@builtin
def max_pool(x, *, kernel, stride, padding, dilation, size):
    """The largest element of each window. Its gradient goes to the first one, if several are equal."""
    return to_first(kernels.max_pool(to_last(x), windows_of(kernel, stride, padding, dilation, size)))


@max_pool.def_vjp
def _(g, y, x, **how):
    return (max_pool_spread(g, x, y, **how),)


@builtin(no_gradient=("x", "y"))
def max_pool_spread(g, x, y, *, kernel, stride, padding, dilation, size):
    """The transpose of `max_pool` at x, whose output was y: g goes to the elements that were the largest."""
    windows = windows_of(kernel, stride, padding, dilation, size)
    return to_first(kernels.spread_to_largest(to_last(g), to_last(x), to_last(y), windows))


@max_pool_spread.def_vjp
def _(c, _, g, x, y, **how):
    return max_pool_pick(c, x, y, **how), None, None


@builtin(no_gradient=("x", "y"))
def max_pool_pick(c, x, y, *, kernel, stride, padding, dilation, size):
    """The elements of c where `max_pool` found the largest of x."""
    windows = windows_of(kernel, stride, padding, dilation, size)
    return to_first(kernels.pick_largest(to_last(c), to_last(x), to_last(y), windows))


@max_pool_pick.def_vjp
def _(g, _, c, x, y, **how):
    return max_pool_spread(g, x, y, **how), None, None


def windows_of(*attributes: Sequence[int]) -> list[Windows]:
    """One Windows for each axis, from (kernels, strides, paddings before, dilations, numbers of windows)."""
    return [Windows(*along) for along in zip(*attributes, strict=True)]


@builtin(no_gradient=True)
def max_pool_indices(x, *, kernel, stride, padding, dilation, size):
    """Where the largest element of each window is: its index in the flattened plane of x, int32."""
    windows = windows_of(kernel, stride, padding, dilation, size)
    tables = [kernels.window_table(n, along) for n, along in zip(x.shape[2:], windows, strict=True)]
    return kernels.first_largest(x, tables)


@builtin(no_gradient=True)
def adaptive_max_pool_indices(x, *, size):
    """Where the largest element of each window is that `adaptive_max_pool2d` takes."""
    return kernels.first_largest(x, [kernels.adaptive_table(n, m) for n, m in zip(x.shape[2:], size, strict=True)])


@builtin(no_gradient=("indices",))
def pick_in_plane(x, indices):
    """y[n, c, ...] = the element of the flattened plane x[n, c] at indices[n, c, ...]."""
    return jnp.take_along_axis(kernels.flat(x), kernels.flat(indices), -1).reshape(indices.shape)


@pick_in_plane.def_vjp
def _(g, y, x, indices):
    planes = zeros((*x.shape[:2], math.prod(x.shape[2:])), g.dtype)
    added = scattered(planes, flatten(indices, 2), flatten(g, 2), axis=2, outside="zero")
    return reshape(added, shape=x.shape), None


@builtin(no_gradient=("indices",))
def place_in_plane(x, indices, *, size):
    """x at the indices of planes of spatial shape `size`, zeros elsewhere. Of several at one place the last stays; the
    gradient is that of PyTorch, which all of them have."""
    batch, channels = jnp.arange(x.shape[0])[:, None, None], jnp.arange(x.shape[1])[:, None]
    planes = jnp.zeros((*x.shape[:2], math.prod(size)), x.dtype)
    planes = planes.at[batch, channels, kernels.flat(indices)].set(kernels.flat(x), mode="drop")
    return planes.reshape(*x.shape[:2], *size)


@place_in_plane.def_vjp
def _(g, y, x, indices, *, size):
    return pick_in_plane(g, indices), None


@builtin
def avg_pool(x, *, kernel, stride, padding, size, include_pad=True, divisor=None):
    """The sum of each window, divided by its number of elements (or by `divisor`)."""
    dtype, x = _summable(x)
    windows = windows_of(kernel, stride, padding, (1,) * len(kernel), size)
    by = _divisor(x.shape[2:], windows, include_pad, divisor, x.dtype)
    return to_first(kernels.sum_pool(to_last(x), windows) / by).astype(dtype)


@avg_pool.def_vjp
def _(g, y, x, **how):
    return (avg_pool_spread(g, like=x.shape[2:], **how),)


@builtin
def avg_pool_spread(g, *, like, kernel, stride, padding, size, include_pad=True, divisor=None):
    """The transpose of `avg_pool`, to planes of shape `like`: each cotangent shared out among its window."""
    dtype, g = _summable(g)
    windows = windows_of(kernel, stride, padding, (1,) * len(kernel), size)
    by = _divisor(like, windows, include_pad, divisor, g.dtype)
    return to_first(kernels.spread_sums(to_last(g) / by, like, windows)).astype(dtype)


@avg_pool_spread.def_vjp
def _(c, y, g, *, like, **how):
    return (avg_pool(c, **how),)


def _summable(x: Any) -> tuple[Any, Any]:
    """The dtype of averages of x, and x in one that is precise enough for sums."""
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.result_type(float)
    return dtype, x.astype(jnp.promote_types(dtype, jnp.float32))


def _divisor(like: Any, windows: Any, include_pad: bool, divisor: int | None, dtype: Any) -> Any:
    return jnp.asarray(divisor or kernels.divisors(like, windows, include_pad), dtype)


@builtin
def adaptive_avg_pool(x, *, size):
    """Averages over windows that divide the plane into `size` parts; see `adaptive_avg_pool2d`."""
    dtype, x = _summable(x)
    for axis, (n, m) in enumerate(zip(x.shape[2:], size, strict=True), 2):
        x = kernels.times_matrix(x, axis, kernels.adaptive_matrix(n, m))
    return x.astype(dtype)


@adaptive_avg_pool.def_vjp
def _(g, y, x, *, size):
    return (adaptive_avg_pool_spread(g, size=x.shape[2:]),)


@builtin
def adaptive_avg_pool_spread(g, *, size):
    """The transpose of `adaptive_avg_pool`, to planes of shape `size`."""
    dtype, g = _summable(g)
    for axis, (n, m) in enumerate(zip(size, g.shape[2:], strict=True), 2):
        g = kernels.times_matrix(g, axis, kernels.adaptive_matrix(n, m).T)
    return g.astype(dtype)


@adaptive_avg_pool_spread.def_vjp
def _(c, y, g, *, size):
    return (adaptive_avg_pool(c, size=g.shape[2:]),)
