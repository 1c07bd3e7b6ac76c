"""Arrays made of numbers: filled, counted, random; and what is known of arrays as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.operators.arguments import node_of

from .function import OpInput, function
from .kinds import Dtype, MaybeInt, MaybeNumber, MaybeShape, Number, Shape


@function("an array of zeros", "zeros")
def zeros(*, shape: Shape, dtype: Dtype = "float32") -> Any:
    return op.zeros(shape, dtype)


@function("start, start + step, ... without stop; from 0 for one number", "arange")
def arange(*, start: Number, stop: MaybeNumber = None, step: Number = 1) -> Any:
    if not step:
        raise InputError("arange: step must not be 0.")
    return op.arange(start, stop, step)


@function("the lengths of the axes of x, or the one of axis `index`", "shape")
def shape(x: Any, /, index: MaybeInt = None) -> Any:
    if index is None:
        return node_of(np.asarray(x.shape, np.int32), "shape")
    if not -x.ndim <= index < x.ndim:
        raise ShapeError(f"shape: there is no axis {index} of an array of {x.ndim} axes.")
    return node_of(np.asarray(x.shape[index], np.int32), "shape")


@function("the number of elements of x", "size")
def size(x: Any, /) -> Any:
    return node_of(np.asarray(x.aval.size, np.int32), "size")


@function("the one element of x as an integer, without what follows the point", "int(x)")
def ravint(x: Any, /) -> Any:
    if x.aval.size != 1:
        raise ShapeError(f"ravint: takes an array of one element, but got the shape {x.shape}.")
    return op.cast(op.reshape(x, shape=()), dtype=np.dtype("int32"))


@function("uniform numbers in [0, 1) of a shape; or, of an array, elements drawn with repetition",
          "random.random / random.choice", random=True, notes="random(2, 3), random(size=3), random(x, size=3)")
def random(key: Any, x: OpInput = None, /, size: Shape = ()) -> Any:
    if x is None:
        return op.uniform(key, size)
    if not x.aval.size:
        raise ShapeError("random: there are no elements to draw from.")
    return op.take(op.flatten(x), op.randint(key, size, 0, x.aval.size))


@function("uniform numbers in [low, high); of the shape of low and high by default", "random.uniform", random=True,
          notes="in [0, 1) without low and high")
def random_uniform(key: Any, low: Any = None, high: Any = None, /, size: MaybeShape = None) -> Any:
    low, high = 0.0 if low is None else low, 1.0 if high is None else high
    shapes = [bound.shape for bound in (low, high) if not isinstance(bound, float)]
    return op.uniform(key, np.broadcast_shapes(*shapes) if size is None else size, low, high)


FUNCTIONS = [zeros, arange, shape, size, ravint, random, random_uniform]
