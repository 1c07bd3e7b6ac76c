"""Progress: what a run prints."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from ..framework.errors import InputError
from .callbacks import Callback, Logs

if TYPE_CHECKING:
    from .trainer import Trainer

MODES = ("rich", "plain", "quiet")
_APART = ("epoch", "step", "steps", "total", "seconds", "steps_per_second")


def progress_callback(mode: bool | str | None = None) -> list[Callback]:
    """The callback of a mode, in a list: "rich" is live, "plain" a line an epoch, "quiet" (or False) nothing.

    None (or True) takes "rich" on a terminal where the library rich is installed, else "plain".

    >>> progress_callback("quiet"), type(progress_callback("plain")[0]).__name__
    ([], 'PlainProgress')
    """
    if mode is None or mode is True:
        mode = "rich" if sys.stdout.isatty() and _has_rich() else "plain"
    if mode is False or mode == "quiet":
        return []
    if mode not in MODES:
        raise InputError(f'progress is "rich", "plain", "quiet", True, False or None, but got {mode!r}.')
    return [RichProgress() if mode == "rich" else PlainProgress()]


def _has_rich() -> bool:
    try:
        import rich.progress  # noqa: F401 - whether it is there
    except ImportError:
        return False
    return True


class PlainProgress(Callback):
    """Print a line for every epoch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        print(epoch_line(trainer, epoch, logs), flush=True)


class RichProgress(Callback):
    """Show a bar with the epoch, steps, steps a second, loss, metrics and the time that is left; a line for every epoch.

    Args:
        console: a rich Console; by default the terminal.
    """

    def __init__(self, console: Any = None):
        self.console = console
        self._bar: Any = None
        self._task: Any = None
        self._start: tuple[float, int] = (0.0, 0)

    def on_fit_start(self, trainer: Trainer) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(TextColumn("epoch {task.fields[epoch]}"), BarColumn(24), TextColumn("{task.fields[facts]}"),
                             console=self.console, refresh_per_second=4, transient=True)
        self._task = self._bar.add_task("training", total=None, facts="compiling", epoch=_number(trainer, self._epoch(trainer)))
        self._start = (0.0, 0)
        self._bar.start()

    @staticmethod
    def _epoch(trainer: Trainer) -> int:
        return min(trainer.position["epoch"], max(trainer.epochs - 1, 0))

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        self._bar.update(self._task, completed=0, epoch=_number(trainer, epoch))

    def on_steps(self, trainer: Trainer, logs: Logs) -> None:
        done, total = logs["steps"], logs["total"]
        now = time.monotonic()
        if not self._start[0]:  # the first steps were compiled before they ran, so they say nothing about the speed
            self._start = now, logs["step"]
        facts = [f"{done}/{total}"]
        steps, seconds = logs["step"] - self._start[1], now - self._start[0]
        if steps and seconds:
            rate = steps / seconds
            left = (trainer.epochs - logs["epoch"]) * total - done
            facts += [f"{rate:.3g} steps/s" if rate < 1000 else f"{rate:.0f} steps/s", f"{_clock(left / rate)} left"]
        self._bar.update(self._task, completed=done, total=total, facts="  ".join([*facts, *_values(logs)]))

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        self._bar.console.print(epoch_line(trainer, epoch, logs), highlight=False, markup=False, soft_wrap=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def epoch_line(trainer: Trainer, epoch: int, logs: Logs) -> str:
    """An epoch's logs as a line."""
    parts = [f"epoch {_number(trainer, epoch)}", *_values(logs)]
    if "seconds" in logs:
        parts.append(f"{logs['seconds']:.3g} s")
    if "steps_per_second" in logs:
        parts.append(f"{logs['steps_per_second']:.0f} steps/s")
    return "  ".join(parts)


def _number(trainer: Trainer, epoch: int) -> str:
    return f"{epoch + 1:{len(str(trainer.epochs))}d}/{trainer.epochs}"


def _values(logs: Logs) -> list[str]:
    """Loss, metrics and rate, as far as they are single numbers."""
    return [f"{name} {value:.3g}" if name == "lr" else f"{name} {value:.4f}" if 1e-3 <= abs(value) < 1e4 or not value
            else f"{name} {value:.3e}" for name, value in logs.items()
            if name not in _APART and isinstance(value, (int, float))]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
