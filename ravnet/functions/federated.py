"""Statistics of data that several participants hold, from those of their parts: rows never leave them.

For sizes n_i, means m_i and variances v_i of the parts, with n = sum n_i:

    mean = sum n_i m_i / n            variance = sum n_i (v_i + (m_i - mean)^2) / n

(Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979, for many parts
at once.) Variances divide by n, as NumPy's do. Each input has one row a participant, and a column for each of the data.
In a federated graph they are left out: its participants supply them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zkynet.framework.errors import InputError, ShapeError

from .function import function


def _parts(name: str, **inputs: Any) -> list[np.ndarray]:
    """The inputs as float64 arrays of one shape."""
    missing = [what for what, value in inputs.items() if value is None]
    if missing:
        raise InputError(f"{name}: {missing[0]} of the participants' parts are missing; a federated graph supplies "
                         "them.")
    arrays = {what: np.asarray(value, np.float64) for what, value in inputs.items()}
    shape = arrays["means"].shape
    if arrays["sizes"].ndim == 1 and len(shape) == 2:
        arrays["sizes"] = np.broadcast_to(arrays["sizes"][:, None], (len(arrays["sizes"]), shape[1]))
    for what, array in arrays.items():
        if array.shape != shape or not array.ndim or not array.shape[0]:
            raise ShapeError(f"{name}: {what} have the shape {array.shape}, means {shape}; one row a participant, at "
                             "least one.")
        if not np.isfinite(array).all():
            raise InputError(f"{name}: {what} contain nan or inf.")
        if what != "means" and (array < 0).any():
            raise InputError(f"{name}: {what} must not be negative.")
    if (arrays["sizes"].sum(0) <= 0).any():
        raise InputError(f"{name}: there are no data: all sizes are 0.")
    return list(arrays.values())


def _variance(sizes: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    mean = np.average(means, axis=0, weights=sizes)
    return np.average(variances + (means - mean) ** 2, axis=0, weights=sizes)


@function("sum n_i m_i / n, of the sizes and means of the participants' parts", "mean of all rows", late=True,
          supplied=True)
def federated_mean(sizes: Any = None, means: Any = None, /) -> Any:
    sizes, means = _parts("federated_mean", sizes=sizes, means=means)
    return np.average(means, axis=0, weights=sizes)


@function("sum n_i (v_i + (m_i - mean)^2) / n, with the variances of the parts", "var of all rows", late=True,
          supplied=True)
def federated_variance(sizes: Any = None, means: Any = None, variances: Any = None, /) -> Any:
    return _variance(*_parts("federated_variance", sizes=sizes, means=means, variances=variances))


@function("the square root of the variance of all rows, with the standard deviations of the parts", "std of all rows",
          late=True, supplied=True)
def federated_standard_deviation(sizes: Any = None, means: Any = None, deviations: Any = None, /) -> Any:
    sizes, means, deviations = _parts("federated_standard_deviation", sizes=sizes, means=means, deviations=deviations)
    return np.sqrt(_variance(sizes, means, deviations ** 2))


FUNCTIONS = [federated_mean, federated_variance, federated_standard_deviation]
