"""An ONNX graph in the making: what rules add nodes and constants to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...framework.attributes import exact
from ...framework.errors import ZkynetError
from ...framework.session import describe_origin
from .export_trace import Dim, Kind, Program, Step, Traced, Unsupported, at, trace


class Value(str):
    """The name of a value in an ONNX graph, with its shape (which may hold Dims) and dtype."""

    shape: tuple
    dtype: np.dtype
    weak: bool

    @staticmethod
    def of(name: str, kind: Kind) -> Value:
        value = Value(name)
        value.shape, value.dtype, value.weak = kind
        return value

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def kind(self) -> Kind:
        return Kind(self.shape, self.dtype, self.weak)


class Names:
    """Names that are given once in a model, by all of its graphs."""

    def __init__(self):
        self.given: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        count = self.given.get(wanted)
        self.given[wanted] = 0 if count is None else count + 1
        return wanted if count is None else self(f"{wanted}_{count + 1}")


class Model:
    """What the graphs of one model share: names, initializers, the batch size, and what could not be exported."""

    def __init__(self, sizes: Sequence[int], opset: int):
        self.sizes = list(sizes)  # of the batch, in the traces
        self.opset = opset
        self.names = Names()
        self.initializers: dict[str, Any] = {}
        self.constants: dict[tuple, str] = {}
        self.numbers: dict[str, Any] = {}  # Python numbers by the name of their constant
        self.problems: dict[str, None] = {}
        self.batch: Callable[[Graph], str] | None = None
        self.computed: dict[Any, str] = {}  # of the batch size
        self.expanded: dict[tuple, Traced] = {}
        self.makers: dict[str, tuple[Step, list[Value]]] = {}  # the step that made a value, and its inputs
        self.last_states: set[str] = set()  # values that are only the last step of the sequence they stand for

    def info(self, name: str, kind: Kind) -> Any:
        """ONNX's description of an input or output."""
        from onnx import helper

        shape = [self.dim_name(n) if isinstance(n, Dim) else int(n) for n in kind.shape]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), shape)

    def dim_name(self, dim: Dim) -> str | None:
        """A name for an axis whose length depends on the batch size: "batch", "2*batch", "batch+1"."""
        found = dim.affine(self.sizes)
        if found is None:
            return None
        slope, start = found
        times = "batch" if slope == 1 else f"{slope}*batch"
        return f"{times}{'+' if start > 0 else ''}{start}" if start else times


