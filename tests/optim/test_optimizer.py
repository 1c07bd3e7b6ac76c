"""The step: one program for loss, gradients and update, with state, groups and rates."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import zkynet
from zkynet import nn, optim
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError, InputError, ShapeError


class Net(cg.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def call(self, x: Any) -> Any:
        return self.second(op.tanh(self.first(x)))


class Loss(cg.Module):
    def call(self, prediction: Any, target: Any) -> Any:
        return op.mean(op.square(prediction - target))


RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype(np.float32)
Y = RNG.normal(size=(8, 1)).astype(np.float32)


@pytest.fixture
def net() -> Net:
    nn.manual_seed(0)
    return Net()


def values(module: cg.Module) -> list[np.ndarray]:
    return [np.array(p.value) for p in module.parameters()]


def train(net: Net, opt: Any, steps: int) -> float:
    loss = None
    for _ in range(steps):
        loss = Loss()(net(X), Y)
        opt.step(loss)
    return float(loss.value)  # pyright: ignore[reportOptionalMemberAccess]


def test_a_step_is_one_program_and_another_rate_compiles_nothing(net: Net):
    opt = optim.Adam(net.parameters(), lr=1e-2)
    train(net, opt, 1)
    with count_compilations() as compiled:
        first = train(net, opt, 20)
        opt.lr = 1e-3
        opt.param_groups[0]["lr"] = 2e-3
        assert train(net, opt, 20) < first
        assert compiled() == 0
    assert zkynet.explain_compiles(last=1)[0].what.endswith("step of Adam")


def test_the_first_step_compiles_once(net: Net):
    zkynet.clear_compile_cache()
    train(net, optim.SGD(net.parameters()), 3)
    assert zkynet.compile_stats().compilations == 1


def test_the_loss_is_known_after_the_step_and_is_that_before_the_update(net: Net):
    expected = float(Loss()(net(X), Y).value)
    loss = Loss()(net(X), Y)
    optim.SGD(net.parameters(), lr=0.1).step(loss)
    assert loss.root.is_computed and float(loss.value) == pytest.approx(expected, rel=1e-6)


def test_gradients_and_values_can_be_read_before_the_step(net: Net):
    opt = optim.SGD(net.parameters(), lr=0.5)
    before = values(net)
    prediction = net(X)
    loss = Loss()(prediction, Y)
    assert float(loss.value) > 0 and prediction.value.shape == (8, 1)
    loss.back()
    gradients = [np.array(loss.grad(p)) for p in net.parameters()]
    opt.step(loss)
    for old, gradient, new in zip(before, gradients, values(net), strict=True):
        np.testing.assert_allclose(new, old - 0.5 * gradient, rtol=1e-5, atol=1e-6)


def test_compiled_and_define_by_run_steps_give_the_same_numbers(net: Net):
    opt = optim.Adam(net.parameters(), lr=1e-2)
    train(net, opt, 5)
    expected = values(net)
    nn.manual_seed(0)
    other = Net()
    opt = optim.Adam(other.parameters(), lr=1e-2)

    @zkynet.compile
    def step(x: Any, y: Any) -> Any:
        loss = Loss()(other(x), y)
        opt.step(loss)
        return loss

    for _ in range(5):
        step(X, Y)
    for a, b in zip(expected, values(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_state_of_the_model_is_committed_with_the_step():
    class Counting(cg.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.calls = cg.Parameter("w", 1.0), cg.State("calls", 0)

        def call(self, x: Any) -> Any:
            self.calls.value = self.calls + 1
            return op.mean(x * self.w)

    model = Counting()
    opt = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        opt.step(model(X))
    assert int(model.calls.value) == 3 and model.calls._pending is None


def test_frozen_and_absent_parameters_keep_value_and_state(net: Net):
    opt = optim.Adam(net.parameters(), lr=1e-2)
    train(net, opt, 2)
    net.first.weight.trainable = False
    before, state = values(net), opt.state_dict()
    opt.step(op.mean(op.square(net.first(X))))  # the second layer is no part of it
    after, later = values(net), opt.state_dict()
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, True, True]
    kept = [name for name in state if re.search(r"(mu|nu)\.[023]$", name)]
    assert len(kept) == 6 and all(np.array_equal(state[name], later[name]) for name in kept)
    assert not np.array_equal(state["groups.0.mu.1"], later["groups.0.mu.1"])


def test_a_loss_written_before_another_step_updates_the_present_values():
    p, q = cg.Parameter("p", 1.0), cg.Parameter("q", 1.0)
    opt = optim.SGD([p, q], lr=0.5)
    stale = op.square(p) + 0.0 * q
    opt.step(p * 2.0)
    assert float(p.value) == 0.0
    opt.step(stale)  # its gradient is 2 at the old value
    assert float(p.value) == -1.0


def test_groups_have_options_of_their_own(net: Net):
    before = values(net)
    opt = optim.SGD([{"params": net.first.parameters(), "lr": 0.0},
                     {"params": net.second.parameters(), "momentum": 0.9}], lr=0.1)
    train(net, opt, 2)
    after = values(net)
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[2], after[2])
    assert opt.rates == pytest.approx([0.0, 0.1])
    assert [group["momentum"] for group in opt.param_groups] == [0, 0.9]


def test_schedules_are_part_of_the_program(net: Net):
    opt = optim.SGD(net.parameters(), lr=lambda step: 0.1 / (1.0 + step))
    train(net, opt, 1)
    with count_compilations() as compiled:
        train(net, opt, 4)
        assert compiled() == 0
    assert opt.rates == pytest.approx([0.1 / 6])


def test_accumulated_micro_batches_equal_one_batch(net: Net):
    whole = optim.SGD(net.parameters(), lr=0.1)
    whole.step(Loss()(net(X), Y))
    expected = values(net)
    nn.manual_seed(0)
    other = Net()
    opt = optim.SGD(other.parameters(), lr=0.1, accumulate=2)
    start = values(other)
    opt.step(Loss()(other(X[:4]), Y[:4]))
    assert all(np.array_equal(a, b) for a, b in zip(start, values(other), strict=True))
    opt.step(Loss()(other(X[4:]), Y[4:]))
    for a, b in zip(expected, values(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_clipping_by_norm_and_by_value_as_torch(net: Net):
    torch = pytest.importorskip("torch")
    loss = Loss()(net(X), 10.0 * Y)
    loss.back()
    gradients = [np.array(loss.grad(p)) for p in net.parameters()]
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"clip_norm": 0.5}, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5)),
        ({"clip_value": 0.01}, lambda p: torch.nn.utils.clip_grad_value_(p, 0.01))]
    for how, clip in cases:
        theirs = [torch.nn.Parameter(torch.tensor(v)) for v in values(net)]
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = torch.tensor(g)
        clip(theirs)
        torch.optim.SGD(theirs, lr=1.0).step()
        before = values(net)
        optim.SGD(net.parameters(), lr=1.0, **how).step(Loss()(net(X), 10.0 * Y))
        for ours, p in zip(net.parameters(), theirs, strict=True):
            np.testing.assert_allclose(ours.value, p.detach().numpy(), rtol=1e-5, atol=1e-6)
        for p, value in zip(net.parameters(), before, strict=True):
            p.value = value


def test_the_moving_average_takes_the_parameters_place_for_a_while(net: Net):
    """It begins with the values after the first update, as torch's: not with those of the start."""
    swa = pytest.importorskip("torch.optim.swa_utils")
    opt = optim.SGD(net.parameters(), lr=0.1, average=0.5)
    net.first.weight.value = np.full((4, 3), 100.0)
    torch = pytest.importorskip("torch")
    judge: Any = None
    for _ in range(3):
        train(net, opt, 1)
        model = torch.nn.ParameterList([torch.tensor(v) for v in values(net)])
        judge = judge or swa.AveragedModel(model, multi_avg_fn=swa.get_ema_multi_avg_fn(0.5))
        judge.update_parameters(model)
    trained = values(net)
    with opt.averaged():
        for m, v in zip(judge.module, values(net), strict=True):
            np.testing.assert_allclose(v, m.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(trained, values(net), strict=True))


