"""Optimizers and learning-rate schedules: names, arguments and defaults are torch.optim's, the mathematics optax's."""

from . import rules, schedules
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, RMSprop
from .schedules import (
    Constant,
    Cosine,
    Exponential,
    Join,
    MultiStep,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Step,
    Warmup,
)

__all__ = ["LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Constant", "Cosine", "Exponential",
           "Join", "Lion", "MultiStep", "OneCycle", "Optimizer", "Polynomial", "RMSprop", "ReduceOnPlateau", "Schedule",
           "Step", "Warmup", "rules", "schedules"]
