"""The optimizers' mathematics: 100 steps of each against torch's, of the same options and from the same start."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zkynet import optim
from zkynet.framework import cg
from zkynet.framework.errors import InputError
from zkynet.optim import rules

torch = pytest.importorskip("torch")

STEPS = 100
rng = np.random.default_rng(5)
X = rng.normal(size=(16, 3)).astype(np.float32)
Y = np.sin(X @ np.array([[1.0], [-0.7], [0.4]], np.float32) + 0.3)
START = [(0.6 * rng.normal(size=(3, 8))).astype(np.float32), (0.6 * rng.normal(size=(8, 1))).astype(np.float32)]


def loss_of(params: list[jax.Array]) -> jax.Array:
    return jnp.mean((jnp.tanh(X @ params[0]) @ params[1] - Y) ** 2)


def ours(rule: optax.GradientTransformation, lr: float) -> list[np.ndarray]:
    """The parameters after each of the steps."""

    def step(carry, _):
        params, state = carry
        direction, state = rule.update(jax.grad(loss_of)(params), state, params)
        params = jax.tree.map(lambda p, d: p - lr * d, params, direction)
        return (params, state), params

    @jax.jit
    def train(params):
        return jax.lax.scan(step, (params, rule.init(params)), length=STEPS)[1]

    return [np.asarray(p) for p in train([jnp.asarray(p) for p in START])]


def theirs(name: str, lr: float, options: dict) -> list[np.ndarray]:
    params = [torch.nn.Parameter(torch.tensor(p)) for p in START]
    optimizer = getattr(torch.optim, name)(params, lr=lr, **options)
    x, y = torch.tensor(X), torch.tensor(Y)
    seen = [[], []]
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((torch.tanh(x @ params[0]) @ params[1] - y) ** 2).mean().backward()
        optimizer.step()
        for kept, parameter in zip(seen, params, strict=True):
            kept.append(parameter.detach().numpy().copy())
    return [np.stack(kept) for kept in seen]


ROWS = [
    ("SGD", rules.sgd, 0.1, {}),
    ("SGD", rules.sgd, 0.1, {"weight_decay": 0.01}),
    ("SGD", rules.sgd, 0.05, {"momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", rules.sgd, 0.05, {"momentum": 0.9, "nesterov": True}),
    ("SGD", rules.sgd, 0.1, {"momentum": 0.8, "dampening": 0.5, "weight_decay": 0.01}),
    ("Adam", rules.adam, 0.01, {}),
    ("Adam", rules.adam, 0.01, {"betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
    ("Adam", rules.adam, 0.02, {"betas": (0.9, 0.9), "amsgrad": True}),
    ("AdamW", rules.adamw, 0.01, {}),
    ("AdamW", rules.adamw, 0.01, {"weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", rules.adamw, 0.01, {"weight_decay": 0.0}),
    ("RMSprop", rules.rmsprop, 0.002, {}),
    ("RMSprop", rules.rmsprop, 0.002, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5}),
    ("RMSprop", rules.rmsprop, 0.002, {"centered": True, "eps": 1e-3}),
    ("RMSprop", rules.rmsprop, 0.002, {"centered": True, "eps": 1e-3, "momentum": 0.9}),
    ("Adagrad", rules.adagrad, 0.05, {}),
    ("Adagrad", rules.adagrad, 0.05, {"lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.2,
                                      "eps": 1e-3}),
    # At lr=1 rounding grows tenfold in the last steps here: torch in float32 is 1e-4 away from torch in float64.
    ("Adadelta", rules.adadelta, 0.5, {}),
    ("Adadelta", rules.adadelta, 0.5, {"rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", rules.adamax, 0.01, {}),
    ("Adamax", rules.adamax, 0.01, {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("name", "rule", "lr", "options"), ROWS, ids=lambda v: v if isinstance(v, str) else None)
def test_a_hundred_steps_are_torchs(name, rule, lr, options):
    for mine, judge, start in zip(ours(rule(**options), lr), theirs(name, lr, options), START, strict=True):
        assert np.abs(judge[-1] - start).max() > 0.02  # it went somewhere
        np.testing.assert_allclose(mine, judge, rtol=0, atol=1e-5 * np.abs(judge).max())


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax"])
def test_defaults_are_torchs(name):
    """The defaults in the signatures, read from torch's own."""
    theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))]).defaults
    own = getattr(rules, name.lower()).__kwdefaults__
    assert own == {key: theirs[key] for key in own}


