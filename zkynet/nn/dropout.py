"""Dropout of elements and of whole channels, and inside of layers. Nothing happens in evaluation mode or with p = 0."""

from __future__ import annotations

import math
from typing import Any

from ..framework import op
from ..framework.errors import ShapeError
from ..framework.random_stream import RandomStream
from .given import probability
from .init import fresh_seed
from .layer import Layer

# Klambauer et al., "Self-normalizing neural networks", 2017: what selu tends to, -scale alpha.
_SATURATED = -1.0507009873554805 * 1.6732632423543772


class Dropping(Layer):
    """A layer with dropout inside. Its probability, `dropout`, may be set at any time; the random stream is made when
    that is above 0 for the first time, so that a net without dropout draws no seeds."""

    stream: RandomStream

    @property
    def dropout(self) -> float:
        return self._dropout

    @dropout.setter
    def dropout(self, p: float) -> None:
        self._dropout = probability(p, self.functional_name, "dropout")
        if p and not hasattr(self, "stream"):
            self.stream = RandomStream("stream", fresh_seed())

    def dropped(self, x: Any) -> Any:
        """x after dropout, in training mode."""
        return op.dropout(x, self.stream.draw(), p=self.dropout) if self.dropout and self.training else x


class _Dropout(Layer):
    def __init__(self, p: float = 0.5, inplace: bool = False, *, seed: int | None = None):
        super().__init__()
        self.p, self.inplace = probability(p, self.functional_name), inplace
        self.stream = RandomStream("stream", fresh_seed() if seed is None else seed)

    def call(self, input: Any) -> Any:
        return self._dropped(input) if self.training and self.p else input

    def _dropped(self, input: Any) -> Any:
        raise NotImplementedError

    def extra(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """y = x / (1 - p) with probability 1 - p, else 0, for each element; y = x in evaluation mode (torch.nn.Dropout).

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014, in the inverted form.
    Every call draws anew; the gradient uses the mask of its call.

    Args:
        p: the probability of zero.
        inplace: taken for PyTorch's sake; arrays never change.
        seed: of the layer's random stream; drawn from the generator of `nn.manual_seed` by default.

    Raises:
        InputError: when p is no probability.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> layer = nn.Dropout(0.5, seed=0)
    >>> sorted(set(layer(np.ones(100, np.float32)).value.tolist()))
    [0.0, 2.0]
    >>> layer.eval()([1.0, 2.0]).value.tolist()
    [1.0, 2.0]
    """

    def _dropped(self, input: Any) -> Any:
        return op.dropout(input, self.stream.draw(), p=self.p)


class _ChannelDropout(_Dropout):
    """Of (batch, channels, ...), whole channels; `_single` is the number of axes of an input without a batch."""

    _ranks: tuple[int, ...]
    _single: int | None = None

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) not in self._ranks:
            raise ShapeError(f"{self.functional_name} takes inputs of {' or '.join(map(str, self._ranks))} axes, but "
                             f"got one of shape {tuple(shape)}.")
        kept = 1 if len(shape) == self._single else 2
        return (*shape[:kept], *(1,) * (len(shape) - kept))

    def _dropped(self, input: Any) -> Any:
        ones = op.ones(self._mask_shape(input.shape), dtype=input.dtype)
        return input * op.dropout(ones, self.stream.draw(), p=self.p)


class Dropout1d(_ChannelDropout):
    """Whole channels are zero with probability p, else divided by 1 - p (torch.nn.Dropout1d).

    Tompson et al., "Efficient object localization using convolutional networks", 2015.

    Args:
        p, inplace, seed: as for `Dropout`.

    Input and output: (batch, channels, length) or (channels, length).

    Raises:
        InputError: when p is no probability.
        ShapeError: when the input has another number of axes.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> y = nn.Dropout1d(0.5, seed=0)(np.ones((8, 4, 3), np.float32)).value
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    _ranks, _single = (2, 3), 2


class Dropout2d(_ChannelDropout):
    """`Dropout1d` for inputs (batch, channels, height, width); or (batch, channels, length), as in PyTorch
    (torch.nn.Dropout2d)."""

    _ranks = (3, 4)


class Dropout3d(_ChannelDropout):
    """`Dropout1d` for inputs (batch, channels, depth, height, width) or (channels, depth, height, width)
    (torch.nn.Dropout3d)."""

    _ranks, _single = (4, 5), 4


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1, to go with `SELU` (torch.nn.AlphaDropout).

    With probability p an element becomes a' = -1.7581, the value that selu tends to; then all are scaled and shifted:
    y = s (x or a') - s p a', s = 1 / sqrt((1 - p) (1 + p a'^2)). Klambauer et al., "Self-normalizing neural networks",
    2017.

    Args:
        p, inplace, seed: as for `Dropout`.

    Raises:
        InputError: when p is no probability.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> y = nn.AlphaDropout(0.5, seed=0)(np.zeros(100, np.float32)).value
    >>> sorted({round(float(value), 3) for value in y})
    [-0.779, 0.779]
    """

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def _dropped(self, input: Any) -> Any:
        if self.p == 1.0:
            return input * 0.0
        scale = 1.0 / math.sqrt((1.0 - self.p) * (1.0 + self.p * _SATURATED**2))
        shift = -scale * self.p * _SATURATED
        kept = op.bernoulli(self.stream.draw(), 1.0 - self.p, self._mask_shape(input.shape))
        return op.where(kept, input * scale + shift, scale * _SATURATED + shift)


class FeatureAlphaDropout(AlphaDropout):
    """`AlphaDropout` of whole channels of inputs (batch, channels, ...) (torch.nn.FeatureAlphaDropout).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> y = nn.FeatureAlphaDropout(0.5, seed=0)(np.zeros((8, 4, 3), np.float32)).value
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) < 2:
            raise ShapeError(f"FeatureAlphaDropout takes inputs (batch, channels, ...), but got one of shape {shape}.")
        return (*shape[:2], *(1,) * (len(shape) - 2))
