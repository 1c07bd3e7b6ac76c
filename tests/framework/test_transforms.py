"""Functions of functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp and vmap, judged by JAX's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError, InputError, ShapeError, TracedValueError


def f(x, w):
    return op.sum(op.sin(x * w) * x)


def f_jax(x, w):
    return jnp.sum(jnp.sin(x * w) * x)


X, W, V = floats(3), floats(3, seed=1), floats(3, seed=2)


def test_grad_takes_and_gives_arrays():
    gradient = zkynet.grad(f)(X, W)
    assert isinstance(gradient, jax.Array)
    same(gradient, jax.grad(f_jax)(X, W))
    same(zkynet.grad(lambda x: x * x)(3.0), jnp.float32(6))


def test_grad_keeps_name_and_doc_of_the_function():
    def loss(x):
        """The loss."""
        return op.sum(x)

    assert zkynet.grad(loss).__name__ == "loss" and zkynet.grad(loss).__doc__ == "The loss."
    zkynet.grad(module(loss))


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1,), (0, 1), (1, 0)], ids=str)
def test_argnums(argnums):
    same(zkynet.grad(f, argnums)(X, W), jax.grad(f_jax, argnums if argnums != -1 else 1)(X, W))


def test_an_argnum_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="argnums=2 but the function was called with 2 positional inputs"):
        zkynet.grad(f, 2)(X, W)


def test_value_and_grad():
    same(zkynet.value_and_grad(f, (0, 1))(X, W), jax.value_and_grad(f_jax, (0, 1))(X, W))


def test_inputs_may_be_trees():
    tree = {"a": X, "pair": (W, 2.0)}

    def loss(t):
        return f(t["a"], t["pair"][0]) * t["pair"][1]

    expected = jax.grad(lambda t: f_jax(t["a"], t["pair"][0]) * t["pair"][1])(tree)
    expected["pair"] = (expected["pair"][0], jnp.asarray(expected["pair"][1], jnp.float32))
    same(zkynet.grad(loss)(tree), expected)


def test_keyword_inputs_are_passed_on():
    same(zkynet.grad(f)(X, w=W), jax.grad(f_jax)(X, W))
    same(zkynet.grad(module(f))(X, w=W), jax.grad(f_jax)(X, W))


def test_a_module_is_a_function():
    m = module(lambda x: op.sum(op.sin(x) * m.w), cg.Parameter("w", W))
    same(zkynet.grad(m)(X), np.cos(X) * W)


@pytest.mark.parametrize("value", [jnp.asarray(X), X], ids=["jax", "numpy"])
def test_the_same_array_passed_twice_has_two_derivatives(value):
    same(zkynet.grad(f, (0, 1))(value, value), jax.grad(f_jax, (0, 1))(X, X))
    tree = zkynet.grad(lambda t: f(t[0], t[1]))([value, value])
    same(tree, list(jax.grad(f_jax, (0, 1))(X, X)))
    same(zkynet.hvp(lambda a: f(a, value))(value, vector=V),
         jax.jvp(jax.grad(f_jax), (X, X), (V, np.zeros_like(V)))[1])


def test_an_array_that_the_function_uses_besides_is_a_constant():
    x = jnp.asarray(X)
    same(zkynet.grad(lambda a: f(a, x))(x), jax.grad(f_jax)(X, X))
    p = cg.Parameter("p", X)
    same(zkynet.grad(lambda a: f(a, p))(p), jax.grad(f_jax)(X, X))


def test_gradients_through_integers_are_float32():
    same(zkynet.grad(lambda x: x * x * x)(3), np.float32(27))
    same(zkynet.grad(lambda x: op.sum(x * x))(np.arange(3)), f32([0, 2, 4]))
    same(zkynet.jacobian(lambda x: x * x)(np.arange(2)), f32([[0, 0], [0, 2]]))


def test_an_embedding_looks_up_rows_by_integers():
    table, index = floats(5, 3), np.array([[0, 4], [4, 1]])

    def loss(table, index):
        return op.sum(op.square(op.take(table, index, axis=0)))

    expected = jax.grad(lambda t: jnp.sum(jnp.square(t[index])))(table)
    same(zkynet.grad(loss)(table, index), expected)
    gradients = zkynet.grad(loss, (0, 1))(table, index)
    same(gradients, (expected, np.zeros((2, 2), np.float32)))
    parameter = cg.Parameter("table", table)
    same(zkynet.grad(lambda i: loss(parameter, i), wrt=[parameter])(index), [expected])


def test_with_respect_to_parameters():
    integer = cg.Parameter("n", 3)
    m = module(lambda x: f(x, m.w) * m.scale, cg.Parameter("w", W), cg.Parameter("scale", 2.0))
    expected = jax.grad(lambda w, s: f_jax(X, w) * s, (0, 1))(W, jnp.float32(2))
    found = zkynet.grad(m, wrt=m.parameters())(X)
    assert isinstance(found, list)
    same(found, list(expected))
    same(zkynet.grad(module(lambda: op.square(m.scale)), wrt=[m.scale])(), [np.float32(4)])
    same(zkynet.grad(lambda x: x * integer, wrt=[integer])(2.5), [np.float32(2.5)])
    inputs, parameters = zkynet.grad(m, argnums=0, wrt=[m.w])(X)
    same(inputs, jax.grad(lambda x: f_jax(x, W) * 2)(X))
    same(parameters, [expected[0]])


def test_what_is_no_list_of_parameters_is_refused():
    wrong: Any = [X]
    m = module(lambda x: f(x, m.w), cg.Parameter("w", W))
    with pytest.raises(InputError, match="wrt takes a list of Parameters"):
        zkynet.grad(m, wrt=wrong)(X)
    with pytest.raises(InputError, match="wrt takes a list of Parameters"):
        zkynet.grad(m, wrt=m.w)(X)


def test_a_parameter_that_is_not_used_has_a_zero_gradient():
    same(zkynet.grad(lambda x: op.sum(x), wrt=[cg.Parameter("w", W)])(X), [np.zeros(3, np.float32)])
    same(zkynet.grad(lambda x: op.sum(op.stop_gradient(x)))(X), np.zeros(3, np.float32))
    same(zkynet.grad(lambda x: 3.0)(X), np.zeros(3, np.float32))


@pytest.mark.parametrize("function, message", [
    (lambda x: x, r"one scalar, but grad of <lambda> returned \[float32\[3\]\].*jacobian or vjp"),
    (lambda x: (op.sum(x), op.sum(x)), "one scalar"),
    (lambda x: None, "one scalar|returned None"),
    (lambda x: op.sum(x) > 0.0, "one scalar|bool"),
])
def test_what_is_no_scalar_has_no_gradient(function, message):
    with pytest.raises((ShapeError, GraphError), match=message):
        zkynet.grad(function)(X)


def test_vjp():
    def g(x, w):
        return {"sin": op.sin(x * w), "sum": op.sum(x)}

    cotangent = {"sin": V, "sum": np.float32(2)}
    value, pull = jax.vjp(lambda x, w: {"sin": jnp.sin(x * w), "sum": jnp.sum(x)}, X, W)
    same(zkynet.vjp(g, (0, 1))(X, W, cotangent=cotangent), (value, pull(cotangent)))
    same(zkynet.vjp(g)(X, W, cotangent=cotangent)[1], pull(cotangent)[0])
    with pytest.raises(ShapeError, match="the cotangent needs the form and shapes of its output"):
        zkynet.vjp(g)(X, W, cotangent={"sin": V, "sum": V})
    with pytest.raises(ShapeError, match="cotangent"):
        zkynet.vjp(g)(X, W, cotangent=(V, np.float32(2)))


def test_jvp():
    def g(x, w):
        return op.sin(x * w), op.sum(x)

    expected = jax.jvp(lambda x, w: (jnp.sin(x * w), jnp.sum(x)), (X, W), (V, 2 * V))
    same(zkynet.jvp(g, (0, 1))(X, W, tangent=(V, 2 * V)), expected)
    same(zkynet.jvp(f)(X, W, tangent=V), jax.jvp(f_jax, (X, W), (V, np.zeros_like(V))))
    m = module(lambda x: f(x, m.w), cg.Parameter("w", W))
    same(zkynet.jvp(m, wrt=[m.w])(X, tangent=[V])[1], jax.jvp(lambda w: f_jax(X, w), (W,), (V,))[1])
    with pytest.raises(ShapeError, match="the tangent needs the form and shapes of its input"):
        zkynet.jvp(f)(X, W, tangent=floats(2))


@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (2, 1, 2, 2)], ids=str)
def test_jacobian(shape):
    x, w = floats(*shape), floats(*shape[-1:], seed=1)
    expected = jax.jacrev(lambda x, w: jnp.sin(x * w) * x, (0, 1))(x, w)
    same(zkynet.jacobian(lambda x, w: op.sin(x * w) * x, (0, 1))(x, w), expected)


def test_jacobian_of_a_matrix_product():
    a, b = floats(2, 3), floats(3, 2)
    same(zkynet.jacobian(lambda a, b: a @ b, (0, 1))(a, b), jax.jacrev(jnp.matmul, (0, 1))(a, b))
    p = cg.Parameter("p", b)
    same(zkynet.jacobian(lambda a: a @ p, wrt=[p])(a), [jax.jacrev(jnp.matmul, 1)(a, b)])


def test_jacobian_needs_one_output():
    with pytest.raises(ShapeError, match="jacobian needs one output, but got 2"):
        zkynet.jacobian(lambda x: (x, x))(X)


def test_hessian():
    same(zkynet.hessian(f)(X, W), jax.hessian(f_jax)(X, W))
    same(zkynet.hessian(f, 1)(X, W), jax.hessian(f_jax, 1)(X, W))
    p = cg.Parameter("p", W)
    same(zkynet.hessian(lambda x: f(x, p), wrt=[p])(X), jax.hessian(f_jax, 1)(X, W))
    with pytest.raises(GraphError, match="use hvp"):
        zkynet.hessian(f, wrt=[p, cg.Parameter("q", W)])
    with pytest.raises(GraphError, match="use hvp"):
        zkynet.hessian(f, (0, 1))


def test_hvp_is_forward_over_reverse():
    same(zkynet.hvp(f)(X, W, vector=V), jax.jvp(jax.grad(f_jax), (X, W), (V, np.zeros_like(V)))[1])
    both = jax.jvp(jax.grad(f_jax, (0, 1)), (X, W), (V, W))[1]
    same(zkynet.hvp(f, (0, 1))(X, W, vector=(V, W)), both)
    p = cg.Parameter("p", W)
    same(zkynet.hvp(lambda x: f(x, p), wrt=[p])(X, vector=[V]), [jax.hessian(f_jax, 1)(X, W) @ V], rtol=1e-4)


def test_derivatives_nest():
    m = module(lambda x: x * x * x * x)
    same(zkynet.grad(zkynet.grad(m))(1.5), np.float32(12 * 1.5**2))
    same(zkynet.grad(zkynet.grad(zkynet.grad(m)))(1.5), np.float32(24 * 1.5))
    same(zkynet.jvp(zkynet.grad(m))(1.5, tangent=2.0)[1], np.float32(2 * 12 * 1.5**2))
    same(zkynet.grad(lambda x: zkynet.jvp(m)(x, tangent=1.0)[1])(1.5), np.float32(12 * 1.5**2))
    same(zkynet.jacobian(zkynet.jacobian(lambda x: x * x))(V),
         jax.jacrev(jax.jacrev(lambda x: x * x))(V))


def test_a_derivative_within_a_function_leaves_what_it_uses_besides_constant():
    same(zkynet.grad(lambda x: x * zkynet.grad(lambda y: x * y)(x))(3.0), np.float32(6))
    same(module(lambda x: zkynet.grad(lambda y: y * x)(x))(3.0).value, np.float32(3))
    same(zkynet.compile(lambda x: zkynet.grad(lambda y: y * x)(x))(3.0), np.float32(3))
    same(zkynet.vmap(lambda x: zkynet.jvp(lambda y: y * x)(x, tangent=1.0)[1])(V), V)


def test_a_penalty_on_the_gradient():
    def penalty(w):
        gradient = zkynet.grad(f)(X, w)
        assert isinstance(gradient, cg.Node) and not gradient.is_computed
        return f(X, w) + op.sum(op.square(gradient))

    expected = jax.grad(lambda w: f_jax(X, w) + jnp.sum(jnp.square(jax.grad(f_jax)(X, w))))(W)
    same(zkynet.grad(penalty)(W), expected)


def test_nodes_in_nodes_out():
    x = op.sin(X)
    gradient = zkynet.grad(f)(x, W)
    assert isinstance(gradient, cg.Node) and not gradient.is_computed
    same(gradient.value, jax.grad(f_jax)(np.sin(X), W), rtol=1e-4)
    value, gradient = zkynet.value_and_grad(f)(module(lambda x: op.sin(x))(X), W)
    assert isinstance(value, cg.Node) and isinstance(gradient, cg.Node)
    total = op.sum(gradient)
    total.back()
    expected = jax.grad(lambda x: jnp.sum(jax.grad(f_jax)(jnp.sin(x), W)))(X)
    same(x.gvalue if False else zkynet.grad(lambda x: op.sum(zkynet.grad(f)(op.sin(x), W)))(X), expected, rtol=1e-4)
    same(zkynet.vjp(lambda x: op.sin(x))(X, cotangent=op.sin(V))[1].value, np.cos(X) * np.sin(V))


def test_transforms_inside_a_module():
    class Physics(cg.Module):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("k", 3.0),))

        def call(self, x):
            return op.negative(zkynet.grad(lambda y: op.square(y) * y * self.param("k"))(x))

    m = Physics()
    result = m(2.0)
    assert result.value == -36
    result.back()
    assert (result.grad(m.param("k")), result.grad(m.input("x"))) == (-12, -36)
    assert {n.call_id for n in result.nodes} == {result.call_id}


def test_python_control_flow_on_values():
    def piecewise(x):
        for _ in range(3):
            x = op.sin(x) if x > 0.0 else x * x
        return x

    def reference(x):
        for _ in range(3):
            x = jnp.sin(x) if x > 0 else x * x
        return x

    for x in (0.5, -0.5, 2.0):
        same(zkynet.grad(piecewise)(x), jax.grad(reference)(x))
        same(zkynet.grad(zkynet.grad(piecewise))(x), jax.grad(jax.grad(reference))(x))


def test_a_value_asked_for_where_only_shapes_are_known_says_what_to_use():
    with pytest.raises(TracedValueError, match="Use op.cond, op.where or op.scan"):
        zkynet.vmap(lambda x: x if x > 0.0 else -x)(X)
    assert zkynet.grad(lambda x: x * x)(1.0) == 2


def test_vmap():
    xs, ws = floats(4, 3), floats(4, 3, seed=1)
    same(zkynet.vmap(f)(xs, ws), jax.vmap(f_jax)(xs, ws))
    same(zkynet.vmap(f, in_axes=(0, None))(xs, W), jax.vmap(f_jax, (0, None))(xs, W))
    same(zkynet.vmap(f, in_axes=(1, 0))(floats(3, 4), ws), jax.vmap(f_jax, (1, 0))(floats(3, 4), ws))
    same(zkynet.vmap(lambda x: op.sin(x), out_axes=1)(xs), np.sin(xs).T)
    same(zkynet.vmap(zkynet.vmap(lambda x: op.sin(x)))(xs), np.sin(xs))
    same(zkynet.vmap(lambda t: {"s": t["a"] * t["b"]})({"a": xs, "b": ws}), {"s": xs * ws})


def test_vmap_is_one_program_however_many_outputs():
    with count_compilations() as count:
        first, second, _ = zkynet.vmap(lambda x: (op.sin(x), op.cos(x), op.tan(x)))(V)
    assert count() == 1
    same((first, second), (np.sin(V), np.cos(V)))


def test_vmap_and_derivatives_compose():
    xs = floats(4, 3)
    same(zkynet.vmap(zkynet.grad(f), in_axes=(0, None))(xs, W), jax.vmap(jax.grad(f_jax), (0, None))(xs, W))
    same(zkynet.grad(lambda x: op.sum(zkynet.vmap(f, (0, None))(xs, x)))(W),
         jax.grad(lambda w: jnp.sum(jax.vmap(f_jax, (0, None))(xs, w)))(W))
    same(zkynet.jvp(lambda w: zkynet.vmap(f, (0, None))(xs, w))(W, tangent=V),
         jax.jvp(lambda w: jax.vmap(f_jax, (0, None))(xs, w), (W,), (V,)))
    same(zkynet.vmap(zkynet.hessian(f), (0, None))(xs, W), jax.vmap(jax.hessian(f_jax), (0, None))(xs, W), rtol=1e-4)
    p = cg.Parameter("p", W)
    per_example = zkynet.vmap(zkynet.grad(lambda x: f(x, p), wrt=[p]))(xs)
    same(per_example, [jax.vmap(jax.grad(f_jax, 1), (0, None))(xs, W)])


@pytest.mark.parametrize("call, message", [
    (lambda: zkynet.vmap(f)(floats(4, 3), floats(3, 3)), r"one common length of the mapped axes, but got \[3, 4\]"),
    (lambda: zkynet.vmap(f, (None, None))(X, W), "one common length"),
    (lambda: zkynet.vmap(f, (0, 2))(X, W), "axis 2 is out of range"),
    (lambda: zkynet.vmap(f)(X, 1.0), "axis 0 is out of range"),
    (lambda: zkynet.vmap(f, (0,))(X, W), "in_axes has 1 entries for 2 inputs"),
])
def test_vmap_refuses_axes_that_do_not_fit(call, message):
    with pytest.raises((ShapeError, InputError), match=message):
        call()


def test_integer_outputs_have_zero_tangents_and_no_cotangents():
    def g(x):
        return op.sum(x), op.argmax(x)

    value, tangent = zkynet.jvp(g)(X, tangent=V)
    same(value, (np.sum(X), np.int32(np.argmax(X))))
    same(tangent[0], np.sum(V))


def test_checkpoint_has_the_same_value_and_derivatives():
    inner = module(lambda x: op.sin(op.sin(x) * inner.w), cg.Parameter("w", W))

    def loss(x):
        return op.sum(zkynet.checkpoint(inner)(x) * x)

    def reference(x, w):
        return jnp.sum(jnp.sin(jnp.sin(x) * w) * x)

    same(zkynet.value_and_grad(loss, 0, [inner.w])(X),
         (reference(X, W), (jax.grad(reference)(X, W), [jax.grad(reference, 1)(X, W)])))
    same(zkynet.hvp(loss)(X, vector=V), jax.hessian(reference)(X, W) @ V, rtol=1e-4)
    batch = floats(4, 3, seed=5)
    same(zkynet.vmap(zkynet.grad(loss))(batch), jax.vmap(jax.grad(reference), (0, None))(batch, W), rtol=1e-4)
    model = module(lambda x: loss(x))
    result = model(X)
    result.back()
    same(result.grad(inner.w), jax.grad(reference, 1)(X, W))


def test_checkpoint_lowers_the_memory_of_the_compiled_program():
    from zkynet.framework import compile as compiling

    w = jnp.asarray(floats(32, 32))

    def block(x):
        for _ in range(8):
            x = op.sin(x @ w)
        return x

    def memory(wrap):
        def loss(x):
            for _ in range(4):
                x = wrap(block)(x)
            return op.sum(x)

        compiling.clear_compile_cache()
        x = floats(512, 32)
        zkynet.grad(loss)(x)
        (program,) = [s for s in compiling._structures.values() if s.program is not None]
        lowered = jax.jit(program.evaluate).lower(*(aval.struct for aval in program.in_avals))
        analysis = lowered.compile().memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    assert memory(zkynet.checkpoint) < 0.6 * memory(lambda function: function)


def test_keyword_inputs_of_vmap_are_the_same_for_all_examples():
    scaled = zkynet.vmap(lambda x, by: op.sum(x * by))
    assert scaled(np.ones((3, 2), np.float32), by=np.array([1.0, 2.0], np.float32)).tolist() == [3.0, 3.0, 3.0]


def test_hessian_vector_products_arrive_in_the_dtype_of_the_vector():
    x = np.array([1.0, 2.0], np.float32)
    with zkynet.precision("bfloat16"):
        product = zkynet.hvp(lambda x: op.sum(x * x * x))(x, vector=np.ones(2, np.float32))
    assert product.dtype == np.float32
    np.testing.assert_allclose(product, 6 * x, rtol=0.02)
