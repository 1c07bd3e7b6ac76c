"""The workloads in equinox: filter_jit, with equinox's own layers and first weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from .contenders import Contender, optional, stepper
from .workloads import RATE, Workload

eqx: Any = optional("equinox")


def keys(seed: int = 0) -> Any:
    """A new random key at every `next`."""
    key = jax.random.key(seed)
    while True:
        key, given = jax.random.split(key)
        yield given


def sequential(work: Workload) -> Any:
    nn, key = eqx.nn, keys()
    relu, flat, pool = nn.Lambda(jax.nn.relu), nn.Lambda(jnp.ravel), nn.MaxPool2d(2, 2)

    def linear(*sizes: int) -> Any:
        return nn.Linear(*sizes, key=next(key))

    def conv(*sizes: int, padding: int = 0) -> Any:
        return nn.Conv2d(*sizes, padding=padding, key=next(key))

    if work.name == "mlp":
        return nn.Sequential([linear(64, 64), relu, linear(64, 64), relu, linear(64, 10)])
    if work.name == "lenet":
        return nn.Sequential([conv(1, 6, 5, padding=2), relu, pool, conv(6, 16, 5), relu, pool, flat,
                              linear(400, 120), relu, linear(120, 84), relu, linear(84, 10)])
    return nn.Sequential([conv(3, 32, 3, padding=1), relu, pool, conv(32, 64, 3, padding=1), relu, pool, flat,
                          linear(4096, 128), relu, linear(128, 10)])


def gpt(work: Workload) -> Any:
    nn, key, sizes = eqx.nn, keys(), work.sizes
    width, length = sizes["width"], sizes["context"]

    class Block(eqx.Module):
        norm1: Any
        norm2: Any
        attention: Any
        linear1: Any
        linear2: Any

        def __init__(self) -> None:
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(
                sizes["heads"], width, use_query_bias=True, use_key_bias=True, use_value_bias=True,
                use_output_bias=True, key=next(key))
            self.linear1 = nn.Linear(width, 4 * width, key=next(key))
            self.linear2 = nn.Linear(4 * width, width, key=next(key))

        def __call__(self, x: Any) -> Any:
            y = jax.vmap(self.norm1)(x)
            x = x + self.attention(y, y, y, mask=jnp.tril(jnp.ones((length, length), bool)))
            hidden = jax.vmap(self.linear1)(jax.vmap(self.norm2)(x))
            return x + jax.vmap(self.linear2)(jax.nn.gelu(hidden, approximate=False))

    class GPT(eqx.Module):
        token: Any
        position: Any
        blocks: list[Any]
        norm: Any
        head: Any

        def __init__(self) -> None:
            self.token = nn.Embedding(sizes["vocabulary"], width, key=next(key))
            self.position = nn.Embedding(length, width, key=next(key))
            self.blocks = [Block() for _ in range(sizes["layers"])]
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, sizes["vocabulary"], use_bias=False, key=next(key))

        def __call__(self, tokens: Any) -> Any:
            x = jax.vmap(self.token)(tokens) + self.position.weight
            for block in self.blocks:
                x = block(x)
            return jax.vmap(self.head)(jax.vmap(self.norm)(x))

    return GPT()


def lstm(work: Workload) -> Any:
    nn, key, width = eqx.nn, keys(), work.sizes["width"]

    class LSTM(eqx.Module):
        cell: Any
        head: Any

        def __init__(self) -> None:
            self.cell = nn.LSTMCell(work.sizes["inputs"], width, key=next(key))
            self.head = nn.Linear(width, 10, key=next(key))

        def __call__(self, x: Any) -> Any:
            zeros = jnp.zeros(width)
            (h, _), _ = lax.scan(lambda state, row: (self.cell(row, state), None), (zeros, zeros), x)
            return self.head(h)

    return LSTM()


def contenders(work: Workload) -> dict[str, Contender]:
    if eqx is None:
        return {}
    model = {"gpt": gpt, "lstm": lstm}.get(work.name, sequential)(work)
    adam = optax.adam(RATE)

    @eqx.filter_jit
    def run(model: Any, state: Any, x: Any, y: Any) -> Any:
        def loss_of(model: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y).mean()

        loss, gradient = eqx.filter_value_and_grad(loss_of)(model)
        updates, state = adam.update(gradient, state)
        return eqx.apply_updates(model, updates), state, loss

    held = [model, adam.init(eqx.filter(model, eqx.is_array))]

    def step(x: Any, y: Any) -> Any:
        held[0], held[1], loss = run(*held, x, y)
        return loss

    return {"equinox": stepper(step, [(jnp.asarray(x), jnp.asarray(y)) for x, y in work.batches])}
