"""Training: metrics, callbacks, checkpoints, weights."""

from .callbacks import Callback
from .errors import CheckpointError, CheckpointWarning, TrainingError, WeightsError
from .history import History
from .metrics import (
    F1,
    MAE,
    MSE,
    R2,
    Accuracy,
    ConfusionMatrix,
    Mean,
    Metric,
    Perplexity,
    Precision,
    Recall,
    TopK,
    metric,
)

__all__ = [
    "F1", "MAE", "MSE", "R2", "Accuracy", "Callback", "CheckpointError", "CheckpointWarning", "ConfusionMatrix",
    "History", "Mean", "Metric", "Perplexity", "Precision", "Recall", "TopK", "TrainingError", "WeightsError", "metric",
]
