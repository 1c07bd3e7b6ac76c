"""The options that programs are compiled with: convolutions on all cores, unless switched off."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import zkynet
from zkynet.framework import xla

OPTION = "xla_cpu_experimental_ynn_fusion_type"
SCRIPT = "from zkynet.framework import xla; print(xla.compiler_options())"


def convolution(x: jax.Array, w: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.skipif(not xla.on_cpu(), reason="the options are for the CPU")
def test_a_convolution_is_xlas_own_and_as_exact():
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 8, 8, 16), (3, 3, 16, 32))]
    program = xla.jit(convolution)
    if xla.compiler_options() is not None:
        same = jax.jit(convolution, compiler_options=xla.compiler_options()).lower(*arrays).compile()
        assert "ynn" not in (same.as_text() or "")
    with jax.enable_x64(True):
        exact = np.asarray(jax.jit(convolution)(*[np.asarray(array, np.float64) for array in arrays]))
    np.testing.assert_allclose(program(*arrays), exact, rtol=0, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize(("name", "value"), [("ZKYNET_COMPILER_OPTIONS", "0"), ("XLA_FLAGS", f"--{OPTION}=")])
def test_they_can_be_switched_off_and_what_the_user_sets_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["None"], done.stderr


def test_inside_of_another_program_it_is_a_part_of_it():
    inner = xla.jit(lambda x: x + 1.0)
    assert float(jax.jit(lambda x: inner(x) * 2.0)(3.0)) == 8.0
    assert float(jax.grad(lambda x: inner(x) ** 2)(3.0)) == 8.0


def test_outputs_reach_their_targets_inside_of_another_program_too():
    run = xla.jit(lambda x: [x + 1.0, x * 2.0])

    def product(x: float) -> jax.Array:
        targets = [SimpleNamespace(), SimpleNamespace()]
        xla.run_into(targets, run, [x])
        return targets[0]._value * targets[1]._value

    assert float(product(3.0)) == float(jax.jit(product)(3.0)) == 24.0


def test_an_xla_without_the_option_gets_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xla, "_OPTIONS", {"xla_cpu_no_such_option": True})
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    xla.compiler_options.cache_clear()
    try:
        assert xla.compiler_options() is None
    finally:
        xla.compiler_options.cache_clear()


def test_the_platform_is_that_of_the_device_in_force():
    assert xla.on_cpu() == (jax.default_backend() == "cpu")
    with zkynet.device("cpu"):
        assert xla.on_cpu()
