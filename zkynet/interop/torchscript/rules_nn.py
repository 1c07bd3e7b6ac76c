"""Rules of layers: convolution, pooling, normalisation, embedding, attention, interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...framework import op
from ...framework.errors import GraphError
from ...framework.leaves import grounded
from ...framework.operators.resize import resize
from ...framework.session import current_session
from ...framework.templates import State
from ...nn import scaled_dot_product_attention
from .registry import add_rules, draw, node, rank, rule, shape_of
from .rules_python import number

# Convolution ----------------------------------------------------------------------------------------------------

_CONV = {1: op.conv1d, 2: op.conv2d, 3: op.conv3d}
_CONV_TRANSPOSE = {1: op.conv_transpose1d, 2: op.conv_transpose2d, 3: op.conv_transpose3d}


def _each(values: Any, space: int) -> Any:
    """PyTorch takes one number for all axes."""
    if isinstance(values, str):
        return values
    return tuple(values) * space if len(values) == 1 else tuple(values)


def _conv(space: int) -> Any:
    def conv(x: Any, weight: Any, bias: Any = None, stride: Any = (1,), padding: Any = (0,), dilation: Any = (1,),
             groups: int = 1) -> Any:
        return _CONV[space](x, weight, bias, _each(stride, space), _each(padding, space), _each(dilation, space),
                            groups)
    return conv


def _transposed(space: int) -> Any:
    def conv(x: Any, weight: Any, bias: Any = None, stride: Any = (1,), padding: Any = (0,),
             output_padding: Any = (0,), groups: int = 1, dilation: Any = (1,)) -> Any:
        return _CONV_TRANSPOSE[space](x, weight, bias, _each(stride, space), _each(padding, space),
                                      _each(output_padding, space), groups, _each(dilation, space))
    return conv


for _space in (1, 2, 3):
    _name = "conv_transpose2d.input" if _space == 2 else f"conv_transpose{_space}d"
    add_rules({f"conv{_space}d": _conv(_space), _name: _transposed(_space)})


@rule("_convolution", "convolution")
def _(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
      output_padding: Any, groups: int, *_: Any) -> Any:
    space = rank(weight) - 2
    if transposed:
        return _transposed(space)(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(space)(x, weight, bias, stride, padding, dilation, groups)


# Pooling --------------------------------------------------------------------------------------------------------

_MAX = {1: op.max_pool1d, 2: op.max_pool2d, 3: op.max_pool3d}
_AVG = {1: op.avg_pool1d, 2: op.avg_pool2d, 3: op.avg_pool3d}
_ADAPTIVE_MAX = {1: op.adaptive_max_pool1d, 2: op.adaptive_max_pool2d, 3: op.adaptive_max_pool3d}
_ADAPTIVE_AVG = {1: op.adaptive_avg_pool1d, 2: op.adaptive_avg_pool2d, 3: op.adaptive_avg_pool3d}


def _max_pool(space: int, indices: bool) -> Any:
    def pool(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,),
             ceil: bool = False) -> Any:
        return _MAX[space](x, _each(kernel, space), _each(stride or kernel, space), _each(padding, space),
                           _each(dilation, space), bool(ceil), indices)
    return pool


def _avg_pool(space: int) -> Any:
    def pool(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), ceil: bool = False, include: bool = True,
             divisor: int | None = None) -> Any:
        return _AVG[space](x, _each(kernel, space), _each(stride or kernel, space), _each(padding, space),
                           bool(ceil), bool(include), divisor)
    return pool


for _space in (1, 2, 3):
    add_rules({
        f"max_pool{_space}d": _max_pool(_space, False), f"max_pool{_space}d_with_indices": _max_pool(_space, True),
        f"avg_pool{_space}d": _avg_pool(_space),
        f"adaptive_avg_pool{_space}d": lambda x, size, pool=_ADAPTIVE_AVG[_space]: pool(x, tuple(size)),
        f"adaptive_max_pool{_space}d": lambda x, size, pool=_ADAPTIVE_MAX[_space]: pool(x, tuple(size), True),
    })

# Normalisation --------------------------------------------------------------------------------------------------


class _Caller:
    name = "batch_norm"


def _affine(y: Any, weight: Any, bias: Any, along: int) -> Any:
    """For a bias without a weight, which zkynet's operators do not take."""
    if bias is None or weight is not None:
        return y
    return y + op.reshape(bias, shape=(*shape_of(bias), *(1,) * (rank(y) - along - rank(bias))))


def _own(x: Any, weight: Any, bias: Any, axis: Any, eps: Any, along: Any = None) -> Any:
    return op.normalize(x, weight, None if weight is None else bias, axis=axis, eps=float(eps), along=along)


