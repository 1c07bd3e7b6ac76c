"""What a run shows: lines, a live bar, or nothing."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from zkynet import nn, optim, train
from zkynet.framework.errors import InputError
from zkynet.train.progress import duration, epoch_line, figures

X = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
FIGURE = r"-?\d+\.\d+(e[+-]\d+)?"
LINE = rf"loss {FIGURE} \| mae {FIGURE} \| val_loss {FIGURE} \| val_mae {FIGURE} \| .+ \| \d+(\.\d+)? steps/s"

SPEED = r"\d+(\.\d+)? steps/s \| [\d:.]+( m?s)? left"


@pytest.fixture(scope="module")
def trainer() -> train.Trainer:
    return train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=0.1), metrics=["mae"])


def fit(trainer: train.Trainer, **how: Any) -> int:
    """Train two more epochs; returns how many there were before."""
    before = len(trainer.history)
    trainer.fit((X, 2 * X), validation=(X, 2 * X), epochs=2, batch_size=8, **how)
    return before


@pytest.mark.parametrize("progress", ["plain", None])  # the tests have no terminal
def test_plain_is_a_line_for_each_epoch(trainer: train.Trainer, progress: Any, capsys: pytest.CaptureFixture[str]):
    before = fit(trainer, progress=progress)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, before + 1):
        assert re.fullmatch(rf"epoch +{number}/{before + 2} \| {LINE}", line), line


@pytest.mark.parametrize("progress", ["quiet", False])
def test_quiet_prints_nothing(trainer: train.Trainer, progress: Any, capsys: pytest.CaptureFixture[str]):
    fit(trainer, progress=progress)
    assert capsys.readouterr() == ("", "")


def test_what_is_taken_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    kinds = {"rich": train.RichProgress, "plain": train.PlainProgress}
    for name, kind in kinds.items():
        assert [type(found) for found in train.progress_callback(name)] == [kind]
    for given in (None, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
        assert [type(found) for found in train.progress_callback(given)] == [train.PlainProgress]
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        assert [type(found) for found in train.progress_callback(given)] == [train.RichProgress]
        with monkeypatch.context() as without:
            without.setattr("importlib.util.find_spec", lambda name: None)
            assert [type(found) for found in train.progress_callback(given)] == [train.PlainProgress]


@pytest.mark.parametrize("given", ["rch", 3, "Plain"])
def test_an_unknown_kind_is_named(given: Any):
    with pytest.raises(InputError, match=rf'"rich", "plain", "quiet", True, False or None, but got {given!r}'):
        train.progress_callback(given)


class Screen:
    """A terminal that keeps what was written to it."""

    def __init__(self, width: int = 160):
        rich_console = pytest.importorskip("rich.console")
        self.file = io.StringIO()
        self.console = rich_console.Console(file=self.file, force_terminal=True, width=width, color_system=None,
                                            legacy_windows=False)

    def text(self) -> str:
        return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", self.file.getvalue())


class EachStep(train.Callback):
    """Makes the run look up after every step."""

    every_steps = 1

    def on_steps(self, trainer: Any, logs: Any) -> None:
        pass


def test_the_live_display_shows_the_epoch_in_progress_and_keeps_a_line_for_each(trainer: train.Trainer):
    screen = Screen()
    before = fit(trainer, progress=False, callbacks=[EachStep(), train.RichProgress(screen.console)])
    text = screen.text()
    for epoch in (before + 1, before + 2):
        assert re.search(rf"(^|\r)epoch +{epoch}/{before + 2} \| {LINE} *$", text, re.MULTILINE), text
        for step in (1, 2, 3):
            bar = rf"epoch +{epoch}/{before + 2} \S+ +{step}/3 ({SPEED} \| )?loss {FIGURE} \| mae {FIGURE}"
            assert re.search(bar, text), text
    assert re.search(rf"2/3 {SPEED} \| loss", text), text
    assert "0/?" not in text


def test_a_narrow_terminal_has_a_line_all_the_same(trainer: train.Trainer):
    screen = Screen(width=70)
    fit(trainer, progress=False, callbacks=[EachStep(), train.RichProgress(screen.console)])
    frames = [part for part in re.split(r"[\r\n]", screen.text()) if "━" in part]
    assert frames and all(len(part) <= 70 for part in frames)
    assert any(re.match(rf"epoch 1\d/1\d ━+ +3/3 {SPEED}.*…$", part) for part in frames), frames
    assert not re.search(r"\x1b\[\d*A", screen.file.getvalue().split("\x1b[?25h")[0])  # the bar never took two lines


def test_the_live_display_ends_when_a_run_fails_and_can_be_used_again(trainer: train.Trainer):
    class Broken(train.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
            raise RuntimeError("on purpose")

    screen = Screen()
    display = train.RichProgress(screen.console)
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(trainer, progress=False, callbacks=[display, Broken()])
    assert screen.file.getvalue().count("\x1b[?25l") == screen.file.getvalue().count("\x1b[?25h") == 1
    fit(trainer, progress=False, callbacks=[display])
    assert screen.file.getvalue().count("\x1b[?25l") == screen.file.getvalue().count("\x1b[?25h") == 2


def test_figures_are_single_numbers_in_few_digits():
    logs = {"epoch": 3, "loss": 0.123456, "top5": 1.0, "tiny": 1.23456e-7, "huge": -1.5e9, "zero": 0.0, "bad": math.nan,
            "count": 7, "confusion_matrix": np.eye(2), "lr": 0.1, "seconds": 2.0, "steps_per_second": 5.0}
    assert figures(logs) == ["loss 0.1235", "top5 1.0000", "tiny 1.235e-07", "huge -1.500e+09", "zero 0.0", "bad nan",
                             "count 7"]


def test_the_numbers_of_epochs_are_aligned():
    class Run:
        epochs = 120

    run: Any = Run()
    assert epoch_line(run, 0, {"loss": 1.0}) == "epoch   1/120 | loss 1.0000"
    assert epoch_line(run, 99, {"loss": 1.0}) == "epoch 100/120 | loss 1.0000"


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0 ms"), (0.9996, "1.0 s"), (59.96, "1:00"), (60, "1:00"),
                                               (119.7, "2:00"), (3599.6, "1:00:00"), (90061, "25:01:01")])
def test_durations_carry_over(seconds: float, text: str):
    assert duration(seconds) == text


def test_importing_loads_no_library_that_only_some_runs_need():
    code = ("import sys, zkynet.train; print([name for name in ('rich', 'matplotlib', 'PIL', 'tensorboardX', 'orbax', "
            "'safetensors', 'torch', 'sklearn') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stdout + done.stderr
