"""LBFGS: its iterations against torch's, evaluation for evaluation, and what a step does to the rest of the graph."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import zkynet
from zkynet import optim
from zkynet.framework import cg, op
from zkynet.framework.errors import GraphError, InputError

torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
A = rng.normal(size=(30, 12)).astype(np.float32)
B = rng.normal(size=30).astype(np.float32)
SEARCHES = [None, "strong_wolfe"]


def ridge(w):
    """A quadratic of condition number 12."""
    return op.mean(op.square(op.matmul(A, w) - B)) + 0.05 * op.sum(op.square(w))


def ridge_torch(w):
    a, b = torch.tensor(A, dtype=w.dtype), torch.tensor(B, dtype=w.dtype)
    return torch.square(a @ w - b).mean() + 0.05 * (w**2).sum()


def rosenbrock(x):
    return 100.0 * op.square(x[1] - op.square(x[0])) + op.square(1.0 - x[0])


def rosenbrock_torch(x):
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


class Judge:
    """torch's optimizer of one parameter."""

    def __init__(self, start, loss, **options):
        self.p = torch.nn.Parameter(torch.tensor(start))
        self.optimizer = torch.optim.LBFGS([self.p], **options)
        self.loss = loss

    def step(self):
        def closure():
            self.optimizer.zero_grad()
            loss = self.loss(self.p)
            loss.backward()
            return loss

        return float(self.optimizer.step(closure).detach())

    @property
    def value(self):
        return self.p.detach().numpy()

    @property
    def counts(self):
        state = self.optimizer.state[self.p]
        return state["n_iter"], state["func_evals"]


def counts(optimizer):
    states = {state.short_name: state.value for state in optimizer.states}
    return int(states["iterations"]), int(states["evaluations"])


@pytest.mark.parametrize("search", SEARCHES)
def test_a_hundred_iterations_are_torchs_on_a_convex_problem(search):
    """In float64: where float32's rounding ends a search depends on how a compiler orders the sums."""
    options = {"max_iter": 100, "max_eval": 1000, "line_search_fn": search}
    judge = Judge(np.zeros(12), ridge_torch, **options)
    with zkynet.precision("float64"):
        w = cg.Parameter("w", np.zeros(12))
        first = optim.LBFGS([w], **options).step(lambda: ridge(w))
    np.testing.assert_allclose(first, judge.step(), rtol=1e-6)
    np.testing.assert_allclose(w.value, judge.value, rtol=0, atol=1e-5 * np.abs(judge.value).max())
    exact = np.linalg.solve(A.T @ A / 30 + 0.05 * np.eye(12), A.T @ B / 30)
    np.testing.assert_allclose(w.value, exact, atol=1e-4)


@pytest.mark.parametrize(("search", "history", "lr"), [
    (None, 100, 0.1), (None, 3, 0.1), ("strong_wolfe", 100, 1.0), ("strong_wolfe", 3, 1.0), ("strong_wolfe", 5, 30.0)])
def test_every_evaluation_on_rosenbrock_is_torchs_in_float64(search, history, lr):
    """Searches that bracket, extrapolate and narrow; a history that wraps around; memory carried between steps."""
    options = {"lr": lr, "max_iter": 4, "history_size": history, "line_search_fn": search, "max_eval": 100}
    judge = Judge(np.array([-1.2, 1.0]), rosenbrock_torch, **options)
    with zkynet.precision("float64"):
        x = cg.Parameter("x", np.array([-1.2, 1.0]))
        optimizer = optim.LBFGS([x], **options)
        for _ in range(7):
            loss = float(optimizer.step(lambda: rosenbrock(x)))
            np.testing.assert_allclose(loss, judge.step(), rtol=1e-6)
            np.testing.assert_allclose(x.value, judge.value, rtol=1e-7)
            assert counts(optimizer) == judge.counts
    if search is not None:
        assert judge.counts[1] > judge.counts[0] + 5  # there was something to search


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_more_evaluations_than_asked_for(most):
    options = {"max_iter": 8, "max_eval": most, "line_search_fn": "strong_wolfe", "lr": 30.0}
    x = cg.Parameter("x", [-1.2, 1.0])
    optimizer = optim.LBFGS([x], **options)
    before = optimizer.step(lambda: rosenbrock(x))
    assert counts(optimizer)[1] <= most + 1
    assert float(rosenbrock(x).value) <= float(before)


def test_it_finds_the_valley_of_rosenbrock():
    x = cg.Parameter("x", np.array([-1.2, 1.0], np.float32))
    optim.LBFGS([x], max_iter=100, line_search_fn="strong_wolfe").step(lambda: rosenbrock(x))
    np.testing.assert_allclose(x.value, [1.0, 1.0], atol=1e-3)


