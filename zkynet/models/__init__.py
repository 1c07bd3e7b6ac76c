"""Small complete models. `nn.manual_seed` decides what they start from.

>>> from zkynet import models, nn
>>> nn.manual_seed(0)
>>> net = models.MLP([4, 16, 3])
>>> net([[5.1, 3.5, 1.4, 0.2]]).shape
(1, 3)
"""

from . import fcn
from .autoencoder import VAE, Autoencoder, VAELoss
from .gpt import GPT
from .lenet import LeNet
from .mlp import MLP
from .resnet import CifarResNet, ResNet, resnet18, resnet34, resnet50, resnet101
from .rnn import CharRNN
from .sequences import SequenceLoss

__all__ = [
    "GPT", "MLP", "VAE", "Autoencoder", "CharRNN", "CifarResNet", "LeNet", "ResNet", "SequenceLoss", "VAELoss", "fcn",
    "resnet18", "resnet34", "resnet50", "resnet101",
]
