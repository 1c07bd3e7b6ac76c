"""Shape, dtype and layout: what moves elements without computing on them."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..nodes import Engine, Node
from .arguments import axis_of, misfit, node_of
from .create import basis as basis
from .create import full as full
from .registry import builtin

# Dtype and gradient flow ------------------------------------------------------------------------------------


@builtin
def cast(x, *, dtype):
    """y = x in another dtype. The gradient is cast back; none flows through an integer or boolean dtype.

    >>> from zkynet.framework import op
    >>> op.cast(1.7, "int32").value.tolist()
    1
    """
    return x.astype(dtype)


@cast.def_vjp
def _(g, y, x, *, dtype):
    return (cast(g, dtype=x.dtype) if x.aval.inexact else g,)


@builtin(no_gradient=True)
def stop_gradient(x):
    """y = x, with no gradient.

    >>> import zkynet
    >>> from zkynet.framework import op
    >>> float(zkynet.grad(lambda x: x * op.stop_gradient(x))(3.0))
    3.0
    """
    return x


@builtin
def barrier(*inputs):
    """y = x for each input, across which the compiler may not move or merge computations.

    >>> from zkynet.framework.operators.shape import barrier
    >>> [float(y.value) for y in barrier(1.0, 2.0)]
    [1.0, 2.0]
    """
    return jax.lax.optimization_barrier(tuple(inputs))


@barrier.def_vjp
def _(g, y, *inputs):
    return g


# Broadcasting -----------------------------------------------------------------------------------------------


@builtin
def broadcast_to(x, *, shape):
    """y = x repeated to `shape` by NumPy's broadcasting rules.

    >>> from zkynet.framework import op
    >>> op.broadcast_to(1.0, (2,)).value.tolist()
    [1.0, 1.0]
    """
    return jnp.broadcast_to(x, shape)


@broadcast_to.def_vjp
def _(g, y, x, *, shape):
    return (sum_to(g, shape=x.shape),)


@builtin
def sum_to(x, *, shape):
    """The transpose of `broadcast_to`: the sum over the axes along which `shape` was broadcast to x.shape.

    >>> from zkynet.framework.operators.shape import sum_to
    >>> sum_to([[1.0, 2.0], [3.0, 4.0]], (2, 1)).value.tolist()
    [[3.0], [7.0]]
    """
    extra = x.ndim - len(shape)
    if extra < 0 or np.broadcast_shapes(shape, x.shape) != x.shape:
        raise ValueError(f"{tuple(shape)} does not broadcast to {x.shape}")
    summed = [i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1]
    axes = (*range(extra), *summed)
    return jnp.sum(x, axes, keepdims=True).reshape(shape)


@sum_to.def_vjp
def _(g, y, x, *, shape):
    return (broadcast_to(g, shape=x.shape),)


# Layout -----------------------------------------------------------------------------------------------------


@builtin
def reshape(x, *, shape):
    """y = x with the same elements, in row-major order, in another shape; one -1 is inferred.

    >>> from zkynet.framework import op
    >>> op.reshape([1.0, 2.0], (-1, 1)).value.tolist()
    [[1.0], [2.0]]
    """
    return jnp.reshape(x, shape)


def _as_before(g, y, x, **attributes):
    """The rule of everything that only reshapes."""
    return (reshape(g, shape=x.shape),)


reshape.def_vjp(_as_before)


@builtin
def expand_dims(x, *, axis):
    """y = x with axes of length 1 inserted, so that they are at the position(s) `axis` of y.

    >>> from zkynet.framework import op
    >>> op.expand_dims([1.0, 2.0], 0).shape
    (1, 2)
    """
    return jnp.expand_dims(x, axis)


expand_dims.def_vjp(_as_before)


@builtin
def squeeze(x, *, axis=None):
    """y = x without the axes `axis`, which must have length 1; without all such axes by default.

    >>> from zkynet.framework import op
    >>> op.squeeze([[1.0, 2.0]]).shape
    (2,)
    """
    return jnp.squeeze(x, axis)


squeeze.def_vjp(_as_before)


def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Node:
    """y = x with the axes from `start_axis` to `end_axis` (included) merged into one; a scalar becomes (1,).

    Raises:
        ShapeError: when an axis is out of range, or the end is before the start.

    >>> from zkynet.framework import op
    >>> op.flatten([[[1.0, 2.0]], [[3.0, 4.0]]], start_axis=1).shape
    (2, 2)
    """
    node = node_of(x, "flatten")
    if not node.ndim:
        return reshape(node, shape=(1,))
    start, end = axis_of(start_axis, node.ndim, "flatten"), axis_of(end_axis, node.ndim, "flatten")
    if end < start:
        raise misfit("flatten", f"end_axis {end_axis} is before start_axis {start_axis}.")
    merged = math.prod(node.shape[start:end + 1])
    return reshape(node, shape=(*node.shape[:start], merged, *node.shape[end + 1:]))


@builtin
def transpose(x, *, axes=None):
    """y = x with its axes permuted: axis i of y is axis axes[i] of x; reversed by default.

    >>> from zkynet.framework import op
    >>> op.transpose([[1.0, 2.0]]).value.tolist()
    [[1.0], [2.0]]
    """
    return jnp.transpose(x, axes)


@transpose.def_vjp
def _(g, y, x, *, axes):
    if axes is not None:
        axes = np.argsort([axis % x.ndim for axis in axes]).tolist()
    return (transpose(g, axes=axes),)


@builtin
def moveaxis(x, *, source, destination):
    """y = x with some axes moved to new positions; the others keep their order.

    >>> from zkynet.framework import op
    >>> op.moveaxis(op.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return jnp.moveaxis(x, source, destination)


@moveaxis.def_vjp
def _(g, y, x, *, source, destination):
    return (moveaxis(g, source=destination, destination=source),)


@builtin
def swapaxes(x, *, axis1, axis2):
    """y = x with two axes exchanged.

    >>> from zkynet.framework import op
    >>> op.swapaxes(op.zeros((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    return jnp.swapaxes(x, axis1, axis2)


@swapaxes.def_vjp
def _(g, y, x, *, axis1, axis2):
    return (swapaxes(g, axis1=axis1, axis2=axis2),)


# Joining and splitting --------------------------------------------------------------------------------------


@builtin
def concat(*inputs, axis=0):
    """The inputs one after the other along an existing axis: `op.concat([a, b], axis=1)`.

    Other axes must have equal lengths; dtypes are promoted.

    >>> from zkynet.framework import op
    >>> op.concat([[1.0], [2.0, 3.0]]).value.tolist()
    [1.0, 2.0, 3.0]
    """
    return jnp.concatenate(inputs, axis)


@concat.def_vjp
def _(g, y, *inputs, axis):
    return sections(g, sizes=tuple(n.shape[axis] for n in inputs), axis=axis)


@builtin
def stack(*inputs, axis=0):
    """The inputs, all of one shape, along a new axis: `op.stack([a, b], axis=-1)`.

    >>> from zkynet.framework import op
    >>> op.stack([1.0, 2.0]).value.tolist()
    [1.0, 2.0]
    """
    return jnp.stack(inputs, axis)


@stack.def_vjp
def _(g, y, *inputs, axis):
    parts = sections(g, sizes=(1,) * len(inputs), axis=axis)
    return tuple([reshape(part, shape=n.shape) for part, n in zip(parts, inputs, strict=True)])


@builtin(name="split")
def sections(x, *, sizes, axis):
    """Consecutive parts of x along an axis, of the given sizes."""
    return tuple(jax.lax.split(x, sizes, axis % x.ndim))


@sections.def_vjp
def _(g, y, x, *, sizes, axis):
    return (concat(*g, axis=axis),)


def split(x: Any, sections_or_sizes: int | Sequence[int], axis: int = 0) -> tuple[Node, ...]:
    """Cut x along an axis into an equal number of parts (an int, as in NumPy) or parts of given sizes.

    Raises:
        ShapeError: when the length is not divisible, or the sizes do not add up to it.

    >>> from zkynet.framework import op
    >>> [part.shape for part in op.split(op.zeros((6, 2)), 3)]
    [(2, 2), (2, 2), (2, 2)]
    >>> [part.shape for part in op.split(op.zeros(6), [1, 5])]
    [(1,), (5,)]
    """
    node = node_of(x, "split")
    axis = axis_of(axis, node.ndim, "split")
    length = node.shape[axis]
    if isinstance(sections_or_sizes, (int, np.integer)):
        count = int(sections_or_sizes)
        if count < 1 or length % count:
            raise misfit("split", f"axis {axis} of {node.aval!r} has length {length}, which is not divisible "
                                  f"into {count} equal parts. Give the sizes as a list.")
        sizes = (length // count,) * count
    else:
        sizes = tuple([int(size) for size in sections_or_sizes])
        if builtins.sum(sizes) != length or builtins.min(sizes, default=-1) < 0:
            raise misfit("split", f"the sizes {sizes} must add up to {length}, the length of axis {axis} "
                                  f"of {node.aval!r}.")
    return sections(node, sizes=sizes, axis=axis)


# Slices ---------------------------------------------------------------------------------------------------


@builtin(name="slice")
def cut(x, *, starts, stops, steps):
    """y[i] = x[starts + i * steps], up to `stops`: one (start, stop, step > 0) for each axis."""
    return jax.lax.slice(x, starts, stops, steps)


@cut.def_vjp
def _(g, y, x, *, starts, stops, steps):
    return (place(g, shape=x.shape, starts=starts, steps=steps),)


@builtin
def place(x, *, shape, starts, steps):
    """The transpose of a slice: zeros of `shape` with y[starts + i * steps] = x[i].

    >>> from zkynet.framework.operators.shape import place
    >>> place([1.0, 2.0], shape=(4,), starts=(1,), steps=(2,)).value.tolist()
    [0.0, 1.0, 0.0, 2.0]
    """
    widths = []
    for length, start, step, count in zip(shape, starts, steps, x.shape, strict=True):
        covered = (count - 1) * step + 1 if count else 0
        if start < 0 or start + covered > length:
            raise ValueError(f"{count} elements from {start} on in steps of {step} do not fit into {length}")
        widths.append((start, length - start - covered, step - 1))
    return jax.lax.pad(x, jnp.zeros((), x.dtype), widths)


@place.def_vjp
def _(g, y, x, *, shape, starts, steps):
    return (taken(g, starts, x.shape, steps),)


def taken(x: Node, starts: Sequence[int], counts: Sequence[int], steps: Sequence[int]) -> Node:
    stops = tuple([start + ((count - 1) * step + 1 if count else 0)
                   for start, count, step in zip(starts, counts, steps, strict=True)])
    return cut(x, starts=tuple(starts), stops=stops, steps=tuple(steps))


def cut_axis(x: Any, axis: int, start: int, stop: int) -> Any:
    """x[start:stop] along one axis."""
    starts = tuple([start if i == axis else 0 for i in range(x.ndim)])
    stops = tuple([stop if i == axis else n for i, n in enumerate(x.shape)])
    return cut(x, starts=starts, stops=stops, steps=(1,) * x.ndim)


def place_axis(x: Node, axis: int, start: int, length: int) -> Node:
    """Zeros with x at `start` along one axis, which becomes `length` long."""
    starts = tuple([start if i == axis else 0 for i in range(x.ndim)])
    shape = tuple([length if i == axis else n for i, n in enumerate(x.shape)])
    return place(x, shape=shape, starts=starts, steps=(1,) * x.ndim)


@builtin
def flip(x, *, axis=None):
    """y = x with the order of elements reversed along the given axes (all by default).

    >>> from zkynet.framework import op
    >>> op.flip([1.0, 2.0]).value.tolist()
    [2.0, 1.0]
    """
    return jnp.flip(x, axis)


@flip.def_vjp
def _(g, y, x, *, axis):
    return (flip(g, axis=axis),)


# Repetition -------------------------------------------------------------------------------------------------


@builtin
def roll(x, *, shift, axis=None):
    """y[i] = x[i - shift], around the end; along `axis`, or along the flattened array by default.

    Several axes take as many shifts: `op.roll(x, (1, -1), (0, 1))`.

    >>> from zkynet.framework import op
    >>> op.roll([1.0, 2.0, 3.0], 1).value.tolist()
    [3.0, 1.0, 2.0]
    """
    return jnp.roll(x, shift, axis)


@roll.def_vjp
def _(g, y, x, *, shift, axis):
    return (roll(g, shift=tuple([-s for s in shift]) if isinstance(shift, tuple) else -shift, axis=axis),)


@builtin(name="repeat")
def repeated(x, *, repeats, axis):
    """Every element along an axis `repeats` times in a row."""
    return jnp.repeat(x, repeats, axis)


@repeated.def_vjp
def _(g, y, x, *, repeats, axis):
    shape = x.shape
    one_each = (*shape[:axis + 1], 1, *shape[axis + 1:])
    apart = reshape(g, shape=(*shape[:axis + 1], repeats, *shape[axis + 1:]))
    return (reshape(sum_to(apart, shape=one_each), shape=shape),)


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Node:
    """Every element `repeats` times in a row along an axis; along the flattened array by default.

    Args:
        repeats: an int, or one for each element along the axis.

    Raises:
        ShapeError: when there is not one count for each element.

    >>> from zkynet.framework import op
    >>> op.repeat([1.0, 2.0], 2).value.tolist(), op.repeat([1.0, 2.0], [1, 2]).value.tolist()
    ([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 2.0])
    """
    node = node_of(x, "repeat")
    if axis is None:
        node, axis = flatten(node), 0
    axis = axis_of(axis, node.ndim, "repeat")
    if isinstance(repeats, (int, np.integer)):
        if repeats < 0:
            raise misfit("repeat", f"repeats must not be negative, but got {repeats}.")
        return repeated(node, repeats=int(repeats), axis=axis)
    from .index import take

    counts = np.asarray(repeats)
    length = node.shape[axis]
    if counts.shape != (length,) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise misfit("repeat", f"needs one count >= 0 for each of the {length} elements along axis {axis} of "
                               f"{node.aval!r}, but got {repeats!r}.")
    return take(node, np.repeat(np.arange(length), counts), axis)


@builtin
def tile(x, *, reps):
    """The whole of x repeated: reps[i] times along axis i (counted from the last axis when there are fewer).

    >>> from zkynet.framework import op
    >>> op.tile([1.0, 2.0], 2).value.tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    return jnp.tile(x, reps)


@tile.def_vjp
def _(g, y, x, *, reps):
    reps = reps if isinstance(reps, tuple) else (reps,)
    reps = (1,) * (x.ndim - len(reps)) + reps
    shape = (1,) * (len(reps) - x.ndim) + x.shape
    apart = reshape(g, shape=tuple([size for pair in zip(reps, shape, strict=True) for size in pair]))
    once = sum_to(apart, shape=tuple([size for n in shape for size in (1, n)]))
    return (reshape(once, shape=x.shape),)


Engine.symbols["transpose"] = transpose

__all__ = [
    "broadcast_to", "cast", "concat", "expand_dims", "flatten", "flip", "moveaxis", "repeat", "reshape", "roll",
    "split", "squeeze", "stack", "stop_gradient", "swapaxes", "tile", "transpose",
]
