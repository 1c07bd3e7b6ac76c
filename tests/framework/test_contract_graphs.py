"""Contract 3: graphs of separate calls are separate, nodes are shared within one, and graphs can be chained."""

from __future__ import annotations

import gc
import weakref

import jax
import numpy as np
import pytest
from checks import f32, floats, module, same

from zkynet.framework import cg, op


class Linear(cg.Module):
    def __init__(self, w):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", w),))

    def call(self, x):
        return op.mult(x, self.param("w"))


class Loss(cg.Module):
    def call(self, prediction, target):
        return op.square(op.add(prediction, op.negative(target)))


def test_two_calls_share_no_node_and_no_id():
    m, x = Linear(2.0), f32([1, 2])
    first, second = m(x), m(x)
    first.root.back(np.ones(2))
    assert not set(first.nodes) & set(second.nodes)
    assert not {n.id for n in first.nodes} & {n.id for n in second.nodes}
    assert {n.call_id for n in first.nodes} == {first.call_id} != {second.call_id}
    assert {n.call_id for n in second.nodes} == {second.call_id}
    assert second.root.gvalue is None


def test_call_ids_are_unique_and_fixed():
    m = Linear(2.0)
    results = [m(1.0) for _ in range(5)]
    ids = [r.call_id for r in results]
    assert len(set(ids)) == 5 and ids == [r.call_id for r in results]


def test_nodes_of_submodules_carry_the_outer_call_id():
    inner = Linear(2.0)
    outer = module(lambda x: inner(inner(x)))
    result = outer(1.0)
    assert {n.call_id for n in result.nodes} == {result.call_id}


def test_a_parameter_used_twice_is_one_node_with_two_parents():
    m = Linear(3.0)
    result = module(lambda x: op.add(m(x), m(op.square(x))))(2.0)
    (leaf,) = [n for n in cg.get_input_nodes(result) if n.template is m.param("w")]
    assert len(leaf.parents) == 2 and {p.name for p in leaf.parents} == {"mult"}


def test_an_array_used_twice_is_one_node():
    shared = jax.numpy.ones(3)
    result = module(lambda x: op.add(op.mult(x, shared), shared))(1.0)
    assert len(cg.get_input_nodes(result)) == 2


def test_x_times_x_is_one_parent_with_two_slots():
    m = module(lambda x: op.mult(x, x))
    result = m(3.0)
    (x,) = cg.get_input_nodes(result)
    assert result.root.children == (x, x) and x.parents == (result.root,)
    result.back()
    assert result.grad(m.input("x")) == 6
    assert result.root.grad(x) == 6


def test_the_same_array_for_two_inputs_is_two_nodes_with_gradients_of_their_own():
    m = module(lambda a, b: op.mult(op.square(a), b))
    for value in (jax.numpy.float32(3), 3.0, 3):
        result = m(value, value)
        result.back()
        assert (result.grad(m.input("a")), result.grad(m.input("b"))) == (18, 9)


def test_equal_inputs_of_two_joined_calls_stay_apart():
    m = module(lambda x: op.square(x))
    first, second = m(3.0), m(3.0)
    op.add(first, op.mult(second, 10.0)).back()
    assert [r.root.children[0].gvalue for r in (first, second)] == [6, 60]


def test_results_chain_before_anything_is_computed():
    model, loss_fn = Linear(f32([2, 3])), Loss()
    x, y = f32([1, 4]), f32([0, 10])
    prediction = model(x)
    loss = loss_fn(prediction, y)
    assert not prediction.root.is_computed and not loss.root.is_computed
    assert prediction.root in loss.nodes
    loss.back(np.ones(2))
    same(loss.grad(model.param("w")), f32([4, 16]))
    same(loss.value, f32([4, 4]))


def test_a_chain_reaches_inputs_and_interior_nodes_of_every_call():
    model = Linear(2.0)
    first = model(3.0)
    second = module(lambda y: op.square(y))(first)
    third = module(lambda z: op.mult(z, 5.0))(second)
    third.back()
    assert third.value == 180
    assert third.grad(model.param("w")) == 5 * 2 * 6 * 3
    assert third.grad(model.input("x")) == 5 * 2 * 6 * 2
    assert (third.grad(first.root), third.grad(second.root)) == (60, 5)
    assert first.root.gvalue == 60 and first.root.parents == (second.root,)
    assert len({first.call_id, second.call_id, third.call_id}) == 3


