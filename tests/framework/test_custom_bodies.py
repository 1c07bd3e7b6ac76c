"""Bodies of a user's operators that are not plain JAX: Python code, Pallas kernels, and rules for vmap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import RuleError

A, B, V = floats(2, 3), floats(2, 3, seed=1), floats(2, 3, seed=2)

calls: list[tuple[int, ...]] = []


class OnHost(cg.Operator):
    jit = False

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x):
        assert isinstance(x.value, np.ndarray)
        calls.append(x.shape)
        return x.value ** 2


class OnHostRule(OnHost):
    def vjp(self, cotangent, output, x):
        return (cotangent * x * 2.0,)


class OnHostGradfn(OnHost):
    def _gradfn(self, inpt):
        return lambda x: np.asarray(x.value) * 2


@cg.operator(jit=False)
def on_host(x):
    calls.append(x.shape)
    return np.asarray(x) ** 2


@on_host.def_vjp
def _(cotangent, output, x):
    return (cotangent * x * 2.0,)


@pytest.mark.parametrize("operator", [OnHostRule(), OnHostGradfn(), on_host], ids=lambda o: o.name)
def test_a_python_body_runs_once_a_call_and_has_gradients(operator):
    m = module(lambda x: op.sin(operator(op.cos(x))))
    calls.clear()
    for step in range(1, 4):
        result = m(A * step)
        result.back(V)
        same(result.value, np.sin(np.cos(A * step) ** 2))
        expected = jax.vjp(lambda x: jnp.sin(jnp.cos(x) ** 2), A * step)[1](V)[0]
        same(result.grad(m.input("x")), expected, rtol=1e-4)
        assert len(calls) == step
    same(zkynet.grad(lambda x: op.sum(operator(x)))(A), 2 * A)
    second = zkynet.hvp(lambda x: op.sum(operator(x) * x))
    if operator.name == "OnHostGradfn":  # its local derivative is Python code without a rule of its own
        with pytest.raises(RuleError, match="dOnHostGradfn/dx.*jit=False"):
            second(A, vector=V)
    else:
        same(second(A, vector=V), 6 * A * V, rtol=1e-4)


def test_a_python_body_inside_compiled_code():
    compiled = zkynet.compile(lambda x: op.sum(on_host(op.cos(x))))
    compiled(A)
    calls.clear()
    same(compiled(A), np.float32(np.sum(np.cos(A) ** 2)))
    assert len(calls) == 1
    same(zkynet.vmap(on_host)(A), A**2)
    same(op.scan(lambda c, x: (c + on_host(x), c), 0.0, A[0])[0], np.float32(np.sum(A[0] ** 2)))


def test_a_python_body_may_compute_in_64_bits():
    @cg.operator(jit=False)
    def table(x):
        return np.interp(x, [0.0, 1.0], [0.0, 10.0])

    same(table(0.5).value, np.float32(5))
    same(zkynet.compile(lambda x: table(x))(0.5), np.float32(5))
    same(zkynet.vmap(table)(f32([0.25, 0.5])), f32([2.5, 5]))


def test_the_inputs_of_a_python_body_are_computed_together():
    @cg.operator(jit=False)
    def total(x, y):
        return x + y

    with count_compilations() as count:
        same(total(op.sin(A), op.cos(A)).value, np.sin(A) + np.cos(A), rtol=1e-6)
    assert count() == 1


def test_a_python_body_without_rule_says_that_it_needs_one():
    with pytest.raises(RuleError, match="OnHost.*jit=False operator needs a gradient rule"):
        zkynet.grad(lambda x: op.sum(OnHost()(x)))(A)
    assert OnHost()(2.0).value == 4


def test_a_pallas_kernel_as_body():
    from jax.experimental import pallas as pl

    def kernel(x_ref, y_ref, out_ref):
        out_ref[...] = x_ref[...] * y_ref[...] + 1.0

    class Kernel(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"), cg.Variable("y")))

        def call(self, x, y):
            shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
            return pl.pallas_call(kernel, out_shape=shape, interpret=True)(x.value, y.value)

        def vjp(self, cotangent, output, x, y):
            return cotangent * y, cotangent * x

    same(Kernel()(A, B).value, A * B + 1)
    same(zkynet.grad(lambda x, y: op.sum(op.square(Kernel()(x, y))), (0, 1))(A, B),
         jax.grad(lambda x, y: jnp.sum(jnp.square(x * y + 1)), (0, 1))(A, B), rtol=1e-4)
    same(zkynet.vmap(Kernel())(A, B), A * B + 1)


def test_a_batch_rule_serves_vmap():
    seen = []

    class Batched(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("m"), cg.Variable("v")))

        def call(self, m, v):
            return m.value @ v.value

        def vjp(self, cotangent, output, m, v):
            return op.outer(cotangent, v), m.T @ cotangent

        def batch(self, axis_size, batched, m, v):
            seen.append((axis_size, batched))
            return jnp.einsum("bij,bj->bi" if all(batched) else "ij,bj->bi" if batched[1] else "bij,j->bi", m, v)

    m, v = floats(4, 2, 3), floats(4, 3)
    same(zkynet.vmap(Batched())(m, v), np.einsum("bij,bj->bi", m, v), rtol=1e-4)
    same(zkynet.vmap(Batched(), (None, 0))(m[0], v), np.einsum("ij,bj->bi", m[0], v), rtol=1e-4)
    assert set(seen) == {(4, (True, True)), (4, (False, True))}
