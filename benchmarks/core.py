"""The core against PyTorch eager, HIPS autograd, jax.grad op by op, bare jax.jit and flax nnx (where installed)."""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import zkynet
from zkynet.framework import cg, op

from . import conv_net
from .timing import Row, medians, print_table


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class SimpleModel(cg.Module):
    """f(x, w) = (x + w) x^2."""

    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 1.0),))

    def call(self, x: Any) -> Any:
        return op.mult(op.add(x, self.param("w")), op.square(x))


def simple_model(rounds: int) -> Row:
    model = SimpleModel()
    w, x = model.param("w"), model.input("x")

    def ours() -> Any:
        result = model(3.0)
        result.back()
        return result.grad(w), result.grad(x)

    contenders: dict[str, Callable[[], Any]] = {"zkynet": ours}
    if torch := installed("torch"):
        tx, tw = torch.tensor(3.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)

        def eager() -> Any:
            tx.grad = tw.grad = None
            ((tx + tw) * torch.square(tx)).backward()
            return tw.grad, tx.grad

        contenders["PyTorch eager"] = eager
    if autograd := installed("autograd"):
        both = autograd.grad(lambda pair: (pair[0] + pair[1]) * pair[0] ** 2)
        contenders["HIPS autograd"] = lambda: both((3.0, 1.0))
    step = jax.grad(lambda x, w: (x + w) * jnp.square(x), argnums=(0, 1))
    jx, jw = jnp.float32(3.0), jnp.float32(1.0)
    contenders["jax.grad op by op"] = lambda: step(jx, jw)
    compiled = jax.jit(step)
    contenders["bare jax.jit"] = lambda: compiled(jx, jw)
    times = medians(contenders, rounds)
    ratio = times["zkynet"] / times["PyTorch eager"] if "PyTorch eager" in times else None
    return Row("(x+w)x^2: call, back, both gradients", times, ratio, "<= 0.75 x PyTorch")


def chain(length: int) -> Any:
    """A Module of `length` elementwise operators."""

    def call(x: Any) -> Any:
        for _ in range(length):
            x = op.sin(x)
        return x

    return cg.Module.build("Chain", call, (cg.Variable("x"),))


def chains(lengths: tuple[int, ...]) -> list[Row]:
    rows = []
    x = jnp.ones(8)
    per_node: dict[int, float] = {}
    for length in lengths:
        model = chain(length)

        def in_jax(x: Any, length: int = length) -> Any:
            for _ in range(length):
                x = jnp.sin(x)
            return x

        start = time.perf_counter()
        jax.block_until_ready(model(x).value)
        first = time.perf_counter() - start
        start = time.perf_counter()
        jitted = jax.jit(in_jax)
        jax.block_until_ready(jitted(x))
        first_jax = time.perf_counter() - start
        times = medians({"zkynet": lambda model=model: model(x).value, "bare jax.jit": lambda f=jitted: f(x)}, rounds=7)
        per_node[length] = times["zkynet"] / length
        rows.append(Row(f"chain of {length:,}: per node, repeated call",
                        {name: seconds / length for name, seconds in times.items()},
                        per_node[length] / per_node.get(100, per_node[length]), "<= 3 us; <= 1.3 x that of 100"))
        rows.append(Row(f"chain of {length:,}: first call", {"zkynet": first, "bare jax.jit": first_jax},
                        first / first_jax, "<= 1.2 x jax.jit"))
    return rows


