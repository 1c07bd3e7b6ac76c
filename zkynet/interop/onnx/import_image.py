"""Import rules that change the size of images: Resize, Upsample; Col2Im; and decoding."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...framework import op
from ...framework.errors import InputError
from ...framework.operator import operator
from ...framework.operators.conv import conv_transpose
from ...framework.operators.resize import _sum, _summable, _transposed
from .import_nn import choice
from .import_registry import importer

# Taps -------------------------------------------------------------------------------------------------------


class Method(NamedTuple):
    """How positions are found and what is made of the neighbours; the names are those of Resize's attributes."""

    mode: str
    position: str
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


class Axis(NamedTuple):
    """One axis that is resampled, from n to m elements; `start` and `end` are its region of interest."""

    axis: int
    n: int
    m: int
    scale: float
    start: float
    end: float


def _positions(a: Axis, position: str) -> np.ndarray:
    """Where in the input each output element lies. In float32, as onnxruntime and PyTorch compute it, so that the
    same neighbour is chosen where one is close to the middle."""
    i, one = np.arange(a.m, dtype=np.float32), np.float32
    scale, length = one(a.scale), one(a.scale) * one(a.n)
    if position == "align_corners":
        return i * one(a.n - 1) / (length - one(1)) if length != 1 else np.zeros_like(i)
    if position == "asymmetric":
        return i / scale
    if position == "tf_crop_and_resize":
        span = one(a.end - a.start) * one(a.n - 1)
        inside = i * span / (length - one(1)) if length != 1 else np.full_like(i, span / 2)
        return inside + one(a.start) * one(a.n - 1)
    middle = (i + one(0.5)) / scale - one(0.5)
    if position == "half_pixel":
        return middle
    if position == "pytorch_half_pixel":
        return middle if length != 1 else np.full_like(i, -0.5)
    if position == "half_pixel_symmetric":  # the middle of the input is the middle of the output
        return middle + one(a.n / 2) * (one(1) - one(a.m) / length)
    raise InputError(f"the coordinate transformation {position!r} is not known.")


_NEAREST = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5), "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor, "ceil": np.ceil,
}


def _kernel(x: np.ndarray, method: Method) -> np.ndarray:
    """The weight of a neighbour at this distance: a triangle, or Keys' cubic convolution (1981)."""
    x, a = np.abs(x), method.cubic
    if method.mode == "linear":
        return np.maximum(1 - x, 0)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x <= 1, near, np.where(x < 2, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a, 0))


