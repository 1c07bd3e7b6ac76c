"""Convolution, pooling and linear algebra: arguments that make no sense, ways of computing, and what is recorded."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import sample
from checks import floats, same

from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.operators import conv_kernels

X, W = floats(1, 2, 5, 5), floats(3, 2, 3, 3)


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: op.conv2d(X[0, 0], W), ShapeError, "conv2d.*must have 4 axes .* or 3 without the batch"),
    (lambda: op.conv2d(X, W[0]), ShapeError, "the weight must have 4 axes"),
    (lambda: op.conv2d(X, floats(3, 3, 3, 3)), ShapeError, "input of 2 channels in 1 groups needs weights"),
    (lambda: op.conv2d(X, floats(3, 1, 3, 3), groups=2), ShapeError, "out divisible by 2"),
    (lambda: op.conv2d(X, floats(3, 2, 6, 3)), ShapeError, "axis 0 the kernel covers 6 elements, but .* has 5"),
    (lambda: op.conv2d(X, W, np.ones(2, np.float32)), ShapeError, r"needs a bias of shape \(3,\)"),
    (lambda: op.conv2d(X, W, stride=0), InputError, "conv2d: stride must be an int >= 1"),
    (lambda: op.conv2d(X, W, stride=(1, 2, 3)), InputError, "or 2 of them"),
    (lambda: op.conv2d(X, W, padding=-1), InputError, "padding must be an int >= 0"),
    (lambda: op.conv2d(X, W, padding="full"), InputError, "'same', 'valid', an int.*'full'"),
    (lambda: op.conv2d(X, W, padding=((1, 1),)), InputError, "padding needs 2 pairs"),
    (lambda: op.conv_transpose2d(X, W), ShapeError, r"input of 2 channels .* with in = 2"),
    (lambda: op.conv_transpose2d(X, floats(2, 1, 1, 1), output_padding=1), InputError, "smaller than the stride"),
    (lambda: op.conv_transpose2d(X[:, :, :1], floats(2, 1, 1, 1), padding=1), ShapeError, "output would have the"),
    (lambda: op.max_pool2d(X, 6), ShapeError, "max_pool2d.*window covers 6 elements"),
    (lambda: op.max_pool2d(X, 2, padding=2), InputError, "more than half of what the window covers"),
    (lambda: op.max_pool2d(X[:, :, :1], 2, padding=(2, 0), dilation=(3, 1)), ShapeError, "beside all elements"),
    (lambda: op.avg_pool2d(X, 2, divisor_override=0), InputError, "must not be zero"),
    (lambda: op.avg_pool2d(X, 2.0), InputError, "kernel_size must be an int"),
    (lambda: op.adaptive_avg_pool2d(X, (2, 2, 2)), InputError, "output_size must be an int"),
    (lambda: op.adaptive_max_pool2d(X[:, :, :0], 2), ShapeError, "no elements to pool"),
    (lambda: op.global_avg_pool(X[0, 0]), ShapeError, "must have axes"),
    (lambda: op.max_unpool2d(X, np.zeros((1, 2, 5, 4), int), 2), ShapeError, "indices must have the input's shape"),
    (lambda: op.matmul(W[0, 0], X[0, 0]), ShapeError, r"operator matmul\(a: float32\[3,3\], b: float32\[5,5\]\)"),
    (lambda: op.inv(floats(2, 3)), ShapeError, "operator inv"),
    (lambda: op.solve(floats(2, 3), floats(2)), ShapeError, r"needs square matrices, but a has shape \(2, 3\)"),
    (lambda: op.solve(floats(2, 2), floats(3)), ShapeError, "a right-hand side of as many"),
    (lambda: op.einsum("ij,jk->ik", floats(2, 2)), InputError, "describes 2 operands, but got 1"),
    (lambda: op.einsum("i1->i", floats(2, 2)), InputError, "cannot read 'i1->i'"),
    (lambda: op.einsum(3, floats(2)), InputError, "needs its subscripts first"),  # pyright: ignore[reportArgumentType]
    (lambda: op.einsum("i->i", floats(2, 2)), ShapeError, "one letter for each axis"),
    (lambda: op.einsum("i->j", floats(2)), InputError, "'j' in the output"),
    (lambda: op.einsum("ii->i", floats(2, 3)), ShapeError, "axes of different length"),
])
def test_errors(call: Any, kind: type[Exception], message: str):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("channels", [(2, 3, 1), (4, 4, 2), (3, 6, 3)], ids=["plain", "groups", "depthwise"])
def test_ways_of_computing_agree(channels: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch):
    """What is chosen on the CPU, and lax.conv for everything, as on other platforms."""
    inner, outer, groups = channels
    x, w = sample(2, 5, 6, inner), sample(3, 2, inner // groups, outer)
    how = ((2, 1), ((1, 1), (0, 2)), (1, 2), groups)

    def all_three() -> list[jax.Array]:
        y = conv_kernels.correlate(jnp.asarray(x), jnp.asarray(w), *how)
        back = conv_kernels.spread(y, jnp.asarray(w), (5, 6), *how)
        return [y, back, conv_kernels.kernel_gradient(jnp.asarray(x), y, (3, 2), *how)]

    with jax.enable_x64(True):
        chosen = all_three()
        monkeypatch.setattr(conv_kernels, "on_cpu", lambda: False)
        for a, b in zip(chosen, all_three(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("batch", "parts"), [(12, 2), (35, 5), (13, None), (6, None)])
def test_weight_gradients_are_summed_over_parts_of_the_batch(batch: int, parts: int | None,
                                                             monkeypatch: pytest.MonkeyPatch):
    """Of at least four examples each, and of as many as fit the limit; lax.conv's own derivative is the judge."""
    x, g = sample(batch, 6, 5, 40), sample(batch, 3, 5, 34)
    monkeypatch.setattr(conv_kernels, "_PART", 8 * 6 * 5 * 40)

    def weight_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
        return conv_kernels.kernel_gradient(x, g, (3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), 1)

    with jax.enable_x64(True):
        _, vjp = jax.vjp(lambda w: jax.lax.conv_general_dilated(
            jnp.asarray(x), w, (2, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")),
            jnp.zeros((3, 3, 40, 34)))
        np.testing.assert_allclose(weight_gradient(jnp.asarray(x), jnp.asarray(g)), vjp(jnp.asarray(g))[0], rtol=1e-12,
                                   atol=1e-12)
        loops = [e.params["length"] for e in jax.make_jaxpr(weight_gradient)(x, g).eqns if e.primitive.name == "scan"]
    assert loops == ([parts] if parts else [])


def test_a_convolution_is_one_node():
    y = op.conv2d(X, W, padding=1)
    assert y.name == "conv" and [child.shape for child in y.children] == [X.shape, W.shape]
    assert y.attrs == {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


@pytest.mark.parametrize(("shape", "kernel"), [((1, 2, 2, 3, 2), (2, 2, 2, 2, 3)), ((1, 2, 3, 2), (2, 4, 2, 3))])
def test_small_transposed_convolutions(shape: tuple[int, ...], kernel: tuple[int, ...]):
    """On these XLA aborts the process, unless they are padded."""
    function = getattr(op, f"conv_transpose{len(shape) - 2}d")
    y = function(np.ones(shape, np.float32), np.ones(kernel, np.float32), stride=2, padding=1)
    assert np.isfinite(np.asarray(y.value)).all()


def test_padded_elements_are_never_the_largest():
    x = -np.ones((1, 1, 3, 3), np.float32)
    same(op.max_pool2d(x, 3, stride=2, padding=1).value, -np.ones((1, 1, 2, 2), np.float32))
    whole = np.full((1, 1, 4), -7, np.int32)
    same(op.max_pool1d(whole, 2, padding=1, ceil_mode=True).value, np.full((1, 1, 3), -7, np.int32))


def test_not_a_number_is_the_largest():
    x = np.array([[[1.0, np.nan, 3.0, 4.0]]], np.float32)
    y, indices = op.max_pool1d(x, 2, return_indices=True)
    np.testing.assert_array_equal(np.asarray(y.value), [[[np.nan, 4.0]]])
    assert indices.value.tolist() == [[[1, 3]]]


def test_an_index_outside_of_the_plane_is_dropped():
    y = op.max_unpool1d([[[1.0, 2.0]]], np.array([[[0, 9]]]), 2)
    assert y.value.tolist() == [[[1.0, 0.0, 0.0, 0.0]]]
