"""Rows of operators/conv.py; the reference is lax.conv_general_dilated in the layout (batch, channels, space)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from cases import Case, sample
from jax import lax

from zkynet.framework.operators import conv as ours

LETTERS = {1: ("NCW", "OIW", "NCW"), 2: ("NCHW", "OIHW", "NCHW"), 3: ("NCDHW", "OIDHW", "NCDHW")}


def reference(space: int, stride: Any, padding: Any, dilation: Any, groups: int) -> Callable[..., Any]:
    stride, dilation = ((v,) * space if isinstance(v, int) else v for v in (stride, dilation))
    if isinstance(padding, int):
        padding = [(padding, padding)] * space
    elif isinstance(padding, str):
        padding = padding.upper()
    elif isinstance(padding[0], int):
        padding = [(p, p) for p in padding]

    def convolution(x: Any, w: Any, b: Any = None) -> Any:
        y = lax.conv_general_dilated(x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
                                     dimension_numbers=LETTERS[space])
        return y if b is None else y + b.reshape(-1, *(1,) * space)

    return convolution


def conv(label: str, x: tuple, w: tuple, bias: bool = False, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
         groups: int = 1) -> Case:
    space = len(w) - 2
    name = f"conv{space}d"
    function = getattr(ours, name)
    inputs = (sample(*x), sample(*w, seed=1), *([sample(w[0], seed=2)] if bias else []))
    return Case(name, lambda *args: function(*args, stride=stride, padding=padding, dilation=dilation, groups=groups),
                reference(space, stride, padding, dilation, groups), inputs, label)


def transposed(label: str, x: tuple, w: tuple, bias: bool = False, stride: Any = 1, padding: Any = 0,
               output_padding: int = 0, groups: int = 1, dilation: Any = 1) -> Case:
    """Against JAX's transpose of the convolution that goes the other way."""
    space = len(w) - 2
    name = f"conv_transpose{space}d"
    function = getattr(ours, name)

    def by_transposing(x: Any, w: Any, b: Any = None) -> Any:
        size = [(n - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1
                for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
        like = jax.ShapeDtypeStruct((x.shape[0], w.shape[1] * groups, *size), x.dtype)
        forward = reference(space, stride, [(padding, padding - output_padding)] * space, dilation, groups)
        y = jax.linear_transpose(lambda z: forward(z, w), like)(x)[0]
        return y if b is None else y + b.reshape(-1, *(1,) * space)

    inputs = (sample(*x), sample(*w, seed=1), *([sample(w[1] * groups, seed=2)] if bias else []))
    how = {"stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups,
           "dilation": dilation}
    return Case(name, lambda *args: function(*args, **how), by_transposing, inputs, label)


HOW = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": 1}
PLAIN = reference(2, HOW["stride"], HOW["padding"], HOW["dilation"], 1)


def pulled(argument: int, x: Any, w: Any, g: Any) -> Any:
    """One cotangent of PLAIN, as a function of the other two."""
    return jax.vjp(PLAIN, x, w)[1](g)[argument]


X, W, G = sample(1, 2, 4, 4), sample(2, 2, 2, 2, seed=1), sample(1, 2, 2, 3, seed=2)

CASES = [
    conv("plain", (2, 2, 4), (3, 2, 2)),
    conv("strided with a rest, bias", (1, 2, 6), (2, 2, 2), True, stride=3, padding=1),
    conv("dilation", (1, 2, 4), (3, 2, 2), True, padding="valid", dilation=2),
    Case("conv2d", ours.conv2d, lambda x, w, b: reference(2, 1, 0, 1, 1)(x[None], w, b)[0],
         (sample(2, 3, 3), sample(2, 2, 2, 2), sample(2)), "no batch"),
    conv("patches", (2, 2, 4, 5), (3, 2, 2, 3), True, stride=(1, 2), padding=1),
    conv("many channels", (1, 9, 3, 3), (2, 9, 2, 2), True, stride=(2, 1), padding=((1, 0), (2, 1)), dilation=(1, 2)),
    conv("one by one", (2, 3, 2, 2), (2, 3, 1, 1)),
    conv("same", (1, 9, 4, 3), (1, 9, 3, 2), padding="same"),
    conv("same, strided", (1, 1, 5, 4), (1, 1, 3, 2), padding="same", stride=2),
    conv("groups", (1, 4, 3, 3), (4, 2, 2, 2), True, groups=2),
    conv("depthwise", (1, 2, 4, 4), (2, 1, 3, 2), stride=(1, 2), padding=1, groups=2),
    conv("depthwise, two outputs each", (1, 2, 3, 3), (4, 1, 2, 2), groups=2, dilation=2),
    conv("many groups", (1, 33, 3), (33, 1, 2), groups=33),
    conv("many groups of two", (1, 66, 2), (33, 2, 2), groups=33),
    conv("empty batch", (0, 2, 3, 3), (2, 2, 2, 2), True),
    conv("three dimensions", (1, 2, 3, 3, 3), (2, 2, 2, 2, 2), True, stride=(1, 2, 1), padding=(1, 0, 0)),
    transposed("strided", (1, 2, 3), (2, 2, 3), True, stride=2),
    transposed("output_padding", (1, 2, 2, 2), (2, 3, 2, 2), stride=3, padding=1, output_padding=2),
    transposed("dilation larger than stride", (1, 9, 2, 2), (9, 1, 2, 2), True, dilation=3, output_padding=2,
               padding=1),
    transposed("groups", (1, 4, 2, 2), (4, 2, 2, 2), stride=2, groups=2),
    transposed("depthwise", (1, 2, 3, 3), (2, 1, 2, 2), stride=2, padding=1, output_padding=1, groups=2),
    transposed("depthwise, two outputs each", (1, 2, 2, 2), (2, 2, 2, 2), groups=2),
    transposed("three dimensions", (1, 1, 2, 2, 2), (1, 2, 2, 2, 2), stride=2, padding=1),
    Case("conv", lambda x, w: ours.conv(x, w, **HOW), PLAIN, (X, W)),
    Case("conv_transpose", lambda g, w: ours.conv_transpose(g, w, size=(4, 4), **HOW),
         lambda g, w: pulled(0, jnp.zeros(X.shape), w, g), (G, W)),
    Case("conv_weight", lambda x, g: ours.conv_weight(x, g, kernel=(2, 2), **HOW),
         lambda x, g: pulled(1, x, jnp.zeros(W.shape), g), (X, G)),
    Case("add_channels", ours.add_channels, lambda x, b: x + b[:, None], (sample(2, 3, 4), sample(3, seed=1))),
    Case("add_channels", ours.add_channels, lambda x, b: x + b, (sample(2, 3), sample(3, seed=1)), "no space"),
    Case("sum_channels", ours.sum_channels, lambda x: x.sum((0, 2, 3)), (sample(2, 3, 2, 2),)),
    Case("sum_channels", ours.sum_channels, lambda x: x.sum(0), (sample(0, 3),), "empty"),
]
