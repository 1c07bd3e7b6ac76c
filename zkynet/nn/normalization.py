"""Normalisation: batch, layer, group, instance and root-mean-square.

Statistics and running averages are computed in float32 also where the net computes in half precision.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..framework import cg, op
from ..framework.errors import InputError, ShapeError
from ..framework.leaves import grounded
from ..framework.operators.arguments import is_int
from ..framework.session import current_session
from .layer import Layer


@functools.cache
def _least(dtype: np.dtype) -> float:
    """The distance from 1 to the next number."""
    return float(jnp.finfo(jnp.result_type(dtype, 1.0)).eps)


class _Affine(Layer):
    """A weight of ones and a bias of zeros, each of them optional."""

    eps: float | None
    weight: cg.Parameter | None = None
    bias: cg.Parameter | None = None
    _has_bias = True

    def _make_affine(self, shape: tuple[int, ...], weight: bool = True, bias: bool = True) -> None:
        if weight:
            self.make("weight", shape, "ones")
            if bias:
                self.make("bias", shape, "zeros")

    def _without_bias(self) -> str:
        return "" if self._has_bias else ", bias=False"

    def _normalized(self, input: Any, axis: int | tuple[int, ...], along: Any = None, center: bool = True) -> Any:
        """One node."""
        eps = _least(input.dtype) if self.eps is None else self.eps
        return op.normalize(input, self.weight, self.bias, axis=axis, eps=eps, center=center, along=along)


# Over the last axes -----------------------------------------------------------------------------------------


class _OverLast(_Affine):
    """Normalisation over the last axes, with a weight for each element of them."""

    normalized_shape: tuple[int, ...] | None
    _center = True
    _axis: int | tuple[int, ...] = -1

    def __init__(self, normalized_shape: int | Sequence[int] | None, weight: bool, bias: bool):
        super().__init__()
        self.elementwise_affine = weight
        self._parts = weight, bias
        self.normalized_shape = None
        if normalized_shape is None:
            self.deferred = True
        else:
            self._make(normalized_shape)

    def _make(self, shape: int | Sequence[int]) -> None:
        sizes = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else (shape,)
        if not sizes or not all(is_int(n) and n >= 1 for n in sizes):
            raise InputError(f"{self.functional_name} normalises over at least one axis, of at least one element: "
                             f"normalized_shape is the input's last size or sizes, but got {shape!r}.")
        self.normalized_shape = tuple([int(n) for n in sizes])
        count = len(sizes)
        self._axis = -1 if count == 1 else tuple(range(-count, 0))
        self._make_affine(self.normalized_shape, *self._parts)
        self.deferred = False

    def call(self, input: Any) -> Any:
        if self.deferred:
            self._make(self.last_size(input))
        shape = self.normalized_shape
        assert shape is not None
        if input.shape[-len(shape):] != shape:
            raise ShapeError(f"{self.functional_name} was made for normalized_shape={shape}, but its input has the "
                             f"shape {tuple(input.shape)}: its last axes must be {shape}.")
        return self._normalized(input, self._axis, center=self._center)

    def extra(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LayerNorm(_OverLast):
    """y = (x - mean x) / sqrt(var x + eps) weight + bias over the last axes (torch.nn.LayerNorm).

    Ba, Kiros and Hinton, "Layer normalization", 2016; the variance is the biased one.

    Args:
        normalized_shape: the size or sizes of the last axes; None takes that of the first input's last axis.
        eps: added to the variance.
        elementwise_affine: whether there are a weight (ones at first) and a bias (zeros).
        bias: whether there is a bias.

    Parameters: weight and bias, of shape normalized_shape.

    Raises:
        ShapeError: when the input's last axes are not normalized_shape.

    >>> from zkynet import nn
    >>> nn.LayerNorm(2, eps=0.0)([[1.0, 3.0], [10.0, 0.0]]).value.tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """

    def __init__(self, normalized_shape: int | Sequence[int] | None, eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True):
        self.eps = eps
        super().__init__(normalized_shape, elementwise_affine, bias)


class RMSNorm(_OverLast):
    """y = x / sqrt(mean x^2 + eps) weight over the last axes (torch.nn.RMSNorm).

    Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Args:
        normalized_shape: the size or sizes of the last axes; None takes that of the first input's last axis.
        eps: added to the mean square; None takes the distance from 1 to the next number of the input's dtype.
        elementwise_affine: whether there is a weight (ones at first).

    Parameters: weight, of shape normalized_shape.

    Raises:
        ShapeError: when the input's last axes are not normalized_shape.

    >>> from zkynet import nn
    >>> [round(float(y), 3) for y in nn.RMSNorm(2, eps=0.0)([1.0, 7.0]).value]
    [0.2, 1.4]
    """

    _center = False

    def __init__(self, normalized_shape: int | Sequence[int] | None, eps: float | None = None,
                 elementwise_affine: bool = True):
        self.eps = eps
        super().__init__(normalized_shape, elementwise_affine, False)

    def call(self, x: Any) -> Any:
        return super().call(x)


class GroupNorm(_Affine):
    """y = (x - mean x) / sqrt(var x + eps) weight + bias over groups of channels (torch.nn.GroupNorm).

    Mean and biased variance are those of each example's groups of num_channels / num_groups channels. Wu and He, "Group
    normalization", 2018.

    Args:
        num_groups: how many groups.
        num_channels: size of the input's second axis; None takes it from the first input.
        eps: added to the variance.
        affine: whether there are a weight (ones at first) and a bias (zeros).
        bias: whether there is a bias beside the weight.

    Parameters: weight and bias, of shape (num_channels,). Input and output: (batch, num_channels, ...).

    Raises:
        InputError: when num_channels is no multiple of num_groups.
        ShapeError: when the input has another number of channels.

    >>> from zkynet import nn
    >>> nn.GroupNorm(2, 4, eps=0.0)([[1.0, 3.0, 10.0, 0.0]]).value.tolist()
    [[-1.0, 1.0, 1.0, -1.0]]
    """

    def __init__(self, num_groups: int, num_channels: int | None, eps: float = 1e-5, affine: bool = True,
                 *, bias: bool = True):
        super().__init__()
        self.check_sizes(1, num_groups=num_groups)
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._has_bias = bias
        if num_channels is None:
            self.deferred = True
        else:
            self._make(num_channels)

    def _make(self, channels: int) -> None:
        self.check_sizes(num_channels=channels)
        if channels % self.num_groups:
            raise InputError(f"GroupNorm needs a number of channels that is a multiple of num_groups, but got "
                             f"{channels} channels and num_groups={self.num_groups}.")
        self.num_channels = channels
        self._make_affine((channels,), self.affine, self._has_bias)
        self.deferred = False

    def call(self, input: Any) -> Any:
        shape = input.shape
        if self.deferred and len(shape) > 1:
            self._make(shape[1])
        if len(shape) < 2 or shape[1] != self.num_channels:
            raise _wrong_channels(self, "num_channels", self.num_channels, shape, 1)
        groups = (shape[0], self.num_groups, shape[1] // self.num_groups, *shape[2:])
        y = self._normalized(op.reshape(input, shape=groups), tuple(range(2, len(groups))), (1, 2))
        return op.reshape(y, shape=shape)

    def extra(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}{self._without_bias()}"


def _wrong_channels(layer: Layer, name: str, size: int | None, shape: Sequence[int], axis: int) -> ShapeError:
    return ShapeError(f"{layer.functional_name} was made for {name}={size}, but its input has the shape "
                      f"{tuple(shape)}: axis {axis} must be {size}.")


# Channels, with running statistics --------------------------------------------------------------------------


class _BatchCount(cg.State):
    """The number of batches in running statistics."""

    __slots__ = ()
    optional = True  # PyTorch's weights from before it counted come without, and many others


class _Channels(_Affine):
    """Normalisation with one weight a channel and, if asked for, running statistics of each channel."""

    running_mean: cg.State | None = None
    running_var: cg.State | None = None
    num_batches_tracked: cg.State | None = None
    eps: float
    _counts = True  # batches

    def __init__(self, num_features: int | None, eps: float, momentum: float | None, affine: bool,
                 track_running_stats: bool, bias: bool):
        super().__init__()
        self._has_bias = bias
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        if num_features is not None:
            self._make(num_features)
        else:
            self.deferred = affine or track_running_stats

    def _make(self, features: int) -> None:
        self.check_sizes(num_features=features)
        self.num_features = features
        self._make_affine((features,), self.affine, self._has_bias)
        if self.track_running_stats:
            self.running_mean = cg.State("running_mean", np.zeros(features, np.float32))
            self.running_var = cg.State("running_var", np.ones(features, np.float32))
            self.num_batches_tracked = _BatchCount("num_batches_tracked", np.zeros((), np.int32))
        self.deferred = False

    def _check(self, shape: tuple[int, ...], ranks: tuple[int, ...], axis: int) -> None:
        """Raise unless the input has one of these numbers of axes, and the right number of channels."""
        if len(shape) not in ranks:
            raise ShapeError(f"{self.functional_name} takes inputs of {' or '.join(map(str, ranks))} axes, but got one "
                             f"of shape {tuple(shape)}.")
        if self.deferred:
            self._make(shape[axis])
        if self.num_features not in (None, shape[axis]):
            wrong = _wrong_channels(self, "num_features", self.num_features, shape, axis)
            if self.affine or self.track_running_stats:
                raise wrong
            warnings.warn(f"{wrong} It computes all the same, as nothing in it has that size.", stacklevel=4)

    def _by_statistics(self, input: Any, axis: int | tuple[int, ...]) -> Any:
        """Normalised by the input's own statistics over the axes, or by the running ones in evaluation."""
        mean, variance, count = self.running_mean, self.running_var, self.num_batches_tracked
        if mean is None or variance is None or count is None:
            self._check_several(input.shape, axis)
            return self._normalized(input, axis, 1)
        # The statistics themselves, not what the precision in force makes of them: small steps would be lost.
        session = current_session.get()
        average, spread = grounded(mean, session, self), grounded(variance, session, self)
        if not self.training:
            return op.standardize(input, average, spread, self.weight, self.bias, eps=self.eps)
        self._check_several(input.shape, axis)
        momentum = self.momentum if self._counts else self.momentum or 0.0
        mean.value, variance.value, counted = op.running_moments(average, spread, count, input, axis=axis,
                                                                 momentum=momentum)
        if self._counts:
            count.value = counted
        return self._normalized(input, axis, 1)

    def _check_several(self, shape: tuple[int, ...], axis: int | tuple[int, ...]) -> None:
        if math.prod([shape[a] for a in ((axis,) if isinstance(axis, int) else axis)]) == 1:
            raise ShapeError(f"{self.functional_name} needs more than one value to normalise by in training, but its "
                             f"input has the shape {tuple(shape)}: a larger one is needed, or .eval() with running "
                             "statistics.")

    def extra(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}{self._without_bias()}")


