"""TensorBoard: the run's figures, the parameters' distributions and the graph's picture, for TensorBoard."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
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
_COUNTS = ("epoch", "step", "steps", "total", "seconds")


class TensorBoard(Callback):
    """Write event files that `tensorboard --logdir folder` shows.

    Scalars are written for every epoch (numbered from 1 on), as "loss/training" and "loss/validation", so that the two
    share a plot. A resumed run goes on where its checkpoint was: later points of the run that was killed are hidden.

    Args:
        folder: where; one run a folder.
        every_steps: write loss and metrics of the epoch so far also after every so many steps, counted over all epochs;
            as "loss/steps", in the sub-folder "steps", which TensorBoard shows as a run of its own.
        histograms: write the distribution of each parameter after every so many epochs.
        graph: show the graph of the loss on an example batch, as `zkynet.visual.plot_cg` draws it, once. Without
            Graphviz's `dot` a note says that there is no picture.
    """

    def __init__(self, folder: str | os.PathLike[str], every_steps: int | None = None,
                 histograms: int | None = None, graph: bool = True):
        if every_steps is not None and every_steps < 1:
            raise InputError(f"every_steps is a number of steps, from 1 on, but got {every_steps!r}.")
        if histograms is not None and histograms < 1:
            raise InputError(f"histograms is a number of epochs, from 1 on, but got {histograms!r}.")
        self.folder, self.every_steps, self.histograms, self.graph = Path(folder), every_steps, histograms, graph
        self.watching = every_steps is not None
        self._writer: Any = None
        self._steps: Any = None  # a writer of its own: what a resumed run hides is counted in steps there

    def on_fit_start(self, trainer: Trainer) -> None:
        epoch = trainer.position["epoch"]
        self._writer = _writer(self.folder, epoch)
        if self.every_steps:
            self._steps = _writer(self.folder / "steps", trainer.position["global_step"])
        if self.graph and not epoch:
            self._write_graph(trainer)

    def on_steps(self, trainer: Trainer, logs: Logs) -> None:
        if self._steps is None or logs["step"] % (self.every_steps or 1):
            return
        for name, value in logs.items():
            if name not in _COUNTS and isinstance(value, (int, float)):
                self._steps.add_scalar(f"{name}/steps", value, logs["step"])

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
        for writer in (self._writer, self._steps):
            if writer is not None:
                writer.close()
        self._writer = self._steps = None

    def _write_graph(self, trainer: Trainer) -> None:
        from matplotlib.image import imread

        with undisturbed(trainer.modules.values()), tempfile.TemporaryDirectory() as folder:
            graph = trainer.sample_graph()
            if graph is None:
                return
            try:
                plot = plot_cg(graph, Path(folder) / "graph.png", quiet=True, values=False)
            except DotMissing as missing:
                self._writer.add_text("graph", f"There is no picture of the graph: {missing}")
                return
            self._writer.add_image("graph", imread(plot.path)[:, :, :3], dataformats="HWC")


def _writer(folder: Path, done: int) -> Any:
    """A writer of points after `done`; later ones that are there already, of a run that was killed, are hidden."""
    from tensorboardX import SummaryWriter

    # The file's name has the time in seconds; what was resumed in the same second gets a file of its own.
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None,
                         filename_suffix=f".{done:06d}.{os.getpid()}")


@contextlib.contextmanager
def undisturbed(modules: Iterable[cg.Module]) -> Iterator[None]:
    """Afterwards the modules' states are as before: a graph made inside draws no random numbers from training."""
    kept = [(state, state.value) for module in modules for _, state in module.named_states()]
    try:
        yield
    finally:
        for state, value in kept:
            state.value = value


def _tag(name: str) -> str:
    if name in _RUN:
        return f"run/{name}"
    return f"{name.removeprefix('val_')}/{'validation' if name.startswith('val_') else 'training'}"
