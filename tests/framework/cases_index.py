"""Rows for indexing, gathering, scattering and windows; test_indexing.py has random ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op
from zkynet.framework.operators.gather import window_added

A = sample(2, 3, seed=1)
CUBE = sample(3, 4, 2, seed=2)
WIDE = sample(5, 3, seed=3)
EMPTY = np.zeros((0, 3))
# int32, since jax.numpy cannot index with an int64 array of NumPy's while 64-bit mode is off
ROWS = np.array([2, 0, 2, -1], np.int32)
MASK = np.array([[True, False, True], [False, False, True]])


def at(index, label, x=CUBE):
    """x[index], the index being part of the program."""
    return Case("getitem", lambda x: x[index], lambda x: x[index], (x,), label)


def by(positions, index, label, x=CUBE, **settings):
    """x[index(i)] with positions that are inputs of the program."""
    return Case("getitem", lambda x, i: x[index(i)], lambda x, i: x[index(i)], (x, positions), label, **settings)


READING = [
    at(1, "int"),
    at(-1, "negative int"),
    at((slice(None), 2), "column"),
    at((slice(1, None), slice(None, None, -1)), "reversed"),
    at((slice(None, None, 2), slice(3, 0, -2), slice(-1, None)), "steps"),
    at((..., 0, None), "ellipsis and new axis"),
    at((slice(5, 1),), "empty slice"),
    at((), "nothing"),
    at((slice(None),), "empty axis", EMPTY),
    at((None, ..., None), "scalar", np.array(2.0)),
    Case("getitem", lambda x: x[[2, 0, 2]], lambda x: x[np.array([2, 0, 2])], (CUBE,), "list"),
    at((slice(None), np.array([[1, -1], [0, 1]], np.int32)), "array of two axes"),
    at((np.array([0, 2], np.int32), slice(None), np.array([1, 0], np.int32)), "arrays apart"),
    at((0, slice(None, None, -2), np.array([1, 1], np.int32)), "int and array apart"),
    at((slice(1, 3), np.array([0, 3], np.int32), 1), "slice, array, int"),
    at((np.array([], dtype=np.int32),), "no positions"),
    at((MASK,), "mask", A),
    at((np.array([True, False, True]), slice(None, 2)), "mask and slice"),
    at((True,), "True", A),
    at((slice(None), False), "False", A),
    by(ROWS, lambda i: i, "traced"),
    by(np.array(1), lambda i: (slice(None), i), "traced scalar"),
    by(np.array(-1), lambda i: (i, slice(None, None, -1)), "traced negative scalar"),
    by(ROWS[:3, None] % 2, lambda i: (slice(1, 3), None, i, 0), "traced among others"),
    Case("getitem", lambda x, i: x[i], lambda x, i: x.at[i].get(mode="fill", fill_value=np.nan),
         (WIDE, np.array([0, 5, -6])), "out of range reads nan", nan=True, numeric=False),
    Case("getitem", lambda x: op.take(x, [[1, 0], [2, 1]], axis=1),
         lambda x: jnp.take(x, jnp.array([[1, 0], [2, 1]]), 1), (A,), "take"),
    Case("take", lambda x, i: op.take(x, i), lambda x, i: jnp.take(x, i), (A, np.array([5, 0])), "flattened"),
    Case("take", lambda x: op.take(x, 1, axis=-1), lambda x: x[:, 1], (A,), "one position"),
]


def writing(name, index, values, label, x=CUBE, **settings):
    """x.at[index].set(values) or .add(values), differentiated in both."""
    method = name.removesuffix("_at")
    function = getattr(op, name)
    return Case(name, lambda x, v: function(x, index, v), lambda x, v: getattr(x.at[index], method)(v),
                (x, values), label, **settings)


def traced_writing(name):
    method = name.removesuffix("_at")
    return Case(name, lambda x, v, i: getattr(op, name)(x, (i, slice(1, None)), v),
                lambda x, v, i: getattr(x.at[i, 1:], method)(v, mode="drop"),
                (WIDE, sample(3, 2), np.array([4, -5, 7])), "traced, one out of range", numeric=False)


WRITING = [
    *(writing(name, index, values, label)
      for name in ("set_at", "add_at")
      for index, values, label in (
          (1, sample(4, 2), "int"),
          ((slice(None), slice(None, None, -1)), sample(3, 4, 2), "reversed"),
          ((slice(None, None, 2), slice(3, 0, -2)), np.array(2.0), "steps, one value"),
          ((np.array([2, 0], np.int32), slice(1, 3)), sample(2, 1), "array and slice, broadcast"),
          ((np.array([True, False, True]),), sample(4, 2), "mask"),
      )),
    writing("add_at", (np.array([1, 1, 0], np.int32),), sample(3, 4, 2), "same position twice"),
    # The last of several values stays; its are the gradients.
    Case("set_at", lambda x, v: op.set_at(x, [1, 1, -2], v), lambda x, v: x.at[1].set(v[2]), (A[0], sample(3)),
         "same position twice", numeric=False),
    traced_writing("set_at"),
    traced_writing("add_at"),
    Case("add_at", lambda x, v: op.add_at(x, ..., v), lambda x, v: x + v, (A, np.array([1, 2, 3])), "integer values"),
    Case("set_at", lambda x, v: op.set_at(x, (slice(0, 0),), v), lambda x, v: x + 0.0 * v, (A, np.array(1.0)),
         "nothing written"),
]


def torch_gather(x, i, axis):
    own = tuple(slice(None) if d == axis else slice(0, n) for d, n in enumerate(i.shape))
    return jnp.take_along_axis(x[own], i, axis)


def torch_scatter(x, i, v, axis):
    """One element after the other."""
    for place in np.ndindex(*i.shape):
        target = list(place)
        target[axis] = i[place]
        x = x.at[tuple(target)].add(v[place])
    return x


SMALLER = np.array([[1, 0, 2], [2, 2, 0]])
ALONG = [
    Case("gather", lambda x, i: op.gather(x, i, axis=0), lambda x, i: torch_gather(x, i, 0), (WIDE[:3], SMALLER)),
    Case("gather", lambda x, i: op.gather(x, i, 1), lambda x, i: torch_gather(x, i, 1), (WIDE, SMALLER - 3),
         "smaller, negative positions"),
    Case("gather", lambda x: op.gather(x, [[0], [2]], axis=-1), lambda x: jnp.array([[x[0, 0]], [x[1, 2]]]), (A,),
         "one of each line"),
    Case("gather", lambda x: op.gather(x, np.zeros((0, 3), int)), lambda x: x[:0], (A,), "no positions"),
    Case("gather", lambda x: op.gather(x, jnp.uint8([[1]]), axis=1), lambda x: x[:, 1:2], (sample(1, 300),),
         "small positions on a long axis"),
    Case("gather", lambda x, i: op.take_along_axis(x, i, axis=0),
         lambda x, i: jnp.take_along_axis(x, i, 0), (A, np.array([[1], [1], [0]])), "take_along_axis broadcasts"),
    Case("take_along_axis", lambda x: op.take_along_axis(x, op.argmax(x, axis=1, keepdims=True)),
         lambda x: jnp.max(x, 1, keepdims=True), (A,), "argmax"),
    Case("take_along_axis", lambda x: op.take_along_axis(x, op.argsort(x, None), None),
         lambda x: jnp.sort(x, None), (A,), "flattened"),
    *(Case("scatter_add", lambda x, i, v, a=axis: op.scatter_add(x, i, v, a),
           lambda x, i, v, a=axis: torch_scatter(x, i, v, a), (x, i, sample(*i.shape, seed=5)), label)
      for axis, x, i, label in ((0, WIDE[:3], SMALLER, ""), (1, WIDE, SMALLER, "smaller"),
                                (1, A, np.array([[-1], [1]]), "one of each line"),
                                (0, CUBE, np.array([[[2, 1]], [[2, 0]]]), "three axes"))),
    Case("scatter_add", lambda x, i: op.scatter_add(x, i, 1.0), lambda x, i: jnp.array([1.0, 0.0, 2.0]) + x,
         (A[0], np.array([2, 0, 2])), "counts"),
    Case("scatter_add", lambda x, i: op.scatter_add(x, i, x), lambda x, i: jnp.stack([x[0] + x[1], x[1], x[2] + x[0]]),
         (A[0], np.array([2, 0, 7])), "out of range is dropped"),
    Case("one_hot", lambda i: op.one_hot(i, 3, "float64"), lambda i: jax.nn.one_hot(i, 3, dtype="float64"),
         (np.array([[0, 2], [5, -1]]),), order=0, float32=False),
    Case("one_hot", lambda i: op.one_hot(i, 3, "bool", axis=0), lambda i: jax.nn.one_hot(i, 3, dtype="bool", axis=0),
         (np.array([0, 2]),), "first axis", order=0),
]

WINDOWS = [
    Case("dynamic_slice", lambda x, i: op.dynamic_slice(x, (i, 1), (2, 2)),
         lambda x, i: jax.lax.dynamic_slice(x, (i, 1), (2, 2)), (WIDE, np.array(2))),
    Case("dynamic_slice", lambda x, i: op.dynamic_slice(x, i, (2, 1)),
         lambda x, i: jax.lax.dynamic_slice(x, i, (2, 1)), (WIDE, np.array([9, 1])), "starts in one, moved to fit"),
    Case("dynamic_slice", lambda x, i: op.slice(x, (0, i), (2, 1)), lambda x, i: x[:2, 2:], (WIDE, np.array(2)),
         "slice"),
    Case("slice", lambda x: op.slice(x, (1, 0), (3, 2)), lambda x: x[1:4, :2], (WIDE,)),
    Case("slice", lambda x: op.slice(x, [2], [0]), lambda x: x[:0], (A[0],), "empty"),
    Case("dynamic_add_slice", lambda x, v, i: window_added(x, v, i, np.int32(0)),
         lambda x, v, i: x + jnp.pad(v, ((1, 2), (0, 0))), (WIDE, A, np.array(1, np.int32))),
    Case("dynamic_update_slice", lambda x, v, i: op.dynamic_update_slice(x, v, (i, 0)),
         lambda x, v, i: jax.lax.dynamic_update_slice(x, v, (i, jnp.zeros_like(i))), (WIDE, A, np.array(1))),
    Case("dynamic_update_slice", lambda x, v, i: op.dynamic_update_slice(x, v, i),
         lambda x, v, i: jax.lax.dynamic_update_slice(x, v, (i,)), (A[0], A[1, :2], np.array(5)), "moved to fit"),
]

CASES = [*READING, *WRITING, *ALONG, *WINDOWS]
