"""The verbs of a script: who it is, the graph that it records, and what it does with it.

A script has one session, and a session one current graph: the one made last by `Graph`, or, in a process that made
none, the account's newest. Graphs and results belong to the account and outlive the process.
"""

from __future__ import annotations

import difflib
import math
import os
import sys
from pathlib import Path
from typing import Any

from zkynet.framework.errors import InputError

from ..errors import ExecutionError, PersistNameError, StateError
from ..executor.cost import Cost, cost_of
from ..executor.embedded import EmbeddedEngine
from ..executor.engine import Engine, Failure, GraphInfo
from ..executor.store import Store
from .fetched import Fetched, fetched
from .graph import GraphRecord
from .op import Op
from .progress import follow
from .report import Activation, table
from .saved import MODELS, ModelFile, restored


class Session:
    """One account and its engine."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.record: GraphRecord | None = None

    def target(self, graph_id: int | None = None) -> GraphInfo:
        """The graph that a verb is about: the one given, the current one, or the account's newest.

        Raises:
            StateError: when there is none, or it is not activated.
        """
        if graph_id is None and self.record is not None:
            if self.record.id is None:
                raise StateError("the graph is not activated yet: call R.activate() when all ops are recorded.")
            graph_id = self.record.id
        if graph_id is not None:
            found = self.engine.info(graph_id)
            if found is None:
                raise StateError(f"there is no graph {graph_id!r} (any more). R.get_my_graphs() lists those there are.")
            return found
        graphs = self.engine.graphs()
        if not graphs:
            raise _no_graph()
        return graphs[-1]


_session: Session | None = None


def data_folder() -> Path:
    """Where graphs and results are kept: RAVNET_HOME, or a folder in the user's data directory."""
    home = os.environ.get("RAVNET_HOME")
    if home:
        return Path(home).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local"))
    elif sys.platform == "darwin":
        base = Path("~/Library/Application Support")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share")
    return base.expanduser() / "ravnet"


def _the_session() -> Session:
    if _session is None:
        raise StateError("the session is not initialised: call R.initialize('<TOKEN>') first.")
    return _session


def _no_graph() -> StateError:
    return StateError("there is no graph: call R.Graph(name=, algorithm=, approach='distributed') first.")


def current_graph() -> GraphRecord:
    """The graph that the script made last.

    Raises:
        StateError: before `initialize` or without a graph.
    """
    record = _the_session().record
    if record is None:
        raise _no_graph()
    return record


# Accounts -----------------------------------------------------------------------------------------------------


def initialize(ravenverse_token: str) -> None:
    """Say whose graphs these are. A token makes an account on its first use; only a hash of it is stored.

    Everything runs in this process; graphs and results are kept below RAVNET_HOME (by default, the user's data folder).

    Raises:
        InputError: when the token is no text.
        StateError: when RAVENVERSE_URL names a remote service.
        StoreError: when the data folder cannot be used.
    """
    global _session
    if not isinstance(ravenverse_token, str) or not ravenverse_token.strip():
        raise InputError(f"the token is a text that you choose, but got {ravenverse_token!r}.")
    url = os.environ.get("RAVENVERSE_URL")
    if url:
        raise StateError(f"RAVENVERSE_URL is set ({url}), but remote services come with the gateway, which this "
                         "version does not have. Unset it to run in this process.")
    engine = _session.engine if _session is not None else None
    if isinstance(engine, EmbeddedEngine) and engine.store.folder == data_folder() and engine.is_of(ravenverse_token):
        return  # said again: the current graph stays
    _session = Session(EmbeddedEngine(Store(data_folder()), ravenverse_token))


def flush() -> None:
    """Stop and forget all graphs of the account, and their results."""
    session = _the_session()
    session.engine.flush()
    session.record = None


def get_my_graphs() -> list[dict[str, Any]]:
    """Print the account's graphs as a table; returns its rows: id, name, approach, algorithm, rules, status, cost."""
    rows = [{"id": info.id, **{key: info.about.get(key) for key in ("name", "approach", "algorithm", "rules")},
             "status": info.status, "cost": info.cost.get("flops")} for info in _the_session().engine.graphs()]
    print(table(rows))
    return rows


# A graph --------------------------------------------------------------------------------------------------------


def Graph(name: str | None = None, algorithm: str | None = None, approach: str = "distributed",
          rules: str | None = None, gpu_required: str = "no") -> GraphRecord:
    """Begin a graph; it is the current one from now on.

    Args:
        approach: "distributed" or "federated".
        rules: of a federated graph, as JSON text:
            {"rules": {column: {"min": number, "max": number}, ...}, "max_clients": n}.
        gpu_required: "yes" or "no".

    Raises:
        InputError: for an unknown approach, rules that are no JSON, or a federated graph's that are wrong.
    """
    session = _the_session()
    about = {"name": name, "algorithm": algorithm, "approach": approach, "rules": rules, "gpu_required": gpu_required}
    session.record = GraphRecord(**{key: value for key, value in about.items() if value is not None})
    return session.record


def activate() -> Activation:
    """Freeze the current graph and keep it. Prints and returns what it costs and how many can share the work.

    Raises:
        StateError: without a graph, or when it is activated already.
        InputError: when it holds operators that must run in this process.
        StoreError: when it cannot be stored; call it again when there is room.
    """
    session = _the_session()
    record = current_graph()
    if record.id is not None:
        raise StateError(f"the graph is activated already, as graph {record.id}. Call R.execute().")
    graph = record.recorder.graph if record.activated else record.activate()
    cost: Cost = cost_of(graph)
    record.id, record.engine = session.engine.submit(graph, record.wanted(), cost.summary()), session.engine
    report = Activation(record.id, dict(record.about), cost, graph)
    print(report)
    return report


