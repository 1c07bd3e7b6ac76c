"""The small data sets that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from ..framework.errors import InputError
from .dataset import ArrayDataset

CLASSIFICATION = ("iris", "digits", "wine", "breast_cancer")
REGRESSION = ("diabetes", "linnerud")


def sklearn(name: str) -> ArrayDataset:
    """One of scikit-learn's bundled sets by name.

    Features are float32 (N, columns) as scikit-learn gives them. The target of iris, digits, wine and breast_cancer is
    int32 (N,), with names in `classes`. That of diabetes and linnerud (regression) is float32, (N, 1) and (N, 3): of
    the shape that a net with as many outputs gives.

    Raises:
        InputError: another name. ImportError: scikit-learn is not installed.

    >>> sklearn("digits")
    ArrayDataset(float32[1797, 64], int32[1797])
    """
    if name not in CLASSIFICATION + REGRESSION:
        raise InputError(f"sklearn: expected one of {', '.join(CLASSIFICATION + REGRESSION)}; got {name!r}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError("data.sklearn needs scikit-learn: pip install scikit-learn") from error
    found = getattr(datasets, f"load_{name}")()
    x, names = np.asarray(found.data, np.float32), [str(n) for n in found.feature_names]
    if name in REGRESSION:
        return ArrayDataset(x, np.asarray(found.target, np.float32).reshape(len(x), -1), features=names)
    return ArrayDataset(x, np.asarray(found.target, np.int32), features=names,
                        classes=[str(n) for n in found.target_names])
