"""Arguments of convolution and pooling."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..nodes import Node
from .arguments import is_int, misfit, node_of
from .shape import reshape


def each_axis(value: Any, count: int, what: str, name: str, least: int = 1) -> tuple[int, ...]:
    """One int for each spatial axis, from one for all or one for each."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    if len(values) != count or not all(is_int(v) and v >= least for v in values):
        raise InputError(f"{name}: {what} must be an int >= {least} or {count} of them, but got {value!r}.")
    return tuple([int(v) for v in values])


def with_batch(x: Any, space: int, name: str) -> tuple[Node, bool]:
    """The node of an input (batch, channels, *space); and whether the batch axis had to be added."""
    node = node_of(x, name)
    if node.ndim not in (space + 1, space + 2):
        raise misfit(name, f"the input must have {space + 2} axes (batch, channels, space) or {space + 1} without the "
                           f"batch, but it is {node.aval!r}.")
    single = node.ndim == space + 1
    return reshape(node, shape=(1, *node.shape)) if single else node, single


def without_batch(y: Node, single: bool) -> Node:
    """Undo `with_batch`."""
    return reshape(y, shape=y.shape[1:]) if single else y
