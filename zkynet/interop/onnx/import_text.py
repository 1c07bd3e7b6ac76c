"""Import rules of strings and n-grams: on the host, on arrays of str."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .import_registry import importer

_CASES = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}


def _strings(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = list(values)
    return made.reshape(shape)


@importer("StringNormalizer", fold=False)
def _(ctx, x):
    change = _CASES[ctx.attr("case_change_action", "NONE")]
    fold = str if ctx.attr("is_case_sensitive", 0) else str.lower
    stop = {fold(word) for word in ctx.attr("stopwords", [])}
    words = [change(word) for word in x.ravel() if fold(word) not in stop] or [""]
    return _strings(words, (1, len(words)) if x.ndim == 2 else (len(words),))


@importer("StringConcat", fold=False)
def _(ctx, a, b):
    a, b = np.broadcast_arrays(a, b)
    return _strings([p + q for p, q in zip(a.ravel(), b.ravel(), strict=True)], a.shape)


@importer("StringSplit", fold=False)
def _(ctx, x):
    delimiter, limit = ctx.attr("delimiter", "") or None, ctx.attr("maxsplit", -1)
    parts = [text.split(delimiter, limit) for text in x.ravel()]
    width = max(map(len, parts), default=0)
    padded = [part for each in parts for part in (*each, *[""] * (width - len(each)))]
    return _strings(padded, (*x.shape, width)), np.array([len(p) for p in parts], np.int64).reshape(x.shape)


@importer("LabelEncoder", domain="ai.onnx.ml", fold=False)
def _(ctx, x):
    values, default = _mapped(ctx)
    table = dict(zip([_key(k) for k in _listed(ctx, "keys")], values, strict=True))
    own = ctx.static(x, "the input of LabelEncoder")
    found = [table.get(_key(v), default) for v in own.ravel().tolist()]
    kind = np.asarray(values)
    return np.asarray(found, dtype=object if kind.dtype.kind in "OU" else kind.dtype).reshape(own.shape)


def _key(value: Any) -> Any:
    return "nan" if isinstance(value, float) and value != value else value


_DEFAULTS = {
    "strings": ("default_string", "_Unused"), "int64s": ("default_int64", -1), "floats": ("default_float", -0.0),
}


def _listed(ctx: Any, what: str) -> list[Any]:
    for kind in (*_DEFAULTS, "tensor"):
        if f"{what}_{kind}" in ctx.attributes:
            found = ctx.attr(f"{what}_{kind}")
            return found.tolist() if isinstance(found, np.ndarray) else found
    return ctx.attr("classes_strings", [])  # of version 1


def _mapped(ctx: Any) -> tuple[np.ndarray, Any]:
    """The values that keys are mapped to, and what anything else becomes."""
    for kind, (name, default) in _DEFAULTS.items():
        if f"values_{kind}" in ctx.attributes:
            dtype = {"strings": object, "int64s": np.int64, "floats": np.float32}[kind]
            return np.asarray(ctx.attr(f"values_{kind}"), dtype=dtype), ctx.attr(name, default)
    values = ctx.attr("values_tensor", np.arange(len(_listed(ctx, "keys"))))
    empty = "_Unused" if values.dtype == object else -1 if values.dtype.kind in "iu" else -0.0
    default = ctx.attr("default_tensor", None)
    return values, empty if default is None else default.ravel()[0]


# n-grams ----------------------------------------------------------------------------------------------------


@importer("TfIdfVectorizer", fold=False)
def _(ctx, x):
    """How often each n-gram of a pool occurs, with up to `max_skip_count` elements between its own."""
    tokens = ctx.static(x, "the input of TfIdfVectorizer")
    places = ctx.attr("ngram_indexes")
    index = {gram: i for i, gram in enumerate(_pool(ctx))}
    rows = tokens if tokens.ndim == 2 else tokens[None]
    counts = np.zeros((len(rows), max(places) + 1), np.float32)
    weights, mode = ctx.attr("weights", [1.0] * len(places)), ctx.attr("mode")
    for row, line in enumerate(rows.tolist()):
        for gram in _grams(line, ctx.attr("min_gram_length"), ctx.attr("max_gram_length"), ctx.attr("max_skip_count")):
            if gram in index:
                counts[row, places[index[gram]]] += 1
    if mode != "TF":
        scale = np.zeros(counts.shape[1], np.float32)
        scale[places] = weights
        counts = (counts if mode == "TFIDF" else np.minimum(counts, 1)) * scale
    return counts if tokens.ndim == 2 else counts[0]


def _pool(ctx: Any) -> Iterator[tuple]:
    """The n-grams of the pool: all of length 1, then of length 2, and so on."""
    pool = ctx.attr("pool_int64s", None) or ctx.attr("pool_strings")
    starts = [*ctx.attr("ngram_counts"), len(pool)]
    for length, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True), start=1):
        yield from (tuple(pool[i:i + length]) for i in range(start, end, length))


def _grams(tokens: list[Any], least: int, most: int, skips: int) -> Iterator[tuple]:
    for length in range(least, most + 1):
        for distance in range(1, skips + 2 if length > 1 else 2):
            for start in range(len(tokens) - (length - 1) * distance):
                yield tuple(tokens[start:start + length * distance:distance])
