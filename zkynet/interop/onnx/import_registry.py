"""The table of import rules: how each ONNX operator becomes zkynet nodes.

A rule is a plain function, registered under the names of the operators that it serves:

    @importer("Transpose")
    def _(ctx, data):
        return op.transpose(data, ctx.attr("perm", None))

It is called once for every time that its node is reached in a call of the imported module, as `rule(ctx, *inputs)`.

Inputs, in the order of the ONNX operator:
    - a node (`zkynet.framework.nodes.Node`) for everything that is computed, is an input of the graph or a weight;
    - a NumPy array, of exactly the dtype that the file says, for constants (integer initializers, Constant, Shape,
      and whatever is computed from those: a node all of whose inputs are constants never reaches its rule, unless
      it is registered with `fold=False`). Operators of `op` take NumPy arrays as they are;
    - None for an optional input that is left out, also at the end: a rule declares its optional inputs with
      `=None`, or takes `*inputs`.

It returns a node, a NumPy array (a constant), or a tuple of those and of None, one for each output of the ONNX
operator (outputs at the end that nobody asked for may be missing). Their dtype need not be exact: the importer casts
each to the dtype that the graph declares or implies. Shapes are not adapted.

Which rule is taken: that with the largest `since` that is not above the opset version of the operator's domain in
the file. `ctx.opset` tells older versions apart within a rule. An operator without a rule is expanded when its schema
has a function body, and reported otherwise: an operator that has a good function body needs no rule.

Rules are modules `import_*.py` of this package; they are found by that name and need no list. A rule module imports
jax, numpy and zkynet at its top, and onnx within functions only.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...framework.errors import InputError, TracedValueError
from ...framework.nodes import Expression
from ...framework.templates import State

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


class Rule(NamedTuple):
    """A registered rule, the first opset version that it is right for, and whether constants are folded before."""

    since: int
    function: Callable[..., Any]
    fold: bool


_table: dict[tuple[str, str], list[Rule]] = {}
clashes: list[str] = []  # rules that were given twice, of which the first is taken; a test holds that there are none


def importer(*names: str, since: int = 1, domain: str = "", fold: bool = True) -> Callable[[Callable], Callable]:
    """Decorator: register a rule for operators of these names.

    Args:
        names: ONNX operators, as "Add".
        since: the first opset version of the domain for which the rule is right.
        domain: "" for ai.onnx, else as "ai.onnx.ml".
        fold: False for what must not be computed when the file is read: random numbers, control flow.
    """

    def register(function: Callable) -> Callable:
        for name in names:
            rules = _table.setdefault((domain, name), [])
            if any(rule.since == since for rule in rules):
                clashes.append(f"{name} since version {since} in {function.__module__}")
                continue
            rules.append(Rule(since, function, fold))
            rules.sort(key=lambda rule: -rule.since)
        return function

    return register


@functools.cache
def _load_rules() -> None:
    package = importlib.import_module(__package__ or "zkynet.interop.onnx")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("import_") and module.name != "import_registry":
            importlib.import_module(f"{package.__name__}.{module.name}")


def find_rule(domain: str, name: str, opset: int) -> Rule | None:
    """The rule for an operator at this opset version, or None.

    >>> find_rule("", "NoSuchOperator", 20) is None
    True
    """
    _load_rules()
    return next((rule for rule in _table.get((domain, name), ()) if rule.since <= opset), None)


def rule_names() -> list[tuple[str, str]]:
    """All (domain, operator) that have a rule."""
    _load_rules()
    return sorted(_table)


class Execution(Protocol):
    """What a rule may ask of the call in progress."""

    training: bool
    unbiased: bool

    def random_key(self) -> Any: ...
    def state(self, name: str) -> State | None: ...
    def subgraph(self, program: Any) -> Callable[..., tuple]: ...
    def again(self, names: Any, wanted: str) -> Callable[..., Any]: ...


class NodeContext:
    """One node of the file in one call: its attributes, and what the call offers.

    Attributes:
        node: the onnx.NodeProto.
        opset: the opset version of the node's domain in this file.
        attributes: the attributes that are present, in Python: int, float, str, list of those, NumPy array for
            tensors, onnx.GraphProto for graphs.
        training: whether the module is in training mode: Dropout and BatchNormalization then behave as PyTorch's do
            in training, whatever the file says (most files are exported for inference). When it is False, they do
            as the file says.
        unbiased: whether running variances follow PyTorch (n - 1) instead of the ONNX text (n): so for files that
            PyTorch wrote.
    """

    __slots__ = ("node", "opset", "attributes", "execution", "programs")

    def __init__(self, node: Any, opset: int, attributes: dict[str, Any], execution: Execution,
                 programs: dict[str, Any]):
        self.node = node
        self.opset = opset
        self.attributes = attributes
        self.execution = execution
        self.programs = programs

    @property
    def training(self) -> bool:
        return self.execution.training

    @property
    def unbiased(self) -> bool:
        return self.execution.unbiased

    def attr(self, name: str, default: Any = REQUIRED) -> Any:
        """The value of an attribute; without a default, its absence is an error."""
        value = self.attributes.get(name, default)
        if value is REQUIRED:
            raise InputError(f"{describe_node(self.node)} lacks its attribute {name!r}.")
        return value

    def wants(self, index: int) -> bool:
        """Whether output `index` has a name, so that somebody may use it."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def static(self, value: Any, what: str = "an input") -> Any:
        """The NumPy array of an input that decides shapes (axes, pads, k, ...), or None for None.

        That of a node is computed now, which a traced function cannot do.
        """
        if value is None or isinstance(value, np.ndarray):
            return value
        if isinstance(value, Expression):
            try:
                return np.asarray(value.value)
            except TracedValueError as error:
                raise TracedValueError(
                    f"{describe_node(self.node)}: {what} decides shapes, so its value must be known when the graph "
                    "is made. It is computed from the inputs here: call the module outside of compile, vmap and "
                    "loops, or export the file with fixed shapes.") from error
        return np.asarray(value)

    def ints(self, value: Any, what: str = "an input") -> tuple[int, ...] | None:
        """`static`, as Python ints; None for None."""
        found = self.static(value, what)
        return None if found is None else tuple(int(v) for v in np.ravel(found))

    def number(self, value: Any, what: str = "an input") -> Any:
        """`static`, of an input with one element, as a Python number; None for None."""
        found = self.static(value, what)
        return None if found is None else found.reshape(-1)[0].item()

    def state(self, index: int) -> State | None:
        """The State behind input `index` (running statistics of BatchNormalization), to assign to; None if it is
        none, as for a statistic that is computed."""
        return self.execution.state(self.node.input[index])

    def random_key(self) -> Any:
        """A fresh key for a random operator."""
        return self.execution.random_key()

    def graph(self, name: str) -> Callable[..., tuple]:
        """The subgraph in attribute `name` as a function: `f(*inputs)` gives the tuple of its outputs.

        It sees the values around it. Inputs and outputs may be nodes, NumPy arrays or None; to use it as the body of
        op.cond or op.scan, make nodes of the outputs.
        """
        if name not in self.programs:
            raise InputError(f"{describe_node(self.node)} lacks its graph {name!r}.")
        return self.execution.subgraph(self.programs[name])


def describe_node(node: Any) -> str:
    """How messages name a node of the file."""
    name = f" {node.name!r}" if node.name else f" that makes {node.output[0]!r}" if node.output else ""
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"ONNX node {domain}{node.op_type}{name}"


def dtype_of(elem_type: int) -> np.dtype:
    """The NumPy dtype of an ONNX element type (TensorProto.FLOAT and so on), as JAX has it in the present mode.

    >>> dtype_of(7)  # INT64; int64 where 64-bit mode is on
    dtype('int32')
    """
    import jax
    from onnx import helper

    try:
        return jax.dtypes.canonicalize_dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError):
        raise InputError(f"the ONNX element type {elem_type} is not supported (strings and unknown types are not).") \
            from None
