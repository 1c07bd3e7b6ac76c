"""All functions by name."""

from __future__ import annotations

from . import choosing, creating, each, elementwise, federated, learners, losses, reducing, shaping
from .function import Function

MODULES = (elementwise, reducing, shaping, choosing, creating, each, losses, learners, federated)
FUNCTIONS: dict[str, Function] = {made.name: made for module in MODULES for made in module.FUNCTIONS}
