"""Convolution layers against PyTorch; what they print, refuse and cost."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from torch_judge import assert_close, judge, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import cg, config, op
from zkynet.framework.errors import GraphError, InputError, ShapeError

# (layer, its arguments, by keyword, shape of the input)
CONV: list[tuple[str, tuple, dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (2, 4, 3), {}, (2, 2, 9)),
    ("Conv1d", (2, 4, 3), {"stride": 2, "padding": 2, "dilation": 2, "bias": False}, (2, 2, 9)),
    ("Conv1d", (4, 6, 3), {"groups": 2, "padding": 1}, (4, 7)),
    ("Conv1d", (2, 4, 4), {"padding": "same", "dilation": 3}, (2, 2, 12)),
    ("Conv1d", (2, 4, 3), {"padding": (2,), "padding_mode": "circular"}, (2, 2, 6)),
    ("Conv2d", (3, 4, 3), {}, (2, 3, 6, 5)),
    ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 0)}, (2, 3, 6, 5)),
    ("Conv2d", (3, 4, 3), {"padding": 2, "dilation": (1, 2)}, (3, 6, 5)),
    ("Conv2d", (3, 4, 1), {"bias": False}, (2, 3, 4, 4)),
    ("Conv2d", (4, 6, 3), {"groups": 2, "padding": 1}, (2, 4, 5, 5)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "stride": 2, "padding": 1}, (2, 4, 6, 6)),
    ("Conv2d", (16, 8, 3), {"padding": "valid"}, (2, 16, 6, 6)),
    ("Conv2d", (3, 4, (3, 4)), {"padding": "same"}, (2, 3, 6, 5)),
    ("Conv2d", (3, 4, 3), {"padding": "same", "padding_mode": "reflect", "dilation": 2}, (2, 3, 6, 5)),
    ("Conv2d", (3, 4, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (2, 3, 6, 5)),
    ("Conv2d", (3, 4, 3), {"padding": 2, "padding_mode": "replicate", "stride": 2}, (3, 6, 5)),
    ("Conv2d", (3, 4, 3), {"padding": (2, 1), "padding_mode": "circular"}, (2, 3, 6, 5)),
    ("Conv2d", (3, 4, 3), {"padding_mode": "reflect"}, (2, 3, 6, 5)),
    ("Conv3d", (2, 3, 2), {}, (1, 2, 3, 4, 3)),
    ("Conv3d", (2, 4, (1, 2, 3)), {"stride": (1, 2, 1), "padding": (0, 1, 1), "groups": 2}, (2, 2, 3, 4, 3)),
    ("Conv3d", (1, 2, 3), {"padding": 1, "padding_mode": "replicate"}, (1, 3, 2, 3)),
    ("Conv3d", (6, 12, 3), {"padding": 1, "groups": 6, "padding_mode": "replicate"}, (2, 6, 4, 6, 6)),
    ("ConvTranspose1d", (2, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 2, 5)),
    ("ConvTranspose1d", (2, 4, 2), {"dilation": 3, "bias": False}, (2, 5)),
    ("ConvTranspose2d", (3, 4, 3), {}, (2, 3, 4, 5)),
    ("ConvTranspose2d", (3, 4, 2), {"stride": 2}, (2, 3, 4, 5)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "padding": (1, 0), "groups": 2}, (2, 4, 4, 3)),
    ("ConvTranspose2d", (4, 4, 3), {"groups": 4, "stride": 2, "padding": 1, "output_padding": 1}, (4, 4, 3)),
    ("ConvTranspose2d", (3, 4, 3), {"dilation": (1, 2), "output_padding": (0, 1), "stride": 1}, (2, 3, 4, 5)),
    ("ConvTranspose3d", (2, 3, 2), {"stride": (1, 2, 2), "bias": False}, (1, 2, 2, 3, 2)),
    ("ConvTranspose3d", (2, 4, 3), {"padding": 1, "groups": 2}, (2, 3, 2, 3)),
    ("ConvTranspose3d", (12, 6, 3), {"groups": 6}, (2, 12, 4, 6, 6)),
]


def build(where: Any, name: str, args: tuple, how: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(where, name)(*args, **how)


@pytest.mark.parametrize(("name", "args", "how", "shape"), CONV, ids=str)
def test_same_as_torch(name: str, args: tuple, how: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = build(nn, name, args, how), build(torch.nn, name, args, how)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
        judge(ours, theirs, sample(*shape))
    assert repr(ours) == repr(theirs).replace("padding=same", "padding='same'").replace(
        "padding=valid", "padding='valid'").replace(
        f"padding_mode={theirs.padding_mode}", f"padding_mode={theirs.padding_mode!r}")


@pytest.mark.parametrize(("name", "size"), [("Conv2d", None), ("ConvTranspose2d", None), ("ConvTranspose2d", (8, 9))])
def test_channels_from_the_first_input(name: str, size: Any) -> None:
    ours = getattr(nn, name)(None, 4, 3, stride=2, padding=1)
    assert repr(ours).startswith(f"{name}(None, 4, ")
    with pytest.raises(GraphError, match="takes its sizes from its first input"):
        ours.parameters()
    how = {} if size is None else {"output_size": size}
    judge(ours, getattr(torch.nn, name)(3, 4, 3, stride=2, padding=1), sample(2, 3, 4, 5), **how)
    assert repr(ours).startswith(f"{name}(3, 4, ")


@pytest.mark.parametrize("size", [(7, 9), (8, 10), (2, 4, 7, 10), [8, 9]], ids=str)
def test_output_size_of_a_transposed_convolution(size: Any) -> None:
    judge(nn.ConvTranspose2d(3, 4, 3, 2, 1), torch.nn.ConvTranspose2d(3, 4, 3, 2, 1), sample(2, 3, 4, 5),
          output_size=size)


def test_output_size_inside_another_module():
    class Back(cg.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
            self.up = nn.ConvTranspose2d(4, 3, 3, 2, 1)

        def call(self, x: Any) -> Any:
            return self.up(self.down(x), output_size=x.shape[2:])

    back = Back()
    assert [back(sample(1, 3, n, 7)).shape for n in (7, 8)] == [(1, 3, 7, 7), (1, 3, 8, 7)]
    assert list(back.state_dict()) == ["down.weight", "up.weight", "up.bias"]


@pytest.mark.parametrize(("name", "args", "how"), [
    ("Conv1d", (32, 64, 5), {}), ("Conv2d", (16, 32, 3), {"groups": 4}), ("Conv3d", (8, 16, (1, 2, 3)), {}),
    ("ConvTranspose2d", (16, 32, 3), {"groups": 2})], ids=str)
def test_initial_values_have_the_range_of_torch(name: str, args: tuple, how: dict[str, Any]) -> None:
    nn.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args, **how), getattr(torch.nn, name)(*args, **how)
    for parameter in ("weight", "bias"):
        mine, other = np.asarray(ours.param(parameter).value), getattr(theirs, parameter).detach().numpy()
        assert mine.shape == other.shape and mine.dtype == other.dtype
        near = 0.15 if parameter == "bias" else 0.02
        assert np.abs(mine).max() == pytest.approx(float(np.abs(other).max()), rel=near)
    weight = np.asarray(ours.weight.value)
    assert weight.mean() == pytest.approx(0.0, abs=0.1 * float(weight.std()))
    assert weight.std() == pytest.approx(float(theirs.weight.detach().numpy().std()), rel=0.1)


def test_initialisers_and_seeds():
    nn.manual_seed(3)
    first = nn.Conv2d(2, 3, 3)
    nn.manual_seed(3)
    again = nn.Conv2d(2, 3, 3)
    np.testing.assert_array_equal(first.weight.value, again.weight.value)
    made = nn.Conv2d(2, 3, 3, weight_init="ones", bias_init=0.5)
    assert made.bias is not None
    assert made.weight.value.min() == 1.0 and made.bias.value.tolist() == [0.5] * 3


@pytest.mark.parametrize("run", [lambda f: f, zkynet.compile, zkynet.vmap, zkynet.grad],
                         ids=["call", "compile", "vmap", "grad"])
def test_a_refused_input_fixes_no_sizes(run: Any) -> None:
    """Neither those of the layer that refused it nor of the ones before; another input is taken after it."""
    refusing = nn.Conv2d(3, 4, 3)
    net = nn.Sequential(nn.Conv2d(None, 2, 1), refusing)
    before = {name: dict(vars(layer)) for name, layer in net.named_modules()}
    with pytest.raises(ShapeError, match="made for in_channels=3"):
        run(net)(sample(2, 2, 5, 6, 6) if run is zkynet.vmap else sample(2, 5, 6, 6))
    assert before == {name: dict(vars(layer)) for name, layer in net.named_modules()}
    refusing.__init__(2, 4, 3)
    assert net(sample(2, 7, 6, 6)).shape == (2, 4, 4, 4) and net[0].weight.shape == (2, 7, 1, 1)


def test_sizes_of_a_call_whose_error_was_caught():
    class Tries(cg.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(None, 2), nn.Sequential(nn.Linear(None, 2), nn.Conv2d(2, 2, 3))

        def call(self, x: Any) -> Any:
            y = self.first(x)
            try:
                return self.second(y)
            except ShapeError:
                return y

    tries = Tries()
    tries(sample(2, 3))
    assert not tries.first.deferred and tries.second[0].deferred


FLOAT: Any = 3.0
TEXT: Any = "3"
NONE: Any = None
REFUSED = [
    (lambda: nn.Linear(-1, 3), InputError, r"Linear: in_features must be an int >= 0, but got -1"),
    (lambda: nn.Linear(TEXT, 2), InputError, r"Linear: in_features must be an int >= 0, but got '3'"),
    (lambda: nn.Linear(3, NONE), InputError, r"Linear: out_features must be an int >= 0, but got None"),
    (lambda: nn.Linear(None, 2)(5.0), ShapeError, r"Linear takes its sizes from the last axis .* got a scalar"),
    (lambda: nn.Bilinear(3, FLOAT, 1), InputError, r"in2_features must be an int >= 0, but got 3.0"),
    (lambda: nn.PReLU(-1), InputError, r"num_parameters must be an int >= 0, but got -1"),
    (lambda: nn.Conv2d(FLOAT, 4, 3), InputError, r"in_channels must be an int >= 1, but got 3\.0"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), InputError, r"Conv2d: in_channels=3 cannot be cut into groups=2"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), InputError, r"Conv2d: out_channels=3 cannot be cut into groups=2"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), InputError, r"Conv2d: kernel_size must be an int >= 1 or 2 of them"),
    (lambda: nn.Conv2d(3, 4, 0), InputError, r"kernel_size must be an int >= 1"),
    (lambda: nn.Conv1d(3, 4, 3, stride=0), InputError, r"Conv1d: stride must be an int >= 1"),
    (lambda: nn.Conv2d(3, 4, 3, padding=-1), InputError, r"Conv2d: padding must be an int >= 0"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full"), InputError, r"padding must be 'same', 'valid', an int .* got 'full'"),
    (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), InputError, r"padding='same' keeps .* got stride=2"),
    (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), InputError,
     r"padding_mode must be one of zeros, reflect, replicate, circular, but got 'mirror'"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), InputError, r"padding_mode='zeros' only"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=1), InputError,
     r"output_padding=1 must be smaller than stride=1 or dilation=1"),
    (lambda: nn.Conv2d(3, 4, 3)(sample(2, 5, 6, 6)), ShapeError,
     r"Conv2d was made for in_channels=3, but its input has the shape \(2, 5, 6, 6\): axis 1 must be 3"),
    (lambda: nn.Conv2d(3, 4, 3)(sample(5, 6, 6)), ShapeError, r"shape \(5, 6, 6\): axis 0 must be 3"),
    (lambda: nn.Conv2d(3, 4, 3)(sample(3, 6)), ShapeError,
     r"Conv2d takes an input \(batch, channels, height, width\), or one without the batch, but got the shape \(3, 6\)"),
    (lambda: nn.Conv2d(None, 4, 3)(sample(3, 6)), ShapeError, r"but got the shape \(3, 6\)"),
    (lambda: nn.Conv2d(3, 4, 7)(sample(2, 3, 6, 6)), ShapeError,
     r"in Conv2d at .*test_conv_layers.py:\d+: .* the kernel covers 7 elements, but the padded input has 6"),
    (lambda: nn.Conv2d(3, 4, 3, padding=6, padding_mode="reflect")(sample(2, 3, 6, 6)), ShapeError,
     r"mode 'reflect' allows widths from 0 to 5"),
    (lambda: nn.Conv2d(3, 4, 3)(None), InputError, r"Conv2d needs an array or a node, but got NoneType"),
    (lambda: nn.Conv2d(None, 4, 3)((sample(2, 3, 6, 6),)), InputError,
     r"Conv2d needs an array or a node, but got tuple"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2)(sample(2, 3, 4, 4), output_size=(8, 8)), InputError,
     r"output_size must be from \(9, 9\) to \(10, 10\) for this input, but got \(8, 8\)"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2)(sample(2, 3, 4, 4), output_size=(8,)), InputError,
     r"output_size needs 2 ints, but got \(8,\)"),
    (lambda: nn.ConvTranspose1d(3, 4, 1, padding=1)(sample(2, 3, 2)), ShapeError,
     r"the output would have the spatial shape \(0,\)"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), REFUSED, ids=[row[2][:40] for row in REFUSED])
def test_errors(wrong: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()


def test_a_call_is_two_nodes_and_costs_no_second_look():
    class Twice(cg.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, bias=False)

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    model = Twice()
    graph = model(sample(2, 3, 6, 6))
    assert [node.name for node in graph.nodes if not node.isleaf()] == ["conv", "add_channels", "conv"]
    _ = graph.value
    compilations, x = zkynet.compile_stats().compilations, sample(2, 3, 6, 6, seed=1)
    again = model(x)
    assert [node.name for node in again.nodes if not node.isleaf()] == ["conv", "add_channels", "conv"]
    found = np.asarray(again.value)
    assert zkynet.compile_stats().compilations == compilations
    y = op.conv2d(x, model.first.weight, model.first.bias, padding=1)
    assert_close(found, op.conv2d(y, model.second.weight, padding=1).value, "the second call")


def test_a_changed_attribute_counts():
    layer, x = nn.Conv2d(3, 4, 3), sample(2, 3, 6, 6)
    assert layer(x).shape == (2, 4, 4, 4)
    layer.padding = (1, 1)
    assert layer(x).shape == (2, 4, 6, 6)
    layer.weight = cg.Parameter("weight", np.ones((4, 3, 1, 1), np.float32))
    assert layer(x).shape == (2, 4, 8, 8)


def test_a_copy_is_independent_and_shares_programs():
    layer, x = nn.Conv2d(3, 4, 3, padding=1), sample(2, 3, 6, 6)
    first = layer(x).value
    twin = copy.deepcopy(layer)
    compilations = zkynet.compile_stats().compilations
    np.testing.assert_array_equal(twin(x).value, first)
    assert zkynet.compile_stats().compilations == compilations
    twin.weight.value = 0 * twin.weight.value
    np.testing.assert_array_equal(layer(x).value, first)


def test_in_other_precisions_and_transforms():
    layer, x = nn.Conv2d(3, 4, 3), sample(2, 3, 6, 6)
    expected = layer(x).value
    with config.precision("bfloat16"):
        low = layer(x).value
    assert low.dtype.name == "bfloat16"
    assert_close(np.asarray(low, np.float32), expected, "bfloat16", rtol=2e-2)
    assert_close(zkynet.vmap(layer)(x), expected, "one example at a time")
    assert_close(zkynet.compile(lambda a: layer(a))(x), expected, "compiled")
