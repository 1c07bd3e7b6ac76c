"""Import rules of ai.onnx.ml, what scikit-learn's converters write: linear models, scaling, encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...framework import op
from ...framework.errors import InputError
from .import_registry import importer

_DOMAIN = "ai.onnx.ml"


def _softmax_of_nonzero(scores: Any) -> Any:
    """Softmax in which elements that are 0 stay 0."""
    there = op.not_equal(scores, 0.0)
    exponentials = op.where(there, op.exp(scores - op.max(scores, axis=-1, keepdims=True)), 0.0)
    return exponentials / op.sum(exponentials, axis=-1, keepdims=True)


POST: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda scores: scores,
    "SOFTMAX": lambda scores: op.softmax(scores, axis=-1),
    "LOGISTIC": op.sigmoid,
    "SOFTMAX_ZERO": _softmax_of_nonzero,
    "PROBIT": lambda scores: op.erfinv(scores * 2.0 - 1.0) * np.float32(np.sqrt(2.0)),
}


def _floats(x: Any) -> Any:
    """The input of a model, whose output is float32 whatever comes in."""
    return x if np.issubdtype(x.dtype, np.floating) else op.cast(x, dtype=np.float32)


# Linear models ----------------------------------------------------------------------------------------------


def _scores(ctx: Any, x: Any, count: int, coefficients: Any, intercepts: Any) -> Any:
    """x W^T + b; the coefficients of each target follow one another."""
    if coefficients is None:
        coefficients = np.asarray(ctx.attr("coefficients"), np.float32)
    if intercepts is None:
        intercepts = np.asarray(ctx.attr("intercepts", [0.0] * count), np.float32)
    return op.linear(_floats(x), op.reshape(coefficients, shape=(count, -1)), intercepts)


@importer("LinearRegressor", domain=_DOMAIN)
def _(ctx, x, coefficients=None, intercepts=None):
    return POST[ctx.attr("post_transform", "NONE")](_scores(ctx, x, ctx.attr("targets", 1), coefficients, intercepts))


@importer("LinearClassifier", domain=_DOMAIN)
def _(ctx, x, coefficients=None, intercepts=None):
    names = labels(ctx)
    known = intercepts if intercepts is not None else ctx.attr("intercepts", None)
    count = len(names) if known is None else len(known)
    return classified(ctx, _scores(ctx, x, count, coefficients, intercepts), names)


def labels(ctx: Any) -> np.ndarray:
    """The names of the classes: integers or strings."""
    for name in ("classlabels_ints", "classlabels_int64s"):
        if name in ctx.attributes:
            return np.asarray(ctx.attr(name), np.int64)
    return np.asarray(ctx.attr("classlabels_strings"), object)


def classified(ctx: Any, scores: Any, names: np.ndarray) -> tuple:
    """The label of the largest score, and the scores; one score s for two classes stands for -s and s."""
    if scores.shape[-1] == 1 and len(names) == 2:
        scores = op.concat([-scores, scores], axis=-1)
    best, made = op.argmax(scores, axis=-1), POST[ctx.attr("post_transform", "NONE")](scores)
    if not ctx.wants(0):
        return None, made
    return (names[ctx.static(best, "the class")] if names.dtype == object else op.take(names, best, axis=0)), made


# Features ---------------------------------------------------------------------------------------------------


@importer("Scaler", domain=_DOMAIN)
def _(ctx, x):
    offset, scale = (np.asarray(ctx.attr(name), np.float32) for name in ("offset", "scale"))
    return (_floats(x) - offset) * scale


@importer("Normalizer", domain=_DOMAIN)
def _(ctx, x):
    x = _floats(x)
    kind = ctx.attr("norm", "MAX")
    if kind == "MAX":
        size = op.max(x, axis=-1, keepdims=True)
    else:
        size = op.norm(x, ord=1 if kind == "L1" else 2, axis=-1, keepdims=True)
    return x / op.where(op.equal(size, 0.0), 1.0, size)


@importer("Binarizer", domain=_DOMAIN)
def _(ctx, x):
    return op.cast(op.greater(x, ctx.attr("threshold", 0.0)), dtype=x.dtype)


@importer("Imputer", domain=_DOMAIN)
def _(ctx, x):
    kind = "floats" if "imputed_value_floats" in ctx.attributes else "int64s"
    missing = ctx.attr(f"replaced_value_{kind[:-1]}", 0)
    hit = op.isnan(x) if missing != missing else op.equal(x, missing)
    return op.where(hit, np.asarray(ctx.attr(f"imputed_value_{kind}"), x.dtype), x)


@importer("OneHotEncoder", domain=_DOMAIN)
def _(ctx, x):
    if "cats_strings" in ctx.attributes:
        hot = np.asarray(x)[..., None] == np.asarray(ctx.attr("cats_strings"), object)
    else:
        hot = op.equal(op.expand_dims(op.cast(x, dtype=np.int32), axis=x.ndim),
                       np.asarray(ctx.attr("cats_int64s"), np.int32))
    if not ctx.attr("zeros", 1) and not ctx.static(hot).any(-1).all():
        raise InputError("OneHotEncoder met a category that it does not know.")
    return hot.astype(np.float32) if isinstance(hot, np.ndarray) else op.cast(hot, dtype=np.float32)


@importer("FeatureVectorizer", domain=_DOMAIN)
def _(ctx, *parts):
    wide = [_floats(op.reshape(p, shape=(1, -1)) if p.ndim == 1 else p) for p in parts]
    sizes = ctx.attr("inputdimensions", [p.shape[1] for p in wide])
    return op.concat([p[:, :n] for p, n in zip(wide, sizes, strict=True)], axis=1)
