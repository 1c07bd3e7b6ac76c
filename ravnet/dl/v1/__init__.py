"""RavDL v1: the same models with v1's arguments; see `ravnet.dl.v1.layers` for what differs."""

from ..sequential import NeuralNetwork

__all__ = ["NeuralNetwork"]
