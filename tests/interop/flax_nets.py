"""The nets of the flax tests: in nnx, in linen and in zkynet; with losses and training loops of both sides."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as fl
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from zkynet import nn, optim
from zkynet.framework import cg, op
from zkynet.framework.random_stream import RandomStream

RATE, MOMENTUM, STEPS = 0.05, 0.9, 20
random = np.random.default_rng(0)
INPUTS = {
    "mlp": random.normal(size=(8, 5)).astype(np.float32),
    "conv": random.normal(size=(8, 6, 6, 2)).astype(np.float32),
    "transformer": random.integers(0, 11, size=(4, 6)),
}
NETS = list(INPUTS)
TARGETS = {name: random.normal(size=shape).astype(np.float32)
           for name, shape in {"mlp": (8, 3), "conv": (8, 3), "transformer": (4, 6, 11)}.items()}


# nnx ----------------------------------------------------------------------------------------------------------


class NnxMlp(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(5, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)])
        self.dropout = nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, x):
        return self.layers[1](self.dropout(nnx.gelu(self.layers[0](x))))


class NnxConv(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.bn = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dense = nnx.Linear(36, 3, rngs=rngs)

    def __call__(self, x):
        y = nnx.max_pool(nnx.relu(self.bn(self.conv(x))), (2, 2), (2, 2))
        return self.dense(y.reshape(len(y), -1))


class NnxTransformer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, dropout_rate=0.1, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(8, rngs=rngs) for _ in range(2)])
        self.wide, self.narrow = nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 8, rngs=rngs)
        self.head = nnx.Linear(8, 11, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attention(self.norms[0](x), mask=nnx.make_causal_mask(tokens))
        x = x + self.narrow(nnx.silu(self.wide(self.norms[1](x))))
        return self.head(x)


NNX = {"mlp": NnxMlp, "conv": NnxConv, "transformer": NnxTransformer}


@functools.cache
def _made(name: str) -> Any:
    return nnx.jit(lambda: NNX[name](nnx.Rngs(0)))()


def nnx_net(name: str) -> Any:
    """A fresh copy of the same net."""
    return nnx.clone(_made(name))


# linen --------------------------------------------------------------------------------------------------------


class LinenMlp(fl.Module):
    @fl.compact
    def __call__(self, x, train: bool):
        return fl.Dense(3)(fl.Dropout(0.3, deterministic=not train)(fl.gelu(fl.Dense(16)(x))))


class LinenConv(fl.Module):
    @fl.compact
    def __call__(self, x, train: bool):
        y = fl.BatchNorm(momentum=0.9, use_running_average=not train)(fl.Conv(4, (3, 3))(x))
        y = fl.max_pool(fl.relu(y), (2, 2), (2, 2))
        return fl.Dense(3)(y.reshape(len(y), -1))


class LinenTransformer(fl.Module):
    @fl.compact
    def __call__(self, tokens, train: bool):
        x = fl.Embed(11, 8)(tokens)
        x = x + fl.MultiHeadDotProductAttention(2)(fl.LayerNorm()(x), mask=fl.make_causal_mask(tokens))
        x = x + fl.Dense(8)(fl.silu(fl.Dense(16)(fl.LayerNorm()(x))))
        return fl.Dense(11)(x)


LINEN = {"mlp": LinenMlp, "conv": LinenConv, "transformer": LinenTransformer}


@functools.cache
def linen_variables(name: str) -> Any:
    return jax.jit(lambda: LINEN[name]().init(jax.random.key(1), INPUTS[name], train=False))()


# zkynet -------------------------------------------------------------------------------------------------------


class Transformer(cg.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.norms = [nn.LayerNorm(8), nn.LayerNorm(8)]
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.wide, self.narrow, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 11)

    def call(self, tokens):
        x = self.embed(tokens)
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, attn_mask=np.triu(np.ones((6, 6), bool), 1), need_weights=False)[0]
        return self.head(x + self.narrow(op.silu(self.wide(self.norms[1](x)))))


class Conv(cg.Module):
    """In flax's order of axes outside, so that all nets of the tests take the same inputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.dense = nn.Linear(36, 3)

    def call(self, x):
        y = op.max_pool2d(op.relu(self.bn(self.conv(op.transpose(x, axes=(0, 3, 1, 2))))), 2)
        return self.dense(op.flatten(y, 1))


