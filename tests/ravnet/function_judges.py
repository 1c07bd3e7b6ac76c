"""Data and judges for the tests of ravnet.functions."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from ravnet.functions import FUNCTIONS
from zkynet.framework.operators.arguments import node_of


def data(spec: str, seed: int = 0) -> np.ndarray:
    """An array of 'kind lengths': 'f 3 4' is float32[3, 4]. Kinds: f normal, p positive, i integers from 0 to 3,
    b booleans, m well conditioned square matrices."""
    kind, *lengths = spec.split()
    shape = tuple(map(int, lengths))
    rng = np.random.default_rng(zlib.crc32(spec.encode()) + seed)
    if kind == "m":
        return (rng.normal(size=shape) + 4 * np.eye(shape[-1])).astype(np.float32)
    return {"f": lambda: rng.normal(size=shape).astype(np.float32),
            "p": lambda: rng.uniform(0.5, 3, shape).astype(np.float32),
            "i": lambda: rng.integers(0, 4, shape).astype(np.int32),
            "b": lambda: rng.integers(0, 2, shape).astype(bool)}[kind]()


def node(array: Any) -> Any:
    return node_of(array, "test")


def computed(name: str, arrays: list[np.ndarray], params: dict[str, Any]) -> Any:
    """The value of a function on nodes of the arrays: an array, or a list of arrays."""
    found = FUNCTIONS[name].call(*map(node, arrays), **params)
    if isinstance(found, (tuple, list)):
        return [np.asarray(part.value) for part in found]
    return np.asarray(found.value)


def assert_same(found: Any, wanted: Any, kinds: bool = True) -> None:
    """The same values and shapes, and the same kind of dtype."""
    if isinstance(wanted, (tuple, list)):
        assert isinstance(found, (tuple, list)) and len(found) == len(wanted)
        for part, judged in zip(found, wanted, strict=True):
            assert_same(part, judged, kinds)
        return
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    if kinds:
        assert found.dtype.kind == wanted.dtype.kind
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
