"""Import rules of convolutions, and where ONNX puts windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from ...framework import op
from ...framework.errors import InputError
from ...framework.operators.conv import conv, conv_transpose
from .import_nn import choice
from .import_registry import importer

Pairs = tuple[tuple[int, int], ...]


class Windows(NamedTuple):
    """Where windows lie along each spatial axis; `pads` has a pair (before, after) for each."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pairs
    count: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How many elements a window covers, holes included."""
        return tuple([d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)])

    def filled(self, size: Sequence[int]) -> Pairs:
        """The pads with which exactly `count` windows fit, each into the padded input."""
        return tuple([(before, (m - 1) * s + reach - n - before) for n, m, s, reach, (before, _) in
                      zip(size, self.count, self.stride, self.reach, self.pads, strict=True)])


def windows(ctx: Any, size: Sequence[int], kernel: Sequence[int] | None = None) -> Windows:
    """The windows that a node's attributes describe, on an input of this spatial shape."""
    kernel = tuple(kernel if kernel is not None else ctx.attr("kernel_shape"))
    space = len(size)
    stride = tuple(ctx.attr("strides", None) or (1,) * space)
    dilation = tuple(ctx.attr("dilations", None) or (1,) * space)
    mode, flat = padding_mode(ctx), ctx.attr("pads", None) or (0,) * (2 * space)
    if not len(kernel) == len(stride) == len(dilation) == space or len(flat) != 2 * space:
        raise InputError(f"kernel {kernel}, strides {stride}, dilations {dilation} and pads {tuple(flat)} do not fit "
                         f"an input with {space} spatial axes.")
    pads, count = [], []
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, stride, dilation, strict=True)):
        reach = d * (k - 1) + 1
        before, after = flat[axis], flat[axis + space]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            total = max(0, (-(-n // s) - 1) * s + reach - n)
            before, after = halves(total, mode == "SAME_UPPER")
        elif mode == "VALID":
            before = after = 0
        rest = n + before + after - reach
        fits = (-(rest // -s) if ctx.attr("ceil_mode", 0) else rest // s) + 1
        if (fits - 1) * s >= n + before:  # a window that starts in the padding behind
            fits -= 1
        pads.append((before, after))
        count.append(fits)
    return Windows(kernel, stride, dilation, tuple(pads), tuple(count))


def padding_mode(ctx: Any) -> str:
    return choice(ctx, "auto_pad", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def halves(total: int, upper: bool) -> tuple[int, int]:
    """Padding before and after; an odd one goes behind with `upper`."""
    small = total // 2
    return (small, total - small) if upper else (total - small, small)


@importer("Conv")
def _(ctx, x, weight, bias=None):
    how = windows(ctx, x.shape[2:], weight.shape[2:])
    y = conv(x, weight, stride=how.stride, padding=how.pads, dilation=how.dilation, groups=ctx.attr("group", 1))
    return y if bias is None else op.add_channels(y, bias)


@importer("ConvTranspose")
def _(ctx, x, weight, bias=None):
    sizes, kernel = x.shape[2:], weight.shape[2:]
    space = len(sizes)
    stride, dilation = (tuple(ctx.attr(name, None) or (1,) * space) for name in ("strides", "dilations"))
    extra, flat = ctx.attr("output_padding", None) or (0,) * space, ctx.attr("pads", None) or (0,) * (2 * space)
    wanted, mode = ctx.attr("output_shape", None), padding_mode(ctx)
    size, pairs = [], []
    for axis, (n, k, s, d, e) in enumerate(zip(sizes, kernel, stride, dilation, extra, strict=True)):
        full = (n - 1) * s + d * (k - 1) + 1  # without padding
        before, after = flat[axis], flat[axis + space]
        m = full + e - before - after
        if wanted is not None or mode.startswith("SAME"):
            m = n * s if wanted is None else wanted[len(wanted) - space + axis]
            before, _ = halves(max(0, full + e - m), mode == "SAME_UPPER")
        elif mode == "VALID":
            before, m = 0, full + e
        size.append(m)
        pairs.append((before, full - m - before))
    y = conv_transpose(x, weight, size=tuple(size), stride=stride, padding=tuple(pairs), dilation=dilation,
                       groups=ctx.attr("group", 1))
    return y if bias is None else op.add_channels(y, bias)


@importer("CausalConvWithState")
def _(ctx, x, weight, bias=None, past=None):
    kept = weight.shape[-1] - 1
    whole = op.pad(x, {2: (kept, 0)}) if past is None else op.concat(past, x, axis=2)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    y = conv(op.cast(whole, dtype=wide), op.cast(weight, dtype=wide), stride=(1,), padding=((0, 0),), dilation=(1,),
             groups=x.shape[1])
    y = y if bias is None else op.add_channels(y, bias)
    if choice(ctx, "activation", "none", "silu", "swish") != "none":
        y = op.silu(y)
    return op.cast(y, dtype=x.dtype), whole[:, :, whole.shape[2] - kept:]