def test_lion_is_the_papers_algorithm():
    """torch has no Lion: its pseudo-code (Chen et al., 2023, program 1) in NumPy, on gradients that are given."""
    b1, b2, decay, lr = 0.8, 0.95, 0.1, 0.01
    gradients = rng.normal(size=(STEPS, 6)).astype(np.float32)
    rule = rules.lion(betas=(b1, b2), weight_decay=decay)
    p = mine = jnp.ones(6)
    state, judge, m = rule.init(p), np.ones(6), np.zeros(6)
    update = jax.jit(rule.update)
    for g in gradients:
        direction, state = update(g, state, mine)
        mine = mine - lr * direction
        judge = judge - lr * (np.sign(b1 * m + (1 - b1) * g) + decay * judge)
        m = b2 * m + (1 - b2) * g
        np.testing.assert_allclose(mine, judge, rtol=1e-5)


def test_a_variance_that_rounding_made_negative_is_none():
    """As a constant gradient gives it; without care its root is NaN, and so is the parameter ever after."""
    rule = rules.rmsprop(alpha=1.0, eps=0.5, centered=True)  # alpha 1 leaves the means as they are
    state = rules.Deviation(mu=jnp.float32(1.0000001), nu=jnp.float32(1.0))
    assert state.nu - state.mu**2 < 0
    np.testing.assert_array_equal(rule.update(jnp.float32(3.0), state)[0], 6.0)


@pytest.mark.parametrize("rule", [
    rules.sgd(momentum=0.9, dampening=0.1, weight_decay=0.1), rules.adam(amsgrad=True), rules.adamw(),
    rules.rmsprop(centered=True, momentum=0.1), rules.adagrad(lr_decay=0.1), rules.adadelta(), rules.adamax(),
    rules.lion(weight_decay=0.1)])
def test_bfloat16_parameters_have_bfloat16_directions_and_moments(rule):
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    state = rule.init(params)
    direction, after = rule.update(params, state, params)
    assert direction["w"].dtype == jnp.bfloat16
    assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(lambda a: (a.shape, a.dtype), state)


