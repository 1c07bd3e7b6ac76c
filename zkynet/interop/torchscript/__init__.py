"""TorchScript in and out: `load` makes a Module of a file, `to_torch` and `save` give the trained weights back.

PyTorch (an optional extra) reads and writes the files; it computes nothing.
"""

from .loader import load
from .module import TorchScriptModule
from .write_back import save, to_torch

__all__ = ["TorchScriptModule", "load", "save", "to_torch"]
