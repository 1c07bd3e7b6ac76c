"""A run that is killed again and again ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed_runs import BATCH, EPOCHS, EVERY, ROWS
from safetensors.numpy import load_file
from small_run import assert_identical

Attempt = Callable[..., dict[str, Any]]
STEPS = -(-ROWS // BATCH)


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempt]:
    """Makes runs, each a process of its own; see `killed_runs.attempt`. Warnings are errors in them."""
    script = str(Path(__file__).with_name("killed_runs.py"))
    with subprocess.Popen([sys.executable, "-W", "error", script, str(tmp_path_factory.mktemp("programs"))],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def ask(folder: Path, **how: Any) -> dict[str, Any]:
            requests.write(json.dumps({"folder": str(folder), **how}) + "\n")
            requests.flush()
            return json.loads(answers.readline())

        yield ask
        requests.close()


def outcome(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    return load_file(folder / "arrays.safetensors"), json.loads((folder / "figures.json").read_text())


def moments(seed: int) -> Iterator[dict[str, Any]]:
    """When to kill: while it starts, while it writes a checkpoint, or between two."""
    rng = random.Random(seed)
    yield {"when": "seconds", "delay": 0.05}  # before there is anything to resume from
    while True:
        when = rng.choice(["seconds", "saving", "saving", "saved"])
        yield {"when": when, "number": rng.randint(1, 2), "delay": rng.random() * (2.0 if when == "seconds" else 0.03)}


@pytest.mark.parametrize("streamed, kills", [(False, 20), (True, 5)], ids=["in memory", "loader"])
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path: Path, attempt: Attempt, streamed: bool, kills: int):
    assert attempt(tmp_path / "whole", streamed=streamed)["status"] == 0
    arrays, figures = outcome(tmp_path / "whole")
    assert figures["position"] == {"epoch": EPOCHS, "step": 0, "global_step": EPOCHS * STEPS}
    assert figures["epoch"] == list(range(EPOCHS)) and figures["loss"][-1] < figures["loss"][0]

    killed: list[dict[str, Any]] = []
    runs = 0
    when = moments(seed=kills)
    while True:
        # A run that ends before the last kill is followed by another one, from the start.
        done = attempt(tmp_path / str(runs), streamed=streamed, **(next(when) if len(killed) < kills else {}))
        if done["status"] == 0:
            found, others = outcome(tmp_path / str(runs))
            assert_identical(arrays, found)
            assert others == figures
            runs += 1
            if len(killed) == kills:
                break
        else:
            assert done["status"] == -signal.SIGKILL
            killed.append(done)
    # The kills were where they matter: some within the writing of a checkpoint, some in the middle of an epoch.
    assert any(kill["unfinished"] for kill in killed)
    assert any(kill["steps"] % STEPS for kill in killed) and all(kill["steps"] % EVERY == 0 for kill in killed)
