"""The workloads in zkynet: define-by-run steps, and `Trainer.fit` in memory."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from zkynet import models, nn, optim, train
from zkynet.framework import cg

from .contenders import Contender, sequential, stepper
from .workloads import RATE, Workload


class LSTM(cg.Module):
    """Sequences (batch, steps, inputs) to logits."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.lstm = nn.LSTM(inputs, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def call(self, x: Any) -> Any:
        _, (h, _) = self.lstm(x)
        return self.head(h[0])


def net(work: Workload) -> cg.Module:
    """The net, with the workload's weights."""
    if work.name == "gpt":
        made = models.GPT(**work.sizes, tied=False)
    else:
        made = LSTM(**work.sizes) if work.name == "lstm" else sequential(nn, work.name)
    made.load_state_dict(work.weights)
    return made


def loss_of(work: Workload) -> Any:
    return models.SequenceLoss() if work.name == "gpt" else nn.CrossEntropyLoss()


def step(work: Workload) -> Contender:
    model, loss_fn = net(work), loss_of(work)
    optimizer = optim.Adam(model.parameters(), lr=RATE)

    def one(x: Any, y: Any) -> Any:
        loss = loss_fn(model(x), y)
        optimizer.step(loss)
        return loss.value

    return stepper(one, [(jnp.asarray(x), jnp.asarray(y)) for x, y in work.batches])


def fit(work: Workload, shuffle: bool = True, epochs: int = 1) -> Contender:
    """Epochs of the same Trainer, by calls of `fit`."""
    trainer = train.Trainer(net(work), loss_of(work), optim.Adam(lr=RATE))
    data = jnp.asarray(work.x), jnp.asarray(work.y)

    def call() -> Any:
        history = trainer.fit(data, epochs=epochs, batch_size=work.batch, shuffle=shuffle, progress=False)
        return np.float32(history["loss"][-1])

    return Contender(call, work.steps * epochs)


def contenders(work: Workload) -> dict[str, Contender]:
    return {"zkynet step": step(work), "zkynet fit": fit(work)}
