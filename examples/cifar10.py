"""Train a ResNet-20, or a ResNet of ImageNet's form, on CIFAR-10.

    python examples/cifar10.py --data DIR             (or ZKYNET_CIFAR10=DIR in the environment)
    python examples/cifar10.py --data DIR --quick     half as wide, 3 epochs: 6 minutes on 2 CPU cores, 71 %
    python examples/cifar10.py --data DIR --net resnet18      (or resnet34, resnet50: made for larger pictures)

The folder holds the python or binary batches of https://www.cs.toronto.edu/~kriz/cifar.html, or a folder of images for
each class (see `data.cifar10`). The full form is 60 epochs of width 16, 3 minutes each on 2 CPU cores: SGD with random
crops and flips as in He et al., "Deep residual learning for image recognition", 2016, section 4.2 (there 91.25 % after
64,000 steps), but one cycle of the learning rate, and 23,460 steps: 88.4 %, measured on JPEG copies of the pictures
(quality 75, colours at half the resolution), as is the figure above. Leaves in the output folder: curves.png, log.csv,
weights.safetensors, checkpoints/ (`--resume` goes on from the last).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from zkynet import data, models, nn, optim, train
from zkynet.framework import cg, op
from zkynet.framework.random_stream import RandomStream

NETS = {"resnet18": models.resnet18, "resnet34": models.resnet34, "resnet50": models.resnet50}
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)[:, None, None]  # of the training pictures
DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32)[:, None, None]


class Augment(cg.Module):
    """Pictures shifted by up to 4 pixels in both directions and mirrored at random, in training mode; part of the
    compiled step, so that they stay on the device."""

    def __init__(self, margin: int = 4, seed: int = 0):
        super().__init__()
        self.margin = margin
        self.stream = RandomStream("stream", seed)

    def call(self, images: Any) -> Any:
        if not self.training:
            return images
        (count, _, height, width), margin = images.shape, self.margin
        down, right = op.split(op.randint(self.stream.draw(), (count, 2), 0, 2 * margin + 1), 2, axis=1)
        mirrored = op.bernoulli(self.stream.draw(), 0.5, (count, 1))
        columns = np.arange(width, dtype=np.int32)
        rows = down + np.arange(height, dtype=np.int32)
        columns = right + op.where(mirrored, columns[::-1].copy(), columns)
        padded = op.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
        shifted = op.take_along_axis(padded, op.reshape(rows, shape=(count, 1, height, 1)), axis=2)
        return op.take_along_axis(shifted, op.reshape(columns, shape=(count, 1, 1, width)), axis=3)


def scaled(images: Any, labels: Any) -> tuple[Any, Any]:
    """uint8 to mean 0 and deviation 1 for each color."""
    return (images / 255.0 - MEAN) / DEVIATION, labels


def main(arguments: list[str] | None = None) -> float:
    """Train, and give the accuracy on the test set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ZKYNET_CIFAR10"), help="folder of CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="width 8, 3 epochs")
    parser.add_argument("--net", choices=["cifar", *NETS], default="cifar", help="cifar: of --depth and --width")
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--width", type=int, default=None, help="16; 8 with --quick")
    parser.add_argument("--epochs", type=int, default=None, help="60; 3 with --quick")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=["bfloat16"], default=None)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
    options = parser.parse_args(arguments)
    if options.data is None:
        raise SystemExit("no folder with CIFAR-10: give --data DIR, with what "
                         "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz unpacks to")
    start = time.perf_counter()
    training, test = (data.cifar10(options.data, part) for part in ("train", "test"))
    epochs, width = options.epochs or (3 if options.quick else 60), options.width or (8 if options.quick else 16)

    nn.manual_seed(options.seed)
    net = NETS[options.net](classes=10) if options.net in NETS else models.CifarResNet(options.depth, width=width)
    name = options.net if options.net in NETS else f"ResNet-{options.depth} of width {width}"
    schedule = optim.OneCycle(0.2, total_steps=epochs * -(-len(training) // options.batch))
    optimizer = optim.SGD(lr=schedule, momentum=0.9, nesterov=True, weight_decay=5e-4)
    trainer = train.Trainer(nn.Sequential(Augment(seed=options.seed), net), nn.CrossEntropyLoss(), optimizer,
                            metrics=["accuracy"], prepare=scaled, precision=options.precision, seed=options.seed)
    checkpoints = train.Checkpointer(options.out / "checkpoints")
    trainer.fit(training, validation=test, epochs=epochs, batch_size=options.batch,
                callbacks=[train.CSVLog(options.out / "log.csv"), train.Curves(options.out / "curves.png"),
                           checkpoints], resume=checkpoints if options.resume else None)
    accuracy = trainer.evaluate(test)["accuracy"]
    train.save_weights(net, options.out / "weights.safetensors")
    print(f"test accuracy {accuracy:.2%} after {epochs} epochs of {name}, {time.perf_counter() - start:.0f} s; "
          f"curves, weights and checkpoints are in {options.out}/")
    return accuracy


if __name__ == "__main__":
    main()
