"""Rules of tensors made of numbers, and of random ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...framework import op
from ...framework.nodes import Node
from .registry import NUMBERS, add_rules, draw, dtype_of, node, rule, shape_of
from .rules_shape import cast

Size = Sequence[int]


def _ints(size: Size) -> tuple[int, ...]:
    return tuple([int(n) for n in size])


def _filled(value: Any) -> dict[str, Any]:
    """By size, and like another tensor."""
    return {
        "": lambda size, dtype=None, *_: op.full(_ints(size), value, dtype_of(dtype, np.dtype("float32"))),
        "_like": lambda x, dtype=None, *_: op.full(tuple(shape_of(x)), value, dtype_of(dtype, node(x).dtype)),
        "new_": lambda x, size, dtype=None, *_: op.full(_ints(size), value, dtype_of(dtype, node(x).dtype)),
    }


for _name, _value in (("zeros", 0), ("ones", 1), ("empty", 0)):
    _made = _filled(_value)
    add_rules({_name: _made[""], f"{_name}_like": _made["_like"], f"new_{_name}": _made["new_"]})


def _plain(value: Any) -> Any:
    """The number itself, of a tensor the node."""
    return value if value.__class__ in NUMBERS else node(value)


add_rules({
    "full": lambda size, value, dtype=None, *_: op.full(_ints(size), _plain(value), dtype_of(dtype)),
    "full_like": lambda x, value, dtype=None, *_: op.full(
        tuple(shape_of(x)), _plain(value), dtype_of(dtype, node(x).dtype)),
    "new_full": lambda x, size, value, dtype=None, *_: op.full(
        _ints(size), _plain(value), dtype_of(dtype, node(x).dtype)),
    "scalar_tensor": lambda value, dtype=None, *_: op.full((), _plain(value), dtype_of(dtype, np.dtype("float32"))),
    "eye": lambda rows, dtype=None, *_: op.eye(rows, dtype=dtype_of(dtype, np.dtype("float32"))),
    "eye.m": lambda rows, columns, dtype=None, *_: op.eye(
        rows, columns, dtype=dtype_of(dtype, np.dtype("float32"))),
    "arange": lambda end, dtype=None, *_: _range(0, end, 1, dtype),
    "arange.start": lambda start, end, dtype=None, *_: _range(start, end, 1, dtype),
    "arange.start_step": lambda start, end, step=1, dtype=None, *_: _range(start, end, step, dtype),
    "linspace": lambda start, end, steps, dtype=None, *_: _line(start, end, steps, dtype),
})


def _number(value: Any) -> Any:
    return value if value.__class__ in NUMBERS else node(value).value.item()


def _range(start: Any, end: Any, step: Any, dtype: Any) -> Node:
    return op.arange(_number(start), _number(end), _number(step), dtype_of(dtype))


def _line(start: Any, end: Any, steps: int, dtype: Any) -> Node:
    start, end = _number(start), _number(end)
    width = (end - start) / max(steps - 1, 1)
    line = op.arange(0, steps, 1, np.dtype("float32")) * width + start
    return line if dtype is None else op.cast(line, dtype=dtype_of(dtype))


@rule("tensor", "as_tensor")
def _tensor(data: Any, dtype: Any = None, *_: Any) -> Any:
    """Of a number, or of a list of numbers; scalars that are computed are stacked."""
    if data.__class__ in NUMBERS:
        return op.full((), data, dtype_of(dtype))
    if isinstance(data, (list, tuple)):
        if any(_has_node(item) for item in data):
            made = op.stack(*[_tensor(item, dtype) for item in data])
            return made
        array = np.array(data)
        wanted = dtype_of(dtype)
        if wanted is None and (array.dtype.kind == "f" or not array.size):
            wanted = np.dtype("float32")
        return node(array if wanted is None else array.astype(wanted))
    made = node(data)
    return made if dtype is None or made.dtype == dtype_of(dtype) else op.cast(made, dtype=dtype_of(dtype))


def _has_node(item: Any) -> bool:
    return any(map(_has_node, item)) if isinstance(item, (list, tuple)) else item.__class__ not in NUMBERS


# Random ---------------------------------------------------------------------------------------------------------


@rule("rand", random=True)
def _(stream: Any, size: Size, dtype: Any = None, *_: Any) -> Node:
    return op.uniform(draw(stream), _ints(size), dtype=dtype_of(dtype))


@rule("randn", random=True)
def _(stream: Any, size: Size, dtype: Any = None, *_: Any) -> Node:
    return op.normal(draw(stream), _ints(size), dtype=dtype_of(dtype))


@rule("rand_like", random=True)
def _(stream: Any, x: Any, dtype: Any = None, *_: Any) -> Node:
    return op.uniform(draw(stream), tuple(shape_of(x)), dtype=dtype_of(dtype, node(x).dtype))


@rule("randn_like", random=True)
def _(stream: Any, x: Any, dtype: Any = None, *_: Any) -> Node:
    return op.normal(draw(stream), tuple(shape_of(x)), dtype=dtype_of(dtype, node(x).dtype))


@rule("randint", random=True)
def _(stream: Any, high: int, size: Size, dtype: Any = None, *_: Any) -> Node:
    return cast(op.randint(draw(stream), _ints(size), 0, high), dtype)


@rule("randint.low", random=True)
def _(stream: Any, low: int, high: int, size: Size, dtype: Any = None, *_: Any) -> Node:
    return cast(op.randint(draw(stream), _ints(size), low, high), dtype)


@rule("bernoulli", random=True)
def _(stream: Any, x: Any, p: Any = None, *_: Any) -> Node:
    """With the probability p; without one, with those that x holds."""
    return op.cast(op.bernoulli(draw(stream), x if p is None else p, tuple(shape_of(x))), dtype=node(x).dtype)


@rule("uniform", random=True)
def _(stream: Any, x: Any, low: float = 0.0, high: float = 1.0, *_: Any) -> Node:
    return op.uniform(draw(stream), tuple(shape_of(x)), low, high, dtype=x.dtype)


@rule("normal", random=True)
def _(stream: Any, x: Any, mean: float = 0.0, std: float = 1.0, *_: Any) -> Node:
    return op.normal(draw(stream), tuple(shape_of(x)), mean, std, dtype=x.dtype)


@rule("normal.Tensor_Tensor", "normal.Tensor_float", "normal.float_Tensor", random=True)
def _(stream: Any, mean: Any, std: Any = 1.0, *_: Any) -> Node:
    shape = np.broadcast_shapes(shape_of(mean), shape_of(std))
    return op.normal(draw(stream), shape, mean, std, node(std if mean.__class__ in NUMBERS else mean).dtype)


@rule("normal.float_float", random=True)
def _(stream: Any, mean: float, std: float, size: Size, generator: Any = None, dtype: Any = None, *_: Any) -> Node:
    return op.normal(draw(stream), _ints(size), mean, std, dtype_of(dtype))


@rule("dropout", "native_dropout", random=True)
def _(stream: Any, x: Any, p: float, training: bool) -> Any:
    return op.dropout(x, draw(stream), p=float(p)) if training and p else node(x)


def _channels(x: Any) -> tuple[int, ...]:
    """The shape of one number for each channel; the first two axes are the batch's and the channels'."""
    shape = tuple(shape_of(x))
    return (*shape[:2], *(1,) * (len(shape) - 2))


@rule("feature_dropout", random=True)
def _(stream: Any, x: Any, p: float, training: bool) -> Any:
    if not training or not p:
        return node(x)
    return x * op.dropout(op.ones(_channels(x), dtype=node(x).dtype), draw(stream), p=float(p))


def _alpha(x: Any, key: Any, p: float, shape: tuple[int, ...]) -> Any:
    """What is dropped becomes the value that selu tends to; mean and variance stay (see `nn.AlphaDropout`)."""
    if p == 1.0:
        return x * 0.0
    low = -1.0507009873554805 * 1.6732632423543772
    scale = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * low**2))
    shift = -scale * p * low
    return op.where(op.bernoulli(key, 1.0 - p, shape), x * scale + shift, scale * low + shift)


@rule("alpha_dropout", random=True)
def _(stream: Any, x: Any, p: float, training: bool) -> Any:
    return _alpha(x, draw(stream), float(p), tuple(shape_of(x))) if training and p else node(x)


@rule("feature_alpha_dropout", random=True)
def _(stream: Any, x: Any, p: float, training: bool) -> Any:
    return _alpha(x, draw(stream), float(p), _channels(x)) if training and p else node(x)
