"""Contract 8: state is explicit, updated by assignment inside call(), and committed with the graph."""

from __future__ import annotations

import copy
import pickle

import jax
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError, ShapeError


class Running(cg.Module):
    """Subtracts a running mean; counts the calls; has a weight."""

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 1.0),))
        self.mean = cg.State("mean", np.zeros(3, np.float32))
        self.count = cg.State("count", 0)

    def call(self, x):
        if self.training:
            self.mean.value = self.mean * 0.5 + x * 0.5
            self.count.value = self.count + 1
        return (x - self.mean) * self.param("w")


X = f32([2, 4, 8])


def test_an_update_is_part_of_the_graph_and_seen_by_what_follows():
    m = Running()
    result = m(X)
    assert not result.root.is_computed
    same(result.value, X / 2)
    same(m.mean.value, X / 2)
    assert m.count.value == 1


def test_updates_are_committed_once_however_often_values_are_read():
    m = Running()
    result = m(X)
    for _ in range(3):
        same(result.value, X / 2)
        result.back(np.ones(3))
        result.grad(m.param("w"))
        _ = [n.gvalue for n in result.nodes]
    assert m.count.value == 1
    same(m.mean.value, X / 2)


@pytest.mark.parametrize("compute", [
    lambda m, r: r.value, lambda m, r: (r.back(np.ones(3)), r.grad(m.param("w"))), lambda m, r: m.mean.value,
    lambda m, r: m.count.value, lambda m, r: m.state_dict(), lambda m, r: r.root.children[0].value,
], ids=["value", "back", "state", "other state", "state_dict", "interior node"])
def test_whatever_is_computed_first_commits(compute):
    m = Running()
    result = m(X)
    compute(m, result)
    same((m.mean.value, m.count.value), (X / 2, np.int32(1)))
    same(result.value, X / 2)
    assert m.count.value == 1


def test_updates_are_looked_for_down_to_what_is_computed():
    """Otherwise a chain of which each value is asked for would be walked from its beginning each time."""
    _ = Running()(X)  # from now on they are looked for
    first = op.sin(X)
    second = op.sin(first)
    _ = second.value
    third = op.sin(second)
    del second.inputs  # who looks below it fails
    same(third.value, np.sin(np.sin(np.sin(X))))


def test_value_update_and_gradient_are_one_program():
    m = Running()
    zkynet.clear_compile_cache()
    with count_compilations() as count:
        result = m(X)
        result.back(np.ones(3))
        result.grad(m.param("w"))
        _ = result.value, m.mean.value, m.count.value
    assert count() == 1


def test_a_second_step_compiles_nothing():
    m = Running()
    def step():
        result = m(X)
        result.back(np.ones(3))
        return result.grad(m.param("w"))
    step()
    with count_compilations() as count:
        for _ in range(3):
            step()
    assert count() == 0 and m.count.value == 4


def test_chained_calls_see_each_others_update():
    m = Running()
    result = module(lambda x: m(x) + m(x) * 10.0)(X)
    mean1, mean2 = X / 2, X / 4 + X / 2
    same(result.value, (X - mean1) + (X - mean2) * 10)
    same((m.mean.value, m.count.value), (mean2, np.int32(2)))


def test_calls_that_were_not_computed_yet_count_in_order():
    m = Running()
    results = [m(X * k) for k in (1.0, 2.0, 3.0)]
    same(results[2].value, X * 3 - (X / 8 + X / 2 + X * 1.5))
    assert m.count.value == 3
    same(results[0].value, X / 2)
    assert m.count.value == 3


@pytest.mark.parametrize("computed", [False, True])
def test_a_gradient_that_is_read_late_takes_back_no_later_update(computed):
    m = Running()
    total = op.sum(m(X))
    total.back()
    if computed:
        _ = total.value
    second = m(X * 2)
    same(total.grad(m.param("w")), np.sum(X / 2))
    _ = second.value
    assert m.count.value == 2
    same(m.mean.value, X / 4 + X)