@pytest.mark.parametrize(("rule", "options", "message"), [
    (rules.adam, {"betas": (0.9, 1.0)}, r"betas\[1\] must be a number with 0 <= betas\[1\] < 1, but got 1.0"),
    (rules.adamw, {"betas": (-0.1, 0.9)}, r"betas\[0\] must be .* but got -0.1"),
    (rules.lion, {"betas": 0.9}, r"betas must be two numbers \(beta1, beta2\), but got 0.9"),
    (rules.adamax, {"betas": (0.9, 0.99, 0.999)}, "betas must be two numbers"),
    (rules.adam, {"eps": -1e-8}, "eps must be a number with 0 <= eps < inf, but got -1e-08"),
    (rules.adam, {"eps": float("nan")}, "eps must be .* but got nan"),
    (rules.sgd, {"weight_decay": "no"}, "weight_decay must be a number .* but got 'no'"),
    (rules.sgd, {"momentum": True}, "momentum must be a number .* but got True"),
    (rules.sgd, {"momentum": float("inf")}, "momentum must be a number .* but got inf"),
    (rules.sgd, {"dampening": float("inf")}, "dampening must be a number with dampening < inf, but got inf"),
    (rules.sgd, {"nesterov": True}, "nesterov=True needs a momentum above 0 and no dampening, but got momentum=0"),
    (rules.sgd, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov=True .* dampening=0.1"),
    (rules.rmsprop, {"alpha": 1.1}, "alpha must be a number with 0 <= alpha <= 1, but got 1.1"),
    (rules.adadelta, {"rho": -0.1}, "rho must be a number with 0 <= rho <= 1, but got -0.1"),
    (rules.adagrad, {"lr_decay": -1}, "lr_decay must be .* but got -1"),
    (rules.adagrad, {"initial_accumulator_value": -1}, "initial_accumulator_value must be .* but got -1"),
])
def test_wrong_options_are_named(rule, options, message):
    with pytest.raises(InputError, match=message):
        rule(**options)


def test_wrong_rates_are_named():
    with pytest.raises(InputError, match="lr must be a number with 0 <= lr < inf, but got -0.1"):
        rules.check(lr=-0.1)


def test_options_at_their_limits_are_taken():
    rules.check(lr=0, eps=0, betas=(0.0, np.float32(0.5)), rho=1.0, alpha=1, momentum=np.float64(2.0), dampening=-1.0)


# The classes ------------------------------------------------------------------------------------------------

CLASSES = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax"]


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_are_torchs_in_name_order_and_default(name):
    """Those that we have; torch's others choose among implementations, or make an AdamW of Adam."""
    own = inspect.signature(getattr(optim, name).__init__).parameters
    theirs = inspect.signature(getattr(torch.optim, name).__init__).parameters
    shared = [key for key in own if key in theirs and key not in ("self", "params")]
    assert shared == [key for key in theirs if key in shared]
    assert {key: own[key].default for key in shared} == {key: theirs[key].default for key in shared}
    assert [key for key in own if key not in theirs] == ["common"]


@pytest.mark.parametrize("name", [*CLASSES, "Lion"])
def test_a_step_of_the_class_is_that_of_its_rule(name):
    """Its options reach the rule, also by name and in a group of their own."""
    kind = getattr(optim, name)
    p, q = (cg.Parameter(n, np.array([1.0, -2.0], np.float32)) for n in "pq")
    optimizer = kind([{"params": [p]}, {"params": [q], "weight_decay": 0.5}], lr=0.25)
    gradient = np.array([0.5, 1.0], np.float32)
    optimizer.apply([gradient, gradient])
    start = jnp.array([1.0, -2.0])
    for parameter, options in ((p, {}), (q, {"weight_decay": 0.5})):
        rule = getattr(rules, name.lower())(**options)
        direction, _ = rule.update(jnp.asarray(gradient), rule.init(start), start)
        np.testing.assert_allclose(parameter.value, start - 0.25 * direction, rtol=1e-6)
    assert set(optimizer.defaults) - {"lr"} == set(getattr(rules, name.lower()).__kwdefaults__)


def assert_torchs(name: str, options: dict[str, Any], start: Sequence[Any], rounds: Sequence[Any],
                  changes: Mapping[int, dict[str, float]] | None = None) -> None:
    """The parameters after rounds of gradients (None for a parameter that is absent) are torch's. `changes` are options
    that are set before the round of that number."""
    mine = [cg.Parameter(f"p{i}", value) for i, value in enumerate(start)]
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer, judge = getattr(optim, name)(mine, **options), getattr(torch.optim, name)(theirs, **options)
    for number, gradients in enumerate(rounds):
        for option, value in (changes or {}).get(number, {}).items():
            optimizer.param_groups[0][option] = judge.param_groups[0][option] = value
        optimizer.apply(gradients)
        for p, gradient in zip(theirs, gradients, strict=True):
            p.grad = None if gradient is None else torch.tensor(gradient)
        judge.step()
    for p, q, value in zip(mine, theirs, start, strict=True):
        np.testing.assert_allclose(p.value, q.detach().numpy(), rtol=2e-6, atol=1e-7)
        assert not np.allclose(p.value, value)


G = [np.array([0.5, -1.0], np.float32), np.array([0.25, 1.0, -3.0], np.float32)]


@pytest.mark.parametrize(("name", "options"), [
    ("Adam", {}), ("Adam", {"amsgrad": True}), ("AdamW", {"weight_decay": 0.1}), ("Adamax", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}), ("Adagrad", {"lr_decay": 0.1}), ("RMSprop", {})])