def test_what_was_read_inside_averaged_outlives_the_next_step():
    p = cg.Parameter("p", 4.0)
    opt = optim.SGD([p], lr=0.25, average=0.5)
    with opt.averaged():  # before the first step there is no average
        assert float(p.value) == 4.0
    opt.step(op.square(p))
    with opt.averaged():
        best, loss = p.value, op.square(p)
        for step in (lambda: opt.step(op.square(p)), lambda: opt.apply([1.0])):
            with pytest.raises(GraphError, match="inside of averaged"):
                step()
    opt.step(op.square(p))
    assert float(best) == 2.0 and float(loss.value) == 4.0 and float(p.value) == 1.0


P10, P01, Q3 = (np.array(v, np.float32) for v in ([10, 0], [0, 1], [0.5, -3, 1]))
CYCLES = [[(P10, None), (P01, Q3)], [(P10, None), (None, Q3)], [(P01, None), (P01, None)], [(P01, Q3), (P10, None)]]


@pytest.mark.parametrize(("name", "options", "clip"), [
    ("SGD", {}, {"clip_norm": 1.0}), ("SGD", {"momentum": 0.9, "weight_decay": 0.1}, {"clip_value": 0.3}),
    ("Adam", {}, {"clip_norm": 1.0}), ("Adam", {"maximize": True}, {})])
