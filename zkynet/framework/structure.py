"""Structure: what is the same in every call of the same shape, a graph without its values.

A structure is a flat tuple: for each leaf its Aval, for each operator node its Signature followed by the
slots (positions) of its inputs, then None and the slots of the outputs. Avals and signatures are interned,
so hashing and comparing structures costs nanoseconds a node. Everything that is expensive, gradient rules
and compilation, is done once per structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from .avals import Aval
from .nodes import LeafNode, Node, OperatorNode
from .operator import Signature, operator, output, placeholder
from .session import Call, current_session

Key = tuple[Any, ...]


class Structure:
    """A pure function of arrays, given as operators and topology. Interned: compare with `is`."""

    __slots__ = ("key", "instructions", "inputs", "outputs", "derived", "program", "names", "used", "__weakref__")

    def __init__(self, key: Key):
        self.key = key
        self.instructions: list[tuple[Any, tuple[int, ...]]] = []
        self.inputs: list[int] = []
        self.derived: dict[Any, Any] = {}
        self.program: Callable[..., list[jax.Array]] | None = None
        self.names: list[str] | None = None
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

    def replay(self, leaves: Sequence[Node], origins: Sequence[Node] | None = None) -> list[Node]:
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
            if origins is not None:
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
        return Signature(output, signature.attrs, avals, avals[0][signature.attrs[0]])  # pyright: ignore[reportIndexIssue]
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
        found = literal._signatures[key] = Signature(literal, (value,), (), aval)
    return found


class Linear:
    """The nodes that some roots need, in order, with the key of their structure."""

    __slots__ = ("key", "leaves", "slots")

    def __init__(self, key: Key, leaves: list[Node], slots: dict[Node, int]):
        self.key = key
        self.leaves = leaves
        self.slots = slots


def linearize(roots: Sequence[Node], arguments: Sequence[Node] = (), through: bool = False,
              literals: bool = False, foreign: Call | None = None) -> Linear:
    """Walk from the roots down to what is known, and write the structure's key on the way.

    Args:
        roots: the outputs.
        arguments: nodes that become the first inputs, in this order, whatever they are.
        through: go on below nodes that are already computed, down to the leaves (for gradients).
        literals: make Python numbers part of the structure instead of inputs.
        foreign: when given, nodes of any other call become inputs (what a traced function captured).
    """
    slots: dict[Node, int] = {}
    key: list[Any] = []
    leaves: list[Node] = []
    held: dict[tuple, int] = {}
    for argument in arguments:
        slots[argument] = len(slots)
        key.append(argument.aval)
        leaves.append(argument)
    count = len(slots)
    stack = list(reversed(roots))
    push = stack.append
    while stack:
        node = stack[-1]
        if node in slots:
            stack.pop()
            continue
        if node.__class__ is OperatorNode and (node._value is None or through) and (
                foreign is None or node.call is foreign):
            inputs = node.inputs
            ready = True
            for child in reversed(inputs):
                if child not in slots:
                    push(child)
                    ready = False
            if not ready:
                continue
            key.append(node.signature)  # pyright: ignore[reportAttributeAccessIssue]
            for child in inputs:
                key.append(slots[child])
        elif node.template is not None and (node.template, id(node._value)) in held:
            slots[node] = held[node.template, id(node._value)]
            stack.pop()
            continue
        else:
            _leaf(node, key, leaves, literals)
            if node.template is not None:
                held[node.template, id(node._value)] = count
        slots[node] = count
        count += 1
        stack.pop()
    key.append(None)
    key.extend([slots[root] for root in roots])
    return Linear(tuple(key), leaves, slots)


_NUMBERS = (int, float, bool, complex)


def _leaf(node: Node, key: list[Any], leaves: list[Node], literals: bool) -> None:
    if literals and node._value.__class__ in _NUMBERS:
        key.append(literal_signature(node.aval, node._value))
        return
    key.append(node.aval)
    leaves.append(node)


def placeholders(avals: Sequence[Aval]) -> list[LeafNode]:
    session = current_session.get()
    call = session.call if session is not None else Call()
    return [placeholder(aval, None, call) for aval in avals]
