"""Padding in four modes."""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..nodes import Node
from .arguments import axis_of, is_int, misfit, node_of
from .registry import builtin
from .shape import cut_axis, flip, place_axis, sum_to


@builtin(name="pad")
def padded(x, *, widths, mode, value):
    """x with (before, after) elements more along each axis; see `pad`."""
    if mode == "constant":
        return jax.lax.pad(x, jnp.asarray(value, x.dtype), [(before, after, 0) for before, after in widths])
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = jnp.concatenate(_extended(x, axis, before, after, mode), axis)
    return x


def _extended(x: jax.Array, axis: int, before: int, after: int, mode: str) -> list[jax.Array]:
    n = x.shape[axis]

    def part(start: int, stop: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, start, stop, axis=axis)

    def copies(start: int, count: int) -> jax.Array:
        shape = tuple([count if i == axis else size for i, size in enumerate(x.shape)])
        return jnp.broadcast_to(part(start, start + 1), shape)

    if mode == "reflect":
        return [jnp.flip(part(1, 1 + before), axis), x, jnp.flip(part(n - 1 - after, n - 1), axis)]
    if mode == "circular":
        return [part(n - before, n), x, part(0, after)]
    return [copies(0, before), x, copies(n - 1, after)]


@padded.def_vjp
def _(g, y, x, *, widths, mode, value):
    if mode == "constant":
        return (padded(g, widths=tuple([(-before, -after) for before, after in widths]), mode=mode, value=0),)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            g = _folded(g, axis, before, after, mode)
    return (g,)


def _folded(g: Node, axis: int, before: int, after: int, mode: str) -> Node:
    """Add what came from the padding along one axis to the elements it was copied from."""
    n = g.shape[axis] - before - after
    total = cut_axis(g, axis, before, before + n)
    for start, count, at in ((0, before, (1, n - before, 0)), (before + n, after, (n - 1 - after, 0, n - 1))):
        if not count:
            continue
        part = cut_axis(g, axis, start, start + count)
        if mode == "reflect":
            part = place_axis(flip(part, axis=axis), axis, at[0], n)
        elif mode == "circular":
            part = place_axis(part, axis, at[1], n)
        else:
            one = tuple([1 if i == axis else size for i, size in enumerate(part.shape)])
            part = place_axis(sum_to(part, shape=one), axis, at[2], n)
        total = total + part
    return total


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "replicate", "edge": "replicate",
              "circular": "circular", "wrap": "circular"}


def pad(x: Any, widths: Any, mode: str = "constant", value: float = 0) -> Node:
    """Lengthen axes on both sides: abc becomes, with two elements on each side,

    - "constant": vv abc vv with v = `value`; negative widths crop,
    - "reflect": cb abc ba, at most length - 1 elements,
    - "replicate" (NumPy's "edge"): aa abc cc,
    - "circular" (NumPy's "wrap"): bc abc ab, at most length elements.

    Args:
        widths: an int or one pair (before, after) for all axes, a sequence of one pair for each axis, or a
            dict from axis to int or pair, for some axes only.
        value: a Python number, for "constant".

    Raises:
        ShapeError: when the widths do not fit the array.
        InputError: for another mode.

    >>> from zkynet.framework import op
    >>> op.pad([1.0, 2.0, 3.0], (2, 1), mode="reflect").value.tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    >>> op.pad([[1.0]], {1: (0, 2)}).value.tolist()
    [[1.0, 0.0, 0.0]]
    """
    node = node_of(x, "pad")
    known = _PAD_MODES.get(mode)
    if known is None:
        raise InputError(f"pad: unknown mode {mode!r}; choose one of {', '.join(_PAD_MODES)}.")
    pairs = _pairs(widths, node)
    for axis, (before, after) in enumerate(pairs):
        _check_widths(node, axis, before, after, known)
    return padded(node, widths=pairs, mode=known, value=value)


def _check_widths(node: Node, axis: int, before: int, after: int, mode: str) -> None:
    n = node.shape[axis]
    if mode == "constant":
        if n + before + after < 0 or n + builtins.min(before, 0) + builtins.min(after, 0) < 0:
            raise misfit("pad", f"widths {(before, after)} crop more than axis {axis} of {node.aval!r} has.")
        return
    most = {"reflect": n - 1, "circular": n}.get(mode, math.inf if n else 0)
    if not (before == after == 0) and not (0 <= before <= most and 0 <= after <= most):
        raise misfit("pad", f"mode {mode!r} allows widths from 0 to {most} for axis {axis} of {node.aval!r}, "
                            f"but got {(before, after)}.")


def _pairs(widths: Any, node: Node) -> tuple[tuple[int, int], ...]:
    """One (before, after) for each axis."""
    if isinstance(widths, Mapping):
        found = [(0, 0)] * node.ndim
        for axis, width in widths.items():
            found[axis_of(axis, node.ndim, "pad")] = _pair(width)
        return tuple(found)
    if not isinstance(widths, (list, tuple, np.ndarray)) or (len(widths) == 2 and all(map(is_int, widths))):
        return (_pair(widths),) * node.ndim
    found = [_pair(width) for width in widths]
    if len(found) != node.ndim:
        raise misfit("pad", f"got widths for {len(found)} axes of {node.aval!r}. Give one pair for each axis, "
                            "or a dict from axis to pair.")
    return tuple(found)


def _pair(width: Any) -> tuple[int, int]:
    both = (width, width) if is_int(width) else width
    if not isinstance(both, (list, tuple, np.ndarray)) or len(both) != 2 or not all(map(is_int, both)):
        raise InputError(f"pad: a width is an int or a pair (before, after) of ints, but got {width!r}.")
    return int(both[0]), int(both[1])


__all__ = ["pad"]
