"""One step: from a loss's graph to new parameters, in one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from ..framework.avals import x64_mode
from ..framework.backward import derive, pull_back, reached_slots, vjp_structure
from ..framework.compile import (
    describe,
    due_updates,
    known_values,
    leaf_name,
    pending_of,
    record_compilation,
    structure_of,
    watcher,
)
from ..framework.errors import GraphError
from ..framework.nodes import Node, topological
from ..framework.operators.accumulate import plus
from ..framework.rules import filled
from ..framework.structure import Structure, linearize, placeholders
from ..framework.templates import Held, Parameter
from ..framework.xla import jit, run_into
from .update import update

if TYPE_CHECKING:
    from .optimizer import Optimizer

# For each parameter the slot of its leaf in the loss's structure; None for those that stay as they are.
Places = tuple[int | None, ...]


def fused_step(optimizer: Optimizer, root: Node) -> None:
    """Run loss, gradients and update as one program, and take what it gives."""
    if root.aval.x64 != x64_mode():
        with jax.enable_x64(root.aval.x64):
            return fused_step(optimizer, root)
    due = due_updates([root]) if Held.any_pending else []
    key, leaves, slots = linearize([root, *pending_of(due)], through=True)
    structure = structure_of(key)
    if structure.names is None:
        structure.names = [leaf_name(leaf) for leaf in leaves]
    places, stale = find_places(optimizer, structure, leaves, slots)
    others = optimizer.others(places)
    changed = [p for p, place in zip(optimizer.params, places, strict=True) if place is not None]
    waiting = [optimizer.params[number] for number in others]
    arrays = known_values(leaves)
    arrays += [held._value if held._pending is None else held.value for held in optimizer.inputs]
    if stale:
        arrays += [p.value for p in changed]
    arrays += [p.value for p in waiting]
    how = ("step", optimizer.plan, optimizer.avals, places, others, stale)
    program = structure.derived.get(how)
    if program is None:
        what = f"{describe(root)}, step of {type(optimizer).__name__}"
        program = _program(optimizer, structure, how, {slot: node for node, slot in slots.items()}, what)
    targets = [root, *due, *optimizer.states, *changed, *waiting]
    watch = watcher.get()
    if watch is None:
        run_into(targets, program.run, arrays)
    else:
        for target, value in zip(targets, watch(program.structure, arrays), strict=True):
            target._value = value
    for state in due:
        state.commit(state._value)


def find_places(optimizer: Optimizer, structure: Structure, leaves: list[Node],
                slots: dict[Node, int]) -> tuple[Places, bool]:
    """Where the parameters that a gradient reaches are among the leaves, and whether any of them has changed since the
    loss was written."""
    if not structure.derived:
        structure.remember(slots)  # for the messages of wrong rules
    reached = reached_slots(structure)
    found: list[int | None] = [None] * len(optimizer.params)
    index = optimizer.index
    stale = some = False
    for slot, leaf in enumerate(leaves):
        template = leaf.template
        if not isinstance(template, Parameter):
            continue
        number = index.get(template)
        if number is None or slot not in reached or not template.trainable:
            continue
        if found[number] is not None:
            raise GraphError(f"{template!r} has two values in this loss, which joins calls made before and after an "
                             "update: call the model again after it.")
        found[number] = slot
        some = True
        stale = stale or leaf._value is not template._value or template._pending is not None
    if not some:
        raise _no_gradient(optimizer)
    return tuple(found), stale


def _no_gradient(optimizer: Optimizer) -> GraphError:
    return GraphError(f"the loss depends on none of the {len(optimizer.params)} trainable parameters of {optimizer!r}, "
                      "or through no operation that has a gradient: comparisons, integers and op.stop_gradient have "
                      "none.")


class _Program(NamedTuple):
    structure: Structure
    run: Callable[..., list[Any]]


def _program(optimizer: Optimizer, structure: Structure, how: tuple, origins: Any, what: str) -> _Program:
    """The loss's structure, continued by its gradients and the update of parameters and state; and compiled."""
    _, plan, _, places, others, stale = how
    numbers = tuple([number for number, place in enumerate(places) if place is not None])
    pull = vjp_structure(structure, tuple([places[i] for i in numbers]), (0,), True, origins)
    count = len(structure.outputs)

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        known = [nodes[slot] for slot in pull.outputs]
        inputs: list[Node] = list(placeholders([held.aval for held in optimizer.inputs]))
        fresh: list[Node] = list(placeholders([optimizer.params[i].aval for i in numbers])) if stale else []
        olds = fresh or [leaves[places[i]] for i in numbers]
        rest: list[Node] = list(placeholders([optimizer.params[i].aval for i in others]))
        news = update(*known[count:], *olds, *rest, *inputs, plan=plan, layout=optimizer.layout, numbers=numbers,
                      others=others)
        _check_dtypes([*(optimizer.params[i] for i in numbers + others), *optimizer.states], news)
        # States first: a donated input goes to the first output of its shape, which must not be a parameter.
        first = len(numbers) + len(others)
        return [*known[:count], *news[first:], *news[:first]], [*leaves, *inputs, *fresh, *rest]

    made = derive(pull, how, build)
    made.names = [*(structure.names or ()), *(held.short_name for held in optimizer.inputs)]
    # The old state is written over: nobody else holds it. The parameters' old values may be read later by graphs.
    first = len(structure.in_avals) + len(optimizer.inputs) - len(optimizer.states)
    donated = tuple(range(first, first + len(optimizer.states)))
    found = structure.derived[how] = _Program(made, jit(made.evaluate, donate_argnums=donated))
    record_compilation(made, what)
    return found


def _check_dtypes(olds: list[Held], news: tuple[Node, ...]) -> None:
    """Values are taken as they come out of the program: their dtype must be that of what they replace."""
    for held, new in zip(olds, news, strict=True):
        if new.aval.dtype != held.aval.dtype:
            raise GraphError(f"the step would make {held!r} {new.aval.dtype.name}. Make the parameters, the optimizer "
                             'and the loss in the same precision: float64 needs zkynet.precision("float64").')


def step_in_graph(optimizer: Optimizer, root: Node) -> None:
    """The same as nodes of the call in progress: the parameters' and states' new values become pending updates."""
    leaves: dict[int, list[Node]] = {}
    for node in topological([root]):
        template = node.template
        if isinstance(template, Parameter):
            number = optimizer.index.get(template)
            if number is not None and template.trainable:
                leaves.setdefault(number, []).append(node)
    wanted = [leaf for same in leaves.values() for leaf in same]
    cotangents = dict(zip(wanted, pull_back([root], [filled(root.aval, 1)], wanted), strict=True))
    gradients: dict[Any, Any] = {}
    for number, same in leaves.items():
        parts = [part for leaf in same if (part := cotangents[leaf]) is not None]
        if parts:
            gradients[optimizer.params[number]] = functools.reduce(plus, parts)
    if not gradients:
        raise _no_gradient(optimizer)
    optimizer.apply(gradients)
