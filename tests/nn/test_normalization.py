"""Normalisation layers against PyTorch's: outputs, gradients, running statistics; and far from zero against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_judge import assert_close, judge, load, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import op
from zkynet.framework.errors import GraphError, InputError, ShapeError
from zkynet.framework.nodes import topological

PLAIN, SMALL, IMAGES, BOXES = (4, 3), (4, 3, 5), (4, 3, 2, 5), (4, 3, 2, 2, 3)


def shaken(theirs, seed=0):
    """Weights, biases and running statistics that are not those of a fresh layer."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for held in theirs.state_dict().values():
            if held.is_floating_point():
                held.copy_(torch.rand(held.shape, generator=generator) + 0.5)
    return theirs


BATCH = {
    "1d": ("BatchNorm1d", {}, PLAIN),
    "1d of sequences": ("BatchNorm1d", {"momentum": 0.3, "eps": 1e-2}, SMALL),
    "2d": ("BatchNorm2d", {}, IMAGES),
    "2d, average of all": ("BatchNorm2d", {"momentum": None}, IMAGES),
    "2d, no weight": ("BatchNorm2d", {"affine": False}, IMAGES),
    "2d, nothing tracked": ("BatchNorm2d", {"track_running_stats": False}, IMAGES),
    "2d, no bias": ("BatchNorm2d", {"bias": False}, IMAGES),
    "1d, nothing in the batch": ("BatchNorm1d", {}, (0, 3)),
    "3d": ("BatchNorm3d", {"momentum": 0.5}, BOXES),
    "instances 1d": ("InstanceNorm1d", {}, SMALL),
    "instances 2d": ("InstanceNorm2d", {"affine": True}, IMAGES),
    "instances 2d, tracked": ("InstanceNorm2d", {"affine": True, "track_running_stats": True}, IMAGES),
    "instances 2d, not moved": ("InstanceNorm2d", {"momentum": None, "track_running_stats": True}, IMAGES),
    "instances 1d, no bias": ("InstanceNorm1d", {"affine": True, "bias": False}, SMALL),
    "instances 3d, tracked": ("InstanceNorm3d", {"track_running_stats": True, "momentum": 0.4}, BOXES),
    "instances 1d, one example": ("InstanceNorm1d", {"affine": True, "track_running_stats": True}, SMALL[1:]),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", BATCH)
def test_channels(name, training):
    kind, arguments, shape = BATCH[name]
    theirs = shaken(getattr(torch.nn, kind)(3, **arguments)).train(training)
    judge(getattr(nn, kind)(3, **arguments), theirs, sample(*shape, low=-2.0, high=3.0))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("kind, shape", [("BatchNorm1d", PLAIN), ("BatchNorm2d", IMAGES), ("InstanceNorm2d", IMAGES)])
def test_running_statistics_of_several_steps(kind, shape, momentum):
    arguments = {"momentum": momentum, "track_running_stats": True}
    ours, theirs = getattr(nn, kind)(3, **arguments), getattr(torch.nn, kind)(3, **arguments)
    for step in range(4):
        x = sample(*shape, seed=step) * (step + 1.0) + step
        ours(x)  # not looked at: the next call continues from it all the same
        theirs(torch.tensor(x))
    for name, buffer in theirs.named_buffers():
        assert_close(getattr(ours, name).value, buffer, name)
    ours.eval()
    theirs.eval()
    assert_close(ours(x).value, theirs(torch.tensor(x)), "evaluated")
    for name, buffer in theirs.named_buffers():
        assert_close(getattr(ours, name).value, buffer, f"{name} after evaluation")


LAYER = {
    "layer": ("LayerNorm", (5,), {}, (2, 3, 5)),
    "layer, two axes": ("LayerNorm", ((3, 5),), {"eps": 1e-2}, (2, 3, 5)),
    "layer, no bias": ("LayerNorm", (5,), {"bias": False}, (2, 5)),
    "layer, no weight": ("LayerNorm", ([2, 5],), {"elementwise_affine": False}, (3, 2, 5)),
    "layer, a vector": ("LayerNorm", (5,), {}, (5,)),
    "root mean square": ("RMSNorm", (5,), {}, (2, 3, 5)),
    "root mean square, eps": ("RMSNorm", ((3, 5),), {"eps": 1e-2}, (2, 3, 5)),
    "root mean square, no weight": ("RMSNorm", (5,), {"elementwise_affine": False}, (2, 5)),
    "groups": ("GroupNorm", (2, 4), {}, (3, 4, 2, 3)),
    "groups of one": ("GroupNorm", (4, 4), {"eps": 1e-2}, (3, 4, 5)),
    "one group": ("GroupNorm", (1, 4), {}, (3, 4)),
    "groups, no bias": ("GroupNorm", (2, 4), {"bias": False}, (2, 4, 3)),
    "groups, no weight": ("GroupNorm", (2, 4), {"affine": False}, (2, 4, 2, 2, 2)),
}


@pytest.mark.parametrize("name", LAYER)
def test_layer_and_group(name):
    kind, sizes, arguments, shape = LAYER[name]
    judge(getattr(nn, kind)(*sizes, **arguments), shaken(getattr(torch.nn, kind)(*sizes, **arguments)), sample(*shape))


@pytest.mark.parametrize("name", ["layer", "groups", "2d", "root mean square"])
def test_float32_far_from_zero_is_as_good_as_float64(name):
    """Values of 1000 with deviations of 1, of which a plain mean loses three digits. PyTorch's float64 is the judge."""
    kind, sizes, arguments, shape = LAYER.get(name) or (*[BATCH[name][0], (3,), {}], IMAGES)
    theirs = shaken(getattr(torch.nn, kind)(*sizes, **arguments))
    ours = getattr(nn, kind)(*sizes, **arguments)
    load(ours, theirs.state_dict())
    x = (sample(*shape, low=-2.0, high=2.0) + np.float32(1000.0)).astype(np.float32)
    cotangent = sample(*shape, seed=1)
    exact = theirs.double()
    at = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = exact(at)
    expected = torch.autograd.grad(y, [at, *exact.parameters()], torch.tensor(cotangent.astype(np.float64)))
    value, (by_input, by_parameter) = zkynet.vjp(ours, 0, wrt=ours.parameters())(x, cotangent=cotangent)
    assert_close(value, y.float(), "output")
    for found, right in zip((by_input, *by_parameter), expected, strict=True):
        assert_close(found, right.float(), "gradient")


def test_long_sums_far_from_zero_keep_their_digits():
    """65536 values a channel: summed as they are, float32 would leave the mean off by more than a deviation's 1e-3."""
    x = (sample(64, 2, 32, 32) + np.float32(1000.0)).astype(np.float32)
    wide = x.astype(np.float64)
    level, spread = wide.mean((0, 2, 3), keepdims=True), wide.var((0, 2, 3), keepdims=True)
    layer: Any = nn.BatchNorm2d(2)
    assert_close(layer(x).value, ((wide - level) / np.sqrt(spread + 1e-5)).astype(np.float32), "output")


def test_second_derivatives():
    """Of a batch norm in training mode, with respect to its input and weight, against torch's."""
    theirs = shaken(torch.nn.BatchNorm1d(3))
    x, direction, given = sample(*PLAIN), sample(*PLAIN, seed=1), theirs.weight.detach().numpy()

    def slope(x, weight):
        total = zkynet.grad(lambda x: op.sum(op.normalize(x, weight, axis=0, along=1) ** 3))(x)
        return op.sum(total * direction)

    at = torch.tensor(x, requires_grad=True)
    (first,) = torch.autograd.grad((theirs(at) - theirs.bias).pow(3).sum(), at, create_graph=True)
    expected = torch.autograd.grad((first * torch.tensor(direction)).sum(), [at, theirs.weight])
    for found, right in zip(zkynet.grad(slope, (0, 1))(x, given), expected, strict=True):
        assert_close(found, right, "second derivative", rtol=2e-5)


def test_sizes_come_from_the_first_input():
    made = {
        "BatchNorm2d": (nn.BatchNorm2d(None), IMAGES, (3,)),
        "LayerNorm": (nn.LayerNorm(None), SMALL, (5,)),
        "RMSNorm": (nn.RMSNorm(None), SMALL, (5,)),
        "GroupNorm": (nn.GroupNorm(3, None), IMAGES, (3,)),
        "InstanceNorm2d": (nn.InstanceNorm2d(None, affine=True), IMAGES, (3,)),
    }
    for name, (layer, shape, size) in made.items():
        with pytest.raises(GraphError, match="takes its sizes from its first input"):
            layer.parameters()
        layer(sample(*shape))
        assert [p.shape for p in layer.parameters()] == [size] * (1 if name == "RMSNorm" else 2)
    assert nn.InstanceNorm1d(None).parameters() == []  # nothing to be made


def test_a_state_without_the_number_of_batches_is_loaded():
    """As by PyTorch; the number stays, and is written all the same."""
    ours, theirs = nn.BatchNorm1d(3), shaken(torch.nn.BatchNorm1d(3))
    state = {name: held.numpy() for name, held in theirs.state_dict().items() if name != "num_batches_tracked"}
    ours(sample(*PLAIN))
    assert ours.load_state_dict(state) == ([], [])
    assert_close(ours.eval()(sample(*PLAIN)).value, theirs.eval()(torch.tensor(sample(*PLAIN))), "output")
    assert ours.state_dict()["num_batches_tracked"] == 1


def test_a_number_of_channels_that_nothing_depends_on():
    ours, theirs = nn.InstanceNorm1d(5), torch.nn.InstanceNorm1d(5)
    with pytest.warns(UserWarning, match="num_features"):
        assert_close(ours(sample(*SMALL)).value, theirs(torch.tensor(sample(*SMALL))), "output")


def test_half_precision_keeps_its_statistics_in_float32():
    layer: Any = nn.BatchNorm1d(2)
    x = (sample(64, 2) + 3.0).astype(np.float32)
    with zkynet.precision("bfloat16"):
        y = layer(x)
        assert y.root.dtype.name == "bfloat16"
        assert layer.running_mean.value.dtype == np.float32
    low = np.asarray(op.cast(x, dtype="bfloat16").value).astype(np.float32)
    assert_close(layer.running_mean.value, 0.1 * low.mean(0), "running mean")
    assert_close(np.asarray(y.value).astype(np.float32), (low - low.mean(0)) / low.std(0), "output", rtol=1e-2)


def test_few_nodes():
    """One node for a layer norm and for a batch norm in evaluation; in training the running statistics' besides."""
    def operators(layer):
        result = layer(sample(*PLAIN))
        updates = [state._pending for state in result.root.call.updated or ()]
        nodes: Any = topological([result.root, *updates])
        return sorted({node.operator.name for node in nodes if node.inputs})

    assert operators(nn.LayerNorm(3)) == ["normalize"]
    assert operators(nn.BatchNorm1d(3)) == ["normalize", "output", "running_moments"]
    assert operators(nn.BatchNorm1d(3).eval()) == ["standardize"]


def test_training_steps_compile_once():
    """Running statistics are part of the step's one program, and agree with torch's after three of them."""
    ours, theirs = nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    load(ours, theirs.state_dict())
    gradient = zkynet.value_and_grad(lambda x: op.mean(op.square(ours(x) - 1.0)), wrt=ours.parameters())
    optimizer = torch.optim.SGD(theirs.parameters(), 0.5)

    @zkynet.compile
    def step(x):
        loss, slopes = gradient(x)
        for parameter, slope in zip(ours.parameters(), slopes, strict=True):
            parameter.value = parameter - 0.5 * slope
        return loss

    for i in range(3):
        x = sample(*PLAIN, seed=i)
        if i == 1:
            before = zkynet.compile_stats().compilations
        found = step(x)
        optimizer.zero_grad()
        loss = (theirs(torch.tensor(x)) - 1.0).square().mean()
        loss.backward()
        optimizer.step()
        assert_close(found, loss, f"loss of step {i}")
    assert zkynet.compile_stats().compilations == before
    for name, held in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], held, name)


