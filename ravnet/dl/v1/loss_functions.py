"""v1's losses."""

from ..loss_functions import CrossEntropy, Loss, SquareLoss

__all__ = ["CrossEntropy", "Loss", "SquareLoss"]