ZKYNET = {
    "mlp": lambda: nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.Linear(16, 3)),
    "conv": Conv, "transformer": Transformer,
}


# Training, on each side -----------------------------------------------------------------------------------------


def train_in_zkynet(net: cg.Module, name: str, steps: int = STEPS) -> list[float]:
    net.train()
    opt = optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    losses = []
    for _ in range(steps):
        loss = op.mean(op.square(net(INPUTS[name]) - TARGETS[name]))
        opt.step(loss)
        losses.append(float(loss.value))
    return losses


@nnx.jit
def _nnx_step(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, gradients = nnx.value_and_grad(lambda net: jnp.mean((net(x) - y) ** 2))(net)
    optimizer.update(net, gradients)
    return loss


def train_in_nnx(net: Any, name: str, steps: int = STEPS) -> list[float]:
    net.train()
    optimizer = nnx.Optimizer(net, optax.sgd(RATE, MOMENTUM), wrt=nnx.Param)
    return [float(_nnx_step(net, optimizer, INPUTS[name], TARGETS[name])) for _ in range(steps)]


def train_in_linen(module: Any, variables: Any, name: str, keys: Any) -> tuple[list[float], Any]:
    """With the key of each step's dropout."""
    others, params = {k: v for k, v in variables.items() if k != "params"}, variables["params"]
    tx = optax.sgd(RATE, MOMENTUM)
    state = tx.init(params)

    @jax.jit
    def step(params, others, state, key):
        def loss(params):
            y, new = module.apply({"params": params, **others}, INPUTS[name], train=True, rngs={"dropout": key},
                                  mutable=list(others))
            return jnp.mean((y - TARGETS[name]) ** 2), new

        (value, others), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(gradients, state, params)
        return value, optax.apply_updates(params, updates), others, state

    losses = []
    for key in keys:
        value, params, others, state = step(params, others, state, key)
        losses.append(float(value))
    return losses, {"params": params, **others}


class Judged(NamedTuple):
    """What flax itself says: in evaluation mode the output and the gradients for the target as cotangent; then the
    losses of the training steps, and the values after them."""

    output: Any
    gradients: dict[str, np.ndarray]
    losses: list[float]
    trained: dict[str, np.ndarray]


@functools.cache
def judged_nnx(name: str) -> Judged:
    net = nnx_net(name)
    net.eval()
    graph, params, rest = nnx.split(net, nnx.Param, ...)

    @jax.jit
    def judged(params):
        value, pull = jax.vjp(lambda p: nnx.merge(graph, p, rest)(INPUTS[name]), params)
        return value, pull(jnp.asarray(TARGETS[name]))[0]

    value, gradients = judged(params)
    losses = train_in_nnx(net, name)
    return Judged(value, _by_path(gradients), losses, nnx_arrays(net))


@functools.cache
def judged_linen(name: str, seed: int) -> Judged:
    module, variables = LINEN[name](), linen_variables(name)

    @jax.jit
    def judged(params):
        value, pull = jax.vjp(lambda p: module.apply({**variables, "params": p}, INPUTS[name], train=False), params)
        return value, pull(jnp.asarray(TARGETS[name]))[0]

    value, gradients = judged(variables["params"])
    stream = RandomStream("dropout", seed)
    keys = [jax.random.wrap_key_data(stream.draw().value, impl="threefry2x32") for _ in range(STEPS)]
    losses, trained = train_in_linen(module, variables, name, keys)
    return Judged(value, flat({"params": gradients}), losses, flat(trained))


def flat(tree: Any) -> dict[str, np.ndarray]:
    """Arrays of nested dictionaries by dotted path, without the first name (a collection)."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {".".join(str(part.key) for part in path[1:]): np.asarray(leaf) for path, leaf in found}


def nnx_arrays(net: Any) -> dict[str, np.ndarray]:
    return _by_path(nnx.state(net, nnx.Any(nnx.Param, nnx.BatchStat)))


def _by_path(state: Any) -> dict[str, np.ndarray]:
    return {".".join(map(str, path)): np.asarray(variable.get_value()) for path, variable in nnx.to_flat_state(state)}


def assert_close(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float = 1e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance, err_msg=name)
