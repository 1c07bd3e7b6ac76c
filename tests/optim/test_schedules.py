"""Schedules: every rate against torch's, on the host and inside a program."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zkynet.framework.errors import InputError
from zkynet.optim import (
    Constant,
    Cosine,
    Exponential,
    Join,
    MultiStep,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Step,
    Warmup,
)
from zkynet.optim.schedules import as_schedule

torch = pytest.importorskip("torch")
judges = torch.optim.lr_scheduler

STEPS = 100
LR = 0.3


def as_any(value: Any) -> Any:
    """What the declared types refuse."""
    return value


def of_torch(make) -> np.ndarray:
    """The rate of each of the steps; `make(optimizer)` gives the scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # SequentialLR's own calls, by its own rules
        scheduler = make(optimizer)
        rates = []
        for _ in range(STEPS):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    return np.array(rates)


def warm_then(then):
    return lambda o: judges.SequentialLR(o, [judges.LinearLR(o, start_factor=0.25, total_iters=10), then(o)], [10])


ROWS = [
    (Constant(LR), lambda o: judges.LambdaLR(o, lambda step: 1.0)),
    (Step(LR, 7, 0.5), lambda o: judges.StepLR(o, 7, 0.5)),
    (Step(LR, step_size=30), lambda o: judges.StepLR(o, 30)),
    (MultiStep(LR, [3, 10, 60], 0.3), lambda o: judges.MultiStepLR(o, [3, 10, 60], 0.3)),
    (Exponential(LR, 0.95), lambda o: judges.ExponentialLR(o, 0.95)),
    (Cosine(LR, T_max=100), lambda o: judges.CosineAnnealingLR(o, 100)),
    (Cosine(LR, T_max=30, eta_min=0.01), lambda o: judges.CosineAnnealingLR(o, 30, 0.01)),
    (Polynomial(LR, total_iters=60, power=2.0), lambda o: judges.PolynomialLR(o, 60, 2.0)),
    (Polynomial(LR, total_iters=60), lambda o: judges.PolynomialLR(o, 60)),
    (OneCycle(LR, total_steps=101), lambda o: judges.OneCycleLR(o, LR, total_steps=101)),
    (OneCycle(LR, total_steps=120, pct_start=0.17, div_factor=10.0, final_div_factor=50.0),
     lambda o: judges.OneCycleLR(o, LR, total_steps=120, pct_start=0.17, div_factor=10.0, final_div_factor=50.0)),
    (OneCycle(LR, 101, anneal_strategy="linear"),
     lambda o: judges.OneCycleLR(o, LR, total_steps=101, anneal_strategy="linear")),
    (Warmup(Cosine(LR, T_max=90), steps=10, start_factor=0.25),
     warm_then(lambda o: judges.CosineAnnealingLR(o, 90))),
    (Warmup(Exponential(LR, 0.9), steps=10, start_factor=0.25), warm_then(lambda o: judges.ExponentialLR(o, 0.9))),
    (Warmup(LR, 10, 0.25), lambda o: judges.LinearLR(o, 0.25, total_iters=10)),
    (Join([Step(LR, 5, 0.5), Exponential(LR, 0.9), Polynomial(LR, 20)], [20, 50]),
     lambda o: judges.SequentialLR(o, [judges.StepLR(o, 5, 0.5), judges.ExponentialLR(o, 0.9),
                                       judges.PolynomialLR(o, 20)], [20, 50])),
]


@pytest.mark.parametrize(("schedule", "judge"), ROWS, ids=lambda v: repr(v) if isinstance(v, Schedule) else "")
def test_every_rate_is_torchs(schedule, judge):
    expected = of_torch(judge)
    host = [schedule(step) for step in range(STEPS)]
    assert all(type(rate) is float for rate in host)
    np.testing.assert_allclose(host, expected, rtol=1e-9, atol=1e-12)
    program = jax.jit(jax.vmap(schedule))(jnp.arange(STEPS))
    np.testing.assert_allclose(program, expected, rtol=0, atol=1e-6 * LR)
    np.testing.assert_allclose(schedule(np.arange(STEPS)), host, rtol=1e-12)


def test_a_schedule_is_what_optax_has_where_that_is_the_same():
    pairs = [(Cosine(LR, 50), optax.cosine_decay_schedule(LR, 50), 51),
             (Exponential(LR, 0.9), optax.exponential_decay(LR, 1, 0.9), STEPS),
             (Polynomial(LR, 50, 3.0, 0.1), optax.polynomial_schedule(LR, 0.1, 3.0, 50), STEPS),
             (Warmup(Cosine(LR, 40), 10), optax.warmup_cosine_decay_schedule(0.0, LR, 10, 50), 51)]
    for own, judge, count in pairs:
        np.testing.assert_allclose(own(np.arange(count)), jax.vmap(judge)(jnp.arange(count)), atol=1e-6 * LR)


