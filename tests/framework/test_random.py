"""Random operators and streams: the same seed gives the same numbers, and a new key compiles nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checks import floats, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError, InputError, ShapeError
from zkynet.framework.random_stream import RandomStream


class Noisy(cg.Module):
    """Dropout, then noise: two draws a call."""

    def __init__(self, seed: int = 0):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 2.0),))
        self.stream = RandomStream("stream", seed)

    def call(self, x: Any) -> Any:
        dropped = op.dropout(x * self.param("w"), self.stream.draw(), p=0.5)
        return dropped + op.normal(self.stream.draw(), x.shape)


X = floats(4, 5)


# Streams ----------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_numbers_and_calls_differ():
    a, b = Noisy(3), Noisy(3)
    first, second = np.asarray(a(X).value), np.asarray(a(X).value)
    same(b(X).value, first)
    same(b(X).value, second)
    assert (first != second).any()
    assert (np.asarray(Noisy(4)(X).value) != first).any()


def test_two_draws_of_one_call_differ():
    stream = RandomStream("noise")

    def call(x):
        return op.normal(stream.draw(), (3,)) - op.normal(stream.draw(), (3,)) + x

    assert (np.asarray(cg.Module.build("Twice", call, (cg.Variable("x"),))(0.0).value) != 0.0).all()


def test_eager_and_compiled_give_the_same_numbers():
    a, b = Noisy(5), Noisy(5)
    compiled = zkynet.compile(b)
    for _ in range(3):
        same(a(X).value, compiled(X))
    same(a.stream.value, b.stream.value)


def test_a_new_key_compiles_nothing():
    m = Noisy()
    compiled = zkynet.compile(Noisy())
    m(X).back(np.ones_like(X))
    _ = m(X).value, compiled(X)
    with count_compilations() as count:
        for _ in range(3):
            _ = m(X).value, compiled(X)
        m.stream.reset(9)
        _ = m(X).value
    assert count() == 0


def test_a_stream_outside_of_any_call():
    stream = RandomStream("noise", 1)
    numbers = [float(op.normal(stream.draw()).value) for _ in range(3)]
    stream.reset()
    assert [float(op.normal(key).value) for key in [stream.draw() for _ in range(3)]] == numbers
    with count_compilations() as count:
        float(op.normal(stream.draw()).value)
    assert count() == 0
    assert len(set(numbers)) == 3


def test_draws_outside_continue_in_a_call():
    a, b = Noisy(2), Noisy(2)
    a.stream.draw()
    first = np.asarray(a(X).value)
    assert (first != np.asarray(b(X).value)).any()
    b.stream.reset()
    b.stream.draw()
    same(b(X).value, first)


def test_the_gradient_uses_the_mask_of_the_value():
    m = Noisy()
    result = m(X)
    result.back(np.ones_like(X))
    mask = np.asarray(result.grad(m.input("x"))) / 2.0  # by the weight
    assert set(np.unique(mask)) == {0.0, 2.0}
    second = RandomStream("stream")
    second.draw()
    noise = op.normal(second.draw(), X.shape)
    same(result.value, 2.0 * X * mask + np.asarray(noise.value))


def test_a_stream_is_saved_and_restored_with_its_module():
    m = Noisy(1)
    _ = m(X).value
    saved = m.state_dict()
    assert set(saved) == {"w", "stream"}
    expected = np.asarray(m(X).value)
    m.load_state_dict(saved)
    same(m(X).value, expected)


def test_a_failed_call_leaves_the_stream_as_it_was():
    m = Noisy(1)
    before = np.asarray(m.stream.value)

    class Failing(cg.Module):
        def call(self, x):
            m(x)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Failing()(X)
    same(m.stream.value, before)


def test_drawing_inside_a_loop_is_refused():
    stream = RandomStream("noise")
    with pytest.raises(GraphError, match="noise.*return the new value"):
        zkynet.vmap(lambda x: x + op.normal(stream.draw()))(X)
    keys = op.stack([stream.draw() for _ in range(4)])
    assert zkynet.vmap(lambda x, key: x + op.normal(key))(X[:, 0], np.asarray(keys.value)).shape == (4,)


def test_a_seed_must_be_an_int():
    with pytest.raises(InputError, match="int as its seed.*'abc'"):
        RandomStream("noise", "abc")  # pyright: ignore[reportArgumentType]


# Distributions ----------------------------------------------------------------------------------------------

KEY = np.array([0, 42], np.uint32)


def numbers_of(node: Any) -> np.ndarray:
    return np.asarray(node.value, np.float64)


def test_moments():
    n = 20_000
    uniform = numbers_of(op.uniform(KEY, (n,), -1.0, 3.0))
    assert uniform.min() >= -1.0 and uniform.max() <= 3.0
    np.testing.assert_allclose([uniform.mean(), uniform.var()], [1.0, 16 / 12], atol=0.05)
    normal = numbers_of(op.normal(KEY, (n,), 2.0, 3.0))
    np.testing.assert_allclose([normal.mean(), normal.std()], [2.0, 3.0], atol=0.06)
    truncated = numbers_of(op.truncated_normal(KEY, (n,), lower=0.0, upper=1.0))
    assert truncated.min() >= 0.0 and truncated.max() <= 1.0
    np.testing.assert_allclose(truncated.mean(), 0.4598622, atol=0.01)
    integers = numbers_of(op.randint(KEY, (n,), -1, 3))
    np.testing.assert_allclose([(integers == k).mean() for k in (-1, 0, 1, 2)], 0.25, atol=0.02)
    np.testing.assert_allclose(numbers_of(op.bernoulli(KEY, 0.3, (n,))).mean(), 0.3, atol=0.02)
    classes = numbers_of(op.categorical(KEY, np.log([0.2, 0.5, 0.3]), shape=(n,)))
    np.testing.assert_allclose([(classes == k).mean() for k in range(3)], [0.2, 0.5, 0.3], atol=0.02)
    dropped = numbers_of(op.dropout(np.ones(n, np.float32), KEY, p=0.2))
    np.testing.assert_allclose([dropped.mean(), (dropped == 0).mean()], [1.0, 0.2], atol=0.02)


def test_reparameterised_gradients():
    def moved(mean, std):
        return op.sum(op.normal(KEY, (8,), mean, std))

    z = numbers_of(op.normal(KEY, (8,))).sum()
    mean, std = zkynet.grad(moved, argnums=(0, 1))(1.0, 2.0)
    np.testing.assert_allclose([mean, std], [8.0, z], rtol=1e-5)


def test_a_permutation_keeps_rows_together_and_moves_gradients_back():
    x = floats(6, 2)
    y = numbers_of(op.permutation(KEY, x))
    assert sorted(map(tuple, y.tolist())) == sorted(map(tuple, x.astype(np.float64).tolist()))
    weights = np.arange(6.0, dtype=np.float32)[:, None]
    gradient = np.asarray(zkynet.grad(lambda x: op.sum(op.permutation(KEY, x) * weights))(x))
    order = [int(np.flatnonzero((x == row.astype(np.float32)).all(1))[0]) for row in y]
    same(gradient[order], np.broadcast_to(weights, (6, 2)))


def test_dtypes_follow_the_precision():
    assert op.normal(KEY, 2).dtype == np.float32
    with zkynet.precision("bfloat16"):
        assert op.uniform(KEY, 2).dtype.name == "bfloat16"
        assert op.dropout(np.ones(2, np.float32), KEY).dtype.name == "bfloat16"
    with zkynet.precision("float64"):
        assert op.normal(KEY, 2, 1.0, 2.0).dtype == np.float64


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: op.normal(7), InputError, "a random key is a uint32 array of shape"),
    (lambda: op.normal(np.zeros(2, np.float32)), InputError, r"random key.*float32\[2\]"),
    (lambda: op.uniform(KEY, 2, np.zeros(3, np.float32)), ShapeError, r"low .*does not broadcast to the shape \(2,\)"),
    (lambda: op.normal(KEY, (2,), std=np.ones((2, 2), np.float32)), ShapeError, "std .*does not broadcast"),
    (lambda: op.dropout(np.ones(2), KEY, p=1.5), InputError, "p is the probability of zero.*1.5"),
    (lambda: op.permutation(KEY, np.ones(2), axis=1), ShapeError, "axis 1 is out of range"),
])
def test_errors(call: Any, kind: type[Exception], message: str):
    with pytest.raises(kind, match=message):
        call()
