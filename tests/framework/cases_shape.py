"""Rows for dtype, broadcasting, layout, padding and constructors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op
from zkynet.framework.operators.create import basis
from zkynet.framework.operators.shape import barrier, place, sum_to

A = sample(2, 3, seed=1)
CUBE = sample(2, 3, 4, seed=2)
EMPTY = np.zeros((2, 0, 3))


def row(name, x, reference, label="", order=2, **attributes):
    """The operator with attributes; the reference is a function of x alone."""
    function = getattr(op, name)
    return Case(name, lambda x: function(x, **attributes), reference, (x,), label, order)


FLOW = [
    Case("cast", lambda x: op.cast(x, "float64"), lambda x: x.astype("float64"), (A,), float32=False),
    Case("cast", lambda x: op.cast(op.cast(x, "float32") * 2.0, "float64"),
         lambda x: (x.astype("float32") * 2.0).astype("float64"), (A,), "float32 and back", numeric=False,
         float32=False),
    row("cast", A * 9, lambda x: x.astype("int32"), "integers", order=0, dtype="int32"),
    Case("stop_gradient", lambda x: op.stop_gradient(x) * x, lambda x: jnp.asarray(A) * x, (A,), numeric=False,
         float32=False),
    Case("barrier", lambda a, b: barrier(a * a, b), lambda a, b: (a * a, b), (A, sample(2))),
]

BROADCASTING = [
    row("broadcast_to", A, lambda x: jnp.broadcast_to(x, (4, 2, 3)), "new axis", shape=(4, 2, 3)),
    row("broadcast_to", A[:, :1], lambda x: jnp.broadcast_to(x, (2, 3)), "size 1", shape=(2, 3)),
    row("broadcast_to", A[:, :1], lambda x: jnp.broadcast_to(x, (2, 0)), "empty axis", shape=(2, 0)),
    row("broadcast_to", np.array(2.0), lambda x: jnp.broadcast_to(x, (1, 1)), "scalar", shape=(1, 1)),
    Case("sum_to", lambda x: sum_to(x, (3, 1)), lambda x: jnp.sum(x, (0, 2))[:, None], (CUBE,)),
    Case("sum_to", lambda x: sum_to(x, ()), jnp.sum, (A,), "scalar"),
    Case("sum_to", lambda x: sum_to(x, (2, 1, 3)), lambda x: jnp.sum(x, 1, keepdims=True), (EMPTY,), "empty axis"),
    Case("sum_to", lambda x: sum_to(x, (1, 3)), lambda x: x, (A[:1],), "nothing to sum"),
]

LAYOUT = [
    row("reshape", A, lambda x: x.reshape(3, 2), shape=(3, 2)),
    row("reshape", EMPTY, lambda x: x.reshape(0, 6), "empty axis", shape=(-1, 6)),
    row("expand_dims", A, lambda x: x[None, :, None], axis=(0, 2)),
    row("expand_dims", A, lambda x: x[..., None], "negative axis", axis=-1),
    row("squeeze", A[None, :, :1], lambda x: x[0, :, 0], "all"),
    row("squeeze", A[None, :, :1], lambda x: x[0], "one axis", axis=0),
    row("flatten", CUBE, lambda x: x.reshape(-1)),
    row("flatten", CUBE, lambda x: x.reshape(2, 12), "from axis 1", start_axis=1),
    row("flatten", np.array(3.0), lambda x: x.reshape(1), "scalar"),
    row("flatten", EMPTY, lambda x: x.reshape(0, 3), "empty axis", end_axis=-2),
    row("transpose", CUBE, jnp.transpose),
    row("transpose", CUBE, lambda x: jnp.transpose(x, (1, -1, 0)), "permuted", axes=(1, -1, 0)),
    Case("transpose", lambda x: x.T, jnp.transpose, (A,), "T"),
    row("moveaxis", CUBE, lambda x: jnp.moveaxis(x, 0, -1), source=0, destination=-1),
    row("moveaxis", CUBE, lambda x: jnp.moveaxis(x, (0, 2), (1, 0)), "two axes", source=(0, 2),
        destination=(1, 0)),
    row("swapaxes", CUBE, lambda x: jnp.swapaxes(x, 0, -1), axis1=0, axis2=-1),
    row("flip", CUBE, jnp.flip),
    row("flip", CUBE, lambda x: jnp.flip(x, (0, -1)), "two axes", axis=(0, -1)),
    row("flip", EMPTY, lambda x: jnp.flip(x, 1), "empty axis", axis=1),
]

JOINING = [
    Case("concat", lambda a, b, c: op.concat([a, b, c], axis=-1), lambda a, b, c: jnp.concatenate([a, b, c], -1),
         (A, sample(2, 1), np.zeros((2, 0)))),
    Case("concat", lambda a: op.concat([a, a * a]), lambda a: jnp.concatenate([a, a * a]), (A,), "twice the same"),
    Case("concat", lambda a, i: op.concat([a, i]), lambda a, i: jnp.concatenate([a, i]),
         (A, np.array([[1, 2, 3]])), "integers join"),
    Case("concat", lambda a: op.concat([a]), lambda a: a, (A,), "one"),
    Case("stack", lambda a, b: op.stack([a, b], axis=-1), lambda a, b: jnp.stack([a, b], -1), (A, A + 1)),
    Case("stack", lambda a, b: op.stack([a, b]), lambda a, b: jnp.stack([a, b]), (A[0, 0], A[0, 1]), "scalars"),
    Case("split", lambda x: op.split(x, 3, axis=1), lambda x: jnp.split(x, 3, 1), (CUBE,)),
    Case("split", lambda x: op.split(x, [1, 0, 3], axis=-1), lambda x: jnp.split(x, [1, 1], -1), (CUBE,), "sizes"),
    Case("split", lambda x: op.split(x, [2, 1])[1] * 2.0, lambda x: x[2:] * 2.0, (A.T,), "one part used"),
    Case("split", lambda x: op.split(x, 1), lambda x: (x,), (A,), "one part"),
    Case("place", lambda x: place(x, shape=(4, 8), starts=(1, 2), steps=(1, 2)),
         lambda x: jnp.zeros((4, 8), x.dtype).at[1:3, 2:8:2].set(x), (A,)),
    Case("place", lambda x: place(x, shape=(3, 2), starts=(3, 0), steps=(2, 1)),
         lambda x: jnp.zeros((3, 2), x.dtype) + jnp.sum(x), (np.zeros((0, 2)),), "empty axis"),
]


def pad_row(x, widths, mode, numpy_mode, label=""):
    pairs = {1: (0, 2)} if widths is None else widths
    full = ((0, 0), (0, 2)) if widths is None else widths
    return Case("pad", lambda x: op.pad(x, pairs, mode), lambda x: jnp.pad(x, full, numpy_mode), (x,),
                f"{mode} {label}")


PADDING = [
    *(pad_row(x, widths, mode, numpy_mode, label)
      for mode, numpy_mode, most in (("constant", "constant", (2, 1)), ("reflect", "reflect", (2, 2)),
                                     ("replicate", "edge", (1, 4)), ("circular", "wrap", (3, 2)))
      for x, widths, label in ((A, ((1, 0), most), "all axes"), (A, None, "one axis"),
                               (A[:, :1], ((0, 1), (0, 0)), "size 1"))),
    Case("pad", lambda x: op.pad(x, 1, value=7.0), lambda x: jnp.pad(x, 1, constant_values=7.0), (A,), "value"),
    Case("pad", lambda x: op.pad(x, (0, 1), "edge"), lambda x: jnp.pad(x, (0, 1), "edge"), (A,), "NumPy's name"),
    Case("pad", lambda x: op.pad(x, ((-1, 1), (2, -2))), lambda x: jnp.pad(x[1:, :1], ((0, 1), (2, 0))), (A,), "crop"),
    Case("pad", lambda x: op.pad(x, {1: 2}), lambda x: jnp.pad(x, ((0, 0), (2, 2), (0, 0))), (EMPTY,), "empty axis"),
]

REPETITION = [
    row("roll", A, lambda x: jnp.roll(x, 4), shift=4),
    row("roll", CUBE, lambda x: jnp.roll(x, -1, 1), "axis", shift=-1, axis=1),
    row("roll", CUBE, lambda x: jnp.roll(x, (1, 3), (0, -1)), "two axes", shift=(1, 3), axis=(0, -1)),
    row("roll", EMPTY, lambda x: jnp.roll(x, 2, 1), "empty axis", shift=2, axis=1),
    row("repeat", A, lambda x: jnp.repeat(x, 2), repeats=2),
    row("repeat", A, lambda x: jnp.repeat(x, 3, -1), "negative axis", repeats=3, axis=-1),
    row("repeat", A, lambda x: jnp.repeat(x, 0, 0), "never", repeats=0, axis=0),
    Case("getitem", lambda x: op.repeat(x, [2, 0, 1], axis=1), lambda x: jnp.repeat(x, jnp.array([2, 0, 1]), 1,
         total_repeat_length=3), (A,), "repeat by counts"),
    row("tile", A, lambda x: jnp.tile(x, 2), reps=2),
    row("tile", A, lambda x: jnp.tile(x, (2, 1, 3)), "more axes", reps=(2, 1, 3)),
    row("tile", A, lambda x: jnp.tile(x, (0, 2)), "never", reps=(0, 2)),
]


def constant(name, function, reference, label=""):
    """A constructor has no inputs; what it gives is multiplied into one, so that there is a gradient."""
    return Case(name, lambda x: function(x) * x, lambda x: reference(x) * x, (np.array(1.5),), label)


CREATION = [
    constant("full", lambda x: op.full((2, 3), 0.5, x.dtype), lambda x: jnp.full((2, 3), 0.5, x.dtype)),
    constant("full", lambda x: op.full(2, True), lambda x: jnp.full(2, True), "boolean"),
    Case("broadcast_to", lambda x: op.full((2, 3), x), lambda x: jnp.full((2, 3), x), (np.array(1.5),),
         "full of a node"),
    constant("zeros", lambda x: op.zeros(2, x.dtype), lambda x: jnp.zeros(2, x.dtype)),
    constant("ones", lambda x: op.ones((1, 2), x.dtype), lambda x: jnp.ones((1, 2), x.dtype)),
    constant("full_like", lambda x: op.full_like(x, 3), lambda x: jnp.full_like(x, 3)),
    constant("zeros_like", op.zeros_like, jnp.zeros_like),
    constant("ones_like", op.ones_like, jnp.ones_like),
    constant("arange", lambda x: op.arange(4), lambda x: jnp.arange(4)),
    constant("arange", lambda x: op.arange(1.0, 0.0, -0.25, dtype=x.dtype),
             lambda x: jnp.arange(1.0, 0.0, -0.25, dtype=x.dtype), "downwards"),
    constant("eye", lambda x: op.eye(2, 3, 1, x.dtype), lambda x: jnp.eye(2, 3, 1, x.dtype)),
    constant("basis", lambda x: basis(shape=(2, 1), dtype=x.dtype), lambda x: jnp.eye(2, dtype=x.dtype)[:, :, None]),
]

CASES = [*FLOW, *BROADCASTING, *LAYOUT, *JOINING, *PADDING, *REPETITION, *CREATION]
