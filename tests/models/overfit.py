"""How well a model learns a batch by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zkynet import optim
from zkynet.framework import cg


def overfit(model: cg.Module, loss: Callable[..., Any], x: Any, y: Any, steps: int,
            lr: float = 1e-2) -> tuple[float, float]:
    """The loss before the first and at the last of some steps of Adam on one batch."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    values = []
    for _ in range(steps):
        value = loss(model(x), y)
        optimizer.step(value)
        values.append(float(value.value))
    return values[0], values[-1]


def count(model: cg.Module) -> int:
    """Numbers in all parameters."""
    return sum(p.value.size for p in model.parameters())
