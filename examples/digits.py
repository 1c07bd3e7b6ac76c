"""Train a small convolutional net on real handwritten digits, with nothing but graphs and operators.

    python examples/digits.py [--epochs 30] [--out runs/digits]

scikit-learn's 1,797 digits of 8 x 8 pixels; a quarter is held out. One training step (forward, backward, Adam
update) is one compiled program. Leaves in the output folder: graph.svg, the picture of the loss's graph;
curve.png, loss and accuracy by epoch; parameters.npz, the trained arrays by name.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import zkynet
from zkynet.framework import cg, op
from zkynet.visual import plot_cg

matplotlib.use("Agg")


class Layer(cg.Module):
    """A weight and a bias; He et al. 2015 initialisation for rectified layers."""

    def __init__(self, rng: np.random.Generator, *shape: int):
        fan_in = int(np.prod(shape[1:]))
        weight = rng.normal(0.0, np.sqrt(2.0 / fan_in), shape).astype(np.float32)
        super().__init__(params=(cg.Parameter("weight", weight), cg.Parameter("bias", np.zeros(shape[0], np.float32))))


class Conv(Layer):
    """A 3 x 3 convolution, rectified, then the maximum of every 2 x 2 pixels."""

    def call(self, x: Any) -> Any:
        maps = op.conv2d(x, self.param("weight"), self.param("bias"), padding=1)
        return op.max_pool2d(op.relu(maps), 2)


class Dense(Layer):
    def call(self, x: Any) -> Any:
        return x @ op.transpose(self.param("weight")) + self.param("bias")


class Net(cg.Module):
    """Images (n, 1, 8, 8) to logits (n, 10)."""

    def __init__(self, seed: int):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.conv1 = Conv(rng, 16, 1, 3, 3)
        self.conv2 = Conv(rng, 32, 16, 3, 3)
        self.dense = Dense(rng, 10, 128)

    def call(self, images: Any) -> Any:
        return self.dense(op.flatten(self.conv2(self.conv1(images)), 1))


class Loss(cg.Module):
    """Mean cross entropy of the net's logits with the labels (class numbers)."""

    def __init__(self, net: Net):
        super().__init__()
        self.net = net

    def call(self, images: Any, labels: Any) -> Any:
        log_probabilities = op.log_softmax(self.net(images), axis=-1)
        return -op.mean(op.sum(log_probabilities * op.one_hot(labels, 10), axis=-1))


class Adam:
    """Kingma & Ba, "Adam", 2015, algorithm 1. Its moments are states that every step updates."""

    def __init__(self, parameters: list[cg.Parameter]):
        self.slots = [(p, cg.State("m", np.zeros(p.shape, p.dtype)), cg.State("v", np.zeros(p.shape, p.dtype)))
                      for p in parameters]
        self.count = cg.State("count", 0.0)

    def update(self, gradients: list[Any], rate: Any) -> None:
        self.count.value = count = self.count + 1.0
        scale = rate * op.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        for (parameter, m, v), g in zip(self.slots, gradients, strict=True):
            m.value = m_new = m * 0.9 + g * 0.1
            v.value = v_new = v * 0.999 + op.square(g) * 0.001
            parameter.value = parameter - scale * m_new / (op.sqrt(v_new) + 1e-8)


def load(seed: int) -> list[Any]:
    """Training and test images and labels."""
    digits: Any = load_digits()
    images = (digits.images[:, None] / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int32)
    return train_test_split(images, labels, test_size=0.25, random_state=seed, stratify=labels)


def train(net: Net, data: list[Any], epochs: int, batch: int = 32, rate: float = 3e-3,
          seed: int = 0) -> list[tuple[float, float]]:
    """Mean loss and test accuracy after every epoch."""
    train_x, test_x, train_y, test_y = data
    loss, parameters = Loss(net), net.parameters()
    adam = Adam(parameters)
    gradient = zkynet.value_and_grad(loss, wrt=parameters)

    @zkynet.compile
    def step(images: Any, labels: Any, rate: Any) -> Any:
        value, gradients = gradient(images, labels)
        adam.update(gradients, rate)
        return value

    @zkynet.compile
    def predict(images: Any) -> Any:
        return op.argmax(net(images), axis=-1)

    rng = np.random.default_rng(seed)
    history = []
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("digits", total=epochs, state="compiling")
        for epoch in range(epochs):
            order = rng.permutation(len(train_x))[: len(train_x) // batch * batch].reshape(-1, batch)
            slower = rate * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))  # compiles nothing: the rate is an input
            losses = [step(train_x[rows], train_y[rows], float(slower)) for rows in order]
            accuracy = float(np.mean(np.asarray(predict(test_x)) == test_y))
            history.append((float(np.mean([float(value) for value in losses])), accuracy))
            progress.update(task, advance=1, state=f"loss {history[-1][0]:.4f}, test accuracy {accuracy:.1%}")
    return history


def save(net: Net, data: list[Any], history: list[tuple[float, float]], out: Path) -> None:
    """The graph's picture, the curve and the trained parameters."""
    from matplotlib import pyplot

    out.mkdir(parents=True, exist_ok=True)
    result = Loss(net)(data[0][:32], data[2][:32])
    plot_cg(result, save_path=out / "graph.svg", title="Digits: the graph of the loss", quiet=True)
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in net.state_dict().items()}
    np.savez(out / "parameters.npz", **arrays)
    losses, accuracies = zip(*history, strict=True)
    figure, left = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    epochs = range(1, len(history) + 1)
    left.plot(epochs, losses, color="tab:blue")
    left.set(xlabel="epoch", yscale="log")
    left.set_ylabel("training loss", color="tab:blue")
    right = left.twinx()
    right.plot(epochs, accuracies, color="tab:orange")
    right.set_ylabel("test accuracy", color="tab:orange")
    figure.savefig(out / "curve.png", dpi=150)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    data = load(options.seed)
    net = Net(options.seed)
    history = train(net, data, options.epochs, seed=options.seed)
    save(net, data, history, options.out)
    print(f"test accuracy {history[-1][1]:.2%} after {options.epochs} epochs, {time.perf_counter() - start:.1f} s; "
          f"picture, curve and parameters are in {options.out}/")
    return history[-1][1]


if __name__ == "__main__":
    main()
