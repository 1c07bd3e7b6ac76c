"""The workloads in zkynet: define-by-run steps, and `Trainer.fit` in memory."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from zkynet import nn, optim
from zkynet.framework import cg, op

from .contenders import Contender, optional, sequential, stepper
from .workloads import RATE, Workload


class GPT(cg.Module):
    """Tokens (batch, length) to logits (batch, vocabulary, length)."""

    def __init__(self, layers: int, width: int, length: int, heads: int, vocabulary: int):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        self.blocks = nn.ModuleList([
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
                                       norm_first=True) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def call(self, tokens: Any) -> Any:
        x = op.add(self.token(tokens), self.position.weight)
        for block in self.blocks:
            x = block(x, None, None, True)
        return self.head(self.norm(x))


class LSTM(cg.Module):
    """Sequences (batch, steps, inputs) to logits."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.lstm = nn.LSTM(inputs, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def call(self, x: Any) -> Any:
        _, (h, _) = self.lstm(x)
        return self.head(h[0])


class TokenLoss(nn.CrossEntropyLoss):
    """Cross entropy of logits whose classes are along the last axis."""

    def call(self, input: Any, target: Any) -> Any:
        return op.cross_entropy(input, target, axis=-1, reduction=self.reduction)


def net(work: Workload) -> cg.Module:
    """The net, with the workload's weights."""
    builders = {"gpt": GPT, "lstm": LSTM}
    made = builders[work.name](**work.sizes) if work.name in builders else sequential(nn, work.name)
    made.load_state_dict(work.weights)
    return made


def loss_of(work: Workload) -> Any:
    return TokenLoss() if work.name == "gpt" else nn.CrossEntropyLoss()


def step(work: Workload) -> Contender:
    model, loss_fn = net(work), loss_of(work)
    optimizer = optim.Adam(model.parameters(), lr=RATE)

    def one(x: Any, y: Any) -> Any:
        loss = loss_fn(model(x), y)
        optimizer.step(loss)
        return loss.value

    return stepper(one, [(jnp.asarray(x), jnp.asarray(y)) for x, y in work.batches])


def trainer(work: Workload) -> Any:
    """A Trainer of the net."""
    from zkynet.train.trainer import Trainer

    return Trainer(net(work), loss_of(work), optim.Adam(lr=RATE))


def fit(work: Workload, shuffle: bool = True, epochs: int = 1) -> Contender:
    """Epochs of the same Trainer, by calls of `fit`."""
    made = trainer(work)
    data = jnp.asarray(work.x), jnp.asarray(work.y)

    def call() -> Any:
        history = made.fit(data, epochs=epochs, batch_size=work.batch, shuffle=shuffle, progress=False)
        return np.float32(history["loss"][-1])

    return Contender(call, work.steps * epochs)


def contenders(work: Workload) -> dict[str, Contender]:
    made = {"zkynet step": step(work)}
    if optional("zkynet.train.callbacks"):
        made["zkynet fit"] = fit(work)
    return made
