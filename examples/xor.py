"""Exclusive or, in the define-by-run loop: every call makes a fresh graph, every step is one compiled program.

    python examples/xor.py
"""

from __future__ import annotations

import argparse

import numpy as np

from zkynet import models, nn, optim
from zkynet.framework import op


def main(arguments: list[str] | None = None) -> float:
    """Train a net of 2, 8 and 1 units, print its decisions, and give the last loss."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    nn.manual_seed(options.seed)
    net = models.MLP([2, 8, 1], "tanh")
    loss_of = nn.BCEWithLogitsLoss()
    opt = optim.Adam(net.parameters(), lr=0.03)
    for step in range(options.steps):
        loss = loss_of(net(x), y)
        opt.step(loss)
        if step % 100 == 0:
            print(f"step {step:4d}   loss {float(loss.value):.4f}")

    last = float(loss_of(net(x), y).value)
    print(f"loss {last:.4f}; always saying 1/2 gives {np.log(2):.4f}\n\n a  b   P(a xor b)   decision")
    for (a, b), p in zip(x, np.asarray(op.sigmoid(net(x)).value)[:, 0], strict=True):
        print(f" {a:.0f}  {b:.0f}   {p:10.3f}   {int(p > 0.5):8d}")
    return last


if __name__ == "__main__":
    main()
