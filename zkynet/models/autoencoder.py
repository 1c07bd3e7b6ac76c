"""Autoencoders: inputs through a narrow code and back, plain and variational."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import nn
from ..framework import cg, op
from ..framework.errors import ShapeError
from ..framework.random_stream import RandomStream
from ..nn.given import Activation
from ..nn.reduction import reduced
from .mlp import MLP


class _Coder(cg.Module):
    """A net to a code and one back, for inputs of any shape, which are flattened inside."""

    def __init__(self, shape: int | Sequence[int], code: int, latent: int, hidden: Sequence[int],
                 activation: Activation):
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.latent = latent
        features = math.prod(self.shape)
        self.encoder = MLP([features, *hidden, code], activation)
        self.decoder = MLP([latent, *reversed(hidden), features], activation)

    def _flat(self, input: Any) -> Any:
        shape = tuple(input.shape)
        if shape[1:] != self.shape:
            raise ShapeError(f"{self.functional_name} was made for inputs of the shape (batch, "
                             f"{', '.join(map(str, self.shape))}), but got {shape}.")
        return op.reshape(input, shape=(shape[0], -1))

    def decode(self, code: Any) -> Any:
        """The output for codes (batch, latent): logits of the inputs' shape."""
        output = self.decoder(code)
        return op.reshape(output.root, shape=(*output.shape[:-1], *self.shape))


class Autoencoder(_Coder):
    """y = decoder(encoder(x)), with a code of few numbers between.

    Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006, trained as a whole.

    Args:
        shape: of one input, such as (1, 28, 28), or its length.
        latent: numbers of the code.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        activation: between layers (see `MLP`); the code and the output have none.

    Input and output (batch, *shape). The output are logits: `nn.BCEWithLogitsLoss` compares them with inputs in [0, 1],
    `op.sigmoid` makes pictures of them. `encode` and `decode` are the two halves. Parameters: encoder.0 ..., decoder.0
    ...

    Raises:
        ShapeError: when the input does not fit.

    >>> from zkynet import models, nn
    >>> import numpy as np
    >>> nn.manual_seed(0)
    >>> net, x = models.Autoencoder((1, 8, 8), latent=4, hidden=[32]), np.ones((5, 1, 8, 8), np.float32)
    >>> net(x).shape, net.encode(x).shape
    ((5, 1, 8, 8), (5, 4))
    """

    def __init__(self, shape: int | Sequence[int] = (1, 28, 28), latent: int = 32, hidden: Sequence[int] = (256, 128),
                 activation: Activation = "relu"):
        super().__init__(shape, latent, latent, hidden, activation)

    def encode(self, input: Any) -> Any:
        """The codes (batch, latent) of inputs."""
        return self.encoder(self._flat(input))

    def call(self, input: Any) -> Any:
        return self.decode(self.encode(input))


class VAE(_Coder):
    """A variational autoencoder: a normal distribution over codes for each input, and what a drawn code decodes to.

        mean, log_variance = encoder(x),    z = mean + exp(log_variance / 2) e,   e ~ normal(0, 1),    y = decoder(z)

    Kingma and Welling, "Auto-encoding variational Bayes", 2014. In evaluation mode z is the mean.

    Args: as for `Autoencoder`.

    Returns:
        (y, mean, log_variance), of the shapes (batch, *shape), (batch, latent), (batch, latent): what `VAELoss` takes
        as its first argument. y are logits. `generate` draws new examples.

    >>> from zkynet import models, nn
    >>> import numpy as np
    >>> nn.manual_seed(0)
    >>> net, x = models.VAE((1, 8, 8), latent=2, hidden=[32]), np.ones((5, 1, 8, 8), np.float32)
    >>> output, mean, log_variance = net(x)
    >>> output.shape, mean.shape
    ((5, 1, 8, 8), (5, 2))
    >>> loss = models.VAELoss()((output, mean, log_variance), x)
    >>> loss.shape, net.generate(3).shape
    ((), (3, 1, 8, 8))
    """

    def __init__(self, shape: int | Sequence[int] = (1, 28, 28), latent: int = 16, hidden: Sequence[int] = (256, 128),
                 activation: Activation = "relu"):
        super().__init__(shape, 2 * latent, latent, hidden, activation)
        self.stream = RandomStream("stream", nn.init.fresh_seed())

    def call(self, input: Any) -> Any:
        mean, log_variance = op.split(self.encoder(self._flat(input)), 2, axis=-1)
        code = mean
        if self.training:
            noise = op.normal(self.stream.draw(), mean.shape, dtype=mean.dtype)
            code = mean + op.exp(log_variance * 0.5) * noise
        return self.decode(code), mean, log_variance

    def generate(self, count: int) -> Any:
        """Probabilities (count, *shape) of new examples, of codes that are drawn from normal(0, 1)."""
        return op.sigmoid(self.decode(op.normal(self.stream.draw(), (count, self.latent))))


class VAELoss(nn.loss_modules.Loss):
    """The negative evidence lower bound of each example: what the output misses, and how far codes are from normal:

        sum_i bce(y_i, x_i) + beta / 2 sum_j (exp(l_j) + mean_j^2 - 1 - l_j),    l = log_variance

    Kingma and Welling, 2014, equation 10 with Bernoulli outputs; beta other than 1 is Higgins et al., "beta-VAE", 2017.

    Args:
        beta: weight of the second part.
        reduction: "mean" (the default) and "sum" over the examples, or "none".

    Called with a VAE's output (y, mean, log_variance), y logits, and the inputs x in [0, 1] of y's shape.

    >>> from zkynet import models
    >>> import numpy as np
    >>> zeros = np.zeros((1, 2), np.float32)
    >>> round(float(models.VAELoss()((zeros, zeros, zeros), zeros).value), 4)  # 2 ln 2, and no distance
    1.3863
    """

    def __init__(self, beta: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.beta = beta

    def call(self, input: Any, target: Any) -> Any:
        output, mean, log_variance = input
        missed = nn.losses.binary_cross_entropy_with_logits(output, target, reduction="none")
        missed = op.sum(op.reshape(missed, shape=(missed.shape[0], -1)), axis=1)
        distance = op.sum(op.exp(log_variance) + op.square(mean) - 1.0 - log_variance, axis=1)
        each = missed + distance * (0.5 * self.beta)
        return reduced(each, self.reduction)
