"""RavDL: models and layers that record their training in a graph. Numbers are those of the torch.nn layer of the same
meaning; see `ravnet.dl.layers`, `ravnet.dl.optimizers` and `ravnet.dl.loss_functions`."""

from .functional import Functional
from .onnx import load_onnx
from .pytorch_model import Pytorch_Model
from .sequential import NeuralNetwork

__all__ = ["Functional", "NeuralNetwork", "Pytorch_Model", "load_onnx"]
