"""The workloads in flax nnx: nnx.jit, and nnx.cached_partial, with nnx's own layers and first weights."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .contenders import Contender, optional, stepper
from .workloads import RATE, Workload

nnx: Any = optional("flax.nnx")


def convolutional(work: Workload, rngs: Any) -> Any:
    pool = functools.partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))

    def flat(x: Any) -> Any:
        return x.reshape(x.shape[0], -1)

    if work.name == "lenet":
        return nnx.Sequential(
            nnx.Conv(1, 6, (5, 5), padding="SAME", rngs=rngs), jax.nn.relu, pool,
            nnx.Conv(6, 16, (5, 5), padding="VALID", rngs=rngs), jax.nn.relu, pool, flat,
            nnx.Linear(400, 120, rngs=rngs), jax.nn.relu, nnx.Linear(120, 84, rngs=rngs), jax.nn.relu,
            nnx.Linear(84, 10, rngs=rngs))
    return nnx.Sequential(
        nnx.Conv(3, 32, (3, 3), rngs=rngs), jax.nn.relu, pool, nnx.Conv(32, 64, (3, 3), rngs=rngs), jax.nn.relu, pool,
        flat, nnx.Linear(4096, 128, rngs=rngs), jax.nn.relu, nnx.Linear(128, 10, rngs=rngs))


def gpt(work: Workload, rngs: Any) -> Any:
    sizes = work.sizes
    width, length = sizes["width"], sizes["context"]

    class Block(nnx.Module):
        def __init__(self) -> None:
            self.norm1, self.norm2 = (nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs) for _ in range(2))
            self.attention = nnx.MultiHeadAttention(sizes["heads"], width, decode=False, rngs=rngs)
            self.linear1 = nnx.Linear(width, 4 * width, rngs=rngs)
            self.linear2 = nnx.Linear(4 * width, width, rngs=rngs)

        def __call__(self, x: Any, mask: Any) -> Any:
            x = x + self.attention(self.norm1(x), mask=mask)
            return x + self.linear2(jax.nn.gelu(self.linear1(self.norm2(x)), approximate=False))

    class GPT(nnx.Module):
        def __init__(self) -> None:
            self.token = nnx.Embed(sizes["vocabulary"], width, rngs=rngs)
            self.position = nnx.Embed(length, width, rngs=rngs)
            self.blocks = nnx.List([Block() for _ in range(sizes["layers"])])
            self.norm = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
            self.head = nnx.Linear(width, sizes["vocabulary"], use_bias=False, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            mask = nnx.make_causal_mask(tokens)
            x = self.token(tokens) + self.position(jnp.arange(length))
            for block in self.blocks:
                x = block(x, mask)
            return self.head(self.norm(x))

    return GPT()


def lstm(work: Workload, rngs: Any) -> Any:
    inputs, width = work.sizes["inputs"], work.sizes["width"]

    class LSTM(nnx.Module):
        def __init__(self) -> None:
            self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(inputs, width, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(width, 10, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.head(self.lstm(x)[:, -1])

    return LSTM()


def net(work: Workload) -> Any:
    rngs = nnx.Rngs(0)
    if work.name == "mlp":
        return nnx.Sequential(nnx.Linear(64, 64, rngs=rngs), jax.nn.relu, nnx.Linear(64, 64, rngs=rngs), jax.nn.relu,
                              nnx.Linear(64, 10, rngs=rngs))
    return {"gpt": gpt, "lstm": lstm}.get(work.name, convolutional)(work, rngs)


def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    def loss_of(model: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, gradient = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradient)
    return loss


def contenders(work: Workload) -> dict[str, Contender]:
    if nnx is None:
        return {}
    last = work.name in ("lenet", "conv_net")
    batches = [(jnp.asarray(np.moveaxis(x, 1, -1) if last else x), jnp.asarray(y)) for x, y in work.batches]
    compiled = nnx.jit(step)

    def trained() -> tuple[Any, Any]:
        model = net(work)
        return model, nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    own = trained()
    return {"nnx.jit": stepper(lambda x, y: compiled(*own, x, y), batches),
            "nnx.cached_partial": stepper(nnx.cached_partial(compiled, *trained()), batches)}
