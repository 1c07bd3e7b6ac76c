"""Processes that are killed, or run at the same time, on one data folder: what was reported computed is there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from killed_work import FINAL, expected

import ravnet as R
from ravnet.errors import ExecutionError, StateError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def starter() -> Iterator[subprocess.Popen]:
    """A process that has imported everything and starts others."""
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE}", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([sys.executable, str(HERE / "killed_work.py")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline().strip() == "ready"
    yield process
    process.kill()
    process.communicate()


def ask(starter: subprocess.Popen, *words: object) -> None:
    assert starter.stdin is not None
    starter.stdin.write(" ".join(map(str, words)) + "\n")
    starter.stdin.flush()


def answer(starter: subprocess.Popen) -> list[str]:
    assert starter.stdout is not None
    words = starter.stdout.readline().split()
    assert words and words[0] != "error", " ".join(words)
    return words


def check_reported(reported: set[str], right: dict[str, np.ndarray]) -> None:
    """In a process of its own: all that was reported is there, and right."""
    R.initialize("token")
    for name in reported:
        assert np.allclose(R.fetch_persisting_op(name), right[name], rtol=1e-4, atol=1e-4), name


def killed(starter: subprocess.Popen, home: Path, results: int, seconds: float) -> tuple[set[str], bool]:
    """Let a process work until it reported some results or time is up, then kill it; what it reported, and whether it
    had finished."""
    ask(starter, "work", home, "token")
    pid = int(answer(starter)[1])
    deadline, told, finished = time.monotonic() + seconds, set(), False
    while len(told) < results and not finished and time.monotonic() < deadline:
        words = answer(starter)
        finished = words[0] == "finished"
        if words[0] == "computed":
            told.add(words[1])
    if not finished:
        os.kill(pid, signal.SIGKILL)
    ask(starter, "echo")  # everything that the killed one said comes before the answer
    while (words := answer(starter))[0] != "echo":
        finished = finished or words[0] == "finished"
        if words[0] == "computed":
            told.add(words[1])
    return told, finished


def test_what_was_reported_computed_survives_20_kills(starter: subprocess.Popen, home: Path):
    chance, right = random.Random(7), expected()
    reported: set[str] = set()
    kills = continued = 0
    while kills < 20:
        wanted = len(reported) + chance.randrange(1, 12)
        told, finished = killed(starter, home, wanted, chance.choice([0.05, 0.4, 2.0]))
        continued += bool(reported) and bool(told - reported)
        reported |= told
        check_reported(reported, right)
        if finished:
            R.flush()
            reported = set()
        else:
            kills += 1
    assert continued >= 2
    if reported and R.get_my_graphs()[0]["status"] != "computed":
        with pytest.raises(ExecutionError, match=r"ended after \d+ of \d+ calls.*R\.execute\(\) goes on"):
            R.track_progress()
        R.execute()
        R.track_progress()
        check_reported(set(right), right)
    assert not list(home.rglob("*.part"))


def test_two_processes_execute_their_graphs_in_one_folder(starter: subprocess.Popen, home: Path):
    for token in ("one", "two"):
        ask(starter, "graph", home, token)
    finished = 0
    while finished < 2:
        words = answer(starter)
        finished += words[0] == "finished"
    right = expected()
    for token in ("one", "two"):
        R.initialize(token)
        row, = R.get_my_graphs()
        assert (row["name"], row["status"]) == (f"graph of {token}", "computed")
        for name, value in right.items():
            assert np.allclose(R.fetch_persisting_op(name), value, rtol=1e-4, atol=1e-4)
    database = sqlite3.connect(home / "ravnet.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_one_graph_is_executed_by_one_process(starter: subprocess.Popen, home: Path):
    ask(starter, "work", home, "token")
    while answer(starter)[0] != "computed":
        pass
    R.initialize("token")
    with pytest.raises(StateError, match="executed already"):  # it is being executed; or it was, on a slow machine
        R.execute()
    info = R.track_progress()  # follows the other process
    assert info.status == "computed"
    assert np.allclose(R.fetch_persisting_op(FINAL), expected()[FINAL], rtol=1e-4, atol=1e-4)
    while answer(starter)[0] != "finished":
        pass


def test_a_flushed_graph_stops_in_the_process_that_runs_it(starter: subprocess.Popen, home: Path):
    ask(starter, "work", home, "token")
    pid = int(answer(starter)[1])
    while answer(starter)[0] != "computed":
        pass
    R.initialize("token")
    R.flush()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    assert R.get_my_graphs() == [] and list((home / "graphs").iterdir()) == []


SCRIPT = """
import numpy as np
import ravnet as R
R.initialize("token")
R.Graph(name="left", algorithm="alone", approach="distributed")
x = R.t(np.ones((50, 50)))
for i in range(20):
    x = R.matmul(x, x) / 50.0 + 0.0
    x.persist_op(f"x{i}")
R.kmeans(R.t(np.random.rand(30, 2)), n_clusters=2)[0].persist_op("means")
R.activate()
R.execute()
print("end of the script")
"""


def test_a_script_that_ends_early_finishes_its_execution(home: Path, tmp_path: Path):
    """Also what imports thread pools, which Python forbids at its end."""
    pytest.importorskip("sklearn")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(HERE.parents[1])})
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "end of the script" in done.stdout
    R.initialize("token")
    assert R.track_progress().status == "computed"
    assert R.fetch_persisting_op("x19").shape == (50, 50) and R.fetch_persisting_op("means").size
