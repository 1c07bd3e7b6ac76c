"""ONNX files as zkynet Modules: `load` gives a trainable `OnnxModel`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...framework import cg, config, op
from ...framework.errors import InputError, ShapeError, ZkynetError
from ...framework.nodes import Node
from ...framework.random_stream import RandomStream
from ...framework.templates import State
from .import_functions import expanded
from .import_registry import dtype_of
from .program import Program, Run, Step, grounded
from .reading import array_of, check_operators, domain_of, graphs_of, light, opset_imports, read_model
from .text import as_text, host
from .weights import attributes_as_weights, roles, untie, valid_name

_RANDOM = frozenset({"Dropout", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
                     "Multinomial"})

# What reading a damaged file may raise, where names are no text or numbers mean something else.
_DAMAGE = (TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, RuntimeError, MemoryError)


def load(source: str | os.PathLike[str] | bytes | Any, trainable: bool = True) -> OnnxModel:
    """Import an ONNX model as a Module that can be run, differentiated and trained.

    Weights (floating initializers) are Parameters under their names in the file, so `state_dict()` of a file from
    PyTorch's exporter has PyTorch's names; running statistics of BatchNormalization are States; integers, masks and
    numbers are constants. At first the module computes what the file says, which mostly is for inference; `train()` and
    `eval()` switch Dropout and BatchNormalization as they switch PyTorch's layers.

    Args:
        source: the path of a file (external data is read from its folder only), its bytes, or an onnx.ModelProto.
        trainable: False makes frozen parameters, which optimizers leave alone.

    Raises:
        InputError: when it cannot be read or is damaged, its opset version is not known, or it uses operators that
            cannot be imported (all are listed, with the names of their nodes).

    >>> from onnx import TensorProto, helper, numpy_helper
    >>> import numpy as np
    >>> weight = numpy_helper.from_array(np.full((3, 2), 2.0, np.float32), "fc.weight")
    >>> graph = helper.make_graph([helper.make_node("MatMul", ["x", "fc.weight"], ["y"])], "net",
    ...     [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
    ...     [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])], [weight])
    >>> net = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    >>> net(np.ones((1, 3), np.float32)).value.tolist(), list(net.state_dict())
    ([[6.0, 6.0]], ['fc.weight'])
    """
    if not isinstance(trainable, bool):
        raise InputError(f"trainable is True or False, but got {trainable!r}. Freeze single parameters by "
                         "p.trainable = False.")
    try:
        return OnnxModel(read_model(source), trainable)
    except ZkynetError:
        raise
    except _DAMAGE as error:
        raise InputError(f"the ONNX model is damaged: {type(error).__name__}: {error}") from error


class OnnxModel(cg.Module):
    """An imported ONNX graph; made by `load`.

    It takes the graph's inputs, in their order or by name, and returns its output: a node, or a tuple when there are
    several. The first axis of an input may differ from the file's (the batch it was exported with), the others that
    the file fixes may not.

    Attributes:
        input_names: of the file.
        output_names: of the file.
        producer: the name of the program that wrote the file.
    """

    def __init__(self, model: Any, trainable: bool = True):
        if model.graph.sparse_initializer:
            raise InputError("the ONNX model has sparse initializers, which cannot be imported: store them as dense "
                             "tensors.")
        initializers = {t.name: array_of(t) for t in model.graph.initializer}
        small = expanded(light(model))
        check_operators(small)
        initializers.update(attributes_as_weights(small.graph))
        untie(small.graph, initializers)
        builder = _Builder(small, trainable)
        self._program = builder.program(small.graph, initializers, {}, {})
        super().__init__(inputs=[cg.Variable(name) for name in self._program.inputs], params=builder.parameters)
        self.producer = small.producer_name
        self.output_names = self._program.outputs
        self._signature = {v.name: _signature(v) for v in small.graph.input if v.name in self._program.inputs}
        self._has_text = any(kind is np.str_ for kind, _ in self._signature.values())
        self._stream = None
        if any(node.op_type in _RANDOM for graph in graphs_of(small.graph) for node in graph.node):
            self._stream = RandomStream("random_stream")
        self._training = None

    @property
    def input_names(self) -> tuple[str, ...]:
        return self._program.inputs

    def _own(self, kind: type) -> Any:
        yield from super()._own(kind)
        if issubclass(State, kind):
            yield from ((state.short_name, state) for state in self._program.states.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._has_text:
            args = tuple(as_text(value) for value in args)
            kwargs = {name: as_text(value) for name, value in kwargs.items()}
        return super().__call__(*args, **kwargs)

    @property
    def _mode(self) -> str:
        return {True: "train", False: "eval", None: "file"}[self._training]

    def call(self, *inputs: Any, **named: Any) -> Any:
        names = self._program.inputs
        given = [*inputs, *(named[name] for name in names[len(inputs):])]
        values = dict(self._program.constants)
        values.update(grounded(self._program.weights))
        run = Run(self._program, values, self._mode, self.producer == "pytorch", self._stream)
        fitting = [_fitting(host(value), name, *self._signature[name])
                   for name, value in zip(names, given, strict=True)]
        outputs = tuple(as_text(value) for value in run.execute(fitting))
        return outputs[0] if len(outputs) == 1 else outputs

    def __repr__(self) -> str:
        return f"OnnxModel({', '.join(self.input_names)} -> {', '.join(self.output_names)})"


class _Builder:
    """Makes programs of graphs, and the parameters and states that they use."""

    def __init__(self, model: Any, trainable: bool):
        self.model = model
        self.trainable = trainable
        self.opsets = opset_imports(model)
        self.parameters: list[cg.Parameter] = []
        self.states: dict[str, State] = {}
        self.taken: set[str] = {"random_stream"}

    def program(self, graph: Any, initializers: Mapping[str, np.ndarray], outer_constants: Mapping[str, np.ndarray],
                outer_types: Mapping[str, Any]) -> Program:
        types = {**outer_types, **_dtypes(graph)}
        constants, weights = dict(outer_constants), {}
        for name, role in roles(self.model, initializers).items():
            if role == "constant":
                constants[name] = initializers[name]
            else:
                weights[name] = self._held(name, role, initializers[name])
        inputs = [value.name for value in graph.input if value.name not in initializers]
        for name in inputs:
            constants.pop(name, None)
        made = Program(graph.name, inputs, [value.name for value in graph.output], constants, weights,
                       self.states)
        for node in graph.node:
            inner = {attribute.name: self.program(
                attribute.g, {t.name: array_of(t) for t in attribute.g.initializer}, constants, types)
                for attribute in node.attribute if attribute.HasField("g")}
            made.add(Step(node, self.opsets.get(domain_of(node), 1), tuple(types.get(n) for n in node.output), inner))
        return made

    def _held(self, name: str, role: str, array: np.ndarray) -> cg.Parameter | State:
        valid = valid_name(name, self.taken)
        if role == "state":
            return self.states.setdefault(name, State(valid, array))
        parameter = cg.Parameter(valid, array, trainable=self.trainable)
        self.parameters.append(parameter)
        return parameter


def _dtypes(graph: Any) -> dict[str, np.dtype]:
    """The dtypes of a graph's values, as far as they are known."""
    from onnx import helper

    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0
        if kind:
            found[value.name] = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    return found


