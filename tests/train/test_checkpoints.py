"""Checkpoints: what is read is what was written, or it is refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from small_run import arrays, assert_identical, bound_trainer, fit, make_trainer, play

from zkynet import nn, optim, train
from zkynet.framework.errors import InputError
from zkynet.train.checkpoint_files import read_checkpoint, write_checkpoint

ocp = pytest.importorskip("orbax.checkpoint")
RNG = np.random.default_rng(1)

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32",
          "float64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"]


def of_dtype(name: str) -> np.ndarray:
    dtype: Any = np.dtype(getattr(jnp, name)) if name not in np.sctypeDict else np.dtype(name)
    return RNG.integers(0, 2 if name == "bool" else 7, (3, 5)).astype(dtype)


def save_state(path: Path, model: dict[str, np.ndarray], progress: Any = None) -> dict[str, Any]:
    write_checkpoint(path, {"model": model, "optimizer": {}, "progress": progress}, "1.2.3")
    return read_checkpoint(path)


# What is kept ----------------------------------------------------------------------------------------------


def test_every_dtype_comes_back_to_the_bit(tmp_path: Path):
    model = {name: of_dtype(name) for name in DTYPES}
    model |= {"special": np.array([np.nan, -0.0, np.inf, 5e-324]),
              "nan": np.frombuffer(b"\x01\x00\xc0\x7f", np.float32), "scalar": np.array(3, np.int32),
              "empty": np.zeros((0, 4), np.float16),
              "transposed": RNG.normal(size=(3, 4)).T, "device": np.asarray(jnp.arange(5))}
    state = save_state(tmp_path / "all", model)
    assert_identical({name: np.asarray(value) for name, value in model.items()}, state["model"])


@pytest.mark.parametrize("names", [["a", "a.b", "a/b", "a/0", "0", "a/.zarray", "..", "~", "A", "ä b", "x%y", "a[0]"]])
def test_any_name_will_do(tmp_path: Path, names: list[str]):
    model = {name: np.full((2, 2), number, np.float32) for number, name in enumerate(names)}
    assert_identical(model, save_state(tmp_path / "names", model)["model"])


def test_progress_comes_back_as_it_was(tmp_path: Path):
    progress = {"position": {"epoch": 3}, "totals": [0.1, [1e-300, 2.5]], "text": 'ä"\n', "nothing": None, "nan": 1e400}
    assert save_state(tmp_path / "progress", {"w": np.ones(1)}, progress)["progress"] == progress


def test_a_restored_trainer_goes_on_as_if_nothing_had_happened(tmp_path: Path):
    whole = make_trainer()
    fit(whole, 4)
    first = make_trainer()
    fit(first, 2, callbacks=[train.Checkpointer(tmp_path)])
    second = make_trainer()
    for parameter in second.model.parameters():
        parameter.value = parameter.value * 3
    fit(second, 4, resume=train.Checkpointer(tmp_path))
    assert_identical(arrays(whole), arrays(second))
    assert second.history["loss"] == whole.history["loss"] and second.position == whole.position


# When ------------------------------------------------------------------------------------------------------


WHEN = {  # of 4 epochs of 3 steps: after how many steps the checkpoints are
    "every epoch": (dict(), [3, 6, 9, 12]),
    "every other epoch": (dict(every_epochs=2), [6, 12]),
    "every five epochs": (dict(every_epochs=5), [12]),
    "every five steps": (dict(every_steps=5), [5, 10, 12]),
    "steps and epochs": (dict(every_steps=6, every_epochs=3), [6, 9, 12, 12]),
    "seconds": (dict(every_seconds=1000.0), [12]),
}


def test_when_it_saves(tmp_path: Path):
    savers = {name: train.Checkpointer(tmp_path / name, **how, keep=20) for name, (how, _) in WHEN.items()}
    fit(make_trainer(), 4, callbacks=list(savers.values()))
    found = {name: [int(path.name.split("-")[-1]) for path in saver.paths()] for name, saver in savers.items()}
    assert found == {name: wanted for name, (_, wanted) in WHEN.items()}


def test_a_run_that_a_later_callback_ends_is_saved_at_its_end(tmp_path: Path):
    class Enough(train.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
            trainer.stop_training = epoch == 1

    saver, trainer = train.Checkpointer(tmp_path, every_epochs=50), make_trainer()
    fit(trainer, 9, callbacks=[saver, Enough()])
    assert len(trainer.history) == 2
    assert [path.name for path in saver.paths()] == [f"000001-step-{trainer.position['global_step']}"]


def test_at_every_look_when_no_time_may_pass(tmp_path: Path):
    saver = train.Checkpointer(tmp_path, every_seconds=0, keep=20)
    fit(make_trainer(), 2, callbacks=[saver])
    assert len(saver.paths()) >= 2


def test_the_last_ones_are_kept_and_what_was_left_unfinished_goes(tmp_path: Path):
    (tmp_path / "000001-step-3.unfinished" / "arrays").mkdir(parents=True)
    (tmp_path / "000009-step-9.unfinished" / "arrays").mkdir(parents=True)
    (tmp_path / "notes.unfinished").mkdir()
    (tmp_path / "log.csv").write_text("mine")
    saver = train.Checkpointer(tmp_path, keep=2)
    play(bound_trainer(), [saver], [{"loss": 1.0}] * 4)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["000003-step-9", "000004-step-12", "log.csv",
                                                                 "notes.unfinished"]


def test_a_run_that_starts_anew_in_the_same_folder_is_the_one_that_is_restored(tmp_path: Path):
    saver = train.Checkpointer(tmp_path)
    play(bound_trainer(), [saver], [{"loss": 1.0}] * 5)
    play(bound_trainer(), [saver], [{"loss": 9.0}] * 2)
    trainer = bound_trainer()
    restored = saver.restore(trainer)
    assert restored is not None and restored.path.name == "000007-step-6" and not restored.refused
    assert trainer.history["loss"] == [9.0, 9.0] and restored.position == {"epoch": 2, "step": 0, "global_step": 6}


def test_an_empty_folder_restores_nothing(tmp_path: Path):
    assert train.Checkpointer(tmp_path / "none").restore(bound_trainer()) is None
    (tmp_path / "log.csv").write_text("mine")
    assert train.Checkpointer(tmp_path).restore(bound_trainer()) is None


# Damage ----------------------------------------------------------------------------------------------------


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def damaged(source: Path, target: Path, file: Path, change: str) -> Path:
    """A copy in which one file is cut, has one bit changed, is empty, or is missing."""
    shutil.copytree(source, target)
    place = target / file.relative_to(source)
    content = bytearray(place.read_bytes())
    if change == "missing":
        place.unlink()
    elif change == "empty":
        place.write_bytes(b"")
    elif change == "cut":
        place.write_bytes(content[:len(content) // 2])
    elif content:
        content[RNG.integers(len(content))] ^= 1 << RNG.integers(8)
        place.write_bytes(content)
    return target


@pytest.mark.parametrize("change", ["missing", "empty", "cut", "bit", "bit "])
def test_damage_anywhere_is_found(tmp_path: Path, change: str):
    model = {"w": RNG.normal(size=(40, 30)), "b": RNG.normal(size=30).astype(np.float32), "key": of_dtype("uint32")}
    save_state(tmp_path / "good", model, {"position": 1})
    files = files_of(tmp_path / "good")
    assert len(files) > 3
    for number, file in enumerate(files):
        path = damaged(tmp_path / "good", tmp_path / str(number), file, change.strip())
        if file.stat().st_size or change == "missing":
            with pytest.raises(train.CheckpointError, match=f"{path} is (damaged: |no checkpoint of zkynet, or not a)"):
                read_checkpoint(path)


def largest(path: Path) -> Path:
    return max(files_of(path / "arrays"), key=lambda file: file.stat().st_size)


def forge(path: Path, **changes: Any) -> None:
    """Change the manifest, with the checksum that belongs to it."""
    file = path / "manifest.json"
    manifest = {**json.loads(file.read_text()), **changes}
    del manifest["sha256"]
    text = json.dumps(manifest, sort_keys=True)
    file.write_text(json.dumps({**manifest, "sha256": hashlib.sha256(text.encode()).hexdigest()}))


def test_arrays_are_checked_themselves(tmp_path: Path):
    """The files are in order, but the arrays in them are not those of the manifest."""
    state = {"model": {"w": np.ones((3, 3), np.float32), "b": np.zeros(3)}, "optimizer": {}, "progress": {"epoch": 1}}
    write_checkpoint(tmp_path / "a", state, "0")
    facts = json.loads((tmp_path / "a" / "manifest.json").read_text())["arrays"]
    for name, model in {"value": {"w": np.full((3, 3), 2, np.float32)}, "shape": {"w": np.ones((9, 1), np.float32)},
                        "dtype": {"w": np.ones((3, 3), np.int32)}, "missing": {"v": np.ones(1)}}.items():
        write_checkpoint(tmp_path / name, {**state, "model": model}, "0")
        forge(tmp_path / name, arrays={**facts, "model": {"w": facts["model"]["w"]}})
        reason = "model w is missing" if name == "missing" else "model w is not the array that was written"
        with pytest.raises(train.CheckpointError, match=f"{name} is damaged: {reason}"):
            read_checkpoint(tmp_path / name)


def test_a_changed_manifest_is_noticed(tmp_path: Path):
    write_checkpoint(tmp_path / "a", {"model": {"w": np.ones(3)}, "optimizer": {}, "progress": {"epoch": 1}}, "0")
    file = tmp_path / "a" / "manifest.json"
    file.write_text(file.read_text().replace('"epoch": 1', '"epoch": 2'))
    with pytest.raises(train.CheckpointError, match="its manifest does not have the checksum"):
        read_checkpoint(tmp_path / "a")


def test_the_one_before_a_damaged_checkpoint_is_used(tmp_path: Path):
    saver = train.Checkpointer(tmp_path)
    fit(make_trainer(), 3, callbacks=[saver])
    first, second, third = saver.paths()
    cut = largest(third)
    cut.write_bytes(cut.read_bytes()[:-20])
    (second / "manifest.json").unlink()
    whole, resumed = make_trainer(), make_trainer()
    with pytest.warns(train.CheckpointWarning) as warned:
        fit(resumed, 4, resume=saver)
    texts = [str(w.message) for w in warned]
    assert len(texts) == 2 and all(text.endswith(f"{first.name} is used instead.") for text in texts)
    assert third.name in texts[0] and f"{cut.name} does not have the checksum" in texts[0]
    assert second.name in texts[1] and "there is no manifest.json in it" in texts[1]
    fit(whole, 4)
    assert_identical(arrays(whole), arrays(resumed))


def test_when_none_can_be_used_all_reasons_are_given(tmp_path: Path):
    saver = train.Checkpointer(tmp_path)
    play(bound_trainer(), [saver], [{"loss": 1.0}] * 2)
    for path in saver.paths():
        (path / "manifest.json").write_text("{")
    trainer = bound_trainer()
    before = arrays(trainer)
    with pytest.raises(train.CheckpointError, match="none of the checkpoints in .*000002-step-6 is damaged: its "
                                                    "manifest cannot be read.*000001-step-3 is damaged"):
        saver.restore(trainer)
    assert_identical(before, arrays(trainer))


# Foreign ---------------------------------------------------------------------------------------------------


FOREIGN = {
    "another width": (lambda: bound_trainer(width=9), r"model 0\.weight is float32\[8, 4\] there, but float32\[9, 4\]"),
    "another model": (lambda: bound_trainer(model=nn.Linear(4, 2)),
                      "it has no model weight; it has no model bias; it has model 0.weight, which is not known here"),
    "another optimizer": (lambda: bound_trainer(optimizer=optim.SGD(lr=0.1)), "it has optimizer .*not known here"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_the_checkpoint_of_something_else_is_refused(tmp_path: Path, case: str):
    make, message = FOREIGN[case]
    saver = train.Checkpointer(tmp_path)
    play(bound_trainer(), [saver], [{"loss": 1.0}])
    trainer = make()
    before = arrays(trainer)
    with pytest.raises(train.CheckpointError, match=f"does not belong to this model and optimizer: .*{message}"):
        saver.restore(trainer)
    assert_identical(before, arrays(trainer))


def test_a_foreign_checkpoint_among_own_ones_is_passed_over(tmp_path: Path):
    saver = train.Checkpointer(tmp_path)
    play(bound_trainer(), [saver], [{"loss": 1.0}])
    play(bound_trainer(width=9), [saver], [{"loss": 2.0}])
    trainer = bound_trainer()
    with pytest.warns(train.CheckpointWarning, match="does not belong to this model.*000001-step-3 is used instead"):
        restored = saver.restore(trainer)
    assert restored is not None and len(restored.refused) == 1 and trainer.history["loss"] == [1.0]


def test_what_other_programs_wrote_is_refused(tmp_path: Path):
    ocp.Checkpointer(ocp.StandardCheckpointHandler()).save(
        tmp_path / "other" / "7", args=ocp.args.StandardSave({"w": np.ones(3)}))
    with pytest.raises(train.CheckpointError, match="7 is a checkpoint, but none that a Checkpointer of zkynet wrote"):
        train.Checkpointer(tmp_path / "other").restore(bound_trainer())
    with pytest.raises(train.CheckpointError, match="7 is no checkpoint of zkynet"):
        train.Checkpointer(tmp_path).load(bound_trainer(), tmp_path / "other" / "7")

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for name in ("file", "inside"):
        (tmp_path / "pickles").mkdir(exist_ok=True)
        path = tmp_path / "pickles" / "000001-step-1"
        if name == "inside":
            path.unlink()
            (path / "manifest").mkdir(parents=True)
            path = path / "manifest.json"
        path.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(train.CheckpointError, match="000001-step-1 is (no checkpoint|damaged)"):
            train.Checkpointer(tmp_path / "pickles").restore(bound_trainer())
    assert not (tmp_path / "ran").exists()


def test_a_later_format_is_refused(tmp_path: Path):
    saver = train.Checkpointer(tmp_path)
    play(bound_trainer(), [saver], [{"loss": 1.0}])
    for changes, message in (({"version": 2, "zkynet": "9.9"}, r"version 2 of the format \(zkynet 9.9\)"),
                             ({"format": "soup"}, "no checkpoint of zkynet, but 'soup'")):
        forge(saver.paths()[0], **changes)
        with pytest.raises(train.CheckpointError, match=message):
            saver.restore(bound_trainer())


# Kills, errors ---------------------------------------------------------------------------------------------


KILLED = """
import sys
from pathlib import Path
import numpy as np
from zkynet.train.checkpoint_files import write_checkpoint
folder, number = Path(sys.argv[1]), 0
while True:
    number += 1
    model = {str(i): np.full((50, 40), number, np.float32) for i in range(5)}
    write_checkpoint(folder / f"{number:06d}-step-{number}", {"model": model, "optimizer": {}, "progress": number}, "0")
    print(number, flush=True)
