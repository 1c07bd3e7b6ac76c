"""An LSTM that remembers: the adding problem.

    python examples/sequence.py [--quick]

Each step of a sequence has a random number in [0, 1] and a mark, which is 1 at two steps, one in each half, and 0
elsewhere. What is wanted at the end is the sum of the two marked numbers (Hochreiter and Schmidhuber, "Long short-term
memory", 1997, experiment 4, in the form of Le et al., 2015). Always saying 1, the mean, has a mean squared error of
1/6 = 0.167: a net that is better has kept something over many steps. Leaves in the output folder: curves.png,
weights.safetensors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from zkynet import nn, optim, train
from zkynet.framework import cg


class Adder(cg.Module):
    """Sequences (batch, steps, 2) to one number each, (batch, 1), from the last state of an LSTM."""

    def __init__(self, width: int):
        super().__init__()
        self.recurrent = nn.LSTM(2, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def call(self, x: Any) -> Any:
        outputs, _ = self.recurrent(x)
        return self.head(outputs[:, -1])


def examples(rng: np.random.Generator, count: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences and their sums."""
    numbers, marks, rows = rng.random((count, steps)), np.zeros((count, steps)), np.arange(count)
    marks[rows, rng.integers(0, steps // 2, count)] = 1.0
    marks[rows, rng.integers(steps // 2, steps, count)] = 1.0
    x = np.stack([numbers, marks], axis=-1).astype(np.float32)
    return x, (numbers * marks).sum(axis=1, keepdims=True).astype(np.float32)


def main(arguments: list[str] | None = None) -> float:
    """Train, and give the mean squared error on new sequences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 steps, fewer epochs")
    parser.add_argument("--steps", type=int, default=None, help="of a sequence: 100; 20 with --quick")
    parser.add_argument("--epochs", type=int, default=None, help="20; 8 with --quick")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/sequence"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    steps, epochs = options.steps or (20 if options.quick else 100), options.epochs or (8 if options.quick else 20)
    rng = np.random.default_rng(options.seed)
    training, test = examples(rng, 5_000 if options.quick else 20_000, steps), examples(rng, 1_000, steps)

    nn.manual_seed(options.seed)
    net = Adder(options.width)
    schedule = optim.OneCycle(1e-2, total_steps=epochs * -(-len(training[0]) // 64))
    trainer = train.Trainer(net, nn.MSELoss(), optim.Adam(lr=schedule, clip_norm=1.0), seed=options.seed)
    trainer.fit(training, validation=test, epochs=epochs, batch_size=64,
                callbacks=[train.Curves(options.out / "curves.png")])
    error = trainer.evaluate(test)["loss"]
    train.save_weights(net, options.out / "weights.safetensors")
    print(f"mean squared error {error:.5f} over {steps} steps; always saying 1 has "
          f"{float(np.mean((test[1] - 1.0) ** 2)):.5f}; {time.perf_counter() - start:.0f} s, results are in "
          f"{options.out}/")
    return error


if __name__ == "__main__":
    main()
