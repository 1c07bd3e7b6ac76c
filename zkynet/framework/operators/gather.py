"""Gathering and scattering along one axis, and windows at positions that are computed.

Positions out of range are treated as in `index`.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..nodes import Node
from .arguments import OutOfRange, axis_of, misfit, node_of
from .create import default_dtype, zeros
from .index import mode_of
from .registry import builtin
from .shape import broadcast_to, cut, cut_axis, flatten, reshape, sum_to

# Along an axis ----------------------------------------------------------------------------------------------


@builtin(name="gather", no_gradient=("indices",))
def gathered(x, indices, *, axis, outside):
    """y[i, j, k] = x[indices[i, j, k], j, k] for axis 0; see `gather`."""
    own = tuple([n if d == axis else m for d, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True))])
    x = jax.lax.slice(x, (0,) * x.ndim, own)
    fill = 0 if outside == "zero" else None
    return jnp.take_along_axis(x, indices, axis, fill_value=fill, **mode_of(outside))


@gathered.def_vjp
def _(g, y, x, indices, *, axis, outside):
    return (scattered(zeros(x.shape, g.dtype), indices, g, axis=axis, outside=outside), indices)


@builtin(name="scatter_add", no_gradient=("indices",))
def scattered(x, indices, values, *, axis, outside):
    """y = x, then y[indices[i, j, k], j, k] += values[i, j, k] for axis 0; see `scatter_add`."""
    values = jnp.broadcast_to(values, indices.shape).astype(x.dtype)
    own = tuple([n if d == axis else m for d, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True))])
    part = _scattered_lines(jax.lax.slice(x, (0,) * x.ndim, own), indices, values, axis, outside)
    return part if own == x.shape else jax.lax.dynamic_update_slice(x, part, (0,) * x.ndim)


def _scattered_lines(x: jax.Array, indices: Any, values: Any, axis: int, outside: str | None) -> jax.Array:
    """`scatter_add` where the positions have the lengths of x along all other axes."""
    if indices.shape[axis] == 1:
        # One position for each line: comparing beats scattering, and melts into what surrounds it.
        indices = indices.astype(np.int32)  # small ones could not count to the end of the axis
        places = jax.lax.broadcasted_iota(indices.dtype, x.shape, axis)
        wrapped = jnp.where(indices < 0, indices + x.shape[axis], indices)
        return x + jnp.where(places == wrapped, values, jnp.zeros((), x.dtype))
    moved = [jnp.moveaxis(a, axis, -1) for a in (x, indices, values)]
    lines = [a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) for a in moved]
    part = jax.vmap(lambda line, i, v: line.at[i].add(v, **mode_of(outside)))(*lines)
    return jnp.moveaxis(part.reshape(moved[0].shape), -1, axis)


@scattered.def_vjp
def _(g, y, x, indices, values, *, axis, outside):
    part = gathered(g, indices, axis=axis, outside=outside and "zero")
    return g, indices, sum_to(part, shape=values.shape)


def _position_node(indices: Any, length: int, name: str) -> tuple[Node, str | None]:
    """Integer positions along an axis as a node, and what happens outside; those known on the host are checked."""
    if isinstance(indices, (list, np.ndarray, int)):
        array = np.asarray(indices)
        if array.dtype.kind in "iu":
            if array.size and not (-length <= array.min() and array.max() < length):
                raise misfit(name, f"positions from {array.min()} to {array.max()} for an axis of length {length}.",
                             OutOfRange)
            return node_of(np.where(array < 0, array + length, array).astype(np.int32), name), None
    node = node_of(indices, name)
    if node.dtype.kind not in "iu":
        raise InputError(f"{name}: positions must be integers, but got {node.dtype.name}.")
    return node, "nan"


def gather(x: Any, indices: Any, axis: int = 0) -> Node:
    """y[i, j, k] = x[indices[i, j, k], j, k] for axis 0, likewise for others; PyTorch's gather, indices before axis.

    `indices` has as many axes as x; where it is shorter along another axis than x, the rest of x is not read.

    Raises:
        ShapeError: when it is longer there, or has not as many axes.

    >>> from zkynet.framework import op
    >>> op.gather([[1.0, 2.0], [3.0, 4.0]], [[0], [1]], axis=1).value.tolist()
    [[1.0], [4.0]]
    """
    node = node_of(x, "gather")
    axis = axis_of(axis, node.ndim, "gather")
    positions, outside = _position_node(indices, node.shape[axis], "gather")
    _check_lines(node, positions, axis, "gather")
    return gathered(node, positions, axis=axis, outside=outside)


def _check_lines(x: Node, positions: Node, axis: int, name: str) -> None:
    if positions.ndim != x.ndim or builtins.any(
            [m > n for d, (n, m) in enumerate(zip(x.shape, positions.shape, strict=True)) if d != axis]):
        raise misfit(name, f"positions {positions.aval!r} do not fit {x.aval!r} along axis {axis}: they need as many "
                           "axes, none of them longer except that one.")


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Node:
    """As `gather`, but x and indices broadcast along the other axes (NumPy); what `argsort` and `argmax` give.

    >>> from zkynet.framework import op
    >>> op.take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[0]], axis=1).value.tolist()
    [[1.0], [3.0]]
    """
    node = node_of(x, "take_along_axis")
    node, axis = (flatten(node), 0) if axis is None else (node, axis_of(axis, node.ndim, "take_along_axis"))
    positions, outside = _position_node(indices, node.shape[axis], "take_along_axis")
    if positions.ndim != node.ndim:
        raise misfit("take_along_axis", f"positions {positions.aval!r} need as many axes as {node.aval!r}.")
    try:
        common = np.broadcast_shapes(*[(*n.shape[:axis], 1, *n.shape[axis + 1:]) for n in (node, positions)])
    except ValueError:
        raise misfit("take_along_axis", f"positions {positions.aval!r} do not broadcast with {node.aval!r} beside "
                                        f"axis {axis}.") from None
    node, positions = (_widened(n, common, axis) for n in (node, positions))
    return gathered(node, positions, axis=axis, outside=outside)


def _widened(node: Node, common: tuple[int, ...], axis: int) -> Node:
    shape = (*common[:axis], node.shape[axis], *common[axis + 1:])
    return node if node.shape == shape else broadcast_to(node, shape=shape)


def scatter_add(x: Any, indices: Any, values: Any, axis: int = 0) -> Node:
    """A copy of x with y[indices[i, j, k], j, k] += values[i, j, k] for axis 0, likewise for others.

    PyTorch's scatter_add with the axis last; the transpose of `gather`. `values` broadcasts to `indices`.

    >>> from zkynet.framework import op
    >>> op.scatter_add([0.0, 0.0], [1, 1, 0], [1.0, 2.0, 4.0]).value.tolist()
    [4.0, 3.0]
    """
    node = node_of(x, "scatter_add")
    axis = axis_of(axis, node.ndim, "scatter_add")
    positions, outside = _position_node(indices, node.shape[axis], "scatter_add")
    _check_lines(node, positions, axis, "scatter_add")
    return scattered(node, positions, node_of(values, "scatter_add"), axis=axis, outside=outside)


@builtin(name="one_hot", no_gradient=True)
def marked(indices, *, num_classes, dtype, axis):
    """1 at the positions along a new axis; see `one_hot`."""
    return jax.nn.one_hot(indices, num_classes, dtype=dtype, axis=axis)


def one_hot(indices: Any, num_classes: int, dtype: Any = None, axis: int = -1) -> Node:
    """A new axis of length `num_classes` with a 1 at the position given, zeros elsewhere (everywhere, for a position
    out of range); float32 (or the precision in force) by default. It has no gradient.

    >>> from zkynet.framework import op
    >>> op.one_hot([0, 2], 3).value.tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    dtype = default_dtype() if dtype is None else jax.dtypes.canonicalize_dtype(dtype)
    return marked(node_of(indices, "one_hot"), num_classes=num_classes, dtype=dtype, axis=axis)


