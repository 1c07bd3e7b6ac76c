"""TensorBoard: the run's figures, the parameters' distributions and the graph's picture, for TensorBoard."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..framework import cg
from ..framework.errors import InputError
from ..visual import DotMissing, plot_cg
from .callbacks import Callback, Logs

if TYPE_CHECKING:
    from .trainer import Trainer

_RUN = ("lr", "seconds", "steps_per_second")


class TensorBoard(Callback):
    """Write event files that `tensorboard --logdir folder` shows.

    Scalars are written for every epoch (numbered from 1 on), as "loss/training" and "loss/validation", so that the two
    share a plot. A resumed run goes on where its checkpoint was: later points of the run that was killed are hidden.

    Args:
        folder: where; one run a folder.
        histograms: write the distribution of each parameter after every so many epochs.
        graph: show the graph of the loss on an example batch, as `zkynet.visual.plot_cg` draws it, once. Without
            Graphviz's `dot` a note says that there is no picture.
    """

    def __init__(self, folder: str | os.PathLike[str], histograms: int | None = None, graph: bool = True):
        if histograms is not None and histograms < 1:
            raise InputError(f"histograms is a number of epochs, from 1 on, but got {histograms!r}.")
        self.folder, self.histograms, self.graph = Path(folder), histograms, graph
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        from tensorboardX import SummaryWriter

        epoch = trainer.position["epoch"]
        self._writer = SummaryWriter(str(self.folder), purge_step=epoch + 1 if epoch else None)
        if self.graph and not epoch:
            self._write_graph(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(_tag(name), value, epoch + 1)
        if self.histograms and (epoch + 1) % self.histograms == 0:
            for path, parameter in trainer.model.named_parameters():
                values = np.asarray(parameter.value, np.float64)
                self._writer.add_histogram(path.replace(".", "/"), values[np.isfinite(values)], epoch + 1)
        self._writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_graph(self, trainer: Trainer) -> None:
        from matplotlib.image import imread

        with undisturbed(trainer.model), tempfile.TemporaryDirectory() as folder:
            graph = trainer.sample_graph()
            if graph is None:
                return
            try:
                plot = plot_cg(graph, Path(folder) / "graph.png", quiet=True, values=False)
            except DotMissing as missing:
                self._writer.add_text("graph", f"There is no picture of the graph: {missing}")
                return
            self._writer.add_image("graph", imread(plot.path)[:, :, :3], dataformats="HWC")


@contextlib.contextmanager
def undisturbed(model: cg.Module) -> Iterator[None]:
    """Afterwards the model's states are as before: a graph made inside draws no random numbers from training."""
    kept = [(state, state.value) for _, state in model.named_states()]
    try:
        yield
    finally:
        for state, value in kept:
            state.value = value


def _tag(name: str) -> str:
    if name in _RUN:
        return f"run/{name}"
    return f"{name.removeprefix('val_')}/{'validation' if name.startswith('val_') else 'training'}"