@functools.lru_cache(maxsize=1024)
def _taps(a: Axis, method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Which elements, and with which weights, each output element is made of: (taps, m) each."""
    x = _positions(a, method.position).astype(np.float64)
    if method.mode == "nearest":
        places = np.clip(_NEAREST[method.nearest](x), 0, a.n - 1)
        return places.astype(np.int32)[None], np.ones((1, a.m))
    squeeze = min(a.scale, 1.0) if method.antialias else 1.0
    half = int(np.ceil((1 if method.mode == "linear" else 2) / squeeze))
    left = np.ceil(x) - 1
    near = np.arange(1 - half, half + 1)[:, None]
    weights = _kernel((near - (x - left)) * squeeze, method)
    places = near + left
    if method.exclude_outside:
        weights = np.where((places < 0) | (places >= a.n), 0.0, weights)
    if method.exclude_outside or method.antialias:
        total = weights.sum(0)
        weights = weights / np.where(total == 0, 1, total)
    return np.clip(places, 0, a.n - 1).astype(np.int32), weights


@operator
def resampled(x, *, axes, method, back=False):
    """Each of `axes` resampled in turn; with `back` the transpose of that."""
    method = Method(*method)
    dtype, x = _summable(x, method.mode)
    for a in axes:
        a = Axis(*a)
        found = _taps(a, method)
        x = _sum(x, a.axis, _transposed(*found, a.n) if back else found)
    return x.astype(dtype)


@resampled.def_vjp
def _(g, y, x, *, axes, method, back):
    return (resampled(g, axes=axes, method=method, back=not back),)


def _resized(x: Any, axes: Sequence[Axis], method: Method, outside: float) -> Any:
    region = method.position == "tf_crop_and_resize"
    axes = tuple([a for a in axes if a.n != a.m or a.scale != 1.0 or (region and (a.start, a.end) != (0.0, 1.0))])
    if not axes:
        return x
    y = resampled(x, axes=axes, method=method)
    if region:
        beyond = np.zeros((1,) * x.ndim, bool)
        for a in axes:
            places = _positions(a, method.position)
            mask = (places < 0) | (places > a.n - 1)
            beyond = beyond | mask.reshape([-1 if d == a.axis else 1 for d in range(x.ndim)])
        if beyond.any():
            y = op.where(beyond, np.asarray(outside, y.dtype), y)
    if x.dtype.kind in "iu" and method.mode != "nearest":
        info = np.iinfo(x.dtype)
        y = op.cast(op.clip(op.round(y), int(info.min), int(info.max)), dtype=x.dtype)
    return y


# Rules ------------------------------------------------------------------------------------------------------


def _scaled_axes(shape: Sequence[int], axes: Sequence[int], scales: Any, roi: Any,
                 sizes: Sequence[int] | None = None) -> list[Axis]:
    count, found = len(axes), []
    for i, axis in enumerate(axes):
        n = shape[axis]
        m = int(np.float32(scales[i]) * np.float32(n)) if sizes is None else sizes[i]
        start, end = (float(roi[i]), float(roi[count + i])) if len(roi) else (0.0, 1.0)
        found.append(Axis(axis, n, m, float(scales[i]), start, end))
    return found


def _axes_for_sizes(ctx: Any, shape: Sequence[int], axes: Sequence[int], sizes: Sequence[int],
                    roi: Any) -> list[Axis]:
    policy = choice(ctx, "keep_aspect_ratio_policy", "stretch", "not_larger", "not_smaller")
    scales = [m / shape[a] for a, m in zip(axes, sizes, strict=True)]
    if policy != "stretch":
        common = min(scales) if policy == "not_larger" else max(scales)
        scales, sizes = [common] * len(axes), [int(common * shape[a] + 0.5) for a in axes]
    return _scaled_axes(shape, axes, scales, roi, sizes)


@importer("Resize", since=11)
def _(ctx, x, roi=None, scales=None, sizes=None):
    method = Method(
        choice(ctx, "mode", "nearest", "linear", "cubic"), ctx.attr("coordinate_transformation_mode", "half_pixel"),
        choice(ctx, "nearest_mode", *_NEAREST), float(ctx.attr("cubic_coeff_a", -0.75)),
        bool(ctx.attr("exclude_outside", 0)), bool(ctx.attr("antialias", 0)))
    if method.position == "tf_half_pixel_for_nn":  # of version 11 only
        method = method._replace(position="half_pixel")
    axes = [a % x.ndim for a in ctx.attr("axes", None) or range(x.ndim)]
    crops = method.position == "tf_crop_and_resize"
    region = np.ravel(ctx.static(roi, "roi")) if crops and roi is not None else np.zeros(0)
    wanted = ctx.ints(sizes, "sizes")
    if wanted:
        found = _axes_for_sizes(ctx, x.shape, axes, wanted, region)
    else:
        found = _scaled_axes(x.shape, axes, np.ravel(ctx.static(scales, "scales")), region)
    return _resized(x, found, method, ctx.attr("extrapolation_value", 0.0))


def _upsampled(ctx: Any, x: Any, scales: Any) -> Any:
    """The older rule: corners stay in place; a smaller output takes the next element."""
    mode = choice(ctx, "mode", "nearest", "linear", "bilinear").removeprefix("bi")
    for a in _scaled_axes(x.shape, range(x.ndim), scales, ()):
        x = _resized(x, [a], Method(mode, "asymmetric", "ceil" if a.scale < 1 else "floor"), 0.0)
    return x


@importer("Resize")
def _(ctx, x, scales):
    return _upsampled(ctx, x, np.ravel(ctx.static(scales, "scales")))


@importer("Upsample")
def _(ctx, x, scales=None):
    if scales is not None:
        return _upsampled(ctx, x, np.ravel(ctx.static(scales, "scales")))
    known = ctx.attr("scales", None) or (1.0, 1.0, ctx.attr("height_scale"), ctx.attr("width_scale"))
    return _upsampled(ctx, x, known)


@importer("Col2Im")
def _(ctx, x, image_shape, block_shape):
    image, block = ctx.ints(image_shape, "image_shape"), ctx.ints(block_shape, "block_shape")
    space, taps = len(image), int(np.prod(block))
    stride, dilation = (tuple(ctx.attr(name, None) or (1,) * space) for name in ("strides", "dilations"))
    flat = ctx.attr("pads", None) or (0,) * (2 * space)
    pads = tuple([(flat[a], flat[a + space]) for a in range(space)])
    count = [(n + sum(pad) - d * (k - 1) - 1) // s + 1
             for n, k, s, d, pad in zip(image, block, stride, dilation, pads, strict=True)]
    channels = x.shape[1] // taps
    # Each row of a block is a channel of its own whose kernel has a one in this row's place.
    places = np.tile(np.eye(taps, dtype=x.dtype), (channels, 1)).reshape(-1, 1, *block)
    columns = op.reshape(x, shape=(x.shape[0], x.shape[1], *count))
    return conv_transpose(columns, places, size=image, stride=stride, padding=pads, dilation=dilation,
                          groups=channels)


_PIXELS = {"RGB": "RGB", "BGR": "RGB", "Grayscale": "L"}


@importer("ImageDecoder", fold=False)
def _(ctx, stream):
    try:
        from PIL import Image
    except ImportError:
        raise InputError("decoding an image needs Pillow; install the package 'pillow'.") from None
    form = choice(ctx, "pixel_format", *_PIXELS)
    try:
        image = Image.open(io.BytesIO(ctx.static(stream, "the encoded image").tobytes()))
        pixels = np.asarray(image.convert(_PIXELS[form]))
    except (OSError, ValueError):  # ONNX asks for an empty image
        return np.zeros((0, 0, 1 if form == "Grayscale" else 3), np.uint8)
    return pixels[..., None] if form == "Grayscale" else pixels[..., ::-1] if form == "BGR" else pixels
