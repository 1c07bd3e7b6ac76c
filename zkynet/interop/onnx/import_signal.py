"""Import rules of signal processing: Fourier transforms and the mel scale."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...framework import op
from ...framework.operator import operator
from .import_registry import dtype_of, importer


@operator
def dft(x, *, axis, inverse):
    """y_k = sum_n x_n e^(-2 pi i k n / N) along an axis; complex numbers are pairs along the last axis. The inverse has
    the other sign, and divides by N."""
    wide = x.astype(jax.dtypes.canonicalize_dtype(np.float64))  # in 64-bit mode, small elements beside large ones count
    transform = jnp.fft.ifft if inverse else jnp.fft.fft
    made = transform(wide[..., 0] + 1j * wide[..., 1], axis=axis)
    return jnp.stack((made.real, made.imag), axis=-1).astype(x.dtype)


@dft.def_vjp
def _(g, y, x, *, axis, inverse):
    length = float(x.shape[axis])
    pulled = dft(g, axis=axis, inverse=not inverse)
    return (pulled / length if inverse else pulled * length,)


def transformed(x: Any, length: int, axis: int, inverse: bool, onesided: bool) -> Any:
    """The Fourier transform of the first `length` elements along an axis (zeros follow what is shorter), where `x` has
    one element (real) or two (complex) along its last axis.

    Of a real signal, `onesided` gives the first half of the symmetric transform; inverse, it takes that half and gives
    the real signal.
    """
    half = length // 2 + 1
    x = _resized(x, half if inverse and onesided else length, axis)
    if x.shape[-1] == 1:
        x = op.concat([x, op.zeros_like(x)], axis=-1)
    if inverse and onesided:
        rest = op.flip(_part(x, axis, 1, (length + 1) // 2), axis=axis) * np.asarray([1, -1], x.dtype)
        return dft(op.concat([x, rest], axis=axis), axis=axis, inverse=True)[..., :1]
    made = dft(x, axis=axis, inverse=inverse)
    return _part(made, axis, 0, half) if onesided else made


def _part(x: Any, axis: int, start: int, end: int) -> Any:
    return x[(*[slice(None)] * axis, slice(start, end))]


def _resized(x: Any, length: int, axis: int) -> Any:
    own = x.shape[axis]
    return _part(x, axis, 0, length) if own >= length else op.pad(x, {axis: (0, length - own)})


@importer("DFT")
def _(ctx, x, dft_length=None, axis=None):
    where = ctx.attr("axis", 1) if ctx.opset < 20 else -2 if axis is None else ctx.number(axis, "the axis")
    inverse, onesided = bool(ctx.attr("inverse", 0)), bool(ctx.attr("onesided", 0))
    own = x.shape[where]
    length = ctx.number(dft_length, "the length")
    if length is None:
        length = 2 * (own - 1) if inverse and onesided else own
    return transformed(x, int(length), where % x.ndim, inverse, onesided)


@importer("STFT")
def _(ctx, signal, step, window=None, frame_length=None):
    stride = int(ctx.number(step, "the step"))
    length = ctx.number(frame_length, "the frame length")
    if length is None:
        length = signal.shape[1] if window is None else window.shape[0]
    count = (signal.shape[1] - length) // stride + 1
    places = np.arange(count)[:, None] * stride + np.arange(length)
    frames = op.take(signal, places, axis=1)  # (batch, frame, time, 1 or 2)
    if window is not None:
        frames = frames * op.reshape(window, shape=(length, 1))
    onesided = bool(ctx.attr("onesided", 1)) and signal.shape[-1] == 1
    return transformed(frames, int(length), 2, False, onesided)


@importer("MelWeightMatrix", fold=False)
def _(ctx, bins, dft_length, sample_rate, lower, upper):
    """Triangles that rise from the band before and fall to the band after, on the mel scale."""
    count, length, rate = (int(ctx.number(v)) for v in (bins, dft_length, sample_rate))
    low, high = (2595.0 * math.log10(1.0 + ctx.number(v) / 700.0) for v in (lower, upper))
    mel = low + np.arange(count + 2) * ((high - low) / (count + 2))
    edges = np.floor((length + 1) * 700.0 * (10.0 ** (mel / 2595.0) - 1.0) / rate)
    start, centre, end = edges[:-2], edges[1:-1], edges[2:]
    row = np.arange(length // 2 + 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = np.where((row >= start) & (row <= centre), (row - start) / (centre - start), 0.0)
        falling = np.where((row > centre) & (row < end), (end - row) / (end - centre), 0.0)
    made = np.where(row == centre, 1.0, np.nan_to_num(rising) + np.nan_to_num(falling))
    return made.astype(dtype_of(ctx.attr("output_datatype", 1)))
