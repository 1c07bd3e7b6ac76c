"""MNIST (and what has its forms: Fashion-MNIST, KMNIST, ...): idx files, the Kaggle csv, or a folder of images."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from itertools import chain
from pathlib import Path

import numpy as np

from ..framework.errors import InputError
from .dataset import ArrayDataset
from .errors import DataError
from .images import ImageFolder

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
PREFIXES = {"train": "train", "test": "t10k"}
DIGITS = tuple("0123456789")


def mnist(root: str | os.PathLike[str], split: str = "train") -> ArrayDataset:
    """MNIST from a folder, in whichever form is found there: uint8 images (N, 1, 28, 28) and int32 digits (N,).

    | form | files |
    |---|---|
    | idx | `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...`; also .gz, also in `raw` or `MNIST/raw` |
    | Kaggle | `train.csv` with a column `label` and 784 pixels; its `test.csv` has no labels: images alone |
    | folder | `train/7/00015.png`, `test/...`; a digit without a folder has no images |

    Args:
        root: the folder (or the one above `mnist`).
        split: "train" or "test".

    Raises:
        DataError: none of the forms, a damaged file, or a sub-folder that is no digit.
        InputError: another split.

    >>> mnist("datasets/mnist")  # doctest: +SKIP
    ArrayDataset(uint8[60000, 1, 28, 28], int32[60000])
    """
    if split not in PREFIXES:
        raise InputError(f"mnist: expected split 'train' or 'test'; got {split!r}")
    root = Path(root)
    for folder in (root, root / "raw", root / "MNIST" / "raw", root / "mnist"):
        images, labels = (_idx_file(folder, PREFIXES[split], kind) for kind in ("images-idx3", "labels-idx1"))
        if images and labels:
            return _from_idx(images, labels)
        if (folder / f"{split}.csv").is_file():
            return _from_kaggle(folder / f"{split}.csv")
        if (folder / split).is_dir():
            return ImageFolder(folder / split, mode="gray", size=28, classes=DIGITS).load_all()
    raise DataError(f"{root}: found none of {PREFIXES[split]}-images-idx3-ubyte(.gz) with its labels, {split}.csv, and "
                    f"a folder {split}/ with a sub-folder for each digit")


def idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an idx file, gzip-compressed or not (http://yann.lecun.com/exdb/mnist: the format's description).

    Raises:
        DataError: no idx file, or one of another length than its header says.
    """
    name = os.fspath(path)
    try:
        with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as file:
            data = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: a damaged gzip file ({error})") from error
    kind, rank = (data[2], data[3]) if data[:2] == b"\0\0" and len(data) >= 4 else (0, 0)
    start = 4 + 4 * rank
    if kind not in IDX_TYPES or not rank or len(data) < start:
        raise DataError(f"{name}: not an idx file; it begins with {data[:4]!r}")
    shape = tuple(np.frombuffer(data, ">u4", rank, 4).tolist())
    dtype = np.dtype(IDX_TYPES[kind])
    if len(data) - start != math.prod(shape) * dtype.itemsize:
        raise DataError(f"{name}: expected {math.prod(shape) * dtype.itemsize} bytes of data for shape {shape}; got "
                        f"{len(data) - start}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _idx_file(folder: Path, prefix: str, kind: str) -> Path | None:
    names = [f"{prefix}-{kind}-ubyte", f"{prefix}-{kind.replace('-idx', '.idx')}-ubyte"]
    return next((path for name in names for end in ("", ".gz") if (path := folder / (name + end)).is_file()), None)


def _from_idx(images: Path, labels: Path) -> ArrayDataset:
    x, y = idx(images), idx(labels)
    if x.ndim != 3 or y.shape != x.shape[:1]:
        raise DataError(f"{images}: expected images (N, height, width) and as many labels; got {x.shape} and {y.shape}")
    return ArrayDataset(x[:, None], y.astype(np.int32), classes=DIGITS)


def _kaggle_table(path: Path) -> tuple[list[str], np.ndarray]:
    """The names in the header, and the rows below it."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = file.readline().strip().split(",")
            rows = (row for row in file if not row.isspace())
            first = next(rows, None)
            if first is None:  # of which loadtxt would warn
                return names, np.empty((0, len(names)), np.uint8)
            return names, np.loadtxt(chain([first], rows), np.uint8, comments=None, delimiter=",", ndmin=2)
    except ValueError as error:  # also of bytes that are no text
        raise DataError(f"{path}: {error} (rows counted after the header)") from error


def _from_kaggle(path: Path) -> ArrayDataset:
    names, table = _kaggle_table(path)
    pixels = len(names) - (names[0] == "label")
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise DataError(f"{path}: expected the columns label, pixel0, pixel1, ... of square images; got {len(names)} "
                        f"columns from {names[0]!r}")
    if not len(table):
        raise DataError(f"{path}: there is no row of values")
    if table.shape[1] != len(names):
        raise DataError(f"{path}: expected {len(names)} values in a row, as in the header; got {table.shape[1]}")
    x = np.ascontiguousarray(table[:, len(names) - pixels:]).reshape(-1, 1, side, side)
    if len(names) == pixels:
        return ArrayDataset(x)
    return ArrayDataset(x, table[:, 0].astype(np.int32), classes=DIGITS if table[:, 0].max(initial=0) < 10 else None)
