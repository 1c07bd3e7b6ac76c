"""The layers with parameters, and those with a mode or a shape of their own. Each is one module of zkynet.nn.

Weights are stored as torch.nn does, (out, in, ...), and initial values come in that layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError
from zkynet.framework.nodes import Node

from ..api.graph import GraphRecord
from .layer import Shape, Unit
from .values import flag, given_data, op_in

_WEIGHTS = {"initial_W": "weight", "initial_w0": "bias"}
_NORM = {"initial_gamma": "weight", "initial_beta": "bias", "initial_running_mean": "running_mean",
         "initial_running_var": "running_var"}


class Dense(Unit):
    """y = x W^T + w0, on the last axis (torch.nn.Linear).

    Args:
        n_units: size of the output's last axis.
        initial_W: weights at the start, (n_units, input_dim); torch's by default, uniform in +-1/sqrt(input_dim).
        initial_w0: bias at the start, (n_units,).
        use_bias: whether there is a bias; also as text.
        input_shape: shape of the input without the batch, for a first layer; otherwise the data says it.

    Input (batch, ..., input_dim), output (batch, ..., n_units).
    """

    _initial, _needs_shape = _WEIGHTS, True

    def __init__(self, n_units: int, initial_W: Any = None, initial_w0: Any = None, use_bias: Any = "True",
                 input_shape: Any = None):
        self.n_units, self.use_bias = n_units, flag(use_bias, "use_bias")
        self.initial_W, self.initial_w0 = initial_W, initial_w0
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.Linear(shape[-1], self.n_units, self.use_bias)


class Conv2D(Unit):
    """Convolution of (batch, in_channels, height, width) (torch.nn.Conv2d).

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups: as in torch.
        padding: an int, one for each axis, "same" or "valid".
        bias: whether there is one; also as text.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        initial_W: (out_channels, in_channels / groups, height, width). initial_w0: (out_channels,).
        input_shape: (in_channels, height, width).
    """

    _initial = _WEIGHTS

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1, bias: Any = True, padding_mode: str = "zeros",
                 initial_W: Any = None, initial_w0: Any = None, input_shape: Any = None):
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.bias, self.padding_mode = flag(bias, "bias"), padding_mode
        self.initial_W, self.initial_w0 = initial_W, initial_w0
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding,
                         self.dilation, self.groups, self.bias, self.padding_mode)


class Embedding(Unit):
    """y[..., :] = W[x[...], :] for integers x (torch.nn.Embedding).

    Floats are taken where they were given as data and are whole numbers, as old scripts give them.

    Args:
        vocab_size, embed_dim: shape of the table.
        initial_W: the table at the start, (vocab_size, embed_dim); normal(0, 1) by default.
    """

    _initial, _takes = {"initial_W": "weight"}, np.int32

    def __init__(self, vocab_size: int, embed_dim: int, initial_W: Any = None, input_shape: Any = None):
        self.vocab_size, self.embed_dim, self.initial_W = vocab_size, embed_dim, initial_W
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.Embedding(self.vocab_size, self.embed_dim)

    def _as_node(self, graph: GraphRecord, value: Any) -> Node:
        given = op_in(graph, value)
        if given.node.dtype.kind != "f":
            return given.node
        data = given_data(given)
        if data is None or not np.array_equal(data, np.trunc(data)):
            raise InputError("an Embedding takes integers, positions in its table, but got floats that are "
                             f"{'computed' if data is None else 'no whole numbers'}. Give it R.t(x.astype(int)).")
        return op.cast(given.node, dtype=np.dtype("int32"))


# Normalisation ----------------------------------------------------------------------------------------------


class BatchNormalization1D(Unit):
    """y = (x - mean) / sqrt(var + epsilon) gamma + beta for each channel (torch.nn.BatchNorm1d).

    In training, mean and biased variance are the batch's, and running = (1 - momentum) running + momentum batch, with
    the unbiased variance; otherwise the running ones are used.

    Args:
        momentum: the share of the newest batch in the running statistics (0.99 by default, as in RavDL v2).
        epsilon: added to the variance.
        affine: whether gamma and beta are learned; also as text.
        initial_gamma, initial_beta, initial_running_mean, initial_running_var: (channels,).

    Input and output (batch, channels) or (batch, channels, length).
    """

    _initial, _needs_shape = _NORM, True

    def __init__(self, momentum: float = 0.99, epsilon: float = 0.01, affine: Any = True, initial_gamma: Any = None,
                 initial_beta: Any = None, initial_running_mean: Any = None, initial_running_var: Any = None,
                 input_shape: Any = None):
        self.momentum, self.epsilon, self.affine = momentum, epsilon, flag(affine, "affine")
        self.initial_gamma, self.initial_beta = initial_gamma, initial_beta
        self.initial_running_mean, self.initial_running_var = initial_running_mean, initial_running_var
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.BatchNorm1d(shape[1], self.epsilon, self.momentum, self.affine)


class BatchNormalization2D(BatchNormalization1D):
    """`BatchNormalization1D` for inputs (batch, num_features, height, width) (torch.nn.BatchNorm2d)."""

    _needs_shape = False

    def __init__(self, num_features: int, momentum: float = 0.99, epsilon: float = 0.01, affine: Any = True,
                 initial_gamma: Any = None, initial_beta: Any = None, initial_running_mean: Any = None,
                 initial_running_var: Any = None, input_shape: Any = None):
        self.num_features = num_features
        super().__init__(momentum, epsilon, affine, initial_gamma, initial_beta, initial_running_mean,
                         initial_running_var, input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.BatchNorm2d(self.num_features, self.epsilon, self.momentum, self.affine)


class LayerNormalization(Unit):
    """y = (x - mean x) / sqrt(var x + epsilon) W + w0 over the last axes (torch.nn.LayerNorm).

    Args:
        normalized_shape: sizes of these axes, or one int; None takes the input's last axis.
        epsilon: added to the variance.
        initial_W, initial_w0: of shape normalized_shape.
    """

    _initial = _WEIGHTS

    def __init__(self, normalized_shape: Any = None, epsilon: float = 1e-5, initial_W: Any = None,
                 initial_w0: Any = None, input_shape: Any = None):
        self.normalized_shape, self.epsilon = normalized_shape, epsilon
        self.initial_W, self.initial_w0 = initial_W, initial_w0
        super().__init__(input_shape)

    @property
    def _needs_shape(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.normalized_shape is None

    def _make(self, shape: Shape) -> cg.Module:
        return nn.LayerNorm(shape[-1] if self.normalized_shape is None else self.normalized_shape, self.epsilon)


# Without parameters -----------------------------------------------------------------------------------------


class Dropout(Unit):
    """In training each element is zero with probability p, else divided by 1 - p (torch.nn.Dropout)."""

    def __init__(self, p: float = 0.5, input_shape: Any = None):
        self.p = p
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.Dropout(self.p)


_ACTIVATIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "relu": (nn.ReLU, {}), "sigmoid": (nn.Sigmoid, {}), "tanh": (nn.Tanh, {}), "softmax": (nn.Softmax, {"dim": -1}),
    "leaky_relu": (nn.LeakyReLU, {}), "elu": (nn.ELU, {}), "selu": (nn.SELU, {}), "softplus": (nn.Softplus, {}),
    "softsign": (nn.Softsign, {}), "tanhshrink": (nn.Tanhshrink, {}), "logsigmoid": (nn.LogSigmoid, {}),
    "hardshrink": (nn.Hardshrink, {}), "hardtanh": (nn.Hardtanh, {}), "softmin": (nn.Softmin, {"dim": -1}),
    "softshrink": (nn.Softshrink, {}), "threshold": (nn.Threshold, {"threshold": 0.0, "value": 0.0}),
    "celu": (nn.CELU, {}), "gelu": (nn.GELU, {}), "silu": (nn.SiLU, {}), "mish": (nn.Mish, {}), "relu6": (nn.ReLU6, {}),
    "hardsigmoid": (nn.Hardsigmoid, {}), "hardswish": (nn.Hardswish, {}), "log_softmax": (nn.LogSoftmax, {"dim": -1}),
    "linear": (nn.Identity, {}),
}


class Activation(Unit):
    """An activation by name, with torch's constants; softmax, softmin and log_softmax over the last axis.

    Args:
        name: relu sigmoid tanh softmax leaky_relu elu selu softplus softsign tanhshrink logsigmoid hardshrink hardtanh
            softmin softshrink threshold celu gelu silu mish relu6 hardsigmoid hardswish log_softmax linear.
        constants: others than torch's: negative_slope, alpha, threshold (0) and value (0), ...

    Raises:
        InputError: for another name.
    """

    def __init__(self, name: str = "relu", input_shape: Any = None, **constants: Any):
        if name not in _ACTIVATIONS:
            raise InputError(f"there is no activation {name!r}; there are: {', '.join(_ACTIVATIONS)}.")
        self.activation, self.constants = name, constants
        self._make(())  # refuses unknown constants here
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        kind, constants = _ACTIVATIONS[self.activation]
        return kind(**{**constants, **self.constants})


class Flatten(Unit):
    """Axes start_dim to end_dim become one (torch.nn.Flatten)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1, input_shape: Any = None):
        self.start_dim, self.end_dim = start_dim, end_dim
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.Flatten(self.start_dim, self.end_dim)


class MaxPooling2D(Unit):
    """The largest element of each window of (batch, channels, height, width) (torch.nn.MaxPool2d).

    Args:
        kernel_size, stride, padding, dilation, ceil_mode: as in torch.
        return_indices: give (y, indices), the places in the flattened plane.
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 return_indices: Any = False, ceil_mode: Any = False, input_shape: Any = None):
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.return_indices = flag(return_indices, "return_indices")
        self.ceil_mode = flag(ceil_mode, "ceil_mode")
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.MaxPool2d(self.kernel_size, self.stride, self.padding, self.dilation, self.return_indices,
                            self.ceil_mode)
