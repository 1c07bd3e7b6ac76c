"""A transformer that sorts: ten digits in, the same digits in order out, all at once.

    python examples/sort_digits.py [--quick]

The net sees all digits at every place and says for each place of the sorted row which digit stands there. Trained on
random rows; tested on others that were not among them. A row counts as right only if all of it is. Leaves in the output
folder: curves.png, weights.safetensors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from zkynet import models, nn, optim, train
from zkynet.framework import cg


class Sorter(cg.Module):
    """Digits (batch, length) to logits (batch, length, 10) of the sorted row, by a transformer encoder."""

    def __init__(self, length: int, width: int, layers: int, heads: int = 4):
        super().__init__()
        self.embedding = nn.Embedding(10, width)
        self.positions = nn.LearnedPositions(length, width, batch_first=True)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
                                           norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, 10)

    def call(self, digits: Any) -> Any:
        return self.head(self.encoder(self.positions(self.embedding(digits))))


def main(arguments: list[str] | None = None) -> float:
    """Train, show some rows, and give the share of test rows that are sorted without a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six digits, fewer rows")
    parser.add_argument("--length", type=int, default=None, help="10; 6 with --quick")
    parser.add_argument("--rows", type=int, default=None, help="of training: 40,000; 8,000 with --quick")
    parser.add_argument("--epochs", type=int, default=None, help="10; 4 with --quick")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/sort_digits"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    length, epochs = options.length or (6 if options.quick else 10), options.epochs or (4 if options.quick else 10)
    count = options.rows or (8_000 if options.quick else 40_000)
    rng = np.random.default_rng(options.seed)
    rows = np.unique(rng.integers(0, 10, (count + 2_000, length)).astype(np.int32), axis=0)
    rows = rng.permutation(rows)  # all different, so that no test row was trained on
    training, test = rows[:-1_500], rows[-1_500:]

    nn.manual_seed(options.seed)
    net = Sorter(length, options.width, layers=2)
    schedule = optim.OneCycle(3e-3, total_steps=epochs * -(-len(training) // 64))
    trainer = train.Trainer(net, models.SequenceLoss(), optim.Adam(lr=schedule, clip_norm=1.0), metrics=["accuracy"],
                            seed=options.seed)
    trainer.fit((training, np.sort(training, axis=1)), validation=(test, np.sort(test, axis=1)), epochs=epochs,
                batch_size=64, callbacks=[train.Curves(options.out / "curves.png")])
    said = trainer.predict(test).argmax(-1)
    exact = float((said == np.sort(test, axis=1)).all(axis=1).mean())
    train.save_weights(net, options.out / "weights.safetensors")
    for row, answer in zip(test[:5], said, strict=False):
        print(" ".join(map(str, row)), " -> ", " ".join(map(str, answer)))
    already = float((test == np.sort(test, axis=1)).all(axis=1).mean())
    print(f"{exact:.2%} of {len(test)} new rows sorted exactly ({already:.2%} were in order before); "
          f"{time.perf_counter() - start:.0f} s, results are in {options.out}/")
    return exact


if __name__ == "__main__":
    main()
