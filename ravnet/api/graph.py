"""A graph that is being recorded: its ops, their persist names, and its states."""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zkynet.framework.avals import aval_of
from zkynet.framework.errors import InputError
from zkynet.framework.nodes import LeafNode, Node
from zkynet.framework.op import random_key
from zkynet.framework.session import Session, current_session

from ..errors import ExecutionError, PersistNameError, StateError
from ..executor.engine import Engine, Failure
from ..executor.federated import Rules
from ..functions import FUNCTIONS, Function
from ..wire.graph import CallGraph, Leaf
from .fetched import Fetched, fetched
from .op import Op
from .recording import Recorder, Ref

APPROACHES = ("distributed", "federated")
# Functions of inputs alone, whose arguments need no reading.
_PLAIN = frozenset(made for made in FUNCTIONS.values() if not (
    made.params or made.variadic or made.extra or made.late or made.late_when or made.random or made.check
    or made.results or any(not slot.required for slot in made.inputs)))
_NUMBERS = (bool, int, float, complex)
_NARROW = {"f": np.float32, "i": np.int32, "u": np.int32, "c": np.complex64}  # what JAX computes in


class GraphRecord:
    """What a script writes between `R.Graph(...)` and `R.activate()`.

    Args:
        about: name, algorithm, approach ("distributed" or "federated"), rules (JSON text), gpu_required ("yes", "no").

    Attributes:
        id: the engine's number of the graph; None before it is activated.

    Raises:
        InputError: for an unknown approach, rules that are no JSON, or a federated graph's that are wrong.
    """

    def __init__(self, **about: Any):
        _check(about)
        self.about = about
        self.recorder = Recorder(CallGraph(about))
        self.activated = False
        self.engine: Engine | None = None
        self.id: int | None = None
        self.ops: weakref.WeakSet[Op] = weakref.WeakSet()
        self.persisted: dict[str, Op] = {}
        self._numbers: dict[tuple[type, str], Any] = {}
        self._session = Session()

    def __repr__(self) -> str:
        state = "recording" if not self.activated else "activated" if self.id is None else f"graph {self.id}"
        return f"<Graph {self.about.get('name')!r} ({self.about.get('approach')}), {state}>"

    # Ops -------------------------------------------------------------------------------------------------

    def tensor(self, value: Any) -> Op:
        """An op of given data: an array, a number, or nested lists of numbers."""
        self.require_recording()
        return value if isinstance(value, Op) else self.wrap(self._leaf(value))

    def wrap(self, value: Node | Ref) -> Op:
        """An op of a node, or of a value whose shape is not known yet."""
        made = Op(self, value)
        self.ops.add(made)
        return made

    def apply(self, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The op, or list of ops, of a function of ravnet.functions."""
        if self.activated:
            self.require_recording()
        if function in _PLAIN and not kwargs and len(args) == len(function.inputs):  # most ops: what follows costs more
            inputs, params, late, outputs = args, {}, False, 1
        else:
            bound = function.bind(args, kwargs, _is_op, self._known)
            inputs, params, late, outputs = bound.inputs, bound.params, bound.late, bound.outputs
            if function.random and params.get("seed") is None:
                params = {**params, "seed": _fresh_seed()}
        values = [self._value(item) for item in inputs]
        if function.supplied and not inputs:
            self._require_federated(function)
        for value in values:
            late = late or value.__class__ is Ref
        if late:
            refs = self.recorder.late(function.name, json.dumps(params, sort_keys=True), values, outputs)
            made = [self.wrap(ref) for ref in refs]
            return made[0] if len(made) == 1 else made
        if function.check is not None:
            self._check_values(function, values, params)
        found = self._made(function, values, params)
        if found.__class__ is tuple or found.__class__ is list:
            return [self.wrap(node) for node in found]
        return self.wrap(found)

    def _made(self, function: Function, nodes: Sequence[Any], params: dict[str, Any]) -> Any:
        """The nodes of a function. All ops of a graph belong to one call, unless a layer's is in progress."""
        token = current_session.set(self._session) if current_session.get() is None else None
        try:
            with self.recorder:
                if not function.random:
                    return function.body(*nodes, **params)
                seed = params.pop("seed")
                return function.body(random_key(seed), *nodes, **params)
        finally:
            if token is not None:
                current_session.reset(token)

    def persist(self, op: Op, name: str) -> None:
        """Keep an op's result under a name."""
        self.require_recording()
        if not isinstance(name, str) or not name:
            raise InputError(f"an op is persisted under a name, but got {name!r}.")
        if self.persisted.get(name, op) is not op:
            raise PersistNameError(f"{name!r} is already the name of another op of this graph. Choose another name.")
        self.persisted[name] = op

    def _value(self, item: Any) -> Node | Ref:
        """The node of an op or of data; a Ref where the shape is not known."""
        if item.__class__ is not Op:
            return self._leaf(item)
        if item.graph is not self:
            raise InputError(f"{item!r} belongs to another graph. Fetch its result and give it to R.t().")
        value = item.value
        return self.recorder.node(value) if value.__class__ is Ref and value.aval is not None else value

    def _leaf(self, value: Any) -> LeafNode:
        if value.__class__ in _NUMBERS:
            key = value.__class__, repr(value)
            found = self._numbers.get(key)
            if found is None:
                if value.__class__ is int:
                    _require_32_bits(value)
                found = self._numbers[key] = self.recorder.leaf(value)._value
            return self.recorder.node(found)  # a new leaf: the order of a step's nodes must not depend on earlier ones
        return self.recorder.leaf(_array(value))

    def _known(self, op: Op) -> Leaf | None:
        """The value of an op of given data."""
        return self._given(op.value) if op.graph is self else None

    def _given(self, value: Node | Ref) -> Leaf | None:
        ref = value._value if isinstance(value, Node) else value
        return self.recorder.graph.leaves.get(ref.number) if isinstance(ref, Ref) else None

    def _require_federated(self, function: Function) -> None:
        if self.about["approach"] != "federated":
            raise InputError(f"{function.usage} has no inputs here, which only the participants of a federated graph "
                             "supply: make it with R.Graph(approach='federated', rules=), or pass them.")

    def _check_values(self, function: Function, values: Sequence[Any], params: Mapping[str, Any]) -> None:
        assert function.check is not None
        inputs = [self._given(node) for node in values]
        with contextlib.suppress(_Unreadable):  # only what is known is checked
            function.check(*[_Unknown(node) if found is None else found for node, found in zip(values, inputs,
                                                                                          strict=True)], **params)

    # States ----------------------------------------------------------------------------------------------

    def require_recording(self) -> None:
        """Raise StateError when the graph is activated."""
        if self.activated:
            raise StateError("the graph is activated, so no op can be added to it any more. Make a new one: "
                             "R.Graph(name=, algorithm=, approach=).")

    def activate(self) -> CallGraph:
        """Record what is left, and freeze the graph. What is persisted or still held by the script is kept."""
        self.require_recording()
        alive = [*self.persisted.values(), *self.ops]
        self.recorder.finish([op.value for op in alive if isinstance(op.value, Node)])
        graph = self.recorder.graph
        graph.names = {name: op.number for name, op in self.persisted.items()}
        for op in alive:
            op.settle()
        self.activated = True
        return graph

    def wanted(self) -> set[int]:
        """Values to keep: persisted ones, and those that live ops and models hold (but for given data)."""
        graph = self.recorder.graph
        held = {ref.number for ref in self.recorder.refs} | {op.number for op in self.ops}
        return set(graph.names.values()) | {number for number in held if number not in graph.leaves}

    def status_of(self, op: Op) -> str:
        """"pending", "computed" or "failed"."""
        if self._known(op) is not None:
            return "computed"
        return "pending" if self.engine is None or self.id is None else self.engine.state(self.id, op.number)

    def result_of(self, op: Op) -> Fetched:
        """The result of an op.

        Raises:
            StateError: when it is not computed yet.
            ExecutionError: when it failed.
        """
        known = self._known(op)
        if known is not None:
            return fetched(np.array(known, aval_of(known).dtype))
        if self.engine is None or self.id is None:
            raise StateError("the op is recorded, but not computed: call R.activate(), R.execute() and "
                             "R.track_progress() first.")
        found = self.engine.result(self.id, op.number)
        if found is None:
            raise StateError(f"op {op.id} is not computed yet. R.track_progress() waits until it is.")
        if isinstance(found, Failure):
            raise ExecutionError(found.message)
        return fetched(found)


class _Unreadable(Exception):
    """A check asked for a value that is not known while recording."""


class _Unknown:
    """The shape and dtype of a value that is not known."""

    def __init__(self, node: Node):
        self.shape, self.dtype, self.ndim = node.shape, node.dtype, len(node.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise _Unreadable


def _is_op(value: Any) -> bool:
    return value.__class__ is Op


def _fresh_seed() -> int:
    from zkynet.nn.init import fresh_seed

    return fresh_seed()


def _check(about: Mapping[str, Any]) -> None:
    approach, rules, gpu = about.get("approach"), about.get("rules"), about.get("gpu_required", "no")
    if approach not in APPROACHES:
        raise InputError(f"the approach of a graph is one of {', '.join(APPROACHES)}, but got {approach!r}.")
    for key in ("name", "algorithm"):
        if not isinstance(about.get(key, ""), str):
            raise InputError(f"the {key} of a graph is a text, but got {about[key]!r}.")
    if gpu not in ("yes", "no"):
        raise InputError(f"gpu_required is 'yes' or 'no', but got {gpu!r}.")
    if rules is not None:
        try:
            json.loads(rules)
        except (TypeError, ValueError) as error:
            raise InputError(f"rules are given as JSON text, but got {rules!r} ({error}).") from None
    if approach == "federated":
        Rules.read(rules)


def _array(value: Any) -> np.ndarray:
    """Data of a script as a copy in what JAX computes in: 32 bits."""
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().numpy()
    try:
        array = np.array(value)
    except ValueError as error:
        raise InputError(f"an op needs numbers or an array of equal rows, but got {value!r:.80} ({error}).") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"an op needs numbers, but got {type(value).__name__} of dtype {array.dtype}.")
    wanted = _NARROW.get(array.dtype.kind)
    too_wide = wanted is not None and array.dtype.itemsize > np.dtype(wanted).itemsize
    return _narrowed(array, wanted) if too_wide else array


def _narrowed(array: np.ndarray, dtype: Any) -> np.ndarray:
    if array.dtype.kind in "iu" and array.size:
        _require_32_bits(int(array.min()), int(array.max()))
    return array.astype(dtype)


def _require_32_bits(*values: int) -> None:
    limits = np.iinfo(np.int32)
    if min(values) < limits.min or max(values) > limits.max:
        raise InputError(f"an op of integers holds 32-bit values, but got {max(values, key=abs)}. Convert it to floats "
                         "first.")
