"""MNIST and CIFAR-10 themselves: where ZKYNET_MNIST and ZKYNET_CIFAR10 say, in whichever form; skipped without."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from zkynet import data

SETS = {"ZKYNET_MNIST": (data.mnist, "gray", (1, 28, 28), {"train": 60_000, "test": 10_000}),
        "ZKYNET_CIFAR10": (data.cifar10, "rgb", (3, 32, 32), {"train": 50_000, "test": 10_000})}


@pytest.fixture(params=SETS)
def real(request: pytest.FixtureRequest):
    if not os.environ.get(request.param):
        pytest.skip(f"set {request.param} to the folder of the real data set to run this")
    return Path(os.environ[request.param]), *SETS[request.param]


def test_the_whole_set(real):
    root, read, _, shape, lengths = real
    for split, length in lengths.items():
        x, y = read(root, split).arrays
        assert x.shape == (length, *shape) and x.dtype == np.uint8
        counts = np.bincount(y, minlength=10)
        assert len(counts) == 10 and counts.min() > 0.08 * length
        # What an image looks like on average tells its class better than chance.
        small = x[:, :, 2::4, 2::4].reshape(length, -1).astype(np.float32)
        means = np.stack([small[y == c].mean(0) for c in range(10)])
        nearest = (np.square(means).sum(1) - 2 * small @ means.T).argmin(1)
        assert (nearest == y).mean() > 0.2


def test_streamed_by_workers(real):
    """One epoch of the folder form, read by workers, is what reading it whole gives."""
    root, read, mode, shape, _ = real
    if not (root / "test").is_dir():
        pytest.skip(f"{root} holds no folder of images")
    images = data.ImageFolder(root / "test", mode=mode)
    whole = images.load_all()
    loader = data.Loader(images, 500, shuffle=True, workers=2, device="host")
    for start, (x, y) in zip(range(0, len(images), 500), loader, strict=True):
        part = loader.order(0)[start:start + 500]
        np.testing.assert_array_equal(x, whole.arrays[0][part])
        np.testing.assert_array_equal(y, whole.arrays[1][part])
    loader.close()
