"""LeNet-5 for small pictures."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..framework.errors import InputError


class LeNet(nn.Sequential):
    """LeNet-5: two convolutions with pooling, then three linear layers.

    LeCun et al., "Gradient-based learning applied to document recognition", 1998, in today's form: ReLU and maximum
    pooling instead of tanh and averages, all maps connected, a linear output. The first convolution pads by 2, as the
    paper's pictures of 28 x 28 in frames of 32 x 32 do.

    Args:
        classes: outputs.
        channels: of the pictures.
        size: their height and width, at least 12.

    Input (batch, channels, size, size), output (batch, classes), logits. Parameters: conv1, conv2, fc1, fc2, fc3, each
    with weight and bias: 61,706 numbers with the defaults.

    Raises:
        InputError: when the pictures are too small for two convolutions and poolings.

    >>> from zkynet import models, nn
    >>> import numpy as np
    >>> nn.manual_seed(0)
    >>> models.LeNet()(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: int = 28):
        if size < 12:
            raise InputError(f"LeNet halves its pictures twice, with a convolution of 5 x 5 between: they need a size "
                             f"of at least 12, but got {size}.")
        side = (size // 2 - 4) // 2
        layers: dict[str, Any] = {
            "conv1": nn.Conv2d(channels, 6, 5, padding=2), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(6, 16, 5), "relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2), "flatten": nn.Flatten(),
            "fc1": nn.Linear(16 * side * side, 120), "relu3": nn.ReLU(),
            "fc2": nn.Linear(120, 84), "relu4": nn.ReLU(), "fc3": nn.Linear(84, classes),
        }
        super().__init__(layers)
