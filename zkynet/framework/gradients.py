"""back(): the gradients of one graph, computed when they are read, in one program for all leaves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .avals import x64_mode
from .backward import vjp_structure
from .compile import due_updates, known_values, leaf_name, run, structure_of
from .errors import GraphError, ShapeError
from .leaves import zeros_aval
from .nodes import Engine, Node, OperatorNode
from .operators.control import mapped
from .structure import Structure, linearize
from .templates import Parameter, Template, as_array

# Gradients of all interior nodes are computed together, as long as they are not larger than this.
_TOGETHER = 256 * 2**20


class Gradients:
    """The gradients of one `back()`. Holds the leaves' arrays and numbers of nodes, never the nodes."""

    def __init__(self, root: Node, cotangent: Any):
        self.updates = [(state, update) for state in due_updates([root]) if (update := state._pending) is not None]
        key, leaves, slots = linearize([root, *(update for _, update in self.updates)], through=True)
        self.structure = structure = structure_of(key)
        if structure.names is None:
            structure.names = [leaf_name(leaf) for leaf in leaves]
        # Where nodes were made, for the messages of wrong rules; those run only for a new structure.
        self.origins = None if structure.derived else {slot: node for node, slot in slots.items()}
        self.arrays = known_values(leaves)
        self.slots = {node.serial: slot for node, slot in slots.items()}
        self.computed: dict[int, jax.Array] = {}
        self.root_aval = root.aval
        self.place = root.scope, root.name
        self.jacobian = cotangent is None and root.aval.shape != ()
        self.cotangent = None if cotangent is None else self._checked_cotangent(root, cotangent)
        # The root's value comes out of the same program; it is dropped then, as this must not keep nodes alive.
        self.root = root if root._value is None else None
        self._take_templates(leaves, slots)
        if self.jacobian:
            self._check_memory(self.wanted)
        self._take_calls(slots)

    def _take_templates(self, leaves: list[Node], slots: dict[Node, int]) -> None:
        """What is computed at once: gradients of leaves that stand for inputs and trained parameters."""
        templates: dict[Template, list[int]] = {}
        wanted: list[int] = []
        for leaf in leaves:
            template = leaf.template
            if template is not None:
                slot = slots[leaf]
                templates.setdefault(template, []).append(slot)
                if not isinstance(template, Parameter) or template.trainable:
                    wanted.append(slot)
        self.templates = templates
        self.wanted = tuple(wanted)

    def _take_calls(self, slots: dict[Node, int]) -> None:
        """Become the gradients that nodes of these calls read, and collect who observes them."""
        self.observers: list[tuple[int, Any]] = []
        last = None
        for node in slots:
            call = node.call
            if call is not last and call.backward is not self:
                last = call
                call.backward = self
                for serial, functions in (call.observers or {}).items():
                    if serial in self.slots:
                        self.observers += [(self.slots[serial], function) for function in functions]
        if self.observers:
            self.wanted += tuple({slot for slot, _ in self.observers} - set(self.wanted))

    def _checked_cotangent(self, root: Node, cotangent: Any) -> Any:
        array = cotangent.value if isinstance(cotangent, Node) else as_array(cotangent, "the cotangent of back()")
        aval = zeros_aval(root.aval)
        if array.shape != aval.shape:
            raise ShapeError(f"back(cotangent) needs the root's shape {aval.shape}, but got {array.shape}.")
        return array.astype(aval.dtype)

    def _check_memory(self, wanted: Sequence[int]) -> None:
        """A tensor root has full Jacobians: refuse those that cannot fit."""
        sizes = {slot: self.root_aval.size * zeros_aval(self.structure.aval(slot)).nbytes for slot in wanted}
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        if sum(sizes.values()) > available:
            raise GraphError(
                f"back() on a root of shape {self.root_aval.shape} gives full Jacobians, which would take "
                f"{sum(sizes.values()) / 2**30:.1f} GiB. Reduce the root to a scalar (a loss), or pass a cotangent: "
                "back(cotangent) gives the vector-Jacobian product.")

    def program(self, wanted: tuple[int, ...]) -> Structure:
        """The root's value, state updates and the gradients of the wanted slots."""
        if self.jacobian:
            self._check_memory(wanted)
            return jacobian_structure(self.structure, wanted, self.origins)
        return vjp_structure(self.structure, wanted, (0,), self.cotangent is None, self.origins)

    def compute(self, wanted: tuple[int, ...]) -> None:
        """Run that program and keep what it gives."""
        if self.root_aval.x64 != x64_mode():
            with jax.enable_x64(self.root_aval.x64):
                return self.compute(wanted)
        arguments = self.arrays if self.cotangent is None else [*self.arrays, self.cotangent]
        outputs = run(self.program(wanted), arguments, self._describe)
        self.origins = None  # derived by now; this must not keep nodes alive
        count = len(self.structure.outputs)
        if self.root is not None:
            self.root._value = outputs[0]
            self.root = None
        if self.updates:
            for (state, update), value in zip(self.updates, outputs[1:count], strict=True):
                if state._pending is update:  # otherwise it was committed, or a later call has assigned another one
                    state.commit(value)
            self.updates = []
        self.computed.update(zip(wanted, outputs[count:], strict=True))

    def _describe(self) -> str:
        scope, name = self.place
        return f"{scope.path if scope is not None else name}, backward"

    def at(self, slot: int) -> jax.Array:
        """The gradient at a slot; everything that is wanted anyway is computed together with it."""
        found = self.computed.get(slot)
        if found is not None:
            return found
        if slot in self.wanted:
            self.compute(self.wanted)
        else:
            self.compute(self._all_or_one(slot))
        return self.computed[slot]

    def _all_or_one(self, slot: int) -> tuple[int, ...]:
        slots = tuple([s for s in sorted(set(self.slots.values()))
                       if s not in self.computed and not isinstance(self.structure.aval(s), tuple)])
        times = self.root_aval.size if self.jacobian else 1
        total = sum(self.structure.aval(s).nbytes for s in slots) * times
        return slots if total <= _TOGETHER else (slot,)

    def gradient(self, node: Node) -> jax.Array | None:
        slot = self.slots.get(node.serial)
        return None if slot is None or isinstance(self.structure.aval(slot), tuple) else self.at(slot)

    def gradient_of_template(self, template: Template) -> jax.Array | None:
        """Summed over the leaves that stand for it (several, when calls with different values were joined)."""
        slots = self.templates.get(template)
        if slots is None:
            return None
        total = self.at(slots[0])
        for slot in slots[1:]:
            total = total + self.at(slot)
        return total

    def describe_templates(self) -> str:
        return ", ".join(repr(template) for template in self.templates) or "none"


