"""Recording: zkynet at work on values that do not exist yet.

While a Recorder is active, whatever zkynet would run (an asked value, a whole optimizer step) is noted as a call of its
structure in the CallGraph, and answered with `Ref`s: stand-ins that know shape and dtype. Parameters, states and
optimizer states hold such refs between recorded steps, so one training loop records one program and many bindings.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from contextvars import Token
from typing import Any

import numpy as np

from zkynet.framework.avals import Aval, aval_of, make_aval
from zkynet.framework.compile import evaluate, watcher
from zkynet.framework.errors import GraphError, InputError, TracedValueError
from zkynet.framework.nodes import LeafNode, Node
from zkynet.framework.session import Call as NodeCall
from zkynet.framework.session import Origin, describe_origin, user_frame
from zkynet.framework.structure import Structure

from ..wire.graph import CallGraph, Late, Leaf

_NUMBERS = (bool, int, float, complex)
# Operators of one program: XLA's time to compile grows faster than their number, from about 1,000 on without bound.
LONGEST = 500


class Ref:
    """A value of a graph that is not computed yet: number, shape and dtype (None where they depend on values)."""

    __slots__ = ("recorder", "number", "aval", "__weakref__")

    def __init__(self, recorder: Recorder, number: int, aval: Aval | None):
        self.recorder = recorder
        self.number = number
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self._known.shape

    @property
    def dtype(self) -> np.dtype:
        return self._known.dtype

    @property
    def weak_type(self) -> bool:
        return self._known.weak_type

    @property
    def _known(self) -> Aval:
        if self.aval is None:
            raise InputError("the shape of this value depends on values, so it is known after R.execute() only.")
        return self.aval

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TracedValueError("a value was asked for while the graph is recorded: nothing is computed before "
                               "R.execute(). Persist the op and fetch it afterwards.")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __iter__ = _refuse

    def __repr__(self) -> str:
        return f"<value {self.number}: {self.aval!r}, not computed yet>"


class Recorder:
    """Writes a CallGraph; active inside `with recorder:`."""

    def __init__(self, graph: CallGraph):
        self.graph = graph
        self.refs: weakref.WeakSet[Ref] = weakref.WeakSet()
        self._arrays: dict[int, tuple[Any, int]] = {}  # by id; holding the array keeps the id its own
        self._contents: dict[tuple, int] = {}  # data that comes again in every epoch is kept once
        self._numbers: dict[tuple[type, str], int] = {}
        self._tokens: list[Token] = []
        self._origin: Origin | None = None  # of the op that is being recorded, when that is not where the script is

    def __enter__(self) -> Recorder:
        self._tokens.append(watcher.set(self._record))
        return self

    def __exit__(self, *_: Any) -> None:
        watcher.reset(self._tokens.pop())

    # Values ----------------------------------------------------------------------------------------------

    def leaf(self, value: Leaf) -> LeafNode:
        """A zkynet leaf for data of the graph."""
        aval = aval_of(value)
        number = self._content(value) if isinstance(value, np.ndarray) else self.number_of(value)
        return LeafNode(aval, self._ref(number, aval), None, NodeCall(), None)

    def node(self, ref: Ref) -> LeafNode:
        """A zkynet leaf for a value of the graph."""
        return LeafNode(make_aval(ref.shape, ref.dtype, ref.weak_type), ref, None, NodeCall(), None)

    def ref_of(self, node: Node) -> Ref:
        """The value of a node, recorded now if it was not yet."""
        with self:
            found = node.value
        return found if isinstance(found, Ref) else self._ref(self.number_of(found), aval_of(found))

    def number_of(self, value: Any) -> int:
        """The number of a ref, an array or a Python number; new ones become leaves of the graph."""
        if value.__class__ is Ref:
            if value.recorder is not self:
                raise GraphError("a value of another graph was used in this one. Fetch it there first, or build the "
                                 "model anew.")
            return value.number
        if value.__class__ in _NUMBERS:
            key = value.__class__, repr(value)
            if key not in self._numbers:
                self._numbers[key] = self.graph.leaf(value)
            return self._numbers[key]
        known = self._arrays.get(id(value))
        if known is None:
            known = self._arrays[id(value)] = value, self._content(np.asarray(value))
        return known[1]

    def _content(self, array: np.ndarray) -> int:
        array = np.ascontiguousarray(array).reshape(array.shape)
        content = array.reshape(-1).view(np.uint8)
        key = array.shape, array.dtype.name, hashlib.blake2b(content.data).digest()
        if key not in self._contents:
            self._contents[key] = self.graph.leaf(array)
        return self._contents[key]

    def _ref(self, number: int, aval: Aval | None) -> Ref:
        made = Ref(self, number, aval)
        self.refs.add(made)
        return made

    # Calls -----------------------------------------------------------------------------------------------

    def _record(self, structure: Structure, arrays: Sequence[Any]) -> list[Any]:
        """Note the call that zkynet would have run."""
        inputs = [self.number_of(array) for array in arrays]
        numbers = self.graph.call(structure, inputs, describe_origin(self._origin or user_frame(2)))
        return [self._ref(number, aval) for number, aval in zip(numbers, structure.out_avals, strict=True)]

    def late(self, function: str, params: str, inputs: Sequence[Node | Ref], outputs: int = 1) -> list[Ref]:
        """Note a call by name, whose results' shapes are not known."""
        numbers = [self.number_of(i if isinstance(i, Ref) else self.ref_of(i)) for i in inputs]
        made = self.graph.call(Late(function, params, outputs), numbers, describe_origin(user_frame(2)))
        return [self._ref(number, None) for number in made]

    def finish(self, roots: Sequence[Node]) -> None:
        """Record what these nodes need and what is not recorded yet, every operator once.

        Each root gets a program of its own (several, if it needs more than LONGEST operators), so that it can be
        fetched as soon as it is computed. What several programs need is a result of the first of them.
        """
        pending = sorted((root for root in set(roots) if not root.is_computed), key=lambda node: node.serial)
        owner: dict[Node, int] = {}
        wanted: list[dict[Node, None]] = []
        origins: list[Any] = []
        for root in pending:
            nodes = _unrecorded(root, owner)
            for start in range(0, len(nodes), LONGEST):
                index, part = len(wanted), nodes[start:start + LONGEST]
                wanted.append({})
                origins.append(root.origin)
                owner.update(dict.fromkeys(part, index))
                for node in part:
                    for child in node.inputs:
                        before = owner.get(child, index)
                        if before != index:
                            wanted[before][_array_node(child, node)] = None
            wanted[-1][root] = None
        with self:
            for nodes, self._origin in zip(wanted, origins, strict=True):
                evaluate(list(nodes))
        self._origin = None


def _unrecorded(root: Node, owner: dict[Node, int]) -> list[Node]:
    """The nodes that this root needs and no earlier one did, in the order in which they were made."""
    found = [root]
    seen = {root}
    for node in found:  # grows while it runs
        for child in node.inputs:
            if child.inputs and not child.is_computed and child not in owner and child not in seen:
                seen.add(child)
                found.append(child)
    return sorted(found, key=lambda node: node.serial)


def _array_node(child: Node, user: Node) -> Node:
    """The node to hand from one program to another: an output of an operator with several, not their tuple."""
    return user if child.aval.__class__ is tuple else child
