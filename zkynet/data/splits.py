"""Splits of a data set by seed, which can be saved and found again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..framework.errors import InputError
from .dataset import Subset, as_dataset, fingerprint, in_memory
from .draws import epoch_order
from .errors import DataError
from .transforms import Mapped

FORMAT = "zkynet split 1"


class Splits(dict[str, Subset]):
    """Parts of one data set by name. `save(path)` writes the indices as JSON; `Splits.load(path, dataset)` reads them.

    Attributes:
        dataset: what was split.
        seed: with which.
    """

    def __init__(self, dataset: Any, parts: Mapping[str, np.ndarray], seed: int = 0) -> None:
        self.dataset, self.seed = as_dataset(dataset), int(seed)
        super().__init__({name: Subset(self.dataset, indices) for name, indices in parts.items()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the indices, and what tells the data set from another. An existing file is replaced at once or not."""
        content = {"format": FORMAT, "length": len(self.dataset), "fingerprint": fingerprint(self.dataset),
                   "seed": self.seed, "splits": {name: part.indices.tolist() for name, part in self.items()}}
        file = Path(path)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")  # tempfile's are readable for nobody else
        try:
            part.write_text(json.dumps(content), encoding="utf-8")
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], dataset: Any) -> Splits:
        """The splits in a file, of the same data set.

        Raises:
            DataError: a damaged file, or a data set of another length or fingerprint.
        """
        dataset = as_dataset(dataset)
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            parts = {str(name): np.asarray(indices) for name, indices in content["splits"].items()}
            length, seen, seed = int(content["length"]), content["fingerprint"], int(content["seed"])
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            raise DataError(f"{path}: not a file of splits ({type(error).__name__}: {error})") from error
        if length != len(dataset):
            raise DataError(f"{path}: splits of {length} examples; this data set has {len(dataset)}")
        if seen != fingerprint(dataset):
            raise DataError(f"{path}: splits of another data set of the same length (or its files or values changed)")
        try:
            return cls(dataset, parts, seed)
        except InputError as error:
            raise DataError(f"{path}: {error}") from error


def split(dataset: Any, fractions: Mapping[str, float], seed: int = 0, stratify: Any = None) -> Splits:
    """Parts of a data set, drawn at random by seed; no example is in two.

    Args:
        dataset: any data set.
        fractions: of each part by name, for instance {"train": 0.8, "validation": 0.15, "development": 0.05}. Together
            at most 1; what is left is in no part. Counts are rounded so that they add up.
        seed: another one gives other parts.
        stratify: True for parts with the same proportions of each class: by the labels of the data set (its `labels`,
            or its last array), or by the labels given here, (N,).

    Raises:
        InputError: fractions that are no fractions, a part that would be empty, labels of another length.

    >>> parts = split(np.arange(100), {"train": 0.8, "validation": 0.15, "development": 0.05}, seed=1)
    >>> {name: len(part) for name, part in parts.items()}
    {'train': 80, 'validation': 15, 'development': 5}
    """
    dataset = as_dataset(dataset)
    counts = _counts(len(dataset), fractions)
    order = epoch_order(len(dataset), seed, epoch=-1)
    if stratify is not None and stratify is not False:
        labels = _labels(dataset) if stratify is True else np.asarray(stratify)
        if labels.shape != (len(dataset),):
            raise InputError(f"split: expected a label for each of {len(dataset)} examples; got shape {labels.shape}")
        order = order[np.argsort(labels[order], kind="stable")]
    parts = {}
    # Evenly spaced places of the order, which has each class in one piece: every class gets its proportion.
    for name, count in counts.items():
        places = np.arange(len(order))
        taken = (places + 1) * count // max(len(order), 1) > places * count // max(len(order), 1)
        parts[name] = np.sort(order[taken])
        order = order[~taken]
    return Splits(dataset, parts, seed)


def _counts(length: int, fractions: Mapping[str, float]) -> dict[str, int]:
    values = np.array(list(fractions.values()), float)
    if not len(values) or not (values > 0).all() or values.sum() > 1 + 1e-9:
        raise InputError(f"split: expected positive fractions of together at most 1; got {dict(fractions)}")
    exact = values * length
    counts = np.floor(exact + 1e-9).astype(int)
    # The largest remainders get what rounding down has left over.
    over = round(exact.sum()) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:over]] += 1
    if not counts.all():
        empty = list(fractions)[int(counts.argmin())]
        raise InputError(f"split: {empty!r} would be empty: {fractions[empty]} of {length} examples")
    return dict(zip(fractions, counts.tolist(), strict=True))


def _labels(dataset: Any) -> np.ndarray:
    if hasattr(dataset, "labels"):
        return dataset.labels
    if isinstance(dataset, Subset):
        return _labels(dataset.dataset)[dataset.indices]
    if isinstance(dataset, Mapped):
        return _labels(dataset.dataset)
    arrays = in_memory(dataset, limit=2**62)
    if arrays is None or len(arrays.arrays) < 2:
        raise InputError("split: stratify=True needs a data set in memory with labels as its last array, or with an "
                         "attribute labels; give the labels as stratify=")
    return arrays.arrays[-1]
