"""How convolutions are computed.

Inside, channels are the last axis: XLA cancels the transposes between neighbours. How the sums are done is
chosen for XLA's CPU backend (jaxlib 0.10 with the options of framework/xla.py, 2 cores, milliseconds, float32):

- Few inputs per output, as patches and one product instead of lax.conv: 3 channels, 3 x 3 (batch 64, 32 x 32) 2.8
  instead of 3.7, its weight gradient 2.5 instead of 2.8; 1 channel, 5 x 5 (28 x 28) 1.4 instead of 4.0. With more the
  patches no longer fit the cache (16 channels, 32 x 32: 46 instead of 3.9), so the limit is low.
- Groups (64 channels, batch 16, 32 x 32): lax.conv with 4 groups 37 forward, 407 for the weights; one lax.conv
  for each group 3.4 and 6.2.
- Depthwise (the same): lax.conv 29 forward, 29 for the input, 14 for the weights; shifted products 0.7, 0.8 and 9.7.
  With 256 channels of 14 x 14 the weights took 78 and 4.7. Two channels of output from each of 32 (batch 32, 28 x 28),
  the gradient for the input: a reduction for each shift 254, one for all 44, slices added up 4.5.
- The weight gradient of 32 to 64 channels (batch 64, 16 x 16): lax.conv with the batch in the place of the channels
  6.6; patches along one axis and three products 10; patches of 4 examples at a time and one product each 8.2.
  In parts of 2^18 elements, one after the other: alone about the same, but a training step of a ResNet-20 (batch 128)
  went from 619 to 437 (parts of 2^17 elements 430, 2^19 481, 2^20 494), that of the small conv net from 19.1 to 19.9.

Other platforms get lax.conv throughout (not measured there).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..xla import on_cpu

# Patches (kernel positions x channels) up to this many columns are formed explicitly.
_PATCH = 32
# Groups up to this many are convolutions of their own, and depthwise kernels up to this many taps are unrolled.
_GROUPS = 32
_TAPS = 64
# Weight gradients are summed over parts of the batch of up to so many elements, and of so many examples at least.
_PART = 2**18
_FEWEST = 4

Pairs = Sequence[tuple[int, int]]


def to_last(x: jax.Array) -> jax.Array:
    """Channels to the last axis."""
    return jnp.moveaxis(x, 1, -1)


def to_first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x, -1, 1)


def to_kernel(weight: jax.Array) -> jax.Array:
    """(out, in, *kernel) to (*kernel, in, out)."""
    return jnp.moveaxis(weight, (0, 1), (-1, -2))


# Their bodies; channels last, kernels (*kernel, in / groups, out) ---------------------------------------------


def correlate(x: jax.Array, w: jax.Array, stride: Any, padding: Pairs, dilation: Any, groups: int) -> jax.Array:
    *kernel, inner, _ = w.shape
    taps = math.prod(kernel)
    if on_cpu() and x.size and w.size:
        if groups > 1 and inner == 1 and taps <= _TAPS:
            return _depthwise(lax.pad(x, _zero(x), _widths(padding)), w, stride, dilation, groups)
        if 1 < groups <= _GROUPS:
            return _by_group(lambda a, b: correlate(a, b, stride, padding, dilation, 1), groups, x, w)
        if groups == 1 and _patches_pay(taps, inner):
            patches = _patches(x, kernel, stride, padding, dilation)
            return patches @ w.reshape(-1, w.shape[-1])
    return lax.conv_general_dilated(x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
                                    dimension_numbers=_numbers(x.ndim))


def spread(g: jax.Array, w: jax.Array, size: Any, stride: Any, padding: Pairs, dilation: Any,
           groups: int) -> jax.Array:
    *kernel, inner, outer = w.shape
    pads = []
    for n, m, k, s, (before, _), d in zip(size, g.shape[1:-1], kernel, stride, padding, dilation, strict=True):
        low = d * (k - 1) - before
        pads.append((low, n + d * (k - 1) - (m - 1) * s - 1 - low))
    ones = (1,) * len(kernel)
    flipped = jnp.flip(w, range(len(kernel)))
    # Within each group, what comes out and what goes in change places.
    swapped = jnp.moveaxis(flipped.reshape(*kernel, inner, groups, outer // groups), -1, -3)
    swapped = jnp.moveaxis(swapped, -1, -2).reshape(*kernel, outer // groups, groups * inner)
    if on_cpu() and g.size and w.size:
        if groups > 1 and inner == 1 and math.prod(kernel) <= _TAPS:
            widened = lax.pad(g, _zero(g), _widths(pads, stride))
            return _depthwise(widened, swapped, ones, dilation, groups)
        if 1 < groups <= _GROUPS:
            return _by_group(lambda a, b: spread(a, b, size, stride, padding, dilation, 1), groups, g, w)
    return _dilated(g, swapped, size, pads, stride, dilation, groups)


def _dilated(g: jax.Array, w: jax.Array, size: Any, pads: Pairs, stride: Any, dilation: Any, groups: int) -> jax.Array:
    """The convolution of g with zeros between its elements.

    XLA (jaxlib 0.10) aborts the process on some whose kernel, stride and padding along an axis are 2, 2 and none: it
    takes the axis for one of groups. So such an axis is padded by one, and what that adds is cut off.
    """
    marks = zip(w.shape, stride, dilation, pads, strict=False)
    padded = [(0, 1) if mark == (2, 2, 1, (0, 0)) else mark[-1] for mark in marks]
    out = lax.conv_general_dilated(g, w, (1,) * len(pads), padded, lhs_dilation=stride, rhs_dilation=dilation,
                                   feature_group_count=groups, dimension_numbers=_numbers(g.ndim))
    return lax.slice(out, (0,) * out.ndim, (out.shape[0], *size, out.shape[-1]))


def kernel_gradient(x: jax.Array, g: jax.Array, kernel: Any, stride: Any, padding: Pairs, dilation: Any,
                    groups: int) -> jax.Array:
    taps, inner, outer = math.prod(kernel), x.shape[-1] // groups, g.shape[-1]
    if on_cpu() and x.size and g.size:
        if groups > 1 and inner == 1 and taps <= _TAPS:
            padded = lax.pad(x, _zero(x), _widths(padding))
            return _depthwise_gradient(padded, g, kernel, stride, dilation, groups)
        if 1 < groups <= _GROUPS:
            return _by_group(lambda a, b: kernel_gradient(a, b, kernel, stride, padding, dilation, 1), groups, x, g)
        if groups == 1 and _patches_pay(taps, inner):
            patches = _patches(x, kernel, stride, padding, dilation)
            return (patches.reshape(-1, taps * inner).T @ g.reshape(-1, outer)).reshape(*kernel, inner, outer)
    pads = [(before, d * (k - 1) + (m - 1) * s + 1 - n - before) for n, m, k, s, (before, _), d in
            zip(x.shape[1:-1], g.shape[1:-1], kernel, stride, padding, dilation, strict=True)]
    # The batch is what is summed over: it takes the place of the channels.
    if groups == 1:
        def part(x: jax.Array, g: jax.Array) -> jax.Array:
            # In the order of axes that XLA:CPU has a fast kernel for. Outside of loops it would find that by itself; in
            # loops (the epochs of a Trainer) any other order runs about thirty times slower.
            out = lax.conv_general_dilated(jnp.swapaxes(x, 0, -1), jnp.moveaxis(g, 0, -2), dilation, pads,
                                           rhs_dilation=stride, dimension_numbers=_numbers(x.ndim))
            return jnp.moveaxis(out, 0, -2)

        return _over_parts(part, x, g) if on_cpu() else part(x, g)
    space = tuple(range(1, x.ndim - 1))
    end = x.ndim - 1
    numbers = lax.ConvDimensionNumbers((end, 0, *space), (end, 0, *space), (end - 1, end, *range(end - 1)))
    return lax.conv_general_dilated(x, g, dilation, pads, rhs_dilation=stride, batch_group_count=groups,
                                    dimension_numbers=numbers)


def _over_parts(product: Callable[..., jax.Array], x: jax.Array, g: jax.Array) -> jax.Array:
    """The sum of a product of x and g over parts of the batch that fit the cache.

    Being a loop, it also has x and g finished first: XLA would compute them again while it transposes them, with all
    that normalisation and residual connections have between two convolutions, element by element in transposed order.
    """
    count = x.shape[0]
    most = _PART * count // max(x.size, g.size, 1)
    size = next((n for n in range(min(count, most), _FEWEST - 1, -1) if count % n == 0), count)
    if size == count:
        return product(x, g)

    def add(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + product(*part), None

    parts = x.reshape(-1, size, *x.shape[1:]), g.reshape(-1, size, *g.shape[1:])
    start = jax.eval_shape(product, x, g)
    return lax.scan(add, jnp.zeros(start.shape, start.dtype), parts)[0]


def _numbers(ndim: int) -> lax.ConvDimensionNumbers:
    space = tuple(range(ndim - 2))
    data = (0, ndim - 1, *(axis + 1 for axis in space))
    return lax.ConvDimensionNumbers(data, (ndim - 1, ndim - 2, *space), data)


def _zero(x: jax.Array) -> jax.Array:
    return jnp.zeros((), x.dtype)


def _widths(padding: Pairs, stride: Sequence[int] | None = None) -> list[tuple[int, int, int]]:
    """What `lax.pad` takes, for channels last; the elements come `stride` apart."""
    inside = [s - 1 for s in stride] if stride is not None else [0] * len(padding)
    return [(0, 0, 0), *((*pair, gap) for pair, gap in zip(padding, inside, strict=True)), (0, 0, 0)]


def _patches_pay(taps: int, channels: int) -> bool:
    return taps == 1 or taps * channels <= _PATCH


def _shifted(x: jax.Array, kernel: Sequence[int], stride: Any, dilation: Any) -> list[jax.Array]:
    """For each kernel position, in order, the elements of the padded input that meet it."""
    counts = [(n - d * (k - 1) - 1) // s + 1
              for n, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)]
    found = []
    for position in itertools.product(*map(range, kernel)):
        starts = [p * d for p, d in zip(position, dilation, strict=True)]
        stops = [start + (count - 1) * s + 1 for start, count, s in zip(starts, counts, stride, strict=True)]
        found.append(lax.slice(x, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]), (1, *stride, 1)))
    return found


def _patches(x: jax.Array, kernel: Sequence[int], stride: Any, padding: Pairs, dilation: Any) -> jax.Array:
    """(batch, *space, kernel positions x channels), made one axis after the other: far fewer copies than positions."""
    x = lax.pad(x, _zero(x), _widths(padding))
    for axis in range(x.ndim - 2, 0, -1):
        k, s, d = kernel[axis - 1], stride[axis - 1], dilation[axis - 1]
        count = (x.shape[axis] - d * (k - 1) - 1) // s + 1
        x = jnp.concatenate([lax.slice_in_dim(x, p * d, p * d + (count - 1) * s + 1, s, axis) for p in range(k)], -1)
    return x


def _depthwise(x: jax.Array, w: jax.Array, stride: Any, dilation: Any, groups: int) -> jax.Array:
    """Sums of shifted products, for groups of one channel that go to several, or of several that go to one.

    Those of several are added up once, after all shifts, as slices: far faster than a reduction. And XLA:CPU (jaxlib
    0.10) crashes on some programs that add up several reductions of arrays of seven axes.
    """
    *kernel, inner, outer = w.shape
    weights = jnp.swapaxes(w.reshape(-1, inner, groups, outer // groups), 1, 2).reshape(math.prod(kernel), -1)
    if outer > groups:
        x = jnp.repeat(x, outer // groups, -1)
    total: Any = 0
    for part, weight in zip(_shifted(x, kernel, stride, dilation), weights, strict=True):
        total = total + part * weight
    y = total[..., ::inner]
    for i in range(1, inner):
        y = y + total[..., i::inner]
    return y


def _depthwise_gradient(x: jax.Array, g: jax.Array, kernel: Any, stride: Any, dilation: Any,
                        groups: int) -> jax.Array:
    """The sums over space of shifted products, one example of the batch after the other, which stays in the cache."""
    space = tuple(range(g.ndim - 2))

    def add(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        example, cotangent = pair
        apart = cotangent.reshape(*cotangent.shape[:-1], groups, -1)
        parts = _shifted(example[None], kernel, stride, dilation)
        return total + jnp.stack([(part[0][..., None] * apart).sum(space) for part in parts]), None

    start = jnp.zeros((math.prod(kernel), groups, g.shape[-1] // groups), g.dtype)
    return lax.scan(add, start, (x, g))[0].reshape(*kernel, 1, g.shape[-1])


def _by_group(body: Callable[[Any, Any], Any], groups: int, a: jax.Array, b: jax.Array) -> jax.Array:
    pairs = zip(jnp.split(a, groups, -1), jnp.split(b, groups, -1), strict=True)
    return jnp.concatenate([body(x, y) for x, y in pairs], -1)


