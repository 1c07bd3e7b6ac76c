"""Convolution in 1, 2 and 3 dimensions, and transposed.

The public layout is (batch, channels, *space), weights are (out, in / groups, *kernel), as in PyTorch. Three
operators make it up, the derivatives of one form <conv(x, w), g> that is linear in each of x, w and g:

    conv(x, w) in the space of g,  conv_transpose(g, w) in that of x,  conv_weight(x, g) in that of w.

So each has the other two as its gradient rules, to any order.

Their bodies are in conv_kernels.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..nodes import Node
from .arguments import misfit, node_of
from .conv_kernels import correlate, kernel_gradient, spread, to_first, to_kernel, to_last
from .create import zeros_like
from .registry import builtin
from .spatial import each_axis, with_batch, without_batch

# The three operators --------------------------------------------------------------------------------------


@builtin
def conv(x, weight, *, stride, padding, dilation, groups):
    """Cross-correlation y[n, o, p] = sum_{c, k} x[n, c, p stride + k dilation - before] weight[o, c, k].

    `padding` has a pair (before, after) for each axis; see `conv2d` for the function with defaults.
    """
    _check(x, weight, stride, padding, dilation, groups)
    x, weight = _promoted(x, weight)
    return to_first(correlate(to_last(x), to_kernel(weight), stride, padding, dilation, groups))


@conv.def_vjp
def _(g, y, x, weight, **how):
    return (conv_transpose(g, weight, size=x.shape[2:], **how),
            conv_weight(x, g, kernel=weight.shape[2:], **how))


@builtin
def conv_transpose(g, weight, *, size, stride, padding, dilation, groups):
    """The transpose of `conv` with respect to its input: from (n, out, ...) to (n, in, *size)."""
    g, weight = _promoted(g, weight)
    return to_first(spread(to_last(g), to_kernel(weight), size, stride, padding, dilation, groups))


@conv_transpose.def_vjp
def _(c, y, g, weight, *, size, **how):
    return conv(c, weight, **how), conv_weight(c, g, kernel=weight.shape[2:], **how)


@builtin
def conv_weight(x, g, *, kernel, stride, padding, dilation, groups):
    """The transpose of `conv` with respect to its weights: from its input and output to (out, in / groups, *kernel)."""
    x, g = _promoted(x, g)
    made = kernel_gradient(to_last(x), to_last(g), kernel, stride, padding, dilation, groups)
    return jnp.moveaxis(made, (-1, -2), (0, 1))


@conv_weight.def_vjp
def _(c, y, x, g, *, kernel, **how):
    return conv_transpose(g, c, size=x.shape[2:], **how), conv(x, c, **how)


def _promoted(a: Any, b: Any) -> tuple[Any, Any]:
    dtype = jnp.result_type(a, b)
    return a.astype(dtype), b.astype(dtype)


def _check(x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(f"input of {x.shape[1]} channels in {groups} groups needs weights of shape (out, "
                         f"{x.shape[1]} / {groups}, ...) with out divisible by {groups}, but they are {weight.shape}")
    for axis, (n, k, (before, after), d) in enumerate(
            zip(x.shape[2:], weight.shape[2:], padding, dilation, strict=True)):
        if n + before + after < d * (k - 1) + 1:
            raise ValueError(f"along spatial axis {axis} the kernel covers {d * (k - 1) + 1} elements, but the padded "
                             f"input has {n + before + after}")


# Channels ---------------------------------------------------------------------------------------------------


@builtin
def add_channels(x, bias):
    """y[n, c, ...] = x[n, c, ...] + bias[c].

    Raises:
        ShapeError: when `bias` is no vector with an element for each channel.

    >>> from zkynet.framework import op
    >>> op.add_channels([[[1.0, 2.0], [3.0, 4.0]]], [10.0, 20.0]).value.tolist()
    [[[11.0, 12.0], [23.0, 24.0]]]
    """
    if x.ndim < 2 or bias.shape != x.shape[1:2]:
        raise ValueError(f"an input of shape {x.shape} needs a bias of shape {x.shape[1:2]}, but it is {bias.shape}")
    return x + bias.reshape(-1, *(1,) * (x.ndim - 2))


@add_channels.def_vjp
def _(g, y, x, bias):
    return g, sum_channels(g)


@builtin
def sum_channels(x):
    """y[c] = the sum of x[n, c, ...] over all other axes.

    >>> from zkynet.framework import op
    >>> op.sum_channels([[[1.0, 2.0], [3.0, 4.0]]]).value.tolist()
    [3.0, 7.0]
    """
    # A product with ones on the (rows, channels) view that other kernels read too: XLA then keeps one copy of x. A
    # plain sum becomes one over (batch, channels, space), for which x is copied to that layout first.
    columns = to_last(x).reshape(-1 if x.size else 0, x.shape[1])
    return (jnp.ones((1, columns.shape[0]), x.dtype) @ columns)[0]


@sum_channels.def_vjp
def _(g, y, x):
    return (add_channels(zeros_like(x), g),)


# Public functions -------------------------------------------------------------------------------------------


def _padding(padding: Any, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
             dilation: Sequence[int], name: str) -> tuple[tuple[int, int], ...]:
    """A pair (before, after) for each spatial axis."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        pairs = []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)
    if isinstance(padding, str):
        raise InputError(f"{name}: padding must be 'same', 'valid', an int, or one int or pair for each axis, but got "
                         f"{padding!r}.")
    if not isinstance(padding, (int, np.integer)) and any(isinstance(p, (tuple, list)) for p in padding):
        pairs = [each_axis(p, 2, "a pair of paddings", name, 0) for p in padding]
        if len(pairs) != len(kernel):
            raise InputError(f"{name}: padding needs {len(kernel)} pairs, but got {padding!r}.")
        return tuple([(before, after) for before, after in pairs])
    return tuple([(p, p) for p in each_axis(padding, len(kernel), "padding", name, 0)])


