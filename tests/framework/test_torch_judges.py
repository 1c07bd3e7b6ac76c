"""Convolution and pooling against PyTorch, for what JAX has no reference for: values and gradients in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import sample

from zkynet.framework import config, transforms
from zkynet.framework.operators import conv, pool

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def judge(ours: Callable[..., Any], theirs: Callable[..., Any], *inputs: np.ndarray) -> None:
    """Equal outputs and equal cotangents of all inputs."""
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = theirs(*tensors)
    cotangent = sample(*expected.shape, seed=9)
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(cotangent))
    with config.precision("float64"):
        pulled = transforms.vjp(ours, tuple(range(len(inputs))))
        value, found = pulled(*inputs, cotangent=cotangent)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    for gradient, reference in zip(found, gradients, strict=True):
        np.testing.assert_allclose(gradient, reference.numpy(), rtol=1e-12, atol=1e-12)


def judged(name: str, module: Any, *inputs: np.ndarray, **how: Any) -> None:
    judge(lambda *args: getattr(module, name)(*args, **how), lambda *args: getattr(functional, name)(*args, **how),
          *inputs)


MAX = [
    ((1, 2, 7), 1, {"kernel_size": 3, "ceil_mode": True}),
    ((2, 5, 6), 2, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((1, 1, 4, 5), 2, {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True}),
    ((1, 1, 3, 3), 2, {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),
    ((1, 2, 9, 8), 2, {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (2, 3)}),
    ((1, 1, 7, 7), 2, {"kernel_size": 2, "dilation": 2, "padding": 1, "ceil_mode": True}),
    ((1, 1, 4, 5, 3), 3, {"kernel_size": 2, "stride": (1, 2, 1), "padding": (1, 0, 1), "ceil_mode": True}),
    ((1, 1, 80), 1, {"kernel_size": 40, "stride": 23, "padding": 20, "ceil_mode": True}),
]


@pytest.mark.parametrize(("shape", "space", "how"), MAX, ids=str)
def test_max_pool_with_indices(shape: tuple[int, ...], space: int, how: dict[str, Any]) -> None:
    name = f"max_pool{space}d"
    # Few different values, so that ties are judged too.
    x = np.round(3.0 * sample(*shape)) if len(shape) == 4 else sample(*shape)
    judged(name, pool, x, **how)
    with config.precision("float64"):
        _, indices = getattr(pool, name)(x, **how, return_indices=True)
        found = np.asarray(indices.value)
    _, reference = getattr(functional, name)(torch.tensor(x), **how, return_indices=True)
    np.testing.assert_array_equal(found, reference.numpy())


@pytest.mark.parametrize(("shape", "space", "how"), [
    ((1, 2, 7), 1, {"kernel_size": 3, "padding": 1, "ceil_mode": True}),
    ((2, 5, 6), 2, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": True}),
    ((2, 5, 6), 2, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ((1, 1, 4, 6), 2, {"kernel_size": (3, 4), "stride": (2, 3), "padding": (1, 2), "ceil_mode": True,
                       "divisor_override": 5}),
    ((1, 1, 3, 3), 2, {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),
    ((1, 1, 4, 5, 3), 3, {"kernel_size": (2, 3, 2), "stride": 2, "padding": 1, "count_include_pad": False,
                          "ceil_mode": True}),
    ((1, 1, 50), 1, {"kernel_size": 20, "stride": 7, "padding": 9, "ceil_mode": True, "count_include_pad": False}),
], ids=str)
def test_avg_pool(shape: tuple[int, ...], space: int, how: dict[str, Any]) -> None:
    judged(f"avg_pool{space}d", pool, sample(*shape), **how)


@pytest.mark.parametrize(("shape", "size"), [
    ((1, 2, 7), 3), ((1, 1, 4, 7), (5, 3)), ((1, 1, 6, 4), (None, 2)), ((1, 2, 3, 4), 1), ((1, 1, 3, 4, 5), (2, 3, 7)),
], ids=str)
def test_adaptive_pool(shape: tuple[int, ...], size: Any) -> None:
    space = len(shape) - 2
    judged(f"adaptive_avg_pool{space}d", pool, sample(*shape), output_size=size)
    name = f"adaptive_max_pool{space}d"
    judged(name, pool, sample(*shape), output_size=size)
    x = np.round(2.0 * sample(*shape))
    with config.precision("float64"):
        found = np.asarray(getattr(pool, name)(x, size, return_indices=True)[1].value)
    _, reference = getattr(functional, name)(torch.tensor(x), size, return_indices=True)
    np.testing.assert_array_equal(found, reference.numpy())


@pytest.mark.parametrize(("shape", "how"), [
    ((1, 2, 7), {"norm_type": 2, "kernel_size": 3, "ceil_mode": True}),
    ((1, 1, 5, 4), {"norm_type": 1.5, "kernel_size": (2, 3), "stride": 2, "ceil_mode": True}),
], ids=str)
def test_lp_pool(shape: tuple[int, ...], how: dict[str, Any]) -> None:
    judged(f"lp_pool{len(shape) - 2}d", pool, sample(*shape, low=0.1), **how)


@pytest.mark.parametrize(("shape", "output_size"), [((1, 2, 6, 8), None), ((1, 2, 7, 9), (7, 9))], ids=str)
def test_max_unpool(shape: tuple[int, ...], output_size: Any) -> None:
    x = sample(*shape)
    _, places = functional.max_pool2d(torch.tensor(x), 2, return_indices=True)
    judge(lambda y: pool.max_unpool2d(y, places.numpy(), 2, output_size=output_size),
          lambda y: functional.max_unpool2d(y, places, 2, output_size=output_size), sample(1, 2, 3, 4, seed=1))


@pytest.mark.parametrize(("x", "weight", "how"), [
    ((1, 2, 9), (3, 2, 3), {"stride": 2, "padding": 2, "dilation": 2}),
    ((2, 4, 6, 5), (6, 2, 3, 2), {"groups": 2, "stride": (2, 1), "padding": (1, 2)}),
    ((1, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "padding": "same", "dilation": (1, 2)}),
    ((1, 1, 4, 5), (2, 1, 2, 4), {"padding": "valid"}),
    ((1, 2, 3, 4, 5), (2, 1, 2, 2, 2), {"groups": 2, "stride": (1, 2, 2), "padding": (0, 1, 0)}),
], ids=str)
# PyTorch warns that "same" with an even kernel pads one side of a copy.
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_conv(x: tuple[int, ...], weight: tuple[int, ...], how: dict[str, Any]) -> None:
    judged(f"conv{len(x) - 2}d", conv, sample(*x), sample(*weight, seed=1), sample(weight[0], seed=2), **how)


@pytest.mark.parametrize(("x", "weight", "how"), [
    ((1, 2, 4), (2, 3, 3), {"stride": 3, "output_padding": 2, "padding": 1}),
    ((2, 4, 3, 4), (4, 3, 3, 2), {"groups": 2, "stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0)}),
    ((1, 3, 3, 3), (3, 2, 3, 3), {"groups": 3, "stride": 2, "padding": 1, "output_padding": 1, "dilation": 2}),
    ((1, 3, 4, 3), (3, 1, 2, 3), {"groups": 3, "stride": 3, "dilation": (2, 1)}),
    ((1, 10, 3, 3), (10, 2, 2, 2), {"dilation": 3, "output_padding": (2, 1), "padding": 2}),
    ((1, 2, 2, 3, 2), (2, 2, 2, 2, 3), {"stride": 2, "padding": (0, 1, 1), "output_padding": (1, 0, 1)}),
], ids=str)
def test_conv_transpose(x: tuple[int, ...], weight: tuple[int, ...], how: dict[str, Any]) -> None:
    out = weight[1] * how.get("groups", 1)
    judged(f"conv_transpose{len(x) - 2}d", conv, sample(*x), sample(*weight, seed=1), sample(out, seed=2), **how)
