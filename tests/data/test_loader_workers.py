"""Worker processes: the same batches as without, and what happens when they fail."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import worker_sets

from zkynet import data
from zkynet.framework.errors import ShapeError

ROOT = Path(__file__).resolve().parents[2]


def contents(batches) -> list[tuple]:
    return [(*(a.tolist() for a in b.arrays), b.weights.tolist(), b.size) for b in batches]


@pytest.fixture
def make():
    """Makes loaders, and ends their workers after the test."""
    made: list[data.Loader] = []

    def loader(dataset, batch_size: int, **options) -> data.Loader:
        made.append(data.Loader(dataset, batch_size, device="host", **options))
        return made[-1]

    yield loader
    for one in made:
        one.close()


@pytest.mark.parametrize("workers, prefetch", [(1, 0), (2, 2), (3, 1)])
def test_batches_do_not_depend_on_workers(make, workers: int, prefetch: int):
    x = np.random.default_rng(0).random((37, 2), np.float32)
    for dataset in (worker_sets.Slow(23), data.Mapped((x, np.arange(37)), worker_sets.Jitter())):
        alone = make(dataset, 4, shuffle=True, seed=3)
        many = make(dataset, 4, shuffle=True, seed=3, workers=workers, prefetch=prefetch)
        for _ in range(2):
            assert contents(many) == contents(alone)
        many.close()
        assert contents(many) == contents(alone)  # starts new ones


def test_a_loop_left_in_the_middle_goes_on(make):
    alone, many = make(worker_sets.Slow(40), 3, shuffle=True), make(worker_sets.Slow(40), 3, shuffle=True, workers=2)
    expected, seen = contents([b for _ in range(2) for b in alone]), []
    while many.epoch < 2:
        for i, batch in enumerate(many):
            seen += contents([batch])
            if i == 4:
                break
    assert seen == expected
    state = many.state()
    other = make(worker_sets.Slow(40), 3, shuffle=True, workers=1)
    other.load_state(state | {"epoch": 1, "position": 9})
    assert contents(other) == expected[-5:]


def test_ctrl_c_while_the_answers_of_a_loop_that_was_left_are_taken(make, monkeypatch: pytest.MonkeyPatch):
    expected = contents(make(worker_sets.Squares(20), 2))
    loader = make(worker_sets.Squares(20), 2, workers=2, prefetch=0)
    assert contents([next(iter(loader))]) == expected[:1]  # three more are on their way
    pool = loader._pool
    receive, taken = pool._receive, itertools.count()

    def interrupted(worker: int):
        if next(taken) == 1:
            raise KeyboardInterrupt
        return receive(worker)

    monkeypatch.setattr(pool, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(iter(loader))
    assert not pool.close.alive  # nobody waits for an answer that was taken
    assert contents(loader) == expected[1:]


def test_rows_are_copied_out_of_the_shared_memory(make):
    """Slots are used again and again; every batch has to keep its own values."""
    kept = list(make(worker_sets.Squares(400), 8, workers=2))
    for k, batch in enumerate(kept):
        assert batch.arrays[0].tolist() == list(range(8 * k, 8 * k + 8))
        assert batch.arrays[1].tolist() == [[i * i] * 3 for i in range(8 * k, 8 * k + 8)]


def test_workers_are_other_processes_without_a_jax_backend(make):
    (batch,) = make(worker_sets.Where(4), 4, workers=1)
    pids, started = batch.arrays
    assert os.getpid() not in pids.tolist() and len(set(pids.tolist())) == 1
    assert not started.any()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_of_a_worker_comes_at_its_batch(make, prefetch: int):
    loader = make(worker_sets.Fails(12), 2, workers=2, prefetch=prefetch)
    seen = []
    for _ in range(2):  # and the workers stay usable
        with pytest.raises(data.DataError, match="KeyError: 'no five'") as caught:
            for batch in loader:
                seen.append(batch.arrays[0].tolist())
        assert "reading batch 2 of epoch 0" in caught.value.__notes__[0] and "__getitem__" in caught.value.__notes__[0]
    assert seen == [[0, 1], [2, 3]]
    loader.position = 3
    assert [b.arrays[0].tolist() for b in loader] == [[6, 7], [8, 9], [10, 11]]


def test_rows_of_another_shape(make):
    with pytest.raises(ShapeError, match="as those before; got"):
        list(make(worker_sets.Ragged(12), 4, workers=1))


def test_a_worker_that_is_killed(make):
    loader = make(worker_sets.Dies(12), 2, workers=2)
    with pytest.raises(data.DataError, match=r"worker process 0 ended \(exit code -9\).*memory ran out"):
        list(loader)
    loader.position = 5  # beyond what kills them: new workers
    assert contents(loader) == contents(make(worker_sets.Squares(12), 2))[5:]


def test_what_cannot_be_sent(make):
    class Local(worker_sets.Squares):
        pass

    for dataset in (Local(4), data.Mapped(np.zeros(4), lambda x: x)):
        with pytest.raises(data.DataError, match="cannot be sent to worker processes .*no lambdas"):
            list(make(dataset, 2, workers=1))


def test_memory_maps_are_read_by_the_workers(make, tmp_path: Path):
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(20))
    assert contents(make(data.npz(tmp_path / "x.npz"), 8, workers=1)) == contents(make((x, np.arange(20)), 8))


def test_workers_end_with_their_loader():
    before = set(multiprocessing.active_children())
    loader = data.Loader(worker_sets.Squares(8), 2, workers=2, device="host")
    list(loader)
    own = set(multiprocessing.active_children()) - before
    assert len(own) == 2
    del loader
    gc.collect()
    assert not set(multiprocessing.active_children()) & own


def run(script: Path, text: str) -> subprocess.CompletedProcess[str]:
    script.write_text(text)
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"})


def test_a_script_that_stops_in_the_middle_ends_cleanly(tmp_path: Path):
    done = run(tmp_path / "script.py", """
from zkynet import data
import worker_sets

if __name__ == "__main__":
    loader = data.Loader(worker_sets.Squares(10_000), 2, workers=2)
    for i, batch in enumerate(loader):
        print(batch.arrays[0].tolist())
        if i == 2:
            raise SystemExit(3)
""")
    assert done.returncode == 3 and done.stderr == ""
    assert done.stdout == "[0.0, 1.0]\n[2.0, 3.0]\n[4.0, 5.0]\n"


def test_a_script_without_its_guard_says_so(tmp_path: Path):
    done = run(tmp_path / "script.py", """
from zkynet import data
import worker_sets
list(data.Loader(worker_sets.Squares(100), 2, workers=1))
""")
    assert done.returncode == 1
    assert "runs its main part under `if __name__ == '__main__':`" in done.stderr
