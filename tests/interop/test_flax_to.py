"""zkynet nets in flax: zkynet's own loop and torch-tested layers are the reference, flax's loop what is tested."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("flax")
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax_nets import INPUTS, NETS, TARGETS, ZKYNET, assert_close, train_in_nnx, train_in_zkynet

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.interop.flax import from_nnx, to_nnx


@pytest.mark.parametrize("name", NETS)
def test_outputs_gradients_and_20_steps_in_flax(name: str):
    nn.manual_seed(0)
    ours, x = ZKYNET[name](), INPUTS[name]
    theirs = to_nnx(ours, x)
    assert_close(theirs.state_dict(), ours.state_dict())
    ours.eval()
    theirs.eval()
    result = ours(x)
    result.back(TARGETS[name])
    graph, params, rest = nnx.split(theirs, nnx.Param, ...)

    @jax.jit
    def judged(params):
        value, pull = jax.vjp(lambda p: nnx.merge(graph, p, rest)(x), params)
        return value, pull(jnp.asarray(TARGETS[name]))[0]

    value, gradients = judged(params)
    np.testing.assert_allclose(value, result.value, atol=1e-5)
    found = {".".join(map(str, path)): v.get_value() for path, v in nnx.to_flat_state(gradients)}
    assert_close(found, {path: result.grad(p) for path, p in ours.named_parameters()})

    start = ours.state_dict()
    losses = train_in_nnx(theirs, name)
    np.testing.assert_allclose(losses, train_in_zkynet(ours, name), rtol=1e-5)
    assert losses[-1] < 0.9 * losses[0]
    trained = ours.state_dict()
    assert_close(theirs.state_dict(), trained)
    # And back, by the same names.
    ours.load_state_dict(start)
    ours.load_state_dict(theirs.state_dict())
    assert_close(ours.state_dict(), trained)


class Everything(cg.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)]
        self.frozen = cg.Parameter("frozen", np.full(4, 2.0, np.float32), trainable=False)

    def call(self, x, shift=0.0):
        for layer in self.layers:
            x = layer(x)
        return {"y": x * self.frozen + shift, "ones": op.mult(np.ones(3, np.float32), 1.0)}


def test_kinds_modes_streams_and_copies():
    ours, x = Everything(), INPUTS["mlp"]
    theirs = to_nnx(ours)
    kinds = {".".join(map(str, path)): type(v) for path, v in nnx.to_flat_state(nnx.state(theirs))}
    assert kinds.pop("layers.2.stream.default.key") is nnx.RngKey
    assert kinds.pop("layers.2.stream.default.count") is nnx.RngCount
    assert kinds == {"frozen": nnx.Variable, "layers.0.weight": nnx.Param, "layers.0.bias": nnx.Param,
                     "layers.1.weight": nnx.Param, "layers.1.bias": nnx.Param, "layers.1.running_mean": nnx.BatchStat,
                     "layers.1.running_var": nnx.BatchStat, "layers.1.num_batches_tracked": nnx.BatchStat}
    run = nnx.jit(lambda net, x: net(x, shift=1.0))
    one, two = run(theirs, x), run(theirs, x)
    assert (one["y"] == 1).any() and (one["y"] != two["y"]).any() and one["ones"].shape == (3,)
    assert int(theirs.layers.__getattribute__("1").num_batches_tracked.get_value()) == 2
    copied = nnx.clone(theirs)
    theirs.eval()
    copied.eval()
    np.testing.assert_array_equal(run(theirs, x)["y"], run(copied, x)["y"])
    assert ours.training and ours.layers[2].training
    nnx.reseed(theirs, default=3)
    theirs.train()
    assert (run(theirs, x)["y"] != one["y"]).any()
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])


def test_traced_once_for_each_signature():
    calls = []

    class Counting(cg.Module):
        def call(self, x):
            calls.append(x.shape)
            return x * 2.0

    theirs = to_nnx(Counting())
    step = nnx.jit(lambda net, x: net(x))
    for _ in range(3):
        step(theirs, np.ones(2, np.float32))
        theirs(np.ones(2, np.float32))
    assert calls == [(2,)]
    theirs(np.ones(3, np.float32))
    assert calls == [(2,), (3,)]


def test_modes_of_parts_and_the_precision_in_force():
    ours, x = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 2)), INPUTS["mlp"]
    theirs = to_nnx(ours)
    theirs(x)
    ours[0].eval()
    before = np.asarray(theirs.state_dict()["0.running_mean"])
    theirs(x)
    np.testing.assert_array_equal(theirs.state_dict()["0.running_mean"], before)
    with zkynet.precision("bfloat16"):
        assert theirs(x).dtype == jnp.bfloat16
    assert theirs(x).dtype == jnp.float32


class StraightThrough(cg.Operator):
    """Rounds, with the gradient of the identity, which JAX would not find."""

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x):
        return jnp.round(x.value)

    def vjp(self, cotangent, output, x):
        return (cotangent,)


def test_gradients_are_those_of_our_rules_to_any_order():
    class Net(cg.Module):
        def call(self, x):
            return op.sum(StraightThrough()(x) ** 3 + op.stop_gradient(x) * x + op.relu(x - 1.0))

    theirs = to_nnx(Net())
    x = np.array([1.0, 2.2, -0.7], np.float32)
    step = (x > 1).astype(np.float32)
    np.testing.assert_allclose(jax.grad(theirs)(x), 3 * np.round(x) ** 2 + x + step, rtol=1e-6)
    second = jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(theirs)(x))))(x)
    np.testing.assert_allclose(second, 6 * np.round(x), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(theirs)(x[:, None]), [Net()(x[i:i + 1]).value for i in range(3)], rtol=1e-6)


def test_deferred_sizes_and_a_round_trip():
    lazy = nn.Sequential(nn.Linear(None, 4), nn.Tanh(), nn.Linear(4, 2))
    x = INPUTS["mlp"]
    with pytest.raises(InputError, match="pass example inputs"):
        to_nnx(lazy)
    theirs = to_nnx(lazy, x)
    again = from_nnx(theirs, x)
    np.testing.assert_allclose(again(x).value, lazy(x).value, atol=1e-6)
    assert [name for name, _ in again.named_parameters()] == ["0.bias", "0.weight", "2.bias", "2.weight"]
    optimizer = nnx.Optimizer(theirs, optax.adam(0.01), wrt=nnx.Param)
    loss = lambda net: jnp.mean((net(x) - 1) ** 2)  # noqa: E731
    before = loss(theirs)
    for _ in range(5):
        optimizer.update(theirs, nnx.grad(loss)(theirs))
    assert loss(theirs) < before


NO_MODULES: list[Any] = [nn.Linear, lambda x: x]


@pytest.mark.parametrize("build, kind, says", [
    (lambda: to_nnx(NO_MODULES[0]), InputError, "needs a zkynet Module, but got the class Linear"),
    (lambda: to_nnx(NO_MODULES[1]), InputError, "needs a zkynet Module, but got function"),
    (lambda: to_nnx(nn.Linear(5, 2), np.ones((3, 4), np.float32)), ShapeError, "the last axis must be 5"),
    (lambda: to_nnx(nn.Linear(5, 2))(np.ones((3, 4), np.float32)), ShapeError, "the last axis must be 5"),
    (lambda: to_nnx(nn.Linear(5, 2))("text"), InputError, "inputs are arrays or numbers, but one is a str"),
    (lambda: to_nnx(nn.Linear(5, 2))(), InputError, "missing its input"),
])
def test_errors_of_to_nnx(build, kind: type, says: str):
    with pytest.raises(kind, match=says):
        build()