def test_accumulated_gradients_are_clipped_and_used_as_torchs(name: str, options: dict[str, Any], clip: dict[str, Any]):
    """Also those of parameters that are in some of the micro-batches only. torch's recipe: the losses' parts add up
    their gradients, then these are clipped, then there is a step."""
    torch = pytest.importorskip("torch")
    ours = [cg.Parameter("p", np.ones(2, np.float32)), cg.Parameter("q", np.ones(3, np.float32))]
    theirs = [torch.nn.Parameter(torch.ones(p.shape)) for p in ours]
    opt = getattr(optim, name)(ours, lr=0.5, accumulate=2, **options, **clip)
    judge = getattr(torch.optim, name)(theirs, lr=0.5, **options)
    for cycle in CYCLES:
        for gradients in cycle:
            opt.step(sum((op.sum(p * g) for p, g in zip(ours, gradients, strict=True) if g is not None), start=0.0))
            for p, g in zip(theirs, gradients, strict=True):
                if g is not None:
                    (torch.sum(p * torch.tensor(g)) / 2).backward()
        if "clip_norm" in clip:
            torch.nn.utils.clip_grad_norm_(theirs, clip["clip_norm"])
        if "clip_value" in clip:
            torch.nn.utils.clip_grad_value_(theirs, clip["clip_value"])
        judge.step()
        judge.zero_grad()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.value, q.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_average_moves_once_for_each_update():
    p = cg.Parameter("p", 0.0)
    opt = optim.SGD([p], lr=1.0, accumulate=2, average=0.5)
    for _ in range(4):
        opt.apply([-1.0])
    with opt.averaged():
        assert float(p.value) == 1.5  # of 1 and 2


def test_a_compiled_step_sees_other_options():
    p = cg.Parameter("p", 1.0)
    opt = optim.SGD([p], lr=1.0, weight_decay=0.5)
    step = zkynet.compile(lambda: opt.step(p * 1.0) or p)
    moved = []
    for change in ({}, {"weight_decay": 0.0}, {"lr": optim.Constant(0.0)}, {"lr": 1.0, "weight_decay": 0.5}):
        p.value = 1.0
        opt.param_groups[0].update(change)
        step()
        moved.append(1.0 - float(p.value))
    assert moved == [1.5, 1.0, 0.0, 1.5]


@pytest.mark.parametrize("change", [
    lambda group: group.update(lr=0.0), lambda group: group.__ior__({"lr": 0.0}),
    lambda group: group.__setitem__("lr", 0.0)])
