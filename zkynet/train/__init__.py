"""Training: the Trainer, metrics, callbacks, checkpoints, weights."""

from .best import BestCheckpoint
from .callbacks import Callback
from .checkpoints import Checkpointer, Restored
from .csv_log import CSVLog
from .curves import Curves, draw_curves
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
from .progress import PlainProgress, RichProgress, progress_callback
from .rates import LearningRateSchedule, ReduceOnPlateau
from .stopping import EarlyStopping
from .tensorboard import TensorBoard
from .trainer import Trainer
from .weights import LoadReport, load_weights, save_weights

__all__ = [
    "F1", "MAE", "MSE", "R2", "Accuracy", "BestCheckpoint", "CSVLog", "Callback", "CheckpointError",
    "CheckpointWarning", "Checkpointer", "ConfusionMatrix", "Curves", "EarlyStopping", "History",
    "LearningRateSchedule", "LoadReport", "Mean", "Metric", "Perplexity", "PlainProgress", "Precision", "Recall",
    "ReduceOnPlateau", "Restored", "RichProgress", "TensorBoard", "TopK", "Trainer", "TrainingError", "WeightsError",
    "draw_curves", "load_weights", "metric", "progress_callback", "save_weights",
]
