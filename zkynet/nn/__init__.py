"""Layers, losses and initialisers. Names, arguments and defaults follow torch.nn."""

from . import init
from .init import manual_seed
from .linear import Linear

__all__ = ["Linear", "init", "manual_seed"]
