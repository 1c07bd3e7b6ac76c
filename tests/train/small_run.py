"""A small trainer, and runs with given figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zkynet import nn, optim, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int32)


def make_trainer(width: int = 8, optimizer: Any = None, model: Any = None, **how: Any) -> train.Trainer:
    """A trainer with something of every kind: parameters, running statistics, a random stream."""
    nn.manual_seed(5)
    model = model or nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2),
                                   nn.Linear(width, 2))
    return train.Trainer(model, nn.CrossEntropyLoss(), optimizer or optim.Adam(lr=1e-2), **how)


def fit(trainer: train.Trainer, epochs: int, **how: Any) -> train.History:
    return trainer.fit((X, Y), validation=(X, Y), epochs=epochs, batch_size=8, **{"progress": False, **how})


def bound_trainer(**how: Any) -> train.Trainer:
    """A trainer whose optimizer has its parameters, without a step."""
    trainer = make_trainer(**how)
    trainer.optimizer.bind(trainer.model.parameters())
    return trainer


def play(trainer: train.Trainer, callbacks: Sequence[train.Callback], figures: Sequence[dict[str, Any]],
         epochs: int = 100) -> int:
    """The events of a run whose epochs give these figures; the number of epochs until a callback stopped it."""
    trainer.epochs, trainer.stop_training = epochs, False
    for callback in callbacks:
        callback.on_fit_start(trainer)
    played = 0
    for logs in figures:
        if trainer.stop_training:
            break
        epoch = trainer.position["epoch"]
        for callback in callbacks:
            callback.on_epoch_start(trainer, epoch)
        trainer.position = {"epoch": epoch + 1, "step": 0, "global_step": 3 * (epoch + 1)}
        trainer.history.append(epoch, logs)
        for callback in callbacks:
            callback.on_epoch_end(trainer, epoch, logs)
        played += 1
    for callback in callbacks:
        callback.on_fit_end(trainer)
    return played


def arrays(trainer: train.Trainer) -> dict[str, np.ndarray]:
    """All that training changes, as bytes can be compared."""
    state = trainer.state_dict()
    return {f"{kind} {name}": np.asarray(value) for kind in ("model", "optimizer")
            for name, value in state[kind].items()}


def assert_identical(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert list(first) == list(second)
    for name, array in first.items():
        other = second[name]
        assert array.dtype == other.dtype and array.shape == other.shape and array.tobytes() == other.tobytes(), name
