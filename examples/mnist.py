"""Train LeNet on MNIST: 99 % of the test digits and more, in a few minutes on two cores.

    python examples/mnist.py --data datasets/mnist     (or ZKYNET_MNIST=... in the environment)
    python examples/mnist.py --digits                  scikit-learn's 1,797 small digits instead; nothing to download

The folder may hold the idx files, the Kaggle csv or a folder of images for each digit (see `data.mnist`). `--quick`
takes a quarter of the epochs. Leaves in the output folder: curves.png, loss and accuracy by epoch; log.csv;
weights.safetensors.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from zkynet import data, models, nn, optim, train

HELP = """there is no folder with MNIST. Any of these will do:
  bash download_datasets.sh mnist     (needs a Kaggle account), then   python examples/mnist.py --data datasets/mnist
  python examples/mnist.py --data DIR   with a folder of the idx files, or of images by digit
  python examples/mnist.py --digits     for the small digits that come with scikit-learn"""


def load(folder: Path, seed: int) -> tuple[Any, Any]:
    """Training and test sets of MNIST: uint8 images (N, 1, 28, 28), and their digits."""
    training = data.mnist(folder, "train")
    if (folder / "train.csv").is_file():  # Kaggle's test pictures have no labels: a seventh of the others is held out
        return parts_of(training, seed, 6 / 7)
    return training, data.mnist(folder, "test")


def load_small(seed: int) -> tuple[Any, Any]:
    """Training and test sets of scikit-learn's digits, of 8 x 8 pixels made three times as large, with a margin."""
    digits = data.sklearn("digits")
    images = np.kron(digits.arrays[0].reshape(-1, 1, 8, 8), np.ones((1, 1, 3, 3))) * (255 / 16)
    images = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))).astype(np.uint8)
    return parts_of(data.ArrayDataset(images, digits.arrays[1]), seed, 0.75)


def parts_of(whole: data.ArrayDataset, seed: int, share: float) -> tuple[Any, Any]:
    parts = data.split(whole, {"train": share, "test": 1.0 - share}, seed=seed, stratify=True)
    return parts["train"], parts["test"]


def scaled(images: Any, labels: Any) -> tuple[Any, Any]:
    """uint8 to mean 0 and deviation 1 (MNIST's); compiled with the step, so that pictures stay small in memory."""
    return (images / 255.0 - 0.1307) / 0.3081, labels


def main(arguments: list[str] | None = None) -> float:
    """Train, and give the accuracy on the test set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZKYNET_MNIST"), help="folder of MNIST")
    parser.add_argument("--digits", action="store_true", help="scikit-learn's digits instead of MNIST")
    parser.add_argument("--quick", action="store_true", help="a quarter of the epochs")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    if options.digits:
        training, test = load_small(options.seed)
    elif options.data is None:
        raise SystemExit(HELP)
    else:
        training, test = load(Path(options.data), options.seed)
    epochs = options.epochs or (16 if options.digits else 8) // (4 if options.quick else 1)

    nn.manual_seed(options.seed)
    net = models.LeNet()
    schedule = optim.OneCycle(5e-3, total_steps=epochs * -(-len(training) // options.batch))
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.AdamW(lr=schedule, weight_decay=1e-2),
                            metrics=["accuracy"], prepare=scaled, seed=options.seed)
    trainer.fit(training, validation=test, epochs=epochs, batch_size=options.batch,
                callbacks=[train.CSVLog(options.out / "log.csv"), train.Curves(options.out / "curves.png")])
    accuracy = trainer.evaluate(test)["accuracy"]
    train.save_weights(net, options.out / "weights.safetensors")
    print(f"test accuracy {accuracy:.2%} on {len(test)} digits after {epochs} epochs, "
          f"{time.perf_counter() - start:.0f} s; curves and weights are in {options.out}/")
    return accuracy


if __name__ == "__main__":
    main()