def test_each_parameter_counts_its_own_steps(name: str, options: dict[str, Any]):
    """One joins the other after some steps, as when it was frozen."""
    rounds = [[G[0], None]] * 6 + [[G[0], G[1]], [G[0] * 2.0, -G[1]], [None, G[1]], [G[0], G[1]]]
    assert_torchs(name, {"lr": 0.01, **options}, [np.ones_like(g) for g in G], rounds)


@pytest.mark.parametrize(("name", "options"), [
    ("SGD", {"momentum": 0.9}), ("Adam", {}), ("RMSprop", {}), ("Adagrad", {}), ("Adamax", {}),
    ("Adadelta", {"lr": 0.5})])
def test_of_a_complex_parameter_both_parts_are_trained(name: str, options: dict[str, Any]):
    gradient = np.array([0.5 - 2.0j, 3.0 + 0.1j], np.complex64)
    assert_torchs(name, {"lr": 0.01, **options}, [np.array([1.0 + 2.0j, -1j], np.complex64)],
                  [[gradient], [gradient * 1j], [gradient]])


@pytest.mark.parametrize(("name", "options", "change"), [
    ("SGD", {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}), ("SGD", {}, {"weight_decay": 0.1}),
    ("Adam", {}, {"weight_decay": 0.1, "eps": 0.1}), ("AdamW", {"weight_decay": 0.01}, {"weight_decay": 0.0})])
def test_options_change_between_steps(name: str, options: dict[str, Any], change: dict[str, float]):
    assert_torchs(name, {"lr": 0.1, **options}, [np.ones_like(g) for g in G], [G] * 4, {2: change})


def test_an_option_that_needs_another_state_is_refused():
    p = cg.Parameter("p", 1.0)
    optimizer = optim.SGD([p], lr=0.5, momentum=0.9)
    for name, value, message in [("momentum", 0.0, "would keep another state"), ("momentum", -1.0, "momentum must be"),
                                 ("dampening", 0.5, "would keep another state"), ("lr", None, "lr must be")]:
        with pytest.raises(InputError, match=message):
            optimizer.param_groups[0][name] = value
    optimizer.apply([1.0])
    assert float(p.value) == 0.5 and dict(optimizer.param_groups[0]) == optimizer.defaults


def test_classes_refuse_wrong_options_at_once():
    for make, message in [
            (lambda: optim.SGD(lr=-0.1), "lr must be a number with 0 <= lr < inf, but got -0.1"),
            (lambda: optim.Adam(lr="fast"), "lr must be a number .* but got 'fast'"),
            (lambda: optim.Adam(betas=(0.9, 2.0)), r"betas\[1\] must be"),
            (lambda: optim.SGD(nesterov=True), "nesterov=True needs a momentum"),
            (lambda: optim.Lion([{"params": cg.Parameter("p", 1.0), "weight_decay": -1.0}]), "weight_decay must be"),
            (lambda: optim.Lion([{"params": cg.Parameter("p", 1.0), "lr": -1.0}]), "lr must be"),
            (lambda: optim.Lion([{"params": cg.Parameter("p", 1.0), "beta": 1.0}]), "no option beta"),
            (lambda: optim.Adam(decoupled_weight_decay=True), "does not take .* AdamW decouples it"),
            (lambda: optim.SGD(foreach=False, momentun=1), "does not take foreach, momentun; .* leave it out")]:
        with pytest.raises(InputError, match=message):
            make()


def test_a_schedule_is_a_rate():
    p = cg.Parameter("p", 1.0)
    optimizer = optim.SGD([p], lr=optim.Step(0.5, step_size=1, gamma=0.5))
    for rate in (0.5, 0.25, 0.125):
        before = float(p.value)
        optimizer.apply([1.0])
        np.testing.assert_allclose(before - float(p.value), rate, rtol=1e-6)
