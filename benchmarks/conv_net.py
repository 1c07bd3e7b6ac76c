"""One training step of a small conv net: conv 32, pool, conv 64, pool, dense 128, dense 10; batch 64, 3 x 32 x 32.

Against jax.grad of the same net as it is usually written: layout (batch, channels, height, width), max pooling by
reduce_window. Both are one compiled program that returns the loss and the updated parameters. `python -m
benchmarks.conv_net` prints its row alone and checks that the results are equal.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import zkynet
from zkynet.framework import op

from .timing import Row, medians, print_table

RATE = 0.01
SHAPES = {
    "w1": (32, 3, 3, 3), "b1": (32,), "w2": (64, 32, 3, 3), "b2": (64,),
    "w3": (4096, 128), "b3": (128,), "w4": (128, 10), "b4": (10,),
}


def example(batch: int) -> tuple[dict[str, Any], Any, Any]:
    """Parameters, images and labels."""
    rng = np.random.default_rng(0)
    parameters = {}
    for name, shape in SHAPES.items():
        inputs = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        parameters[name] = jnp.asarray(rng.normal(size=shape) / np.sqrt(inputs), jnp.float32)
    images = jnp.asarray(rng.normal(size=(batch, 3, 32, 32)), jnp.float32)
    return parameters, images, jnp.asarray(rng.integers(0, 10, batch), jnp.int32)


# The same net three times ---------------------------------------------------------------------------------------


def loss_of_zkynet(p: dict[str, Any], x: Any, labels: Any) -> Any:
    x = op.max_pool2d(op.relu(op.conv2d(x, p["w1"], p["b1"], padding=1)), 2)
    x = op.max_pool2d(op.relu(op.conv2d(x, p["w2"], p["b2"], padding=1)), 2)
    x = op.relu(op.flatten(x, 1) @ p["w3"] + p["b3"])
    logits = op.log_softmax(x @ p["w4"] + p["b4"], axis=-1)
    return -op.mean(op.take_along_axis(logits, op.expand_dims(labels, axis=1), axis=1))


def step_of_zkynet(p: dict[str, Any], x: Any, labels: Any) -> Any:
    loss, gradient = zkynet.value_and_grad(loss_of_zkynet)(p, x, labels)
    return loss, {name: p[name] - RATE * gradient[name] for name in p}


def loss_of_jax(p: dict[str, Any], x: Any, labels: Any) -> Any:
    def convolved(x: Any, w: Any, b: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), "SAME") + b[:, None, None]

    def pooled(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    x = pooled(jax.nn.relu(convolved(x, p["w1"], p["b1"])))
    x = pooled(jax.nn.relu(convolved(x, p["w2"], p["b2"])))
    x = jax.nn.relu(x.reshape(x.shape[0], -1) @ p["w3"] + p["b3"])
    logits = jax.nn.log_softmax(x @ p["w4"] + p["b4"])
    return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], 1))


@jax.jit
def step_of_jax(p: dict[str, Any], x: Any, labels: Any) -> Any:
    loss, gradient = jax.value_and_grad(loss_of_jax)(p, x, labels)
    return loss, {name: p[name] - RATE * gradient[name] for name in p}


def step_of_torch(p: dict[str, Any], x: Any, labels: Any) -> Callable[[], Any]:
    torch: Any = importlib.import_module("torch")
    f = torch.nn.functional
    q = {name: torch.tensor(np.asarray(value), requires_grad=True) for name, value in p.items()}
    images, classes = torch.tensor(np.asarray(x)), torch.tensor(np.asarray(labels), dtype=torch.int64)

    def step() -> Any:
        y = f.max_pool2d(f.relu(f.conv2d(images, q["w1"], q["b1"], padding=1)), 2)
        y = f.max_pool2d(f.relu(f.conv2d(y, q["w2"], q["b2"], padding=1)), 2)
        y = f.relu(y.flatten(1) @ q["w3"] + q["b3"])
        loss = f.cross_entropy(y @ q["w4"] + q["b4"], classes)
        gradients = torch.autograd.grad(loss, list(q.values()))
        with torch.no_grad():
            return [value - RATE * g for value, g in zip(q.values(), gradients, strict=True)]

    return step


def largest_difference(batch: int = 64) -> float:
    """Of the loss and of every gradient, relative to the largest element of each."""
    given = example(batch)
    ours = zkynet.value_and_grad(loss_of_zkynet)(*given)
    theirs = jax.jit(jax.value_and_grad(loss_of_jax))(*given)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


def rows(quick: bool = False) -> list[Row]:
    batch = 4 if quick else 64
    given = example(batch)
    compiled = zkynet.compile(step_of_zkynet)
    contenders: dict[str, Callable[[], Any]] = {
        "zkynet": lambda: compiled(*given), "bare jax.jit": lambda: step_of_jax(*given)}
    try:
        contenders["PyTorch eager"] = step_of_torch(*given)
    except ImportError:
        pass
    times = medians(contenders, rounds=2 if quick else 25)
    ratio = times["zkynet"] / times["bare jax.jit"]
    return [Row(f"conv net: one step, batch {batch}", times, ratio, "<= 0.55 x jax.grad, NCHW")]


def main(quick: bool = False) -> None:
    print_table("conv net", rows(quick))
    print(f"\nlargest relative difference of loss and gradients: {largest_difference():.1e}")


if __name__ == "__main__":
    main()
