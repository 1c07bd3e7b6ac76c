"""A recurrent model of characters."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..framework import cg
from ..framework.errors import InputError, ShapeError
from .sequences import Generator

KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class CharRNN(cg.Module):
    """What comes after each token of a sequence: y = head(recurrent(embedding(x))).

    Graves, "Generating sequences with recurrent neural networks", 2013, without skip connections.

    Args:
        vocabulary: how many tokens there are.
        width: of the embedding and the recurrent state.
        layers: recurrent layers, one above the other.
        kind: "lstm", "gru" or "rnn".
        dropout: the probability of zero between layers and before the head, in training mode.

    Called with tokens (batch, length), integers; and state, that of the last call, for a text in parts: then it returns
    (logits, next state). Returns logits (batch, length, vocabulary); `SequenceLoss` compares them with what came next.
    Parameters: embedding.weight, recurrent.weight_ih_l0 ..., head.weight, head.bias.

    Raises:
        InputError: for another kind.
        ShapeError: for tokens of another number of axes.

    >>> from zkynet import models, nn
    >>> import numpy as np
    >>> nn.manual_seed(0)
    >>> net = models.CharRNN(vocabulary=20, width=16)
    >>> net(np.zeros((2, 5), np.int32)).shape
    (2, 5, 20)
    >>> net.sample([[3, 1, 4]], 6).shape
    (1, 9)
    """

    def __init__(self, vocabulary: int, width: int = 128, layers: int = 1, kind: str = "lstm", dropout: float = 0.0):
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"CharRNN knows the kinds {', '.join(KINDS)}, but got {kind!r}.")
        self.vocabulary, self.width, self.layers, self.kind = vocabulary, width, layers, kind
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = KINDS[kind](width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)
        self._generator = Generator(self, vocabulary)

    def call(self, tokens: Any, state: Any = None) -> Any:
        if tokens.ndim != 2:
            raise ShapeError(f"CharRNN takes tokens (batch, length), but got the shape {tuple(tokens.shape)}.")
        hidden, following = self.recurrent(self.embedding(tokens), state)
        logits = self.head(self.dropout(hidden))
        return logits if state is None else (logits, following)

    def first_state(self, batch: int) -> Any:
        """The state before anything was read: zeros (layers, batch, width), a pair of them for "lstm"."""
        zeros = np.zeros((self.layers, batch, self.width), np.float32)
        return (zeros, zeros.copy()) if self.kind == "lstm" else zeros

    def sample(self, prompt: Any, count: int, temperature: float = 1.0, top_k: int | None = None,
               seed: int = 0) -> np.ndarray:
        """Tokens that go on from the prompt, each drawn from what the model says comes next.

        The state goes from token to token, so that each costs the same; one compiled program serves all.

        Args:
            prompt: (batch, length), integers.
            count: how many new tokens.
            temperature: divides the logits; 0 always takes the likeliest.
            top_k: draw from this many likeliest tokens only.
            seed: the same one gives the same tokens.

        Returns:
            int32 (batch, length + count), the prompt first.

        Raises:
            ShapeError: when the prompt is empty or no batch of integers.
            InputError: when it has tokens outside of the vocabulary.
        """
        return self._generator.run(prompt, count, self.first_state, temperature, top_k, seed)
