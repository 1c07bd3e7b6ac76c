"""Random numbers from explicit keys: the same key gives the same numbers, eager or compiled.

A key is a uint32 array of two elements (Threefry-2x32; Salmon et al., "Parallel random numbers: as easy as 1, 2,
3", 2011), made by `random_key` and used once: `split_key` makes new ones. `RandomStream` does so by itself.
Gradients flow to the parameters of a distribution where its numbers are a smooth function of them (mean and std of
`normal`), never to keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..nodes import Node
from .arguments import misfit, node_of
from .create import default_dtype, shape_of
from .registry import builtin

Shape = int | Sequence[int]


def _typed(key: jax.Array) -> Any:
    """The key as JAX's functions take it."""
    if key.shape != (2,) or key.dtype != jnp.uint32:
        raise InputError(f"a random key is a uint32 array of shape (2,), made by op.random_key(seed) or drawn from a "
                         f"RandomStream, but got {key.dtype.name}{list(key.shape)}.")
    return jax.random.wrap_key_data(key, impl="threefry2x32")


# Keys -------------------------------------------------------------------------------------------------------


@builtin(no_gradient=True)
def random_key(seed):
    """The key of an integer seed.

    >>> from zkynet.framework import op
    >>> op.random_key(7).value.tolist()
    [0, 7]
    """
    return jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))


@builtin(no_gradient=True)
def split_key(key):
    """Two new keys (key, subkey) of one: go on with the first, draw numbers with the second.

    >>> from zkynet.framework import op
    >>> key, subkey = op.split_key(op.random_key(7))
    >>> key.shape, bool((key.value == subkey.value).any())
    ((2,), False)
    """
    new = jax.random.key_data(jax.random.split(_typed(key)))
    return new[0], new[1]


# Distributions ----------------------------------------------------------------------------------------------


@builtin(no_gradient=True)
def standard_uniform(key, *, shape, dtype):
    """Uniform numbers in [0, 1)."""
    return jax.random.uniform(_typed(key), shape, dtype)


@builtin(no_gradient=True)
def standard_normal(key, *, shape, dtype):
    """Normal numbers of mean 0 and variance 1."""
    return jax.random.normal(_typed(key), shape, dtype)


@builtin(name="truncated_normal", no_gradient=True)
def between(key, lower, upper, *, shape, dtype):
    """Normal numbers of mean 0 and variance 1, given that they are between lower and upper."""
    return jax.random.truncated_normal(_typed(key), lower, upper, shape, dtype)


@builtin(name="randint", no_gradient=True)
def integers(key, low, high, *, shape, dtype):
    """Uniform integers in [low, high)."""
    return jax.random.randint(_typed(key), shape, low, high, dtype)


@builtin(name="bernoulli", no_gradient=True)
def chances(key, p, *, shape):
    """True with probability p."""
    p = p if jnp.issubdtype(p.dtype, jnp.floating) else p.astype(jnp.result_type(float))
    return jax.random.bernoulli(_typed(key), p, shape)


@builtin(name="categorical", no_gradient=True)
def classes(key, logits, *, axis, shape):
    """Indices along an axis, with probabilities softmax(logits)."""
    return jax.random.categorical(_typed(key), logits, axis, shape)


@builtin(name="permutation", no_gradient=("key",))
def shuffled(x, key, *, axis, inverse=False):
    """x with the elements along an axis in random order, or back in their own."""
    order = jax.random.permutation(_typed(key), x.shape[axis])
    return jnp.take(x, jnp.argsort(order) if inverse else order, axis, unique_indices=True)


@shuffled.def_vjp
def _(g, y, x, key, *, axis, inverse):
    return shuffled(g, key, axis=axis, inverse=not inverse), None


@builtin(no_gradient=("key",))
def dropout(x, key, *, p=0.5):
    """y = x / (1 - p) with probability 1 - p, else 0: the expectation stays. The gradient uses the same mask.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014, in the inverted
    form that PyTorch uses; p is the probability of zero.

    Raises:
        InputError: when p is no probability.

    >>> from zkynet.framework import op
    >>> y = op.dropout([1.0, 1.0, 1.0, 1.0], op.random_key(0), p=0.5)
    >>> sorted(set(y.value.tolist()))
    [0.0, 2.0]
    """
    if not 0 <= p <= 1:
        raise InputError(f"dropout: p is the probability of zero, from 0 to 1, but got {p!r}.")
    if p in (0, 1):
        return x * (1.0 - p)
    kept = jax.random.bernoulli(_typed(key), 1.0 - p, x.shape)
    return jnp.where(kept, x / (1.0 - p), 0.0)


@dropout.def_vjp
def _(g, y, x, key, *, p):
    return dropout(g, key, p=p), None


# Public functions -------------------------------------------------------------------------------------------


def _floating(dtype: Any) -> np.dtype:
    return default_dtype() if dtype is None else jax.dtypes.canonicalize_dtype(dtype)


