"""Flax: an nnx or linen module as a zkynet Module, and a zkynet Module as an nnx module."""

from .bridge import FlaxModule
from .sources import from_linen, from_nnx
from .to_flax import to_nnx

__all__ = ["FlaxModule", "from_linen", "from_nnx", "to_nnx"]