def test_gradients_do_not_flow_into_earlier_calls():
    m = Running()
    first = m(X)
    second = m(X * 2)
    second.back(np.ones(3))
    same(second.grad(m.input("x")), f32([0.5] * 3))
    assert first.call_id != second.call_id


def test_within_a_call_gradients_flow_through_an_update():
    state = cg.State("s", 2.0)

    def call(x):
        state.value = op.square(x)
        return state * 3.0

    m = module(call)
    result = m(5.0)
    result.back()
    assert (result.value, result.grad(m.input("x")), state.value) == (75, 30, 25)


def test_evaluation_mode_updates_nothing():
    m = Running()
    m.eval()
    same(m(X).value, X)
    assert m.count.value == 0


def test_transforms_commit_too():
    m = Running()
    loss = module(lambda x: op.sum(m(x)))
    zkynet.grad(loss)(X)
    assert m.count.value == 1
    zkynet.value_and_grad(loss, wrt=m.parameters())(X)
    zkynet.jvp(loss)(X, tangent=X)
    zkynet.vjp(m)(X, cotangent=X)
    zkynet.jacobian(m)(X)
    assert m.count.value == 5
    same(m.mean.value, X * (1 - 0.5**5))


def test_a_compiled_function_commits_at_every_call_and_traces_once():
    m = Running()
    traced = []

    def step(x):
        traced.append(1)
        return m(x)

    compiled, plain = zkynet.compile(step), Running()
    for k in range(1, 4):
        same(compiled(X * k), plain(X * k).value)
    same((m.mean.value, m.count.value), (plain.mean.value, plain.count.value))
    assert len(traced) == 1
    assert m.count.value == 3


def test_plain_and_compiled_calls_share_the_state():
    m = Running()
    compiled = zkynet.compile(m)
    pending = m(X)
    compiled(X)
    assert m.count.value == 2
    same(pending.value, X / 2)
    assert m.count.value == 2


def test_a_state_may_be_assigned_arrays_outside_of_calls():
    m = Running()
    m.mean.value = np.ones(3)
    m.count.value = 10
    same(m(X).value, X - (X + 1) / 2)
    assert m.count.value == 11
    _ = m(X)
    m.count.value = 0
    assert m.count.value == 0


def test_an_assigned_array_inside_a_call_counts_for_what_follows():
    state = cg.State("s", 1.0)

    def call(x):
        state.value = 5.0
        return x * state

    assert module(call)(2.0).value == 10 and state.value == 5


def test_a_compiled_function_assigns_an_array_at_every_call():
    state = cg.State("s", 5.0)

    def f(x):
        y = x * state
        state.value = 1.0
        return y

    compiled = zkynet.compile(f)
    assert [float(compiled(2.0)) for _ in range(3)] == [10, 2, 2]
    state.value = 7.0
    assert (compiled(2.0), state.value) == (14, 1)


def test_a_failed_call_rolls_back_assigned_arrays_and_updates():
    state = cg.State("s", 1.0)

    def call(x):
        state.value = 5.0
        state.value = op.square(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError):
        module(call)(2.0)
    assert state.value == 1


def test_shape_and_kind_of_a_state_are_fixed():
    m = module(lambda x: setattr(m.s, "value", x) or x)
    m.s = cg.State("s", np.zeros(3, np.float32))
    with pytest.raises(ShapeError, match=r"State\('s', float32\[3\]\) cannot be updated with float32\[2\]"):
        m(f32([1, 2]))
    with pytest.raises(ShapeError, match="has shape"):
        m.s.value = np.ones(2)
    assert m(np.array([1, 2, 3])).value.shape == (3,) and m.s.dtype == "float32"


