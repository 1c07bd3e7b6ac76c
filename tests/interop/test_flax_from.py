"""Flax nets in zkynet: flax and JAX are the judges of outputs, gradients and training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flax")
import flax.linen as fl
import jax
import jax.numpy as jnp
from flax import nnx
from flax_nets import (
    INPUTS,
    LINEN,
    NETS,
    NNX,
    TARGETS,
    assert_close,
    flat,
    judged_linen,
    judged_nnx,
    linen_variables,
    nnx_arrays,
    nnx_net,
    train_in_zkynet,
)

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.random_stream import RandomStream
from zkynet.interop.flax import from_linen, from_nnx

OPEN = pytest.mark.parametrize("opened", [False, True], ids=["one node", "opened"])


def gradients_of(net: Any, name: str) -> tuple[Any, dict[str, Any]]:
    result = net(INPUTS[name])
    cotangent = TARGETS[name]
    result.back(cotangent)
    return result.value, {path: result.grad(p) for path, p in net.named_parameters()}


@OPEN
@pytest.mark.parametrize("name", NETS)
def test_nnx_outputs_gradients_and_20_steps(name: str, opened: bool):
    ours, judge = from_nnx(nnx_net(name), INPUTS[name], open=opened).eval(), judged_nnx(name)
    value, gradients = gradients_of(ours, name)
    np.testing.assert_allclose(value, judge.output, atol=1e-5)
    assert_close(gradients, judge.gradients)
    # Dropout is on: the streams give the draws that flax would have made.
    losses = train_in_zkynet(ours, name)
    np.testing.assert_allclose(losses, judge.losses, rtol=1e-5)
    assert losses[-1] < 0.9 * losses[0]
    back = ours.eval().to_flax()
    assert_close(nnx_arrays(back), judge.trained)
    assert isinstance(back, NNX[name])
    np.testing.assert_allclose(nnx.jit(back)(INPUTS[name]), ours(INPUTS[name]).value, atol=1e-5)


@OPEN
@pytest.mark.parametrize("name", NETS)
def test_linen_outputs_gradients_and_20_steps(name: str, opened: bool):
    net = from_linen(LINEN[name](), linen_variables(name), INPUTS[name], rngs={"dropout": 3}, open=opened).eval()
    judge = judged_linen(name, 3)
    value, gradients = gradients_of(net, name)
    np.testing.assert_allclose(value, judge.output, atol=1e-5)
    assert_close(gradients, judge.gradients)
    losses = train_in_zkynet(net, name)
    np.testing.assert_allclose(losses, judge.losses, rtol=1e-5)
    assert losses[-1] < 0.9 * losses[0]
    assert_close(flat(net.to_flax()), judge.trained)


def test_names_kinds_and_weights_on_disk(tmp_path: Path):
    pytest.importorskip("safetensors")
    from zkynet import train

    net = from_nnx(nnx_net("conv"))
    assert [name for name, _ in net.named_parameters()] == [
        "bn.bias", "bn.scale", "conv.bias", "conv.kernel", "dense.bias", "dense.kernel"]
    assert [name for name, _ in net.named_states()] == ["bn.mean", "bn.var"]
    assert net.param("conv.kernel").shape == (3, 3, 2, 4)
    train.save_weights(net, tmp_path / "net.safetensors")
    other = from_nnx(NNX["conv"](nnx.Rngs(1))).eval()
    assert np.abs(other(INPUTS["conv"]).value - net.eval()(INPUTS["conv"]).value).max() > 0.01
    train.load_weights(other, tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other(INPUTS["conv"]).value, net(INPUTS["conv"]).value)


@OPEN
def test_training_mode_updates_statistics_and_draws_and_evaluation_does_not(opened: bool):
    conv = from_nnx(nnx_net("conv"), open=opened)
    mlp = from_nnx(nnx_net("mlp"), open=opened)
    stream = dict(mlp.named_states())["dropout.rngs"]
    assert isinstance(stream, RandomStream)
    before = conv.state_dict()["bn.mean"], np.asarray(stream.value)
    first = mlp.eval()(INPUTS["mlp"]).value
    assert (mlp(INPUTS["mlp"]).value == first).all() and (stream.value == before[1]).all()
    _ = conv.eval()(INPUTS["conv"]).value
    assert (conv.state_dict()["bn.mean"] == before[0]).all()
    one, two = mlp.train()(INPUTS["mlp"]).value, mlp(INPUTS["mlp"]).value
    assert (one != two).any() and (stream.value != before[1]).any()
    stream.reset()
    assert (mlp(INPUTS["mlp"]).value == one).all()
    stream.reset(7)
    stream.value, key = stream.value, stream.draw()
    np.testing.assert_array_equal(key.value, jax.random.key_data(jax.random.fold_in(jax.random.key(7), 0)))
    _ = conv.train()(INPUTS["conv"]).value
    assert (conv.state_dict()["bn.mean"] != before[0]).any()


@OPEN
def test_a_second_call_compiles_nothing(opened: bool):
    net = from_nnx(nnx_net("conv"), open=opened)
    train_in_zkynet(net, "conv", steps=2)
    net.eval()(INPUTS["conv"]).value.block_until_ready()
    before = zkynet.compile_stats().compilations
    train_in_zkynet(net, "conv", steps=3)
    assert net.eval()(INPUTS["conv"] + 1).value.shape == (8, 3)
    assert zkynet.compile_stats().compilations == before


def test_graphs_of_one_node_and_opened():
    x = INPUTS["conv"]
    one = from_nnx(nnx_net("conv")).eval()(x)
    assert [n.name for n in one.nodes if not n.isleaf()] == ["NnxConv"]
    opened = from_nnx(nnx_net("conv"), open=True).eval()(x)
    names = [n.name for n in opened.nodes if not n.isleaf()]
    assert {"conv", "rsqrt", "relu", "max_pool", "matmul"} <= set(names) and len(names) > 15
    text = [n.name for n in from_nnx(nnx_net("transformer"), open=True).eval()(INPUTS["transformer"]).nodes]
    # The only equation without a counterpart is the look-up of the embedding.
    assert "gather" in text and {"silu", "exp", "where", "matmul"} <= set(text)
    from zkynet.visual import plot_cg

    assert "max_pool" in str(plot_cg(opened.root, quiet=True).source)


def test_higher_orders_compile_vmap_and_copies():
    theirs = nnx_net("mlp")
    theirs.eval()
    x = INPUTS["mlp"][0]

    def scalar(x):
        return jnp.sum(theirs(x) ** 2)

    for opened in (False, True):
        net = from_nnx(theirs, open=opened).eval()
        loss = lambda x, net=net: op.sum(op.square(net(x)))  # noqa: E731
        np.testing.assert_allclose(zkynet.hessian(loss)(x), jax.hessian(scalar)(x), atol=1e-4)
        np.testing.assert_allclose(zkynet.compile(zkynet.grad(loss))(x), jax.grad(scalar)(x), atol=1e-5)
        np.testing.assert_allclose(zkynet.vmap(net)(INPUTS["mlp"]), theirs(INPUTS["mlp"]), atol=1e-5)
        twin = copy.deepcopy(net)
        twin.param("layers.1.bias").value = np.ones(3)
        np.testing.assert_allclose(twin(x).value - net(x).value, np.ones(3), atol=1e-5)


class Streams(fl.Module):
    @fl.compact
    def __call__(self, x):
        return x + jax.random.normal(self.make_rng("noise"), x.shape)


class Several(fl.Module):
    """Inputs by name, a dictionary as output, a collection of its own, and dropout by a call's argument."""

    @fl.compact
    def __call__(self, x, scale=1.0, *, deterministic: bool):
        calls = self.variable("counts", "calls", lambda: jnp.zeros((), jnp.int32))
        if not self.is_initializing():
            calls.value = calls.value + 1
        y = fl.Dropout(0.5)(fl.Dense(2)(x) * scale, deterministic=deterministic)
        return {"y": y, "mean": y.mean()}


