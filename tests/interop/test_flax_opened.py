"""Opened modules: every primitive with a counterpart, and those without, against JAX; and which rules are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("flax")
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from zkynet.interop.flax import from_nnx
from zkynet.interop.flax.primitives import BUILDERS

random = np.random.default_rng(0)
X = random.normal(size=(2, 6, 6, 3)).astype(np.float32)
M = random.normal(size=(4, 5)).astype(np.float32)
V = random.uniform(0.2, 0.8, size=(5,)).astype(np.float32)
W = random.normal(size=(3, 3, 3, 4)).astype(np.float32)
IMAGE = ("NHWC", "HWIO", "NHWC")


class Function(nnx.Module):
    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __call__(self, *inputs):
        return self.function(*inputs)


def conv(x: Any, w: Any, *more: Any, **named: Any) -> Any:
    return lax.conv_general_dilated(x, w, *more, dimension_numbers=IMAGE, **named)


@jax.custom_jvp
def doubled(x):
    """The identity, with a derivative of two."""
    return x * 1.0


@doubled.defjvp
def _(primals, tangents):
    return doubled(*primals), 2.0 * tangents[0]


@jax.custom_vjp
def reversed_gradient(x):
    return x + 0.0


reversed_gradient.defvjp(lambda x: (reversed_gradient(x), None), lambda _, g: (-g,))


def relu(x: Any) -> Any:
    """Another function of the name of one that is known."""
    return jnp.where(x > 0, x, 0.5 * x)


def scanned(m: Any) -> Any:
    return lax.scan(lambda c, row: (c * 0.5 + row, jnp.sin(c)), jnp.zeros(5), m)


def two_draws(m: Any) -> Any:
    one, two = jax.random.split(jax.random.fold_in(jax.random.key(3), 1))
    return m * jax.random.normal(one, m.shape) + jax.random.uniform(two, m.shape)


# What is opened, its inputs, and some operators that must be (or, with "no ", must not be) in the graph.
ROWS: list[tuple[str, Callable[..., Any], tuple, str]] = [
    ("arithmetic", lambda a, b: (a + b) * a / (b - 2.0) - (-a) ** 3, (V, V[::-1].copy()), "add mult divide negative"),
    ("elementary", lambda a: jnp.exp(a) + jnp.log(a) + jnp.sqrt(a) + lax.rsqrt(a) + jnp.tanh(a) + a ** 2.5
     + jnp.log1p(a) + jnp.expm1(a) + lax.logistic(a) + lax.erf(a) + jnp.square(a), (V,), "exp rsqrt sigmoid erf power"),
    ("circular", lambda a: jnp.sin(a) * jnp.cos(a) + jnp.tan(a) + jnp.arcsin(a) + jnp.arccos(a) + jnp.arctan(a)
     + jnp.sinh(a) + jnp.cosh(a) + jnp.arctan2(a, a + 1), (V,), "sin arctan2 cosh"),
    ("inverse", lambda a: jnp.arcsinh(a) + jnp.arctanh(a) + jnp.arccosh(a + 1) + jnp.cbrt(a) + lax.erfc(a)
     + lax.erf_inv(a) + jnp.exp2(a), (V,), "arccosh cbrt erfinv"),
    ("comparing", lambda a, b: jnp.where((a > b) & ~(a == b) | (a <= 0) ^ jnp.isfinite(b) | (b >= 1), a * 2, b),
     (M, M[::-1].copy()), "where logical_and logical_xor"),
    ("largest", lambda a: jnp.maximum(a, 0.1) + jnp.minimum(a, 0.3) + jnp.abs(a) * jnp.sign(a) + jnp.floor(a)
     - jnp.ceil(a), (M,), "maximum minimum abs floor ceil"),
    ("reductions", lambda m: m.sum(0) + m.max(0) + m.min(0) + m.mean(0) + jnp.prod(m, 0), (M,), "sum max min prod"),
    ("positions", lambda m: (jnp.argmax(m, 1), jnp.argmin(m, 0), jnp.all(m > -9, 1), jnp.any(m > 1, 0)), (M,),
     "argmax argmin all any"),
    ("running", lambda m: jnp.cumsum(m, 0) + lax.cumsum(m, 1, reverse=True) + jnp.cumprod(m, 1), (M,), "cumsum"),
    ("shapes", lambda m: jnp.concatenate([m.T.reshape(4, 5), m[:, ::-1], m[1:3, 1:4].repeat(5, 1)[:, :5]]), (M,),
     "reshape transpose concat flip getitem"),
    ("steps", lambda m: lax.slice(m, (0, 1), (4, 5), (2, 3)) + jnp.squeeze(m[None], 0)[:2, :2], (M,), "getitem"),
    ("broadcast", lambda v: jnp.broadcast_to(v[:, None], (2, 5, 3)) + jnp.full((5, 3), 0.5), (V,), "broadcast_to"),
    ("counting", lambda v: v * jnp.arange(5) + lax.broadcasted_iota(jnp.float32, (4, 5), 0), (V,), "mult"),
    ("casts", lambda m: (m.astype(jnp.int32), m.astype(jnp.bfloat16).astype(jnp.float32)), (M,), "cast"),
    ("matmul", lambda m, v: (m @ v, m @ m.T, v @ v), (M, V), "matmul"),
    ("products", lambda x: (jnp.einsum("bhwc,bhvc->bhwv", x, x), jnp.einsum("bhwc,dhwe->bced", x, x)), (X,), "no dot"),
    ("precise", lambda m: jnp.dot(m, m.T, precision="highest"), (M,), "dot_general no matmul"),
    ("conv", lambda x, w: conv(x, w, (2, 1), ((1, 1), (0, 2)), rhs_dilation=(1, 2)), (X, W), "conv"),
    ("depthwise", lambda x: conv(x, W[:, :, :1, :3], (1, 1), "SAME", feature_group_count=3), (X,), "conv"),
    ("transposed conv", lambda x, w: conv(x, w, (1, 1), ((1, 1), (2, 1)), lhs_dilation=(2, 2)), (X, W),
     "conv_general_dilated no conv"),
    ("pools", lambda x: nnx.max_pool(x, (2, 2), (2, 2)) + nnx.avg_pool(x, (2, 2), (2, 2)), (X,), "max_pool avg_pool"),
    ("overlapping pool", lambda x: nnx.max_pool(x, (3, 3), (1, 1), "SAME"), (X,), "max_pool"),
    ("uneven pool", lambda x: nnx.max_pool(x, (2, 2), (1, 1), "SAME"), (X,), "reduce_window_max no max_pool"),
    ("activations", lambda m: nnx.relu(m) + nnx.relu6(m) + nnx.silu(m) + nnx.softplus(m) + nnx.elu(m) + nnx.gelu(m),
     (M,), "relu relu6 silu logaddexp"),
    ("relu at zero", lambda m: nnx.relu(m * 0.0) + nnx.relu(m), (M,), "relu"),
    ("not that relu", jax.jit(relu), (M,), "where no relu"),
    ("softmax", lambda m: nnx.softmax(m) + nnx.log_softmax(m, 0) + jax.nn.logsumexp(m), (M,), "exp stop_gradient"),
    ("look-up", lambda m: m[jnp.array([0, 3, 3])] * m[jnp.argmax(m[:, 0])], (M,), "gather"),
    ("sorting", lambda m: jnp.sort(m, 1) + lax.top_k(m, 5)[0], (M,), "sort top_k"),
    ("loop", scanned, (M,), "scan"),
    ("branch", lambda m: lax.cond(m[0, 0] > 0, jnp.sin, jnp.cos, m), (M,), "cond"),
    ("draws", two_draws, (M,), "no threefry2x32"),
    ("own jvp", lambda m: doubled(m) * m, (M,), "doubled"),
    ("own vjp", lambda m: reversed_gradient(m) * m, (M,), "reversed_gradient"),
    ("stopped", lambda m: lax.stop_gradient(m) * m, (M,), "stop_gradient"),
    ("unused and passed on", lambda m, v: (v, v + 1, 3.0), (M, V), "add"),
]


@pytest.mark.parametrize("function, inputs, operators", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_values_and_gradients_are_those_of_jax(function: Callable, inputs: tuple, operators: str):
    net = from_nnx(Function(function), *inputs, open=True)
    result = net(*inputs)
    judge = jax.jit(lambda *x: tuple(jax.tree.leaves(function(*x))))
    expected = judge(*inputs)
    for ours, theirs in zip(jax.tree.leaves(result.value), expected, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)

    names = {node.name for node in result.nodes if not node.isleaf()}
    wanted, refused = operators.partition("no ")[::2]
    assert set(wanted.split()) <= names and not set(refused.split()) & names, names

    for i, value in enumerate(expected):
        if jnp.issubdtype(value.dtype, jnp.floating):
            cotangent = random.normal(size=value.shape).astype(np.float32)
            root = result.roots[i]
            if root.isleaf():
                continue
            root.back(cotangent)
            (pulled, *_) = jax.jit(lambda *x, i=i, c=cotangent: jax.vjp(lambda *y: judge(*y)[i], *x)[1](c))(*inputs)
            leaf = result.inputs[net.inputs[0]]
            if leaf.gvalue is not None:
                np.testing.assert_allclose(leaf.gvalue, pulled, rtol=1e-4, atol=1e-5)
            else:
                assert not np.any(pulled)


def test_every_row_of_the_table_is_tested():
    """Which primitives the rows above make, at whatever depth."""
    seen = set()

    def visit(jaxpr: Any) -> None:
        for eqn in jaxpr.eqns:
            seen.add(eqn.primitive.name)
            for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                    visit(getattr(inner, "jaxpr", inner))

    for _, function, inputs, _ in ROWS:
        visit(jax.make_jaxpr(function)(*inputs).jaxpr)
    assert set(BUILDERS) - seen <= {"add_any", "copy"}


def test_a_second_order_through_nodes_without_counterpart():
    net = from_nnx(Function(lambda m: jnp.sum(jnp.sort(m, 1) ** 3 * scanned(m)[0])), open=True)
    import zkynet

    hessian = zkynet.hessian(net)(M[:2])
    expected = jax.jit(jax.hessian(lambda m: jnp.sum(jnp.sort(m, 1) ** 3 * scanned(m)[0])))(M[:2])
    np.testing.assert_allclose(hessian, expected, rtol=1e-4, atol=1e-4)