# Windows at computed positions ------------------------------------------------------------------------------


@builtin(name="dynamic_slice", no_gradient=("starts",))
def window(x, *starts, sizes):
    """The part of x of the given sizes from `starts` on; see `dynamic_slice`."""
    return jax.lax.dynamic_slice(x, starts, sizes)


@window.def_vjp
def _(g, y, x, *starts, sizes):
    return (window_added(zeros(x.shape, g.dtype), g, *starts), *starts)


@builtin(no_gradient=("starts",), name="dynamic_add_slice")
def window_added(x, values, *starts):
    """x with `values` added from `starts` on; the transpose of `dynamic_slice`, whose gradient it is."""
    present = jax.lax.dynamic_slice(x, starts, values.shape)
    return jax.lax.dynamic_update_slice(x, present + values.astype(x.dtype), starts)


@window_added.def_vjp
def _(g, y, x, values, *starts):
    return (g, window(g, *starts, sizes=values.shape), *starts)


@builtin(name="dynamic_update_slice", no_gradient=("starts",))
def replaced(x, values, *starts):
    """x with `values` from `starts` on; see `dynamic_update_slice`."""
    return jax.lax.dynamic_update_slice(x, values.astype(x.dtype), starts)


@replaced.def_vjp
def _(g, y, x, values, *starts):
    return (replaced(g, zeros(values.shape, g.dtype), *starts), window(g, *starts, sizes=values.shape), *starts)


