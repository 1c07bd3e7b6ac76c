"""Pooling in 1, 2 and 3 dimensions, of inputs (batch, channels, *space): PyTorch's functions and conventions."""

from __future__ import annotations

import math
from typing import Any

from ..errors import InputError
from ..nodes import Node
from .arguments import misfit, node_of
from .elementwise import power
from .pool_kernels import Windows, all_windows_meet
from .pool_operators import (
    adaptive_avg_pool,
    adaptive_max_pool_indices,
    avg_pool,
    max_pool,
    max_pool_indices,
    pick_in_plane,
    place_in_plane,
)
from .reduce import mean
from .spatial import each_axis, with_batch, without_batch

# Windows longer than this along an axis are pooled by index: one slice for each position would be a large program.
_SLICED = 32


# Arguments --------------------------------------------------------------------------------------------------


def _windows(node: Node, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
             name: str) -> dict[str, tuple[int, ...]]:
    """The attributes of the operators."""
    space = node.ndim - 2
    how = {"kernel": each_axis(kernel, space, "kernel_size", name)}
    how["stride"] = how["kernel"] if stride is None else each_axis(stride, space, "stride", name)
    how["padding"] = each_axis(padding, space, "padding", name, least=0)
    how["dilation"] = each_axis(dilation, space, "dilation", name)
    sizes = []
    for n, k, s, p, d in zip(node.shape[2:], *how.values(), strict=True):
        reach = d * (k - 1) + 1
        if 2 * p > reach:
            raise InputError(f"{name}: padding {p} is more than half of what the window covers, {reach} elements.")
        rest = n + 2 * p - reach
        count = (-(rest // -s) if ceil_mode else rest // s) + 1
        # With ceil_mode the last window must start in the input or in the padding before it.
        count -= ceil_mode and (count - 1) * s >= n + p
        if count < 1:
            raise misfit(name, f"the window covers {reach} elements, more than the padded input {node.aval!r} has.")
        if p and d > 1 and not all_windows_meet(n, Windows(k, s, p, d, count)):
            raise misfit(name, f"a window of dilation {d} lies beside all elements of the input {node.aval!r}.")
        sizes.append(count)
    return {**how, "size": tuple(sizes)}


def _max_pool(space: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
              return_indices: bool) -> Any:
    name = f"max_pool{space}d"
    node, single = with_batch(x, space, name)
    how = _windows(node, kernel_size, stride, padding, dilation, ceil_mode, name)
    long = max(how["kernel"]) > _SLICED
    if not return_indices and not long:
        return without_batch(max_pool(node, **how), single)
    indices = max_pool_indices(node, **how)
    y = without_batch(pick_in_plane(node, indices) if long else max_pool(node, **how), single)
    return (y, without_batch(indices, single)) if return_indices else y


def _avg_pool(space: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
              count_include_pad: bool, divisor_override: int | None) -> Node:
    name = f"avg_pool{space}d"
    node, single = with_batch(x, space, name)
    how = _windows(node, kernel_size, stride, padding, 1, ceil_mode, name)
    del how["dilation"]
    if divisor_override == 0:
        raise InputError(f"{name}: divisor_override must not be zero.")
    y = avg_pool(node, **how, include_pad=count_include_pad, divisor=divisor_override)
    return without_batch(y, single)


def _sizes(node: Node, output_size: Any, name: str) -> tuple[int, ...]:
    """An int for each spatial axis; None keeps an axis."""
    space = node.ndim - 2
    wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * space
    kept = [n if m is None else m for n, m in zip(node.shape[2:], wanted, strict=False)]
    if 0 in node.shape[2:]:
        raise misfit(name, f"the input {node.aval!r} has no elements to pool.")
    return each_axis(kept if len(wanted) == space else wanted, space, "output_size", name)


def _adaptive_max_pool(space: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{space}d"
    node, single = with_batch(x, space, name)
    indices = adaptive_max_pool_indices(node, size=_sizes(node, output_size, name))
    y = without_batch(pick_in_plane(node, indices), single)
    return (y, without_batch(indices, single)) if return_indices else y


def _adaptive_avg_pool(space: int, x: Any, output_size: Any) -> Node:
    name = f"adaptive_avg_pool{space}d"
    node, single = with_batch(x, space, name)
    sizes = _sizes(node, output_size, name)
    if set(sizes) == {1}:
        return without_batch(mean(node, axis=tuple(range(2, node.ndim)), keepdims=True), single)
    return without_batch(adaptive_avg_pool(node, size=sizes), single)


def _space_of(x: Any, name: str) -> int:
    node = node_of(x, name)
    if node.ndim < 3:
        raise misfit(name, f"the input must have axes (batch, channels, *space), but it is {node.aval!r}.")
    return node.ndim - 2


def _lp_pool(space: int, x: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Node:
    elements = math.prod(each_axis(kernel_size, space, "kernel_size", f"lp_pool{space}d"))
    exponent = int(norm_type) if norm_type == int(norm_type) else norm_type
    average = _avg_pool(space, power(x, exponent), kernel_size, stride, 0, ceil_mode, True, None)
    return power(average * float(elements), 1.0 / norm_type)


def _max_unpool(space: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any,
                output_size: Any) -> Node:
    name = f"max_unpool{space}d"
    node, single = with_batch(x, space, name)
    places, _ = with_batch(indices, space, name)
    if places.shape != node.shape:
        raise misfit(name, f"the indices must have the input's shape {node.shape}, but have {places.shape}.")
    kernel = each_axis(kernel_size, space, "kernel_size", name)
    strides = kernel if stride is None else each_axis(stride, space, "stride", name)
    paddings = each_axis(padding, space, "padding", name, least=0)
    size = tuple([(n - 1) * s - 2 * p + k
                  for n, k, s, p in zip(node.shape[2:], kernel, strides, paddings, strict=True)])
    if output_size is not None:
        given = tuple(output_size)
        wanted = each_axis(given[-space:], space, "output_size", name)
        near = all(abs(m - n) < s for m, n, s in zip(wanted, size, strides, strict=True))
        if not near or len(given) > space + 2:  # where the indices, of places in the plane, would mean others
            raise InputError(f"{name}: output_size must be the shape of what was pooled, less than the stride "
                             f"{strides} from {size}, but got {given}.")
        size = wanted
    return without_batch(place_in_plane(node, places, size=size), single)


# Public functions -------------------------------------------------------------------------------------------


def max_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """Max pooling along one axis; see `max_pool2d`.

    >>> from zkynet.framework import op
    >>> op.max_pool1d([[[1.0, 3.0, 2.0, 0.0]]], 2).value.tolist()
    [[[3.0, 2.0]]]
    """
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of each window, as PyTorch's; the gradient goes to the first, if several are equal.

    Args:
        x: (batch, channels, height, width), or without the batch.
        kernel_size, stride, dilation: an int, or one for each axis; the stride is the kernel size by default.
        padding: elements around the input that are never the largest; at most half of the window.
        ceil_mode: also pool a rest that does not fill a window.
        return_indices: return (y, indices): where the elements are in the flattened plane, int32.

    Returns:
        height: floor (or ceil) of (height + 2 padding - dilation (kernel_size - 1) - 1) / stride, + 1.

    Raises:
        ShapeError: when the window is larger than the padded input.
        InputError: when the arguments make no sense.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2).value.tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """Max pooling in three dimensions; see `max_pool2d`.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.max_pool3d(np.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Node:
    """Average pooling along one axis; see `avg_pool2d`.

    >>> from zkynet.framework import op
    >>> op.avg_pool1d([[[1.0, 3.0, 2.0, 0.0]]], 2).value.tolist()
    [[[2.0, 1.0]]]
    """
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Node:
    """The average of each window, as PyTorch's.

    Args:
        x: (batch, channels, height, width), or without the batch.
        kernel_size, stride: an int, or one for each axis; the stride is the kernel size by default.
        padding: zeros around the input; at most half of the window.
        ceil_mode: also pool a rest that does not fill a window, and divide by what there is of it.
        count_include_pad: whether the padding counts as elements of the average.
        divisor_override: divide all windows by this instead.

    Raises:
        ShapeError: when the window is larger than the padded input.
        InputError: when the arguments make no sense.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2).value.tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    return _avg_pool(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Node:
    """Average pooling in three dimensions; see `avg_pool2d`.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.avg_pool3d(np.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _avg_pool(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Max pooling to a given length; see `adaptive_max_pool2d`.

    >>> from zkynet.framework import op
    >>> op.adaptive_max_pool1d([[[1.0, 3.0, 2.0]]], 2).value.tolist()
    [[[3.0, 3.0]]]
    """
    return _adaptive_max_pool(1, x, output_size, return_indices)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Max pooling to a given spatial shape: window i of m along an axis of n elements goes from floor(i n / m) up to
    ceil((i + 1) n / m), so that windows overlap where m does not divide n.

    Args:
        output_size: an int, or for each axis an int or None (which keeps it).
        return_indices: return (y, indices): where the elements are in the flattened plane, int32.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.adaptive_max_pool2d(np.ones((1, 2, 5, 7)), (3, None)).shape
    (1, 2, 3, 7)
    """
    return _adaptive_max_pool(2, x, output_size, return_indices)


def adaptive_max_pool3d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Max pooling to a given spatial shape; see `adaptive_max_pool2d`.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.adaptive_max_pool3d(np.ones((1, 2, 3, 4, 5)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _adaptive_max_pool(3, x, output_size, return_indices)


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Node:
    """Average pooling to a given length; see `adaptive_avg_pool2d`.

    >>> from zkynet.framework import op
    >>> op.adaptive_avg_pool1d([[[1.0, 3.0, 2.0]]], 2).value.tolist()
    [[[2.0, 2.5]]]
    """
    return _adaptive_avg_pool(1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Node:
    """Average pooling to a given spatial shape, with the windows of `adaptive_max_pool2d`.

    Args:
        output_size: an int, or for each axis an int or None (which keeps it).

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.adaptive_avg_pool2d(np.ones((1, 2, 5, 7)), (3, None)).shape
    (1, 2, 3, 7)
    """
    return _adaptive_avg_pool(2, x, output_size)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Node:
    """Average pooling to a given spatial shape; see `adaptive_avg_pool2d`.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.adaptive_avg_pool3d(np.ones((1, 2, 3, 4, 5)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _adaptive_avg_pool(3, x, output_size)


def global_avg_pool(x: Any) -> Node:
    """The average of each plane: (batch, channels, *space) to (batch, channels, 1, ...).

    >>> from zkynet.framework import op
    >>> op.global_avg_pool([[[1.0, 3.0, 2.0]]]).value.tolist()
    [[[2.0]]]
    """
    return _adaptive_avg_pool(_space_of(x, "global_avg_pool"), x, 1)


def global_max_pool(x: Any) -> Node:
    """The largest element of each plane: (batch, channels, *space) to (batch, channels, 1, ...).

    >>> from zkynet.framework import op
    >>> op.global_max_pool([[[1.0, 3.0, 2.0]]]).value.tolist()
    [[[3.0]]]
    """
    return _adaptive_max_pool(_space_of(x, "global_max_pool"), x, 1, False)


def lp_pool1d(x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Node:
    """Power-average pooling along one axis; see `lp_pool2d`.

    >>> from zkynet.framework import op
    >>> op.lp_pool1d([[[3.0, 4.0]]], 2, 2).value.tolist()
    [[[5.0]]]
    """
    return _lp_pool(1, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Node:
    """y = (sum of x^p over the window)^(1/p), as PyTorch's: with ceil_mode a window at the edge counts as if full.

    The derivative is infinite where the sum is zero.

    >>> from zkynet.framework import op
    >>> op.lp_pool2d([[[[3.0, 4.0]]]], 2, (1, 2)).value.tolist()
    [[[[5.0]]]]
    """
    return _lp_pool(2, x, norm_type, kernel_size, stride, ceil_mode)


def max_unpool1d(x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Node:
    """The partial inverse of `max_pool1d`; see `max_unpool2d`.

    >>> from zkynet.framework import op
    >>> y, indices = op.max_pool1d([[[1.0, 3.0, 2.0, 0.0]]], 2, return_indices=True)
    >>> op.max_unpool1d(y, indices, 2).value.tolist()
    [[[0.0, 3.0, 2.0, 0.0]]]
    """
    return _max_unpool(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Node:
    """The partial inverse of `max_pool2d`: x at the places it came from, zeros elsewhere.

    Args:
        x, indices: what `max_pool2d(..., return_indices=True)` returned.
        kernel_size, stride, padding: those of the pooling.
        output_size: the spatial shape (or whole shape) of what was pooled, which a rest leaves open.

    Raises:
        ShapeError: when the indices have another shape than x.
        InputError: when the arguments make no sense, or output_size is not that of anything that was pooled so.

    Where windows overlapped and chose the same element, one of their values stays (on CPU the last) and, as in PyTorch,
    each of them has the gradient of that place. An index outside is dropped.

    >>> from zkynet.framework import op
    >>> y, indices = op.max_pool2d([[[[1.0, 3.0], [2.0, 0.0]]]], 2, return_indices=True)
    >>> op.max_unpool2d(y, indices, 2).value.tolist()
    [[[[0.0, 3.0], [0.0, 0.0]]]]
    """
    return _max_unpool(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Node:
    """The partial inverse of `max_pool3d`; see `max_unpool2d`.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.max_unpool3d(np.ones((1, 1, 1, 1, 1)), np.zeros((1, 1, 1, 1, 1), int), 2).shape
    (1, 1, 2, 2, 2)
    """
    return _max_unpool(3, x, indices, kernel_size, stride, padding, output_size)


__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "global_avg_pool", "global_max_pool", "lp_pool1d",
    "lp_pool2d", "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d",
]
