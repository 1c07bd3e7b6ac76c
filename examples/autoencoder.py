"""Squeeze pictures of digits through a few numbers and back, and save what becomes of them.

    python examples/autoencoder.py                     scikit-learn's 1,797 digits of 8 x 8 pixels
    python examples/autoencoder.py --data DIR          MNIST (or ZKYNET_MNIST=DIR; see mnist.py)
    python examples/autoencoder.py --vae               variational: draws new digits, too

Compared by the mean squared error of held-out pixels with two baselines: the mean picture, and as many principal
components as the code has numbers. Leaves in the output folder: reconstructions.png, curves.png, weights.safetensors.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from zkynet import data, models, nn, optim, train

matplotlib.use("Agg")


def load(folder: str | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 1, height, width) in [0, 1], for training and held out."""
    if folder is not None:
        return tuple(data.mnist(folder, part).arrays[0] / np.float32(255) for part in ("train", "test"))  # pyright: ignore[reportReturnType]
    images = data.sklearn("digits").arrays[0].reshape(-1, 1, 8, 8) / np.float32(16)
    parts = data.split(images, {"train": 0.75, "test": 0.25}, seed=seed)
    return images[parts["train"].indices], images[parts["test"].indices]


def error_of_components(training: np.ndarray, test: np.ndarray, count: int) -> float:
    """Mean squared error of what `count` principal components of the training pictures keep."""
    x, y = (a.reshape(len(a), -1).astype(np.float64) for a in (training, test))
    mean = x.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(x.T))
    kept = vectors[:, -count:] if count else vectors[:, :0]
    return float(np.mean((y - mean - (y - mean) @ kept @ kept.T) ** 2))


def probabilities(output: Any) -> np.ndarray:
    """Pictures from the logits of either net."""
    return 1.0 / (1.0 + np.exp(-np.asarray(output[0] if isinstance(output, tuple) else output)))


def save_picture(rows: dict[str, np.ndarray], path: Path) -> None:
    """Rows of pictures, one above the other, with a name each."""
    from matplotlib import pyplot

    columns = min(len(pictures) for pictures in rows.values())
    figure, panels = pyplot.subplots(len(rows), columns, figsize=(0.75 * columns + 1.2, 0.8 * len(rows)),
                                     squeeze=False)
    for (name, pictures), line in zip(rows.items(), panels, strict=True):
        line[0].text(-0.25, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
        for picture, panel in zip(pictures, line, strict=False):
            panel.imshow(picture[0], cmap="gray", vmin=0.0, vmax=1.0)
            panel.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Train, save the pictures, and give the mean squared error on held-out pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZKYNET_MNIST"), help="folder of MNIST")
    parser.add_argument("--vae", action="store_true", help="a variational autoencoder")
    parser.add_argument("--latent", type=int, default=None, help="numbers of the code: 8, 16 for MNIST")
    parser.add_argument("--quick", action="store_true", help="a fifth of the epochs")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/autoencoder"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    training, test = load(options.data, options.seed)
    large = training.shape[-1] > 8
    latent = options.latent or (16 if large else 8)
    epochs = options.epochs or (20 if large else 150) // (5 if options.quick else 1)

    nn.manual_seed(options.seed)
    net = (models.VAE if options.vae else models.Autoencoder)(training.shape[1:], latent, (256, 128), "relu")
    batch = 128 if large else 32
    schedule = optim.OneCycle(2e-3, total_steps=epochs * -(-len(training) // batch))
    trainer = train.Trainer(net, models.VAELoss() if options.vae else nn.BCEWithLogitsLoss(), optim.Adam(lr=schedule),
                            prepare=lambda images: (images, images), seed=options.seed)
    trainer.fit((training,), validation=(test,), epochs=epochs, batch_size=batch,
                callbacks=[train.Curves(options.out / "curves.png")])
    back = probabilities(trainer.predict(test))
    error = float(np.mean((back - test) ** 2))
    shown = np.random.default_rng(options.seed).permutation(len(test))[:16]
    rows = {"held out": test[shown], "through the code": back[shown]}
    if isinstance(net, models.VAE):
        rows["newly drawn"] = np.asarray(net.generate(16).value)
    save_picture(rows, options.out / "reconstructions.png")
    train.save_weights(net, options.out / "weights.safetensors")
    print(f"mean squared error {error:.4f} with a code of {latent} numbers; {latent} principal components "
          f"{error_of_components(training, test, latent):.4f}, the mean picture "
          f"{error_of_components(training, test, 0):.4f}; {time.perf_counter() - start:.0f} s, "
          f"pictures are in {options.out}/")
    return error


if __name__ == "__main__":
    main()