def test_one_result_may_continue_into_several_graphs():
    model = Linear(2.0)
    base = model(3.0)
    square, double = module(lambda y: op.square(y))(base), module(lambda y: op.add(y, y))(base)
    square.back()
    assert square.grad(model.param("w")) == 36
    double.back()
    assert double.grad(model.param("w")) == 6
    assert len(base.root.parents) == 2


def test_operators_outside_any_module_make_graphs_too():
    w = cg.Parameter("w", 3.0)
    y = op.square(op.mult(w, 2.0))
    assert isinstance(y, cg.Node) and y.value == 36
    y.back()
    assert y.grad(w) == 24


def test_asking_for_a_value_in_between_computes_that_part_only():
    seen = []

    def call(x):
        a = op.square(x)
        b = op.add(a, 1.0)
        seen.append(float(a.value))
        assert a.is_computed and not b.is_computed
        return op.mult(b, a) if a > 5.0 else b

    m = module(call)
    big, small = m(3.0), m(1.0)
    assert (big.value, small.value, seen) == (90, 2, [9, 1])
    big.back()
    assert big.grad(m.input("x")) == 4 * 27 + 2 * 3


def test_python_symbols_build_the_graph():
    x = floats(3)
    result = module(lambda x: -(2.0 * x + 1.0) * x)(x)
    same(result.value, -(2 * x + 1) * x)
    same((x + op.square(x)).value, x + x * x)
    same((module(lambda x: op.add(x, 0.0))(x) * np.float32(2)).value, x * 2)


def test_a_graph_is_freed_with_its_last_result():
    m = Linear(2.0)
    result = m(3.0)
    result.back()
    result.grad(m.param("w"))
    root = weakref.ref(result.root)
    gc.collect()
    gc.disable()
    try:
        del result
        assert root() is None, "freeing must not wait for the cycle collector"
    finally:
        gc.enable()


def test_chained_losses_of_many_steps_do_not_keep_each_other_alive():
    model, loss_fn = Linear(2.0), Loss()
    roots = []
    for step in range(3):
        loss = loss_fn(model(1.0), float(step))
        loss.back()
        roots.append(weakref.ref(loss.root))
    gc.collect()
    assert [r() is None for r in roots] == [True, True, False]


def test_a_parameter_that_changed_between_two_joined_calls_has_the_gradient_of_both():
    m = Linear(2.0)
    first = m(1.0)
    m.param("w").value = 3.0
    second = m(5.0)
    joined = op.add(first, op.mult(second, 10.0))
    joined.back()
    assert (joined.value, joined.grad(m.param("w"))) == (152, 51)
    leaves = [n for n in cg.get_input_nodes(joined) if n.template is m.param("w")]
    assert [n.gvalue for n in leaves] == [1, 50]


def test_a_module_may_return_its_input():
    m = module(lambda x: x)
    result = m(3.0)
    result.back()
    assert (result.value, result.grad(m.input("x"))) == (3, 1)
    outer = module(lambda y: y)(Linear(2.0)(3.0))
    assert outer.value == 6


def test_a_node_that_is_used_again_and_again_remembers_only_what_is_alive():
    x = op.sin(1.0)
    for _ in range(500):
        op.cos(x)
    assert x.call.ends is not None and len(x.call.ends) < 50


def test_printing_a_result_shows_shapes_and_computes_nothing():
    result = Linear(f32([2, 3]))(1.0)
    assert "float32[2]" in repr(result) and "mult" in str(result)
    assert not result.root.is_computed


@pytest.mark.parametrize("depth", [3000])
def test_deep_graphs_are_no_recursion(depth: int):
    def call(x):
        for _ in range(depth):
            x = op.negative(x)
        return x

    result = module(call)(1.0)
    assert len(result.nodes) == depth + 1
