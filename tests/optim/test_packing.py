"""How state is kept: small arrays in one, by name as if each were alone, and rules on several parameters at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkynet import optim
from zkynet.framework import cg, op
from zkynet.optim.packing import Layout, together

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=6)


@settings(deadline=None)
@given(shapes, shapes, st.integers(0, 30))
def test_what_is_packed_comes_back(first: list[Any], second: list[Any], small: int):
    rng = np.random.default_rng(0)
    state = {"step": np.int32(3), "mu": {i: rng.normal(size=s).astype(np.float32) for i, s in enumerate(first)},
             "nu": {i: rng.normal(size=s).astype(np.float32) for i, s in enumerate(second)}}
    layout = Layout.of(state, small)
    leaves = jax.tree.leaves(state)
    arrays = layout.pack(leaves)
    assert len(arrays) == len(layout.array_names) <= len(leaves)
    for leaf, back in zip(leaves, layout.unpack(arrays), strict=True):
        assert leaf.shape == back.shape and leaf.dtype == back.dtype and np.array_equal(leaf, back)


def test_small_arrays_of_one_kind_lie_together_and_large_ones_alone():
    params = [cg.Parameter(f"p{i}", np.ones(n, np.float32)) for i, n in enumerate((3, 100_000, 5, 2))]
    adam = optim.Adam(params)
    assert sorted(int(np.prod(state.shape)) for state in adam.states) == [1, 4, 10, 10, 100_000, 100_000]
    assert {f"groups.0.{kind}.{i}" for kind in ("count", "mu", "nu") for i in range(4)} < set(adam.state_dict())


@pytest.mark.parametrize("dtypes", ["ff", "fd", "fdfd"])
def test_a_rule_on_all_of_them_is_the_rule_on_each(dtypes: str):
    with jax.enable_x64("d" in dtypes):
        rng = np.random.default_rng(1)
        params = {i: jnp.asarray(rng.normal(size=(i + 1, 3)), kind) for i, kind in enumerate(dtypes)}
        grads = jax.tree.map(jnp.sin, params)
        rule = optax.adamw(0.1, weight_decay=0.1)
        alone, joint = rule.init(params), rule.init(params)
        for _ in range(3):
            one, alone = rule.update(grads, alone, params)
            all_, joint = together(rule).update(grads, joint, params)
            for a, b in zip(jax.tree.leaves((one, alone)), jax.tree.leaves((all_, joint)), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_rule_that_looks_at_whole_parameters_sees_each():
    """LARS scales by the norms of a parameter and its gradient: not every element alike."""

    class LARS(optim.Optimizer):
        transformation: Any = staticmethod(lambda: optax.scale_by_trust_ratio())

    params = [cg.Parameter("p", [3.0, 4.0]), cg.Parameter("q", [6.0, 8.0])]
    LARS(params, {"lr": 1.0}).step(op.sum(params[0] * 2.0) + op.sum(params[1]))
    for p, start in zip(params, ([3.0, 4.0], [6.0, 8.0]), strict=True):
        norm = np.linalg.norm(start)
        np.testing.assert_allclose(p.value, np.array(start) - norm / np.sqrt(2), rtol=1e-6)
