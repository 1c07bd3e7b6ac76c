"""From graphs to programs. What is known when the file is loaded is computed then: attributes, constants, branches that
depend on them, and functions are written out where they are called. What is left is what a call must do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax

from ...framework import op
from ...framework.errors import GraphError, InputError
from ...framework.nodes import Node
from ...framework.templates import Held
from . import (  # noqa: F401 - their rules register themselves
    rules_create,
    rules_elementwise,
    rules_index,
    rules_loss,
    rules_nn,
    rules_recurrent,
    rules_reduce,
    rules_shape,
)
from .module import TorchScriptModule
from .program import (
    MEMORY,
    Block,
    Program,
    Step,
    assigning_step,
    branch_step,
    copy_step,
    loop_step,
    place_of,
    plain_step,
    reading_step,
    view_step,
    writing_step,
)
from .registry import VIEWS, Rule, find_rule
from .rules_python import CHANGES

if TYPE_CHECKING:
    from .loader import Loading

# PyTorch's own code, as files say where a node comes from.
_LIBRARY = re.compile(r'File "[^"]*[/\\\\]torch[/\\\\](nn|functional|_)')
_SIMPLE = (int, float, bool, str, type(None))


class Decoder:
    """One method of one module, for one of its modes."""

    def __init__(self, module: Any, loading: Loading, training: bool, place: str):
        self.module, self.loading, self.training = module, loading, training
        self.place = place  # where in the user's source the present node comes from
        self.inside = False  # whether it is in PyTorch's own code
        self.frozen = 0  # how many `with torch.no_grad()` are around it
        self.undecided = 0  # how many branches around it depend on what only a call knows
        self.registers: list[Any] = [None]  # the memory's
        self.known: set[int] = {MEMORY}
        self.slots: dict[int, int] = {}  # of objects that are known
        self.tensors: set[int] = set()  # what is surely no None
        self.block = Block([], [])

    def program(self, graph: Any, count: int) -> Program:
        arguments = [self.slot() for _ in range(count)]
        module = self.constant(self.module)
        (result,) = self.inline(graph, [module, *arguments])
        return Program(self.registers, slice(1, 1 + count), self.block, result)

    # Registers ------------------------------------------------------------------------------------------

    def slot(self) -> int:
        self.registers.append(None)
        return len(self.registers) - 1

    def constant(self, value: Any) -> int:
        """A register whose value is known now."""
        simple = isinstance(value, _SIMPLE) or isinstance(value, (list, tuple))
        if not simple and id(value) in self.slots:
            return self.slots[id(value)]
        slot = self.slot()
        self.registers[slot] = value
        self.known.add(slot)
        if not simple:
            self.slots[id(value)] = slot
        return slot

    def value(self, slot: int) -> Any:
        return self.registers[slot]

    def add(self, step: Step) -> None:
        self.block.add(step, self.place)

    # Graphs ---------------------------------------------------------------------------------------------

    def inline(self, graph: Any, arguments: Sequence[int]) -> list[int]:
        names = {value.unique(): slot for value, slot in zip(graph.inputs(), arguments, strict=True)}
        self.note_tensors(graph.inputs(), arguments)
        return self.nodes(graph, names)

    def note_tensors(self, values: Any, slots: Sequence[int]) -> None:
        self.tensors.update(slot for value, slot in zip(values, slots, strict=True)
                            if value.type().kind() == "TensorType")

    def nodes(self, graph: Any, names: dict[int, int]) -> list[int]:
        """Decode a graph's (or an inner block's) nodes; returns the registers of its outputs."""
        for node in graph.nodes():
            before = self.place, self.inside
            self.locate(node.sourceRange())
            inputs = [names[value.unique()] for value in node.inputs()]
            special = _SPECIAL.get(node.kind())
            outputs = special(self, node, inputs, names) if special else self.operator(node, inputs)
            self.place, self.inside = before
            self.note_tensors(node.outputs(), outputs)
            for value, slot in zip(node.outputs(), outputs, strict=True):
                names[value.unique()] = slot
        return [names[value.unique()] for value in graph.outputs()]

    def locate(self, drawn: str) -> None:
        """Note where a node comes from: of PyTorch's own layers and functions, where the user called them."""
        if 'File "' in drawn:
            self.inside = _LIBRARY.search(drawn) is not None
            if not (self.inside and self.place):
                self.place = drawn

    def inner(self, block: Any, names: dict[int, int]) -> tuple[Block, list[int]]:
        outside, self.block = self.block, Block([], [])
        self.undecided += 1
        outputs = self.nodes(block, dict(names))
        self.undecided -= 1
        made, self.block = self.block, outside
        return made, outputs

    # Operators --------------------------------------------------------------------------------------------

    def operator(self, node: Any, inputs: list[int]) -> list[int]:
        kind = node.kind()
        overload = node.schema().partition("(")[0].partition(".")[2] if kind.startswith("aten::") else ""
        rule, target = find_rule(kind, overload), None
        if rule is None and kind.endswith("_") and not kind.endswith("__"):
            rule, target = find_rule(kind[:-1], overload), 0
        if rule is None:
            self.refuse(kind if overload in ("", "vec") else f"{kind}.{overload}")
            return [self.slot() for _ in node.outputs()]
        if target is None:
            folded = self.compared(kind, inputs) or self.folded(rule, inputs)
            if folded is not None:
                return folded
        outputs = [self.slot() for _ in node.outputs()]
        self.emit(kind, rule, inputs, outputs, target)
        return outputs

    def emit(self, kind: str, rule: Rule, inputs: list[int], outputs: list[int], target: int | None) -> None:
        written = None if target is None else inputs[target]
        if self.frozen and not rule.raw:
            rule = rule._replace(call=_detached(rule.call))
        if rule.random:
            self.loading.draws = True
            inputs = [self.constant(self.loading.stream), *inputs]
        mutable = self.loading.mutable
        if written is not None:
            if not mutable and written in self.known and isinstance(self.value(written), Held):
                self.add(assigning_step(rule.call, inputs, outputs, written))
                return
            self.loading.writes = True
            self.add(writing_step(rule.call, inputs, outputs[0], written))
        elif rule.raw or not mutable:
            self.add(plain_step(rule.call, inputs, outputs))
        elif kind in VIEWS and not rule.python:  # that of a string is none
            self.add(view_step(rule.call, kind, inputs, outputs[0]))
        else:
            self.add(reading_step(rule.call, inputs, outputs))

    def folded(self, rule: Rule, inputs: list[int]) -> list[int] | None:
        """The result now, of what is Python's own and whose arguments are all known."""
        if not rule.python or not self.known.issuperset(inputs):
            return None
        values = [self.value(slot) for slot in inputs]
        if not all(_is_plain(value) for value in values):
            return None
        try:
            made = rule.call(*values)
        except Exception:
            return None  # the call will raise it, if it comes to that
        return [self.constant(made)] if isinstance(made, _SIMPLE) else None

    def compared(self, kind: str, inputs: list[int]) -> list[int] | None:
        """Whether something is None, where the graph says that it is not."""
        if kind not in ("aten::__is__", "aten::__isnot__"):
            return None
        ours, other = inputs
        if other not in self.known or self.value(other) is not None:
            return None
        if ours in self.tensors or ours in self.known and self.value(ours) is not None:
            return [self.constant(kind == "aten::__isnot__")]
        return None

    def refuse(self, what: str) -> None:
        """Note what has no rule. In branches of PyTorch's own code, many of which are never taken, the call says it."""
        if not (self.inside and self.undecided):
            self.loading.unsupported[what, place_of(self.place)] = None
            return

        def step(registers: Any) -> None:
            raise GraphError(f"the TorchScript model uses {what}, for which zkynet has no rule.")
        self.add(step)

    # Constants, lists, attributes -------------------------------------------------------------------------

    def literal(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        output = node.output()
        if output.type().kind() == "FunctionType":
            return [self.constant(_Function(output.type().annotation_str))]
        try:
            return [self.constant(self.loading.translated(output.toIValue()))]
        except (RuntimeError, TypeError):
            self.refuse(f"a constant of type {output.type()}")
            return [self.slot()]

    def listed(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        """A list of known values that nothing changes is one of the constants."""
        if self.known.issuperset(inputs) and all(isinstance(self.value(i), (*_SIMPLE, Held)) for i in inputs):
            if self.unchanged(node.output()):
                return [self.constant([self.value(slot) for slot in inputs])]
        return self.operator(node, inputs)

    def unchanged(self, value: Any) -> bool:
        """Whether only operators that read it get this list."""
        for use in value.uses():
            kind = use.user.kind()
            if kind == "prim::CallFunction":
                name = next(iter(use.user.inputs())).type().annotation_str
                if not self.unchanged(list(self.loading.function(name).inputs())[use.offset - 1]):
                    return False
            elif kind != "prim::ListUnpack" and (
                    not kind.startswith("aten::") or kind.partition("::")[2] in CHANGES):
                return False
        return True

    def attribute(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        owner, name = self.value(inputs[0]), node.s("name")
        if inputs[0] not in self.known or not isinstance(owner, TorchScriptModule):
            self.refuse(f"{node.kind()} of what is chosen when the model runs")
            return [self.slot()]
        if name == "training":
            if owner is self.module:
                return [self.constant(self.training)]
        elif (owner.class_name, name) not in self.loading.changing or isinstance(owner.members.get(name), Held):
            try:
                return [self.constant(self.loading.attribute(owner, name))]
            except (InputError, RuntimeError, TypeError):
                self.refuse(f"the attribute {name!r} of {owner.functional_name}, of type {node.output().type()}")
                return [self.slot()]
        else:
            self.loading.attribute(owner, name)  # what it is at first
        out = self.slot()
        self.add(plain_step(lambda module: module.attribute(name), inputs, [out]))
        return [out]

    def assignment(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        name, (owner, value) = node.s("name"), inputs
        if not isinstance(self.value(owner), TorchScriptModule):
            self.refuse(f"{node.kind()} of what is chosen when the model runs")
            return []
        held = self.loading.attribute(self.value(owner), name)
        if isinstance(held, Held):
            rule = Rule(lambda old, new: new)
            self.emit("prim::SetAttr", rule, [self.constant(held), value], [self.slot()], 0)
        else:
            self.add(plain_step(lambda module, new: module.assign_attribute(name, new), inputs, []))
        return []

    # Calls ------------------------------------------------------------------------------------------------

    def function(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        called = self.value(inputs[0])
        if not isinstance(called, _Function):
            self.refuse("a call of a function that is chosen when the model runs")
            return [self.slot() for _ in node.outputs()]
        return self.inline(self.loading.function(called), inputs[1:])

    def method(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        owner, name = self.value(inputs[0]), node.s("name")
        if isinstance(owner, _Object):
            return [self.constant(None) for _ in node.outputs()]
        if not isinstance(owner, TorchScriptModule):
            self.refuse(f"a call of {name} of {list(node.inputs())[0].type()}, which is no module")
            return [self.slot() for _ in node.outputs()]
        if owner is self.module:
            return self.inline(self.loading.graph(owner, name), inputs)
        self.loading.decode(owner, name, self.place)
        out = self.slot()

        def call(module: TorchScriptModule, memory: Any, *arguments: Any) -> Any:
            return module.run(name, arguments, memory)
        self.add(plain_step(_detached(call) if self.frozen else call, [inputs[0], MEMORY, *inputs[1:]], [out]))
        return [out]

    def created(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        """An object of a class: that of `with torch.no_grad()` only."""
        kind = node.output().type().annotation_str
        if kind != _NO_GRAD:
            self.refuse(f"an object of the class {kind}")
        return [self.constant(_Object(kind))]

    def enter(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        if self.value(inputs[0]) == _NO_GRAD:
            self.frozen += 1 if node.kind() == "prim::Enter" else -1
        return [self.slot() for _ in node.outputs()]

    # Control flow -----------------------------------------------------------------------------------------

    def branch(self, node: Any, inputs: list[int], names: dict[int, int]) -> list[int]:
        condition, blocks = inputs[0], list(node.blocks())
        if condition in self.known:
            return self.nodes(blocks[0 if self.value(condition) else 1], dict(names))
        (if_true, ones), (if_false, others) = (self.inner(block, names) for block in blocks)
        outputs = [self.common(*both) for both in zip(ones, others, strict=True)]
        chosen = [i for i, slot in enumerate(outputs) if slot not in self.known]
        if chosen:
            for block, found in ((if_true, ones), (if_false, others)):
                block.add(copy_step([found[i] for i in chosen], [outputs[i] for i in chosen]), self.place)
        if if_true.steps or if_false.steps:
            self.add(branch_step(condition, if_true, if_false))
        return outputs

    def common(self, one: int, other: int) -> int:
        """The register for a result of two branches; a known one when both give the same."""
        if one in self.known and other in self.known:
            a, b = self.value(one), self.value(other)
            if a is b or type(a) is type(b) and isinstance(a, _SIMPLE) and a == b:
                return one
        return self.slot()

    def loop(self, node: Any, inputs: list[int], names: dict[int, int]) -> list[int]:
        limit, condition, *first = inputs
        (body,) = node.blocks()
        index, *carried = [self.slot() for _ in body.inputs()]
        if first:
            self.add(copy_step(first, carried))
        inside = {value.unique(): slot for value, slot in zip(body.inputs(), (index, *carried), strict=True)}
        block, (again, *found) = self.inner(body, {**names, **inside})
        go_on = self.slot()
        block.add(copy_step([again, *found], [go_on, *carried]), self.place)
        self.add(loop_step(limit, condition, index, block, go_on))
        return carried

    def same(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        """What tells PyTorch's compiler about a type: the value, of which more is known from here on."""
        if inputs[0] in self.known:
            return inputs
        out = self.slot()
        self.add(copy_step(inputs, [out]))
        return [out]

    def unpacked(self, node: Any, inputs: list[int], names: Any) -> list[int]:
        if inputs[0] in self.known:
            return [self.constant(item) for item in self.value(inputs[0])]
        outputs = [self.slot() for _ in node.outputs()]
        self.add(plain_step(lambda items: items, inputs, outputs) if len(outputs) != 1 else
                 plain_step(lambda items: items[0], inputs, outputs))
        return outputs


class _Function(str):
    """The name of a function, as a value."""


class _Object(str):
    """An object, as the name of its class."""


_NO_GRAD = "__torch__.torch.autograd.grad_mode.no_grad"


def _detached(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same without gradient."""
    def made(*arguments: Any) -> Any:
        return jax.tree.map(lambda x: op.stop_gradient(x) if isinstance(x, Node) and x.aval.inexact else x,
                            call(*arguments))
    return made


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _SIMPLE)


_SPECIAL: dict[str, Callable[..., list[int]]] = {
    "prim::Constant": Decoder.literal, "prim::GetAttr": Decoder.attribute, "prim::SetAttr": Decoder.assignment,
    "prim::CallFunction": Decoder.function, "prim::CallMethod": Decoder.method, "prim::If": Decoder.branch,
    "prim::Loop": Decoder.loop, "prim::ListConstruct": Decoder.listed, "prim::TupleUnpack": Decoder.unpacked,
    "prim::ListUnpack": Decoder.unpacked, "prim::unchecked_cast": Decoder.same,
    "prim::unchecked_unwrap_optional": Decoder.same, "prim::CreateObject": Decoder.created,
    "prim::Enter": Decoder.enter, "prim::Exit": Decoder.enter,
}
