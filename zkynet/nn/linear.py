"""Affine maps."""

from __future__ import annotations

from typing import Any

from ..framework import cg, op
from .init import Initialiser
from .layer import Layer


class Linear(Layer):
    """y = x weight^T + bias, on the last axis (torch.nn.Linear).

    Args:
        in_features: size of the input's last axis; None takes it from the first input.
        out_features: size of the output's last axis.
        bias: whether there is one.
        weight_init, bias_init: initialisers (see `nn.init`); PyTorch's by default, uniform in +-1/sqrt(in_features).

    Parameters: weight (out_features, in_features), bias (out_features,).

    Raises:
        InputError: when a size is no int, or below 0.
        ShapeError: when the input's last axis is not in_features.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Linear(3, 2)(np.ones((5, 3), np.float32)).shape
    (5, 2)
    """

    weight: cg.Parameter
    bias: cg.Parameter | None = None

    def __init__(self, in_features: int | None, out_features: int, bias: bool = True, *,
                 weight_init: Initialiser | None = None, bias_init: Initialiser | None = None):
        super().__init__()
        self.check_sizes(out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self._has_bias, self._weight_init, self._bias_init = bias, weight_init, bias_init
        if in_features is None:
            self.deferred = True
        else:
            self._make(in_features)

    def _make(self, in_features: int) -> None:
        self.check_sizes(in_features=in_features)
        self.in_features = in_features
        self.make("weight", (self.out_features, in_features), self._weight_init, in_features)
        if self._has_bias:
            self.make("bias", (self.out_features,), self._bias_init, in_features)
        self.deferred = False

    def call(self, input: Any) -> Any:
        if self.deferred:
            self._make(self.last_size(input))
        if input.shape[-1:] != (self.in_features,):
            self.check_last(input, self.in_features, "in_features")
        return op.linear(input, self.weight, self.bias)

    def extra(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self._has_bias else ", bias=False")