def execute(participants: int = 1, graph_id: int | None = None) -> None:
    """Begin to compute the current graph (or another one of the account), in the background; returns at once.

    A run that was stopped or killed goes on: what was stored is not computed again. At the end of the script, Python
    waits for it. A federated graph waits for its participants first.

    Args:
        participants: how many shall share the work. The embedded engine is one, whatever is asked for.

    Raises:
        StateError: without a graph, before `activate`, while it runs, and when it is done.
    """
    if isinstance(participants, bool) or not isinstance(participants, int) or participants < 1:
        raise InputError(f"participants is a number from 1 on, but got {participants!r}.")
    session = _the_session()
    session.engine.start(session.target(graph_id).id, participants)


def track_progress(graph_id: int | None = None) -> GraphInfo:
    """Show a live bar until the execution is finished. Ops that failed are reported; the others can be fetched.

    Raises:
        StateError: when it is not being executed.
        ExecutionError: when it came to a stop: the disk is full, its process was killed.
    """
    session = _the_session()
    started = session.target(graph_id)
    if started.status == "activated":
        raise StateError(f"graph {started.id} is not being executed: call R.execute() first.")
    try:
        info = follow(session.engine, started.id)
    except KeyboardInterrupt:
        session.engine.stop(started.id)
        raise
    if info is None:
        raise ExecutionError(f"graph {started.id} was flushed while it was executed.")
    if info.status in ("stopped", "interrupted"):
        reason = f": {info.message}" if info.message else ""
        raise ExecutionError(f"the execution of graph {info.id} ended after {info.done} of {info.total} calls{reason}. "
                             "What is computed is kept; R.execute() goes on from there.")
    for message in session.engine.failures(info.id):
        print(message, file=sys.stderr)
    return info


def fetch_persisting_op(op_name: str, graph_id: int | None = None) -> Fetched | Any:
    """The result of a persisted op, as soon as it is computed; of a saved model, the torch module.

    Args:
        op_name: the name that it was given by `persist_op`.
        graph_id: of the graph; by default the current one.

    Raises:
        PersistNameError: for an unknown name.
        StateError: when it is not computed yet.
        ExecutionError: when it failed; the message says why.
    """
    session = _the_session()
    if graph_id is None and session.record is not None and session.record.id is None:
        names = session.record.persisted
        if op_name not in names:
            raise _unknown(session, op_name, list(names), "the graph that is being recorded")
        raise StateError(f"{op_name!r} is not computed yet: call R.activate(), R.execute() and R.track_progress() "
                         "first.")
    info = session.target(graph_id)
    entry = info.about.get(MODELS, {}).get(op_name)
    if entry is None:
        return _result(session, info, op_name)
    return restored(entry, op_name, lambda name: _result(session, info, name))


def _result(session: Session, info: GraphInfo, name: str) -> Fetched:
    number = session.engine.number(info.id, name)
    if number is None:
        raise _unknown(session, name, list(session.engine.names(info.id)), f"graph {info.id}", info.id)
    found = session.engine.result(info.id, number)
    if isinstance(found, Failure):
        raise ExecutionError(found.message)
    if found is None:
        why = {"activated": "the graph is not executed yet: call R.execute()",
               "executing": f"{info.done} of {info.total} calls are done, R.track_progress() waits for the rest"}
        raise StateError(f"{name!r} is pending: {why.get(info.status, 'it was not finished; R.execute() goes on')}.")
    return fetched(found)


def _unknown(session: Session, name: str, names: list[str], where: str, graph: int | None = None) -> PersistNameError:
    close = difflib.get_close_matches(str(name), names, 3)
    if close:
        known = f" Did you mean {' or '.join(map(repr, close))}?"
    else:
        known = f" It has: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}." if names else " It has none."
    others = [info.id for info in session.engine.graphs()
              if info.id != graph and session.engine.number(info.id, name) is not None]
    hint = f" Graph {others[-1]} has that name: pass graph_id={others[-1]}." if others else ""
    return PersistNameError(f"there is no persisted op {name!r} in {where}.{known}{hint}")


# Ops ------------------------------------------------------------------------------------------------------------


def t(value: Any) -> Op:
    """An op of data: an array, a number, or nested lists of numbers. Floats and integers have 32 bits."""
    return current_graph().tensor(value)


def Tensor(value: Any) -> Op:
    """An op of an array."""
    return t(value)


def Scalar(value: Any) -> Op:
    """An op of a number."""
    made = t(value)
    if made.get_shape():
        raise InputError(f"R.Scalar() takes a number, but got the shape {made.get_shape()}: use R.Tensor().")
    return made


def model(path: str | os.PathLike[str]) -> ModelFile:
    """A TorchScript file, for `Pytorch_Model(model_op=)`."""
    return ModelFile(path)


def epsilon() -> Op:
    """1e-7."""
    return t(1e-7)


def one() -> Op:
    """1."""
    return t(1)


def minus_one() -> Op:
    """-1."""
    return t(-1)


def inf() -> Op:
    """Infinity."""
    return t(math.inf)


def pi() -> Op:
    """The ratio of a circle's circumference to its diameter."""
    return t(math.pi)

