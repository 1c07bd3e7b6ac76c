"""Seconds from the first import to the end of the first training step of the MLP, in processes of their own.

Without a compilation cache; the start of Python itself is not counted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

TIMED = """
import time
start = time.perf_counter()
{body}
print(time.perf_counter() - start)
"""

ZKYNET = """
import numpy as np
from zkynet import nn, optim

rng = np.random.default_rng(0)
x, y = rng.normal(size=(32, 64)).astype("float32"), rng.integers(0, 10, 32).astype("int32")
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
loss_fn = nn.CrossEntropyLoss()
opt = optim.Adam(model.parameters(), lr=1e-3)
loss = loss_fn(model(x), y)
opt.step(loss)
loss.value.block_until_ready()
"""

# Weights are drawn with NumPy and Adam is written out: jax.random and optax would be compiled and imported besides.
JAX = """
import jax
import jax.numpy as jnp
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(32, 64)).astype("float32"), rng.integers(0, 10, 32).astype("int32")
sizes = (64, 64, 64, 10)
params = [(rng.uniform(-1, 1, (m, n)).astype("float32") / m**0.5, np.zeros(n, "float32"))
          for m, n in zip(sizes, sizes[1:])]
zeros = jax.tree.map(np.zeros_like, params)
state = zeros, zeros, np.int32(0)

def loss_of(params, x, y):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ w + b), y[:, None], 1).mean()

@jax.jit
def step(params, state, x, y):
    loss, g = jax.value_and_grad(loss_of)(params, x, y)
    m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    a, b = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / a) / (jnp.sqrt(v / b) + 1e-8), params, m, v)
    return params, (m, v, t), loss

params, state, loss = step(params, state, x, y)
loss.block_until_ready()
"""

OPTAX = JAX.split("zeros =")[0] + """
import optax

adam = optax.adam(1e-3)
state = adam.init(params)

def loss_of(params, x, y):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, y).mean()

@jax.jit
def step(params, state, x, y):
    loss, g = jax.value_and_grad(loss_of)(params, x, y)
    updates, state = adam.update(g, state)
    return optax.apply_updates(params, updates), state, loss

params, state, loss = step(params, state, x, y)
loss.block_until_ready()
"""

SCRIPTS = {"zkynet": ZKYNET, "jax": JAX, "jax + optax": OPTAX}


def seconds(body: str) -> float:
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run([sys.executable, "-c", TIMED.format(body=body)], capture_output=True, text=True, check=True,
                          env=environment)
    return float(done.stdout)


def medians(rounds: int) -> dict[str, float]:
    """Of each script; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for number in range(rounds):
        for name in list(SCRIPTS)[:: -1 if number % 2 else 1]:
            found[name].append(seconds(SCRIPTS[name]))
    return {name: statistics.median(times) for name, times in found.items()}
