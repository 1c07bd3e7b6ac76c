"""Rows for reductions, softmax, running sums and products, sorting."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op
from zkynet.framework.operators.running import linear_recurrence

A = sample(2, 3, seed=1)
CUBE = sample(2, 3, 2, seed=2)
POSITIVE = sample(2, 3, low=0.3, high=2.0, seed=3)
TIES = np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
# No zero, one and several along the last axis: products of the others without dividing.
ZEROS = np.array([[2.0, -3.0, 0.5], [2.0, 0.0, 0.5], [0.0, 3.0, 0.0]])
INTEGERS = np.array([[3, 1, 2], [2, 2, 0]])
EMPTY = np.zeros((2, 0, 3))


def along(name, reference, x, label="", **attributes):
    """The operator and the function of the same attributes."""
    settings = {key: attributes.pop(key) for key in ("order", "numeric", "nan", "float32", "tolerance")
                if key in attributes}
    function = getattr(op, name)
    return Case(name, lambda x: function(x, **attributes), lambda x: reference(x, **attributes), (x,), label,
                **settings)


def everywhere(name, reference, x=CUBE, **settings):
    """All elements, one axis, two axes, kept axes, a size-1 axis."""
    return [
        along(name, reference, x, **settings),
        along(name, reference, x, "negative axis", axis=-2, **settings),
        along(name, reference, x, "two axes", axis=(2, 0), keepdims=True, **settings),
        along(name, reference, x[:, :1], "size 1", axis=1, **settings),
    ]


def constant_std(x):
    """0, whose gradient is 0 by convention, also where there is no slope."""
    return jnp.sum(x * 0.0, axis=1)


SUMS = [
    *everywhere("sum", jnp.sum),
    along("sum", jnp.sum, A, "no axes", axis=()),
    along("sum", jnp.sum, EMPTY, "empty axis", axis=1),
    along("sum", jnp.sum, np.array(2.0), "scalar"),
    along("sum", jnp.sum, INTEGERS, "integers", axis=0),
    *everywhere("mean", jnp.mean),
    along("mean", jnp.mean, EMPTY, "empty result", axis=0),
    along("mean", jnp.mean, INTEGERS, "integers"),
    *everywhere("var", jnp.var),
    along("var", jnp.var, A, "unbiased", axis=1, ddof=1),
    along("var", jnp.var, A[:1], "no freedom", axis=0, ddof=1, nan=True, order=0),
    *everywhere("std", jnp.std)[:3],
    along("std", jnp.std, A, "unbiased", axis=1, ddof=1, keepdims=True),
    Case("std", lambda x: op.std(x, axis=1), constant_std,
         (np.full((2, 3), 0.75),), "constant", numeric=False),
]


def zero_norm(x):
    return jnp.sum(x * 0.0)


def p_norm(p):
    return lambda x, axis=None, keepdims=False: jnp.sum(jnp.abs(x) ** p, axis, keepdims=keepdims) ** (1 / p)


def norm_row(ord, x, reference, label, **settings):
    return Case("norm", lambda x: op.norm(x, ord, axis=1), lambda x: reference(x, axis=1), (x,), label, **settings)


NORMS = [
    Case("norm", op.norm, lambda x: jnp.sqrt(jnp.sum(x * x)), (CUBE,)),
    norm_row("fro", CUBE, lambda x, axis: jnp.linalg.norm(x, axis=axis), "fro"),
    norm_row(1, A, lambda x, axis: jnp.sum(jnp.abs(x), axis), "1"),
    norm_row(np.inf, A, lambda x, axis: jnp.max(jnp.abs(x), axis), "inf"),
    norm_row(np.inf, TIES * [1, -1, 1], lambda x, axis: jnp.max(jnp.abs(x), axis), "inf ties", numeric=False),
    norm_row(-np.inf, A, lambda x, axis: jnp.min(jnp.abs(x), axis), "minus inf"),
    norm_row(0, ZEROS, lambda x, axis: jnp.sum(x != 0, axis) + jnp.sum(0.0 * x, axis), "0", numeric=False),
    norm_row(3, A, p_norm(3.0), "3"),
    norm_row(1.5, A, p_norm(1.5), "1.5"),
    norm_row(3, np.array([[0.0, 2.0, -1.0]]), p_norm(3.0), "3 with a zero"),
    *(Case("norm", lambda x, p=p: op.norm(x, p), zero_norm, (np.zeros(3),), f"zero vector {p}", numeric=False)
      for p in (1, 2, 2.5, np.inf)),
    Case("norm", lambda x: op.norm(x, axis=(0, -1), keepdims=True),
         lambda x: jnp.sqrt(jnp.sum(x * x, (0, -1), keepdims=True)), (CUBE,), "two axes"),
]

EXTREMES = [
    *everywhere("max", jnp.max),
    *everywhere("min", jnp.min)[:3],
    along("max", jnp.max, TIES, "ties share", axis=1, numeric=False),
    along("min", jnp.min, TIES, "ties share", numeric=False),
    along("max", jnp.max, np.array([[np.nan, 1.0], [2.0, 3.0]]), "nan", axis=0, nan=True, order=0),
    along("max", jnp.max, np.array([-np.inf, 1.0]), "infinite", numeric=False, order=1),
    along("max", jnp.max, INTEGERS, "integers", axis=1),
    *(along(name, getattr(jnp, name), x, label, order=0, **attributes)
      for name in ("argmax", "argmin")
      for x, label, attributes in ((A, "", {}), (TIES, "ties", {"axis": -1}),
                                   (A, "kept", {"axis": 0, "keepdims": True}))),
]

TRUTH = [
    *(along(name, getattr(jnp, name), x, label, order=0, **attributes)
      for name in ("any", "all", "count_nonzero")
      for x, label, attributes in ((ZEROS, "", {}), (ZEROS > 0, "booleans", {"axis": (0,), "keepdims": True}),
                                   (EMPTY, "empty axis", {"axis": 1}))),
]


def softmin(x, axis=-1):
    return jax.nn.softmax(-x, axis)


LARGE = np.array([[1000.0, 1001.0, 999.0], [-1000.0, 0.0, 1e5]])
SOFT = [
    *(along(name, reference, x, label, numeric=label != "large", **attributes)
      for name, reference in (("softmax", jax.nn.softmax), ("log_softmax", jax.nn.log_softmax), ("softmin", softmin))
      for x, label, attributes in ((A, "", {}), (CUBE, "first axis", {"axis": 0}), (LARGE, "large", {}))),
    along("softmax", jax.nn.softmax, CUBE, "two axes", axis=(0, 2)),
    along("log_softmax", jax.nn.log_softmax, CUBE, "two axes", axis=(0, -1)),
    along("softmax", jax.nn.softmax, A[:, :1], "size 1"),
    along("log_softmax", jax.nn.log_softmax, A[:, :1], "size 1"),
    along("softmax", jax.nn.softmax, np.array([-np.inf, 0.0, 1.0]), "minus inf", numeric=False),
    Case("softmax", op.softmax, lambda x: x, (np.zeros((2, 0)),), "empty axis"),
    along("softmax", lambda x: jax.nn.softmax(x * 1.0), INTEGERS, "integers"),
]


def cumsum(x, axis=None, reverse=False):
    return jnp.flip(jnp.cumsum(jnp.flip(x, axis), axis), axis) if reverse else jnp.cumsum(x, axis)


def cumprod(x, axis=None, reverse=False):
    """Products of masked copies: right derivatives at zeros, of every order."""
    x, axis = (jnp.ravel(x), 0) if axis is None else (x, axis)
    x = jnp.flip(x, axis) if reverse else x
    rows = jnp.moveaxis(x, axis, -1)
    products = [product(rows[..., :i + 1]) for i in range(rows.shape[-1])]
    y = jnp.moveaxis(jnp.stack(products, -1) if products else rows, -1, axis)
    return jnp.flip(y, axis) if reverse else y


def product(rows):
    total = jnp.ones(rows.shape[:-1], rows.dtype)
    for i in range(rows.shape[-1]):
        total = total * rows[..., i]
    return total


def recurrence(a, b, reverse=False):
    a, b = jnp.broadcast_arrays(a, b)
    y, found = jnp.zeros(a.shape[1:]), []
    for i in reversed(range(len(a))) if reverse else range(len(a)):
        y = a[i] * y + b[i]
        found.append(y)
    return jnp.stack(found[::-1] if reverse else found)


RUNNING = [
    along("cumsum", cumsum, A),
    along("cumsum", cumsum, CUBE, "reverse", axis=-2, reverse=True),
    along("cumsum", cumsum, EMPTY, "empty axis", axis=1),
    along("cumsum", cumsum, np.array([True, True, False]), "booleans", axis=0),
    along("cumprod", cumprod, A),
    along("cumprod", cumprod, ZEROS, "zeros", axis=1),
    along("cumprod", cumprod, ZEROS, "zeros in reverse", axis=-1, reverse=True),
    along("cumprod", cumprod, ZEROS, "zeros in columns", axis=0),
    along("cumprod", cumprod, np.zeros((2, 3)), "all zero", axis=1),
    along("cumprod", cumprod, EMPTY, "empty axis", axis=1),
    along("cumprod", cumprod, A[:, :1], "size 1", axis=1),
    Case("linear_recurrence", lambda a, b: linear_recurrence(a, b, axis=0), recurrence,
         (sample(4, 2, seed=4), sample(4, 2, seed=5))),
    Case("linear_recurrence", lambda a, b: linear_recurrence(a, b, axis=-2, reverse=True),
         lambda a, b: recurrence(a, b, True), (sample(2, seed=4), sample(3, 2, seed=5)), "reverse broadcast"),
    Case("linear_recurrence", lambda a, b: linear_recurrence(a, b, axis=0), recurrence,
         (np.zeros((3, 1)), sample(3, 2, seed=5)), "zeros"),
    along("prod", jnp.prod, CUBE),
    Case("prod", lambda x: op.prod(x, axis=-1), product, (ZEROS,), "zeros"),
    Case("prod", op.prod, lambda x: product(jnp.ravel(x)), (ZEROS[:2],), "one zero of all"),
    Case("prod", lambda x: op.prod(x, axis=(0, 2), keepdims=True),
         lambda x: product(jnp.moveaxis(x, 1, 0).reshape(3, -1))[None, :, None], (CUBE,), "two axes"),
    along("prod", jnp.prod, EMPTY, "empty axis", axis=1),
    along("prod", jnp.prod, A[:, :1], "size 1", axis=1),
]


def descending(x, axis=-1):
    """Stable: equal elements keep their order."""
    return jnp.take_along_axis(x, jnp.argsort(-x, axis, stable=True), axis)


def from_the_end(x, k, axis=-1):
    values, positions = jax.lax.top_k(-jnp.moveaxis(x, axis, -1), k)
    return jnp.moveaxis(-values, -1, axis), jnp.moveaxis(positions, -1, axis)


ORDER = [
    along("sort", jnp.sort, A),
    along("sort", jnp.sort, CUBE, "first axis", axis=0),
    along("sort", jnp.sort, A, "flattened", axis=None),
    along("sort", jnp.sort, TIES, "ties stable", numeric=False),
    along("sort", jnp.sort, EMPTY, "empty axis", axis=1),
    along("sort", jnp.sort, np.array([np.nan, 1.0, -np.inf]), "nan", nan=True, numeric=False),
    Case("sort", lambda x: op.sort(x, descending=True), descending, (A,), "descending"),
    Case("sort", lambda x: op.sort(x, descending=True), descending, (TIES,), "descending ties stable",
         numeric=False),
    along("argsort", jnp.argsort, A, order=0, axis=0),
    along("argsort", jnp.argsort, TIES, "ties stable", order=0),
    Case("argsort", lambda x: op.argsort(x, None, True), lambda x: jnp.argsort(-x.ravel(), stable=True), (TIES,),
         "descending", order=0),
    Case("top_k", lambda x: op.top_k(x, 2), lambda x: jax.lax.top_k(x, 2), (A,)),
    Case("top_k", lambda x: op.top_k(x, 2, axis=1, largest=False), lambda x: from_the_end(x, 2, 1), (CUBE,),
         "smallest, inner axis"),
    Case("top_k", lambda x: op.top_k(x, 2), lambda x: jax.lax.top_k(x, 2), (TIES,), "ties first", numeric=False),
    Case("top_k", lambda x: op.top_k(x, 1, largest=False),
         lambda x: (jnp.sort(x)[:, :1], jnp.array([[1], [2]], jnp.int32)), (INTEGERS,), "integers"),
    Case("top_k", lambda x: op.top_k(x, 0), lambda x: jax.lax.top_k(x, 0), (A,), "none"),
    along("median", jnp.median, A),
    along("median", jnp.median, A, "odd", axis=-1, keepdims=True),
    along("median", jnp.median, np.array([[1.0, np.nan, 0.0], [1.0, 2.0, 5.0]]), "nan", axis=1, order=0,
          nan=True),
]

CASES = [*SUMS, *NORMS, *EXTREMES, *TRUTH, *SOFT, *RUNNING, *ORDER]
