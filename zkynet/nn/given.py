"""Checks of what layers are given: probabilities, and values that are known before anything is computed."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from jax.core import Tracer

from ..framework.errors import InputError
from ..framework.nodes import Node


def known(given: Any) -> np.ndarray | None:
    """The value of a number, an array or a node on the host; None for one that only a program will know."""
    value = given._value if isinstance(given, Node) else given
    return None if value is None or isinstance(value, Tracer) else np.asarray(value)


def probability(given: Any, layer: str, name: str = "p") -> float:
    """The probability of zero that a layer was given, if it is one."""
    if not isinstance(given, Real) or not 0.0 <= float(given) <= 1.0:
        raise InputError(f"{layer}: {name} is the probability of zero, from 0 to 1, but got {given!r}.")
    return float(given)
