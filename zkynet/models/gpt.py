"""A small GPT."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..framework import cg, op
from ..framework.errors import InputError, ShapeError
from .sequences import Generator


class GPT(cg.Module):
    """What comes after each token of a sequence, by transformer layers in which no token sees a later one.

        h = embedding[x] + positions,   h = layer_i(h) ...,   y = head(norm(h))

    Radford et al., "Language models are unsupervised multitask learners" (GPT-2), 2019: layers normalise before their
    branches (`nn.TransformerEncoderLayer` with norm_first), positions are learned, activations are GELU (exact, not
    GPT-2's approximation), weights start from normal(0, std), those that end a branch from normal(0, std / sqrt(2
    layers)).

    Args:
        vocabulary: how many tokens there are.
        context: the longest sequence.
        width: of the embedding and all layers.
        layers: how many.
        heads: of attention in each layer; divides width.
        dropout: the probability of zero after the embedding, in the branches and among weights of attention, in
            training mode.
        tied: whether the head uses the embedding's weight (Press and Wolf, 2017), as in GPT-2.
        std: GPT-2's 0.02 at its width of 768 and above; by default narrower nets start from 0.02 sqrt(768 / width),
            with which they learn in fewer steps.

    Called with tokens (batch, length), integers; and cache, from `new_cache`: then tokens follow what the cache holds,
    and it returns (logits, next cache). Returns logits (batch, length, vocabulary); `SequenceLoss` compares them with
    what came next. Parameters: embedding.weight, positions.weight, layers.0 ..., norm, and head.weight if not tied.

    Raises:
        InputError: when heads does not divide width.
        ShapeError: for a sequence longer than context.

    >>> from zkynet import models, nn
    >>> import numpy as np
    >>> nn.manual_seed(0)
    >>> net = models.GPT(vocabulary=20, context=8, width=16, layers=2, heads=2)
    >>> net(np.zeros((2, 5), np.int32)).shape
    (2, 5, 20)
    >>> net.generate([[3, 1, 4]], 6).shape
    (1, 9)
    """

    head: nn.Linear | None = None

    def __init__(self, vocabulary: int, context: int = 256, width: int = 128, layers: int = 4, heads: int = 4,
                 dropout: float = 0.0, tied: bool = True, std: float | None = None):
        super().__init__()
        if layers < 1 or context < 1:
            raise InputError(f"GPT needs at least one layer and a context of at least 1, but got layers={layers}, "
                             f"context={context}.")
        self.vocabulary, self.context, self.tied = vocabulary, context, tied
        std = 0.02 * max(1.0, (768 / width) ** 0.5) if std is None else std
        small = ("normal", {"std": std})
        self.embedding = nn.Embedding(vocabulary, width, weight_init=small)
        self.positions = nn.LearnedPositions(context, width, batch_first=True, weight_init=small)
        self.dropout = nn.Dropout(dropout)
        self.layers = [self._layer(width, heads, dropout, std, std / (2 * layers) ** 0.5) for _ in range(layers)]
        self.norm = nn.LayerNorm(width)
        if not tied:
            self.head = nn.Linear(width, vocabulary, bias=False, weight_init=small)
        self._generator = Generator(self, vocabulary)

    @staticmethod
    def _layer(width: int, heads: int, dropout: float, std: float, last_std: float) -> nn.TransformerEncoderLayer:
        made = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        for name, parameter in made.named_parameters():
            if parameter.value.ndim == 2:
                ends = name in ("self_attn.out_proj.weight", "linear2.weight")
                parameter.value = nn.init.normal(parameter.shape, 0.0, last_std if ends else std)
            elif name.endswith("bias"):
                parameter.value = nn.init.zeros(parameter.shape)
        return made

    def call(self, tokens: Any, cache: Any = None) -> Any:
        if tokens.ndim != 2 or tokens.shape[1] > self.context:
            raise ShapeError(f"GPT takes tokens (batch, length) of at most context={self.context}, but got the shape "
                             f"{tuple(tokens.shape)}.")
        x = self.positions(self.embedding(tokens), None if cache is None else cache[0]["position"])
        x = self.dropout(x)
        following = []
        for index, layer in enumerate(self.layers):
            if cache is None:
                x = layer(x, None, None, True)
            else:
                x, after = layer(x, None, None, False, cache[index])
                following.append(after)
        x = self.norm(x)
        logits = op.linear(x, self.embedding.weight) if self.head is None else self.head(x)
        return logits if cache is None else (logits, tuple(following))

    def new_cache(self, batch: int, length: int | None = None) -> tuple[Any, ...]:
        """Empty caches of keys and values, one for each layer, for up to `length` tokens (context by default)."""
        length = self.context if length is None else length
        if length > self.context:
            raise ShapeError(f"GPT has positions for context={self.context} tokens, fewer than a cache of {length}.")
        return tuple([layer.new_cache(batch, length) for layer in self.layers])

    def generate(self, prompt: Any, count: int, temperature: float = 1.0, top_k: int | None = None,
                 seed: int = 0) -> np.ndarray:
        """Tokens that go on from the prompt, each drawn from what the model says comes next.

        Keys and values of what was read are kept, so that each token costs the same; one compiled program serves all.
        Where the context is full, its last half is read again, into an empty cache.

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
        return self._generator.run(prompt, count, self.new_cache, temperature, top_k, seed, self.context)
