"""What goes wrong around training: a run that cannot go on, a checkpoint or a file of weights that cannot be used."""

from __future__ import annotations

from ..framework.errors import ZkynetError


class TrainingError(ZkynetError, RuntimeError):
    """Training cannot go on: the loss is not finite, or memory ran out."""


class CheckpointError(ZkynetError, ValueError):
    """A checkpoint is damaged, or belongs to something else."""


class WeightsError(ZkynetError, ValueError):
    """A file of weights cannot be read, or does not fit the model."""


class CheckpointWarning(UserWarning):
    """A checkpoint was refused, and an earlier one is used instead."""