class MLP(cg.Module):
    """Rectified layers, cross entropy of the last."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.weights = [cg.Parameter(f"w{i}", rng.normal(0, 1 / np.sqrt(m), (m, n)).astype(np.float32))
                        for i, (m, n) in enumerate(zip(sizes, sizes[1:], strict=False))]
        self.biases = [cg.Parameter(f"b{i}", np.zeros(n, np.float32)) for i, n in enumerate(sizes[1:])]

    def call(self, x: Any, y: Any) -> Any:
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = op.relu(x @ w + b)
        logits = x @ self.weights[-1] + self.biases[-1]
        picked = op.sum(op.log_softmax(logits, axis=-1) * y, axis=-1)
        return -op.mean(picked)


def jax_mlp(parameters: Any, x: Any, y: Any) -> Any:
    weights, biases = parameters
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        x = jax.nn.relu(x @ w + b)
    logits = x @ weights[-1] + biases[-1]
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * y, axis=-1))


def batch(inputs: int, classes: int, size: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(size, inputs)).astype(np.float32))
    return x, jax.nn.one_hot(rng.integers(0, classes, size), classes)


def mlp_gradient(sizes: tuple[int, ...], target: str, size: int = 32, rounds: int = 15) -> Row:
    model = MLP(*sizes)
    x, y = batch(sizes[0], sizes[-1], size)
    ours = zkynet.compile(zkynet.value_and_grad(model, wrt=model.parameters()))
    held = [w.value for w in model.weights], [b.value for b in model.biases]
    bare = jax.jit(jax.value_and_grad(jax_mlp))
    contenders: dict[str, Callable[[], Any]] = {
        "zkynet": lambda: ours(x, y), "bare jax.jit": lambda: bare(held, x, y)}
    contenders["jax.grad op by op"] = lambda: jax.value_and_grad(jax_mlp)(held, x, y)
    contenders |= torch_mlp(sizes, x, y) | nnx_mlp(sizes, x, y)
    times = medians(contenders, rounds)
    return Row(f"MLP {'-'.join(map(str, sizes))}, batch {size}: compiled gradient", times,
               times["zkynet"] / times["bare jax.jit"], target)


def torch_mlp(sizes: tuple[int, ...], x: Any, y: Any) -> dict[str, Callable[[], Any]]:
    torch = installed("torch")
    if torch is None:
        return {}
    layers: list[Any] = []
    for m, n in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(m, n), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    tx, ty = torch.tensor(np.asarray(x)), torch.tensor(np.asarray(y))

    def eager() -> Any:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(tx), ty).backward()

    return {"PyTorch eager": eager}


def nnx_mlp(sizes: tuple[int, ...], x: Any, y: Any) -> dict[str, Callable[[], Any]]:
    if installed("flax") is None:
        return {}
    nnx = importlib.import_module("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs: Any):
            self.layers = nnx.List([nnx.Linear(m, n, rngs=rngs) for m, n in zip(sizes, sizes[1:], strict=False)])

        def __call__(self, x: Any) -> Any:
            for layer in list(self.layers)[:-1]:
                x = jax.nn.relu(layer(x))
            return self.layers[len(sizes) - 2](x)

    net = Net(nnx.Rngs(0))
    step = nnx.jit(nnx.value_and_grad(lambda net, x, y: -jnp.mean(jnp.sum(jax.nn.log_softmax(net(x)) * y, axis=-1))))
    return {"flax nnx.jit": lambda: step(net, x, y)}


def memory(layers: int, width: int = 256, size: int = 512) -> Row:
    """Peak of temporary memory of the compiled back(), as XLA reports it."""
    sizes = (width,) * (layers + 1)
    model = MLP(*sizes)
    x, y = batch(width, width, size)
    result = model(x, y)
    result.back()
    result.grad(model.biases[0])
    gradients = result.call.backward
    program = gradients.program(gradients.wanted)
    ours = program.program.lower(*gradients.arrays).compile().memory_analysis()
    held = [w.value for w in model.weights], [b.value for b in model.biases]
    bare = jax.jit(jax.value_and_grad(jax_mlp)).lower(held, x, y).compile().memory_analysis()
    peaks = {"zkynet": _bytes(ours), "bare jax.jit": _bytes(bare)}
    print(f"\npeak memory of back(), {layers}-layer MLP of width {width}, batch {size}: "
          f"{peaks['zkynet'] / 2**20:.2f} MiB, jax.grad {peaks['bare jax.jit'] / 2**20:.2f} MiB")
    return Row(f"{layers}-layer MLP: peak memory of back() (ratio)", {}, peaks["zkynet"] / peaks["bare jax.jit"],
               "<= 1.05 x jax.grad")


def _bytes(analysis: Any) -> int:
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def main(quick: bool = False) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"jax {jax.__version__} on {jax.default_backend()}")
    rounds = 2 if quick else 15
    rows = [simple_model(rounds)]
    rows += chains((10, 100) if quick else (10, 100, 1000, 10_000))
    rows.append(mlp_gradient((64, 64, 64, 10), "<= 1.1 x jax.jit", rounds=rounds))
    if not quick:
        rows.append(mlp_gradient((1024, 1024, 1024, 10), "<= 1.02 x jax.jit", size=128, rounds=60))
    rows.append(memory(5 if quick else 50, width=32 if quick else 256, size=64 if quick else 512))
    rows += conv_net.rows(quick)
    print_table("core", rows)