def test_far_steps_are_exact_in_a_program():
    """0.9999 rounded to float32 and raised to the 200,000th power would be off by a third of a per cent."""
    far = Exponential(1.0, 0.9999)
    np.testing.assert_allclose(jax.jit(far)(jnp.int32(200_000)), far(200_000), rtol=1e-5)


def test_rates_in_a_program_are_of_one_kind():
    """So that one schedule can follow another in a scan or a cond."""
    kinds = {jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.int32)) for schedule, _ in ROWS}
    assert kinds == {jax.ShapeDtypeStruct((), jnp.float32, weak_type=False)}


def test_equal_numbers_are_equal_schedules():
    one, same, other = (Warmup(MultiStep(0.1, [3, 5]), steps) for steps in (7, 7, 8))
    assert one == same and hash(one) == hash(same) and one != other
    assert len({one, same, other}) == 2
    assert repr(one) == ("Warmup(schedule=MultiStep(lr=0.1, milestones=(3, 5), gamma=0.1), steps=7, "
                         "start_factor=0.0)")
    assert Constant(0.1) != Constant(0.2)
    with pytest.raises(AttributeError):
        one.steps = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_past_the_end_and_at_the_edges():
    assert OneCycle(1.0, 50)(49) == OneCycle(1.0, 50)(500) == pytest.approx(1 / 25e4)
    assert OneCycle(1.0, 50, pct_start=0.0)(-0) < 1.0  # all of it falls
    assert np.isfinite(OneCycle(1.0, 1)(0))
    assert OneCycle(1.0, 10, pct_start=1.0)(9) == 1.0
    assert Polynomial(1.0, 5, end_lr=0.5)(1000) == 0.5
    assert Join([Cosine(1.0, 4), 0.0], [4])(10) == 0.0
    assert as_schedule(one := Constant(0.5)) is one


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Constant(-0.1), "Constant: lr must be a finite number, at least 0, but got -0.1"),
    (lambda: Constant(as_any("fast")), "Constant: lr must be .* but got 'fast'"),
    (lambda: Constant(float("nan")), "Constant: lr must be a finite number"),
    (lambda: Step(0.1, 0), "Step: step_size must be a whole number of steps, at least 1, but got 0"),
    (lambda: Step(0.1, as_any(2.5)), "Step: step_size must be .* but got 2.5"),
    (lambda: Exponential(0.1, 0.0), "Exponential: gamma must be a finite number above 0, but got 0.0"),
    (lambda: MultiStep(0.1, [5, 3]), r"MultiStep: milestones must be increasing .* but got \(5, 3\)"),
    (lambda: Cosine(0.1, 10, -1.0), "Cosine: eta_min must be"),
    (lambda: Polynomial(0.1, 10, -1.0), "Polynomial: power must be"),
    (lambda: OneCycle(0.1, 10, 1.5), "OneCycle: pct_start must be a number from 0 to 1, but got 1.5"),
    (lambda: OneCycle(0.1, 10, anneal_strategy="log"), "anneal_strategy must be 'cos' or 'linear', but got 'log'"),
    (lambda: Warmup(as_any("slow"), 3), "Warmup: schedule must be a schedule or a rate, but got 'slow'"),
    (lambda: Warmup(0.1, -3), "Warmup: steps must be"),
    (lambda: Join([0.1, 0.2], [3, 4]), "Join: schedules must be one more than there are milestones"),
    (lambda: ReduceOnPlateau("least"), "mode must be 'min' or 'max', but got 'least'"),
    (lambda: ReduceOnPlateau(threshold_mode="x"), "threshold_mode must be 'rel' or 'abs', but got 'x'"),
    (lambda: ReduceOnPlateau(factor=1.0), "factor must be a number above 0 and below 1, but got 1.0"),
    (lambda: ReduceOnPlateau().load_state_dict({"best": 1}), r"keys best, bad and waiting, but got \['best'\]"),
])
def test_wrong_numbers_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("options", [
    {}, {"mode": "max", "patience": 2, "factor": 0.5}, {"threshold_mode": "abs", "threshold": 0.05, "patience": 1},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.05, "patience": 3}, {"cooldown": 4, "patience": 0},
    {"min_lr": 0.01, "patience": 1, "factor": 0.3}, {"mode": "max", "threshold": 0.1, "patience": 1, "eps": 0.01}])
def test_reduce_on_plateau_is_torchs_and_resumes(options):
    rng = np.random.default_rng(3)
    metrics = np.abs(1.0 / (1 + np.arange(80)) + 0.1 * rng.normal(size=80))
    metrics[40] = np.nan
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    judge = judges.ReduceLROnPlateau(optimizer, **options)
    own, rate, rates, expected = ReduceOnPlateau(**options), 1.0, [], []
    for metric in metrics:
        saved, own = own.state_dict(), ReduceOnPlateau(**options)
        own.load_state_dict(saved)
        rate = own.step(metric, rate)
        judge.step(metric)
        rates.append(rate)
        expected.append(optimizer.param_groups[0]["lr"])
    assert len(set(rates)) > 1
    assert rates == expected
