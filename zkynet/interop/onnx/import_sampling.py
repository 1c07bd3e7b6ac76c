"""Import rules that read images at computed positions: GridSample, DeformConv, RoiAlign, and boxes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...framework import op
from ...framework.operator import operator
from .import_nn import choice
from .import_registry import importer

# Positions to values ----------------------------------------------------------------------------------------


def _pixels(x: jax.Array, places: Sequence[jax.Array]) -> jax.Array:
    """x[n, c, places[n, p]], (n, c, p), for integer places along each spatial axis that are inside."""
    flat = jnp.ravel_multi_index(tuple(places), x.shape[2:], mode="clip")
    return jnp.take_along_axis(x.reshape(*x.shape[:2], -1), flat[:, None, :], axis=2)


def _interpolated(x: jax.Array, points: Sequence[jax.Array], cubic: bool,
                  settle: Callable[[jax.Array, int], tuple[jax.Array, Any]]) -> jax.Array:
    """x at real positions (n, p) along each spatial axis: the sum of what the neighbours weigh, (n, c, p).

    `settle(places, axis)` moves places inside, and says which of them count (None for all).
    """
    axes = []
    for axis, point in enumerate(points):
        first = jnp.floor(point)
        rest = point - first
        weights = _cubic(rest) if cubic else [1 - rest, rest]
        found = []
        for k, weight in enumerate(weights, start=-1 if cubic else 0):
            places, counts = settle(first.astype(jnp.int32) + k, axis)
            found.append((places, weight if counts is None else jnp.where(counts, weight, 0)))
        axes.append(found)
    total: Any = 0.0
    for taps in itertools.product(*axes):
        weight = math.prod([w for _, w in taps[1:]], start=taps[0][1])
        total = total + _pixels(x, [places for places, _ in taps]) * weight[:, None, :].astype(x.dtype)
    return total


def _cubic(t: jax.Array, a: float = -0.75) -> list[jax.Array]:
    """Keys' cubic convolution, 1981."""
    def far(d: jax.Array) -> jax.Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    def near(d: jax.Array) -> jax.Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]


def _zeros_outside(sizes: Sequence[int]) -> Callable[[jax.Array, int], tuple[jax.Array, Any]]:
    def settle(places: jax.Array, axis: int) -> tuple[jax.Array, Any]:
        n = sizes[axis]
        return jnp.clip(places, 0, n - 1), (0 <= places) & (places < n)

    return settle


# GridSample -------------------------------------------------------------------------------------------------


def _reflected(x: jax.Array, low: float, high: float) -> jax.Array:
    """x folded back at both ends until it is inside."""
    span = max(high - low, 1e-9)
    turn = jnp.mod(x - low, 2 * span)
    return low + jnp.minimum(turn, 2 * span - turn)


@operator
def grid_sampled(x, grid, *, mode, padding, align):
    """x (n, c, *space) at grid (n, *out, axes), whose last axis has a coordinate from -1 to 1 for each axis of space,
    the last one first."""
    sizes = x.shape[2:]
    ends = [(0.0, n - 1.0) if align else (-0.5, n - 0.5) for n in sizes]

    def inside(value: jax.Array, axis: int) -> jax.Array:
        low, high = ends[axis]
        if padding == "border":
            return jnp.where((value < low) | (value > high), jnp.clip(value, 0, sizes[axis] - 1), value)
        return _reflected(value, low, high) if padding == "reflection" else value

    def settle(places: jax.Array, axis: int) -> tuple[jax.Array, Any]:
        n = sizes[axis]
        if padding == "zeros":
            return jnp.clip(places, 0, n - 1), (0 <= places) & (places < n)
        if padding == "reflection":
            places = _reflected(places.astype(grid.dtype), *ends[axis]).astype(jnp.int32)
        return jnp.clip(places, 0, n - 1), None

    points = []
    for axis, n in enumerate(sizes):
        g = grid[..., len(sizes) - 1 - axis].reshape(grid.shape[0], -1)
        point = (g + 1) / 2 * (n - 1) if align else ((g + 1) * n - 1) / 2
        points.append(inside(jnp.round(point) if mode == "nearest" else point, axis))
    if mode == "nearest":
        settled = [settle(p.astype(jnp.int32), axis) for axis, p in enumerate(points)]
        y = _pixels(x, [places for places, _ in settled])
        for _, counts in settled:
            y = y if counts is None else jnp.where(counts[:, None, :], y, 0)
    else:
        y = _interpolated(x, points, mode == "cubic", settle)
    return y.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(x.dtype)


@importer("GridSample")
def _(ctx, x, grid):
    known = ("linear", "nearest", "cubic") if ctx.opset >= 20 else ("bilinear", "nearest", "bicubic")
    return grid_sampled(x, grid, mode=choice(ctx, "mode", *known).removeprefix("bi"),
                        padding=choice(ctx, "padding_mode", "zeros", "border", "reflection"),
                        align=bool(ctx.attr("align_corners", 0)))