def test_linen_collections_streams_and_several_outputs():
    x = np.ones((4, 3), np.float32)
    net = from_linen(Several(), None, x)
    assert [name for name, _ in net.named_states()] == ["calls", "rngs.dropout"]
    result = net.eval()(x)
    assert set(result.root) == {"y", "mean"} and result["y"].shape == (4, 2)
    np.testing.assert_allclose(result.value["mean"], result.value["y"].mean(), rtol=1e-6)
    assert int(net.state_dict()["calls"]) == 1
    assert (np.asarray(net.train()(x)["y"].value) == 0).any()
    noisy = from_linen(Streams(), {}, x, rngs={"noise": 1})
    assert (noisy(x).value != noisy(x).value).any()
    assert (from_linen(Streams(), {}, x)(x).value != x).any()  # the stream is found by trying


class Told(nnx.Module):
    """Told by an argument whether it trains; and by one that only its author knows."""

    def __call__(self, x, train: bool = False, level: int = 0):
        return x + 10.0 * train + level


def test_modes_by_arguments():
    net = from_nnx(Told(), 1.0)
    assert [float(net.train(mode)(1.0).value) for mode in (True, False)] == [11.0, 1.0]
    net = from_nnx(Told(), mode=lambda training: {"level": 2 if training else 3})
    assert [float(net.train(mode)(1.0).value) for mode in (True, False)] == [3.0, 4.0]


def test_low_precision_does_not_stop_running_statistics():
    x = INPUTS["mlp"] + 10.0
    for net in (from_nnx(nnx.BatchNorm(5, momentum=0.9, rngs=nnx.Rngs(0))),
                from_linen(fl.BatchNorm(momentum=0.9), None, x)):
        net.train()
        with zkynet.precision("bfloat16"):
            for _ in range(80):
                np.asarray(net(x).value)
        np.testing.assert_allclose(net.state_dict()["mean"], x.mean(axis=0), rtol=1e-2)


def test_it_is_a_part_like_any_other():
    class Whole(cg.Module):
        def __init__(self):
            super().__init__()
            self.body = from_nnx(nnx_net("mlp"))
            self.scale = cg.Parameter("scale", 2.0)

        def call(self, x):
            return self.body(x) * self.scale

    whole = Whole().eval()
    assert [name for name, _ in whole.named_parameters()][:2] == ["scale", "body.layers.0.bias"]
    result = whole(INPUTS["mlp"])
    np.testing.assert_allclose(result.value, 2 * whole.body(INPUTS["mlp"]).value, rtol=1e-5)
    with zkynet.precision("bfloat16"):
        assert whole(INPUTS["mlp"]).dtype.name == "bfloat16"