def test_every_way_to_set_an_option_sets_it(change: Any):
    p = cg.Parameter("p", 1.0)
    opt = optim.SGD([p], lr=1.0)
    change(opt.param_groups[0])
    opt.step(p * 1.0)
    assert float(p.value) == 1.0 and opt.lr == 0.0 and opt.rates == [0.0]


def test_a_float64_parameter_is_trained_in_float64():
    with zkynet.precision("float64"):
        p = cg.Parameter("p", np.full(5, 3.0))
    opt = optim.Adam([p], lr=0.3)  # outside
    op.sum(op.square(p))
    for _ in range(2):
        opt.step(op.sum(op.square(p)))
    with zkynet.precision("float64"):
        opt.step(op.sum(op.square(p)))
    assert p.value.dtype == "float64"
    before = np.array(p.value)
    optim.SGD([p], lr=0.1).step(op.sum(op.square(p)))
    np.testing.assert_allclose(p.value, before - 0.1 * 2 * before, rtol=1e-15)
    state = opt.state_dict()
    opt.load_state_dict(state)  # every digit of it
    assert state["groups.0.mu.0"].dtype == "float64" and state["groups.0.mu.0"][0] % 1 != 0
    np.testing.assert_array_equal(opt.state_dict()["groups.0.mu.0"], state["groups.0.mu.0"])


def test_maximize_climbs():
    p = cg.Parameter("p", 0.0)
    optim.SGD([p], lr=1.0, maximize=True).step(3.0 * p)
    assert float(p.value) == 3.0


def test_gradients_of_ones_own_can_be_applied(net: Net):
    opt = optim.SGD(net.parameters(), lr=1.0)
    before = values(net)
    loss = Loss()(net(X), Y)
    loss.back()
    opt.apply({p: np.sign(loss.grad(p)) for p in net.first.parameters()})
    after = values(net)
    assert np.allclose(np.abs(after[0] - before[0]), 1.0, atol=1e-6) and np.array_equal(before[2], after[2])


def test_the_state_goes_to_another_optimizer_and_on_from_there(net: Net):
    opt = optim.Adam(net.parameters(), lr=1e-2)
    train(net, opt, 3)
    model, state = net.state_dict(), opt.state_dict()
    train(net, opt, 3)
    expected = values(net)
    net.load_state_dict(model)
    again = optim.Adam(net.parameters(), lr=5.0)
    again.load_state_dict(state)
    train(net, again, 3)
    assert all(np.array_equal(a, b) for a, b in zip(expected, values(net), strict=True))


@pytest.mark.parametrize("wrong", [{"lr.0": -3.0}, {"lr.0": "fast"}, {"lr.0": float("nan")}, {"step": "first"}])
def test_a_state_that_does_not_fit_changes_nothing(wrong: dict[str, Any]):
    opt = optim.SGD([P], lr=0.5)
    with pytest.raises(InputError):
        opt.load_state_dict({"step": 7, "lr.0": 0.25, **wrong})
    assert opt.lr == 0.5 and opt.state_dict()["step"] == 0


@pytest.mark.parametrize("rate", [-1.0, None, float("nan"), "fast"])
def test_a_rate_that_is_refused_leaves_the_old_one(rate: Any):
    opt = optim.SGD([P], lr=0.1)
    with pytest.raises(InputError, match="lr must be a number"):
        opt.lr = rate
    assert opt.lr == 0.1 and opt.rates == [0.1] and opt.defaults["lr"] == 0.1


def test_groups_that_are_refused_are_not_kept():
    opt = optim.SGD()
    with pytest.raises(InputError, match="momentum must be"):
        opt.bind([{"params": [P]}, {"params": [cg.Parameter("q", 1.0)], "momentum": -1.0}])
    opt.bind([P])
    assert len(opt.param_groups) == 1 and opt.params == [P]


