"""CIFAR-10: the python batches (read without unpickling), the binary ones, or a folder of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..framework.errors import InputError
from .dataset import ArrayDataset
from .errors import DataError
from .images import ImageFolder
from .plain_pickle import read_plain_pickle

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


def cifar10(root: str | os.PathLike[str], split: str = "train") -> ArrayDataset:
    """CIFAR-10 from a folder, in whichever form is found there: uint8 images (N, 3, 32, 32) and int32 classes (N,).

    | form | files |
    |---|---|
    | python | `data_batch_1` ... `data_batch_5`, `test_batch`; also in `cifar-10-batches-py` |
    | binary | `data_batch_1.bin` ..., `test_batch.bin`; also in `cifar-10-batches-bin` |
    | folder | `train/cat/1.jpg`, `test/...`; also in `cifar10`; a class without a folder has no images |

    The python batches are pickles. They are read by `read_plain_pickle`, which executes nothing that a file says.

    Raises:
        DataError: none of the forms, a batch that is not there, a damaged file, or a sub-folder of another name.
        InputError: another split.

    >>> cifar10("datasets/cifar10", "test")  # doctest: +SKIP
    ArrayDataset(uint8[10000, 3, 32, 32], int32[10000])
    """
    if split not in BATCHES:
        raise InputError(f"cifar10: expected split 'train' or 'test'; got {split!r}")
    root = Path(root)
    for folder in (root, root / "cifar-10-batches-py", root / "cifar-10-batches-bin", root / "cifar10"):
        for end, read in (("", _python_batch), (".bin", _binary_batch)):
            paths = [folder / f"{name}{end}" for name in BATCHES[split]]
            if any(path.is_file() for path in paths):
                return _joined(paths, read)
        if (folder / split).is_dir():
            return ImageFolder(folder / split, mode="rgb", size=32, classes=CLASSES).load_all()
    raise DataError(f"{root}: found none of {BATCHES[split][0]}, {BATCHES[split][0]}.bin, and a folder {split}/ with a "
                    "sub-folder for each class")


def _joined(paths: list[Path], read: Any) -> ArrayDataset:
    if absent := [path.name for path in paths if not path.is_file()]:
        raise DataError(f"{paths[0].parent}: {', '.join(absent)} missing beside others; is the download complete?")
    images, labels = zip(*(read(path) for path in paths), strict=True)
    y = np.concatenate(labels).astype(np.int32)
    if y.min(initial=0) < 0 or y.max(initial=0) >= len(CLASSES):
        raise DataError(f"{paths[0].parent}: expected classes 0 to 9; got {y.min()} to {y.max()}")
    return ArrayDataset(np.concatenate(images).reshape(-1, *SHAPE), y, classes=CLASSES)


def _python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = read_plain_pickle(path.read_bytes(), str(path))
    found = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()} if isinstance(batch, dict) else {}
    x, y = found.get("data"), found.get("labels")
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != PIXELS:
        raise DataError(f"{path}: expected a dict whose 'data' are uint8 (N, {PIXELS}); got the keys {sorted(found)}")
    if not isinstance(y, list) or len(y) != len(x) or not all(type(label) is int for label in y):
        raise DataError(f"{path}: expected 'labels' to be a list of {len(x)} class numbers")
    return x, np.array(y)


def _binary_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = np.fromfile(path, np.uint8)
    if not len(data) or len(data) % (PIXELS + 1):
        raise DataError(f"{path}: expected records of {PIXELS + 1} bytes; got {len(data)} bytes")
    records = data.reshape(-1, PIXELS + 1)
    return records[:, 1:], records[:, 0]
