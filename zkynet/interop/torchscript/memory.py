"""What in-place operators do: nodes never change, so a tensor is a name for a node, and writing renames.

The first node of a tensor is its identity; registers, lists and callers hold that. A view remembers its base and how it
was made: writing to it writes to its base, and after any write the base's views are made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...framework import op
from ...framework.errors import GraphError, ShapeError
from ...framework.nodes import LeafNode, Node, OperatorNode
from ...framework.templates import Held, State
from .registry import node


class View(NamedTuple):
    """How a view was made, `make(base, *arguments)`, and how to write through it (see `registry.view`)."""

    base: Any
    make: Callable[..., Any]
    put: Callable[..., Any] | None
    arguments: tuple
    name: str


class Memory:
    """The tensors of one call that were written to, or may be."""

    def __init__(self) -> None:
        self.current: dict[Any, Any] = {}  # a tensor's identity -> its node now
        self.identities: dict[Any, Any] = {}  # the other way round
        self.views: dict[Any, View] = {}

    def now(self, value: Any) -> Any:
        """A value as it is now: nodes, also inside of lists, tuples and dicts."""
        kind = value.__class__
        if kind is OperatorNode or kind is LeafNode:
            return self.current.get(value, value)
        if kind is list or kind is tuple:
            return kind([self.now(item) for item in value])
        return {key: self.now(item) for key, item in value.items()} if kind is dict else value

    def identity(self, value: Any) -> Any:
        """The tensor that a result is, when an operator gave back what it got."""
        if isinstance(value, (list, tuple)):
            return type(value)([self.identity(item) for item in value])
        return self.identities.get(value, value) if isinstance(value, Node) else value

    def viewed(self, made: Any, base: Any, view: View) -> Any:
        """Remember a view, or several that one operator makes; returns their identities."""
        if isinstance(made, list):
            return [self.viewed(part, base, view._replace(make=_part(view.make, i), put=_putter(view.put, i)))
                    for i, part in enumerate(made)]
        if made is self.now(base):
            return base
        self.views[made] = view
        return made

    def write(self, tensor: Any, new: Any) -> Any:
        """The tensor becomes `new`; returns its identity."""
        new = fitting(self.now(tensor), new)
        found = self.views.get(tensor)
        if found is not None:
            if found.put is None:
                raise GraphError(f"the TorchScript model writes to a part that {found.name} made of a tensor, which is "
                                 "not supported: write to the tensor itself, at an index.")
            self.write(found.base, found.put(node(self.now(found.base)), new, *self.now(found.arguments)))
            return tensor
        if isinstance(tensor, Held):
            assign(tensor, new)
        else:
            self.current[tensor] = new
            self.identities[new] = tensor
        self._refresh(tensor)
        return tensor

    def _refresh(self, base: Any) -> None:
        for view, (own, make, _, arguments, _) in list(self.views.items()):
            if own is base:
                self.current[view] = made = make(self.now(base), *self.now(arguments))
                self.identities[made] = view
                self._refresh(view)


def _part(make: Callable[..., Any], index: int) -> Callable[..., Any]:
    return lambda *arguments: make(*arguments)[index]


def _putter(put: Callable[..., Any] | None, index: int) -> Callable[..., Any] | None:
    return put and (lambda base, new, *arguments: put(base, new, index, *arguments))


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
