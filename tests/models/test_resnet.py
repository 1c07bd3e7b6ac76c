"""Residual nets: torchvision judges those for ImageNet; the paper's counts and a plain formula those for CIFAR."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from overfit import count, overfit

from zkynet import models, nn
from zkynet.framework.errors import InputError
from zkynet.models.resnet import BasicBlock, Bottleneck, ResNet, Subsample

RNG = np.random.default_rng(0)


def torch_resnet(name: str) -> Any:
    """torchvision's net with random weights and statistics, in evaluation mode."""
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None)
    with torch.no_grad():
        for path, held in [*net.named_parameters(), *net.named_buffers()]:
            if ("bn" in path or "downsample.1" in path) and held.ndim:
                held.uniform_(0.5, 1.5) if "var" in path or "weight" in path else held.uniform_(-0.2, 0.2)
    return net.eval()


@pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("resnet50", 32)])
def test_weights_of_torchvision_load_by_name_and_give_its_outputs(name: str, size: int) -> None:
    import torch

    theirs = torch_resnet(name)
    ours = getattr(models, name)().eval()
    state = {path: held.numpy() for path, held in theirs.state_dict().items()}
    assert {path: tuple(held.shape) for path, held in ours.state_dict().items()} == \
        {path: held.shape for path, held in state.items()}
    ours.load_state_dict(state)
    x = RNG.normal(size=(2, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours(x).value, expected, atol=1e-4 * np.abs(expected).max(), rtol=1e-4)


# The numbers that torchvision's page of each model says ("num_params").
@pytest.mark.parametrize(("make", "parameters"), [
    (models.resnet18, 11_689_512), (models.resnet34, 21_797_672), (models.resnet50, 25_557_032),
    (models.resnet101, 44_549_160),
])
def test_imagenet_nets_have_torchvisions_number_of_parameters(make: Any, parameters: int) -> None:
    assert count(make()) == parameters


# He et al. 2016, table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_cifar_nets_have_the_papers_number_of_parameters(depth: int, millions: float) -> None:
    assert count(models.CifarResNet(depth)) / 1e6 == pytest.approx(millions, abs=0.03 if depth == 110 else 0.005)


def test_option_a_subsamples_and_fills_with_zeros() -> None:
    x = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    y = np.asarray(Subsample(2, 5)(x).value)
    assert y.shape == (2, 8, 3, 2)
    np.testing.assert_array_equal(y[:, 2:5], x[:, :, ::2, ::2])
    assert not y[:, :2].any() and not y[:, 5:].any()


@pytest.mark.parametrize("projected", [False, True])
def test_cifar_net_shapes_and_shortcuts(projected: bool) -> None:
    net = models.CifarResNet(8, classes=7, channels=1, width=4, projected=projected).eval()
    assert net(np.zeros((2, 1, 16, 16), np.float32)).shape == (2, 7)
    assert ("layer2.0.downsample.0.weight" in net.state_dict()) == projected
    assert "layer1.0.downsample.0.weight" not in net.state_dict()


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_whose_branch_is_zero_passes_what_is_positive(block: Any) -> None:
    made = block(8, 8 // block.expansion).eval()
    last = made.bn2 if block is BasicBlock else made.bn3
    last.weight.value = np.zeros(8, np.float32)
    x = RNG.normal(size=(2, 8, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(made(x).value, np.maximum(x, 0.0))


def test_depths_that_do_not_exist_are_refused() -> None:
    for depth in (2, 18, 51):
        with pytest.raises(InputError, match=f"6 n \\+ 2 layers.*got depth={depth}"):
            models.CifarResNet(depth)


def test_a_batch_is_learned_by_heart_and_statistics_move() -> None:
    nn.manual_seed(0)
    net = models.CifarResNet(8, width=4)
    x, y = RNG.normal(size=(10, 3, 12, 12)).astype(np.float32), np.arange(10, dtype=np.int32)
    first, last = overfit(net, nn.CrossEntropyLoss(), x, y, 40)
    assert first > 1.8 and last < 0.2
    assert int(net.layer3[0].bn1.num_batches_tracked.value) == 40
    assert bool((net.eval()(x).value.argmax(1) == y).mean() > 0.5)


def test_own_nets_are_made_of_blocks() -> None:
    net = ResNet(Bottleneck, [1, 1, 1, 1], classes=3, channels=1)
    assert net.eval()(np.zeros((1, 1, 32, 32), np.float32)).shape == (1, 3)
    assert net.fc.weight.shape == (3, 2048)
