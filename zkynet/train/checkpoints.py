"""Checkpointer: keeps the state of a run on disk, so that it goes on after whatever ended it."""

from __future__ import annotations

import os
import re
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import zkynet

from ..framework.errors import InputError, ZkynetError
from .callbacks import Callback, Logs
from .checkpoint_files import KINDS, UNFINISHED, read_checkpoint, write_checkpoint
from .errors import CheckpointError, CheckpointWarning, TrainingError

if TYPE_CHECKING:
    from .trainer import Trainer

_NAME = re.compile(r"(\d{6,})-step-\d+")  # a running number, then the steps that were made
_OTHER = ("_CHECKPOINT_METADATA", "checkpoint")  # what a checkpoint of another program has in it


class Restored(NamedTuple):
    """What `Checkpointer.restore` found.

    Attributes:
        path: the checkpoint that was used.
        position: where it was made: "epoch", "step" within it, "global_step".
        refused: why later ones were not used.
    """

    path: Path
    position: Mapping[str, int]
    refused: list[str]


class Checkpointer(Callback):
    """Save parameters, states, optimizer, position and history now and then; keep the last few.

    As a callback of `fit`, or as its `resume=`, which also goes on from the last checkpoint. A checkpoint is either
    there as a whole or not at all; every array has a checksum. What is damaged, or of another model, is refused with a
    warning, and the one before it is used.

    Args:
        folder: where; one run a folder.
        every_epochs: save after so many epochs; 1 if nothing is said.
        every_steps: save after so many steps, counted over all epochs.
        every_seconds: save when so much time has passed.
        keep: how many to keep.

    The end of the last epoch is always saved.

    >>> import tempfile, numpy as np
    >>> from zkynet import nn, optim, train
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> def trainer():
    ...     return train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.Adam(lr=0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = trainer().fit((x, 2 * x), epochs=2, resume=Checkpointer(folder), progress=False)
    ...     history = trainer().fit((x, 2 * x), epochs=5, resume=Checkpointer(folder), progress=False)
    >>> history["epoch"]
    [0, 1, 2, 3, 4]
    """

    def __init__(self, folder: str | os.PathLike[str], every_epochs: int | None = None, every_steps: int | None = None,
                 every_seconds: float | None = None, keep: int = 3):
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps), ("keep", keep)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name} is a whole number from 1 on, but got {value!r}.")
        if every_seconds is not None and not every_seconds >= 0:
            raise InputError(f"every_seconds is a number of seconds, but got {every_seconds!r}.")
        if every_epochs is every_steps is every_seconds is None:
            every_epochs = 1
        self.folder = Path(folder)
        self.every_epochs, self.every_steps, self.every_seconds, self.keep = (
            every_epochs, every_steps, every_seconds, keep)
        self.watching = every_steps is not None or every_seconds is not None
        self._saved_at, self._saved_step = time.monotonic(), 0

    # Saving --------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer) -> None:
        self._sweep()
        self._saved_at, self._saved_step = time.monotonic(), trainer.position["global_step"]

    def on_steps(self, trainer: Trainer, logs: Logs) -> None:
        done = trainer.position["global_step"]
        if (self.every_steps and done // self.every_steps > self._saved_step // self.every_steps) or self._late():
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        last = trainer.stop_training or trainer.position["epoch"] >= trainer.epochs
        if last or self._late() or (self.every_epochs and (epoch + 1) % self.every_epochs == 0):
            self.save(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        # A callback that came after this one may have ended the run.
        done = trainer.position["global_step"]
        if trainer.stop_training and not trainer.position["step"] and done != self._saved_step:
            self.save(trainer)

    def _late(self) -> bool:
        return self.every_seconds is not None and time.monotonic() - self._saved_at >= self.every_seconds

    def save(self, trainer: Trainer) -> Path:
        """Save now.

        Returns:
            the path of the checkpoint.

        Raises:
            TrainingError: when a parameter is not finite: nothing could go on from there.
            CheckpointError: when it cannot be written. Earlier checkpoints stay in both cases.
        """
        self._sweep()
        state = trainer.state_dict()
        self._refuse_nonfinite(trainer, state["model"])
        done = trainer.position["global_step"]
        number = max((int(path.name.split("-")[0]) for path in self.paths()), default=0) + 1
        path = self.folder / f"{number:06d}-step-{done}"
        try:
            write_checkpoint(path, state, zkynet.__version__)
        except OSError as error:
            raise CheckpointError(f"no checkpoint could be written to {self.folder}: {error}. Those before it are as "
                                  "they were.") from error
        for old in self.paths()[:-self.keep]:
            shutil.rmtree(old)
        self._saved_at, self._saved_step = time.monotonic(), done
        return path

    def _refuse_nonfinite(self, trainer: Trainer, arrays: Mapping[str, Any]) -> None:
        bad = [name for name, held in trainer.model.named_parameters()
               if held.trainable and held.aval.inexact and not np.isfinite(arrays[name]).all()]
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            raise TrainingError(f"{', '.join(bad[:3])}{more} of {trainer.model.functional_name} has elements that are "
                                f"NaN or infinite after step {trainer.position['global_step']}, so no checkpoint was "
                                f"written; those in {self.folder} are older. Lower the learning rate, or clip the "
                                "gradients (clip_norm=).")

    def _sweep(self) -> None:
        """Remove what a killed process left unfinished."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.folder} cannot be a folder of checkpoints: {error.strerror}.") from error
        for entry in self.folder.iterdir():
            if entry.name.endswith(UNFINISHED) and _NAME.fullmatch(entry.name.removesuffix(UNFINISHED)):
                shutil.rmtree(entry)

    # Restoring -----------------------------------------------------------------------------------------

    def paths(self) -> list[Path]:
        """The checkpoints in the folder, oldest first."""
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)] if self.folder.is_dir() else []
        return sorted(found, key=lambda path: int(path.name.split("-")[0]))

    def restore(self, trainer: Trainer) -> Restored | None:
        """Give the trainer the state of the last checkpoint that is whole and belongs to it.

        Returns:
            what was restored; None where the folder has no checkpoint.

        Raises:
            CheckpointError: when there are checkpoints, but none can be used; it says what is wrong with each.
        """
        refused: list[str] = []
        for path in reversed(self.paths()):
            try:
                self.load(trainer, path)
            except CheckpointError as error:
                refused.append(str(error))
                continue
            for reason in refused:
                warnings.warn(f"{reason} {path.name} is used instead.", CheckpointWarning, stacklevel=2)
            return Restored(path, dict(trainer.position), refused)
        if refused:
            raise CheckpointError(f"none of the checkpoints in {self.folder} can be used: {' '.join(refused)} To start "
                                  "anew, choose another folder.")
        self._refuse_others()
        return None

    def load(self, trainer: Trainer, path: str | os.PathLike[str]) -> None:
        """Give the trainer the state of this checkpoint. Nothing changes when it cannot be used.

        Raises:
            CheckpointError: when it is damaged, or does not belong to this trainer.
        """
        path = Path(path)
        state = read_checkpoint(path)
        own = trainer.state_dict()
        wrong = [line for kind in KINDS for line in _differences(kind, own.get(kind, {}), state[kind])]
        if wrong:
            more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
            raise CheckpointError(f"{path} does not belong to this model and optimizer: {'; '.join(wrong[:8])}{more}.")
        try:
            trainer.load_state_dict(state)
        except (ZkynetError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} does not belong to this run: {error}") from error

    def _refuse_others(self) -> None:
        if not self.folder.is_dir():
            return
        for place in (self.folder, *self.folder.iterdir()):
            if place.is_dir() and any((place / name).exists() for name in _OTHER):
                raise CheckpointError(f"{place} is a checkpoint, but none that a Checkpointer of zkynet wrote. Choose "
                                      "another folder.")


def _differences(kind: str, own: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What is different between the arrays that a trainer has and those of a checkpoint."""
    lines = [f"it has no {kind} {name}" for name in own if name not in found]
    lines += [f"it has {kind} {name}, which is not known here" for name in found if name not in own]
    return lines + [f"{kind} {name} is {_form(found[name])} there, but {_form(own[name])} here" for name in own
                    if name in found and _form(own[name]) != _form(found[name])]


def _form(array: Any) -> str:
    return f"{np.asarray(array).dtype.name}{list(np.shape(array))}"
