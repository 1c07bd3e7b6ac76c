"""JAX's primitives as zkynet operators: a table from the name of a primitive to what builds its nodes.

A builder takes the operands (nodes, arrays, or Python numbers where the equation has a literal) and the equation's
parameters, with the output's dtype as "out_dtype". It returns None for what it does not cover; such an equation stays
one node of its own (`opened.Alone`).
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...framework import op

Builder = Callable[[Sequence[Any], Mapping[str, Any]], Any]

# Operands in the same order, and no parameters that matter.
_SAME: dict[str, Callable[..., Any]] = {
    "abs": op.abs, "acos": op.arccos, "acosh": op.arccosh, "add": op.add, "add_any": op.add, "and": op.logical_and,
    "asin": op.arcsin, "asinh": op.arcsinh, "atan": op.arctan, "atan2": op.arctan2, "atanh": op.arctanh,
    "cbrt": op.cbrt, "ceil": op.ceil, "copy": op.identity, "cos": op.cos, "cosh": op.cosh, "div": op.divide,
    "eq": op.equal, "erf": op.erf, "erf_inv": op.erfinv, "erfc": op.erfc, "exp": op.exp, "exp2": op.exp2,
    "expm1": op.expm1, "floor": op.floor, "ge": op.greater_equal, "gt": op.greater, "is_finite": op.isfinite,
    "le": op.less_equal, "log": op.log, "log1p": op.log1p, "logistic": op.sigmoid, "lt": op.less, "max": op.maximum,
    "min": op.minimum, "mul": op.mult, "ne": op.not_equal, "neg": op.negative, "not": op.logical_not,
    "or": op.logical_or, "pow": op.power, "rsqrt": op.rsqrt, "sign": op.sign, "sin": op.sin, "sinh": op.sinh,
    "sqrt": op.sqrt, "square": op.square, "stop_gradient": op.stop_gradient, "sub": op.subtract, "tan": op.tan,
    "tanh": op.tanh, "xor": op.logical_xor,
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "argmax": op.argmax, "argmin": op.argmin, "reduce_and": op.all, "reduce_max": op.max, "reduce_min": op.min,
    "reduce_or": op.any, "reduce_prod": op.prod, "reduce_sum": op.sum,
}
_RUNNING: dict[str, Callable[..., Any]] = {"cumsum": op.cumsum, "cumprod": op.cumprod}
_CONVOLUTIONS = {1: op.conv1d, 2: op.conv2d, 3: op.conv3d}
_MAX_POOLS = {1: op.max_pool1d, 2: op.max_pool2d, 3: op.max_pool3d}
_AVG_POOLS = {1: op.avg_pool1d, 2: op.avg_pool2d, 3: op.avg_pool3d}


def _ints(values: Sequence[Any]) -> tuple[int, ...]:
    return tuple([int(value) for value in values])


def _same(function: Callable[..., Any]) -> Builder:
    return lambda operands, params: function(*operands)


def _reduction(function: Callable[..., Any]) -> Builder:
    def build(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
        axes = _ints(params["axes"])
        return function(operands[0], axis=axes[0] if len(axes) == 1 else axes)

    return build


def _running(function: Callable[..., Any]) -> Builder:
    return lambda operands, params: function(operands[0], axis=int(params["axis"]), reverse=params["reverse"])


def _integer_pow(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return op.integer_power(operands[0], exponent=int(params["y"]))


def _select(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    if len(operands) != 3 or getattr(operands[0], "dtype", None) != np.bool_:
        return None
    condition, otherwise, chosen = operands
    return op.where(condition, chosen, otherwise)


def _cast(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return op.cast(operands[0], dtype=np.dtype(params["new_dtype"]))


def _reshape(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return None if params["dimensions"] else op.reshape(operands[0], shape=_ints(params["new_sizes"]))


def _broadcast(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    (x,) = operands
    shape, places = _ints(params["shape"]), _ints(params["broadcast_dimensions"])
    if isinstance(x, (bool, int, float)):
        return None if math.isnan(x) else op.full(shape, x, params["out_dtype"])
    own = tuple([x.shape[places.index(d)] if d in places else 1 for d in range(len(shape))])
    if own != tuple(x.shape):
        x = op.reshape(x, shape=own)
    return x if own == shape else op.broadcast_to(x, shape=shape)


def _transpose(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return op.transpose(operands[0], axes=_ints(params["permutation"]))


def _squeeze(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return op.squeeze(operands[0], axis=_ints(params["dimensions"])) if params["dimensions"] else operands[0]


def _concatenate(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return op.concat(*operands, axis=int(params["dimension"]))


def _slice(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    steps = params["strides"] or (1,) * len(params["start_indices"])
    parts = zip(_ints(params["start_indices"]), _ints(params["limit_indices"]), _ints(steps), strict=True)
    return op.getitem(operands[0], tuple([slice(*part) for part in parts]))


def _reverse(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    return op.flip(operands[0], axis=_ints(params["dimensions"]))


def _iota(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    shape, axis = _ints(params["shape"]), int(params["dimension"])
    line = op.arange(shape[axis], dtype=params["dtype"])
    if len(shape) == 1:
        return line
    along = tuple([n if d == axis else 1 for d, n in enumerate(shape)])
    return op.broadcast_to(op.reshape(line, shape=along), shape=shape)


def _dot(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """A product over some axes, paired along others: a matrix product where it is one, else by letters."""
    if params["precision"] is not None:
        return None
    a, b = operands
    (summed_a, summed_b), (paired_a, paired_b) = [[_ints(side) for side in pair]
                                                  for pair in params["dimension_numbers"]]
    if not paired_a and b.ndim == 2 and (summed_a, summed_b) == ((a.ndim - 1,), (0,)):
        return op.matmul(a, b)
    letters = iter(string.ascii_letters)
    left = [next(letters) for _ in range(a.ndim)]
    right: list[str] = ["" for _ in range(b.ndim)]
    for ours, theirs in zip((*summed_a, *paired_a), (*summed_b, *paired_b), strict=True):
        right[theirs] = left[ours]
    right = [letter or next(letters) for letter in right]
    out = [left[d] for d in paired_a]
    out += [left[d] for d in range(a.ndim) if d not in (*summed_a, *paired_a)]
    out += [right[d] for d in range(b.ndim) if d not in (*summed_b, *paired_b)]
    return op.einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", a, b)


def _turned(x: Any, axes: Sequence[int]) -> Any:
    return x if tuple(axes) == tuple(range(len(axes))) else op.transpose(x, axes=tuple(axes))


def _back(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=lambda d: axes[d]))


def _convolution(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
    x, weight = operands
    space = x.ndim - 2
    if (params["precision"] is not None or params["batch_group_count"] != 1 or space not in _CONVOLUTIONS
            or any(n != 1 for n in params["lhs_dilation"])):
        return None
    numbers = params["dimension_numbers"]
    y = _CONVOLUTIONS[space](
        _turned(x, _ints(numbers.lhs_spec)), _turned(weight, _ints(numbers.rhs_spec)),
        stride=_ints(params["window_strides"]), padding=tuple([_ints(pair) for pair in params["padding"]]),
        dilation=_ints(params["rhs_dilation"]), groups=int(params["feature_group_count"]))
    return _turned(y, _back(_ints(numbers.out_spec)))


def _pool(pools: Mapping[int, Callable[..., Any]], **more: Any) -> Builder:
    def build(operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
        (x,) = operands
        kernel, stride = _ints(params["window_dimensions"]), _ints(params["window_strides"])
        padding = params["padding"]
        space = [d for d in range(x.ndim) if (kernel[d], stride[d]) != (1, 1)]
        outer = [d for d in range(x.ndim) if d not in space]
        if (len(outer) != 2 or len(space) not in pools or any(n != 1 for n in params["base_dilation"])
                or any(n != 1 for n in params["window_dilation"])
                or any(before != after for before, after in padding) or any(padding[d][0] for d in outer)):
            return None
        y = pools[len(space)](_turned(x, [*outer, *space]), tuple([kernel[d] for d in space]),
                              tuple([stride[d] for d in space]), tuple([int(padding[d][0]) for d in space]), **more)
        return _turned(y, _back([*outer, *space]))

    return build


BUILDERS: dict[str, Builder] = {
    **{name: _same(function) for name, function in _SAME.items()},
    **{name: _reduction(function) for name, function in _REDUCTIONS.items()},
    **{name: _running(function) for name, function in _RUNNING.items()},
    "broadcast_in_dim": _broadcast, "concatenate": _concatenate, "conv_general_dilated": _convolution,
    "convert_element_type": _cast, "dot_general": _dot, "integer_pow": _integer_pow, "iota": _iota,
    "reduce_window_max": _pool(_MAX_POOLS),
    # With every window divided by one, an average is a sum.
    "reduce_window_sum": _pool(_AVG_POOLS, divisor_override=1),
    "reshape": _reshape, "rev": _reverse, "select_n": _select, "slice": _slice, "squeeze": _squeeze,
    "transpose": _transpose,
}
