"""Dropout layers: by their statistics, by torch where nothing is random, and the mask in the gradient."""

from __future__ import annotations

import numpy as np
import pytest
from torch_judge import judge, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError

COUNT = 20_000
BIG = np.ones((COUNT,), np.float32)
# Layer, shape of an input, over which axes a mask is the same.
CHANNELS = {
    "1d": (nn.Dropout1d, (8, 6, 5), (2,)),
    "1d, no batch": (nn.Dropout1d, (48, 5), (1,)),
    "2d": (nn.Dropout2d, (8, 6, 3, 4), (2, 3)),
    "2d of sequences": (nn.Dropout2d, (8, 6, 5), (2,)),
    "3d": (nn.Dropout3d, (8, 6, 2, 3, 2), (2, 3, 4)),
    "3d, no batch": (nn.Dropout3d, (48, 2, 3, 2), (1, 2, 3)),
    "alpha": (nn.FeatureAlphaDropout, (8, 6, 5), (2,)),
}


def within(share, p, count):
    """Five standard deviations of a binomial share."""
    return abs(share - p) < 5.0 * np.sqrt(p * (1.0 - p) / count)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_share_and_expectation(p):
    y = np.asarray(nn.Dropout(p, seed=1)(BIG).value)
    np.testing.assert_allclose(np.unique(y), [0.0, 1.0 / (1.0 - p)], rtol=1e-6)
    assert within((y == 0.0).mean(), p, COUNT)


@pytest.mark.parametrize("name", CHANNELS)
def test_whole_channels(name):
    kind, shape, same = CHANNELS[name]
    y = np.asarray(kind(0.4, seed=2)(np.ones(shape, np.float32)).value)
    first = y.min(axis=same, keepdims=True)
    np.testing.assert_array_equal(y, np.broadcast_to(first, shape))
    low, high = np.unique(first)
    assert within((first == low).mean(), 0.4, first.size)
    if name != "alpha":
        np.testing.assert_allclose([low, high], [0.0, 1.0 / 0.6], rtol=1e-6)


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(0).normal(size=COUNT).astype(np.float32)
    y = np.asarray(nn.AlphaDropout(0.3, seed=3)(x).value)
    assert abs(y.mean()) < 0.05 and abs(y.var() - 1.0) < 0.05
    torch.manual_seed(0)
    theirs = torch.nn.AlphaDropout(0.3)(torch.tensor(x)).numpy()
    floor = np.sort(y)[np.abs(np.diff(np.sort(y), prepend=np.inf)) == 0.0]  # the one value that occurs again and again
    assert np.isclose(theirs, floor[0], rtol=1e-5).mean() > 0.25
    kept = ~np.isclose(y, floor[0])
    both = kept & ~np.isclose(theirs, floor[0])
    np.testing.assert_allclose(y[both], theirs[both], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind, shape", [(nn.Dropout, (6, 5)), (nn.Dropout2d, (4, 5, 2, 2)), (nn.AlphaDropout, (6, 5))])
def test_the_gradient_uses_the_mask_of_its_call(kind, shape):
    """dy/dx is 0 exactly where y does not depend on x, and else the scale."""
    layer = kind(0.5, seed=4)
    x = sample(*shape, low=0.5, high=1.5)
    result = layer(x)
    result.back(np.ones(shape, np.float32))
    y, slope = np.asarray(result.value), np.asarray(result.grad(layer.input("input")))
    dropped = np.isclose(y, y.min())
    assert 0.1 < dropped.mean() < 0.9
    np.testing.assert_array_equal(slope == 0.0, dropped)
    assert len(np.unique(slope)) == 2


def test_the_second_gradient_uses_it_too():
    layer = nn.Dropout(0.5, seed=5)
    x = sample(8, low=0.5, high=1.5)
    layer.stream.reset()
    y = np.asarray(layer(x).value)
    layer.stream.reset()
    curvature = zkynet.hvp(lambda x: op.sum(layer(x) ** 3))(x, vector=np.ones(8, np.float32))
    np.testing.assert_allclose(curvature, np.where(y == 0.0, 0.0, 6.0 * y * 4.0), rtol=1e-5)


def test_every_call_draws_anew_and_a_seed_repeats():
    x = np.ones(64, np.float32)
    layer, twin = nn.Dropout(seed=6), nn.Dropout(seed=6)
    first, second = np.asarray(layer(x).value), np.asarray(layer(x).value)
    assert (first != second).any()
    np.testing.assert_array_equal(first, twin(x).value)
    layer.stream.reset()
    np.testing.assert_array_equal(first, layer(x).value)


def test_manual_seed_decides():
    x = np.ones(64, np.float32)

    def pair():
        nn.manual_seed(7)
        return [np.asarray(layer(x).value) for layer in (nn.Dropout(), nn.Dropout())]

    one, two = pair(), pair()
    np.testing.assert_array_equal(one, two)
    assert (one[0] != one[1]).any()


def test_masks_change_inside_one_compiled_program():
    layer = nn.Dropout(seed=8)
    step = zkynet.compile(lambda x: layer(x))
    x = np.ones(64, np.float32)
    masks = [np.asarray(step(x)) for _ in range(2)]
    before = zkynet.compile_stats().compilations
    masks += [np.asarray(step(x)) for _ in range(2)]
    assert zkynet.compile_stats().compilations == before
    assert len({mask.tobytes() for mask in masks}) == 4
    layer.stream.reset()
    np.testing.assert_array_equal(masks[0], layer(x).value)


@pytest.mark.parametrize("kind", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
                                  "FeatureAlphaDropout"])
def test_what_is_not_random_is_torchs(kind):
    x = sample(2, 3, 4) if kind == "Dropout1d" else sample(2, 3, 4, 2)
    judge(getattr(nn, kind)(0.3), getattr(torch.nn, kind)(0.3).eval(), x)
    judge(getattr(nn, kind)(0.0), getattr(torch.nn, kind)(0.0), x)
    judge(getattr(nn, kind)(1.0), getattr(torch.nn, kind)(1.0), x)


@pytest.mark.parametrize("layer", [nn.Dropout(0.0), nn.Dropout(0.4).eval(), nn.Dropout2d(0.0), nn.AlphaDropout(0.0)])
def test_no_node_where_nothing_is_dropped(layer):
    result = layer(np.ones((2, 3, 4, 4), np.float32))
    assert not result.root.inputs, "the input itself"


def test_the_stream_is_part_of_the_state():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(seed=9))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.stream"]
    state, x = net.state_dict(), np.ones((4, 2), np.float32)
    first = np.asarray(net(x).value)
    net(x)
    net.load_state_dict(state)
    np.testing.assert_array_equal(first, net(x).value)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), None])
def test_p_must_be_a_probability(p):
    with pytest.raises(InputError, match=f"Dropout2d: p is the probability of zero, from 0 to 1, but got {p}"):
        nn.Dropout2d(p)


def test_channels_need_axes():
    with pytest.raises(ShapeError, match=r"Dropout3d takes inputs of 4 or 5 axes, but got one of shape \(2, 3\)"):
        nn.Dropout3d()(np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match="FeatureAlphaDropout takes inputs"):
        nn.FeatureAlphaDropout()(np.ones(3, np.float32))