def test_a_step_is_one_program_whatever_the_rate_and_the_limits():
    x = cg.Parameter("x", np.linspace(-1, 1, 7, dtype=np.float32))
    optimizer = optim.LBFGS([x], max_iter=3, max_eval=50, line_search_fn="strong_wolfe")
    calls = []

    def closure():
        calls.append(1)
        return op.mean(op.exp(x) + op.square(op.square(x - 2.0)))

    before = zkynet.compile_stats().compilations
    optimizer.step(closure)
    group = optimizer.param_groups[0]
    for lr, most, tolerance, total in ((0.5, 4, 1e3, 3), (0.1, 1, 0.0, 4)):  # nothing to do; one more iteration
        group["lr"], group["max_iter"], group["tolerance_grad"] = lr, most, tolerance
        optimizer.step(closure)
        assert counts(optimizer)[0] == total
    assert zkynet.compile_stats().compilations - before == 1
    assert zkynet.explain_compiles(last=1)[0].what == "operator mean, step of LBFGS"
    assert len(calls) == 3


class Net(cg.Module):
    """Two layers, a running mean, and a parameter that the loss does not use."""

    def __init__(self):
        super().__init__()
        start = np.random.default_rng(1)
        self.first = cg.Parameter("first", (0.5 * start.normal(size=(3, 5))).astype(np.float32))
        self.idle = cg.Parameter("idle", np.ones(4, np.float32))
        self.second = cg.Parameter("second", (0.5 * start.normal(size=(5,))).astype(np.float32))
        self.seen = cg.State("seen", 0.0)

    def call(self, x, y):
        out = op.matmul(op.tanh(op.matmul(x, self.first)), self.second)
        self.seen.value = self.seen + op.mean(out)
        return op.mean(op.square(out - y))


def test_several_parameters_and_a_state():
    """The state takes one step, that of the first evaluation; what is not in the loss stays."""
    x = rng.normal(size=(20, 3)).astype(np.float32)
    y = np.sin(x).sum(1)
    net = Net()
    optimizer = optim.LBFGS(net.parameters(), max_iter=30, max_eval=100, line_search_fn="strong_wolfe")
    first = net.first.value
    expected = np.mean(np.tanh(x @ np.asarray(net.first.value)) @ np.asarray(net.second.value))
    graph = net(x, y)
    before = optimizer.step(lambda: graph)
    np.testing.assert_allclose(net.seen.value, expected, rtol=1e-5)
    assert float(graph.value) == float(before)
    assert float(net(x, y).value) < 0.1 * float(before)
    assert not np.array_equal(net.first.value, first)
    np.testing.assert_array_equal(net.idle.value, np.ones(4))


def test_a_frozen_parameter_stays():
    net = Net()
    net.first.trainable = False
    first = np.asarray(net.first.value)
    second = np.asarray(net.second.value)
    optim.LBFGS(net.parameters(), max_iter=3).step(lambda: net(A[:, :3], B))
    np.testing.assert_array_equal(net.first.value, first)
    assert not np.array_equal(net.second.value, second)


@pytest.mark.parametrize("change", [lambda x: np.array([1.0, 2.0]), lambda x: x - np.array([2.0, -1.0], np.float32)],
                         ids=["an array", "an expression"])
def test_a_loss_from_before_a_change_starts_at_the_present_value(change):
    x = cg.Parameter("x", [3.0, 1.0])
    loss = op.sum(op.square(x))
    x.value = change(x)
    assert float(optim.LBFGS([x], max_iter=5).step(lambda: loss)) == 5.0
    np.testing.assert_allclose(x.value, [0.0, 0.0], atol=1e-5)
    assert float(loss.value) == 10.0


@pytest.mark.parametrize("search", SEARCHES)
def test_maximize_climbs(search):
    x = cg.Parameter("x", [3.0, -2.0])
    optimizer = optim.LBFGS([x], lr=0.5, max_iter=50, max_eval=200, line_search_fn=search, maximize=True)
    assert float(optimizer.step(lambda: -op.sum(op.square(x - 1.0)))) == -13.0
    np.testing.assert_allclose(x.value, [1.0, 1.0], atol=1e-4)


def test_a_search_steps_back_from_where_the_loss_is_nan():
    """log of a negative number: the first trial is far beyond the border."""
    x = cg.Parameter("x", np.array([0.5], np.float32))
    optimizer = optim.LBFGS([x], lr=50.0, max_iter=20, max_eval=200, line_search_fn="strong_wolfe")
    optimizer.step(lambda: op.sum(x - op.log(1.0 - x) * 0.5 - op.log(x)))
    w = np.asarray(x.value, np.float64)[0]  # 1 + 0.5 / (1 - x) - 1 / x = 0
    np.testing.assert_allclose(1 + 0.5 / (1 - w) - 1 / w, 0.0, atol=1e-3)


@pytest.mark.parametrize("search", SEARCHES)
def test_at_the_minimum_nothing_moves(search):
    x = cg.Parameter("x", [1.0, 1.0])
    optimizer = optim.LBFGS([x], line_search_fn=search)
    assert float(optimizer.step(lambda: rosenbrock(x))) == 0.0
    assert counts(optimizer) == (0, 1)
    np.testing.assert_array_equal(x.value, [1.0, 1.0])


