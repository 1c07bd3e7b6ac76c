"""Shape, dtype and layout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .registry import builtin


@builtin
def cast(x, *, dtype):
    """y = x in another dtype."""
    return x.astype(dtype)


@cast.def_vjp
def _(g, y, x, *, dtype):
    return (cast(g, dtype=x.dtype) if x.aval.inexact else g,)


@builtin(no_gradient=True)
def stop_gradient(x):
    """y = x, with no gradient."""
    return x


@builtin
def full(*, shape, dtype, value):
    """An array filled with one Python number."""
    return jnp.full(shape, value, dtype)


@builtin
def broadcast_to(x, *, shape):
    """y = x repeated to `shape` by NumPy's broadcasting rules."""
    return jnp.broadcast_to(x, shape)


@broadcast_to.def_vjp
def _(g, y, x, *, shape):
    return (sum_to(g, shape=x.shape),)


@builtin
def sum_to(x, *, shape):
    """The transpose of `broadcast_to`: sum over the axes along which `shape` was broadcast to x.shape."""
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1)
    return jnp.sum(x, axes, keepdims=True).reshape(shape)


@sum_to.def_vjp
def _(g, y, x, *, shape):
    return (broadcast_to(g, shape=x.shape),)


@builtin
def reshape(x, *, shape):
    """y = x with the same elements, in row-major order, in another shape; one -1 is inferred."""
    return jnp.reshape(x, shape)


@reshape.def_vjp
def _(g, y, x, *, shape):
    return (reshape(g, shape=x.shape),)


@builtin
def transpose(x, *, axes=None):
    """y = x with its axes permuted (reversed by default)."""
    return jnp.transpose(x, axes)


@transpose.def_vjp
def _(g, y, x, *, axes):
    return (transpose(g, axes=None if axes is None else tuple(int(i) for i in np.argsort([a % x.ndim for a in axes]))),)


@builtin
def barrier(*inputs):
    """y = x, through which the compiler may not move or merge computations (for rematerialisation)."""
    return jax.lax.optimization_barrier(tuple(inputs))


@barrier.def_vjp
def _(g, y, *inputs):
    return g


@builtin
def basis(*, shape, dtype):
    """All unit arrays of a shape, stacked on axis 0: an identity matrix reshaped to (size, *shape)."""
    size = int(np.prod(shape))
    return jnp.eye(size, dtype=dtype).reshape(size, *shape)


@builtin
def moveaxis(x, *, source, destination):
    """y = x with some axes moved to new positions."""
    return jnp.moveaxis(x, source, destination)


@moveaxis.def_vjp
def _(g, y, x, *, source, destination):
    return (moveaxis(g, source=destination, destination=source),)
