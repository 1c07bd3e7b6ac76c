"""Each layer against torch: three recorded steps of training, then an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dl_running import assert_close, new_graph, run

from ravnet.dl import Functional, layers
from ravnet.dl.layer import Layer
from ravnet.dl.optimizers import SGD
from zkynet.framework.errors import ShapeError

torch = pytest.importorskip("torch")
tnn = torch.nn

Row = tuple[Callable[[dict[str, Any]], Layer], Callable[[], Any], tuple[int, ...]]
WEIGHTS = {"weight": "initial_W", "bias": "initial_w0"}
NORM = {"weight": "initial_gamma", "bias": "initial_beta", "running_mean": "initial_running_mean",
        "running_var": "initial_running_var"}


def dense(**options: Any) -> Row:
    return (lambda w: layers.Dense(5, use_bias="False" if options.get("bias") is False else "True", **w),
            lambda: tnn.Linear(4, 5, **options), (6, 4))


def conv(shape: tuple[int, ...] = (2, 4, 7, 6), out: int = 6, kernel: Any = 3, **options: Any) -> Row:
    return (lambda w: layers.Conv2D(shape[1], out, kernel, **options, **w),
            lambda: tnn.Conv2d(shape[1], out, kernel, **options), shape)


def pool(*args: Any, **options: Any) -> Row:
    return (lambda w: layers.MaxPooling2D(*args, **options), lambda: tnn.MaxPool2d(*args, **options), (2, 3, 9, 8))


def norm1d(shape: tuple[int, ...], affine: Any = True, **options: Any) -> Row:
    theirs = {"momentum": 0.99, "epsilon": 0.01, **options}
    return (lambda w: layers.BatchNormalization1D(affine=affine, **options, **w),
            lambda: tnn.BatchNorm1d(shape[1], theirs["epsilon"], theirs["momentum"], affine in (True, "True")), shape)


def norm2d(**options: Any) -> Row:
    return (lambda w: layers.BatchNormalization2D(3, **options, **w),
            lambda: tnn.BatchNorm2d(3, options.get("epsilon", 0.01), options.get("momentum", 0.99)), (4, 3, 5, 6))


def layer_norm(normalized_shape: Any, shape: tuple[int, ...], **options: Any) -> Row:
    sizes = shape[-1] if normalized_shape is None else normalized_shape
    return (lambda w: layers.LayerNormalization(normalized_shape, **options, **w),
            lambda: tnn.LayerNorm(sizes, options.get("epsilon", 1e-5)), shape)


def activation(name: str, module: Callable[[], Any], **constants: Any) -> Row:
    return lambda w: layers.Activation(name, **constants), module, (4, 3, 5)


ROWS: dict[str, Row] = {
    "dense": dense(), "dense without bias": dense(bias=False),
    "dense of three axes": (lambda w: layers.Dense(5, **w), lambda: tnn.Linear(4, 5), (2, 3, 4)),
    "conv": conv(), "conv, stride and padding": conv(stride=(2, 1), padding=(1, 2)),
    "conv, same": conv(padding="same", kernel=(4, 3)), "conv, valid": conv(padding="valid"),
    "conv, same and dilated": conv(padding="same", dilation=(2, 1)),
    "conv, dilation": conv(dilation=2), "conv, groups": conv(groups=2), "conv, no bias": conv(bias=False),
    "conv, depthwise": conv(groups=4, out=8),
    "conv, reflect": conv(padding=1, padding_mode="reflect"),
    "conv, replicate": conv(padding=(2, 1), padding_mode="replicate"),
    "conv, circular and same": conv(padding="same", padding_mode="circular"),
    "batch norm of features": norm1d((8, 5)), "batch norm of lengths": norm1d((4, 3, 6), momentum=0.3, epsilon=1e-3),
    "batch norm, not affine": norm1d((8, 5), affine="False"), "batch norm of images": norm2d(),
    "batch norm of images, momentum": norm2d(momentum=0.1, epsilon=1e-5),
    "layer norm": layer_norm(None, (4, 6)), "layer norm of an int": layer_norm(6, (2, 4, 6), epsilon=1e-3),
    "layer norm of two axes": layer_norm((4, 6), (3, 4, 6)),
    "flatten": (lambda w: layers.Flatten(), tnn.Flatten, (2, 3, 4, 5)),
    "flatten some": (lambda w: layers.Flatten(1, 2), lambda: tnn.Flatten(1, 2), (2, 3, 4, 5)),
    "pool": pool(2), "pool, stride": pool((3, 2), stride=(2, 1)), "pool, padding": pool(3, stride=2, padding=1),
    "pool, dilation": pool(2, stride=2, dilation=2), "pool, ceil": pool(2, stride=2, ceil_mode=True),
    "relu": activation("relu", tnn.ReLU), "sigmoid": activation("sigmoid", tnn.Sigmoid),
    "tanh": activation("tanh", tnn.Tanh), "softmax": activation("softmax", lambda: tnn.Softmax(-1)),
    "leaky_relu": activation("leaky_relu", tnn.LeakyReLU), "elu": activation("elu", tnn.ELU),
    "selu": activation("selu", tnn.SELU), "softplus": activation("softplus", tnn.Softplus),
    "softsign": activation("softsign", tnn.Softsign), "tanhshrink": activation("tanhshrink", tnn.Tanhshrink),
    "logsigmoid": activation("logsigmoid", tnn.LogSigmoid), "hardshrink": activation("hardshrink", tnn.Hardshrink),
    "hardtanh": activation("hardtanh", tnn.Hardtanh), "softmin": activation("softmin", lambda: tnn.Softmin(-1)),
    "softshrink": activation("softshrink", tnn.Softshrink),
    "threshold": activation("threshold", lambda: tnn.Threshold(0.0, 0.0)),
    "threshold of constants": activation("threshold", lambda: tnn.Threshold(0.1, 20.0), threshold=0.1, value=20.0),
    "gelu": activation("gelu", tnn.GELU), "leaky_relu of a slope": activation(
        "leaky_relu", lambda: tnn.LeakyReLU(0.3), negative_slope=0.3),
}


class Scaled(Functional):
    """A layer between weights, so that its gradient at the input counts."""

    def __init__(self, scale: np.ndarray, layer: Layer):
        self.scale = layers.Dense(scale.shape[0], initial_W=scale, use_bias=False)
        self.layer = layer
        self.initialize_params(SGD(lr=0.1))

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        return self.layer._forward_pass(self.scale._forward_pass(input), training=training)


def initial_values(module: Any) -> dict[str, np.ndarray]:
    names = NORM if isinstance(module, (tnn.BatchNorm1d, tnn.BatchNorm2d)) else WEIGHTS
    return {names[path]: value.numpy() for path, value in module.state_dict().items() if path in names}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", ROWS)
def test_layer_trains_as_torchs(name: str):
    make, judge, shape = ROWS[name]
    rng = np.random.default_rng(3)
    torch.manual_seed(0)
    theirs = judge()
    if any("running" in path for path in theirs.state_dict()):
        with torch.no_grad():
            theirs.running_mean.normal_()
            theirs.running_var.uniform_(0.5, 2.0)
    inner = tnn.Linear(shape[-1], shape[-1], bias=False)
    model = Scaled(inner.weight.detach().numpy().copy(), make(initial_values(theirs)))
    both = tnn.Sequential(inner, theirs)
    stepper = torch.optim.SGD(both.parameters(), lr=0.1)
    graph = new_graph()
    ops, judged = [], []
    for _ in range(3):
        x = rng.normal(size=shape).astype(np.float32)
        out = model._forward_pass(graph.tensor(x), training=True)
        loss: Any = out.square().mean()
        model._backward_pass(loss)
        wanted = both(torch.tensor(x))
        their_loss = (wanted**2).mean()
        stepper.zero_grad()
        their_loss.backward()
        stepper.step()
        ops += [out, loss]
        judged += [wanted, their_loss]
    both.eval()
    ops.append(model._forward_pass(graph.tensor(x), training="False"))
    judged.append(both(torch.tensor(x)))
    for ours, their in zip(run(graph, *ops), judged, strict=True):
        assert_close(ours, their)


def test_the_batches_of_an_embedding_train_as_torchs():
    torch.manual_seed(1)
    theirs = tnn.Embedding(7, 4)

    class Net(Functional):
        def __init__(self):
            self.table = layers.Embedding(7, 4, initial_W=theirs.weight.detach().numpy().copy())
            self.initialize_params(SGD(lr=0.5))

        def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
            return self.table._forward_pass(input)

    model, graph = Net(), new_graph()
    stepper = torch.optim.SGD(theirs.parameters(), lr=0.5)
    rows = np.array([[0, 3, 3], [6, 1, 0]])
    for given in (rows, rows.astype(np.float64), rows[::-1]):
        model._backward_pass(model._forward_pass(graph.tensor(given)).square().mean())
        stepper.zero_grad()
        (theirs(torch.tensor(given.astype(np.int64).copy()))**2).mean().backward()
        stepper.step()
    (ours,) = run(graph, model._forward_pass(graph.tensor(rows), training=False))
    assert_close(ours, theirs(torch.tensor(rows)))


def test_an_initial_value_counts_also_when_the_layer_is_built():
    table, rows = np.arange(10.0, dtype=np.float32).reshape(5, 2), np.array([[0, 4], [3, 3]])
    layer, graph = layers.Embedding(5, 2), new_graph()
    first = layer._forward_pass(graph.tensor(rows))
    layer.initial_W = table.tolist()
    with pytest.raises(ShapeError, match=r"Embedding: initial_W must have the shape \(5, 2\).*but has \(2, 5\)"):
        layer.initial_W = table.T
    second = layer._forward_pass(graph.tensor(rows))
    before, after = run(graph, first, second)
    assert_close(after, tnn.functional.embedding(torch.tensor(rows), torch.tensor(table)))
    assert not np.array_equal(before, after)


def test_pooling_returns_indices():
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8)).astype(np.float32)
    graph = new_graph()
    y, indices = layers.MaxPooling2D(3, stride=2, padding=1, return_indices="True")._forward_pass(graph.tensor(x))
    ours = run(graph, y, indices)
    theirs = tnn.MaxPool2d(3, stride=2, padding=1, return_indices=True)(torch.tensor(x))
    assert_close(ours[0], theirs[0], 0.0)
    assert np.array_equal(ours[1], theirs[1].numpy())


def test_dropout_drops_scales_and_rests():
    graph = new_graph()
    layer, x = layers.Dropout(0.25), graph.tensor(np.ones((100, 100)))
    first, second = layer._forward_pass(x), layer._forward_pass(x, training=True)
    still = layer._forward_pass(x, training=False)
    a, b, c = run(graph, first, second, still)
    assert set(np.unique(a)) == {0.0, np.float32(1 / 0.75)} and abs((a == 0).mean() - 0.25) < 0.02
    assert not np.array_equal(a, b)
    assert (c == 1).all()


A, B = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3), np.full((2, 3), 2.0, np.float32)
JOINED: dict[str, tuple[Layer, list[np.ndarray], np.ndarray]] = {
    "concat": (layers.Concat(axis=1), [A, B, A], np.concatenate([A, B, A], 1)),
    "concat of one axis": (layers.Concat(), [A, B], np.concatenate([A, B], 0)),
    "add": (layers.Add(), [A, B, B], A + B + B), "subtract": (layers.Subtract(), [A, B], A - B),
    "multiply": (layers.Multiply(), [A, B], A * B), "division": (layers.Division(), [A, B], A / B),
    "dot": (layers.Dot(), [A, B.T.copy()], A @ B.T),
    "dot of stacks": (layers.Dot(), [np.stack([A, A]), np.stack([B, A]).swapaxes(1, 2).copy()],
                      np.stack([A @ B.T, A @ A.T])),
    "power": (layers.Power(3), [A], A**3), "power of an op": (layers.Power(), [A, B], A**B),
    "reshape": (layers.Reshape(shape=(3, -1), contiguous="True"), [A], A.reshape(3, -1)),
    "transpose": (layers.Transpose(axes=(0, 1)), [A], A.T),
    "transpose of the last": (layers.Transpose(axes=(-2, -1)), [np.stack([A, B])], np.stack([A.T, B.T])),
    "transpose of all": (layers.Transpose(axes=(1, 2, 0)), [np.stack([A, B])], np.stack([A, B]).transpose(1, 2, 0)),
}


@pytest.mark.parametrize("name", JOINED)
def test_layers_without_parameters(name: str):
    layer, inputs, wanted = JOINED[name]
    graph = new_graph()
    (found,) = run(graph, layer._forward_pass(*[graph.tensor(array) for array in inputs]))
    assert_close(found, wanted)


def test_several_inputs_may_come_as_a_list():
    graph = new_graph()
    layer = layers.Concat(axis=0)
    (found,) = run(graph, layer._forward_pass([graph.tensor(A), B]))
    assert_close(found, np.concatenate([A, B]))