def _parameter(value: Any, shape: tuple[int, ...], dtype: np.dtype, what: str, name: str) -> Any:
    """A parameter of a distribution: a number, or a node that broadcasts to the shape."""
    if isinstance(value, (int, float)):
        return float(value)
    node = node_of(value, name)
    try:
        fits = np.broadcast_shapes(node.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise misfit(name, f"{what} {node.aval!r} does not broadcast to the shape {shape}.")
    return node


def _scaled(numbers: Node, scale: Any, shift: Any) -> Node:
    scaled = numbers if isinstance(scale, float) and scale == 1.0 else scale * numbers
    return scaled if isinstance(shift, float) and shift == 0.0 else shift + scaled


def uniform(key: Any, shape: Shape = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = None) -> Node:
    """y = low + (high - low) u with u uniform in [0, 1).

    Args:
        key: from `random_key`, `split_key` or a RandomStream.
        low, high: numbers, or nodes that broadcast to the shape (and have a gradient).
        dtype: float32, or the precision in force, by default.

    Raises:
        ShapeError: when low or high do not broadcast to the shape.

    >>> from zkynet.framework import op
    >>> y = op.uniform(op.random_key(0), (100,), 2.0, 3.0)
    >>> bool((y.value >= 2.0).all() and (y.value <= 3.0).all())
    True
    """
    shape, dtype = shape_of(shape), _floating(dtype)
    low, high = (_parameter(v, shape, dtype, what, "uniform") for v, what in ((low, "low"), (high, "high")))
    return _scaled(standard_uniform(key, shape=shape, dtype=dtype), high - low, low)


def normal(key: Any, shape: Shape = (), mean: Any = 0.0, std: Any = 1.0, dtype: Any = None) -> Node:
    """y = mean + std z with z standard normal.

    Args:
        key: from `random_key`, `split_key` or a RandomStream.
        mean, std: numbers, or nodes that broadcast to the shape (and have a gradient).
        dtype: float32, or the precision in force, by default.

    Raises:
        ShapeError: when mean or std do not broadcast to the shape.

    >>> from zkynet.framework import op
    >>> op.normal(op.random_key(0), (2, 3)).shape
    (2, 3)
    """
    shape, dtype = shape_of(shape), _floating(dtype)
    mean, std = (_parameter(v, shape, dtype, what, "normal") for v, what in ((mean, "mean"), (std, "std")))
    return _scaled(standard_normal(key, shape=shape, dtype=dtype), std, mean)


def truncated_normal(key: Any, shape: Shape = (), mean: Any = 0.0, std: Any = 1.0, lower: Any = -2.0,
                     upper: Any = 2.0, dtype: Any = None) -> Node:
    """y = mean + std z with z standard normal, given that it is between lower and upper.

    Args:
        mean, std: numbers, or nodes that broadcast to the shape (and have a gradient).
        lower, upper: bounds of z, that is in units of std; they have no gradient.

    >>> from zkynet.framework import op
    >>> y = op.truncated_normal(op.random_key(0), (100,), std=3.0)
    >>> bool((abs(y.value) <= 6.0).all())
    True
    """
    shape, dtype = shape_of(shape), _floating(dtype)
    name = "truncated_normal"
    mean, std = (_parameter(v, shape, dtype, what, name) for v, what in ((mean, "mean"), (std, "std")))
    return _scaled(between(key, lower, upper, shape=shape, dtype=dtype), std, mean)


def randint(key: Any, shape: Shape, low: Any, high: Any, dtype: Any = "int32") -> Node:
    """Uniform integers in [low, high); low and high are integers or nodes that broadcast to the shape.

    >>> from zkynet.framework import op
    >>> sorted(set(op.randint(op.random_key(0), (100,), 2, 5).value.tolist()))
    [2, 3, 4]
    """
    return integers(key, low, high, shape=shape_of(shape), dtype=jax.dtypes.canonicalize_dtype(dtype))


def bernoulli(key: Any, p: Any = 0.5, shape: Shape | None = None) -> Node:
    """True with probability p, else False; of the shape of p by default.

    >>> from zkynet.framework import op
    >>> op.bernoulli(op.random_key(0), [0.0, 1.0]).value.tolist()
    [False, True]
    """
    return chances(key, p, shape=None if shape is None else shape_of(shape))


def categorical(key: Any, logits: Any, axis: int = -1, shape: Shape | None = None) -> Node:
    """Indices along an axis of the logits, with probabilities softmax(logits).

    Args:
        logits: unnormalised log probabilities; -inf for what must not be drawn.
        shape: of the result; by default that of the logits without the axis, to which it must broadcast.

    >>> from zkynet.framework import op
    >>> op.categorical(op.random_key(0), [[0.0, -1e9], [-1e9, 0.0]]).value.tolist()
    [0, 1]
    """
    return classes(key, logits, axis=axis, shape=None if shape is None else shape_of(shape))


def permutation(key: Any, x: Any, axis: int = 0) -> Node:
    """x with what is along an axis in random order; an int n stands for 0, 1, ..., n - 1.

    >>> from zkynet.framework import op
    >>> sorted(op.permutation(op.random_key(0), 4).value.tolist())
    [0, 1, 2, 3]
    """
    if isinstance(x, (int, np.integer)):
        x = np.arange(x, dtype=np.int32)
    node = node_of(x, "permutation")
    if not -node.ndim <= axis < node.ndim:
        raise misfit("permutation", f"axis {axis} is out of range for {node.aval!r}.")
    return shuffled(node, key, axis=axis)


__all__ = [
    "bernoulli", "categorical", "dropout", "normal", "permutation", "randint", "random_key", "split_key",
    "truncated_normal", "uniform",
]
