"""fcn.Linear, MLP, LeNet."""

from __future__ import annotations

import numpy as np
import pytest
from overfit import count, overfit

from zkynet import models, nn
from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.models import fcn

RNG = np.random.default_rng(0)


def batch(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(size=shape).astype(np.float32), (np.arange(shape[0]) % 10).astype(np.int32)


def test_fcn_linear_is_w_x_plus_b_with_its_gradients() -> None:
    W, b, x = RNG.normal(size=(3, 4)), RNG.normal(size=3), RNG.normal(size=4)
    m = fcn.Linear(W, b)
    result = m(x)
    np.testing.assert_allclose(result.value, W @ x + b, rtol=1e-5)
    result.back()  # of a tensor: full Jacobians
    np.testing.assert_allclose(result.grad(m.input("x")), W, rtol=1e-6)
    np.testing.assert_allclose(result.grad(m.param("b")), np.eye(3), rtol=1e-6)
    np.testing.assert_allclose(result.grad(m.param("W")), np.einsum("ij,k->ijk", np.eye(3), x), rtol=1e-6)
    rows = RNG.normal(size=(5, 4))
    np.testing.assert_allclose(m(rows).value, rows @ W.T + b, rtol=1e-5)


def test_fcn_linear_takes_a_number_for_b_and_names_what_does_not_fit() -> None:
    assert fcn.Linear(np.ones((2, 3)), 1.0)(np.ones(3)).value.tolist() == [4.0, 4.0]
    with pytest.raises(ShapeError, match=r"W0 of the shape \(out, in\).*got \(3,\) and \(\)"):
        fcn.Linear(np.ones(3), 0.0)
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(3,\)"):
        fcn.Linear(np.ones((2, 3)), np.ones(3))
    with pytest.raises(ShapeError, match=r"needs 3 as its last axis, but got the shape \(4,\)"):
        fcn.Linear(np.ones((2, 3)), 0.0)(np.ones(4))


def test_mlp_is_torchs_sequential_of_the_same_weights() -> None:
    torch = pytest.importorskip("torch")
    x, _ = batch(4, 5)
    for activation, same in (("tanh", torch.nn.Tanh()), (nn.PReLU(), torch.nn.PReLU(init=0.1))):  # one, used twice
        theirs = torch.nn.Sequential(torch.nn.Linear(5, 8), same, torch.nn.Linear(8, 7), same, torch.nn.Linear(7, 3))
        ours = models.MLP([5, 8, 7, 3], activation)
        ours.load_state_dict({name: weight.numpy() for name, weight in theirs.state_dict().items()})
        np.testing.assert_allclose(ours(x).value, theirs(torch.tensor(x)).detach().numpy(), atol=1e-6)


def test_mlp_takes_its_first_size_from_the_input_and_drops_in_training_only() -> None:
    net = models.MLP([None, 64, 4], op.relu, dropout=0.5)
    x, _ = batch(3, 6)
    assert net(x).shape == (3, 4) and count(net) == 6 * 64 + 64 + 64 * 4 + 4
    assert (net(x).value != net(x).value).any()
    net.eval()
    assert (net(x).value == net(x).value).all()


@pytest.mark.parametrize("sizes", [[4], [], [4, None], [4, None, 3]])
def test_mlp_refuses_sizes_without_a_layer(sizes: list) -> None:
    with pytest.raises(InputError, match="MLP needs the sizes"):
        models.MLP(sizes)


def test_mlp_names_the_activations_it_knows() -> None:
    with pytest.raises(InputError, match="MLP knows the activations relu, tanh.*got 'rleu'"):
        models.MLP([2, 2, 2], "rleu")


@pytest.mark.parametrize(("arguments", "parameters"), [
    ({}, 61_706),  # 156 + 2416 + 48120 + 10164 + 850, the table of many courses
    ({"classes": 3, "channels": 3, "size": 32}, 82_531),
])
def test_lenet_has_the_papers_number_of_parameters(arguments: dict, parameters: int) -> None:
    net = models.LeNet(**arguments)
    size, channels = arguments.get("size", 28), arguments.get("channels", 1)
    assert count(net) == parameters
    assert net(np.zeros((2, channels, size, size), np.float32)).shape == (2, arguments.get("classes", 10))
    assert list(net.state_dict())[:3] == ["conv1.weight", "conv1.bias", "conv2.weight"]


def test_lenet_refuses_pictures_that_are_too_small() -> None:
    assert models.LeNet(size=12)(np.zeros((1, 1, 12, 12), np.float32)).shape == (1, 10)
    with pytest.raises(InputError, match="at least 12, but got 8"):
        models.LeNet(size=8)


@pytest.mark.parametrize("make", [lambda: models.MLP([784, 32, 10]), models.LeNet], ids=["mlp", "lenet"])
def test_a_batch_is_learned_by_heart(make) -> None:
    nn.manual_seed(0)
    x, y = batch(20, 784)
    net = make()
    x = x if isinstance(net, models.MLP) else x.reshape(20, 1, 28, 28)
    first, last = overfit(net, nn.CrossEntropyLoss(), x, y, 40, 3e-3)
    assert 1.8 < first < 3.2 and last < 0.05


def test_the_seed_decides_where_a_model_starts() -> None:
    weights = []
    for seed in (1, 1, 2):
        nn.manual_seed(seed)
        weights.append(np.asarray(models.LeNet().state_dict()["fc1.weight"]))
    assert (weights[0] == weights[1]).all() and (weights[0] != weights[2]).any()
