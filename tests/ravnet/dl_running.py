"""Graphs of layers, recorded and run as the executor runs them; and torch's modules as judges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ravnet.api.graph import GraphRecord
from ravnet.api.op import Op
from ravnet.api.recording import Ref
from ravnet.executor.run import execute
from zkynet.framework.templates import Held

TOLERANCE = 1e-5


def new_graph() -> GraphRecord:
    return GraphRecord(name="test", approach="distributed")


def run(graph: GraphRecord, *ops: Op) -> list[np.ndarray]:
    """Activate and execute; the results of these ops."""
    held = {op.number for op in ops}
    made = graph.activate()
    made.check()
    return [np.asarray(found) for found in values(made, [op.number for op in ops])] if held else []


def values(made: Any, numbers: Iterable[int]) -> list[Any]:
    found: dict[int, Any] = {}
    wanted = list(numbers)
    execute(made, wanted, lambda done, total, news, others: found.update(news))
    return [found[number] for number in wanted]


def held_numbers(graph: GraphRecord, held: Iterable[Held]) -> list[int]:
    """The numbers of the values that parameters and states hold."""
    numbers = []
    for one in held:
        with graph.recorder:
            value: Any = one.value
        assert isinstance(value, Ref), f"{one!r} holds {type(value)}"
        numbers.append(value.number)
    return numbers


def assert_close(ours: Any, theirs: Any, tolerance: float = TOLERANCE) -> None:
    """Ours agrees with torch's tensor to the tolerance, relative to the largest element where that is above 1."""
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else np.asarray(theirs)
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape
    assert np.max(np.abs(ours - theirs), initial=0.0) <= tolerance * max(1.0, np.max(np.abs(theirs), initial=0.0))
