"""The embedded engine: runs that stop, go on, fail and are flushed; and what a run leaves out."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravnet as R
from ravnet.api import session
from ravnet.errors import ExecutionError, StateError
from ravnet.executor import embedded, run
from ravnet.executor.embedded import EmbeddedEngine
from ravnet.executor.engine import Failure
from ravnet.executor.run import Stopped, execute, needed_calls
from ravnet.wire.graph import CallGraph, Late
from zkynet.framework import cg
from zkynet.framework.errors import InputError
from zkynet.framework.operator import operator

STEPS = 30


def engine() -> EmbeddedEngine:
    found = session._the_session().engine
    assert isinstance(found, EmbeddedEngine)
    return found


def chain(steps: int = STEPS, size: int = 3, every: int = 1) -> list[Any]:
    """A chain of calls, of which some are persisted; those between are not kept."""
    R.initialize("token")
    R.Graph(name="chain", algorithm="chain", approach="distributed")
    x = R.t(np.zeros(size))
    for i in range(steps):
        x = x + float(i)
        _ = x.number  # a call of its own
        if i % every == every - 1:
            x.persist_op(f"x{i}")
    R.activate()
    return [float(sum(range(i + 1))) for i in range(steps)]


@contextmanager
def run_calls(monkeypatch: pytest.MonkeyPatch, at: int | None = None,
              then: Callable[[], object] = lambda: None) -> Iterator[list[int]]:
    """Counts the calls that are run; does something before one of them."""
    counted: list[int] = []
    original = run._results

    def results(*args: Any) -> Any:
        counted.append(1)
        if len(counted) == at:
            then()
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run, "_results", results)
        yield counted


# Stopping and going on ----------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on_where_it_was(home: Path, monkeypatch: pytest.MonkeyPatch):
    right = chain()
    reached, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        reached.set()
        go_on.wait(30)

    with run_calls(monkeypatch, 11, pause) as first:
        R.execute()
        assert reached.wait(30)
        with pytest.raises(StateError, match="being executed already"):
            R.execute()
        assert engine().info(1).status == "executing"  # pyright: ignore[reportOptionalMemberAccess]
        run_of = engine()._runs[1]
        run_of.stopped.set()
        go_on.set()
        run_of.join()
    assert R.get_my_graphs()[0]["status"] == "stopped"
    with pytest.raises(ExecutionError, match=r"ended after 1[01] of 30 calls: stopped by the user\. What is"):
        R.track_progress()
    assert R.fetch_persisting_op("x9").tolist() == [right[9]] * 3
    with pytest.raises(StateError, match="'x29' is pending: it was not finished"):
        R.fetch_persisting_op("x29")
    with run_calls(monkeypatch) as second:
        R.execute()
        assert R.track_progress().status == "computed"
    assert len(first) + len(second) <= STEPS + 1
    assert [float(R.fetch_persisting_op(f"x{i}")[0]) for i in range(STEPS)] == right


def test_a_checkpoint_keeps_what_is_not_persisted(home: Path, forget: Callable[[], None],
                                                  monkeypatch: pytest.MonkeyPatch):
    """Only the last value is persisted, yet a run that goes on does not begin anew."""
    monkeypatch.setattr(embedded, "CHECKPOINT", 0.0)
    monkeypatch.setattr(embedded, "_SHARE", 0)
    right = chain(every=STEPS)

    def fail() -> None:
        raise MemoryError("of the machine")

    with run_calls(monkeypatch, 21, fail):
        R.execute()
        with pytest.raises(ExecutionError, match=r"ended after \d+ of 30 calls: of the machine"):
            R.track_progress()
    monkeypatch.setattr(embedded, "CHECKPOINT", 10.0)
    forget()  # as another process
    R.initialize("token")
    with run_calls(monkeypatch) as calls:
        R.execute()
        R.track_progress()
    assert len(calls) <= STEPS - 15
    assert R.fetch_persisting_op(f"x{STEPS - 1}").tolist() == [right[-1]] * 3
    assert engine().store.known(1) == set(engine().names(1).values())  # the checkpoint is gone


def test_a_checkpoint_of_a_run_that_goes_on_keeps_what_is_used_later(home: Path, forget: Callable[[], None],
                                                                      monkeypatch: pytest.MonkeyPatch):
    """The first value is used by the last call alone, and its run ends before that."""
    monkeypatch.setattr(embedded, "CHECKPOINT", 0.0)
    monkeypatch.setattr(embedded, "_SHARE", 0)
    R.initialize("token")
    R.Graph(name="late use", approach="distributed")
    early = x = R.t(np.ones(3)) * 3.0
    _ = early.number  # a call of its own
    for _ in range(10):
        x = x + 1.0
        _ = x.number
    (x + early).persist_op("last")
    del early, x
    R.activate()
    assert engine().store.wanted(1) == set(engine().names(1).values())

    def fail() -> None:
        raise MemoryError("of the machine")

    with run_calls(monkeypatch, 6, fail):
        R.execute()
        with pytest.raises(ExecutionError, match="of the machine"):
            R.track_progress()
    forget()  # as another process
    R.initialize("token")
    with run_calls(monkeypatch) as calls:
        R.execute()
        R.track_progress()
    assert len(calls) == 7
    assert R.fetch_persisting_op("last").tolist() == [16.0] * 3
    assert engine().store.known(1) == set(engine().names(1).values())


def test_results_can_be_fetched_while_the_rest_is_computed(home: Path, monkeypatch: pytest.MonkeyPatch):
    right = chain()
    go_on = threading.Event()
    with run_calls(monkeypatch, 20, lambda: go_on.wait(30)):
        R.execute()
        number = engine().number(1, "x10")
        assert number is not None
        while engine().state(1, number) == "pending":
            engine().wait(1, 0.01)
        assert R.fetch_persisting_op("x10").tolist() == [right[10]] * 3
        with pytest.raises(StateError, match=r"'x29' is pending: \d+ of 30 calls are done, R\.track_progress\(\)"):
            R.fetch_persisting_op("x29")
        go_on.set()
        R.track_progress()


def test_an_unexpected_error_is_told(home: Path, monkeypatch: pytest.MonkeyPatch):
    chain(steps=3)
    monkeypatch.setattr(embedded, "execute", lambda *_: (_ for _ in ()).throw(ValueError("a bug")))
    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    R.execute()
    with pytest.raises(ExecutionError, match="ValueError: a bug"):
        R.track_progress()
    engine()._runs[1].join()
    assert caught[0].exc_type is ValueError


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond a size: what a full disk is to those who write. (Python ignores the signal.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [10_000, 400_000])
def test_a_disk_that_is_full(home: Path, limit: int):
    """Small results fit, or not even these; then there is room again."""
    right = chain(steps=12, size=200_000, every=2)
    begun = r"ended after \d+ of 12 calls: the data folder .* cannot be used.*R\.execute\(\) goes on"
    with file_size_limit(limit), pytest.raises(ExecutionError, match=begun if limit > 100_000 else "Is the disk full"):
        R.execute()
        R.track_progress()
    assert not list(home.rglob("*.part"))
    R.execute()
    assert R.track_progress().status == "computed"
    assert [float(R.fetch_persisting_op(f"x{i}")[7]) for i in range(1, 12, 2)] == right[1::2]


def test_a_graph_that_cannot_be_stored_can_be_activated_later(home: Path):
    R.initialize("token")
    R.Graph(name="large", algorithm="data", approach="distributed")
    (R.t(np.ones(500_000)) + 1).persist_op("x")
    with file_size_limit(300_000), pytest.raises(ExecutionError, match="Is the disk full"):
        R.activate()
    with pytest.raises(StateError, match="activated, so no op"):
        R.t(1)
    assert R.get_my_graphs() == []
    R.activate()
    R.execute()
    R.track_progress()
    assert R.fetch_persisting_op("x").sum() == 1_000_000


def test_flush_stops_a_run(home: Path, monkeypatch: pytest.MonkeyPatch):
    chain()
    reached, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        reached.set()
        go_on.wait(0.3)

    with run_calls(monkeypatch, 5, pause):
        R.execute()
        assert reached.wait(30)
        R.flush()
    assert R.get_my_graphs() == [] and not list((home / "graphs").iterdir())
    with pytest.raises(StateError, match=r"no graph: call R\.Graph"):
        R.execute()


def test_ctrl_c_stops_the_run(home: Path, monkeypatch: pytest.MonkeyPatch):
    chain()

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "follow", interrupted)
    with run_calls(monkeypatch, 3, lambda: threading.Event().wait(0.2)):
        R.execute()
        with pytest.raises(KeyboardInterrupt):
            R.track_progress()
    assert R.get_my_graphs()[0]["status"] == "stopped"


def test_what_is_executed_is_held_no_longer(home: Path):
    chain(steps=3)
    R.execute()
    R.track_progress()
    run_of = engine()._runs[1]
    run_of.join()
    assert not run_of._content.leaves and not run_of._content.calls


def test_many_results_are_kept_in_few_transactions(home: Path, monkeypatch: pytest.MonkeyPatch):
    R.initialize("token")
    R.Graph(name="wide", algorithm="wide", approach="distributed")
    a, b = R.t(np.ones(4)), R.t(np.ones(4))
    ops = [a + b for _ in range(2000)]
    R.activate()
    commits: list[int] = []
    original = embedded.Store.keep

    def keep(self: Any, graph: int, found: dict, *rest: Any) -> None:
        commits.append(len(found))
        original(self, graph, found, *rest)

    monkeypatch.setattr(embedded.Store, "keep", keep)
    R.execute()
    R.track_progress()
    assert sum(commits) == 2000 and len(commits) < 1000
    assert {op().tolist() == [2, 2, 2, 2] for op in ops} == {True}


# What is run ------------------------------------------------------------------------------------------------


@operator(jit=False)
def picky(x):
    """A body in Python, which refuses negative numbers."""
    if (np.asarray(x) < 0).any():
        raise ValueError("negative\nand more lines")
    return np.sqrt(x)


def outcomes(graph: CallGraph, wanted: list[int], known: dict[int, Any] | None = None) -> dict[int, Any]:
    found: dict[int, Any] = {}
    execute(graph, wanted, lambda done, total, new, values: found.update(new), known)
    return found


def test_a_failing_operator_in_a_program_is_named_and_its_neighbours_finish():
    from ravnet.api.recording import Recorder

    graph = CallGraph()
    recorder = Recorder(graph)
    x = recorder.leaf(np.array([-1.0, 4.0], np.float32))
    with recorder:
        y = x * 2.0
        z = picky_node(y)
        w = y + 1.0
        both = z + w
    recorder.finish([z, w, both])
    numbers = [recorder.ref_of(node).number for node in (z, w, both)]
    failed, right, after = [outcomes(graph, numbers)[number] for number in numbers]
    assert np.asarray(right).tolist() == [-1, 9]
    for one in (failed, after):
        assert isinstance(one, Failure)
        assert "op picky(float32[2]) of " in one.message and "test_engine.py:" in one.message
        assert one.message.endswith("failed: negative")


def picky_node(x: cg.Node) -> cg.Node:
    """The operator within a graph: with a leaf of unknown value it is not run when it is made."""
    from zkynet.framework.nodes import OperatorNode
    from zkynet.framework.session import user_frame

    return OperatorNode(picky.signature((), (x.aval,)), (x,), x.call, None, user_frame(1))


def test_calls_that_nobody_needs_are_left_out():
    graph = CallGraph()
    x = graph.leaf(np.array([3, 1, 3], np.int32))
    unique, = graph.call(Late("unique", "{}"), [x])
    other, = graph.call(Late("unique", "{}"), [x])
    counted, = graph.call(Late("bincount", "{}"), [unique])
    assert [call.first for call in needed_calls(graph, [counted])] == [unique, counted]
    assert [call.first for call in needed_calls(graph, [counted, other], {unique})] == [other, counted]
    assert needed_calls(graph, [counted], {counted}) == []
    assert outcomes(graph, [counted])[counted].tolist() == [0, 1, 0, 1]
    assert outcomes(graph, [counted], {unique: np.array([2])})[counted].tolist() == [0, 0, 1]
    assert outcomes(graph, [x])[x].tolist() == [3, 1, 3]


def test_late_calls_that_fail():
    graph = CallGraph()
    x = graph.leaf(np.array([-1], np.int32))
    one, = graph.call(Late("bincount", "{}"), [x], "script.py:3")
    two = graph.call(Late("unique", "{}", 3), [x], "script.py:4")
    found = outcomes(graph, [one, *two])
    assert found[one].message.startswith("op bincount(int32[1]) of script.py:3 failed: bincount: x is a list")
    assert {value.message for value in (found[n] for n in two)} == {
        "op unique(int32[1]) of script.py:4 failed: it gave 1 results, but the graph says 3"}


def test_a_report_may_end_the_run():
    graph = CallGraph()
    x = graph.leaf(np.array([1], np.int32))
    numbers = [graph.call(Late("unique", "{}"), [x])[0] for _ in range(5)]
    seen: list[int] = []

    def report(done: int, total: int, found: Any, values: Any) -> None:
        seen.append(done)
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        execute(graph, numbers, report)
    assert seen == [0, 1, 2]


def test_operators_that_run_in_python_are_refused_at_activation(home: Path):
    R.initialize("token")
    record = R.Graph(name="host", algorithm="host", approach="distributed")
    record.wrap(picky_node(R.t([1.0]).node)).persist_op("x")
    with pytest.raises(InputError, match=r"cannot be stored or sent(.|\n)*picky"):
        R.activate()
