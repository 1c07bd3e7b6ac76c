"""Initialisers against torch.nn.init: by their distribution, since the generators differ."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from zkynet import nn
from zkynet.framework.errors import InputError
from zkynet.nn import init

torch = pytest.importorskip("torch")

SHAPE = (200, 30, 3, 3)  # (out, in, *kernel): 54,000 numbers, fan-in 270, fan-out 1800
MATRIX = (300, 180)


def theirs(name: str, shape: tuple[int, ...], **options: Any) -> np.ndarray:
    torch.manual_seed(0)
    return getattr(torch.nn.init, f"{name}_")(torch.empty(shape), **options).numpy()


def ours(name: str, shape: tuple[int, ...], **options: Any) -> np.ndarray:
    nn.manual_seed(0)
    return init.initial((name, options), shape)


# name, options of ours, PyTorch's name, options of PyTorch, shape
ALIKE = [
    ("uniform", {"a": -0.5, "b": 2.0}, "uniform", {"a": -0.5, "b": 2.0}, SHAPE),
    ("normal", {"mean": 1.0, "std": 0.3}, "normal", {"mean": 1.0, "std": 0.3}, SHAPE),
    *((name, options, name, options, shape)
      for name in ("xavier_uniform", "xavier_normal") for options in ({}, {"gain": 2.0}) for shape in (SHAPE, MATRIX)),
    *((name, options, name, options, SHAPE)
      for name in ("kaiming_uniform", "kaiming_normal")
      for options in ({}, {"a": 1.0}, {"mode": "fan_out"}, {"nonlinearity": "relu"},
                      {"nonlinearity": "tanh", "a": 9.0})),
    ("kaiming_uniform", {"a": math.sqrt(5)}, "kaiming_uniform", {"a": math.sqrt(5)}, MATRIX),
    ("xavier", {}, "xavier_uniform", {}, SHAPE), ("glorot", {}, "xavier_uniform", {}, MATRIX),
    ("he", {}, "kaiming_uniform", {}, SHAPE), ("kaiming", {"a": 1.0}, "kaiming_uniform", {"a": 1.0}, MATRIX),
    ("lecun", {}, "kaiming_uniform", {"nonlinearity": "linear"}, SHAPE),
    ("glorot_uniform", {}, "xavier_uniform", {}, MATRIX), ("glorot_normal", {}, "xavier_normal", {}, MATRIX),
    ("he_uniform", {}, "kaiming_uniform", {}, MATRIX), ("he_normal", {}, "kaiming_normal", {}, MATRIX),
    ("lecun_uniform", {}, "kaiming_uniform", {"nonlinearity": "linear"}, SHAPE),
    ("lecun_normal", {}, "kaiming_normal", {"nonlinearity": "linear"}, SHAPE),
    *(("truncated_normal", options, "trunc_normal", options, SHAPE)
      for options in ({}, {"std": 0.02}, {"mean": 1.0, "std": 2.0, "a": -0.5, "b": 1.5})),
    ("trunc_normal", {"std": 5.0}, "trunc_normal", {"std": 5.0}, SHAPE),
]


@pytest.mark.parametrize(("name", "options", "other", "others", "shape"), ALIKE)
def test_distributions_are_those_of_torch(name: str, options: dict, other: str, others: dict, shape: tuple) -> None:
    """Mean, deviation and quantiles to what 54,000 numbers tell; the greatest of a bounded one nearly at its bound."""
    mine, expected = ours(name, shape, **options), theirs(other, shape, **others)
    assert mine.shape == shape and mine.dtype == np.float32
    spread = expected.std()
    at = np.linspace(0.05, 0.95, 19)
    tolerance = 0.05 * spread  # four standard errors of the outer quantiles, more of the inner ones
    np.testing.assert_allclose(np.quantile(mine, at), np.quantile(expected, at), rtol=0, atol=tolerance)
    assert abs(mine.mean() - expected.mean()) < tolerance
    assert abs(mine.std() / spread - 1) < 0.02
    if "normal" not in name or name.startswith("trunc") and spread > 0.1:  # else the bounds are 100 deviations away
        np.testing.assert_allclose([mine.min(), mine.max()], [expected.min(), expected.max()], atol=tolerance)


@pytest.mark.parametrize(("a", "b"), [(-math.inf, math.inf), (3.0, math.inf), (-7.0, -6.0), (0.1, 0.2), (-9.0, 1.0)])
def test_truncated_normal_far_out_and_in_narrow_intervals(a: float, b: float) -> None:
    """Against the mean and variance of a truncated normal (Johnson and Kotz, chapter 13), by numerical integration."""
    nn.manual_seed(1)
    found = init.truncated_normal((20000,), a=a, b=b)
    x = np.linspace(max(a, -12), min(b, 12), 200001)
    weights = np.exp(-x * x / 2 + min(abs(x)) ** 2 / 2)
    mean = (x * weights).sum() / weights.sum()
    std = math.sqrt((x * x * weights).sum() / weights.sum() - mean * mean)
    assert np.float32(a) <= found.min() and found.max() <= np.float32(b)
    assert abs(found.mean() - mean) < 5 * std / math.sqrt(20000)
    assert abs(found.std() / std - 1) < 0.03


@pytest.mark.parametrize("nonlinearity", [*init.GAINS, "leaky_relu"])
def test_gains_are_those_of_torch(nonlinearity: str) -> None:
    assert init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity), rel=1e-12)


@pytest.mark.parametrize("slope", [0, 0.2, 1, 2.5])
def test_the_gain_of_a_leaky_relu(slope: float) -> None:
    assert init.calculate_gain("leaky_relu", slope) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", slope), rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 2, 2, 3), (1, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    for q in (ours("orthogonal", shape, gain=2.0), theirs("orthogonal", shape, gain=2.0)):
        flat = q.reshape(shape[0], -1)
        small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        np.testing.assert_allclose(small, 4.0 * np.eye(min(flat.shape)), atol=1e-5)


def test_orthogonal_is_uniform_over_rotations_and_reflections() -> None:
    """So the trace of a 3 x 3 one has mean 0 and variance 1; without the signs made unique it has not."""
    nn.manual_seed(2)
    traces = [np.trace(init.orthogonal((3, 3))) for _ in range(2000)]
    assert abs(np.mean(traces)) < 0.1 and abs(np.var(traces) - 1.0) < 0.15


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_eye(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(ours("eye", shape), theirs("eye", shape))
    np.testing.assert_array_equal(ours("identity", shape), theirs("eye", shape))


@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 4, 3, 3), (6, 2, 2, 4), (4, 4, 3, 2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac(shape: tuple[int, ...], groups: int) -> None:
    np.testing.assert_array_equal(ours("dirac", shape, groups=groups), theirs("dirac", shape, groups=groups))


def test_sparse() -> None:
    mine, expected = ours("sparse", MATRIX, sparsity=0.301, std=0.1), theirs("sparse", MATRIX, sparsity=0.301, std=0.1)
    assert set((mine == 0).sum(0)) == set((expected == 0).sum(0)) == {91}
    assert abs(mine[mine != 0].std() / 0.1 - 1) < 0.03
    rows = (mine == 0).sum(1)  # each row is as likely as the others: 54.6 of 180, with a deviation of 6.2
    assert rows.min() > 25 and rows.max() < 85


def test_constants() -> None:
    np.testing.assert_array_equal(ours("constant", (2, 3), val=0.25), theirs("constant", (2, 3), val=0.25))
    assert not ours("zeros", (2,)).any() and ours("ones", (2,)).all()


ARGUMENTS = {"constant": ("constant", {"val": 1.0}), "sparse": ("sparse", {"sparsity": 0.5})}


@pytest.mark.parametrize("name", init.BY_NAME)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    shape = (6, 4, 3) if name == "dirac" else (6, 4)
    how = ARGUMENTS.get(name, name)
    made = []
    for seed in (5, 5, 6):
        nn.manual_seed(seed)
        made.append((init.initial(how, shape), init.initial(how, shape), init.fresh_seed()))
    np.testing.assert_array_equal(made[0][0], made[1][0])
    np.testing.assert_array_equal(made[0][1], made[1][1])
    assert made[0][2] == made[1][2]
    if name not in ("zeros", "ones", "constant", "eye", "identity", "dirac"):
        assert (made[0][0] != made[0][1]).any() and (made[0][0] != made[2][0]).any()


def test_layers_take_all_forms() -> None:
    nn.manual_seed(0)
    for how in ("xavier_normal", ("xavier_normal", {"gain": 1.0}), partial(init.xavier_normal, gain=1.0)):
        nn.manual_seed(4)
        weight = nn.Linear(3, 2, weight_init=how, bias_init=0.5).weight.value
        nn.manual_seed(4)
        np.testing.assert_array_equal(weight, init.xavier_normal((2, 3)))


def test_every_initialiser_of_torch_is_here_without_its_underscore() -> None:
    names = {name.removesuffix("_") for name in vars(torch.nn.init) if name.endswith("_") and name[0] != "_"}
    assert "trunc_normal" in names and {name for name in names if not hasattr(init, name)} == set()


ERRORS = {
    "name": (lambda: init.initial("xavir", (2, 2)), "no initialiser 'xavir'; there are: constant, dirac"),
    "argument": (lambda: init.initial(("xavier_uniform", {"gian": 2}), (2, 2)), "'gian'; its arguments are: gain"),
    "missing": (lambda: init.initial("constant", (2, 2)), "'val'; its arguments are: val"),
    "none taken": (lambda: init.initial(("zeros", {"val": 2}), (2, 2)), "its arguments are: none"),
    "seed": (lambda: nn.manual_seed(-1), "an int of at least 0, but got -1"),
    "shape": (lambda: init.initial(np.zeros(3), (2, 2)), r"shape \(2, 2\) is needed, but got \(3,\)"),
    "fans": (lambda: init.xavier_uniform((3,)), r"at least two axes \(out, in, ...\), but got \(3,\)"),
    "mode": (lambda: init.kaiming_normal((3, 2), mode="fan_avg"), "'fan_in' or 'fan_out', but is 'fan_avg'"),
    "gain": (lambda: init.kaiming_normal((3, 2), nonlinearity="gelu"), "no gain for 'gelu'; there is one for: conv1d"),
    "orthogonal": (lambda: init.orthogonal((3,)), "at least two axes"),
    "eye": (lambda: init.eye((3, 2, 1)), "two axes"),
    "dirac": (lambda: init.dirac((3, 2)), "3 to 5 axes"),
    "groups": (lambda: init.dirac((3, 2, 1), groups=2), "3 output channels cannot be divided into 2 groups"),
    "sparse": (lambda: init.sparse((3,), 0.5), "two axes"),
    "sparsity": (lambda: init.sparse((3, 3), 1.5), r"in \[0, 1\], but is 1.5"),
    "truncated": (lambda: init.truncated_normal((3,), a=1.0, b=1.0), "a < b and std > 0, but got a=1.0, b=1.0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_expected(name: str) -> None:
    call, message = ERRORS[name]
    with pytest.raises(InputError, match=message):
        call()