@importer("AffineGrid")
def _(ctx, theta, size):
    sizes = (ctx.ints(size, "size") or ())[2:]
    align = ctx.attr("align_corners", 0)
    ticks = [np.linspace(-1, 1, n) if align and n > 1 else (2 * np.arange(n) + 1) / n - 1 for n in sizes]
    grid = np.meshgrid(*ticks, indexing="ij")
    points = np.stack([*grid[::-1], np.ones(sizes)], axis=-1).reshape(-1, len(sizes) + 1).astype(theta.dtype)
    moved = op.matmul(points, op.swapaxes(theta, axis1=1, axis2=2))
    return op.reshape(moved, shape=(theta.shape[0], *sizes, len(sizes)))


# Deformable convolution -------------------------------------------------------------------------------------


@operator
def deformed_columns(x, offset, *mask, kernel, stride, before, dilation, groups):
    """What each place of a kernel reads, at its own place moved by the offset: (n, c, taps, positions)."""
    batch, channels, *sizes = x.shape
    space, taps, out = len(sizes), math.prod(kernel), offset.shape[2:]
    moved = offset.reshape(batch, groups, *kernel, space, *out)
    points = []
    for axis, (k, s, b, d) in enumerate(zip(kernel, stride, before, dilation, strict=True)):
        inner = jnp.arange(k).reshape([-1 if a == axis else 1 for a in range(space)] + [1] * space) * d
        outer = jnp.arange(out[axis]).reshape([1] * space + [-1 if a == axis else 1 for a in range(space)]) * s - b
        points.append((jnp.take(moved, axis, axis=2 + space) + (inner + outer)).reshape(batch * groups, -1))
    grouped = x.reshape(batch * groups, channels // groups, *sizes)
    found = _interpolated(grouped, points, False, _zeros_outside(sizes))
    if mask:
        found = found * mask[0].reshape(batch * groups, 1, -1)
    return found.reshape(batch, channels, taps, -1)


@importer("DeformConv")
def _(ctx, x, weight, offset, bias=None, mask=None):
    """Dai et al., "Deformable convolutional networks", 2017; with a mask, Zhu et al., 2019."""
    kernel, space, groups = weight.shape[2:], x.ndim - 2, ctx.attr("group", 1)
    stride, dilation = (tuple(ctx.attr(name, None) or (1,) * space) for name in ("strides", "dilations"))
    before = tuple((ctx.attr("pads", None) or (0,) * (2 * space))[:space])
    columns = deformed_columns(x, offset, *(() if mask is None else (mask,)), kernel=kernel, stride=stride,
                               before=before, dilation=dilation, groups=ctx.attr("offset_group", 1))
    batch, channels, taps, _ = columns.shape
    width = channels // groups * taps
    rows = op.reshape(weight, shape=(groups, weight.shape[0] // groups, width))
    y = op.matmul(rows, op.reshape(columns, shape=(batch, groups, width, -1)))
    y = op.reshape(y, shape=(batch, weight.shape[0], *offset.shape[2:]))
    return y if bias is None else op.add_channels(y, bias)


# Regions ----------------------------------------------------------------------------------------------------


@operator(no_gradient=("rois", "images"))
def aligned_regions(x, rois, images, *, size, grid, ratio, scale, half, largest):
    """Each bin of a region: the mean (or the largest part) of points that are spread over it evenly.

    `grid` has the most points along each axis; a region has `ratio` of them, or as many as its bins have pixels.
    """
    shift = 0.5 if half else 0.0
    starts = [rois[:, 1] * scale - shift, rois[:, 0] * scale - shift]
    spans = [rois[:, 3] * scale - shift - starts[0], rois[:, 2] * scale - shift - starts[1]]
    places, weights, counts, own = [], [], [], []
    for n, m, most, start, span in zip(x.shape[2:], size, grid, starts, spans, strict=True):
        width = (span if half else jnp.maximum(span, 1.0)) / m
        used = jnp.full(width.shape, float(ratio), width.dtype) if ratio else jnp.ceil(width)
        k = jnp.arange(most)
        at = (start[:, None, None] + jnp.arange(m)[None, :, None] * width[:, None, None]
              + (k + 0.5) * (width / jnp.maximum(used, 1.0))[:, None, None])
        counts.append(used)
        own.append(k < jnp.maximum(used, 1.0)[:, None, None])
        counted = (k < used[:, None, None]) & (at >= -1.0) & (at <= n)
        at = jnp.clip(at, 0, n - 1)
        low = jnp.floor(at).astype(jnp.int32)
        rest = at - low
        places.append((low, jnp.minimum(low + 1, n - 1)))
        weights.append((jnp.where(counted, 1 - rest, 0), jnp.where(counted, rest, 0)))
    parts = []
    for (i, wi), (j, wj) in itertools.product(zip(places[0], weights[0], strict=True),
                                              zip(places[1], weights[1], strict=True)):
        i, wi = i[:, :, :, None, None], wi[:, :, :, None, None]
        j, wj = j[:, None, None], wj[:, None, None]
        values = x[images[:, None, None, None, None], :, i, j]  # (regions, m, grid, m, grid, channels)
        parts.append(values * (wi * wj)[..., None].astype(x.dtype))
    if largest:
        # Points that only a larger region has must not count, not even as 0.
        there = own[0][:, :, :, None, None] & own[1][:, None, None]
        found = jnp.max(jnp.where(there[..., None], jnp.stack(parts), -jnp.inf), axis=(0, 3, 5))
    else:
        total = jnp.sum(sum(parts), axis=(2, 4))
        found = total / jnp.maximum(counts[0] * counts[1], 1.0)[:, None, None, None]
    return jnp.moveaxis(found, -1, 1).astype(x.dtype)


@importer("RoiAlign")
def _(ctx, x, rois, images):
    half = ctx.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel" if ctx.opset >= 16 else False
    size = ctx.attr("output_height", 1), ctx.attr("output_width", 1)
    ratio, scale = ctx.attr("sampling_ratio", 0), ctx.attr("spatial_scale", 1.0)
    grid = (ratio, ratio)
    if not ratio:  # as many points as the largest region needs
        boxes = ctx.static(rois, "rois, with a sampling_ratio of 0,") * scale
        spans = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
        grid = tuple([max(1, int(np.ceil(max(span.max(initial=1.0), 1.0) / m))) for span, m in
                      zip(spans, size, strict=True)])
    return aligned_regions(x, rois, images, size=size, grid=grid, ratio=ratio, scale=scale, half=half,
                           largest=choice(ctx, "mode", "avg", "max") == "max")


@operator(no_gradient=("rois",))
def pooled_regions(x, rois, *, size, scale):
    """The largest pixel of each bin of a region, whose edges are rounded outwards; 0 for an empty bin."""
    regions = x[rois[:, 0].astype(jnp.int32)]
    corners = jnp.floor(rois[:, 1:] * scale + 0.5)
    for axis, m in enumerate(size, start=2):
        n, first, last = x.shape[axis], corners[:, 3 - axis], corners[:, 5 - axis]
        width = jnp.maximum(last - first + 1, 1)[:, None] / m
        bins = jnp.arange(m)
        low = jnp.clip(jnp.floor(bins * width) + first[:, None], 0, n)[..., None]
        high = jnp.clip(jnp.ceil((bins + 1) * width) + first[:, None], 0, n)[..., None]
        inside = (low <= jnp.arange(n)) & (jnp.arange(n) < high)  # (regions, m, n)
        spread = jnp.moveaxis(regions, axis, -1)[..., None, :]
        chosen = jnp.max(jnp.where(inside[:, None, None], spread, -jnp.inf), axis=-1)
        regions = jnp.moveaxis(chosen, -1, axis)
    return jnp.where(jnp.isneginf(regions), 0, regions).astype(x.dtype)


@importer("MaxRoiPool")
def _(ctx, x, rois):
    """Girshick, "Fast R-CNN", 2015."""
    return pooled_regions(x, rois, size=tuple(ctx.attr("pooled_shape")), scale=ctx.attr("spatial_scale", 1.0))


# Boxes ------------------------------------------------------------------------------------------------------


def _corners(boxes: np.ndarray, centred: bool) -> np.ndarray:
    """(y1, x1, y2, x2) with the smaller corner first."""
    if centred:
        middle, half = boxes[:, 1::-1], boxes[:, :1:-1] / 2
        return np.concatenate([middle - half, middle + half], axis=1)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union."""
    sides = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    shared = sides.prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


@importer("NonMaxSuppression")
def _(ctx, boxes, scores, most=None, limit=None, threshold=None):
    boxes, scores = ctx.static(boxes, "boxes"), ctx.static(scores, "scores")
    most, limit = ctx.number(most) or 0, ctx.number(limit) or 0.0
    lowest = ctx.number(threshold)
    chosen = []
    for image, group in np.ndindex(scores.shape[:2]):
        corners, mine = _corners(boxes[image], bool(ctx.attr("center_point_box", 0))), scores[image, group]
        order = np.argsort(-mine, kind="stable")
        if lowest is not None:
            order = order[mine[order] > lowest]
        kept = 0
        while order.size and kept < most:
            chosen.append((image, group, order[0]))
            kept += 1
            order = order[1:][_overlap(corners[order[0]], corners[order[1:]]) <= limit]
    return np.asarray(chosen, np.int64).reshape(-1, 3)