class _BatchNorm(_Channels):
    _ranks: tuple[int, ...]

    def __init__(self, num_features: int | None = None, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True, *, bias: bool = True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def call(self, input: Any) -> Any:
        count = len(input.shape)
        self._check(input.shape, self._ranks, 1)
        return self._by_statistics(input, 0 if count == 2 else (0, *range(2, count)))


class BatchNorm1d(_BatchNorm):
    """y = (x - mean x) / sqrt(var x + eps) weight + bias for each channel (torch.nn.BatchNorm1d).

    In training mode mean and biased variance are those of the batch, and the running ones are moved towards its mean
    and unbiased variance: running = (1 - momentum) running + momentum batch. In evaluation mode the running ones are
    used. Ioffe and Szegedy, "Batch normalization", 2015.

    Args:
        num_features: the number of channels, the input's second axis; None takes it from the first input.
        eps: added to the variance.
        momentum: of the running statistics; None makes them the average over all batches.
        affine: whether there are a weight (ones at first) and a bias (zeros).
        track_running_stats: without them the batch's own are used in evaluation, too.
        bias: whether there is a bias beside the weight.

    Parameters: weight and bias (num_features,). States: running_mean and running_var (num_features,),
    num_batches_tracked (). Input and output: (batch, num_features) or (batch, num_features, length).

    Raises:
        ShapeError: when the input has another number of axes or channels, or one value a channel in training.

    >>> from zkynet import nn
    >>> layer = nn.BatchNorm1d(1, eps=0.0)
    >>> layer([[1.0], [3.0]]).value.tolist()
    [[-1.0], [1.0]]
    >>> round(float(layer.running_mean.value[0]), 3), round(float(layer.running_var.value[0]), 3)
    (0.2, 1.1)
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for inputs (batch, num_features, height, width) (torch.nn.BatchNorm2d)."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for inputs (batch, num_features, depth, height, width) (torch.nn.BatchNorm3d)."""

    _ranks = (5,)


class _InstanceNorm(_Channels):
    _space: int
    _counts = False

    def __init__(self, num_features: int | None = None, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = False, track_running_stats: bool = False, *, bias: bool = True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def call(self, input: Any) -> Any:
        shape, single = input.shape, len(input.shape) == self._space + 1
        self._check(shape, (self._space + 1, self._space + 2), 0 if single else 1)
        if single:
            input = op.reshape(input, shape=(1, *shape))
        y = self._by_statistics(input, tuple(range(2, self._space + 2)))
        return op.reshape(y, shape=shape) if single else y


class InstanceNorm1d(_InstanceNorm):
    """y = (x - mean x) / sqrt(var x + eps) weight + bias for each channel of each example (torch.nn.InstanceNorm1d).

    Ulyanov, Vedaldi and Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.

    Args:
        num_features: the number of channels; None takes it from the first input.
        eps: added to the variance.
        momentum: of the running statistics, which are those of the examples averaged over the batch; None leaves
            them as they are. (Batches are not counted: num_batches_tracked stays 0, as in PyTorch.)
        affine: whether there are a weight (ones at first) and a bias (zeros).
        track_running_stats: whether running statistics are kept, and used in evaluation mode.
        bias: whether there is a bias beside the weight.

    Parameters and states: as `BatchNorm1d`. Input and output: (batch, num_features, length) or (num_features, length).

    Raises:
        ShapeError: when the input has another number of axes or channels, or one value to normalise by.

    >>> from zkynet import nn
    >>> nn.InstanceNorm1d(2, eps=0.0)([[[1.0, 3.0], [10.0, 0.0]]]).value.tolist()
    [[[-1.0, 1.0], [1.0, -1.0]]]
    """

    _space = 1


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for inputs (batch, num_features, height, width) (torch.nn.InstanceNorm2d)."""

    _space = 2


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for inputs (batch, num_features, depth, height, width) (torch.nn.InstanceNorm3d)."""

    _space = 3
