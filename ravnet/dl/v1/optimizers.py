"""v1's optimizers: the same rules, with the arguments' names of v1."""

from __future__ import annotations

from .. import optimizers


class RMSprop(optimizers.RMSprop):
    """v = rho v + (1 - rho) g^2, p = p - learning_rate g / (sqrt(v) + 1e-8)."""

    def __init__(self, learning_rate: float = 0.01, rho: float = 0.9):
        super().__init__(learning_rate, alpha=rho)


class Adam(optimizers.Adam):
    """Adam with the decays b1 and b2 of the two moments."""

    def __init__(self, learning_rate: float = 0.001, b1: float = 0.9, b2: float = 0.999):
        super().__init__(learning_rate, betas=(b1, b2))
