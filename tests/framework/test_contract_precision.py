"""Precision and device: context managers and defaults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import DeviceError

W = cg.Parameter("w", f32([0.1, 0.2]))
M = module(lambda x: op.mult(op.sin(x), W))


def test_float32_is_the_default():
    result = M(np.array([1, 2]))
    result.back(np.ones(2))
    assert result.value.dtype == result.grad(W).dtype == result.grad(M.input("x")).dtype == "float32"


def test_bfloat16_computes_with_float32_parameters_and_gives_float32_gradients():
    x = f32([1, 2])
    with zkynet.precision("bfloat16"):
        result = M(x)
        result.back(np.ones(2))
        assert result.value.dtype == "bfloat16"
        assert result.grad(W).dtype == result.grad(M.input("x")).dtype == "float32"
        assert zkynet.grad(lambda x: op.square(x))(np.float32(3)).dtype == "float32"
    assert W.dtype == "float32" and M(x).value.dtype == "float32"
    expected = jax.grad(lambda w: jnp.sum(jnp.sin(x.astype(jnp.bfloat16)) * w.astype(jnp.bfloat16)))(W.value)
    same(result.grad(W), expected)


def test_integers_keep_their_dtype_in_bfloat16():
    with zkynet.precision("bfloat16"):
        assert op.add(np.arange(3), 1).dtype == "int32"


def test_float64_computes_in_64_bits():
    x = np.array([0.1, 0.2])
    with zkynet.precision("float64"):
        result = M(x)
        result.back(np.ones(2))
        same(result.value, np.sin(x) * np.float64(f32([0.1, 0.2])), rtol=1e-15)
        assert result.grad(W).dtype == "float32" and result.grad(M.input("x")).dtype == "float64"
        assert op.add(1, 2**40).value == 2**40 + 1
        assert zkynet.grad(lambda x: op.sin(x))(0.5).dtype == "float64"


def test_a_graph_made_in_float64_is_computed_in_float64_also_later():
    x = np.array([0.1, 0.2])
    with zkynet.precision("float64"):
        result = M(x)
        function = zkynet.grad(lambda x: op.sin(x))
    assert result.root.dtype == "float64" and result.value.dtype == "float64"
    same(result.value, np.sin(x) * np.float64(f32([0.1, 0.2])), rtol=1e-15)
    result.back(np.ones(2))
    assert result.grad(M.input("x")).dtype == "float64"
    assert function(0.5).dtype == "float32"


def test_states_and_parameters_keep_their_dtype_in_every_precision():
    state = cg.State("s", f32([1, 2]))

    def call(x):
        state.value = op.add(op.mult(state, 0.5), x)
        return op.mult(x, state)

    m = module(call)
    for name in ("bfloat16", "float64", "float32"):
        with zkynet.precision(name):
            _ = m(f32([1, 1])).value
            assert state.value.dtype == "float32"


def test_a_state_that_was_computed_in_float64_does_not_keep_that_mode():
    class Count(cg.Module):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))
            self.sum = cg.State("sum", np.zeros(3, np.float32))

        def call(self, x):
            self.sum.value = self.sum + x
            return op.argmax(self.sum)

    m = Count()
    with zkynet.precision("float64"):
        _ = m(f32([1, 2, 3])).value
    assert not m.sum.aval.x64 and m(f32([1, 2, 3])).value.dtype == np.int32
    same(m.sum.value, f32([2, 4, 6]))


def test_numpys_float64_is_what_jax_makes_of_it():
    repeated = zkynet.compile(lambda x: op.scan(lambda c, _: (c * 2.0, c), x, length=3)[0])
    same(repeated(np.ones(2)), f32([8, 8]))
    with count_compilations() as count:
        same(repeated(f32([1, 1])), f32([8, 8]))
    assert count() == 0


def test_precisions_nest_and_end_also_by_an_exception():
    x = f32([1])
    with zkynet.precision("bfloat16"):
        with zkynet.precision("float32"):
            assert op.sin(x).dtype == "float32"
        with pytest.raises(RuntimeError), zkynet.precision("float64"):
            raise RuntimeError
        assert op.sin(x).dtype == "bfloat16"
    assert op.sin(x).dtype == "float32"


def test_the_precision_of_a_transform_is_that_of_its_call():
    f = zkynet.grad(lambda x: op.sin(op.sin(x)))
    compiled = zkynet.compile(lambda x: op.sin(x))
    x = np.float32(0.5)
    assert f(x).dtype == compiled(x).dtype == "float32"
    with zkynet.precision("bfloat16"):
        assert compiled(x).dtype == "bfloat16"
        assert float(f(x)) != float(jax.grad(lambda x: jnp.sin(jnp.sin(x)))(x))
    with zkynet.precision("float64"):
        assert compiled(0.5).dtype == f(0.5).dtype == "float64"
    assert compiled(x).dtype == "float32"


def test_a_default_precision():
    zkynet.set_precision("bfloat16")
    try:
        assert op.sin(floats(2)).dtype == "bfloat16"
        with zkynet.precision("float32"):
            assert op.sin(floats(2)).dtype == "float32"
    finally:
        zkynet.set_precision("float32")
    assert op.sin(floats(2)).dtype == "float32"


@pytest.mark.parametrize("enter", [lambda n: zkynet.precision(n).__enter__(), zkynet.set_precision])
def test_an_unknown_precision_is_refused(enter):
    with pytest.raises(DeviceError, match="unknown precision 'float13': choose one of 'float32', 'bfloat16'"):
        enter("float13")


@pytest.mark.parametrize("name", ["gpu:9", "tpu", "abacus", "cpu:17", "cpu:x", ""])
def test_a_device_that_is_not_there_is_named_with_those_that_are(name):
    with pytest.raises(DeviceError, match=rf"no device '{name}' here; JAX sees: .*cpu:0"):
        with zkynet.device(name):
            pass
    with pytest.raises(DeviceError):
        zkynet.set_device(name)


def test_results_are_on_the_device_in_force():
    with zkynet.device("cpu"), zkynet.device("cpu:0"):
        result = M(floats(2))
    assert [d.platform for d in result.value.devices()] == ["cpu"]


TWO_DEVICES = """
import zkynet
from zkynet.framework import cg, op
w = cg.Parameter("w", 2.0)
m = cg.Module.build("M", lambda x: op.mult(x, w), (cg.Variable("x"),))
def where(array): return sorted(str(d.id) for d in array.devices())
with zkynet.device("cpu:1"):
    later = m(3.0)
    now = m(3.0)
    now.back()
    print(where(now.value), where(now.grad(w)), where(zkynet.grad(m)(1.0)))
