"""Recurrent layers and cells against PyTorch's of the same weights."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from torch_judge import assert_close, judge, load, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError

STEPS, BATCH, INPUT, HIDDEN = 4, 3, 3, 2
X = sample(STEPS, BATCH, INPUT)
LENGTHS = np.array([2, 4, 1], np.int32)
KINDS = ("RNN", "LSTM", "GRU")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "all": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}


def state(kind: str, *shape: int) -> Any:
    first = sample(*shape, seed=1)
    return (first, sample(*shape, seed=2)) if kind == "LSTM" else first


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    return getattr(nn, kind)(INPUT, HIDDEN, **options), getattr(torch.nn, kind)(INPUT, HIDDEN, **options)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers(kind: str, name: str) -> None:
    options = OPTIONS[name]
    ours, theirs = pair(kind, **options)
    x = X.swapaxes(0, 1) if options.get("batch_first") else X
    if name in ("plain", "all"):
        count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        judge(ours, theirs, x, state(kind, count, BATCH, HIDDEN))
    else:
        judge(ours, theirs, x)


def test_relu() -> None:
    judge(*pair("RNN", nonlinearity="relu"), X)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_batch(kind: str) -> None:
    judge(*pair(kind), X[:, 0], state(kind, 1, HIDDEN))


def test_evaluation_has_no_dropout_between_layers() -> None:
    ours, theirs = pair("GRU", num_layers=2, dropout=0.5)
    judge(ours, theirs.eval(), X)


class Packed(torch.nn.Module):
    """A layer of PyTorch on packed sequences."""

    def __init__(self, layer: Any):
        super().__init__()
        self.layer = layer

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.state_dict()

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.named_parameters()

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> Any:
        first = self.layer.batch_first
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=False)
        out, final = self.layer(packed, hx)
        return torch.nn.utils.rnn.pad_packed_sequence(out, first, total_length=x.shape[first])[0], final


@pytest.mark.parametrize("name", ["plain", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_lengths(kind: str, name: str) -> None:
    options = OPTIONS[name]
    ours, theirs = pair(kind, **options)
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    x = X.swapaxes(0, 1) if options.get("batch_first") else X
    judge(ours, Packed(theirs), x, state(kind, count, BATCH, HIDDEN), lengths=LENGTHS)


def test_other_lengths_compile_nothing() -> None:
    layer = nn.LSTM(INPUT, HIDDEN)
    whole = layer(X, lengths=[2, 4, 1])[0].value
    before = zkynet.compile_stats().compilations
    shorter = layer(X, lengths=[1, 3, 1])[0].value
    assert zkynet.compile_stats().compilations == before
    assert not np.asarray(shorter[3]).any() and np.asarray(whole[3, 1]).any()
    np.testing.assert_array_equal(shorter[:3, 1], whole[:3, 1])
    np.testing.assert_array_equal(layer(X, lengths=(1, 3, 1))[0].value, shorter)


def test_what_is_beyond_the_end_does_not_matter() -> None:
    layer = nn.GRU(INPUT, HIDDEN, bidirectional=True)
    poisoned = X.copy()
    for b, n in enumerate(LENGTHS):
        poisoned[n:, b] = np.nan
    result = layer(poisoned, lengths=LENGTHS)
    np.testing.assert_array_equal(result[0].value, layer(X, lengths=LENGTHS)[0].value)
    gradient = zkynet.grad(lambda x: op.sum(layer(x, lengths=LENGTHS)[0]))(X)
    assert all(not np.asarray(gradient[n:, b]).any() for b, n in enumerate(LENGTHS))


@pytest.mark.parametrize("kind", KINDS)
def test_cells(kind: str) -> None:
    for options in ({}, {"bias": False}):
        ours, theirs = (getattr(m, f"{kind}Cell")(INPUT, HIDDEN, **options) for m in (nn, torch.nn))
        judge(ours, theirs, X[0], state(kind, BATCH, HIDDEN))
    judge(ours, theirs, X[0, 0])


def test_relu_cell() -> None:
    judge(*(m.RNNCell(INPUT, HIDDEN, nonlinearity="relu") for m in (nn, torch.nn)), X[0])


def test_a_cell_in_a_scan_is_the_layer() -> None:
    layer, cell = nn.LSTM(INPUT, HIDDEN), nn.LSTMCell(INPUT, HIDDEN)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})

    class Looped(cg.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def call(self, x: Any) -> Any:
            def step(state: Any, now: Any) -> Any:
                state = self.cell(now, state)
                return state, state[0]

            zeros = op.zeros((BATCH, HIDDEN))
            return op.scan(step, (zeros, zeros), x)[1]

    class Whole(cg.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def call(self, x: Any) -> Any:
            return self.layer(x)[0]

    looped, whole = Looped()(X), Whole()(X)
    np.testing.assert_allclose(looped.value, whole.value, rtol=1e-6, atol=1e-7)
    looped.back(np.ones(looped.shape, np.float32))
    whole.back(np.ones(looped.shape, np.float32))
    for a, b in zip(cell.parameters(), layer.parameters(), strict=True):
        np.testing.assert_allclose(looped.grad(a), whole.grad(b), rtol=1e-5, atol=1e-6)


def test_second_derivatives() -> None:
    """The gradient of the squared norm of the gradient, against PyTorch's double backward."""
    ours, theirs = pair("LSTM")
    load(ours, theirs.state_dict())

    def squared_norm(x: Any) -> Any:
        return op.sum(op.square(zkynet.grad(lambda v: op.sum(op.square(ours(v)[0])))(x)))

    x = torch.tensor(X, requires_grad=True)
    (first,) = torch.autograd.grad((theirs(x)[0] ** 2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), x)
    assert_close(zkynet.grad(squared_norm)(X), second, "second derivative")


