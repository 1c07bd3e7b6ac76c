"""Every model of zkynet.models and the layers of zkynet.nn that are made of loops, exported."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from onnx_rows import sample
from test_onnx_export_operators import run

from zkynet import models, nn

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from zkynet.interop.onnx import export  # noqa: E402


def tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 20, shape, np.int32)


def check_model(net: Any, make: Any, batches: tuple[int, ...] = (2, 5), **how: Any) -> Any:
    """Exported with the first batch size, compared with all of them."""
    model = export(net, *make(batches[0]), **how)
    net.eval()
    for size in batches:
        inputs = make(size)
        expected = [np.asarray(value) for value in jax.tree.leaves(net(*inputs).value)]
        found = run(model, jax.tree.leaves(inputs))
        assert len(found) == len(expected)
        for got, want in zip(found, expected, strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return model


NETS = {
    "fcn.Linear": (lambda: models.fcn.Linear(sample(3, 4), sample(3)), lambda n: (sample(n, 4),)),
    "MLP": (lambda: models.MLP([4, 16, 3]), lambda n: (sample(n, 4),)),
    "LeNet": (models.LeNet, lambda n: (sample(n, 1, 28, 28),)),
    "CifarResNet": (lambda: models.CifarResNet(20, width=4), lambda n: (sample(n, 3, 16, 16),)),
    "resnet18": (lambda: models.resnet18(classes=10), lambda n: (sample(n, 3, 32, 32),)),
    "Autoencoder": (lambda: models.Autoencoder((1, 8, 8), 4, [32]), lambda n: (sample(n, 1, 8, 8),)),
    "VAE": (lambda: models.VAE((1, 8, 8), 4, [32]), lambda n: (sample(n, 1, 8, 8),)),
    "GPT": (lambda: models.GPT(20, 8, 16, 2, 2), lambda n: (tokens(n, 5),)),
    "CharRNN lstm": (lambda: models.CharRNN(20, 8, 2, "lstm"), lambda n: (tokens(n, 5),)),
    "CharRNN gru": (lambda: models.CharRNN(20, 8, 1, "gru"), lambda n: (tokens(n, 5),)),
    "CharRNN rnn": (lambda: models.CharRNN(20, 8, 1, "rnn"), lambda n: (tokens(n, 5),)),
}


@pytest.mark.parametrize("name", NETS)
def test_models(name):
    make, inputs = NETS[name]
    nn.manual_seed(0)
    net = make()
    model = check_model(net, inputs, (1, 2) if name == "resnet18" else (2, 5))
    held = {one.name for one in model.graph.initializer}
    assert {path for path, _ in net.named_parameters()} <= held


def test_usual_layers_are_one_node_each():
    nn.manual_seed(0)
    kinds = [node.op_type for node in export(models.LeNet(), sample(2, 1, 28, 28)).graph.node]
    assert kinds == ["Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Relu", "Gemm", "Relu",
                     "Gemm"]
    for kind in ("LSTM", "GRU", "RNN"):
        for how in ({}, {"bias": False}, {"bidirectional": True}):
            net = getattr(nn, kind)(4, 3, **how)
            kinds = [node.op_type for node in export(net, sample(5, 2, 4), dynamic_batch={"input": 1}).graph.node]
            assert kinds.count(kind) == len(net._directions) and "Scan" not in kinds


def test_every_model_is_here():
    shown = {name.split()[0] for name in NETS} | {"ResNet", "resnet34", "resnet50", "resnet101", "VAELoss",
                                                 "SequenceLoss", "fcn"}  # others of the same kind, and losses
    assert set(models.__all__) - shown == set()


def test_a_state_that_goes_in_and_out():
    nn.manual_seed(0)
    net = models.CharRNN(20, 8, 2, "lstm")
    axes = {"tokens": 0, "state.0": 1, "state.1": 1}
    check_model(net, lambda n: (tokens(n, 4), net.first_state(n)), dynamic_batch=axes)


def test_a_cache_of_keys():
    nn.manual_seed(0)
    net = models.GPT(20, 8, 16, 1, 2)
    check_model(net, lambda n: (tokens(n, 2), net.new_cache(n)))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_in_both_directions_with_lengths(kind):
    nn.manual_seed(0)
    net = getattr(nn, kind)(4, 3, num_layers=2, bidirectional=True, batch_first=True)
    check_model(net, lambda n: (sample(n, 5, 4), None, np.arange(n, dtype=np.int32) % 5 + 1))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_without_bias(kind):
    nn.manual_seed(0)
    check_model(getattr(nn, kind)(4, 3, bias=False, batch_first=True), lambda n: (sample(n, 5, 4),))
