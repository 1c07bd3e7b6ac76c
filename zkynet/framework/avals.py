"""Abstract values: what is known of an array before it is computed.

Avals are interned, so that comparing and hashing one is comparing and hashing a pointer. Everything that
is cached per "shapes and dtypes" (signatures of operators, structures of graphs) relies on that.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .errors import InputError


def x64_mode() -> bool:
    """Whether JAX computes in 64 bits at present."""
    return jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]


class Aval:
    """Shape, dtype and weak type (Python scalars adapt to the arrays they meet) of one array."""

    __slots__ = ("shape", "dtype", "weak_type", "x64")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, weak_type: bool, x64: bool):
        self.shape = shape
        self.dtype = dtype
        self.weak_type = weak_type
        # Result dtypes depend on JAX's 64-bit switch, so both modes keep avals of their own.
        self.x64 = x64

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def inexact(self) -> bool:
        """True for real and complex floating dtypes: those that have tangents of their own dtype."""
        return jnp.issubdtype(self.dtype, jnp.inexact)

    @property
    def struct(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.shape, self.dtype, weak_type=self.weak_type)

    def __deepcopy__(self, memo: Any) -> Aval:
        return self  # interned, also for the copy of a parameter

    def __reduce__(self) -> tuple:
        return make_aval, (self.shape, self.dtype, self.weak_type)

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


_interned: dict[tuple, Aval] = {}


def make_aval(shape: tuple[int, ...], dtype: Any, weak_type: bool = False) -> Aval:
    """The one Aval of this shape, dtype and weak type under the present 64-bit mode.

    >>> make_aval((2, 3), np.dtype("float32")) is make_aval((2, 3), np.dtype("float32"))
    True
    """
    x64: bool = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    key = (shape, dtype, weak_type, x64)
    aval = _interned.get(key)
    if aval is None:
        # setdefault: of two threads one wins, and both use its aval
        aval = _interned.setdefault(key, Aval(tuple(shape), np.dtype(dtype), weak_type, x64))
    return aval


_array_classes: dict[type, bool] = {}


def is_jax_array(value: Any) -> bool:
    """`isinstance(value, jax.Array)`, which goes through a metaclass, remembered by class."""
    kind = value.__class__
    found = _array_classes.get(kind)
    if found is None:
        found = _array_classes[kind] = isinstance(value, jax.Array)
    return found


_NUMBERS = {bool: "bool", int: "int32", float: "float32", complex: "complex64"}
_WIDE_NUMBERS = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}
_number_avals: dict[tuple[type, bool], Aval] = {}


def aval_of(value: Any) -> Aval:
    """The abstract value of a JAX array, a tracer, a NumPy array or a Python number."""
    kind = value.__class__
    if kind not in _NUMBERS:
        dtype = value.dtype
        if dtype.itemsize > 4 and dtype.kind in "iufc" and isinstance(value, (np.ndarray, np.generic)):
            dtype = jax.dtypes.canonicalize_dtype(dtype)  # what JAX makes of it
        return make_aval(value.shape, dtype, getattr(value, "weak_type", False))
    x64: bool = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    aval = _number_avals.get((kind, x64))
    if aval is None:
        dtype = np.dtype((_WIDE_NUMBERS if x64 else _NUMBERS)[kind])
        aval = _number_avals[kind, x64] = make_aval((), dtype, weak_type=kind is not bool)
    return aval


def kept_dtype(array: np.ndarray, name: str) -> np.dtype:
    """The dtype that JAX keeps an array in: of 32 bits, usually.

    Raises:
        InputError: for integers that do not fit; JAX would take other numbers for them.
    """
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if array.dtype.kind in "iu" and dtype != array.dtype and array.size:
        least, most, bounds = array.min(), array.max(), np.iinfo(dtype)
        if least < bounds.min or most > bounds.max:
            raise InputError(f"{name}: integers from {least} to {most} do not fit into {dtype}, which JAX makes of "
                             'them. Number them anew, pass floats, or use zkynet.precision("float64"), which has '
                             "64-bit integers.")
    return dtype


def aval_like(struct: Any) -> Aval:
    """The Aval of what `jax.eval_shape` returned."""
    return make_aval(struct.shape, struct.dtype, bool(getattr(struct, "weak_type", False)))