def _operands(x: Any, weight: Any, space: int, name: str) -> tuple[Node, Node, bool]:
    """The nodes, the input with a batch axis; and whether that had to be added."""
    node, single = with_batch(x, space, name)
    weight = node_of(weight, name)
    if weight.ndim != space + 2:
        raise misfit(name, f"the weight must have {space + 2} axes, but it is {weight.aval!r}.")
    return node, weight, single


def _finished(y: Node, bias: Any, single: bool) -> Node:
    return without_batch(y if bias is None else add_channels(y, bias), single)


def _conv(space: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Node:
    name = f"conv{space}d"
    x, weight, single = _operands(x, weight, space, name)
    kernel = weight.shape[2:]
    stride, dilation = each_axis(stride, space, "stride", name), each_axis(dilation, space, "dilation", name)
    pairs = _padding(padding, x.shape[2:], kernel, stride, dilation, name)
    y = conv(x, weight, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return _finished(y, bias, single)


def conv1d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Node:
    """Convolution along one axis; see `conv2d`.

    Args:
        x: (batch, in, length), or without the batch.
        weight: (out, in / groups, k).

    >>> from zkynet.framework import op
    >>> op.conv1d([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]]).value.tolist()
    [[[3.0, 5.0]]]
    """
    return _conv(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Node:
    """Convolution in two dimensions, as PyTorch's (a cross-correlation: the kernel is not flipped).

    y[n, o, p, q] = bias[o] + sum_{c, i, j} x[n, c, p s + i d - pad, q s + j d - pad] weight[o, c, i, j]

    Args:
        x: (batch, in, height, width), or without the batch.
        weight: (out, in / groups, kh, kw).
        bias: (out,), or None.
        stride, dilation: an int, or one for each axis.
        padding: zeros around the input: an int, one for each axis, or a pair (before, after) for each axis;
            "valid" for none; "same" for an output of ceil(input / stride), the odd one after.
        groups: channels are cut into this many groups, each with its own weights.

    Raises:
        ShapeError: when shapes do not fit, or the kernel is larger than the padded input.
        InputError: when stride, padding or dilation make no sense.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.conv2d(np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3)), stride=2, padding=1).shape
    (1, 4, 4, 4)
    """
    return _conv(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Node:
    """Convolution in three dimensions; see `conv2d`.

    Args:
        x: (batch, in, depth, height, width), or without the batch.
        weight: (out, in / groups, kd, kh, kw).

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.conv3d(np.ones((1, 1, 4, 4, 4)), np.ones((2, 1, 3, 3, 3))).shape
    (1, 2, 2, 2, 2)
    """
    return _conv(3, x, weight, bias, stride, padding, dilation, groups)


def _transposed(space: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
                groups: int, dilation: Any) -> Node:
    name = f"conv_transpose{space}d"
    x, weight, single = _operands(x, weight, space, name)
    kernel = weight.shape[2:]
    stride, dilation = each_axis(stride, space, "stride", name), each_axis(dilation, space, "dilation", name)
    padding = each_axis(padding, space, "padding", name, 0)
    extra = each_axis(output_padding, space, "output_padding", name, 0)
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise misfit(name, f"an input of {x.shape[1]} channels in {groups} groups needs weights of shape (in, out / "
                           f"groups, ...) with in = {x.shape[1]}, but they are {weight.aval!r}.")
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise InputError(f"{name}: output_padding {extra} must be smaller than the stride {stride} or the dilation "
                         f"{dilation}.")
    least = least_size(x.shape[2:], kernel, stride, padding, dilation)
    size = tuple([n + e for n, e in zip(least, extra, strict=True)])
    if min(size) < 1:
        raise misfit(name, f"the output would have the spatial shape {size}.")
    pairs = tuple([(p, p - e) for p, e in zip(padding, extra, strict=True)])
    y = conv_transpose(x, weight, size=size, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return _finished(y, bias, single)


def least_size(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
               dilation: Sequence[int]) -> tuple[int, ...]:
    """The spatial shape that a transposed convolution makes of `size`, without output_padding."""
    return tuple([(n - 1) * s - 2 * p + d * (k - 1) + 1
                  for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)])


def conv_transpose1d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Node:
    """Transposed convolution along one axis; see `conv_transpose2d`.

    >>> from zkynet.framework import op
    >>> op.conv_transpose1d([[[1.0, 2.0]]], [[[1.0, 1.0]]], stride=2).value.tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """
    return _transposed(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Node:
    """The transpose of `conv2d`, from the shape of its output to that of its input, as PyTorch's.

    Args:
        x: (batch, in, height, width), or without the batch.
        weight: (in, out / groups, kh, kw).
        bias: (out,), or None.
        padding: how much the corresponding convolution pads; here it crops the output.
        output_padding: added to one side of the output, whose size a stride leaves open; smaller than the
            stride or the dilation.

    Returns:
        height: (height - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.

    Raises:
        ShapeError: when shapes do not fit, or the output would be empty.
        InputError: when stride, padding, output_padding or dilation make no sense.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.conv_transpose2d(np.ones((1, 3, 4, 4)), np.ones((3, 2, 2, 2)), stride=2).shape
    (1, 2, 8, 8)
    """
    return _transposed(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Node:
    """Transposed convolution in three dimensions; see `conv_transpose2d`.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.conv_transpose3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2)), stride=2).shape
    (1, 1, 4, 4, 4)
    """
    return _transposed(3, x, weight, bias, stride, padding, output_padding, groups, dilation)


__all__ = [
    "add_channels", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "sum_channels",
]
