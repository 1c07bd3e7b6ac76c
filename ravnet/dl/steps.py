"""Steps of one model: gradients and updates, recorded as programs that repeat.

A step of the optimizer is one program: loss, gradients, update. Steps that only accumulate record two: the gradients,
and their sum with what there was; the step that ends them applies the sum by a third. So the number of programs does
not depend on the number of steps.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from zkynet import optim
from zkynet.framework import cg, op
from zkynet.framework.backward import vjp_structure
from zkynet.framework.compile import due_updates, evaluate, known_values, pending_of, run, structure_of
from zkynet.framework.errors import GraphError
from zkynet.framework.nodes import Node
from zkynet.framework.structure import linearize
from zkynet.framework.templates import Held
from zkynet.optim.step import find_places

from ..api.graph import GraphRecord
from ..api.op import Op
from .held import known, move
from .optimizers import Optimizer


class Steps:
    """An optimizer of zkynet with its state, and the gradients that wait for the next update.

    Attributes:
        sums: for each parameter what was accumulated; those of `waiting` are in use.
    """

    def __init__(self, options: Optimizer):
        self.options = options
        self.optimizer: optim.Optimizer | None = None
        self.graph: GraphRecord | None = None
        self.sums: dict[cg.Parameter, cg.State] = {}
        self.waiting: set[cg.Parameter] = set()
        self.last: weakref.ref[Op] | None = None  # the loss of the step before

    # Steps ---------------------------------------------------------------------------------------------------

    def backward(self, loss: Op, params: Sequence[cg.Parameter], step: bool) -> None:
        """Gradients of the loss, added to those that wait; with `step` an update by their sum."""
        optimizer = self.bind(params)
        graph = loss.graph
        previous = self.last() if self.last is not None else None
        if previous is not None and previous is not loss:
            previous.settle()  # a persisted loss would keep its step's nodes until the end
        self.last = weakref.ref(loss)
        if self.graph is not graph:
            move([*optimizer.states, *self.sums.values()], self.graph, graph, "the optimizer")
            self.graph = graph
        with graph.recorder:
            if step and not self.waiting:
                optimizer.step(loss.node)
                return
            self._add(gradients(optimizer, loss.node), graph)
            if step:
                self._apply(optimizer, graph)

    def bind(self, params: Sequence[cg.Parameter]) -> optim.Optimizer:
        """zkynet's optimizer of these parameters; those that are new get a group of their own, and keep the others'
        state."""
        old = self.optimizer
        known_ones = set() if old is None else set(old.params)
        new = [parameter for parameter in params if parameter not in known_ones]
        if old is None or new:
            if not params:
                raise GraphError("the model has no parameters that could be trained.")
            groups = [] if old is None else [{"params": group.params} for group in old.param_groups]
            self.optimizer = made = self.options.bound([*groups, {"params": new}])
            if old is not None:
                _take_states(made, {state.short_name: state._value for state in old.states})
            old = made
        if old.lr != self.options.lr:
            old.lr = self.options.lr
        return old

    def _add(self, news: Mapping[cg.Parameter, Any], graph: GraphRecord) -> None:
        node: Any = graph.recorder.node
        both = [parameter for parameter in news if parameter in self.waiting]
        sums = [op.add(node(self.sums[parameter]._value), node(news[parameter])) for parameter in both]
        if sums:
            evaluate(list(sums))
        found = {**news, **{parameter: total._value for parameter, total in zip(both, sums, strict=True)}}
        for parameter, value in found.items():
            if parameter not in self.sums:
                self.sums[parameter] = cg.State(parameter.short_name, jnp.zeros(parameter.shape, parameter.dtype))
            self.sums[parameter]._store(value)
        self.waiting |= found.keys()

    def _apply(self, optimizer: optim.Optimizer, graph: GraphRecord) -> None:
        node: Any = graph.recorder.node
        given = {p: node(self.sums[p]._value) for p in optimizer.params if p in self.waiting and p.trainable}
        self.waiting.clear()
        if given:
            optimizer.apply(given)
            _ = next(iter(given)).value  # records the update of all, which is one program

    # Pickle --------------------------------------------------------------------------------------------------

    def values(self, names: Mapping[cg.Parameter, str]) -> dict[str, Any] | None:
        """The state as arrays by name, with the names of each group's parameters; None while it is not computed."""
        if self.optimizer is None:
            return None
        states = {state.short_name: known(state, self.graph) for state in self.optimizer.states}
        if self.waiting or any(value is None for value in states.values()):
            return None
        return {"groups": [[names.get(p) for p in group.params] for group in self.optimizer.param_groups],
                "states": states}

    def load(self, values: Mapping[str, Any], params: Mapping[str, cg.Parameter]) -> None:
        """Take what `values` gave; parameters that are not built any more let it start anew."""
        groups = [[params.get(name) for name in names] for names in values["groups"]]
        if all(None not in group for group in groups):
            self.optimizer = self.options.bound([{"params": group} for group in groups])
            _take_states(self.optimizer, {name: jnp.asarray(value) for name, value in values["states"].items()})


def _take_states(optimizer: optim.Optimizer, values: Mapping[str, Any]) -> None:
    for state in optimizer.states:
        if state.short_name in values:
            state._store(values[state.short_name])


def gradients(optimizer: optim.Optimizer, root: Node) -> dict[cg.Parameter, Any]:
    """The gradients of a scalar at trained parameters, by the program of its structure; states are updated with it.

    Raises:
        GraphError: when it depends on none of them, or on two values of one.
    """
    due: list[Held] = due_updates([root])
    key, leaves, slots = linearize([root, *pending_of(due)], through=True)
    structure = structure_of(key)
    places, _ = find_places(optimizer, structure, leaves, slots)
    wanted = {parameter: place for parameter, place in zip(optimizer.params, places, strict=True) if place is not None}
    program = vjp_structure(structure, tuple(wanted.values()), (0,), True, {slot: node for node, slot in slots.items()})
    outputs = iter(run(program, known_values(leaves)))
    root._value = next(outputs)
    for state in due:
        state.commit(next(outputs))
    return dict(zip(wanted, outputs, strict=True))
