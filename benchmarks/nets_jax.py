"""The workloads in plain JAX, written by hand: pure functions, jax.grad, optax, jax.jit and lax.scan.

The nets with convolutions are there twice: as they are usually written, channels first (NCHW) with pooling by
reduce_window, and as they are fast on CPUs, channels last (NHWC) with pooling by reshaping and max.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from .contenders import Contender, stepper
from .workloads import RATE, Workload

Params = dict[str, Any]


# Nets: parameters and input to logits, classes last ---------------------------------------------------------------


def dense(p: Params, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def mlp(p: Params, x: Any) -> Any:
    return dense(p, "4", jax.nn.relu(dense(p, "2", jax.nn.relu(dense(p, "0", x)))))


def conv_first(p: Params, name: str, x: Any, padding: int) -> Any:
    y = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), [(padding, padding)] * 2)
    return jax.nn.relu(y + p[f"{name}.bias"][:, None, None])


def pool_first(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def conv_last(p: Params, name: str, x: Any, padding: int) -> Any:
    y = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), [(padding, padding)] * 2,
                                 dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(y + p[f"{name}.bias"])


def pool_last(x: Any) -> Any:
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def lenet(p: Params, x: Any, conv: Any, pool: Any) -> Any:
    x = pool(conv(p, "3", pool(conv(p, "0", x, 2)), 0))
    x = jax.nn.relu(dense(p, "7", x.reshape(x.shape[0], -1)))
    return dense(p, "11", jax.nn.relu(dense(p, "9", x)))


def conv_net(p: Params, x: Any, conv: Any, pool: Any) -> Any:
    x = pool(conv(p, "3", pool(conv(p, "0", x, 1)), 1))
    return dense(p, "9", jax.nn.relu(dense(p, "7", x.reshape(x.shape[0], -1))))


def normalized(p: Params, name: str, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def attention(p: Params, name: str, x: Any, heads: int) -> Any:
    n, length, width = x.shape
    qkv = x @ p[f"{name}.in_proj_weight"] + p[f"{name}.in_proj_bias"]
    q, k, v = jnp.moveaxis(qkv.reshape(n, length, 3, heads, width // heads), 2, 0)
    scores = jnp.einsum("nqhd,nkhd->nhqk", q * (width // heads) ** -0.5, k)
    weights = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e30))
    return dense(p, f"{name}.out_proj", jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, length, width))


def gpt(p: Params, tokens: Any, layers: int, heads: int) -> Any:
    x = p["embedding.weight"][tokens] + p["positions.weight"]
    for number in range(layers):
        name = f"layers.{number}"
        x = x + attention(p, f"{name}.self_attn", normalized(p, f"{name}.norm1", x), heads)
        hidden = jax.nn.gelu(dense(p, f"{name}.linear1", normalized(p, f"{name}.norm2", x)), approximate=False)
        x = x + dense(p, f"{name}.linear2", hidden)
    return normalized(p, "norm", x) @ p["head.weight"]


def lstm(p: Params, x: Any, width: int) -> Any:
    """The inputs are projected for all steps at once, before the loop."""
    projected = (x @ p["lstm.weight_ih_l0"] + (p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"])).swapaxes(0, 1)

    def step(state: Any, z: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(z + h @ p["lstm.weight_hh_l0"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((x.shape[0], width))
    (h, _), _ = lax.scan(step, (zeros, zeros), projected)
    return dense(p, "head", h)


# Layouts -----------------------------------------------------------------------------------------------------------


def as_usual(name: str, value: np.ndarray, embeddings: tuple[str, ...] = ("embedding", "positions")) -> np.ndarray:
    """Matrices as (in, out), kernels as they are."""
    return value.T.copy() if value.ndim == 2 and not name.startswith(embeddings) else value


def channels_last(work: Workload) -> tuple[Params, np.ndarray]:
    """Weights and images for channels last; the rows of the first matrix follow, so that the numbers stay the same."""
    weights = {name: np.moveaxis(value, (2, 3, 1, 0), (0, 1, 2, 3)) if value.ndim == 4 else as_usual(name, value)
               for name, value in work.weights.items()}
    channels, out = work.weights["3.weight"].shape[0], work.weights["7.weight"].shape[0]
    side = int((work.weights["7.weight"].shape[1] // channels) ** 0.5)
    flat = work.weights["7.weight"].reshape(out, channels, side, side)
    weights["7.weight"] = np.transpose(flat, (2, 3, 1, 0)).reshape(-1, out)
    return weights, np.moveaxis(work.x, 1, -1).copy()


# name of the variant: the net, its weights, its images
def variants(work: Workload) -> dict[str, tuple[Callable[[Params, Any], Any], Params, np.ndarray]]:
    usual = {name: as_usual(name, value) for name, value in work.weights.items()}
    if work.name in ("lenet", "conv_net"):
        net: Any = {"lenet": lenet, "conv_net": conv_net}[work.name]
        return {" NCHW": (partial(net, conv=conv_first, pool=pool_first), usual, work.x),
                " NHWC": (partial(net, conv=conv_last, pool=pool_last), *channels_last(work))}
    nets: dict[str, Any] = {
        "mlp": lambda: mlp, "lstm": lambda: partial(lstm, width=work.sizes["width"]),
        "gpt": lambda: partial(gpt, layers=work.sizes["layers"], heads=work.sizes["heads"])}
    return {"": (nets[work.name](), usual, work.x)}


# Training ----------------------------------------------------------------------------------------------------------


def make_step(net: Callable[[Params, Any], Any]) -> tuple[Any, Callable[..., Any]]:
    """Adam, and the step (params, state, x, y) -> (params, state, loss)."""
    adam = optax.adam(RATE)

    def loss_of(p: Params, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(net(p, x), y).mean()

    def step(p: Params, state: Any, x: Any, y: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(p, x, y)
        updates, state = adam.update(gradient, state, p)
        return optax.apply_updates(p, updates), state, loss

    return adam, step


def steps(work: Workload, net: Any, weights: Params, x: np.ndarray, donated: bool) -> Contender:
    adam, step = make_step(net)
    run = jax.jit(step, donate_argnums=(0, 1) if donated else ())
    p = {name: jnp.array(value) for name, value in weights.items()}
    held = [p, adam.init(p)]

    def one(x: Any, y: Any) -> Any:
        held[0], held[1], loss = run(*held, x, y)
        return loss

    x = x.reshape(work.steps, work.batch, *x.shape[1:])
    return stepper(one, [(jnp.asarray(a), jnp.asarray(b)) for a, (_, b) in zip(x, work.batches, strict=True)])


def make_epoch(step: Callable[..., Any], batch: int) -> Callable[..., Any]:
    """(params, state, X, Y, order) -> (params, state, mean loss), as one program; parameters and state are donated."""

    def epoch(p: Params, state: Any, x: Any, y: Any, order: Any) -> Any:
        x, y = (a[order].reshape(-1, batch, *a.shape[1:]) for a in (x, y))

        def body(carry: Any, rows: Any) -> Any:
            p, state, loss = step(*carry, *rows)
            return (p, state), loss

        (p, state), losses = lax.scan(body, (p, state), (x, y))
        return p, state, losses.mean()

    return jax.jit(epoch, donate_argnums=(0, 1))


def epochs(work: Workload, net: Any, weights: Params, x: np.ndarray, shuffle: bool = True) -> Contender:
    adam, step = make_step(net)
    epoch = make_epoch(step, work.batch)
    p = {name: jnp.array(value) for name, value in weights.items()}
    held = [p, adam.init(p)]
    data = jnp.asarray(x), jnp.asarray(work.y)
    rng, rows = np.random.default_rng(0), np.arange(len(work.y), dtype=np.int32)

    def call() -> Any:
        order = rng.permutation(rows) if shuffle else rows
        held[0], held[1], loss = epoch(*held, *data, order)
        return np.float32(loss)

    return Contender(call, work.steps)


def contenders(work: Workload) -> dict[str, Contender]:
    found: dict[str, Contender] = {}
    for suffix, given in variants(work).items():
        found[f"jax.jit{suffix}"] = steps(work, *given, donated=False)
        found[f"jax.jit donated{suffix}"] = steps(work, *given, donated=True)
        found[f"lax.scan{suffix}"] = epochs(work, *given)
    return found
