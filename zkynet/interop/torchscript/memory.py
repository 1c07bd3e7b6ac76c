"""What in-place operators do: nodes never change, so a tensor is a name for a node, and writing renames.

The first node of a tensor is its identity; registers, lists and callers hold that. A view remembers its base and how it
was made: writing to it writes to its base, and it is made anew when it is read after its base was written to. What
PyTorch copies, as its strides allow no view, is copied here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...framework import op
from ...framework.errors import GraphError, ShapeError
from ...framework.nodes import LeafNode, Node, OperatorNode
from ...framework.templates import Held, State
from .registry import node, shape_of


class View(NamedTuple):
    """How a view was made, `make(base, *arguments)`; how to write through it, and where its elements lie (see
    `registry.view`)."""

    base: Any
    make: Callable[..., Any]
    arguments: tuple
    name: str
    put: Callable[..., Any] | None
    layout: Callable[..., Any]


class Memory:
    """The tensors of one call that were written to, or may be."""

    def __init__(self) -> None:
        self.current: dict[Any, Any] = {}  # a tensor's identity -> its node now
        self.identities: dict[Any, Any] = {}  # the other way round
        self.views: dict[Any, View] = {}
        self.made_of: dict[Any, Any] = {}  # a view's identity -> the base's node that its own is made of
        self.layouts: dict[Any, Any] = {}  # a view's identity -> an array with its strides; nobody reads its elements

    def now(self, value: Any) -> Any:
        """A value as it is now: nodes, also inside of lists, tuples and dicts."""
        kind = value.__class__
        if kind is OperatorNode or kind is LeafNode:
            view = self.views.get(value)
            if view is not None:
                self._refresh(value, view)
            return self.current.get(value, value)
        if kind is list or kind is tuple:
            return kind([self.now(item) for item in value])
        return {key: self.now(item) for key, item in value.items()} if kind is dict else value

    def _refresh(self, tensor: Any, view: View) -> None:
        """Make a view anew if its base was written to."""
        base = node(self.now(view.base))
        if self.made_of[tensor] is not base:
            self.made_of[tensor] = base
            self.current[tensor] = made = view.make(base, *view.arguments)
            self.identities[made] = tensor

    def identity(self, value: Any) -> Any:
        """The tensor that a result is, when an operator gave back what it got."""
        if isinstance(value, (list, tuple)):
            return type(value)([self.identity(item) for item in value])
        return self.identities.get(value, value) if isinstance(value, Node) else value

    def viewed(self, made: Any, view: View) -> Any:
        """Remember a view, or several that one operator makes; returns their identities. What PyTorch copies here is
        a new tensor."""
        if isinstance(made, list):
            return [self.viewed(part, view._replace(make=_part(view.make, i), put=_indexed(view.put, i),
                                                    layout=_indexed(view.layout, i)))
                    for i, part in enumerate(made)]
        base = self.now(view.base)
        stand_in = self.layouts.get(view.base)
        layout = view.layout(np.empty(shape_of(base), bool) if stand_in is None else stand_in, made.shape,
                             *view.arguments)
        if layout is None:
            return op.identity(made)
        if made is base:
            return view.base
        self.views[made], self.made_of[made], self.layouts[made] = view, node(base), layout
        return made

    def write(self, tensor: Any, new: Any) -> Any:
        """The tensor becomes `new`; returns its identity."""
        new = fitting(self.now(tensor), new)
        found = self.views.get(tensor)
        if found is not None:
            if found.put is None:
                raise GraphError(f"the TorchScript model writes to a part that {found.name} made of a tensor, which is "
                                 "not supported: write to the tensor itself, at an index.")
            self.write(found.base, found.put(node(self.now(found.base)), new, *found.arguments))
        elif isinstance(tensor, Held):
            assign(tensor, new)
        else:
            self.current[tensor] = new
            self.identities[new] = tensor
        return tensor


def _part(make: Callable[..., Any], index: int) -> Callable[..., Any]:
    return lambda *arguments: make(*arguments)[index]


def _indexed(call: Any, index: int) -> Any:
    """`put` or `layout` of one of several views."""
    return call and (lambda base, other, *arguments: call(base, other, index, *arguments))


def fitting(old: Any, new: Any) -> Any:
    """What is written has the shape of what was there, and takes its dtype."""
    new = node(new)
    if new.shape != tuple(old.shape):
        raise ShapeError(f"an in-place operator of the TorchScript model gives the shape {new.shape} for a tensor of "
                         f"the shape {tuple(old.shape)}.")
    return new if new.dtype == old.dtype else op.cast(new, dtype=old.dtype)


def assign(held: Any, new: Any) -> Any:
    """Write to a buffer of the model."""
    if not isinstance(held, State):
        raise GraphError(f"the TorchScript model writes to {held!r} in its call, which is not supported: only buffers "
                         "may change there; parameters are changed by an optimizer.")
    held.value = fitting(held, new)
    return held
