"""Import rule of the operator Gradient, which a file for training may hold."""

from __future__ import annotations

from ...framework import op
from ...framework.transforms import grad
from .import_registry import importer


@importer("Gradient", domain="ai.onnx.preview.training", fold=False)
def _(ctx, *inputs):
    """The derivatives of the value `y` (of the sum of its elements) with respect to the values `xs`, where those and
    `zs` are what the inputs say."""
    names = [*ctx.attr("xs"), *ctx.attr("zs", [])]
    wanted = tuple(range(len(ctx.attr("xs"))))
    again = ctx.execution.again(names, ctx.attr("y"))
    return tuple(grad(lambda *values: op.sum(again(*values)), argnums=wanted)(*inputs))
