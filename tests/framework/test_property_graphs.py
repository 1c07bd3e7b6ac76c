"""Random graphs: value, gradient and Hessian-vector product are those of the same function in jax.numpy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from checks import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zkynet
from zkynet.framework import cg, op

# What a node may be made by: (ours, JAX's). All are smooth and stay of moderate size on the reals.
UNARY = [(op.sin, jnp.sin), (op.tanh, jnp.tanh), (op.sigmoid, jax.nn.sigmoid), (op.negative, jnp.negative),
         (lambda x: op.exp(op.sin(x)), lambda x: jnp.exp(jnp.sin(x))),
         (lambda x: op.square(op.tanh(x)), lambda x: jnp.square(jnp.tanh(x))),
         (lambda x: op.sum(x, axis=-1, keepdims=True) if x.ndim else x,
          lambda x: jnp.sum(x, axis=-1, keepdims=True) if x.ndim else x),
         (lambda x: op.transpose(x), jnp.transpose)]
BINARY = [(op.add, jnp.add), (op.subtract, jnp.subtract), (op.mult, jnp.multiply),
          (lambda a, b: op.divide(a, op.add(op.square(b), 1.0)), lambda a, b: a / (b * b + 1)),
          (lambda a, b: op.tanh(a) * b, lambda a, b: jnp.tanh(a) * b)]
SHAPES = [(), (1,), (3,), (2, 1), (1, 3), (2, 3)]


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[np.ndarray], list[tuple]]:
    """Input arrays and steps: each makes a value of earlier ones, which may be used any number of times."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    seed = draw(st.integers(0, 1000))
    inputs = [np.random.default_rng([seed, i]).uniform(-1, 1, shape).astype(np.float32)
              for i, shape in enumerate(shapes)]
    known = list(shapes)
    steps: list[tuple] = []
    for _ in range(draw(st.integers(1, 7))):
        first = draw(st.integers(0, len(known) - 1))
        fitting = [i for i, shape in enumerate(known) if _broadcast(shape, known[first]) is not None]
        if draw(st.booleans()):
            second = draw(st.sampled_from(fitting))
            steps.append((draw(st.integers(0, len(BINARY) - 1)), first, second))
            known.append(_broadcast(known[first], known[second]))  # pyright: ignore[reportArgumentType]
        else:
            kind = draw(st.integers(0, len(UNARY) - 1))
            steps.append((kind, first))
            known.append(jax.eval_shape(UNARY[kind][1], jax.ShapeDtypeStruct(known[first], np.float32)).shape)
    return inputs, steps


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def run(inputs: Any, steps: list[tuple], ours: bool) -> Any:
    """The last value, and the sum of all values that nothing used."""
    values, used = list(inputs), set()
    for kind, *places in steps:
        functions = (UNARY if len(places) == 1 else BINARY)[kind]
        used.update(places)
        values.append(functions[0 if ours else 1](*[values[i] for i in places]))
    total = None
    for index, value in enumerate(values):
        if index not in used:
            part = op.sum(value) if ours else jnp.sum(value)
            total = part if total is None else total + part
    return total


SETTINGS = settings(max_examples=12, deadline=None, derandomize=True, database=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SETTINGS
@given(programs())
def test_value_gradient_and_hessian_vector_product(program):
    inputs, steps = program
    argnums = tuple(range(len(inputs)))
    vector = tuple(np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape) for x in inputs)

    def loss(*xs):
        return run(xs, steps, ours=True)

    @jax.jit
    def expected(xs, vs):
        gradient = jax.grad(lambda xs: run(xs, steps, ours=False))
        return run(xs, steps, ours=False), *jax.jvp(gradient, (xs,), (vs,))

    value, gradient, product = expected(tuple(inputs), vector)
    found_value, found = zkynet.value_and_grad(loss, argnums)(*inputs)
    same((found_value, found), (value, gradient), rtol=2e-4, atol=2e-5)
    same(zkynet.hvp(loss, argnums)(*inputs, vector=vector), product, rtol=2e-3, atol=2e-4)


@SETTINGS
@given(programs())
def test_a_graph_gives_the_same_by_back_and_by_any_order_of_reading(program):
    inputs, steps = program
    variables = tuple(cg.Variable(f"x{i}") for i in range(len(inputs)))
    m = cg.Module.build("Random", lambda *xs: run(xs, steps, ours=True), variables)
    gradient = jax.jit(jax.grad(lambda xs: run(xs, steps, ours=False)))(tuple(inputs))

    def gradients(result):
        result.back()
        return tuple(result.grad(m.input(f"x{i}")) for i in range(len(inputs)))

    fresh = m(*inputs)
    same(gradients(fresh), gradient, rtol=2e-4, atol=2e-5)
    half = m(*inputs)
    for node in half.nodes[:: max(1, len(half.nodes) // 2)]:
        _ = node.value
    same(gradients(half), gradient, rtol=2e-4, atol=2e-5)
    same(half.value, fresh.value)