def jacobian_structure(structure: Structure, wanted: tuple[int, ...], origins: Any = None) -> Structure:
    """Outputs followed by d output[0] / d slot, of shape output.shape + slot.shape, for the wanted slots."""
    from .backward import derive
    from .operators.shape import basis, reshape

    pull = vjp_structure(structure, wanted, (0,), origins=origins)
    count = len(structure.outputs)

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        aval = pull.in_avals[-1]
        seeds = basis(shape=aval.shape, dtype=aval.dtype)
        axes = (None,) * len(leaves) + (0,)
        rows = mapped(*leaves, seeds, structure=pull, in_axes=axes, size=aval.size)
        jacobians = [reshape(row, shape=aval.shape + row.shape[1:]) for row in rows[count:]]
        return [*(nodes[slot] for slot in structure.outputs), *jacobians], leaves

    return derive(structure, ("jacobian", wanted), build)


def back(root: Node, cotangent: Any = None) -> None:
    """`Node.back` and `ModuleGraph.back`."""
    if root.aval.x64 != x64_mode():
        with jax.enable_x64(root.aval.x64):
            return back(root, cotangent)
    gradients = Gradients(root, cotangent)
    if gradients.observers:
        gradients.compute(gradients.wanted)
        for slot, function in gradients.observers:
            if function is not None:
                function(gradients.computed[slot])


def local_derivative_value(node: Node, child: Node) -> jax.Array:
    """`node.grad(child)`: d node / d child, through this operator alone."""
    from .transforms import local_derivative

    if not isinstance(node, OperatorNode) or child not in node.inputs:
        raise GraphError(f"{child!r} is not a child of {node!r}; grad(node) is the local derivative with respect to a "
                         "child. For the total derivative call back() and read child.gvalue.")
    parts = [local_derivative(node, index).value for index, other in enumerate(node.inputs) if other is child]
    return np.sum(parts, axis=0) if len(parts) > 1 else parts[0]


Engine.back = staticmethod(back)
Engine.local_derivative = staticmethod(local_derivative_value)