def _starts(starts: Any, node: Node, name: str) -> list[Any]:
    """One start an axis, from a sequence of ints and nodes or from one node with an element an axis."""
    found = list(starts) if isinstance(starts, (list, tuple)) else None
    if found is None:
        vector = node_of(starts, name)
        if vector.ndim == 0 and node.ndim == 1:
            found = [vector]
        else:
            found = [reshape(cut_axis(vector, 0, i, i + 1), shape=()) for i in range(vector.shape[0])]
    if len(found) != node.ndim:
        raise misfit(name, f"needs one start for each of the {node.ndim} axes of {node.aval!r}, but got {len(found)}.")
    return found


def dynamic_slice(x: Any, starts: Any, sizes: Sequence[int]) -> Node:
    """The part of x of static `sizes` from `starts` on, which may be nodes: one for each axis.

    A start from which the part would not fit is moved so that it does.

    >>> from zkynet.framework import op
    >>> op.dynamic_slice([1.0, 2.0, 3.0], [op.argmax([0, 1])], (2,)).value.tolist()
    [2.0, 3.0]
    """
    node = node_of(x, "dynamic_slice")
    return window(node, *_starts(starts, node, "dynamic_slice"), sizes=tuple(sizes))


def dynamic_update_slice(x: Any, values: Any, starts: Any) -> Node:
    """A copy of x with `values` (as many axes, none longer) from `starts` on; differentiable in x and values.

    A start from which the values would not fit is moved so that they do.

    >>> from zkynet.framework import op
    >>> op.dynamic_update_slice([1.0, 2.0, 3.0], [9.0], [1]).value.tolist()
    [1.0, 9.0, 3.0]
    """
    node = node_of(x, "dynamic_update_slice")
    values = node_of(values, "dynamic_update_slice")
    return replaced(node, values, *_starts(starts, node, "dynamic_update_slice"))


def slice(x: Any, starts: Any, sizes: Sequence[int]) -> Node:
    """The part of x of the given sizes from `starts` on: one start (an int or a node) and one size for each axis.

    Raises:
        OutOfRange: when starts are ints and the part reaches beyond x. With nodes see `dynamic_slice`.

    >>> from zkynet.framework import op
    >>> op.slice([1.0, 2.0, 3.0], (1,), (2,)).value.tolist()
    [2.0, 3.0]
    """
    node = node_of(x, "slice")
    given = _starts(starts, node, "slice")
    if not builtins.all([isinstance(start, (int, np.integer)) for start in given]):
        return window(node, *given, sizes=tuple(sizes))
    stops = tuple([int(start) + size for start, size in zip(given, sizes, strict=True)])
    if builtins.any([not 0 <= a <= b <= n for a, b, n in zip(given, stops, node.shape, strict=True)]):
        raise misfit("slice", f"from {tuple(given)} to {stops} is not within {node.aval!r}.", OutOfRange)
    return cut(node, starts=tuple(map(int, given)), stops=stops, steps=(1,) * node.ndim)


__all__ = [
    "dynamic_slice", "dynamic_update_slice", "gather", "one_hot", "scatter_add", "slice", "take_along_axis",
]
