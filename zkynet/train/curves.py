"""Curves: loss and metrics over the epochs, as a picture."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .callbacks import Callback

if TYPE_CHECKING:
    from .history import History
    from .trainer import Trainer

TRAINING, VALIDATION = "#1f4e9c", "#d1602a"
LEFT_OUT = ("epoch", "lr", "seconds", "steps_per_second")
COLUMNS = 3


class Curves(Callback):
    """Draw loss and metrics, of training and validation, when a run ends.

    Args:
        path: the picture, .png, .pdf or .svg.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.history.epochs:
            draw_curves(trainer.history, self.path)


def draw_curves(history: History, path: str | os.PathLike[str]) -> Path:
    """Draw the curves of a history; a panel for each value.

    Returns:
        the path of the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = _panels(history)
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, history, name)
    for panel in panels[len(names):]:
        panel.set_axis_off()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _panels(history: History) -> list[str]:
    """The values to draw, each once for training and validation: loss first, then metrics."""
    numbers = [name for name in history.names if name not in LEFT_OUT
               and all(isinstance(value, (int, float)) for value in history[name] if value is not None)]
    return list(dict.fromkeys(name.removeprefix("val_") for name in numbers))


def _draw(panel: Any, history: History, name: str) -> None:
    epochs = [epoch + 1 for epoch in history["epoch"]]
    for key, label, color in ((name, "training", TRAINING), (f"val_{name}", "validation", VALIDATION)):
        if key in history:
            values = [math.nan if value is None else value for value in history[key]]
            panel.plot(epochs, values, label=label, color=color, linewidth=1.8,
                       marker="o" if len(epochs) <= 30 else None, markersize=3.5)
    panel.set_title(name.replace("_", " "), loc="left", fontsize=11)
    panel.set_xlabel("epoch")
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=9)