class Graph:
    """A graph or the body of a loop or branch. `Operator.onnx(graph, *inputs, **attributes)` is given one.

    Inputs are names (`str`) that know their `shape` and `dtype`. A rule adds nodes and returns the name of its output,
    or a tuple of names for an operator with several.

    Attributes:
        out: the Kind (shape, dtype) of the output that a rule is asked for; `outs` for all of several.
    """

    def __init__(self, model: Model, parent: Graph | None = None):
        self.model = model
        self.parent = parent
        self.nodes: list[Any] = []
        self.path = "" if parent is None else parent.path
        self.depth = 0 if parent is None else parent.depth  # of operators that are written as several others
        self.outs: tuple[Kind, ...] = ()
        self.place: tuple[Program, int] | None = None  # the step that is being written

    @property
    def out(self) -> Kind:
        return self.outs[0]

    @property
    def root(self) -> Graph:
        return self if self.parent is None else self.parent.root

    # For rules ------------------------------------------------------------------------------------------

    def add(self, op_type: str, *inputs: Any, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node; returns the name of its output, or a tuple of names where `outputs` is more than one.

        Inputs are names, "" for one left out, or NumPy arrays, which become constants.
        """
        from onnx import helper

        given = [self.constant(i) if isinstance(i, (np.ndarray, np.generic)) else str(i) for i in inputs]
        name = self.model.names(f"{self.path}.{op_type}" if self.path else op_type)
        made = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, given, made, name=name, domain=domain, **attributes))
        return name if outputs == 1 else tuple(made)

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of a constant."""
        from onnx import numpy_helper

        array = np.asarray(array, dtype)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 1024 else (id(array), object())
        name = self.model.constants.get(key)
        if name is None:
            name = self.model.constants[key] = self.model.names("constant")
            self.model.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape),
                                                                    name)
        return name

    def cast(self, value: str, dtype: Any) -> Any:
        """The value in another dtype; the value itself if it has that."""
        from onnx import helper

        dtype = np.dtype(dtype)
        if isinstance(value, Value) and value.dtype == dtype:
            return value
        if value in self.model.numbers:
            return self.constant(self.model.numbers[value], dtype)
        made = self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(dtype))
        return Value.of(made, Kind(value.shape, dtype)) if isinstance(value, Value) else made

    def dims(self, dims: Sequence[Any]) -> str:
        """An int64 vector of numbers, computed from the batch size where they depend on it."""
        if not any(isinstance(dim, Dim) for dim in dims):
            return self.constant(np.array(dims, np.int64))
        parts = [self.dim(dim) if isinstance(dim, Dim) else self.constant(np.array([dim], np.int64)) for dim in dims]
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=0)

    def dim(self, dim: Dim) -> str:
        """An int64 vector of one element, computed from the batch size."""
        name = self.model.computed.get(dim)
        if name is None:
            name = self.model.computed[dim] = self._computed(dim)
        return name

    def _computed(self, dim: Dim) -> str:
        root, found = self.root, dim.affine(self.model.sizes)
        if found is None:
            raise Unsupported(f"it needs a number that is {dim} for a batch of {self.model.sizes}: no multiple of that "
                              "plus a constant. Export with dynamic_batch=False")
        slope, start = found
        assert self.model.batch is not None
        name, below = self.model.batch(root), math.lcm(slope.denominator, start.denominator)
        for op_type, number, idle in (("Mul", slope * below, 1), ("Add", start * below, 0), ("Div", below, 1)):
            if number != idle:
                name = root.add(op_type, name, np.array([int(number)], np.int64))
        return name

    def scalar(self, value: Any, dtype: Any) -> str:
        """A number (or Dim) as a scalar constant."""
        if not isinstance(value, Dim):
            return self.constant(np.asarray(value), dtype)
        if all(isinstance(v, int) for v in value.values):
            return self.cast(self.add("Squeeze", self.dim(value), np.array([0], np.int64)), dtype)
        sizes = np.array(self.model.sizes, np.float64)
        for inverse in (False, True):  # the number, or one over it, such as 1 / n
            with np.errstate(divide="ignore"):
                wanted = np.array(value.values, np.float64) ** (-1 if inverse else 1)
            slope = (wanted[1] - wanted[0]) / (sizes[1] - sizes[0])
            start = wanted[0] - slope * sizes[0]
            if np.allclose(slope * sizes + start, wanted, rtol=1e-9, atol=0.0):
                size = self.scalar(Dim(self.model.sizes), dtype)
                name = self.add("Add", self.add("Mul", size, np.asarray(slope, dtype)), np.asarray(start, dtype))
                return self.add("Reciprocal", name) if inverse else name
        raise Unsupported(f"it needs a number that is {value} for a batch of {self.model.sizes}: neither a multiple of "
                          "that plus a constant, nor one over such. Export with dynamic_batch=False")

    def expand(self, function: Callable[..., Any], *values: Value, **attributes: Any) -> Any:
        """What a function of nodes makes of values: the name of its output, or names, as Values."""
        key = (function, tuple([value.kind for value in values]), exact(tuple(sorted(attributes.items()))))
        try:
            traced = self.model.expanded.get(key)
        except TypeError:  # an attribute that is not hashable
            traced, key = None, None
        if traced is None:
            count = len(self.model.sizes)
            runs = iter(range(count))

            def run(*nodes: Any) -> Any:
                one = next(runs)
                return function(*nodes, **{name: at(value, one) for name, value in attributes.items()})

            traced = trace(run, [[value.kind.aval(i) for value in values] for i in range(count)])
            if key is not None:
                self.model.expanded[key] = traced
        captured = [self.capture(one, kind) for one, kind in
                    zip(traced.captured, traced.program.inputs[len(values):], strict=True)]
        self.depth += 1
        try:
            made = self.run(traced.program, [*values, *captured])
        finally:
            self.depth -= 1
        return made[0] if len(made) == 1 else tuple(made)

    # What surrounds the step that is being written ------------------------------------------------------

    def is_only_reader(self, index: int) -> bool:
        """Whether nothing else reads this step's input of that index."""
        assert self.place is not None
        program, slot = self.place
        step = program.items[slot]
        return isinstance(step, Step) and len(program.readers[step.inputs[index]]) == 1

    def readers(self) -> dict[int, list[Step | None]]:
        """For each output of this step that is read: the steps that read it; None where it is an output of all."""
        assert self.place is not None
        program, slot = self.place
        return {index: found for index, found in program.output_readers(slot).items() if found}

    # For loops and branches -----------------------------------------------------------------------------

    def input(self, name: str, kind: Kind) -> Value:
        """A new input of this graph, to be handed to `finished`."""
        return Value.of(self.model.names(f"{self.path}.{name}" if self.path else name), kind)

    def finished(self, inputs: Sequence[Value], outputs: Sequence[str], kinds: Sequence[Kind]) -> Any:
        """The GraphProto of the body of a loop or branch. Outputs are made by nodes of its own."""
        from onnx import helper

        made = [self.add("Identity", name) for name in outputs]
        return helper.make_graph(self.nodes, self.model.names(f"{self.path}.body" if self.path else "body"),
                                 [self.model.info(value, value.kind) for value in inputs],
                                 [self.model.info(name, kind) for name, kind in zip(made, kinds, strict=True)])

    # For the exporter -----------------------------------------------------------------------------------

    def capture(self, captured: Any, kind: Kind) -> Value:
        """A constant that a function captured."""
        value = captured.value
        if isinstance(value, Dim) or isinstance(value, (int, float)):
            name = self.scalar(value, kind.dtype)
            if not isinstance(value, Dim):
                # Every use in another dtype is a constant of its own, exact in that.
                if name not in self.model.numbers or repr(self.model.numbers[name]) != repr(value):
                    self.model.numbers[name] = value
        else:
            name = self.constant(np.asarray(value), kind.dtype)
        return Value.of(name, kind)

    def run(self, program: Program, inputs: Sequence[Value]) -> list[Value]:
        """Add a program's steps, and return its outputs."""
        from .export_rules import rule_of

        given, values = iter(inputs), []
        path = self.path
        for item in program.items:
            if isinstance(item, Kind):
                values.append(next(given))
                continue
            if item.operator.name == "output" and isinstance(values[item.inputs[0]], tuple):
                values.append(values[item.inputs[0]][item.attributes["index"]])
                continue
            around = self.place
            self.place = program, len(values)
            if item.path is not None:
                self.path = item.path.partition(".")[2]
            try:
                values.append(self._apply(rule_of(item.operator), item, [values[slot] for slot in item.inputs]))
            finally:
                self.path, self.place = path, around
        return [values[slot] for slot in program.outputs]

    def _apply(self, rule: Any, step: Step, inputs: list[Value]) -> Any:
        outs, self.outs = self.outs, step.kinds
        try:
            made = rule(self, *inputs, **step.attributes)
        except (Unsupported, ZkynetError) as problem:
            if self.depth:  # a problem of the operator that is written so
                raise
            self._note(step, str(problem))
            made = ("",) * len(step.kinds)
        finally:
            self.outs = outs
        names = made if isinstance(made, tuple) else (made,)
        if len(names) != len(step.kinds):
            self._note(step, f"its rule returned {len(names)} outputs, but it has {len(step.kinds)}")
            names = ("",) * len(step.kinds)
        values = tuple([self._fitting(name, kind) for name, kind in zip(names, step.kinds, strict=True)])
        self.model.makers.update(dict.fromkeys(values, (step, inputs)))
        return values if step.several else values[0]

    def _fitting(self, name: str, kind: Kind) -> Value:
        if isinstance(name, Value) and name.dtype != kind.dtype:
            name = self.cast(name, kind.dtype)
        return Value.of(str(name), kind)

    def _note(self, step: Step, problem: str) -> None:
        line = describe_origin(step.origin)
        place = f" in {step.path}" if step.path else f" in {self.path}" if self.path else ""
        self.model.problems[f"{step.operator.name}{place}{f' at {line}' if line else ''}: {problem}"] = None
