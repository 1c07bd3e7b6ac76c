"""Structure: what is the same in every call of the same shape, a graph without its values.

A structure is a flat tuple: for each leaf its Aval, for each operator node its Signature followed by the
slots (positions) of its inputs, then None and the slots of the outputs. Avals and signatures are interned,
so hashing and comparing structures costs nanoseconds a node. Everything that is expensive, gradient rules
and compilation, is done once per structure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import jax

from .avals import Aval
from .leaves import placeholder
from .nodes import LeafNode, Node, OperatorNode
from .operator import Signature, operator, output
from .session import Call, Origin, current_session
from .templates import Variable

Key = tuple[Any, ...]


class Place(NamedTuple):
    """Where a node was made: path of the module call, and the line."""

    path: str | None
    origin: Origin | None

    @property
    def scope(self) -> Any:
        return self if self.path is not None else None


class Structure:
    """A pure function of arrays, given as operators and topology. Interned: compare with `is`."""

    __slots__ = ("key", "instructions", "inputs", "outputs", "derived", "program", "names", "places", "used", "uses",
                 "__weakref__")

    def __init__(self, key: Key):
        self.key = key
        self.instructions: list[tuple[Any, tuple[int, ...]]] = []
        self.inputs: list[int] = []
        self.derived: dict[Any, Any] = {}
        self.uses: dict[Any, Any] = {}  # attributes and signatures of operators that this is the body of
        self.program: Callable[..., list[jax.Array]] | None = None
        self.names: list[str] | None = None
        self.places: dict[int, Place] = {}
        self.used = 0
        position = 0
        while key[position] is not None:
            item = key[position]
            if item.__class__ is Aval:
                self.inputs.append(len(self.instructions))
                self.instructions.append((item, ()))
                position += 1
            else:
                end = position + 1 + len(item.in_avals)
                self.instructions.append((item, key[position + 1:end]))
                position = end
        self.outputs: tuple[int, ...] = key[position + 1:]

    @property
    def in_avals(self) -> list[Aval]:
        return [self.instructions[slot][0] for slot in self.inputs]

    def aval(self, slot: int) -> Any:
        item = self.instructions[slot][0]
        return item if item.__class__ is Aval else item.aval

    @property
    def out_avals(self) -> list[Aval]:
        return [self.aval(slot) for slot in self.outputs]

    def remember(self, slots: dict[Node, int]) -> None:
        """Note where the nodes were made (module path, line), for messages; of the last graph of this structure."""
        self.places = {slot: Place(node.scope.path if node.scope is not None else None, node.origin)
                       for node, slot in slots.items() if node.inputs}

    def evaluate(self, *arrays: Any) -> list[Any]:
        """Run on arrays or tracers, operator by operator; this is what gets compiled."""
        values: list[Any] = []
        arguments = iter(arrays)
        for item, slots in self.instructions:
            if item.__class__ is Aval:
                values.append(next(arguments))
            else:
                values.append(item.operator.evaluate(item.kwargs, *[values[slot] for slot in slots]))
        return [values[slot] for slot in self.outputs]

    def replay(self, leaves: Sequence[Node], origins: Mapping[int, Node | Place] | None = None) -> list[Node]:
        """Make the nodes again over other leaves; returns the node of every slot."""
        session = current_session.get()
        call = session.call if session is not None else leaves[0].call if leaves else Call()
        scope = session.scope if session is not None else None
        nodes: list[Any] = []
        arguments = iter(leaves)
        for slot, (item, slots) in enumerate(self.instructions):
            if item.__class__ is Aval:
                nodes.append(next(arguments))
                continue
            inputs = tuple([nodes[s] for s in slots])
            signature = _fitting(item, inputs)
            made = OperatorNode(signature, inputs, call, scope, None)
            if origins and slot in origins:
                made.origin, made.scope = origins[slot].origin, origins[slot].scope
            nodes.append(made)
        return nodes

    def __repr__(self) -> str:
        return f"<Structure of {len(self.instructions)} nodes, {len(self.inputs)} inputs, {len(self.outputs)} outputs>"


def _fitting(signature: Signature, inputs: tuple[Node, ...]) -> Signature:
    """The signature for these inputs: the same one unless their avals differ (weak types, mostly)."""
    avals = tuple([n.aval for n in inputs])
    if avals == signature.in_avals:
        return signature
    if signature.operator is output:
        tupled: Any = avals[0]
        return Signature(output, signature.attrs, avals, tupled[signature.attrs[0]])
    return signature.operator.signature(signature.attrs, avals)


@operator
def literal(*, value):
    """A Python number that is part of the structure."""
    return value


def literal_signature(aval: Aval, value: Any) -> Signature:
    # repr distinguishes 1 from 1.0 and True, which compare equal; nan equals itself by it.
    key = (repr(value), aval)
    found = literal._signatures.get(key)
    if found is None:
        found = literal._signatures.setdefault(key, Signature(literal, (value,), (), aval))
    return found


# The key, the nodes that are the structure's inputs, and the slot of every node.
Linear = tuple[Key, list[Node], dict[Node, int]]

_by_serial = attrgetter("serial")
_NUMBERS = (int, float, bool, complex)


def linearize(roots: Sequence[Node], arguments: Sequence[Node] = (), through: bool = False,
              literals: bool = False, foreign: Call | None = None) -> Linear:
    """Find what the roots need, down to what is known, and write the structure's key.

    Nodes stand in the order in which they were made, which is always inputs before users.

    Args:
        roots: the outputs.
        arguments: nodes that become the first inputs, in this order, whatever they are.
        through: go on below nodes that are already computed, down to the leaves (for gradients).
        literals: make Python numbers part of the structure instead of inputs.
        foreign: when given, nodes of any other call become inputs (what a traced function captured).
    """
    slots: dict[Node, int] = {}  # those seen; the slots of all but the arguments are filled in below
    key: list[Any] = []
    leaves = list(arguments)
    for argument in arguments:
        slots[argument] = len(slots)
        key.append(argument.aval)
    ends: list[Node] = []
    inner: list[Node] = []
    found: list[Node] = []
    for root in roots:
        if root not in slots:
            slots[root] = -1
            found.append(root)
    for node in found:  # grows while it runs
        if node.__class__ is OperatorNode and (node._value is None or through) and (
                foreign is None or node.call is foreign):
            inner.append(node)
            for child in node.inputs:
                if child not in slots:
                    slots[child] = -1
                    found.append(child)
        else:
            ends.append(node)
    if len(ends) > 1:
        ends.sort(key=_by_serial)
    if len(inner) > 1:
        inner.sort(key=_by_serial)
    _number_ends(ends, slots, key, leaves, literals)
    count = len(key)
    for node in inner:
        slots[node] = count
        count += 1
        key.append(node.signature)
        for child in node.inputs:
            key.append(slots[child])
    key.append(None)
    for root in roots:
        key.append(slots[root])
    return tuple(key), leaves, slots


def _number_ends(ends: list[Node], slots: dict[Node, int], key: list[Any], leaves: list[Node], literals: bool) -> None:
    """Give slots to what is known: one for each leaf, but one for all leaves of a parameter of the same value."""
    held: dict[Any, int] = {}
    count = len(key)
    for node in ends:
        template = node.template
        if template is not None:
            if template.__class__ is not Variable:  # inputs of two joined calls stay apart
                place = template, id(node._value)
                same = held.get(place)
                if same is not None:
                    slots[node] = same
                    continue
                held[place] = count
        elif literals and node._value.__class__ in _NUMBERS:
            slots[node] = count
            count += 1
            key.append(literal_signature(node.aval, node._value))
            continue
        slots[node] = count
        count += 1
        key.append(node.aval)
        leaves.append(node)


def placeholders(avals: Sequence[Aval]) -> list[LeafNode]:
    session = current_session.get()
    call = session.call if session is not None else Call()
    return [placeholder(aval, None, call) for aval in avals]
