"""The reverse walk: gradients as graph expressions, derived once per structure.

`pull_back` walks from outputs to wanted nodes and asks each operator for the cotangents of its inputs;
`push_forward` walks the other way, with the transpose of the same rules where an operator declares no `jvp`.
Broadcasting is undone and dtypes are restored in one place, `rules.fit`. Integer leaves are differentiated as if
they were float32, on a copy of the graph over their casts (`_real_valued`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .avals import Aval
from .errors import GraphError, RuleError, ShapeError
from .leaves import zeros_aval
from .nodes import Node, OperatorNode, topological
from .operator import Signature, output, outputs_of
from .operators.accumulate import plus
from .operators.shape import cast
from .rules import filled, fit, input_cotangents, tangents_by_rule
from .session import Session, current_session
from .structure import Structure, linearize, placeholders

# One cotangent a node; a list, one an output, for an operator with several outputs.
Cotangents = dict[Node, Any]


def pull_back(outputs: Sequence[Node], cotangents: Sequence[Node], wanted: Sequence[Node]) -> list[Node | None]:
    """Cotangents of the wanted nodes, as nodes; None where nothing flows."""
    if not wanted:
        return []
    # A node made before all wanted ones cannot depend on them.
    order = topological(list(outputs), since=min(node.serial for node in wanted))
    reached = set(wanted)
    for node in order:
        if node not in reached and _carries(node, reached):
            reached.add(node)
    total: Cotangents = {}
    for node, cotangent in zip(outputs, cotangents, strict=True):
        if node in reached:
            _accumulate(total, node, fit(cotangent, node.aval))
    for node in reversed(order):
        cotangent = total.get(node)
        if cotangent is None or node not in reached or not node.inputs:
            continue
        if node.signature.operator is output:
            _accumulate_output(total, node, cotangent)
            continue
        _stand_at(node)
        needed = [child in reached and node.signature.operator.differentiable(i) for i, child in enumerate(node.inputs)]
        if not any(needed):
            continue
        for child, part in zip(node.inputs, input_cotangents(node, cotangent, needed), strict=True):
            if part is not None:
                _accumulate(total, child, part)
    return [total.get(node) for node in wanted]


def _stand_at(node: Node) -> None:
    """What a rule makes belongs to the module and line of the node it differentiates."""
    session = current_session.get()
    if session is not None and session.traced:
        session.scope, session.origin = node.scope, node.origin


def _carries(node: Node, reached: set[Node]) -> bool:
    """Whether a cotangent can flow from this node to a reached one."""
    if node.aval.__class__ is Aval and not node.aval.inexact:
        return False
    for index, child in enumerate(node.inputs):
        if child in reached and node.signature.operator.differentiable(index):
            return True
    return False


def _accumulate(total: Cotangents, node: Node, cotangent: Any) -> None:
    present = total.get(node)
    if present is None:
        total[node] = cotangent
    elif isinstance(present, list):
        total[node] = [b if a is None else a if b is None else plus(a, b)
                       for a, b in zip(present, cotangent, strict=True)]
    else:
        total[node] = plus(present, cotangent)


def _accumulate_output(total: Cotangents, node: Node, cotangent: Node) -> None:
    """The cotangent of one output, as that of its place in the operator's tuple of outputs."""
    (tupled,) = node.inputs
    index = node.signature.attrs[0]
    avals: Any = tupled.aval
    parts: list[Node | None] = [None] * len(avals)
    parts[index] = cotangent
    _accumulate(total, tupled, parts)


# Forward mode ----------------------------------------------------------------------------------------------


