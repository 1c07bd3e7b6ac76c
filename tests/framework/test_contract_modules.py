"""Modules: sub-modules, parameters and states by attribute; saving and loading; modes; freezing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from checks import floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import InputError, ShapeError, ZkynetError


class Linear(cg.Module):
    extra: Any

    def __init__(self, w):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", w),))
        self.b = cg.Parameter("b", 0.0)

    def call(self, x):
        return op.add(op.mult(x, self.param("w")), self.b)


class Net(cg.Module):
    """Sub-modules as attributes, in a list, in a dict of tuples, and one of them twice."""

    extra: Any

    def __init__(self):
        super().__init__()
        self.first = Linear(1.0)
        self.layers = [Linear(2.0), Linear(3.0)]
        self.heads = {"a": (Linear(4.0),), "again": self.first}
        self.scale = cg.Parameter("scale", 5.0)
        self.count = cg.State("count", 0)

    def call(self, x):
        self.count.value = op.add(self.count, 1)
        for layer in (self.first, *self.layers, *self.heads["a"]):
            x = layer(x)
        return op.mult(x, self.scale)


PATHS = ["scale", "first.w", "first.b", "layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b", "heads.a.0.w",
         "heads.a.0.b"]


def test_parameters_are_found_by_attribute_each_once():
    net = Net()
    named = dict(net.named_parameters())
    assert sorted(named) == sorted(PATHS)
    assert named["layers.1.w"] is net.layers[1].param("w")
    assert net.parameters() == list(named.values())
    assert all(isinstance(p, cg.Parameter) for p in net.parameters())


def test_modules_are_found_by_attribute_each_once():
    net = Net()
    assert [path for path, _ in net.named_modules()] == ["", "first", "layers.0", "layers.1", "heads.a.0"]
    assert net.modules() == [net, net.first, *net.layers, net.heads["a"][0]]


def test_parameters_added_later_are_found():
    net = Net()
    net.extra = Linear(7.0)
    assert "extra.w" in dict(net.named_parameters())
    net.extra = None
    assert "extra.w" not in dict(net.named_parameters())


def test_two_modules_may_share_a_parameter():
    net = Net()
    net.layers[1].b = net.layers[0].b
    assert "layers.1.b" not in dict(net.named_parameters())
    result = net(1.0)
    result.back()
    assert result.grad(net.layers[0].b) == 3 * 4 * 5 + 4 * 5


def test_a_module_in_a_cycle_lists_everything_once():
    net = Net()
    net.layers[0].extra = net
    assert len(net.parameters()) == len(PATHS) and len(net.modules()) == 5


def test_param_finds_attributes_too():
    net = Net()
    assert net.param("scale") is net.scale and net.first.param("b") is net.first.b


def test_all_parameters_get_gradients():
    net = Net()
    result = net(2.0)
    result.back()
    assert {path: float(result.grad(p)) for path, p in net.named_parameters()} == {
        "scale": 48, "first.w": 240, "first.b": 120, "layers.0.w": 120, "layers.0.b": 60, "layers.1.w": 80,
        "layers.1.b": 20, "heads.a.0.w": 60, "heads.a.0.b": 5}


def test_a_changed_parameter_changes_the_next_call_only():
    net = Linear(2.0)
    before = net(3.0)
    net.param("w").value = 10.0
    assert (before.value, net(3.0).value) == (6, 30)


def test_state_dict_holds_parameters_and_states_by_path():
    net = Net()
    _ = net(1.0).value
    found = net.state_dict()
    assert sorted(found) == sorted([*PATHS, "count"])
    assert found["count"] == 1 and found["heads.a.0.w"] == 4


def test_a_state_dict_loads_into_another_model():
    net, other = Net(), Net()
    for p in net.parameters():
        p.value = p.value * 2.0
    assert other.load_state_dict({k: np.asarray(v) for k, v in net.state_dict().items()}) == ([], [])
    same(other.state_dict(), net.state_dict())
    assert other(1.0).value == net(1.0).value
    other.load_state_dict({"scale": np.float64(0.1), "count": np.int64(3), "first.b": np.int32(2)}, strict=False)
    assert [other.state_dict()[k].dtype for k in ("scale", "count", "first.b")] == ["float32", "int32", "float32"]


@pytest.mark.parametrize("change, error, message", [
    (lambda d: d.pop("layers.0.w"), InputError, r"missing \['layers.0.w'\], unexpected \[\]"),
    (lambda d: d.update(new=1.0), InputError, r"unexpected \['new'\]"),
    (lambda d: d.update({"first.w": np.ones(3)}), ShapeError, r"first.w is float32\[\], got float32\[3\]"),
    (lambda d: d.update({"count": 2.5}), ShapeError, r"count is int32\[\], got float32\[\]"),
    (lambda d: d.update({"scale": 1j}), ShapeError, r"scale is float32\[\], got complex64\[\]"),
    (lambda d: d.update({"heads.a.0.w": "text"}), InputError, "'heads.a.0.w' needs a number"),
])
def test_loading_what_does_not_fit_changes_nothing(change, error, message):
    net = Net()
    before = net.state_dict()
    new = {path: value + 1 for path, value in before.items()}
    change(new)
    with pytest.raises(error, match=message):
        net.load_state_dict(new)
    same(net.state_dict(), before)


def test_loading_in_part():
    net = Net()
    missing, unexpected = net.load_state_dict({"scale": 9.0, "new": 1.0}, strict=False)
    assert net.scale.value == 9 and unexpected == ["new"] and len(missing) == len(PATHS)


def test_training_and_evaluation_mode_reach_all_modules():
    net = Net()
    assert net.training and net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train() is net and all(m.training for m in net.modules())
    net.layers[0].eval()
    assert not net.layers[0].training and net.layers[1].training


def test_call_may_look_at_the_mode():
    class Modal(cg.Module):
        def call(self, x):
            return op.mult(x, 2.0) if self.training else x

    m = Modal()
    assert (m(3.0).value, m.eval()(3.0).value, m.train()(3.0).value) == (6, 3, 6)


def test_frozen_parameters_are_left_out():
    net = Net()
    net.first.param("w").trainable = False
    assert net.first.param("w") not in net.parameters(trainable=True)
    assert net.parameters(trainable=False) == [net.first.param("w")]
    assert len(net.parameters()) == len(PATHS)
    gradients = zkynet.grad(net, wrt=net.parameters(trainable=True))(1.0)
    assert len(gradients) == len(PATHS) - 1


def test_names_say_where():
    net = Net()
    assert net.first.param("w").name == "Linear.w" and net.first.param("w").short_name == "w"
    result = net(1.0)
    assert result.root.children[0].scope.path == "Net.heads.a.0"
    assert result.root.where.startswith(__file__)


@pytest.mark.parametrize("use", [
    lambda m: m(1.0), lambda m: m.parameters(), lambda m: m.param("w"), lambda m: m.state_dict(), lambda m: repr(m),
    lambda m: module(lambda x: m(x))(1.0),
])
def test_a_module_without_super_init_says_so(use):
    class Forgot(cg.Module):
        def __init__(self):
            self.w = 1.0

        def call(self, x):
            return x

    try:
        use(Forgot())
    except ZkynetError as error:
        assert "super().__init__" in str(error) and "Forgot" in str(error)
    else:
        assert isinstance(use(Forgot()), str)


WRONG: Any = ("x",), (cg.Variable("w"),), cg.Variable("x"), 3


@pytest.mark.parametrize("build, message", [
    (lambda: cg.Module(inputs=WRONG[0]), "needs a cg.Variable here, but got 'x'"),
    (lambda: cg.Module(params=WRONG[1]), "needs a cg.Parameter here"),
    (lambda: cg.Module(params=(cg.Parameter("w"), cg.Parameter("w"))), "two parameters of the same name"),
    (lambda: cg.Module(inputs=(cg.Variable("x"), cg.Variable("x"))), "two inputs of the same name"),
    (lambda: cg.Module(inputs=WRONG[2]), "inputs"),
    (lambda: cg.Parameter(WRONG[3]), "non-empty string as its name"),
    (lambda: cg.Parameter("w", "text"), "'w' needs a number"),
    (lambda: cg.Parameter("w", None), "'w' needs a number"),
])
def test_a_wrong_declaration_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_a_module_is_a_function_of_its_parameters_too():
    net = Linear(floats(3))
    result = module(lambda x: net(net(x)))(floats(3, seed=1))
    result.back(np.ones(3))
    w, x = floats(3), floats(3, seed=1)
    same(result.grad(net.param("w")), 2 * w * x)


def test_a_deep_copy_has_parameters_of_its_own_and_shares_the_program():
    net = Linear(floats(3))
    net.extra = Scaled(2.0)
    copied = copy.deepcopy(net)
    same(net(floats(3)).value, net.extra(net(floats(3))).value / 2)
    with count_compilations() as count:
        copied.param("w").value = np.zeros(3)
        same(copied(floats(3)).value, np.zeros(3, np.float32))
        same(copied.extra(copied(floats(3))).value, np.zeros(3, np.float32))
    assert count() == 0
    assert copied.param("w") is not net.param("w") and copied.param("w").aval is net.param("w").aval
    same(net.param("w").value, floats(3))


class Scaled(cg.Operator):
    def __init__(self, factor):
        super().__init__(inputs=(cg.Variable("x"),))
        self.factor = factor

    def call(self, x):
        return x.value * self.factor
