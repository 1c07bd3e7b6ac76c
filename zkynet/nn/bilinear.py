"""A bilinear form of two inputs."""

from __future__ import annotations

from typing import Any

from ..framework import cg, op
from ..framework.errors import ShapeError
from .init import Initialiser
from .recorded import RecordedLayer


class Bilinear(RecordedLayer):
    """y[..., o] = sum_{i, j} x1[..., i] weight[o, i, j] x2[..., j] + bias[o] (torch.nn.Bilinear).

    Args:
        in1_features, in2_features: sizes of the last axes of the inputs; None takes one from the first input.
        out_features: size of the output's last axis.
        bias: whether there is one.
        weight_init, bias_init: initialisers (see `nn.init`); PyTorch's by default, uniform in +-1/sqrt(in1_features).

    Parameters: weight (out_features, in1_features, in2_features), bias (out_features,).

    Raises:
        InputError: when a size is no int, or below 0.
        ShapeError: when the inputs' last axes are not these, or their other axes differ.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Bilinear(3, 2, 4)(np.ones((5, 3), np.float32), np.ones((5, 2), np.float32)).shape
    (5, 4)
    """

    weight: cg.Parameter
    bias: cg.Parameter | None = None

    def __init__(self, in1_features: int | None, in2_features: int | None, out_features: int, bias: bool = True, *,
                 weight_init: Initialiser | None = None, bias_init: Initialiser | None = None):
        super().__init__()
        self.check_sizes(out_features=out_features)
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self._has_bias, self._weight_init, self._bias_init = bias, weight_init, bias_init
        if in1_features is None or in2_features is None:
            self.deferred = True
        else:
            self._make(in1_features, in2_features)

    def _make(self, in1_features: int, in2_features: int) -> None:
        self.check_sizes(in1_features=in1_features, in2_features=in2_features)
        self.in1_features, self.in2_features = in1_features, in2_features
        self.make("weight", (self.out_features, in1_features, in2_features), self._weight_init, in1_features)
        if self._has_bias:
            self.make("bias", (self.out_features,), self._bias_init, in1_features)
        self.deferred = False

    def call(self, input1: Any, input2: Any) -> Any:
        if not (hasattr(input1, "aval") and hasattr(input2, "aval")):
            raise self.no_array([input1, input2])
        if self.deferred:
            self._check(input1, input2)
            self._make(input1.shape[-1], input2.shape[-1])
        weights = (self.weight,) if self.bias is None else (self.weight, self.bias)
        return self.replay(self._form, input1, input2, *weights, how=input2.aval)

    def _form(self, input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
        self._check(input1, input2)
        y = op.einsum("...i,oij,...j->...o", input1, weight, input2)
        return y if bias is None else op.add(y, bias)

    def _check(self, input1: Any, input2: Any) -> None:
        for input, size, name in ((input1, self.in1_features, "in1_features"),
                                  (input2, self.in2_features, "in2_features")):
            self.check_last(input, size or (input.shape or (0,))[-1], name)
        if input1.shape[:-1] != input2.shape[:-1]:
            raise ShapeError(f"{self.functional_name}: all axes but the last must be equal, but the inputs have the "
                             f"shapes {input1.shape} and {input2.shape}.")

    def extra(self) -> str:
        return (f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
                f"out_features={self.out_features}, bias={self._has_bias}")
