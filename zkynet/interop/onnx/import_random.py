"""Import rules of random numbers. They come from the module's own stream: the seeds of a file are not used, as no two
runtimes make the same numbers of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...framework import op
from .import_registry import dtype_of, importer


def _normal(ctx: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return op.normal(ctx.random_key(), shape, ctx.attr("mean", 0.0), ctx.attr("scale", 1.0), dtype)


def _uniform(ctx: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return op.uniform(ctx.random_key(), shape, ctx.attr("low", 0.0), ctx.attr("high", 1.0), dtype)


def _register(name: str, draw: Callable[..., Any]) -> None:
    @importer(name, fold=False)
    def _(ctx):
        return draw(ctx, tuple(ctx.attr("shape")), dtype_of(ctx.attr("dtype", 1)))

    @importer(f"{name}Like", fold=False)
    def _(ctx, x):
        kind = ctx.attr("dtype", None)
        return draw(ctx, tuple(x.shape), x.dtype if kind is None else dtype_of(kind))


_register("RandomNormal", _normal)
_register("RandomUniform", _uniform)


@importer("Bernoulli", fold=False)
def _(ctx, x):
    kind = ctx.attr("dtype", None)
    return op.cast(op.bernoulli(ctx.random_key(), x), dtype=x.dtype if kind is None else dtype_of(kind))


@importer("Multinomial", fold=False)
def _(ctx, logits):
    rows, count = logits.shape[0], ctx.attr("sample_size", 1)
    return op.transpose(op.categorical(ctx.random_key(), logits, axis=1, shape=(count, rows)), (1, 0))
