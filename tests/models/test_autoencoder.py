"""Autoencoders; the loss of the variational one against torch's formulas and a numerical integral."""

from __future__ import annotations

import numpy as np
import pytest
from overfit import overfit

import zkynet
from zkynet import models, nn
from zkynet.framework import op
from zkynet.framework.errors import ShapeError

RNG = np.random.default_rng(0)
X = (RNG.random((12, 1, 6, 6)) > 0.5).astype(np.float32)


def test_autoencoder_gives_the_shape_back_through_a_narrow_code() -> None:
    net = models.Autoencoder((1, 6, 6), latent=3, hidden=[16, 8])
    assert net(X).shape == (12, 1, 6, 6)
    assert net.encode(X).shape == (12, 3)
    assert [tuple(v.shape) for n, v in net.state_dict().items() if n.endswith("weight")] == [
        (16, 36), (8, 16), (3, 8), (8, 3), (16, 8), (36, 16)]
    np.testing.assert_allclose(net.decode(net.encode(X).value).value, net(X).value, atol=1e-6)
    assert models.Autoencoder(36, latent=3, hidden=[])(X.reshape(12, 36)).shape == (12, 36)


def test_autoencoder_refuses_other_shapes() -> None:
    with pytest.raises(ShapeError, match=r"inputs of the shape \(batch, 1, 6, 6\), but got \(12, 36\)"):
        models.Autoencoder((1, 6, 6))(X.reshape(12, 36))


def test_a_batch_is_learned_by_heart() -> None:
    nn.manual_seed(0)
    first, last = overfit(models.Autoencoder((1, 6, 6), 8, [64]), nn.BCEWithLogitsLoss(), X, X, 150)
    assert first == pytest.approx(np.log(2), abs=0.05) and last < 0.02
    nn.manual_seed(0)
    first, last = overfit(models.VAE((1, 6, 6), 8, [64]), models.VAELoss(beta=0.1), X, X, 200)
    assert first == pytest.approx(36 * np.log(2), rel=0.1) and last < 0.5 * first


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_loss_is_torchs(beta: float, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    output, mean, log_variance = (RNG.normal(size=s).astype(np.float32) for s in ((12, 1, 6, 6), (12, 3), (12, 3)))
    got = models.VAELoss(beta, reduction)((output, mean, log_variance), X).value
    missed = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(output), torch.tensor(X), reduction="none").sum((1, 2, 3))
    ours = torch.distributions.Normal(torch.tensor(mean), torch.tensor(np.exp(log_variance / 2)))
    distance = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(1)
    each = missed + beta * distance
    expected = each if reduction == "none" else getattr(each, reduction)()
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5)


def test_codes_are_drawn_around_the_mean_in_training_and_are_the_mean_in_evaluation() -> None:
    nn.manual_seed(0)
    net = models.VAE(2, latent=1, hidden=[])
    net.load_state_dict({"encoder.0.weight": np.zeros((2, 2)), "encoder.0.bias": [3.0, np.log(0.25)],
                         "decoder.0.weight": [[1.0], [0.0]], "decoder.0.bias": np.zeros(2)}, strict=False)
    x = np.zeros((4000, 2), np.float32)
    codes = np.asarray(net(x)[0].value)[:, 0]
    assert codes.mean() == pytest.approx(3.0, abs=0.05) and codes.std() == pytest.approx(0.5, abs=0.03)
    assert (np.asarray(net(x)[0].value)[:, 0] != codes).any()
    assert (np.asarray(net.eval()(x)[0].value)[:, 0] == 3.0).all()


def test_the_gradient_goes_through_what_was_drawn() -> None:
    """z = mean + exp(l / 2) e: with the decoder the identity, dz/dmean = 1 and dz/dl = (z - mean) / 2."""
    net = models.VAE(1, latent=1, hidden=[])
    net.load_state_dict({"encoder.0.weight": np.zeros((2, 1)), "encoder.0.bias": [0.5, 0.2],
                         "decoder.0.weight": [[1.0]], "decoder.0.bias": [0.0]}, strict=False)
    bias = net.encoder[0].bias
    value, (slope,) = zkynet.value_and_grad(lambda x: op.sum(net(x)[0]), wrt=[bias])(np.zeros((1, 1), np.float32))
    np.testing.assert_allclose(slope, [1.0, (float(value) - 0.5) / 2], rtol=1e-5)


def test_new_examples_are_probabilities_and_other_ones_every_time() -> None:
    net = models.VAE((1, 6, 6), 2, [8])
    a, b = (np.asarray(net.generate(5).value) for _ in range(2))
    assert a.shape == (5, 1, 6, 6) and (a > 0).all() and (a < 1).all() and (a != b).any()
