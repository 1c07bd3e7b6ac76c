"""Runs to be killed. As a script: imports once, then forks a run for every line of JSON that it reads.

A line says where the run keeps its things, and when it is killed: "seconds" after its start, or when the `number`-th
new checkpoint is "saving" or "saved", and `delay` seconds more. The answer says how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint  # noqa: F401 - before the forks, as importing takes longer than a run
from safetensors.numpy import save_file
from small_run import arrays, make_trainer

import zkynet
from zkynet import data, train

EPOCHS, BATCH, EVERY = 16, 8, 2
ROWS = 29  # the last batch is ragged, and checkpoints come at all places of an epoch


def run_to_the_end(folder: Path, streamed: bool) -> None:
    """Train, from wherever the last run in this folder came, and write the outcome."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    source = data.Loader((x, y), BATCH, shuffle=True, seed=3) if streamed else (x, y)
    trainer = make_trainer(metrics=["accuracy"], seed=3)
    trainer.fit(source, validation=(x, y), epochs=EPOCHS, batch_size=BATCH, progress=False,
                resume=train.Checkpointer(folder / "checkpoints", every_steps=EVERY))
    figures = {name: trainer.history[name] for name in ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")}
    save_file(arrays(trainer), folder / "arrays.safetensors")
    (folder / "figures.json").write_text(json.dumps({"position": trainer.position, **figures}))


def forked(folder: Path, streamed: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        run_to_the_end(folder, streamed)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def attempt(folder: str, streamed: bool = False, when: str = "never", number: int = 1, delay: float = 0.0) -> Any:
    """One run, killed or not."""
    checkpoints = Path(folder) / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    before, seen = set(os.listdir(checkpoints)), set()
    start = time.monotonic()
    pid = forked(Path(folder), streamed)
    due = start + delay if when == "seconds" else None
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if due is None and when != "never":
            names = set(os.listdir(checkpoints)) - before
            seen |= {name for name in names if name.endswith(".unfinished") == (when == "saving")}
            due = time.monotonic() + delay if len(seen) >= number else None
        if due is not None and time.monotonic() >= due:
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.0005)
    names = os.listdir(checkpoints)
    return {"status": os.waitstatus_to_exitcode(ended[1]), "unfinished": any("unfinished" in name for name in names),
            "steps": max((int(name.split("-")[-1]) for name in names if "unfinished" not in name), default=0)}


if __name__ == "__main__":
    zkynet.use_disk_cache(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(attempt(**json.loads(line))), flush=True)