@pytest.mark.parametrize("lr", [0.1, optim.Constant(0.1)])
def test_a_compiled_function_cannot_set_the_rate(lr: Any):
    p = cg.Parameter("p", 1.0)
    opt = optim.SGD([p], lr=lr)

    def step() -> Any:
        opt.lr = 0.01
        opt.step(p * 1.0)
        return p

    with pytest.raises(GraphError, match="takes the rate of an optimizer as an input and cannot set it"):
        zkynet.compile(step)()
    assert opt.lr == lr and opt.rates == pytest.approx([0.1])
    opt.step(p * 1.0)
    assert float(p.value) == pytest.approx(0.9)


def test_no_group_is_added_to_gradients_that_wait():
    p = cg.Parameter("p", 0.0)
    opt = optim.SGD([p], lr=1.0, accumulate=2)
    opt.apply([-1.0])
    with pytest.raises(InputError, match="before the first step only"):
        opt.add_param_group({"params": [cg.Parameter("q", 0.0)]})
    opt.apply([-1.0])
    assert float(p.value) == 1.0


WRONG = {
    "no parameters": (lambda: optim.SGD([]), "got no parameters"),
    "no Parameter": (lambda: optim.SGD([1.0]), "needs cg.Parameter objects, but got float"),
    "twice": (lambda: optim.SGD([P, P]), "in two groups"),
    "an int": (lambda: optim.SGD([cg.Parameter("n", 1)]), "not floating point"),
    "an unknown option": (lambda: optim.SGD([{"params": [P], "betas": 1}]), "no option betas; it has: lr, momentum"),
    "unbound": (lambda: optim.SGD().step(op.square(P)), "has no parameters yet"),
    "an array as loss": (lambda: optim.SGD([P]).step(np.ones(())), "as a graph, one node, but got ndarray"),
    "a tensor as loss": (lambda: optim.SGD([P]).step(P * X), "scalar loss, but this one has shape \\(8, 3\\)"),
    "another's loss": (lambda: optim.SGD([P]).step(op.square(cg.Parameter("q", 1.0))), "depends on none of the 1"),
    "accumulate": (lambda: optim.SGD([P], accumulate=0), "from 1 on"),
    "a broken accumulate": (lambda: optim.SGD([P], accumulate=2.9), "from 1 on, but got 2.9"),
    "accumulate as text": (lambda: optim.SGD([P], accumulate="2"), "from 1 on, but got '2'"),
    "clip_norm": (lambda: optim.SGD([P], clip_norm=-1.0), "clip_norm must be .* but got -1.0"),
    "clip_value": (lambda: optim.SGD([P], clip_value=-1.0), "clip_value must be .* but got -1.0"),
    "average": (lambda: optim.SGD([P], average=1.5), "average must be .* but got 1.5"),
    "a group without": (lambda: optim.SGD([{"lr": 0.1}]), 'a dict with "params", but got one with lr'),
    "groups and none": (lambda: optim.SGD([{"params": [P]}, P]), 'a dict with "params", but got Parameter'),
    "no list": (lambda: optim.SGD(3), "needs parameters, but got int"),
    "deleted": (lambda: optim.SGD([P]).param_groups[0].pop("lr"), "'lr' of a group cannot be deleted"),
    "no option": (lambda: optim.SGD([P]).param_groups[0].setdefault("beta", 1.0), "there is no option 'beta'"),
    "gradients made one by one": (lambda: optim.SGD([P]).apply(g for g in ()), "1 parameters, but got 0"),
    "no average": (lambda: optim.SGD([P]).averaged().__enter__(), "keeps no moving average"),
    "foreign state": (lambda: optim.SGD([P]).load_state_dict(optim.Adam([P]).state_dict()), "does not fit this SGD"),
    "a gradient's shape": (lambda: optim.SGD([P]).apply([X]), "the gradient of .* has shape \\(8, 3\\)"),
}
P = cg.Parameter("p", 1.0)


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_named(case: str):
    function, message = WRONG[case]
    with pytest.raises((InputError, GraphError, ShapeError), match=message):
        function()
    assert float(P.value) == 1.0
