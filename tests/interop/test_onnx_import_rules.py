"""Gradient rules of the operators that only imported models use, against jax.grad of their bodies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zkynet
from zkynet.framework import op
from zkynet.interop.onnx import import_index, import_math, import_signal

RNG = np.random.default_rng(0)
A, B = (RNG.normal(size=(3, 4)).astype(np.float32) for _ in range(2))
POSITIONS = (np.array([[0], [2]], np.int32), np.array([[1, 3]], np.int32))
VALUES = RNG.normal(size=(2, 2)).astype(np.float32)
PAIRS = RNG.normal(size=(2, 5, 2)).astype(np.float32)

# Operator, the inputs that are differentiated, those that are not, attributes.
ROWS = {
    "fmod": (import_math.fmod, (A, B), (), {}),
    "fmod of one divisor": (import_math.fmod, (A, np.float32(0.7)), (), {}),
    "scatter, product": (import_index.combined, (A, VALUES), POSITIONS, {"reduction": "multiply"}),
    "scatter, maximum": (import_index.combined, (A, VALUES), POSITIONS, {"reduction": "max"}),
    "scatter, minimum": (import_index.combined, (A, VALUES), POSITIONS, {"reduction": "min"}),
    "Fourier transform": (import_signal.dft, (PAIRS,), (), {"axis": 1, "inverse": False}),
    "its inverse": (import_signal.dft, (PAIRS,), (), {"axis": 1, "inverse": True}),
}

# jax has no gradient of products at positions that it does not know to be different.
JUDGES: dict[str, Any] = {"multiply": lambda x, values, *at, reduction: x.at[at].set(x[at] * values)}


@pytest.mark.parametrize(("operator", "inputs", "others", "attributes"), ROWS.values(), ids=ROWS.keys())
def test_gradients_agree_with_jax(operator, inputs, others, attributes):
    weight = RNG.normal(size=operator(*inputs, *others, **attributes).shape).astype(np.float32)
    which = tuple(range(len(inputs)))
    ours = zkynet.grad(lambda *x: op.sum(operator(*x, *others, **attributes) * weight), argnums=which)(*inputs)
    judge = JUDGES.get(attributes.get("reduction", ""), operator.body)
    arrays = [jnp.asarray(x) for x in inputs]
    theirs = jax.grad(lambda *x: (judge(*x, *others, **attributes) * weight).sum(), argnums=which)(*arrays)
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(expected), rtol=1e-4, atol=1e-5)
