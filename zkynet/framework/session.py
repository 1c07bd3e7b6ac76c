"""The call in progress.

A `Session` lives from the outermost Module call to its return: it gives every node of that call the same
`Call` (hence call id), and makes a Parameter or an array that is used twice one leaf. It is kept in a
context variable, so calls in other threads and asyncio tasks do not see it, and an exception drops it.
"""

from __future__ import annotations

import itertools
import os
import sys
from contextvars import ContextVar
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gradients import Gradients
    from .module import Module
    from .nodes import LeafNode
    from .templates import Held

_call_numbers = itertools.count(1)
_PROCESS = os.urandom(3).hex()


class Call:
    """Identity of one outermost call; shared by all nodes it made. The id is made when somebody asks."""

    # Most calls set none of these, and making one must cost next to nothing.
    _id: str | None = None
    backward: Gradients | None = None
    updated: list[Held] | None = None  # what has an update that this call's graph computes
    observers: dict | None = None
    ends: list | None = None  # weak references to the graphs' roots, from which `node.parents` is found

    @property
    def id(self) -> str:
        if self._id is None:
            self._id = f"{_PROCESS}-{next(_call_numbers)}"
        return self._id


class Scope:
    """One Module call inside a call: the path from the outermost Module to where a node was made."""

    __slots__ = ("module", "parent")

    def __init__(self, module: Module, parent: Scope | None):
        self.module = module
        self.parent = parent

    @property
    def label(self) -> str:
        return self.module.functional_name

    @property
    def name(self) -> str:
        """The attribute under which the parent holds this module; the class name for the outermost."""
        if self.parent is not None:
            for name, child in self.parent.module.named_children():
                if child is self.module:
                    return name
        return self.label

    @property
    def path(self) -> str:
        if self.parent is None:
            return self.label
        return f"{self.parent.path}.{self.name}"

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1


class Session:
    """What one outermost call (or one traced function) accumulates while it runs."""

    __slots__ = ("call", "scope", "leaves", "outer", "updates", "traced", "origin", "continues")

    def __init__(self, outer: Session | None = None, traced: bool = False):
        self.call = Call()
        self.scope: Scope | None = None if outer is None else outer.scope
        # Keyed by template, or by id of an array (the leaf keeps the array, hence the id, alive).
        self.leaves: dict[Any, LeafNode] = {}
        self.outer = outer
        # (what, its pending update and value before), to undo them when the call fails.
        self.updates: list[tuple[Held, Any, Any]] = []
        self.traced = traced
        # Set while a gradient rule or a module of this package runs: what it makes belongs to the line of the forward
        # node, or to the user's line that called the module.
        self.origin: Origin | None = None
        # Calls whose nodes were given as inputs: their graphs end in this call's result too.
        self.continues: set[Call] | None = None


Origin = tuple[CodeType, int]

current_session: ContextVar[Session | None] = ContextVar("zkynet_session", default=None)

_packages: tuple[str, ...] = (os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,)
_internal: dict[str, bool] = {}


def add_internal_package(folder: str) -> None:
    """Nodes made by code in this folder belong, like those made by this package's, to the line that called it."""
    global _packages
    _packages = (*_packages, os.path.abspath(folder) + os.sep)
    _internal.clear()


def is_internal(code: CodeType) -> bool:
    """Whether the code is in this package, or in one that was added to it."""
    internal = _internal.get(code.co_filename)
    if internal is None:
        internal = _internal[code.co_filename] = os.path.abspath(code.co_filename).startswith(_packages)
    return internal


def user_frame(depth: int = 3) -> Origin | None:
    """Where the user's code called in: (code, instruction), looking from `depth` calls up; `describe_origin` makes it
    readable."""
    frame = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        internal = _internal.get(code.co_filename)
        if not (is_internal(code) if internal is None else internal):
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def describe_origin(origin: Origin | None) -> str | None:
    """'file:line' of an origin."""
    if origin is None:
        return None
    code, instruction = origin
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return f"{code.co_filename}:{line}"
    return f"{code.co_filename}:{code.co_firstlineno}"
