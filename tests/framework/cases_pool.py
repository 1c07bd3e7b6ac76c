"""Rows of operators/pool.py and pool_operators.py; the reference is lax.reduce_window.

PyTorch judges what that has no notion of (ceil_mode, returned indices, adaptive windows): test_torch_judges.py.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample
from jax import lax

from zkynet.framework.operators import pool as ours
from zkynet.framework.operators import pool_operators as operators


def each(value: Any, space: int) -> tuple[int, ...]:
    return (value,) * space if isinstance(value, int) else value


def reduce_window(start: float, body: Any, x: Any, kernel: Any, stride: Any = None, padding: Any = 0,
                  dilation: Any = 1) -> Any:
    space = x.ndim - 2
    pads = [(0, 0), (0, 0), *((p, p) for p in each(padding, space))]
    return lax.reduce_window(x, start, body, (1, 1, *each(kernel, space)), (1, 1, *each(stride or kernel, space)), pads,
                             window_dilation=(1, 1, *each(dilation, space)))


def patches_max(x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Any:
    """reduce_window cannot be differentiated twice with dilation, so: all windows as patches, then their largest."""
    space = x.ndim - 2
    pads = [(0, 0), (0, 0), *((p, p) for p in each(padding, space))]
    x = jnp.pad(x, pads, constant_values=-1e9)
    kernel, dilation = each(kernel, space), each(dilation, space)
    parts = [x]
    for axis, (k, s, d) in enumerate(zip(kernel, each(stride or kernel, space), dilation, strict=True), 2):
        length = x.shape[axis] - d * (k - 1)
        parts = [lax.slice_in_dim(p, t * d, t * d + length, s, axis) for p in parts for t in range(k)]
    stacked = jnp.stack(parts)
    return jnp.take_along_axis(stacked, jnp.argmax(stacked, 0)[None], 0)[0]


def largest(label: str, x: np.ndarray, *args: Any, **kwargs: Any) -> Case:
    name = f"max_pool{x.ndim - 2}d"
    function = getattr(ours, name)
    return Case(name, lambda x: function(x, *args, **kwargs), lambda x: patches_max(x, *args, **kwargs), (x,), label,
                numeric="ties" not in label)


def average(label: str, x: np.ndarray, *args: Any, include: bool = True, **kwargs: Any) -> Case:
    name = f"avg_pool{x.ndim - 2}d"
    function = getattr(ours, name)

    def reference(x: Any) -> Any:
        ones = jnp.ones(x.shape) if not include else jnp.full(x.shape, jnp.nan)
        counts = reduce_window(0.0, lax.add, ones, *args, **kwargs) if not include else np.prod(
            each(args[0], x.ndim - 2))
        return reduce_window(0.0, lax.add, x, *args, **kwargs) / counts

    return Case(name, lambda x: function(x, *args, count_include_pad=include, **kwargs), reference, (x,), label)


def bounds(n: int, m: int) -> list[tuple[int, int]]:
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def adaptive(reduced: Callable[..., Any], x: Any, *sizes: int) -> Any:
    """Window by window, in plain Python."""
    for axis, m in enumerate(sizes, 2):
        rows = [reduced(lax.slice_in_dim(x, a, b, axis=axis), axis, keepdims=True) for a, b in bounds(x.shape[axis], m)]
        x = jnp.concatenate(rows, axis)
    return x


def indices_of(x: Any, kernel: int) -> Any:
    """Where the largest elements of windows without overlap are, for (n, c, length)."""
    parts = x.reshape(*x.shape[:2], -1, kernel)
    return (jnp.argmax(parts, -1) + jnp.arange(parts.shape[2]) * kernel).astype(jnp.int32)


TIES = np.array([[[[1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]])
PLANE = sample(2, 2, 4, 5)
LINE = sample(1, 2, 6)
PLACES = np.array([[[0, 2], [5, 3]]], np.int32)
HOW = {"kernel": (2, 3), "stride": (1, 2), "padding": (1, 1), "dilation": (1, 1), "size": (5, 3)}
SUMS = {name: value for name, value in HOW.items() if name != "dilation"}


def windows(x: Any) -> Any:
    """The pooling that HOW describes."""
    return patches_max(x, (2, 3), (1, 2), 1)


def linear(function: Callable[..., Any], x: Any) -> Any:
    """The transpose of the derivative of `function` at x."""
    return lambda g: jax.vjp(function, jnp.asarray(x, g.dtype))[1](g)[0]


def sums(x: Any) -> Any:
    return reduce_window(0.0, lax.add, x, (2, 3), (1, 2), 1) / 6.0


CASES = [
    largest("plain", LINE, 2),
    largest("no overlap", PLANE[:, :, :, :4], 2),
    largest("overlap, padding", PLANE, 3, stride=2, padding=1),
    largest("window and stride for each axis", PLANE, (2, 3), stride=(1, 2), padding=(0, 1)),
    largest("dilation", PLANE, 2, stride=1, dilation=(2, 3)),
    largest("ties: the first in row-major order", TIES, 2),
    largest("ties in overlapping windows", np.zeros((1, 1, 4, 4)), 3, stride=1, padding=1),
    largest("empty batch", sample(0, 2, 4, 4), 2),
    largest("size 1", PLANE, 1),
    largest("long window", sample(1, 1, 70), 34, stride=18),
    largest("three dimensions", sample(1, 1, 4, 2, 3), (2, 2, 3), stride=1),
    Case("max_pool2d", lambda x: ours.max_pool2d(x, 2, 2), lambda x: patches_max(x[None], 2)[0], (sample(2, 4, 4),),
         "no batch"),
    Case("max_pool1d", lambda x: ours.max_pool1d(x, 3, return_indices=True),
         lambda x: (patches_max(x, 3), indices_of(x, 3)), (LINE,), "indices"),
    Case("max_pool1d", lambda x: ours.max_pool1d(x, 3), lambda x: patches_max(x, 3),
         (np.arange(12).reshape(1, 2, 6),), "integers", float32=False),
    average("plain", LINE, 2),
    average("padding counts", PLANE, 3, stride=2, padding=1),
    average("padding does not count", PLANE, (2, 3), stride=(2, 1), padding=1, include=False),
    average("long window", sample(1, 1, 40), 18, stride=11),
    average("three dimensions", sample(1, 1, 2, 3, 4), 2, stride=1),
    average("empty batch", sample(0, 1, 4), 2),
    Case("avg_pool2d", lambda x: ours.avg_pool2d(x, 2, divisor_override=3),
         lambda x: reduce_window(0.0, lax.add, x, 2) / 3, (PLANE,), "divisor"),
    Case("adaptive_avg_pool1d", lambda x: ours.adaptive_avg_pool1d(x, 4), lambda x: adaptive(jnp.mean, x, 4), (LINE,)),
    Case("adaptive_avg_pool2d", lambda x: ours.adaptive_avg_pool2d(x, (3, None)),
         lambda x: adaptive(jnp.mean, x, 3, 5), (PLANE,)),
    Case("adaptive_avg_pool2d", lambda x: ours.adaptive_avg_pool2d(x, 1),
         lambda x: jnp.mean(x, (1, 2), keepdims=True), (PLANE[0],), "global, no batch"),
    Case("adaptive_avg_pool3d", lambda x: ours.adaptive_avg_pool3d(x, 2), lambda x: adaptive(jnp.mean, x, 2, 2, 2),
         (sample(1, 1, 2, 3, 4),)),
    Case("adaptive_max_pool1d", lambda x: ours.adaptive_max_pool1d(x, 4), lambda x: adaptive(jnp.max, x, 4), (LINE,)),
    Case("adaptive_max_pool2d", lambda x: ours.adaptive_max_pool2d(x, (3, 2)), lambda x: adaptive(jnp.max, x, 3, 2),
         (PLANE,)),
    Case("adaptive_max_pool3d", lambda x: ours.adaptive_max_pool3d(x, (None, 2, 1)),
         lambda x: adaptive(jnp.max, x, 2, 2, 1), (sample(1, 1, 2, 3, 4),)),
    Case("global_avg_pool", ours.global_avg_pool, lambda x: jnp.mean(x, (2, 3), keepdims=True), (PLANE,)),
    Case("global_max_pool", ours.global_max_pool, lambda x: jnp.max(x, (2, 3), keepdims=True), (PLANE,)),
    Case("lp_pool1d", lambda x: ours.lp_pool1d(x, 3, 2),
         lambda x: reduce_window(0.0, lax.add, x**3, 2) ** (1 / 3), (sample(1, 2, 6, low=0.5, high=2.0),)),
    Case("lp_pool2d", lambda x: ours.lp_pool2d(x, 2, 2, stride=1),
         lambda x: jnp.sqrt(reduce_window(0.0, lax.add, x**2, 2, 1)), (PLANE,)),
    Case("max_unpool1d", lambda x: ours.max_unpool1d(x, PLACES, 3),
         lambda x: jnp.zeros((1, 2, 6)).at[0, [[0], [1]], PLACES[0]].set(x[0]), (sample(1, 2, 2),)),
    Case("max_unpool2d", lambda x: ours.max_unpool2d(x, np.array([[[[3]]]]), 2, output_size=(1, 1, 3, 2)),
         lambda x: jnp.zeros((1, 1, 3, 2)).at[0, 0, 1, 1].set(x[0, 0, 0, 0]), (sample(1, 1, 1, 1),)),
    Case("max_unpool3d", lambda x: ours.max_unpool3d(x, np.array([[[[7]]]]), 2),
         lambda x: jnp.zeros((1, 2, 2, 2)).at[0, 1, 1, 1].set(x[0, 0, 0, 0]), (sample(1, 1, 1, 1),), "no batch"),

    Case("max_pool", lambda x: operators.max_pool(x, **HOW), windows, (PLANE,)),
    Case("max_pool_spread", lambda g: operators.max_pool_spread(g, PLANE, windows(PLANE), **HOW),
         linear(windows, PLANE), (sample(2, 2, 5, 3),)),
    Case("max_pool_pick", lambda c: operators.max_pool_pick(c, PLANE, windows(PLANE), **HOW),
         lambda c: jax.jvp(windows, (jnp.asarray(PLANE, c.dtype),), (c,))[1], (sample(2, 2, 4, 5, seed=1),)),
    Case("max_pool_indices", lambda x: ours.max_pool1d(x, 2, return_indices=True)[1], lambda x: indices_of(x, 2),
         (LINE,), order=0),
    Case("adaptive_max_pool_indices", lambda x: ours.adaptive_max_pool1d(x, 3, return_indices=True)[1],
         lambda x: indices_of(x, 2), (LINE,), order=0),
    Case("pick_in_plane", lambda x: operators.pick_in_plane(x, PLACES),
         lambda x: jnp.take_along_axis(x, jnp.asarray(PLACES), 2), (LINE,)),
    Case("pick_in_plane", lambda x: operators.pick_in_plane(x, np.zeros_like(PLACES)),
         lambda x: jnp.take_along_axis(x, jnp.zeros_like(PLACES), 2), (LINE,), "one place for all"),
    Case("place_in_plane", lambda x: operators.place_in_plane(x, PLACES, size=(6,)),
         lambda x: jnp.zeros((1, 2, 6)).at[0, [[0], [1]], PLACES[0]].set(x[0]), (sample(1, 2, 2),)),
    Case("avg_pool", lambda x: operators.avg_pool(x, **SUMS), sums, (PLANE,)),
    Case("avg_pool_spread", lambda g: operators.avg_pool_spread(g, like=(4, 5), **SUMS), linear(sums, PLANE),
         (sample(2, 2, 5, 3),)),
    Case("adaptive_avg_pool", lambda x: operators.adaptive_avg_pool(x, size=(4,)), lambda x: adaptive(jnp.mean, x, 4),
         (LINE,)),
    Case("adaptive_avg_pool_spread", lambda g: operators.adaptive_avg_pool_spread(g, size=(6,)),
         linear(lambda x: adaptive(jnp.mean, x, 4), LINE), (sample(1, 2, 4),)),
]
