"""The work of processes that the tests kill: records or continues a graph, and says what it was told to be computed.

Started as a program it waits for commands, one a line, and answers each with processes of its own (forks, so that each
need not import everything again): "work FOLDER TOKEN" and "graph FOLDER TOKEN".
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

import numpy as np

import ravnet as R
from ravnet.api import session
from ravnet.errors import StateError

STEPS = 40
SIDE = 150  # a result of 90 kB is a file
FINAL = f"x{STEPS - 1}"


def start_value() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32) / SIDE**0.5


def record(name: str = "work") -> None:
    """A chain of ops, of which the large results and their small sums are persisted."""
    R.Graph(name=name, algorithm="chain", approach="distributed")
    w = x = R.t(start_value())
    for i in range(STEPS):
        x = (R.matmul(x, w) * 0.4 + w).clip(-0.2, 0.2)
        x.persist_op(f"x{i}")
        R.sum(x).persist_op(f"s{i}")
    R.activate()


def expected() -> dict[str, np.ndarray]:
    w = x = start_value()
    found = {}
    for i in range(STEPS):
        x = np.clip(x @ w * np.float32(0.4) + w, np.float32(-0.2), np.float32(0.2))
        found |= {f"x{i}": x, f"s{i}": x.sum()}
    return found


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work() -> None:
    """Execute the newest graph, a new one if there is none, and report what is computed."""
    engine = session._the_session().engine
    if not engine.graphs():
        record()
    graph = engine.graphs()[-1].id
    say("activated", graph)
    try:
        R.execute()
    except StateError as error:
        if "already" not in str(error):
            raise
        say("refused", error)
    names, told = engine.names(graph), set()
    while True:
        info = engine.info(graph)
        if info is None:  # flushed; the run notices at its next result
            engine.wait(graph, 30)
            return
        for name, number in names.items():
            if name not in told and engine.state(graph, number) == "computed":
                told.add(name)
                say("computed", name)
        if info.status != "executing":
            break
        engine.wait(graph, 0.005)
    say("finished", info.status)


def forked(command: str, folder: str, token: str) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ["RAVNET_HOME"] = folder
        say("process", os.getpid())
        R.initialize(token)
        if command == "graph":
            record(f"graph of {token}")
        work()
        code = 0
    except BaseException:
        say("error", traceback.format_exc().replace("\n", " | "))
    finally:
        os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what the verbs print
    say("ready")
    for line in sys.stdin:
        if line.split() == ["echo"]:
            say("echo")
            continue
        forked(*line.split())