FLOAT: Any = 3.0
WRONG = {
    "axes": (lambda: nn.BatchNorm2d(3)(sample(*SMALL)), ShapeError, r"BatchNorm2d takes inputs of 4 axes.*\(4, 3, 5\)"),
    "channels": (lambda: nn.BatchNorm1d(5)(sample(*PLAIN)), ShapeError,
                 r"BatchNorm1d was made for num_features=5.*\(4, 3\): axis 1 must be 5"),
    "one value": (lambda: nn.BatchNorm1d(3)(sample(1, 3)), ShapeError,
                  r"BatchNorm1d needs more than one value .*\(1, 3\).*\.eval\(\)"),
    "one place": (lambda: nn.InstanceNorm1d(3)(sample(2, 3, 1)), ShapeError, "InstanceNorm1d needs more than one"),
    "last axes": (lambda: nn.LayerNorm((3, 4))(sample(*SMALL)), ShapeError,
                  r"LayerNorm was made for normalized_shape=\(3, 4\), .*\(4, 3, 5\)"),
    "too few axes": (lambda: nn.RMSNorm((3, 4))(sample(4)), ShapeError, r"made for normalized_shape=\(3, 4\)"),
    "no axes": (lambda: nn.LayerNorm(()), InputError, r"LayerNorm normalises over at least one axis.*got \(\)"),
    "a scalar": (lambda: nn.LayerNorm(None)(5.0), ShapeError, "LayerNorm takes its sizes from the last axis .* scalar"),
    "a float of axes": (lambda: nn.LayerNorm(FLOAT), InputError, r"LayerNorm normalises over .* got 3\.0"),
    "float channels": (lambda: nn.BatchNorm1d(FLOAT), InputError, "num_features must be an int >= 0, but got 3.0"),
    "no groups": (lambda: nn.GroupNorm(0, 3), InputError, "num_groups must be an int >= 1, but got 0"),
    "tracked channels": (lambda: nn.InstanceNorm1d(5, track_running_stats=True)(sample(*SMALL)), ShapeError,
                         "made for num_features=5"),
    "groups": (lambda: nn.GroupNorm(2, 3), InputError, "multiple of num_groups, but got 3 channels and num_groups=2"),
    "group channels": (lambda: nn.GroupNorm(2, 4)(sample(*PLAIN)), ShapeError, "GroupNorm was made for num_channels=4"),
    "bias alone": (lambda: op.normalize(sample(2, 3), None, sample(3)), InputError, "normalize: a bias needs a weight"),
    "weight": (lambda: op.normalize(sample(2, 3), sample(2)), ShapeError, r"operator normalize.*needs 3 elements"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


def test_one_value_is_enough_in_evaluation():
    theirs = shaken(torch.nn.BatchNorm1d(3)).eval()
    judge(nn.BatchNorm1d(3), theirs, sample(1, 3))
