"""Containers: torch's names, order, indexing and weights; residuals and functions."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from torch_judge import assert_close, judge, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import GraphError, InputError, ShapeError

X = sample(3, 4)


def net(library=nn):
    return library.Sequential(library.Linear(4, 3), library.ReLU(), library.Sequential(library.Linear(3, 2)))


def test_sequential_is_torchs():
    judge(net(), net(torch.nn), X)
    assert list(net().state_dict()) == list(net(torch.nn).state_dict())


def test_names_from_a_dict():
    def named(library):
        first, last = library.Linear(4, 3), library.Linear(3, 2)
        return library.Sequential(OrderedDict(first=first, act=library.Tanh(), last=last))

    ours, theirs = named(nn), named(torch.nn)
    judge(ours, theirs, X)
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    assert ours.first is ours[0] and ours.last is ours[-1]
    assert [name for name, _ in ours[1:].named_children()] == ["act", "last"]
    ours.act = nn.ReLU()
    assert isinstance(ours[1], nn.ReLU) and len(ours) == 3
    with pytest.raises(AttributeError, match="'Sequential' object has no attribute 'middle'"):
        _ = ours.middle


def test_a_net_of_layers_with_state_is_torchs():
    """Batch norm inside containers, in training."""
    def made(library):
        inner = library.Sequential(library.BatchNorm1d(3), library.GELU())
        return library.Sequential(library.Linear(4, 3), library.BatchNorm1d(3), inner)

    judge(made(nn), made(torch.nn), X, atol=1e-6)  # the first bias changes nothing: its gradient is rounding alone


def test_a_module_that_is_there_twice_shares_its_weights():
    shared = nn.Linear(4, 4, bias=False)
    layers = nn.Sequential(shared, nn.Sequential(shared))
    assert list(layers.state_dict()) == ["0.weight"]
    weight = np.asarray(shared.weight.value)
    np.testing.assert_allclose(layers(X).value, X @ weight.T @ weight.T, rtol=1e-5, atol=1e-6)


def test_weights_of_what_is_there_twice_have_several_names():
    """PyTorch gives them under all of these."""
    def made(library):
        shared = library.Linear(4, 4)
        return library.Sequential(shared, library.Sequential(library.PReLU(), shared))

    ours, theirs = made(nn), made(torch.nn)
    state = {name: tensor.detach().numpy() for name, tensor in theirs.state_dict().items()}
    assert list(state) == ["0.weight", "0.bias", "1.0.weight", "1.1.weight", "1.1.bias"]
    assert ours.load_state_dict(state) == ([], [])
    assert_close(ours(X).value, theirs(torch.tensor(X)), "output")
    twin = made(nn)
    assert twin.load_state_dict({name: state[name] for name in state if name[0] != "0"}) == ([], [])
    np.testing.assert_array_equal(twin[0].weight.value, state["0.weight"])
    with pytest.raises(ShapeError, match=r"1\.1\.bias is 0\.bias, but got another array"):
        ours.load_state_dict({**state, "1.1.bias": state["0.bias"] + 1.0})
    with pytest.raises(InputError, match=r"missing \['0\.bias'\], unexpected \['1\.1\.other'\]"):
        ours.load_state_dict({**{name: state[name] for name in state if "bias" not in name}, "1.1.other": 0.0})


def test_a_module_that_is_set_as_an_attribute_comes_last():
    def made(library):
        layers: Any = library.Sequential(library.Linear(4, 3))
        layers.head = None
        layers.head = library.Linear(3, 2)
        return layers

    judge(made(nn), made(torch.nn), X)
    layers = made(nn)
    assert len(layers) == 2 and layers[1] is layers.head
    del layers.head
    assert len(layers) == 1 and not hasattr(layers, "head")
    heads: Any = nn.ModuleDict()
    heads.wide = nn.ReLU()
    assert heads["wide"] is heads.wide
    block: Any = nn.Residual(nn.ReLU())
    block.shortcut = block.other = nn.Tanh()
    assert len(block) == 1 and block.shortcut is block.other


def test_reading_as_a_list():
    layers = net()
    assert len(layers) == 3 and layers[-1] is layers[2] and list(layers)[0] is layers[0]
    assert layers[1] in layers and nn.ReLU() not in layers
    part = layers[1:]
    assert isinstance(part, nn.Sequential) and part[0] is layers[1]
    assert list(part.state_dict()) == list(net(torch.nn)[1:].state_dict()) == ["2.0.weight", "2.0.bias"]
    np.testing.assert_allclose(part(layers[:1](X).root).value, layers(X).value, rtol=1e-6)
    assert [name for name, _ in part.append(nn.Tanh()).named_children()] == ["1", "2", "3"] and len(layers) == 3
    assert [name for name, _ in nn.ModuleList(layers)[1:].named_children()] == ["0", "1"]
    assert len(nn.Sequential()) == 0 and bool(nn.Sequential())
    assert nn.Sequential()(X).value.tolist() == X.tolist()


def steps(library):
    """The same changes on either library; names afterwards."""
    layers = library.Sequential(library.Linear(4, 4, bias=False), library.ReLU())
    layers.append(library.Linear(4, 3)).extend([library.Tanh(), library.Linear(3, 2)])
    layers.insert(1, library.Linear(4, 4))
    layers[2] = library.GELU()
    del layers[4]
    taken = layers.pop(0)
    layers += library.Sequential(library.Linear(2, 3), library.Tanh())
    return layers + library.Sequential(library.Linear(3, 2)), taken


def test_changing_as_a_list():
    (ours, taken), (theirs, _) = steps(nn), steps(torch.nn)
    assert [type(m).__name__ for m in ours] == [type(m).__name__ for m in theirs]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(taken) == "Linear(4, 4, bias=False)"
    judge(ours, theirs, X)


def test_lists_are_added():
    one, two, three = nn.Linear(2, 2), nn.ReLU(), nn.Tanh()
    layers = kept = nn.ModuleList([one])
    layers += [two]
    assert kept is layers and list(layers) == [one, two]
    longer = layers + [three]
    assert type(longer) is nn.ModuleList and list(longer) == [one, two, three] and len(layers) == 2
    named = nn.Sequential(OrderedDict(first=one)) + nn.Sequential(OrderedDict(first=two))
    assert [name for name, _ in named.named_children()] == ["0", "1"] and type(named) is nn.Sequential
    with pytest.raises(InputError, match="holds modules"):
        layers.extend([three, 3])
    assert len(layers) == 2


def test_lists_and_dicts_hold_what_a_module_uses():
    def made(library):
        base: Any = torch.nn.Module if library is torch.nn else cg.Module

        class Net(base):
            def __init__(self):
                super().__init__()
                self.layers = library.ModuleList([library.Linear(4, 4) for _ in range(2)])
                self.heads = library.ModuleDict({"wide": library.Linear(4, 3), "thin": library.Linear(4, 1)})

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return self.heads["wide"](x) + self.heads["thin"](x)

            call = forward

        return Net()

    judge(made(nn), made(torch.nn), X)
    assert list(made(nn).state_dict()) == list(made(torch.nn).state_dict())


def test_a_dict_of_modules():
    heads = nn.ModuleDict([("a", nn.ReLU())])
    heads["b"] = nn.Tanh()
    heads.update({"a": nn.GELU()})
    assert list(heads) == list(heads.keys()) == ["a", "b"] and "b" in heads and len(heads) == 2
    assert isinstance(heads.a, nn.GELU) and [type(m) for m in heads.values()] == [nn.GELU, nn.Tanh]
    assert isinstance(heads.pop("a"), nn.GELU) and [name for name, _ in heads.items()] == ["b"]
    del heads["b"]
    heads.update(nn.ModuleDict({"c": nn.ReLU()}))
    heads.clear()
    assert not len(heads)


def test_modes_reach_the_children():
    layers = nn.Sequential(nn.ModuleList([nn.Dropout()]), nn.Residual(nn.Dropout(), shortcut=nn.Dropout()))
    layers.eval()
    assert not any(module.training for module in layers.modules()) and len(layers.modules()) == 6


def test_residual():
    inner = nn.Linear(4, 4)
    block = nn.Residual(inner, op.tanh)
    np.testing.assert_allclose(block(X).value, X + np.asarray(op.tanh(inner(X)).value), rtol=1e-6)
    assert list(block.state_dict()) == ["0.weight", "0.bias"]
    wide = nn.Residual(nn.Linear(4, 2), shortcut=nn.Linear(4, 2, bias=False))
    assert list(wide.state_dict()) == ["0.weight", "0.bias", "shortcut.weight"]
    straight, around = dict(wide.named_children()).values()
    np.testing.assert_allclose(wide(X).value, np.asarray(straight(X).value) + np.asarray(around(X).value), rtol=1e-6)


def test_functions_as_layers():
    layers = nn.Sequential(nn.Linear(4, 3), op.relu, lambda x: op.reshape(x, shape=(-1,)))
    assert layers(X).shape == (9,) and repr(layers[1]) == "Lambda(relu)"
    both = nn.Lambda(lambda a, b, scale=2.0: a * b * scale)
    assert float(both(2.0, 3.0).value) == 12.0 and [v.short_name for v in both.inputs] == ["a", "b"]
    with pytest.raises(InputError, match="Lambda is missing its input 'b'"):
        both(2.0)
    many = nn.Lambda(lambda *parts: op.concat(parts, axis=0))
    assert many([1.0], [2.0], [3.0]).value.tolist() == [1.0, 2.0, 3.0]
    slope = zkynet.grad(nn.Lambda(lambda x: x * x))(3.0)
    assert float(slope) == 6.0


def test_a_copy_is_independent():
    ours = net()
    twin = copy.deepcopy(ours)
    twin[0].weight.value = np.zeros((3, 4), np.float32)
    assert twin[0] is not ours[0] and np.abs(ours[0].weight.value).max() > 0.0
    assert list(twin.state_dict()) == list(ours.state_dict())


def test_paths_in_errors_are_torchs_names():
    layers = nn.Sequential(nn.Linear(4, 3), nn.Lambda(lambda x: op.reshape(x, shape=(7,))))
    with pytest.raises(ShapeError, match=r"Sequential\.1"):
        layers(X)


NO_FUNCTION: Any = 3
WRONG = {
    "class": (lambda: nn.Sequential(nn.ReLU), InputError, r"holds modules.*Make it first: ReLU\(\.\.\.\)"),
    "number": (lambda: nn.Sequential(3), InputError, "Sequential holds modules, or functions of nodes, but got 3"),
    "dots": (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), InputError, "ModuleDict needs a name without dots.*'a.b'"),
    "taken": (lambda: nn.ModuleDict({"keys": nn.ReLU()}), InputError, "ModuleDict has an attribute 'keys' of its own"),
    "list": (lambda: nn.ModuleList()(), GraphError, "a ModuleList is not called itself"),
    "dict": (lambda: nn.ModuleDict()(), GraphError, "a ModuleDict is not called itself"),
    "index": (lambda: nn.Sequential().__setitem__(1, nn.ReLU()), IndexError, "Sequential has 0 modules.*index 1"),
    "shapes": (lambda: nn.Residual(nn.Linear(4, 1))(X), ShapeError, r"modules gave \(3, 1\).*shortcut \(3, 4\)"),
    "function": (lambda: nn.Lambda(NO_FUNCTION), InputError, "Lambda needs a function of nodes, but got int 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()