print(where(later.value), where(m(3.0).value))
zkynet.set_device("cpu:1")
print(where(m(3.0).value))
"""


def test_two_devices():
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PATH": "", "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, env=environment,
                          cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr
    inside, after, default = done.stdout.splitlines()
    assert inside == "['1'] ['1'] ['1']"
    assert after.endswith("['0']")
    assert default == "['1']"


def test_what_is_used_outside_first_is_float64_all_the_same():
    """Also where the inputs alone do not say it, as in a sum of integers from outside."""
    with zkynet.precision("float64"):
        p = cg.Parameter("p", np.ones(11))
    w, n = cg.Parameter("w", floats(11)), cg.Parameter("n", np.arange(11))
    assert op.sum(op.square(p)).value.dtype == "float64"  # 64 bits, where it was made in
    assert op.sum(op.square(w)).value.dtype == "float32" and op.sum(n).value.dtype == "int32"
    with zkynet.precision("float64"):
        for x in (cg.Parameter("q", np.ones(11)), np.ones(11), p, w):
            assert op.sum(op.square(x)).value.dtype == "float64"
        assert op.sum(n).value.dtype == "int64"
    assert op.sum(n).value.dtype == "int32" and op.sum(op.square(w)).value.dtype == "float32"


def test_an_operator_without_inputs_belongs_to_the_mode_that_made_it():
    with zkynet.precision("float64"):
        wide = op.full(shape=(2,), dtype=np.dtype("float32"), value=3)
        assert wide.aval.x64
    narrow = op.full(shape=(2,), dtype=np.dtype("float32"), value=3)
    assert not narrow.aval.x64
    np.testing.assert_array_equal(narrow.value, wide.value)
