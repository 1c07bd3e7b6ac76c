"""Import rules of the optimizers that files for training may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...framework import op
from .import_registry import importer

_DOMAIN = "ai.onnx.preview.training"


def _each(count: int, inputs: tuple, step: Callable[..., tuple]) -> tuple:
    """What a step makes of every tensor; inputs and results come kind by kind: all tensors, all gradients, ..."""
    tensors = len(inputs) // count
    made = [step(*inputs[i::tensors]) for i in range(tensors)]
    return tuple([result for kind in zip(*made, strict=True) for result in kind])


@importer("Adam", domain=_DOMAIN)
def _(ctx, rate, count, *inputs):
    """Kingma and Ba, 2015; with epsilon outside of the root, and with decay of the weights before or after."""
    alpha, beta = ctx.attr("alpha", 0.9), ctx.attr("beta", 0.999)
    t = op.cast(count, dtype=rate.dtype)
    corrected = rate * op.sqrt(1.0 - op.power(beta, t)) / (1.0 - op.power(alpha, t))
    rate = op.where(op.greater(count, 0), corrected, rate)

    def step(x: Any, g: Any, v: Any, h: Any) -> tuple:
        g = g + x * ctx.attr("norm_coefficient", 0.0)
        v, h = v * alpha + g * (1.0 - alpha), h * beta + g * g * (1.0 - beta)
        x = x - rate * v / (op.sqrt(h) + ctx.attr("epsilon", 1e-6))
        return x * (1.0 - ctx.attr("norm_coefficient_post", 0.0)), v, h

    return _each(4, inputs, step)


@importer("Adagrad", domain=_DOMAIN)
def _(ctx, rate, count, *inputs):
    """Duchi et al., 2011."""
    rate = rate / (1.0 + op.cast(count, dtype=rate.dtype) * ctx.attr("decay_factor", 0.0))

    def step(x: Any, g: Any, h: Any) -> tuple:
        g = g + x * ctx.attr("norm_coefficient", 0.0)
        h = h + g * g
        return x - rate * g / (op.sqrt(h) + ctx.attr("epsilon", 1e-6)), h

    return _each(3, inputs, step)


@importer("Momentum", domain=_DOMAIN)
def _(ctx, rate, count, *inputs):
    """Steps along a running sum of gradients; with mode "nesterov" a look ahead."""
    alpha, beta = ctx.attr("alpha"), op.where(op.greater(count, 0), float(ctx.attr("beta")), 1.0)

    def step(x: Any, g: Any, v: Any) -> tuple:
        g = g + x * ctx.attr("norm_coefficient")
        v = v * alpha + beta * g
        return x - rate * (g + v * alpha if ctx.attr("mode") == "nesterov" else v), v

    return _each(3, inputs, step)