def test_dropout_between_layers() -> None:
    nn.manual_seed(5)
    layer = nn.GRU(INPUT, HIDDEN, num_layers=2, dropout=0.5)
    first, second = np.asarray(layer(X)[0].value), np.asarray(layer(X)[0].value)
    assert not np.array_equal(first, second)
    layer.stream.reset()
    np.testing.assert_array_equal(layer(X)[0].value, first)
    with pytest.warns(UserWarning, match="with num_layers=1 it does nothing"):
        nn.GRU(INPUT, HIDDEN, dropout=0.5)


def test_dropout_may_be_set_later() -> None:
    layer = nn.GRU(INPUT, HIDDEN, num_layers=2)
    assert "stream" not in layer.state_dict()  # nothing was drawn for it
    layer.dropout = 0.5
    assert (np.asarray(layer(X)[0].value) != np.asarray(layer(X)[0].value)).any()
    with pytest.raises(InputError, match="GRU: dropout is the probability of zero, from 0 to 1, but got 2"):
        layer.dropout = 2


def test_the_input_size_comes_from_the_first_input() -> None:
    layer = nn.LSTM(None, HIDDEN)
    judge(layer, torch.nn.LSTM(INPUT, HIDDEN), X)
    assert repr(layer) == f"LSTM({INPUT}, {HIDDEN})"
    for layer, wrong in ((nn.LSTM(None, HIDDEN), sample(2, 2, 2, 5)), (nn.GRUCell(None, HIDDEN), sample(2, 2, 2, 5))):
        with pytest.raises(ShapeError, match=r"\(2, 2, 2, 5\)"):
            layer(wrong)
        assert layer.deferred
    assert repr(nn.GRU(3, 2, 2, bidirectional=True)) == "GRU(3, 2, num_layers=2, bidirectional=True)"


def test_the_seed_makes_the_weights() -> None:
    nn.manual_seed(1)
    first = nn.RNN(INPUT, 16).param("weight_ih_l0").value
    nn.manual_seed(1)
    np.testing.assert_array_equal(nn.RNN(INPUT, 16).param("weight_ih_l0").value, first)
    assert 0.2 < np.abs(first).max() <= 0.25  # 1 / sqrt(16)


NO_SIZE: Any = 4.0
ERRORS: dict[str, tuple[Any, type, str]] = {
    "input": (lambda: nn.LSTM(4, HIDDEN)(X), ShapeError, r"made for input_size=4, but .* \(4, 3, 3\)"),
    "axes": (lambda: nn.LSTM(3, HIDDEN)(X[0, 0]), ShapeError, "takes an input of 3 axes"),
    "no step": (lambda: nn.LSTM(3, HIDDEN)(X[:0]), ShapeError, "at least one step"),
    "state": (lambda: nn.GRU(3, HIDDEN)(X, sample(1, 5, HIDDEN)), ShapeError, r"\(1, 3, 2\) .* got \[\(1, 5, 2\)\]"),
    "one state": (lambda: nn.LSTM(3, HIDDEN)(X, sample(1, 3, HIDDEN)), ShapeError, r"a pair \(h_0, c_0\)"),
    "lengths": (lambda: nn.GRU(3, HIDDEN)(X, lengths=[1, 2]), ShapeError, r"lengths as integers of the shape \(3,\)"),
    "float lengths": (lambda: nn.GRU(3, HIDDEN)(X, lengths=[1.0, 2.0, 3.0]), ShapeError, "lengths as integers"),
    "too long": (lambda: nn.GRU(3, HIDDEN)(X, lengths=[1, 5, 2]), InputError, r"from 1 to 4, .* got \[1, 5, 2\]"),
    "too short": (lambda: nn.GRU(3, HIDDEN)(X, lengths=(1, 0, 2)), InputError, r"from 1 to 4, .* got \[1, 0, 2\]"),
    "lengths on a device": (lambda: nn.LSTM(3, HIDDEN)(X, lengths=jnp.array([9, 1, 0])), InputError,
                            r"from 1 to 4, .* got \[9, 1, 0\]"),
    "scalar": (lambda: nn.LSTM(None, HIDDEN)(5.0), ShapeError, r"takes an input of 3 axes, .* is \(\)"),
    "projection": (lambda: nn.LSTM(3, HIDDEN, proj_size=1), InputError, "proj_size is not supported: .* op.scan"),
    "layers": (lambda: nn.GRU(3, HIDDEN, 0), InputError, "num_layers must be an int >= 1, but got 0"),
    "hidden size": (lambda: nn.LSTM(3, NO_SIZE), InputError, "LSTM: hidden_size must be an int >= 1, but got 4.0"),
    "input size": (lambda: nn.LSTM(NO_SIZE, 4), InputError, "LSTM: input_size must be an int >= 0, but got 4.0"),
    "cell size": (lambda: nn.GRUCell(3, NO_SIZE), InputError, "GRUCell: hidden_size must be an int >= 0, but got 4.0"),
    "dropout": (lambda: nn.GRU(3, HIDDEN, 2, dropout=2.0), InputError, "got 2.0"),
    "nonlinearity": (lambda: nn.RNN(3, HIDDEN, nonlinearity="sin"), InputError, 'knows .* "relu", but got \'sin\''),
    "cell state": (lambda: nn.LSTMCell(3, HIDDEN)(X[0], sample(3, HIDDEN)), ShapeError, r"a pair \(h, c\)"),
    "cell of a scalar": (lambda: nn.RNNCell(None, HIDDEN)(5.0), ShapeError, r"\(input_size,\), but its shape is \(\)"),
    "cell input": (lambda: nn.GRUCell(4, HIDDEN)(X[0]), ShapeError, "input_size=4"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    function, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        function()