# Inputs ---------------------------------------------------------------------------------------------------


def _signature(value: Any) -> tuple[Any, tuple[int | None, ...] | None]:
    """dtype (np.str_ for strings, None where it is no tensor) and shape of a graph's input."""
    from onnx import TensorProto

    if not value.type.HasField("tensor_type") or not value.type.tensor_type.elem_type:
        return None, None
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return (np.str_ if tensor.elem_type == TensorProto.STRING else tensor.elem_type), shape


def _fitting(value: Any, name: str, kind: Any, shape: tuple[int | None, ...] | None) -> Any:
    """An input in the dtype that the graph declares; checks its shape."""
    if kind is None or value is None or kind is np.str_ or not isinstance(value, Node):
        return value
    if shape is not None and (len(shape) != value.ndim or any(
            length not in (None, 0, own) for own, length in list(zip(value.shape, shape, strict=True))[1:])):
        wanted = ", ".join("?" if n is None else str(n) for n in shape)
        raise ShapeError(f"the ONNX model's input {name!r} has the shape ({wanted}), but got {value.aval!r}.")
    dtype = dtype_of(kind)
    if value.aval.dtype == dtype and not value.aval.weak_type:
        return value
    if config.compute_dtype() is not None and value.aval.inexact and dtype.kind in "fV":
        return value
    if value.aval.inexact and dtype.kind in "iub":
        raise InputError(f"the ONNX model's input {name!r} takes {dtype.name}, but got {value.aval!r}: cast it first.")
    return op.cast(value, dtype=dtype)
