"""An ONNX graph as a list of steps, and one execution of it: values by name, rules applied in the file's order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...framework import cg, config, op
from ...framework.avals import x64_mode
from ...framework.errors import GraphError, InputError, ShapeError, TracedValueError, ZkynetError
from ...framework.nodes import Node
from ...framework.random_stream import RandomStream
from ...framework.templates import State
from .import_registry import NodeContext, describe_node, find_rule
from .reading import array_of, domain_of

_REMEMBERED_BYTES = 4096  # larger constants that depend on shapes are computed again in every call
_REMEMBERED = 256
_FOLDED_BYTES = 1 << 28  # no operator on constants may make more than this


class Step:
    """One node of the file with its rule. Pickled as the node, since rules are looked up."""

    __slots__ = ("node", "opset", "dtypes", "programs", "inputs", "outputs", "attributes", "rule", "memory",
                 "folder")

    def __init__(self, node: Any, opset: int, dtypes: tuple[Any, ...], programs: dict[str, Program]):
        self.node = node
        self.opset = opset
        self.dtypes = dtypes
        self.programs = programs  # the subgraphs, by attribute
        self.inputs = tuple(node.input)
        self.outputs = tuple(node.output)
        self.attributes = {a.name: _attribute(a) for a in node.attribute}
        rule = find_rule(domain_of(node), node.op_type, opset)
        if rule is None:
            raise InputError(f"{describe_node(node)} cannot be imported: there is no rule for it.")
        self.rule = rule
        self.memory: dict[tuple, tuple] = {}
        self.folder: Any = None

    def __reduce__(self) -> tuple:
        return Step, (self.node, self.opset, self.dtypes, self.programs)

    @property
    def folds(self) -> bool:
        """Whether it is computed from constants without its rule: not what is random or holds subgraphs."""
        return self.rule.fold and not self.programs

    def fold(self, values: Sequence[Any]) -> tuple:
        """The outputs from constants, by ONNX's own NumPy implementation; the same inputs are computed once."""
        key = None
        if sum(v.nbytes for v in values if v is not None) <= _REMEMBERED_BYTES and not any(
                v is not None and v.dtype == object for v in values):
            key = tuple([None if v is None else (v.dtype.char, v.shape, v.tobytes()) for v in values])
            found = self.memory.get(key)
            if found is not None:
                return found
        made = self._folded(values)
        if key is not None and sum(m.nbytes for m in made) <= _REMEMBERED_BYTES:
            if len(self.memory) >= _REMEMBERED:
                self.memory.clear()
            self.memory[key] = made
        return made

    def _folded(self, values: Sequence[Any]) -> tuple:
        if self.folder is None:
            from onnx.reference import ReferenceEvaluator

            self.folder = ReferenceEvaluator(self.node, opsets={domain_of(self.node): self.opset})
        feeds = {name: value for name, value in zip(self.inputs, values, strict=False) if name}
        with np.errstate(all="ignore"):
            return tuple(np.asarray(made) for made in self.folder.run(None, feeds))


def _attribute(attribute: Any) -> Any:
    """An attribute's value in Python."""
    from onnx import AttributeProto, helper

    if attribute.type == AttributeProto.TENSOR:
        return array_of(attribute.t)
    if attribute.type == AttributeProto.TENSORS:
        return [array_of(tensor) for tensor in attribute.tensors]
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if attribute.type == AttributeProto.STRINGS:
        return [v.decode("utf-8", "replace") for v in value]
    return list(value) if attribute.type in (AttributeProto.FLOATS, AttributeProto.INTS) else value


class Program:
    """The steps of one graph, those on constants done.

    Attributes:
        constants: what is known from the file: integer initializers, Constant, and what is computed from those.
        weights: templates that hold the initializers that are not constants.
        states: all States of the model, by the name in the file.
    """

    def __init__(self, name: str, inputs: Sequence[str], outputs: Sequence[str], constants: dict[str, np.ndarray],
                 weights: dict[str, cg.Parameter | State], states: dict[str, State]):
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.constants = constants
        self.weights = weights
        self.states = states
        self.steps: list[Step] = []

    def add(self, step: Step) -> None:
        """Append a step, unless it can be computed here and now."""
        if not self._known(step):
            self.steps.append(step)

    def _known(self, step: Step) -> bool:
        if step.node.op_type == "Constant" and domain_of(step.node) == "":
            self.constants[step.outputs[0]] = constant_of(step.attributes)
            return True
        if not step.folds or not all(not name or name in self.constants for name in step.inputs):
            return False
        if sum(self.constants[name].nbytes for name in step.inputs if name) > _FOLDED_BYTES:
            return False
        try:
            made = step.fold([self.constants[name] if name else None for name in step.inputs])
        except Exception:  # whatever the reference does not do is left to our rule
            return False
        self.constants.update((name, value) for name, value in zip(step.outputs, made, strict=False) if name)
        return True


def constant_of(attributes: Mapping[str, Any]) -> np.ndarray:
    """The array of a Constant node."""
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for name, value in attributes.items():
        if name == "value":
            return value
        if name in kinds:
            return np.asarray(value, dtype=kinds[name])
        if name in ("value_string", "value_strings"):
            return np.asarray(value, dtype=object)
    raise InputError("an ONNX Constant holds none of the values that can be imported (sparse tensors cannot).")


