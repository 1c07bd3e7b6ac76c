"""CSVLog: the logs of every epoch as a table."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .callbacks import Callback, Logs
from .files import replace_file

if TYPE_CHECKING:
    from .trainer import Trainer


class CSVLog(Callback):
    """Write a line for each epoch: "epoch", "loss" and so on; the header is that of the first logs.

    A run that is resumed goes on with the same file: epochs after the checkpoint, which are trained again, are taken
    out. A file of another run is not touched, but renamed ("log.1.csv").

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.columns: list[str] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        epochs = trainer.history.epochs
        if not epochs or not self._begins_with(epochs[0]):
            self._put_aside()
        self.columns = []
        if epochs:
            self._write_all(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if not set(trainer.history.last) <= set(self.columns) or not self.path.exists():
            self._write_all(trainer)
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(self._line(trainer.history.last))

    def _write_all(self, trainer: Trainer) -> None:
        self.columns = trainer.history.names
        lines = [_joined(self.columns), *(self._line(logs) for logs in trainer.history.epochs)]
        replace_file(self.path, "".join(lines).encode())

    def _line(self, logs: dict[str, Any]) -> str:
        return _joined([_cell(logs.get(name)) for name in self.columns])

    def _begins_with(self, logs: dict[str, Any]) -> bool:
        """Whether the table's first line is of this epoch; its seconds tell runs apart."""
        if not self.path.exists():
            return False
        with open(self.path, newline="", encoding="utf-8") as file:
            first = next(csv.DictReader(file), {})
        return all(name in logs and str(_cell(logs[name])) == cell for name, cell in first.items() if cell)

    def _put_aside(self) -> None:
        if not self.path.exists():
            return
        number = 1
        while (aside := self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}")).exists():
            number += 1
        self.path.rename(aside)


def _cell(value: Any) -> Any:
    return "" if value is None else json.dumps(value) if isinstance(value, list) else value


def _joined(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
