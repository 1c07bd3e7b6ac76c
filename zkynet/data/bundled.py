"""The small data sets that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from ..framework.errors import InputError
from .dataset import ArrayDataset

NAMES = ("iris", "digits", "wine", "breast_cancer", "diabetes")


def sklearn(name: str) -> ArrayDataset:
    """One of scikit-learn's bundled sets by name: iris, digits, wine, breast_cancer (classes) or diabetes (regression).

    Features are float32 (N, columns) as scikit-learn gives them. The target is int32 (N,) with names in `classes`; that
    of diabetes is float32 (N, 1), of the shape that a net with one output gives.

    Raises:
        InputError: another name. ImportError: scikit-learn is not installed.

    >>> sklearn("digits")
    ArrayDataset(float32[1797, 64], int32[1797])
    """
    if name not in NAMES:
        raise InputError(f"sklearn: expected one of {', '.join(NAMES)}; got {name!r}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError("data.sklearn needs scikit-learn: pip install scikit-learn") from error
    found = getattr(datasets, f"load_{name}")()
    x, names = np.asarray(found.data, np.float32), [str(n) for n in found.feature_names]
    if name == "diabetes":
        return ArrayDataset(x, np.asarray(found.target, np.float32)[:, None], features=names)
    return ArrayDataset(x, np.asarray(found.target, np.int32), features=names,
                        classes=[str(n) for n in found.target_names])
