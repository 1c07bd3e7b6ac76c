"""Residual nets: those for CIFAR's small pictures, and those for ImageNet with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..framework import cg, op
from ..framework.errors import InputError

# He et al., "Delving deep into rectifiers", 2015; counted by outputs, so that gradients keep their size.
HE = ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "relu"})


def _conv(before: int, after: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False, weight_init=HE)


class _Block(cg.Module):
    """relu(f(x) + shortcut(x)); `expansion` is output channels by width."""

    expansion: int
    downsample: cg.Module | None = None

    def _branch(self, x: Any) -> Any:
        raise NotImplementedError

    def call(self, x: Any) -> Any:
        around = x if self.downsample is None else self.downsample(x)
        return op.relu(self._branch(x) + around)


class BasicBlock(_Block):
    """Two 3 x 3 convolutions: y = relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut x).

    He et al., "Deep residual learning for image recognition", 2016, figure 5 left.

    Args:
        before: channels of the input.
        width: of both convolutions, and channels of the output.
        stride: of the first convolution.
        downsample: a module for the shortcut; the input itself by default.

    >>> from zkynet.models.resnet import BasicBlock
    >>> import numpy as np
    >>> BasicBlock(4, 4)(np.ones((1, 4, 6, 6), np.float32)).shape
    (1, 4, 6, 6)
    """

    expansion = 1

    def __init__(self, before: int, width: int, stride: int = 1, downsample: cg.Module | None = None):
        super().__init__()
        self.conv1, self.bn1 = _conv(before, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = downsample

    def _branch(self, x: Any) -> Any:
        return self.bn2(self.conv2(op.relu(self.bn1(self.conv1(x)))))


class Bottleneck(_Block):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1, the last with four times the channels (figure 5 right).

    The stride is that of the 3 x 3 convolution, as in torchvision ("ResNet v1.5"), not of the first as in the paper.

    Args: as for `BasicBlock`; the output has 4 `width` channels.

    >>> from zkynet.models.resnet import Bottleneck
    >>> import numpy as np
    >>> Bottleneck(8, 2)(np.ones((1, 8, 6, 6), np.float32)).shape
    (1, 8, 6, 6)
    """

    expansion = 4

    def __init__(self, before: int, width: int, stride: int = 1, downsample: cg.Module | None = None):
        super().__init__()
        self.conv1, self.bn1 = _conv(before, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = downsample

    def _branch(self, x: Any) -> Any:
        x = op.relu(self.bn1(self.conv1(x)))
        x = op.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


def _projection(before: int, after: int, stride: int) -> nn.Sequential:
    """A shortcut for blocks that change the shape: option B of the paper."""
    return nn.Sequential(_conv(before, after, 1, stride), nn.BatchNorm2d(after))


class Subsample(cg.Module):
    """Every `stride`-th pixel, with channels of zeros added: option A of the paper, which learns nothing.

    >>> from zkynet.models.resnet import Subsample
    >>> import numpy as np
    >>> Subsample(2, 3)(np.ones((1, 2, 4, 4), np.float32)).shape
    (1, 5, 2, 2)
    """

    def __init__(self, stride: int, channels: int):
        super().__init__()
        self.stride, self.channels = stride, channels

    def call(self, x: Any) -> Any:
        x = x[:, :, ::self.stride, ::self.stride]
        return op.pad(x, ((0, 0), (self.channels // 2, self.channels - self.channels // 2), (0, 0), (0, 0)))


def _stage(block: type[Any], before: int, width: int, count: int, stride: int, projected: bool) -> nn.Sequential:
    """Blocks of one width; the first may change the shape."""
    after = width * block.expansion
    shortcut: cg.Module | None = None
    if stride != 1 or before != after:
        shortcut = _projection(before, after, stride) if projected else Subsample(stride, after - before)
    return nn.Sequential(block(before, width, stride, shortcut), *(block(after, width) for _ in range(count - 1)))


class CifarResNet(cg.Module):
    """The residual net for small pictures: 6 n + 2 layers in three stages of `width`, 2 `width` and 4 `width` channels.

    He et al., "Deep residual learning for image recognition", 2016, section 4.2, with the paper's shortcuts (option A:
    subsampled, and filled with zeros); `projected` takes 1 x 1 convolutions instead (option B).

    Args:
        depth: 20, 32, 44, 56, 110, or any other 6 n + 2.
        classes: outputs.
        channels: of the pictures.
        width: channels of the first stage.
        projected: whether shortcuts between stages are learned.

    Input (batch, channels, height, width), output (batch, classes), logits. Parameters: conv1, bn1, layer1 ... layer3
    ("layer1.0.conv1.weight"), fc; 0.27 million numbers at depth 20, 0.85 million at 56.

    Raises:
        InputError: for a depth that is not 6 n + 2.

    >>> from zkynet import models, nn
    >>> import numpy as np
    >>> nn.manual_seed(0)
    >>> net = models.CifarResNet(8, width=4)
    >>> net(np.ones((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """

    def __init__(self, depth: int = 20, classes: int = 10, channels: int = 3, width: int = 16, projected: bool = False):
        super().__init__()
        count, rest = divmod(depth - 2, 6)
        if count < 1 or rest:
            raise InputError(f"CifarResNet has 6 n + 2 layers, such as 20, 32, 44, 56 or 110, but got depth={depth}.")
        self.conv1, self.bn1 = _conv(channels, width, 3), nn.BatchNorm2d(width)
        self.layer1 = _stage(BasicBlock, width, width, count, 1, projected)
        self.layer2 = _stage(BasicBlock, width, 2 * width, count, 2, projected)
        self.layer3 = _stage(BasicBlock, 2 * width, 4 * width, count, 2, projected)
        self.fc = nn.Linear(4 * width, classes)

    def call(self, input: Any) -> Any:
        x = op.relu(self.bn1(self.conv1(input)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(op.mean(x, axis=(2, 3)))


class ResNet(cg.Module):
    """The residual net for large pictures: a 7 x 7 convolution, pooling, four stages, and a linear layer.

    He et al., "Deep residual learning for image recognition", 2016, table 1, with projections where the shape changes
    (option B). Names, shapes and strides are torchvision's, so that its weights load by `load_state_dict`.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: how many blocks each of the four stages has.
        classes: outputs.
        channels: of the pictures.

    Input (batch, channels, height, width), output (batch, classes), logits.

    >>> from zkynet.models.resnet import BasicBlock, ResNet
    >>> import numpy as np
    >>> net = ResNet(BasicBlock, [1, 1, 1, 1], classes=5)
    >>> net.eval()(np.ones((1, 3, 32, 32), np.float32)).shape
    (1, 5)
    """

    def __init__(self, block: type[Any], layers: Sequence[int], classes: int = 1000, channels: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False, weight_init=HE)
        self.bn1, self.maxpool = nn.BatchNorm2d(64), nn.MaxPool2d(3, stride=2, padding=1)
        before, stages = 64, []
        for number, count in enumerate(layers):
            width = 64 * 2**number
            stages.append(_stage(block, before, width, count, 1 if number == 0 else 2, projected=True))
            before = width * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(before, classes)

    def call(self, input: Any) -> Any:
        x = self.maxpool(op.relu(self.bn1(self.conv1(input))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(op.mean(x, axis=(2, 3)))


def resnet18(classes: int = 1000, channels: int = 3) -> ResNet:
    """`ResNet` of 18 layers (torchvision.models.resnet18): 11,689,512 numbers with the defaults."""
    return ResNet(BasicBlock, [2, 2, 2, 2], classes, channels)


def resnet34(classes: int = 1000, channels: int = 3) -> ResNet:
    """`ResNet` of 34 layers (torchvision.models.resnet34): 21,797,672 numbers with the defaults."""
    return ResNet(BasicBlock, [3, 4, 6, 3], classes, channels)


def resnet50(classes: int = 1000, channels: int = 3) -> ResNet:
    """`ResNet` of 50 layers (torchvision.models.resnet50): 25,557,032 numbers with the defaults."""
    return ResNet(Bottleneck, [3, 4, 6, 3], classes, channels)


def resnet101(classes: int = 1000, channels: int = 3) -> ResNet:
    """`ResNet` of 101 layers (torchvision.models.resnet101): 44,549,160 numbers with the defaults."""
    return ResNet(Bottleneck, [3, 4, 23, 3], classes, channels)
