"""What models of sequences share: their loss, and how new tokens are drawn one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import nn
from ..framework import cg, op
from ..framework.compiled import compile
from ..framework.errors import InputError, ShapeError


class SequenceLoss(nn.CrossEntropyLoss):
    """The mean of -ln softmax(logits)[target] over all places of all sequences.

    `nn.CrossEntropyLoss` for logits that have the classes on their last axis, as models of sequences give them.

    Args: those of `nn.CrossEntropyLoss`.

    Called with logits (batch, length, classes) and targets (batch, length), integers.

    >>> from zkynet import models
    >>> import numpy as np
    >>> loss = models.SequenceLoss()(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.int32))
    >>> round(float(loss.value), 4)  # ln 4
    1.3863
    """

    def call(self, input: Any, target: Any) -> Any:
        if input.ndim != 3 or tuple(target.shape) != tuple(input.shape[:2]):
            raise ShapeError(f"SequenceLoss needs logits (batch, length, classes) and targets (batch, length), but got "
                             f"{tuple(input.shape)} and {tuple(target.shape)}.")
        losses = super().call(op.reshape(input, shape=(-1, input.shape[-1])), op.reshape(target, shape=(-1,)))
        return op.reshape(losses, shape=target.shape) if self.reduction == "none" else losses


def drawn(logits: Any, key: Any, temperature: Any, top_k: int | None) -> Any:
    """A class for each row of logits (batch, classes): the likeliest at temperature 0, else one drawn from
    softmax(logits / temperature), of the `top_k` likeliest only if given."""
    if top_k is not None:
        best, _ = op.top_k(logits, min(top_k, logits.shape[-1]))
        logits = op.where(op.greater_equal(logits, best[:, -1:]), logits, -np.inf)
    cold = op.less_equal(temperature, 0.0)
    random = op.categorical(key, logits / op.where(cold, 1.0, temperature))
    return op.where(cold, op.argmax(logits, axis=-1), random)


class Generator:
    """Draws tokens from a model, by one compiled program for all of them, of the prompt too.

    Args:
        model: a module of (tokens (batch, 1), state) that gives (logits (batch, 1, classes), next state). It is run in
            evaluation mode.
        vocabulary: how many tokens it knows.

    The programs are kept here; there is another for each batch size and `top_k`.
    """

    def __init__(self, model: cg.Module, vocabulary: int):
        self.model, self.vocabulary = model, vocabulary
        self.programs: dict[int | None, Any] = {}

    def _program(self, top_k: int | None) -> Any:
        def one(tokens: Any, state: Any, key: Any, temperature: Any) -> Any:
            logits, state = self.model(tokens, state)
            following, now = op.split_key(key)
            token = op.cast(drawn(logits[:, -1], now, temperature, top_k), dtype="int32")
            return op.expand_dims(token, axis=1), state, following

        if top_k not in self.programs:
            self.programs[top_k] = compile(one)
        return self.programs[top_k]

    def run(self, prompt: Any, count: int, fresh: Callable[[int], Any], temperature: float, top_k: int | None,
            seed: int, context: int | None = None) -> np.ndarray:
        """The prompt (batch, length) and `count` new tokens, (batch, length + count).

        Args:
            fresh: makes the first state, for a batch of this size.
            context: how many tokens a state can hold; where it is full, a fresh one reads the last half again.

        Raises:
            ShapeError, InputError: for a prompt, `count` or `top_k` that makes no sense.
        """
        tokens: list[Any] = self._columns(prompt)
        if count < 0 or (top_k is not None and top_k < 1):
            raise InputError(f"count is a number of tokens, and top_k how many of the likeliest may be drawn, at least "
                             f"1, but got count={count}, top_k={top_k}.")
        batch, program = len(tokens[0]), self._program(top_k)
        with self.model.evaluating():
            key: Any = jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))
            state, unread, held = fresh(batch), list(tokens), 0
            for _ in range(count):
                if context is not None and held + len(unread) > context:
                    state, unread, held = fresh(batch), tokens[-max(1, context // 2):], 0
                held += len(unread)
                for column in unread:
                    token, state, key = program(column, state, key, np.float32(temperature))
                tokens.append(token)
                unread = [token]
        return np.concatenate([np.asarray(column) for column in tokens], axis=1)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "programs": {}}  # a copy compiles its own

    def _columns(self, prompt: Any) -> list[np.ndarray]:
        """The tokens (batch, 1) of each place."""
        prompt = np.asarray(prompt)
        if prompt.ndim != 2 or not prompt.shape[1] or prompt.dtype.kind not in "iu":
            raise ShapeError("a prompt is a batch of sequences of at least one token, integers (batch, length), but "
                             f"got {prompt.dtype}{list(prompt.shape)}.")
        unknown = prompt[(prompt < 0) | (prompt >= self.vocabulary)]
        if unknown.size:
            raise InputError(f"the tokens of a prompt are from 0 to {self.vocabulary - 1}, but got {unknown[0]}.")
        return [prompt[:, place:place + 1].astype(np.int32) for place in range(prompt.shape[1])]