class Run:
    """One call of an imported module, or of a subgraph within it."""

    __slots__ = ("program", "values", "mode", "training", "unbiased", "stream")

    def __init__(self, program: Program, values: dict[str, Any], mode: str, unbiased: bool,
                 stream: RandomStream | None):
        self.program = program
        self.values = values
        self.mode = mode  # "file", "train" or "eval"
        self.training = mode == "train"
        self.unbiased = unbiased
        self.stream = stream

    # What rules ask for ---------------------------------------------------------------------------------

    def random_key(self) -> Any:
        assert self.stream is not None
        return self.stream.draw()

    def state(self, name: str) -> State | None:
        return self.program.states.get(name)

    def subgraph(self, program: Program) -> Callable[..., tuple]:
        def body(*inputs: Any) -> tuple:
            values = dict(self.values)
            values.update(program.constants)
            values.update(grounded(program.weights))
            inner = Run(program, values, self.mode, self.unbiased, self.stream)
            return inner.execute(inputs)

        return body

    def again(self, names: Sequence[str], wanted: str) -> Callable[..., Any]:
        """The value `wanted` as a function of the values `names`; everything else is as in this call."""

        def function(*given: Any) -> Any:
            replaced = dict(zip(names, given, strict=True))
            run = Run(self.program, {**self.values, **replaced}, self.mode, self.unbiased, self.stream)
            for step in self.program.steps:
                if not replaced.keys() & set(step.outputs):
                    run._execute(step)
                if wanted in step.outputs:
                    break
            return run.values[wanted]

        return function

    # Execution ------------------------------------------------------------------------------------------

    def execute(self, inputs: Sequence[Any]) -> tuple:
        """The outputs of the graph for these inputs."""
        names = self.program.inputs
        if len(inputs) > len(names):
            raise InputError(f"the ONNX graph {self.program.name!r} takes {len(names)} inputs "
                             f"({', '.join(names)}), but got {len(inputs)}.")
        self.values.update(zip(names, inputs, strict=False))
        for step in self.program.steps:
            self._execute(step)
        try:
            return tuple([self.values[name] for name in self.program.outputs])
        except KeyError as error:
            raise GraphError(f"the ONNX graph has no value for its output {error.args[0]!r}.") from None

    def _execute(self, step: Step) -> None:
        values = self.values
        try:
            inputs = [values[name] if name else None for name in step.inputs]
        except KeyError as error:
            raise InputError(
                f"{describe_node(step.node)} uses {error.args[0]!r}, for which there is no value.") from None
        made = self._apply(step, inputs)
        for name, value, dtype in zip(step.outputs, made, step.dtypes, strict=False):
            if name:
                values[name] = _as_declared(value, dtype)

    def _apply(self, step: Step, inputs: list[Any]) -> Any:
        if step.folds and all(v is None or v.__class__ is np.ndarray for v in inputs):
            try:
                return step.fold(inputs)
            except Exception:  # whatever the reference does not do is left to our rule
                pass
        attributes = step.attributes
        if self.mode == "eval":  # a file may say that it is in training
            if step.node.op_type == "BatchNormalization":  # before version 14 by its outputs, without `is_test`
                attributes = {**attributes, "training_mode": 0, "is_test": 1}
            elif step.node.op_type == "Dropout":
                inputs = inputs[:2]
        try:
            made = step.rule.function(NodeContext(step.node, step.opset, attributes, self, step.programs), *inputs)
        except TracedValueError:
            raise
        except (ShapeError, GraphError, InputError) as error:
            where = "" if "ONNX node" in str(error) else f"{describe_node(step.node)}: "
            raise type(error)(f"{where}{error}") from error
        except ZkynetError:
            raise
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError) as error:
            raise InputError(f"{describe_node(step.node)} cannot be imported with these inputs and attributes: "
                             f"{type(error).__name__}: {error}") from error
        return made if made.__class__ is tuple else (made,)


def grounded(weights: Mapping[str, cg.Parameter | State]) -> dict[str, Any]:
    """The nodes of parameters and states in the call in progress."""
    from ...framework import leaves
    from ...framework.session import current_session

    session = current_session.get()
    # Statistics themselves, not what the precision in force makes of them: small steps would be lost.
    return {name: (leaves.grounded if isinstance(held, State) else leaves.as_node)(held, session, held)
            for name, held in weights.items()}


@functools.cache
def _canonical(dtype: Any, x64: bool) -> np.dtype:
    """The dtype that JAX has for one of a file, with or without 64 bits."""
    return jax.dtypes.canonicalize_dtype(dtype)


def _as_declared(value: Any, dtype: Any) -> Any:
    """A value in the dtype that the graph implies. Under mixed precision, floats stay as they were computed."""
    if dtype is None or value is None or isinstance(value, (list, tuple)):
        return value
    if not isinstance(value, Node):
        if isinstance(value, np.ndarray):
            return value if value.dtype == dtype or value.dtype == object else value.astype(dtype)
        if not hasattr(value, "root"):
            return np.asarray(value, dtype)
        value = value.root
    wanted = _canonical(dtype, x64_mode())
    aval = value.aval
    if aval.dtype == wanted and not aval.weak_type:
        return value
    if config.compute_dtype() is not None and aval.inexact and wanted.kind in "fV":
        return value
    return op.cast(value, dtype=wanted)
