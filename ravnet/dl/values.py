"""What layers are given: ops, arrays, text for booleans; and the graph that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zkynet.framework.errors import InputError
from zkynet.framework.nodes import LeafNode

from ..api.graph import GraphRecord
from ..api.op import Op
from ..api.recording import Ref

_FLAGS = {"true": True, "false": False, "yes": True, "no": False}


def flag(value: Any, name: str) -> bool:
    """A boolean, which old scripts write as the text 'True' or 'False'.

    >>> flag("False", "use_bias"), flag(1, "use_bias")
    (False, True)
    """
    if isinstance(value, str):
        try:
            return _FLAGS[value.strip().lower()]
        except KeyError:
            raise InputError(f"{name} is True or False, but got {value!r}.") from None
    return bool(value)


def current_graph() -> GraphRecord:
    """The graph that the script is recording."""
    from ..api.session import current_graph as current

    return current()


def ops_in(values: Iterable[Any]) -> Iterator[Op]:
    """The ops among some arguments, also within lists, tuples and dicts."""
    for value in values:
        if isinstance(value, Op):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from ops_in(value)
        elif isinstance(value, dict):
            yield from ops_in(value.values())


def graph_of(values: Iterable[Any]) -> GraphRecord:
    """The graph of the first op among the values; without any, the graph that is being recorded."""
    first = next(ops_in(values), None)
    graph = current_graph() if first is None else first.graph
    graph.require_recording()
    return graph


def op_in(graph: GraphRecord, value: Any) -> Op:
    """An op of this graph whose shape is known, of an op, an array, a number or a list of numbers."""
    made = value if isinstance(value, Op) else graph.tensor(value)
    if made.graph is not graph:
        raise InputError(f"{made!r} belongs to another graph. Fetch its result and give it to R.t().")
    if made.is_late:
        raise InputError(f"{made!r} has a shape that depends on values, for which no layer can be recorded: give it "
                         "ops whose shapes are known while the graph is recorded.")
    return made


def given_data(op: Op) -> np.ndarray | None:
    """The array that an op was made of; None when it is computed."""
    value = op.value._value if isinstance(op.value, LeafNode) else op.value
    if isinstance(value, Ref):
        leaf = value.recorder.graph.leaves.get(value.number)
        return None if leaf is None else np.asarray(leaf)
    return None


def array_of(value: Any, what: str) -> np.ndarray:
    """A NumPy array of what scripts give as one: arrays, lists, torch tensors, ops of given data.

    Raises:
        InputError: for what is none, or an op that is not computed.
    """
    if isinstance(value, Op):
        found = computed(value)
        if found is None:
            raise InputError(f"{what} needs an array, but got {value!r}, which is not computed yet.")
        return found
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{what} needs an array, but got {value!r:.80} ({error}).") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"{what} needs an array of numbers, but got {type(value).__name__} {str(value)[:60]!r}.")
    return array


def computed(op: Op) -> np.ndarray | None:
    """The data that an op was given, or its result once the graph was executed; None before that."""
    return np.array(op.get_output()) if op.get_status() == "computed" else None
