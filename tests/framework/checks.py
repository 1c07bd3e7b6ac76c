"""Helpers of the core's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from zkynet.framework import cg


def module(function: Callable[..., Any], *params: cg.Parameter) -> Any:
    """A Module of a function of nodes, with inputs named like its arguments."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    made = cg.Module.build("Model", function, tuple(cg.Variable(name) for name in names))
    for parameter in params:
        setattr(made, parameter.short_name, parameter)
    return made


def same(actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Equal trees: structure, shapes, dtypes, and values to rounding."""
    actual, expected = _plain(actual), _plain(expected)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a), np.asarray(e)
        assert a.shape == e.shape and a.dtype == e.dtype, f"{a.dtype}{a.shape} is not {e.dtype}{e.shape}"
        np.testing.assert_allclose(a.astype(np.float64), e.astype(np.float64), rtol=rtol, atol=atol)


def _plain(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.value if isinstance(leaf, (cg.Node, cg.ModuleGraph)) else leaf, tree)


def f32(values: Any) -> np.ndarray:
    """A float32 array of these numbers."""
    return np.asarray(values, np.float32)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """A float32 array of normal numbers, the same in every run."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def here(offset: int = 0) -> str:
    """'file:line' of the calling line, plus an offset."""
    import sys

    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno + offset}"
