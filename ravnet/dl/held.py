"""The arrays of a layer: known ones, those that a recorded graph will compute, and those that were saved by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from zkynet.framework.templates import Held

from ..api.graph import GraphRecord
from ..api.op import Op
from ..api.recording import Ref
from ..errors import StateError
from .values import computed


class Later(NamedTuple):
    """An array that was not computed yet when its model was pickled, and the name under which it is saved."""

    shape: tuple[int, ...]
    dtype: str
    name: str | None

    def fetch(self, what: str) -> np.ndarray:
        """The array, once the graph that computes it was executed."""
        if self.name is None:
            raise StateError(f"{what} is not computed yet: R.execute() the graph that trains it. To have it in a later "
                             "process, call save_model() before pickle.dump, or pickle the model after R.execute().")
        return saved(self.name)


def saved(name: str) -> np.ndarray:
    """The result of a persisted op, of the newest graph of the account that has it."""
    from ..api import session

    engine = session._the_session().engine
    graphs = [info.id for info in engine.graphs() if engine.number(info.id, name) is not None]
    return np.asarray(session.fetch_persisting_op(name, graphs[-1] if graphs else None))


def present(held: Held, graph: GraphRecord | None) -> Any:
    """What a parameter or state holds now: an array, or the Ref of a value of the graph."""
    if held._pending is not None and graph is not None and not graph.activated:
        with graph.recorder:
            return held.value
    return held._value


def known(held: Held, graph: GraphRecord | None) -> np.ndarray | None:
    """Its array; None while the graph that computes it was not executed."""
    value = present(held, graph)
    if not isinstance(value, Ref):
        return np.asarray(value)
    return None if graph is None else computed(graph.wrap(value))


def op_of(held: Held, graph: GraphRecord) -> Op:
    """Its present value as an op of the graph."""
    value = present(held, graph)
    return graph.wrap(value) if isinstance(value, Ref) else graph.tensor(np.asarray(value))


def pickled(held: Held, graph: GraphRecord | None, name: str | None) -> np.ndarray | Later:
    """What stands for it in a pickle."""
    array = known(held, graph)
    return Later(held.shape, held.dtype.name, name) if array is None else np.array(array)


def move(held: Iterable[Held], old: GraphRecord | None, new: GraphRecord, what: str) -> None:
    """Make what an executed graph computed the data of another one.

    Raises:
        StateError: when the old graph was not executed yet.
    """
    for one in held:
        value = present(one, old)
        if not isinstance(value, Ref) or value.recorder is new.recorder:
            continue
        array = known(one, old)
        if array is None:
            raise StateError(f"{what} was trained in another graph, which is not executed yet: R.execute() it before "
                             "the model is used in a new graph.")
        one._pending = None
        one._store(jnp.asarray(array))
