"""Progress: what a run shows while it goes on."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from ..framework.errors import InputError
from .callbacks import Callback, Logs

if TYPE_CHECKING:
    from .trainer import Trainer

KINDS = ("rich", "plain", "quiet")
NOT_FIGURES = ("epoch", "step", "steps", "total", "seconds", "lr", "steps_per_second")


def progress_callback(progress: bool | str | None = None) -> list[Callback]:
    """What shows the progress of a run.

    Args:
        progress: "rich", a live display; "plain", a line for each epoch; "quiet" or False, nothing. None or True is
            "rich" on a terminal where the package rich is installed, and "plain" otherwise.

    >>> progress_callback(False), type(progress_callback("plain")[0]).__name__
    ([], 'PlainProgress')
    """
    if progress is None or progress is True:
        live = sys.stdout.isatty() and importlib.util.find_spec("rich") is not None
        progress = "rich" if live else "plain"
    if progress is False or progress == "quiet":
        return []
    if progress not in KINDS:
        raise InputError(f'progress is "rich", "plain", "quiet", True, False or None, but got {progress!r}.')
    return [RichProgress() if progress == "rich" else PlainProgress()]


class PlainProgress(Callback):
    """Print a line for each epoch.

    >>> import numpy as np
    >>> from zkynet import nn, optim, train
    >>> x = np.ones((8, 1), np.float32)
    >>> trainer = train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=0.1))
    >>> _ = trainer.fit((x, x), epochs=1, progress="plain")
    epoch 1/1 | loss ... | ... steps/s
    """

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        print(epoch_line(trainer, epoch, logs), flush=True)


class RichProgress(Callback):
    """A bar for the epoch in progress, with its figures so far, and above it a line for each epoch that is done.

    Args:
        console: where to draw; by default the terminal.
    """

    def __init__(self, console: Any = None):
        self.console = console
        self._bar: Any = None
        self._task: Any = None
        self._looked: tuple[float, int] | None = None  # when, and after which step, the first look of this run was

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        # Not before: what fails between on_fit_start and the first epoch is not followed by on_fit_end.
        start = self._bar is None
        if start:
            self._bar, self._looked = _bar(self.console), None
            self._task = self._bar.add_task("", figures="")
        self._bar.update(self._task, description=f"epoch {_number(trainer, epoch)}", total=trainer.steps_per_epoch,
                         completed=trainer.position["step"], figures="starting" if start else "",
                         refresh=not start)
        if start:
            self._bar.start()

    def on_steps(self, trainer: Trainer, logs: Logs) -> None:
        now, step = time.perf_counter(), int(logs["step"])
        if self._looked is None:
            self._looked = now, step  # what was before was compiling, too
        rate = (step - self._looked[1]) / max(now - self._looked[0], 1e-9)
        left = (trainer.epochs - logs["epoch"]) * logs["total"] - logs["steps"]
        speed = [f"{_short(rate)} steps/s", f"{duration(left / rate)} left"] if rate > 0 else []
        self._bar.update(self._task, completed=logs["steps"], figures=" | ".join([*speed, *figures(logs)]),
                         refresh=True)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        self._bar.update(self._task, completed=trainer.steps_per_epoch)
        self._bar.console.print(epoch_line(trainer, epoch, logs), markup=False, highlight=False, soft_wrap=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    # Drawn when the run looks up, not from a thread of its own, which would take time from the steps.
    return Progress(TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn(),
                    TextColumn("{task.fields[figures]}", markup=False,
                               table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
                    console=console, auto_refresh=False, transient=True, expand=True)


def epoch_line(trainer: Trainer, epoch: int, logs: Logs) -> str:
    """An epoch in one line."""
    parts = [f"epoch {_number(trainer, epoch)}", *figures(logs)]
    if "seconds" in logs:
        parts.append(duration(logs["seconds"]))
    if "steps_per_second" in logs:
        parts.append(f"{_short(logs['steps_per_second'])} steps/s")
    return " | ".join(parts)


def _number(trainer: Trainer, epoch: int) -> str:
    return f"{epoch + 1:>{len(str(trainer.epochs))}}/{trainer.epochs}"


def figures(logs: Logs) -> list[str]:
    """The single numbers among the logs as text: loss, metrics, and those of validation."""
    return [f"{name} {_figure(value)}" for name, value in logs.items()
            if name not in NOT_FIGURES and isinstance(value, (int, float))]


def _figure(value: float) -> str:
    plain = isinstance(value, int) or value == 0 or not math.isfinite(value)
    return f"{value}" if plain else f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Seconds as text.

    >>> [duration(seconds) for seconds in (0.0123, 4.2, 71, 3 * 3600 + 5 * 60)]
    ['12 ms', '4.2 s', '1:11', '3:05:00']
    """
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