def push_forward(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
    """Tangents of the outputs, given those of some nodes; None where nothing depends on them.

    An operator without a `jvp` rule gets it from its reverse rule: that is linear in the cotangent, so
    pulling the tangents back through it gives the transpose of the transpose, the Jacobian itself.
    """
    order = topological(list(outputs), since=min(node.serial for node in wrt))
    known: Cotangents = {node: fit(t, node.aval) for node, t in zip(wrt, tangents, strict=True)}
    for node in order:
        if node in known or not node.inputs or not any(child in known for child in node.inputs):
            continue
        if node.signature.operator is output:
            part = known[node.inputs[0]][node.signature.attrs[0]]
            if part is not None:
                known[node] = part
            continue
        _stand_at(node)
        tangent = _tangent(node, known)
        if tangent is not None:
            known[node] = tangent
    return [known.get(node) for node in outputs]


def _tangent(node: Node, known: Cotangents) -> Any:
    operator = node.signature.operator
    moving = [child in known and operator.differentiable(i) for i, child in enumerate(node.inputs)]
    several = node.aval.__class__ is tuple
    if not any(moving) or (not several and not node.aval.inexact):
        return None
    if operator.jvp is not None:
        given = tuple([known[child] if m else filled(zeros_aval(child.aval), 0)
                       for child, m in zip(node.inputs, moving, strict=True)])
        produced: Any = outputs_of(node) if several else node
        tangents = tangents_by_rule(node, given, produced)
        return tangents if several else tangents[0]
    avals: Any = node.aval if several else (node.aval,)
    seeds = [filled(zeros_aval(aval), 0) for aval in avals]
    parts = input_cotangents(node, list(seeds) if several else seeds[0], moving)
    pairs = [(part, known[child]) for part, child in zip(parts, node.inputs, strict=True) if part is not None]
    if any(isinstance(part, list) for part, _ in pairs):
        raise GraphError(f"operator {operator.name} has no forward-mode rule.")
    transposed = pull_back([part for part, _ in pairs], [t for _, t in pairs], seeds)
    return transposed if several else transposed[0]


# Derived structures ----------------------------------------------------------------------------------------


def derive(structure: Structure, key: tuple, build: Callable[[list[Node], list[Node]], tuple[list[Node], list[Node]]],
           origins: dict[int, Node] | None = None) -> Structure:
    """The structure made of another one's nodes, once: `build(nodes, leaves)` returns its outputs and its inputs."""
    found = structure.derived.get(key)
    if found is None:
        from .compile import structure_of

        token = current_session.set(Session(traced=True))
        try:
            leaves = placeholders(structure.in_avals)
            nodes = structure.replay(leaves, origins or structure.places)
            outputs, arguments = build(nodes, list(leaves))
            new_key, inputs, slots = linearize(outputs, arguments=arguments, literals=True)
            _refuse_constants(inputs[len(arguments):])
            found = structure.derived[key] = structure_of(new_key)
            found.remember(slots)
            found.names = found.names or structure.names
        finally:
            current_session.reset(token)
    return found


def _refuse_constants(leaves: list[Node]) -> None:
    if leaves:
        names = ", ".join(repr(leaf) for leaf in leaves)
        raise RuleError(f"a gradient rule used an array of its own ({names}), which no call could change. Make it an "
                        "input of the operator: cg.Variable(name, differentiable=False).")


def vjp_structure(structure: Structure, wanted: tuple[int, ...], of: tuple[int, ...] | None = None,
                  seeded: bool = False, origins: dict[int, Node] | None = None) -> Structure:
    """Outputs followed by the cotangents of the wanted slots.

    Args:
        of: which outputs to differentiate (all by default).
        seeded: take their cotangents to be ones, instead of extra inputs.
    """
    of = tuple(range(len(structure.outputs))) if of is None else of

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        real = _real_valued(structure, nodes, wanted)
        outs = [real[structure.outputs[i]] for i in of]
        avals = [zeros_aval(out.aval) for out in outs]
        given: list[Node] = [] if seeded else list(placeholders(avals))
        cotangents = [filled(aval, 1) for aval in avals] if seeded else given
        targets = [real[slot] for slot in wanted]
        parts = pull_back(outs, cotangents, targets)
        grads = [filled(zeros_aval(target.aval), 0) if part is None else part
                 for part, target in zip(parts, targets, strict=True)]
        return [*(nodes[slot] for slot in structure.outputs), *grads], [*leaves, *given]

    return derive(structure, ("vjp", wanted, of, seeded), build, origins)


def reached_slots(structure: Structure) -> frozenset[int]:
    """The slots that a gradient of the first output reaches: those at which `pull_back` would not find None."""
    found = structure.derived.get("reached")
    if found is None:
        reached = {structure.outputs[0]}
        for slot in reversed(range(len(structure.instructions))):
            item, inputs = structure.instructions[slot]
            if slot in reached and inputs and (item.aval.__class__ is tuple or item.aval.inexact):
                reached.update(child for i, child in enumerate(inputs) if item.operator.differentiable(i))
        found = structure.derived["reached"] = frozenset(reached)
    return found


def jvp_structure(structure: Structure, wrt: tuple[int, ...], origins: dict[int, Node] | None = None) -> Structure:
    """Outputs followed by their tangents; extra inputs are the tangents of the slots `wrt`."""

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        real = _real_valued(structure, nodes, wrt)
        sources = [real[slot] for slot in wrt]
        given = list(placeholders([zeros_aval(node.aval) for node in sources]))
        outs = [real[slot] for slot in structure.outputs]
        parts = push_forward(outs, sources, given)
        tangents = [filled(zeros_aval(out.aval), 0) if part is None else part
                    for part, out in zip(parts, outs, strict=True)]
        return [*(nodes[slot] for slot in structure.outputs), *tangents], [*leaves, *given]

    return derive(structure, ("jvp", wrt), build, origins)


def _real_valued(structure: Structure, nodes: list[Node], wanted: Sequence[int]) -> list[Node]:
    """The nodes over float32 casts of integer leaves, wherever a gradient could flow; else the nodes themselves.

    Integers matter only where the gradient at one is wanted: gradients at floating nodes do not pass through them.
    """
    if all(structure.aval(slot).inexact for slot in wanted):
        return nodes
    real: list[Node] = []
    for (item, slots), node in zip(structure.instructions, nodes, strict=True):
        if item.__class__ is Aval:
            real.append(node if item.inexact else cast(node, dtype=np.dtype("float32")))
            continue
        inputs = [real[s] if item.operator.differentiable(i) else nodes[s] for i, s in enumerate(slots)]
        real.append(node if all(a is nodes[s] for a, s in zip(inputs, slots, strict=True))
                    else _reapplied(item, node, inputs))
    return real


def _reapplied(signature: Signature, node: Node, inputs: list[Node]) -> Node:
    try:
        if signature.operator is output:
            avals: Any = inputs[0].aval
            fitting = Signature(output, signature.attrs, (avals,), avals[signature.attrs[0]])
        else:
            fitting = signature.operator.signature(signature.attrs, tuple([n.aval for n in inputs]))
    except ShapeError:
        return node  # an operator for integers only: no gradient flows through it
    made = OperatorNode(fitting, tuple(inputs), node.call, node.scope, node.origin)
    return made

