"""Rows of the operator tests: one `Case` an operator and situation; test_operators.py checks each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One operator in one situation.

    Attributes:
        operator: its name in the registry (or that of the public function which calls it).
        function: the operator applied to nodes, attributes included; returns a node or several.
        reference: the same in jax.numpy (or jax.scipy, jax.lax), written without our body.
        inputs: example inputs as float64 (or integer, boolean) NumPy arrays, away from kinks and poles.
        label: what is special about this row ("broadcast", "empty axis", "domain limit", ...).
        order: how often it is differentiated; 0 for no gradient at all, 1 where the second has no meaning.
        wrt: which inputs are differentiated; all floating ones by default.
        tolerance: relative tolerance of the comparison with the reference, in float64.
        numeric: whether finite differences make sense here; False at kinks, ties and domain limits.
        nan: whether a NaN is the right answer somewhere; otherwise any NaN fails, even one of the reference too.
        float32: whether to check that float32 inputs give float32 gradients, and outputs as the reference.
    """

    operator: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Any, ...]
    label: str = ""
    order: int = 2
    wrt: tuple[int, ...] | None = None
    tolerance: float = 1e-10
    numeric: bool = True
    nan: bool = False
    float32: bool = True

    def __str__(self) -> str:
        return f"{self.operator}-{self.label}" if self.label else self.operator


def sample(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    """A float64 array that is the same in every run."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)