def test_bfloat16_parameters_stay_so():
    x = cg.Parameter("x", np.array([3.0, -2.0]).astype(jax.numpy.bfloat16))
    optim.LBFGS([x], max_iter=10).step(lambda: op.sum(op.square(x - 1.0)))
    assert x.dtype == jax.numpy.bfloat16
    np.testing.assert_allclose(x.value.astype(np.float32), [1.0, 1.0], atol=0.02)


def test_the_state_goes_on_where_it_was_saved():
    def make():
        x = cg.Parameter("x", np.array([-1.2, 1.0], np.float32))
        return x, optim.LBFGS([x], max_iter=3, line_search_fn="strong_wolfe")

    x, optimizer = make()
    optimizer.step(lambda: rosenbrock(x))
    y, resumed = make()
    y.value, saved = x.value, optimizer.state_dict()
    resumed.load_state_dict(saved)
    optimizer.step(lambda: rosenbrock(x))
    resumed.step(lambda: rosenbrock(y))
    np.testing.assert_array_equal(x.value, y.value)
    _, smaller = make()
    smaller.step(lambda: rosenbrock(smaller.params[0]))
    assert not np.array_equal(smaller.params[0].value, x.value)


def two_values(x):
    early = op.square(x)
    x.value = np.float32(2.0)
    return early + op.square(x)


@pytest.mark.parametrize(("closure", "message"), [
    (lambda x: x, "needs a function without arguments that returns the loss as a graph, but got Parameter"),
    (lambda x: lambda: 3.0, "needs the loss as a graph, one node, but got float"),
    (lambda x: lambda: x * np.ones(3), r"needs a scalar loss, but this one has shape \(3,\)"),
    (lambda x: lambda: op.square(np.float32(2)), "depends on none of the 1 trainable parameters"),
    (lambda x: lambda: op.stop_gradient(op.square(x)), "depends on none of the 1 trainable parameters"),
    (lambda x: lambda: two_values(x), "has two values in this loss"),
])
def test_wrong_closures_are_told(closure, message):
    x = cg.Parameter("x", 1.0)
    with pytest.raises(GraphError, match=message):
        optim.LBFGS([x]).step(closure(x))


@pytest.mark.parametrize(("options", "message"), [
    ({"lr": -1.0}, "lr must be a number with 0 <= lr < inf, but got -1.0"),
    ({"lr": optim.Constant(1.0)}, "lr must be a number"),
    ({"max_iter": 0}, "max_iter must be a whole number from 1 on, but got 0"),
    ({"max_iter": None}, "max_iter must be a whole number from 1 on, but got None"),
    ({"max_eval": 2.5}, "max_eval must be a whole number"),
    ({"history_size": -1}, "history_size must be a whole number"),
    ({"tolerance_grad": -1.0}, "tolerance_grad must be a number with 0 <= tolerance_grad"),
    ({"tolerance_change": float("nan")}, "tolerance_change must be a number"),
    ({"line_search_fn": "wolfe"}, "line_search_fn of LBFGS must be None or 'strong_wolfe', but got 'wolfe'"),
])
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        optim.LBFGS(**options)


def test_numpys_numbers_are_numbers():
    count, tolerance = np.int64(8), np.float32(1e-5)
    options: dict[str, Any] = {"max_iter": count, "history_size": count, "tolerance_grad": tolerance}
    assert optim.LBFGS([cg.Parameter("x", 1.0)], **options).defaults["max_eval"] == 10


def test_what_it_cannot_do_is_refused():
    x, y = cg.Parameter("x", 1.0), cg.Parameter("y", 1.0)
    with pytest.raises(InputError, match="one group"):
        optim.LBFGS([{"params": [x]}, {"params": [y]}])
    with pytest.raises(InputError, match="real parameters"):
        optim.LBFGS([cg.Parameter("z", 1j)])
    with pytest.raises(InputError, match="no parameters yet"):
        optim.LBFGS().step(lambda: op.square(x))
    optimizer = optim.LBFGS([x])
    with pytest.raises(GraphError, match="outside of zkynet.compile"):
        zkynet.compile(lambda: optimizer.step(lambda: op.square(x)))()
    with pytest.raises(GraphError, match="evaluates the loss several times"):
        optimizer.apply([1.0])
    with pytest.raises(InputError, match="history_size of an LBFGS cannot change"):
        optimizer.param_groups[0]["history_size"] = 5
    with pytest.raises(InputError, match="one group"):
        optimizer.add_param_group({"params": [y]})
    optimizer.step(lambda: op.square(x))


def test_defaults_are_torchs():
    theirs = torch.optim.LBFGS([torch.nn.Parameter(torch.zeros(1))]).defaults
    own = optim.LBFGS().defaults
    assert own == {name: theirs[name] for name in own}