@rule("layer_norm")
def _(x: Any, size: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Any:
    axis = -1 if len(size) == 1 else tuple(range(-len(size), 0))
    return _affine(_own(x, weight, bias, axis, eps), weight, bias, rank(x) - len(size))


@rule("rms_norm")
def _(x: Any, size: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    import jax.numpy as jnp

    axis = -1 if len(size) == 1 else tuple(range(-len(size), 0))
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else float(eps)
    return op.normalize(x, weight, axis=axis, eps=eps, center=False)


@rule("group_norm")
def _(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Any:
    shape = tuple(shape_of(x))
    parts = op.reshape(x, shape=(shape[0], groups, shape[1] // groups, *shape[2:]))
    y = _own(parts, weight, bias, tuple(range(2, rank(parts))), eps, (1, 2))
    return _affine(op.reshape(y, shape=shape), weight, bias, 1)


def _by_channels(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, own: bool, momentum: Any, eps: Any,
                 axis: Any) -> Any:
    """By the input's own statistics, which move the running ones if there are any, or by the running ones."""
    kept = None if weight is None else bias
    if not own and mean is not None:
        y = op.standardize(x, _exact(mean), _exact(variance), weight, kept, eps=float(eps))
        return _affine(y, weight, bias, 1)
    if mean is not None:
        _move(mean, variance, x, axis, momentum)
    return _affine(_own(x, weight, bias, axis, eps, 1), weight, bias, 1)


def _exact(state: Any) -> Any:
    """The statistics themselves, not what the precision in force makes of them."""
    return grounded(state, current_session.get(), _Caller) if isinstance(state, State) else state


def _move(mean: Any, variance: Any, x: Any, axis: Any, momentum: Any) -> None:
    if not (isinstance(mean, State) and isinstance(variance, State)):
        raise GraphError("batch norm moves running statistics that are no buffers of the model, which is not "
                         "supported: register them as buffers.")
    rate = momentum if momentum.__class__ is float else 1.0
    olds = _exact(mean), _exact(variance)
    news = op.running_moments(*olds, 0, x, axis=axis, momentum=rate)[:2]
    for state, old, new in zip((mean, variance), olds, news, strict=True):
        # A rate that is computed, as that of a plain average, is one over the number of batches.
        state.value = new if rate is momentum else old + momentum * (new - old)


@rule("batch_norm")
def _(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: Any, eps: float,
      *_: Any) -> Any:
    axis = 0 if rank(x) == 2 else (0, *range(2, rank(x)))
    return _by_channels(x, weight, bias, mean, variance, bool(training), momentum, eps, axis)


@rule("instance_norm")
def _(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, own: bool, momentum: Any, eps: float,
      *_: Any) -> Any:
    return _by_channels(x, weight, bias, mean, variance, bool(own), momentum, eps, tuple(range(2, rank(x))))


# Embedding and attention ------------------------------------------------------------------------------------------


@rule("embedding")
def _(weight: Any, indices: Any, padding: int = -1, *_: Any) -> Any:
    indices = node(indices)
    y = op.take(weight, indices, axis=0)
    if padding < 0:
        return y
    padded = op.expand_dims(op.equal(indices, padding), axis=-1)
    return op.where(padded, op.stop_gradient(y), y)


@rule("scaled_dot_product_attention", random=True)
def _(stream: Any, query: Any, key: Any, value: Any, mask: Any = None, p: Any = 0.0, causal: bool = False,
      scale: Any = None, grouped: bool = False) -> Any:
    p = number(p, float)
    return scaled_dot_product_attention(query, key, value, mask, p, bool(causal), scale, bool(grouped),
                                        draw(stream) if p else None)


# Interpolation ----------------------------------------------------------------------------------------------------


def _resized(mode: str, aligns: bool) -> Any:
    def resized(x: Any, size: Any = None, *more: Any) -> Any:
        corners, factors = (more[0], more[1]) if aligns else (False, more[0])
        space, scale = shape_of(x)[2:], None
        if size is None:
            size = [math.floor(n * f) for n, f in zip(space, factors, strict=True)]
            scale = tuple([1.0 / f for f in factors])
        return resize(x, size=tuple(size), mode=mode, align_corners=bool(corners), scale=scale)
    return resized


for _space, _name in ((1, "linear"), (2, "bilinear"), (3, "trilinear")):
    add_rules({f"upsample_{_name}{_space}d.vec": _resized("linear", True),
               f"upsample_nearest{_space}d.vec": _resized("nearest", False),
               f"_upsample_nearest_exact{_space}d.vec": _resized("nearest-exact", False)})
add_rules({"upsample_bicubic2d.vec": _resized("cubic", True)})
