"""v1: its arguments and conventions, against torch."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from dl_running import assert_close, held_numbers, new_graph, run, values

from ravnet.dl.v1 import NeuralNetwork
from ravnet.dl.v1.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from ravnet.dl.v1.loss_functions import CrossEntropy, SquareLoss
from ravnet.dl.v1.optimizers import Adam, RMSprop
from zkynet.framework.errors import InputError, ShapeError

torch = pytest.importorskip("torch")
tnn = torch.nn

RNG = np.random.default_rng(11)
IMAGES = RNG.normal(size=(6, 2, 7, 6)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 6)]


def test_batch_norm_keeps_momentum_of_the_old_statistics():
    for shape, judge in (((8, 5), tnn.BatchNorm1d(5, 0.01, 0.01)), ((4, 5, 3, 3), tnn.BatchNorm2d(5, 0.01, 0.01))):
        x = RNG.normal(size=shape).astype(np.float32)
        layer, graph = BatchNormalization(), new_graph()
        for _ in range(3):
            layer._forward_pass(graph.tensor(x), training=True)
            judge(torch.tensor(x))
        after = layer._forward_pass(graph.tensor(x), training=False)
        held = dict(layer.held())
        numbers = held_numbers(graph, [held["running_mean"], held["running_var"]])
        judge.eval()
        found = values(graph.activate(), [*numbers, after.number])
        for ours, theirs in zip(found, (judge.running_mean, judge.running_var, judge(torch.tensor(x))), strict=True):
            assert_close(ours, theirs)


@pytest.mark.parametrize(("filter_shape", "stride", "size"), [((3, 3), 1, (7, 6)), ((3, 3), 2, (4, 3)),
                                                             ((2, 4), (1, 2), (7, 3)), (1, 1, (7, 6))])
def test_convolution_padded_by_same(filter_shape: Any, stride: Any, size: tuple[int, int]):
    layer, graph = Conv2D(4, filter_shape, stride=stride), new_graph()
    out = layer._forward_pass(graph.tensor(IMAGES))
    assert out.get_shape() == (6, 4, *size)
    weights = layer.weights()
    (found,) = run(graph, out)
    height, width = layer.window
    padded = tnn.functional.pad(torch.tensor(IMAGES), ((width - 1) // 2, width // 2, (height - 1) // 2, height // 2))
    weight, bias = torch.tensor(weights["weight"]), torch.tensor(weights["bias"])
    assert_close(found, tnn.functional.conv2d(padded, weight, bias, stride))


@pytest.mark.parametrize(("given", "size"), [({}, (7, 6)), ({"stride": 2}, (4, 3)),
                                             ({"pool_shape": 3, "stride": 2, "padding": "valid"}, (3, 2))])
def test_pooling_padded_by_same_ignores_the_padding(given: dict[str, Any], size: tuple[int, int]):
    layer, graph = MaxPooling2D(**given), new_graph()
    negative = -np.abs(IMAGES)
    (found,) = run(graph, layer._forward_pass(graph.tensor(negative)))
    assert found.shape == (6, 2, *size)
    padding = (0, 1, 0, 1) if layer.padding == "same" else (0, 0, 0, 0)
    padded = tnn.functional.pad(torch.tensor(negative), padding, value=-np.inf)
    assert_close(found, tnn.functional.max_pool2d(padded, layer.window, layer.stride), 0.0)


@pytest.mark.parametrize(("ours", "judge"), [
    (RMSprop(), lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9)),
    (Adam(), lambda p: torch.optim.Adam(p)),
    (Adam(learning_rate=0.01, b1=0.8, b2=0.9), lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.9))),
], ids=["rmsprop", "adam", "adam of options"])
def test_a_cnn_trains_as_torchs(ours: Any, judge: Any):
    torch.manual_seed(4)
    model: Any = NeuralNetwork(optimizer=ours, loss=CrossEntropy)
    for layer in (Conv2D(4, filter_shape=(3, 3), stride=1, input_shape=(2, 7, 6), padding="same"), Activation("relu"),
                  MaxPooling2D(pool_shape=(2, 2), stride=2, padding="valid"), Dropout(0.0), Flatten(), Dense(8),
                  Activation("tanh"), Dense(3), Activation("softmax")):
        model.add(layer)
    theirs = tnn.Sequential(tnn.Conv2d(2, 4, 3, padding=1), tnn.ReLU(), tnn.MaxPool2d(2), tnn.Flatten(),
                            tnn.Linear(36, 8), tnn.Tanh(), tnn.Linear(8, 3), tnn.Softmax(-1))
    for number, own in ((0, 0), (4, 5), (6, 7)):
        held = dict(model.layers[own].held())
        for path, value in theirs[number].state_dict().items():
            held[path].value = value.numpy()
    graph, stepper = new_graph(), judge(theirs.parameters())
    losses, judged = [], []
    x, y = graph.tensor(IMAGES), graph.tensor(LABELS)
    for _ in range(4):
        losses.append(model.train_on_batch(x, y))
        loss = tnn.functional.cross_entropy(theirs(torch.tensor(IMAGES)), torch.tensor(LABELS))
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        judged.append(loss)
    assert len(graph.recorder.graph.programs()) == 1
    losses.append(model.predict(x))
    judged.append(theirs(torch.tensor(IMAGES)))
    for own, their in zip(run(graph, *losses), judged, strict=True):
        assert_close(own, their)


def test_summary_and_pickle(capsys: pytest.CaptureFixture[str]):
    model = NeuralNetwork(optimizer=RMSprop(), loss=SquareLoss)
    model.add(Conv2D(4, (3, 3), input_shape=(1, 8, 8)))
    model.add(BatchNormalization())
    model.add(MaxPooling2D((2, 2), stride=2))
    model.add(Flatten())
    model.add(Dense(10))
    pickle.loads(pickle.dumps(model)).summary()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row][1:] == [
        ["Conv2D_1", "40", "(4, 8, 8)"], ["BatchNormalization_1", "8", "(4, 8, 8)"],
        ["MaxPooling2D_1", "0", "(4, 4, 4)"], ["Flatten_1", "0", "(64,)"], ["Dense_1", "650", "(10,)"]]


def test_wrong_arguments():
    with pytest.raises(InputError, match="padding is 'same' or 'valid', but got 'full'"):
        Conv2D(4, (3, 3), padding="full")
    with pytest.raises(InputError, match="pool_shape is an int above 0, or two of them"):
        MaxPooling2D((2, 2, 2))
    graph = new_graph()
    with pytest.raises(ShapeError, match=r"MaxPooling2D takes inputs \(batch, channels, height, width\)"):
        MaxPooling2D()._forward_pass(graph.tensor(LABELS))
    with pytest.raises(ShapeError, match=r"Conv2D takes inputs \(batch, channels, height, width\)"):
        Conv2D(4, (3, 3))._forward_pass(graph.tensor(LABELS))