"""


def test_a_kill_while_saving_leaves_whole_checkpoints_only(tmp_path: Path):
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(3):
            done = int(process.stdout.readline())
        time.sleep(RNG.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        done = max([done, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        paths = train.Checkpointer(folder).paths()
        assert len(paths) in (done, done + 1)  # the last may be there, but not yet reported
        for number, path in enumerate(paths, 1):
            state = read_checkpoint(path)
            assert state["progress"] == number and all((a == number).all() for a in state["model"].values())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises((train.CheckpointError, OSError), match="file"):
        train.Checkpointer(tmp_path / "file" / "below").save(bound_trainer())


def test_saving_and_restoring_says_nothing_and_leaves_no_thread(tmp_path: Path):
    script = f"""
import sys, threading, warnings
warnings.simplefilter("error")
sys.path.insert(0, {str(Path(__file__).parent)!r})
from small_run import bound_trainer, play
from zkynet import train
assert "orbax.checkpoint" not in sys.modules
saver = train.Checkpointer({str(tmp_path)!r})
play(bound_trainer(), [saver], [dict(loss=1.0)])
saver.restore(bound_trainer())
print([t.name for t in threading.enumerate()])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['MainThread']\n", "")


REFUSED = {
    "keep": (dict(keep=0), "keep is a whole number from 1 on"),
    "every_steps": (dict(every_steps=1.5), "every_steps is a whole number"),
    "every_seconds": (dict(every_seconds=-1), "every_seconds is a number of seconds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_options_are_refused(tmp_path: Path, case: str):
    how, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        train.Checkpointer(tmp_path, **how)


def test_warnings_as_errors_do_not_break_a_restore_of_good_checkpoints(tmp_path: Path):
    saver = train.Checkpointer(tmp_path)
    play(bound_trainer(), [saver], [{"loss": 1.0}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert saver.restore(bound_trainer())