def test_an_integer_state_does_not_lose_digits_silently():
    count = cg.State("count", 0)
    m = module(lambda x: setattr(count, "value", count + x) or x)
    assert m(2).value == 2 and count.value == 2
    with pytest.raises(ShapeError, match=r"int32\[\].* without losing digits.*State of floats"):
        m(0.5)
    assert count.value == 2


def test_a_copy_of_a_model_that_was_called_and_not_computed_takes_no_graph_along():
    m = Running()
    m(X)
    copied = copy.deepcopy(m)
    assert copied.count._pending is None and copied.count.value == m.count.value == 1
    m(X)
    assert pickle.loads(pickle.dumps(m.count)).value == 2


def test_states_are_not_parameters():
    m = Running()
    assert dict(m.named_states()) == {"mean": m.mean, "count": m.count}
    assert m.parameters() == [m.param("w")]
    result = m.eval()(X)
    result.back(np.ones(3))
    same(result.grad(m.mean), f32([-1, -1, -1]))


def test_a_constant_is_an_argument_and_never_changes_by_a_call():
    c = cg.Constant("c", 2.0)
    m = module(lambda x: x * c)
    assert m(3.0).value == 6
    with count_compilations() as count:
        c.value = 5.0
        assert m(3.0).value == 15
    assert count() == 0
    with pytest.raises(GraphError, match="cg.State"):
        module(lambda x: setattr(c, "value", x) or x)(1.0)


# Random streams --------------------------------------------------------------------------------------------


class Noise(cg.Module):
    """A random stream: each call splits the key it holds."""

    def __init__(self, seed):
        super().__init__(inputs=(cg.Variable("x"),))
        self.key = cg.State("key", jax.random.PRNGKey(seed))

    def call(self, x):
        pair = split(self.key)
        self.key.value = pair[0]
        return x + normal(pair[1], shape=x.shape)


@cg.operator(no_gradient=True)
def split(key):
    return jax.random.split(key)


@cg.operator(no_gradient=True)
def normal(key, *, shape):
    return jax.random.normal(key, shape)


def test_the_same_seed_gives_the_same_numbers_eager_or_compiled():
    eager, other, compiled = Noise(0), Noise(0), Noise(0)
    function = zkynet.compile(compiled)
    found = [eager(X).value for _ in range(3)]
    same([other(X).value for _ in range(3)], found)
    same([function(X) for _ in range(3)], found)
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(Noise(1)(X).value, found[0])


def test_a_new_key_compiles_nothing():
    m = Noise(0)
    _ = m(X).value
    with count_compilations() as count:
        for seed in range(3):
            m.key.value = jax.random.PRNGKey(seed)
            _ = m(X).value
    assert count() == 0


def test_a_typed_key_is_a_state_too():
    key = cg.State("key", jax.random.key(0))

    def call(x):
        pair = split(key)
        key.value = pair[0]
        return x + normal(pair[1], shape=x.shape)

    same([module(call)(X).value for _ in range(2)], [m(X).value for m in [Noise(0)] for _ in range(2)])
    assert key.value.dtype == "uint32"


def test_noise_has_a_gradient_with_respect_to_its_input_only():
    m = Noise(0)
    same(zkynet.grad(lambda x: op.sum(op.square(m(x))))(floats(3)), 2 * (Noise(0)(floats(3)).value))


def test_an_error_that_the_outer_call_catches_takes_back_the_inner_update():
    class Inner(cg.Module):
        def __init__(self):
            super().__init__()
            self.count = cg.State("count", 0.0)

        def call(self, x):
            self.count.value = self.count + 1.0
            raise ValueError("no")

    class Outer(cg.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()
            self.count = cg.State("count", 0.0)

        def call(self, x):
            self.count.value = self.count + 1.0
            try:
                return self.inner(x)
            except ValueError:
                return x + self.inner.count

    model = Outer()
    assert float(model(2.0).value) == 2.0
    assert float(model.inner.count.value) == 0.0
    assert float(model.count.value) == 1.0
