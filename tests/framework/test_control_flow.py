"""Compiled loops and branches: op.scan, op.cond, op.while_loop, judged by jax.lax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError, InputError, ShapeError, TracedValueError

W, XS, H = floats(3, 3), floats(5, 3, seed=1), floats(3, seed=2)


def rnn(h, x, w):
    h = op.tanh(h @ w + x)
    return h, op.sum(h * x)


def rnn_jax(h, x, w):
    h = jnp.tanh(h @ w + x)
    return h, jnp.sum(h * x)


def run(h, xs, w, **options):
    return op.scan(lambda h, x: rnn(h, x, w), h, xs, **options)


def run_jax(h, xs, w, **options):
    return jax.lax.scan(lambda h, x: rnn_jax(h, x, w), h, xs, **options)


def total(run, square, add):
    """A scalar of the last carry and of all outputs."""
    def function(h, xs, w, **options):
        last, ys = run(h, xs, w, **options)
        return add(square(last)) + add(square(ys))
    return function


LOSS, LOSS_JAX = total(run, op.square, op.sum), total(run_jax, jnp.square, jnp.sum)


@pytest.mark.parametrize("options", [{}, {"reverse": True}], ids=str)
def test_scan_gives_the_last_carry_and_all_outputs(options):
    same(run(H, XS, W, **options), run_jax(H, XS, W, **options))


@pytest.mark.parametrize("options", [{}, {"reverse": True}], ids=str)
@pytest.mark.parametrize("length", [0, 1, 5])
def test_the_gradient_of_scan(length, options):
    found = zkynet.grad(lambda *a: LOSS(*a, **options), (0, 1, 2))(H, XS[:length], W)
    same(found, jax.grad(lambda *a: LOSS_JAX(*a, **options), (0, 1, 2))(H, XS[:length], W))


def test_second_derivatives_of_scan():
    v = floats(3, 3, seed=3)
    expected = jax.jvp(jax.grad(lambda w: LOSS_JAX(H, XS, w)), (W,), (v,))[1]
    same(zkynet.hvp(LOSS, 2)(H, XS, W, vector=v), expected, rtol=1e-4)
    same(zkynet.hessian(LOSS)(H, XS, W), jax.hessian(LOSS_JAX)(H, XS, W), rtol=1e-4)
    u = floats(5, 3, seed=4)
    same(zkynet.jvp(LOSS, 1)(H, XS, W, tangent=u), jax.jvp(lambda x: LOSS_JAX(H, x, W), (XS,), (u,)), rtol=1e-4)


def test_scan_in_a_module_captures_parameters_and_outside_nodes():
    m = module(lambda xs: op.sum(op.scan(lambda h, x: rnn(h, x * m.scale, m.w), op.zeros((3,)), op.sin(xs))[1]),
               cg.Parameter("w", W), cg.Parameter("scale", 2.0))

    def reference(xs, w, scale):
        return jnp.sum(jax.lax.scan(lambda h, x: rnn_jax(h, x * scale, w), jnp.zeros(3), jnp.sin(xs))[1])

    result = m(XS)
    result.back()
    expected = jax.value_and_grad(reference, (0, 1, 2))(XS, W, jnp.float32(2))
    same((result.value, (result.grad(m.input("xs")), result.grad(m.w), result.grad(m.scale))), expected, rtol=1e-4)
    assert {n.call_id for n in result.nodes} == {result.call_id}


def test_trees_in_scan():
    def step(carry, x):
        return {"a": carry["a"] + x["u"], "n": carry["n"] + 1}, (carry["a"] * x["v"][0], {"n": carry["n"]})

    xs = {"u": XS, "v": (XS[:, :1],)}
    init = {"a": H, "n": 0}
    same(op.scan(step, init, xs), jax.lax.scan(step, init, xs))
    same(zkynet.grad(lambda xs: op.sum(op.scan(step, init, xs)[1][0]))(xs),
         jax.grad(lambda xs: jnp.sum(jax.lax.scan(step, init, xs)[1][0]))(xs))


def test_scan_without_xs_counts():
    last, ys = op.scan(lambda c, _: (c * 2.0, c), 1.0, length=4)
    assert last.value == 16 and ys.value.tolist() == [1, 2, 4, 8]
    assert zkynet.grad(lambda c: op.scan(lambda c, _: (c * 2.0, c), c, length=4)[0])(1.0) == 16


def test_a_number_as_carry_adapts_to_the_dtype_of_the_loop():
    last, _ = op.scan(lambda c, x: (c + x, c), 0, XS[:, 0])
    same(last.value, np.sum(XS[:, 0]))
    assert op.while_loop(lambda c: c < 10.0, lambda c: c * 1.5, 1).value.dtype == "float32"


def test_loops_nest():
    def outer(xs, w):
        return op.sum(op.scan(lambda c, x: (c, LOSS(c, xs * x, w)), H, xs[:2, 0])[1])

    def outer_jax(xs, w):
        return jnp.sum(jax.lax.scan(lambda c, x: (c, LOSS_JAX(c, xs * x, w)), H, xs[:2, 0])[1])

    same(zkynet.grad(outer, (0, 1))(XS, W), jax.grad(outer_jax, (0, 1))(XS, W), rtol=1e-4)


def test_scan_of_a_gradient_descent():
    def step(w, _):
        loss, gradient = zkynet.value_and_grad(lambda w: op.sum(op.square(w - H)))(w)
        return w - 0.1 * gradient, loss

    def reference(w, _):
        loss, gradient = jax.value_and_grad(lambda w: jnp.sum(jnp.square(w - H)))(w)
        return w - 0.1 * gradient, loss

    same(op.scan(step, jnp.zeros(3), length=20), jax.lax.scan(reference, jnp.zeros(3), length=20), rtol=1e-4)


def test_integer_carries_and_xs_have_no_part_in_the_gradient():
    def step(carry, x):
        total, count = carry
        return (total + op.sin(x[0]) * x[1], count + 1), count

    def reference(carry, x):
        total, count = carry
        return (total + jnp.sin(x[0]) * x[1], count + 1), count

    xs = (XS[:, 0], np.arange(5))
    same(zkynet.grad(lambda x: op.scan(step, (0.0, 0), (x, xs[1]))[0][0])(xs[0]),
         jax.grad(lambda x: jax.lax.scan(reference, (0.0, 0), (x, xs[1]))[0][0])(xs[0]))


def test_scan_under_vmap():
    batch = floats(4, 5, 3)
    same(zkynet.vmap(lambda xs: LOSS(H, xs, W))(batch), jax.vmap(lambda xs: LOSS_JAX(H, xs, W))(batch))
    same(zkynet.vmap(zkynet.grad(lambda xs: LOSS(H, xs, W)))(batch),
         jax.vmap(jax.grad(lambda xs: LOSS_JAX(H, xs, W)))(batch), rtol=1e-4)


def test_a_loop_compiles_once_whatever_its_values_are():
    def loss(xs, w, factor):
        return op.sum(op.scan(lambda h, x: rnn(h, x * factor, w), H, xs)[0])

    gradient = zkynet.grad(loss, 1)
    gradient(XS, W, 2.0)
    with count_compilations() as count:
        same(gradient(XS * 2, W + 1, 3.0), jax.grad(
            lambda w: jnp.sum(jax.lax.scan(lambda h, x: rnn_jax(h, x * 3, w), jnp.asarray(H), XS * 2)[0]))(W + 1),
             rtol=1e-4)
    assert count() == 0


@pytest.mark.parametrize("call, message", [
    (lambda: op.scan(lambda c, x: (c, x), 0.0, (XS, W)), r"one common leading axis.*float32\[5,3\], float32\[3,3\]"),
    (lambda: op.scan(lambda c, x: (c, x), 0.0, 1.0), "one common leading axis"),
    (lambda: op.scan(lambda c, x: (c, x), 0.0), "length"),
    (lambda: op.scan(lambda c, x: (c, x), 0.0, XS, length=4), "length=4"),
    (lambda: op.scan(lambda c, x: (x, x), 0.0, XS),
     r"the carry goes in as \[float32\[\]\] and comes out as \[float32\[3\]\]"),
    (lambda: op.scan(lambda c, x: ((c, c), x), 0.0, XS), "must keep its structure"),
    (lambda: op.scan(lambda c, x: c, 0.0, XS), r"must return \(carry, output\)"),
    (lambda: op.scan(lambda c, x: None, 0.0, XS), r"must return \(carry, output\)"),
    (lambda: op.scan(lambda c, x: (c + 1.5, x), np.int32(0), XS), "int32.*float32"),
])
def test_a_scan_that_does_not_fit_is_refused(call, message):
    with pytest.raises((ShapeError, InputError), match=message):
        call()
    same(op.scan(lambda c, x: (c + x, x), H, XS)[0], H + XS.sum(0))


def test_a_value_asked_for_inside_a_loop_says_what_to_use():
    with pytest.raises(TracedValueError, match="op.cond"):
        op.scan(lambda c, x: (c if c > 0.0 else x, x), 0.0, XS[:, 0])


@pytest.mark.parametrize("inside", [False, True])
def test_a_state_cannot_be_updated_inside_a_loop(inside):
    state = cg.State("s", 0.0)

    def step(c, x):
        state.value = c
        return c, x

    def call(xs):
        return op.scan(step, 1.0, xs)[0]

    with pytest.raises(GraphError, match="cannot be updated inside scan"):
        module(call)(XS) if inside else call(XS)
    assert state.value == 0


# cond ----------------------------------------------------------------------------------------------------


def choose(p, x, w):
    return op.cond(p, lambda x: op.sin(x) * w, lambda x: x * x, x)


def choose_jax(p, x, w):
    return jax.lax.cond(p, lambda x: jnp.sin(x) * w, lambda x: x * x, x)


@pytest.mark.parametrize("p", [True, False, np.bool_(True), 0, 1.0, np.array(True)], ids=str)
def test_cond_chooses(p):
    same(choose(p, H, XS[0]), choose_jax(bool(p), H, XS[0]))


@pytest.mark.parametrize("p", [True, False])
def test_derivatives_of_cond(p):
    def loss(x, w):
        return op.sum(choose(op.sum(x) > (-100.0 if p else 100.0), x, w) * x)

    def reference(x, w):
        return jnp.sum(choose_jax(p, x, w) * x)

    same(zkynet.grad(loss, (0, 1))(H, XS[0]), jax.grad(reference, (0, 1))(H, XS[0]))
    same(zkynet.hessian(loss)(H, XS[0]), jax.hessian(reference)(H, XS[0]))
    same(zkynet.jvp(loss)(H, XS[0], tangent=XS[1])[1], jax.jvp(lambda x: reference(x, XS[0]), (H,), (XS[1],))[1])


def test_both_ways_of_cond_are_one_program():
    gradient = zkynet.grad(lambda x: op.cond(x > 0.0, lambda x: x * x, lambda x: op.sin(x), x))
    assert gradient(2.0) == 4
    with count_compilations() as count:
        assert gradient(-3.0) == np.float32(np.cos(-3))
    assert count() == 0


def test_only_the_chosen_branch_is_differentiated():
    def safe(x):
        return op.cond(x > 0.0, lambda x: op.sqrt(x), lambda x: op.zeros_like(x), x)

    assert zkynet.grad(safe)(-1.0) == 0 and zkynet.grad(safe)(4.0) == 0.25


def test_cond_captures_parameters_in_each_branch_and_takes_trees():
    a, b = cg.Parameter("a", 2.0), cg.Parameter("b", 3.0)
    m = module(lambda p, x: op.cond(p, lambda t: {"y": t[0] * a}, lambda t: {"y": t[0] * b + t[1]}, (x, 1.0))["y"])
    for p, expected in ((True, (10, 5, 0)), (False, (16, 0, 5))):
        result = m(p, 5.0)
        result.back()
        assert (result.value, result.grad(a), result.grad(b)) == expected
    nothing = op.cond(True, lambda: a * 1.0, lambda: b * 1.0)
    assert nothing.value == 2


def test_cond_under_vmap_and_in_scan():
    xs = f32([1, -1, 2])
    f = lambda x: op.cond(x > 0.0, lambda x: x * x, lambda x: -x, x)  # noqa: E731
    same(zkynet.vmap(zkynet.grad(f))(xs), f32([2, -1, 4]))
    same(zkynet.grad(lambda xs: op.scan(lambda c, x: (c + f(x), x), 0.0, xs)[0])(xs), f32([2, -1, 4]))


@pytest.mark.parametrize("call, message", [
    (lambda: op.cond(H > 0.0, lambda: H, lambda: H), r"needs a scalar condition, but got bool\[3\].*op.where"),
    (lambda: op.cond(True, lambda x: x, lambda x: (x, x), H), "both must return the same"),
    (lambda: op.cond(True, lambda x: x, lambda x: op.sum(x), H), r"returns \[float32\[3\]\] and false_fn returns"),
    (lambda: op.cond(True, lambda x: x, lambda x: x > 0.0, H), "both must return the same"),
    (lambda: op.cond("yes", lambda: H, lambda: H), "needs a number"),
])
def test_a_cond_that_does_not_fit_is_refused(call, message):
    with pytest.raises((ShapeError, InputError), match=message):
        call()


# while_loop ----------------------------------------------------------------------------------------------


def test_while_loop():
    w = cg.Parameter("w", 3.0)
    m = module(lambda x: op.while_loop(
        lambda c: c["n"] < 4, lambda c: {"n": c["n"] + 1, "x": c["x"] * w}, {"n": 0, "x": x}))
    same(m(2.0).value, {"n": np.int32(4), "x": np.float32(162)})
    assert op.while_loop(lambda x: x < 0.0, lambda x: x * 2.0, 1.0).value == 1


def test_the_number_of_steps_may_depend_on_values_without_compiling_again():
    f = module(lambda x, limit: op.while_loop(lambda c: c < limit, lambda c: c * 2.0, x))
    assert f(1.0, 100.0).value == 128
    with count_compilations() as count:
        assert f(3.0, 1000.0).value == 1536
    assert count() == 0


def test_a_while_loop_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="op.while_loop: the carry goes in as"):
        op.while_loop(lambda x: op.sum(x) < 1.0, lambda x: x[0], H)
    with pytest.raises((ShapeError, InputError), match="condition|scalar|bool"):
        op.while_loop(lambda x: x < 1.0, lambda x: x * 2.0, H)


def test_a_while_loop_has_no_gradient_and_says_so():
    with pytest.raises(zkynet.ZkynetError, match="op.scan"):
        zkynet.grad(lambda x: op.while_loop(lambda c: c < 100.0, lambda c: c * 2.0, x))(1.0)


def test_a_while_loop_on_what_is_not_differentiated_may_stand_in_a_loop():
    def step(c, _):
        return op.while_loop(lambda v: v < 10.0, lambda v: v * 2.0, op.stop_gradient(c)) * c, c

    def reference(c, _):
        return jax.lax.while_loop(lambda v: v < 10, lambda v: v * 2, jax.lax.stop_gradient(c)) * c, c

    same(zkynet.grad(lambda x: op.scan(step, x, length=2)[0])(1.0),
         jax.grad(lambda x: jax.lax.scan(reference, x, length=2)[0])(1.0))


def test_a_checkpointed_module_is_a_module_with_visible_parameters_and_keyword_inputs():
    class Block(cg.Module):
        def __init__(self):
            super().__init__()
            self.w = cg.Parameter("w", 2.0)

        def call(self, x, shift=0.0):
            return op.sin(x * self.w) + shift

    class Net(cg.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def call(self, x):
            return self.block(self.block(x, shift=1.0))

    plain = Net(Block())
    again = Net(zkynet.checkpoint(Block()))
    assert [path for path, _ in again.named_parameters()] == ["block.module.w"]

    def found(net):
        result = net(0.5)
        result.back()
        return float(result.value), float(result.grad(net.parameters()[0])), float(result.grad(net.input("x")))

    assert found(again) == pytest.approx(found(plain), rel=1e-6)
    alone = zkynet.checkpoint(Block())
    assert float(alone(0.5).value) == pytest.approx(np.sin(1.0), rel=1e-6)
