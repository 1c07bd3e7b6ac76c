"""Contract 4: back() gives gradients of scalars, full Jacobians of tensors, and vector-Jacobian products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

from zkynet.framework import cg, gradients, op
from zkynet.framework.errors import GraphError, InputError, ShapeError


def model(x, w):
    """f(x, w) = (x + w) x^2, for nodes and for arrays."""
    return op.mult(op.add(x, w), op.square(x))


def reference(x, w):
    return (x + w) * x**2


M = module(lambda x, w: model(x, w))

SHAPES = [((), ()), ((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 3), (2, 1)),
          ((3,), (2, 3)), ((2, 1), (1, 3)), ((1,), (2,)), ((2, 1, 2, 3), (2, 1, 2, 3)), ((2, 1, 2, 3), (1, 2, 1)),
          ((0, 2), (2,))]


@pytest.mark.parametrize("x_shape, w_shape", SHAPES, ids=str)
def test_a_tensor_root_has_full_jacobians(x_shape, w_shape):
    x, w = floats(*x_shape, seed=1), floats(*w_shape, seed=2)
    result = M(x, w)
    result.back()
    dx, dw = jax.jacrev(reference, (0, 1))(x, w)
    assert dx.shape == result.value.shape + x_shape
    same(result.grad(M.input("x")), dx)
    same(result.grad(M.input("w")), dw)


@pytest.mark.parametrize("x_shape, w_shape", SHAPES[:-3], ids=str)
def test_a_cotangent_gives_the_vector_jacobian_product(x_shape, w_shape):
    x, w = floats(*x_shape, seed=1), floats(*w_shape, seed=2)
    value, pull = jax.vjp(reference, x, w)
    cotangent = floats(*value.shape, seed=3)
    result = M(x, w)
    result.back(cotangent)
    same([result.grad(v) for v in M.inputs], list(pull(cotangent)))
    same(result.value, value)


def test_a_scalar_root_may_have_a_cotangent():
    result = M(3.0, 1.0)
    result.back(10.0)
    assert (result.grad(M.input("x")), result.root.gvalue) == (330, 10)


def test_a_cotangent_of_a_wrong_shape_is_refused():
    result = M(floats(3), floats(3))
    with pytest.raises(ShapeError, match=r"root's shape \(3,\), but got \(2,\)"):
        result.back(np.ones(2))
    with pytest.raises(ShapeError, match=r"root's shape \(3,\), but got \(\)"):
        result.back(1.0)
    result.back(np.ones(3))
    assert result.grad(M.input("x")).shape == (3,)


def test_a_node_may_be_the_cotangent():
    result = M(floats(3), floats(3))
    result.back(op.square(floats(3)))
    expected = jax.vjp(reference, floats(3), floats(3))[1](floats(3) ** 2)[0]
    same(result.grad(M.input("x")), expected)


def test_back_twice_gives_the_same_numbers():
    result = M(3.0, 1.0)
    result.back()
    first = [float(n.gvalue) for n in result.nodes]
    result.back()
    assert [float(n.gvalue) for n in result.nodes] == first
    result.back(2.0)
    assert [float(n.gvalue) for n in result.nodes] == [2 * g for g in first]


def test_back_from_an_interior_node():
    result = M(3.0, 1.0)
    a, _ = result.root.children
    a.back()
    assert a.gvalue == 1 and a.grad(M.input("x")) == 1


def test_after_back_every_node_has_a_gradient():
    x, w = floats(2, 3), floats(3)
    result = M(x, w)
    result.back()
    assert [np.shape(n.gvalue) for n in result.nodes] == [(2, 3) + n.shape for n in result.nodes]
    same(result.root.gvalue, np.eye(6, dtype=np.float32).reshape(2, 3, 2, 3))
    a, b = result.root.children
    same(a.gvalue, jax.jacrev(lambda a: a * x**2)(x + w))
    same(b.gvalue, jax.jacrev(lambda b: (x + w) * b)(x**2))


def test_gradients_of_dead_ends_are_zero():
    m = module(lambda x, y: op.add(op.stop_gradient(op.square(x)), y))
    result = m(3.0, 2.0)
    result.back()
    assert (result.grad(m.input("x")), result.grad(m.input("y"))) == (0, 1)
    assert float(result.root.children[0].children[0].gvalue) == 0


def test_an_unused_input_is_no_part_of_the_graph():
    m = module(lambda x, y: op.square(x))
    result = m(3.0, 2.0)
    result.back()
    with pytest.raises(GraphError, match=r"Variable\('Model.y'\) is no part of this graph.*has: Variable\('Model.x'\)"):
        result.grad(m.input("y"))


def test_gradients_arrive_in_the_dtype_of_their_leaf():
    m = module(lambda x, w: op.mult(x, w))
    result = m(jnp.bfloat16(2), np.float32(3))
    result.back()
    assert result.value.dtype == "float32"
    assert result.grad(m.input("x")).dtype == "bfloat16" and result.grad(m.input("w")).dtype == "float32"


def test_a_huge_jacobian_is_refused_before_anything_is_allocated():
    x = np.zeros((1000, 1000), np.float32)
    m = module(lambda x: op.square(x))
    result = m(x)
    with pytest.raises(GraphError, match=r"(?s)full Jacobians, which would take 3725.3 GiB.*back\(cotangent\)"):
        result.back()
    assert not result.root.is_computed and result.root.gvalue is None
    result.back(np.ones_like(x))
    assert result.grad(m.input("x")).shape == x.shape
    assert m(2.0).value == 4


def test_the_limit_of_a_jacobian_is_half_of_the_memory(monkeypatch):
    monkeypatch.setattr(gradients.os, "sysconf", lambda name: {"SC_PHYS_PAGES": 200, "SC_PAGE_SIZE": 4}[name])
    m = module(lambda x: op.square(x))
    m(floats(10)).back()
    result = m(floats(11))
    with pytest.raises(GraphError, match="would take"):
        result.back()


def test_an_interior_jacobian_that_does_not_fit_is_refused_when_read(monkeypatch):
    result = module(lambda x: op.mult(op.broadcast_to(op.square(x), shape=(40,)), 2.0))(3.0)
    monkeypatch.setattr(gradients.os, "sysconf", lambda name: {"SC_PHYS_PAGES": 250, "SC_PAGE_SIZE": 4}[name])
    result.back()
    gradient = cg.get_input_nodes(result)[0].gvalue
    assert gradient is not None and gradient.shape == (40,)
    with pytest.raises(GraphError, match="would take"):
        _ = result.root.children[0].gvalue


def test_nothing_flows_before_back():
    result = M(3.0, 1.0)
    with pytest.raises(GraphError, match=r"no gradients yet: call back\(\)"):
        result.grad(M.input("x"))
    assert result.root.gvalue is None


def test_a_retained_node_is_computed_with_the_leaves():
    seen = []
    result = M(3.0, 1.0)
    a, b = result.root.children
    assert a.retain() is a
    b.on_gradient(lambda g: seen.append(float(g)))
    with zkynet_compilations() as count:
        result.back()
        assert a.gvalue == 9 and result.grad(M.input("x")) == 33
    assert seen == [4] and count() == 1
    result.back()
    assert seen == [4, 4]


def test_a_hook_set_inside_call_sees_every_step():
    seen = []

    def call(x):
        y = op.square(x)
        y.on_gradient(lambda g: seen.append(np.asarray(g).tolist()))
        return op.mult(y, 3.0)

    m = module(call)
    for x in (1.0, 2.0):
        m(x).back()
    m(f32([1, 2])).back(np.ones(2))
    assert seen == [3, 3, [3, 3]]


def test_a_failing_hook_leaves_the_gradients_readable():
    result = M(3.0, 1.0)

    def fail(g):
        raise RuntimeError("hook")

    result.root.children[0].on_gradient(fail)
    with pytest.raises(RuntimeError, match="hook"):
        result.back()
    assert result.grad(M.input("x")) == 33


def test_freezing_leaves_a_parameter_out_of_the_program_but_readable():
    w = cg.Parameter("w", 2.0, trainable=False)
    m = module(lambda x: op.mult(x, w))
    result = m(3.0)
    result.back()
    assert result.grad(m.input("x")) == 2
    assert result.grad(w) == 3


def test_what_is_no_cotangent_is_refused():
    with pytest.raises(InputError):
        M(3.0, 1.0).back("text")


def zkynet_compilations():
    from zkynet.framework.compile import count_compilations

    return count_compilations()
