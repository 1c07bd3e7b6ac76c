"""Call graphs of many kinds, for the tests of the format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ravnet.api.recording import Recorder
from ravnet.wire.graph import CallGraph
from zkynet import models, nn, optim
from zkynet.framework import cg, op

_rng = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape).astype(np.float32)


def trained(model: Callable[[], cg.Module], x: np.ndarray, y: np.ndarray, optimizer: Callable[..., Any], loss: Any,
            steps: int = 3) -> CallGraph:
    """The graph of a few training steps, with the losses persisted."""
    graph = CallGraph({"name": "training"})
    recorder, net = Recorder(graph), model()
    opt = optimizer(net.parameters())
    for step in range(steps):
        with recorder:
            found = loss(net(recorder.leaf(x)).root, recorder.leaf(y))
            opt.step(found)
        graph.names[f"loss_{step}"] = recorder.ref_of(found.root).number
    return graph


def expression(build: Callable[..., Any], *leaves: np.ndarray) -> CallGraph:
    """The graph of a function of nodes."""
    graph = CallGraph({"name": "expression"})
    recorder = Recorder(graph)
    with recorder:
        found = build(*map(recorder.leaf, leaves))
    roots = list(found) if isinstance(found, tuple) else [found]
    recorder.finish(roots)
    graph.names = {f"result_{i}": recorder.ref_of(root).number for i, root in enumerate(roots)}
    return graph


class Cube(cg.Operator):
    """An operator of a user, with a rule of its own."""

    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x: Any) -> Any:
        return jnp.power(x.value, 3)

    def vjp(self, cotangent: Any, output: Any, x: Any) -> Any:
        return (cotangent * 3.0 * x * x,)


class HostCube(Cube):
    jit = False


def mlp() -> cg.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def conv_net() -> cg.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))


class Recurrent(cg.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def call(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


CLASSES = np.array([0, 2, 1, 1, 0], np.int32)
GRAPHS: dict[str, Callable[[], CallGraph]] = {
    "training of an MLP": lambda: trained(mlp, floats(5, 4), CLASSES, lambda p: optim.Adam(p, lr=1e-3),
                                          nn.CrossEntropyLoss()),
    "training of a conv net": lambda: trained(
        conv_net, floats(5, 1, 4, 4), CLASSES, lambda p: optim.SGD(p, lr=optim.Cosine(0.1, 10), momentum=0.9),
        nn.CrossEntropyLoss()),
    "training of an LSTM": lambda: trained(Recurrent, floats(5, 3, 4), CLASSES, lambda p: optim.RMSprop(p, lr=1e-2),
                                           nn.CrossEntropyLoss()),
    "training of a GPT": lambda: trained(
        lambda: models.GPT(vocabulary=7, context=4, width=8, layers=1, heads=2), np.ones((2, 4), np.int32),
        np.ones((2, 4), np.int32), lambda p: optim.AdamW(p, lr=1e-3, clip_norm=1.0), models.SequenceLoss()),
    "numbers and indices": lambda: expression(
        lambda x: ((x * 2.0 + 1 - True)[::2, None, ..., -1], op.where(x > 0.0, x, float("inf"))), floats(4, 3)),
    "complex": lambda: expression(lambda z: z * 1j + z, (floats(3) + 1j * floats(3)).astype(np.complex64)),
    "several outputs": lambda: expression(lambda x: tuple(op.split(x, 2, axis=0)), floats(4, 3)),
    "a loop": lambda: expression(
        lambda x: op.scan(lambda carry, row: (carry + row, carry * row), x[0], x)[1], floats(4, 3)),
    "a custom operator": lambda: expression(lambda x: Cube()(x) + 1.0, floats(4)),
    "an empty array": lambda: expression(lambda x: op.sum(x) + 1.0, floats(0, 3)),
    "narrow types": lambda: expression(
        lambda x, b, i: (x * 2.0, op.logical_not(b), i + i), floats(3).astype(jnp.bfloat16), np.array([True, False]),
        np.array([1, 200], np.uint8)),
}
