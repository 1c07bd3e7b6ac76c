"""Placeholders that a Module is written with: Variable, Parameter, Constant and State.

A template has a name and no node. Calling a Module grounds its templates: each becomes a leaf node of
that call's graph.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .avals import Aval, aval_of
from .errors import GraphError, InputError, ShapeError
from .session import current_session
from .symbols import Symbols


def as_array(value: Any, name: str) -> jax.Array:
    """A JAX array from an array, a number or a nested list of numbers; refuses anything else by name."""
    if isinstance(value, jax.Array):
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufcV":
            raise TypeError(f"dtype {array.dtype}")
        return jnp.array(array)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name!r} needs a number or an array of numbers, but got {type(value).__name__} "
            f"{str(value)[:60]!r} ({error}). Convert it to a numeric NumPy or JAX array first."
        ) from None


class Template:
    """A named placeholder. `short_name` is the name alone; `name` adds the owner once it has one."""

    __slots__ = ("short_name", "owner")

    def __init__(self, name: str):
        if not isinstance(name, str) or not name:
            raise InputError(f"a {type(self).__name__} needs a non-empty string as its name, but got {name!r}")
        self.short_name = name
        self.owner: str | None = None

    @property
    def name(self) -> str:
        return self.short_name if self.owner is None else f"{self.owner}.{self.short_name}"

    @property
    def functional_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Variable(Template):
    """An input of a Module or an Operator; it gets its value when that is called.

    `differentiable=False` declares an operator's input that never has a gradient, such as an index.
    """

    __slots__ = ("differentiable",)

    def __init__(self, name: str, differentiable: bool = True):
        super().__init__(name)
        self.differentiable = differentiable


class _Held(Template, Symbols):
    """A template that holds an array between calls."""

    __slots__ = ("_value", "aval")
    _value: jax.Array
    aval: Aval

    def __init__(self, name: str, value: Any):
        super().__init__(name)
        array = as_array(value, name)
        # A parameter's dtype is its own: it must not change with what it is combined with.
        self._store(array.astype(array.dtype) if array.weak_type else array)

    def _store(self, array: jax.Array) -> None:
        self._value = array
        self.aval = aval_of(array)

    @property
    def value(self) -> jax.Array:
        return self._value

    @value.setter
    def value(self, new: Any) -> None:
        array = as_array(new, self.name)
        if array.shape != self.aval.shape:
            raise ShapeError(
                f"{self!r} has shape {self.aval.shape}, but the new value has shape {array.shape}. "
                f"Reshape the value, or make a new {type(self).__name__}."
            )
        self._store(array.astype(array.dtype) if array.weak_type else array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.aval!r})"


class Parameter(_Held):
    """A value that is learned: `result.grad(p)` is the gradient with respect to it.

    Args:
        name: its name within the Module.
        value: a number or an array; its dtype is kept.
        trainable: a frozen parameter (False) is left out of `parameters(trainable=True)` and of steps.

    >>> Parameter("w", 1).value
    Array(1, dtype=int32)
    """

    __slots__ = ("trainable", "__weakref__")

    def __init__(self, name: str, value: Any = 0.0, trainable: bool = True):
        super().__init__(name, value)
        self.trainable = trainable


class Constant(_Held):
    """A named array that is never learned; it is an argument of compiled programs, not part of them."""

    __slots__ = ("__weakref__",)


class State(_Held):
    """A value that calls read and update: running statistics, a random key, a cache.

    Inside `call()`, use it like a Parameter and assign `state.value = node` to update it. The update is part
    of the graph and takes effect when anything of that graph is computed (value, back, step); a later call
    that comes before sees the new value all the same, as an expression.
    """

    __slots__ = ("_pending", "__weakref__")
    # Whether any update was ever assigned: graphs without states must not pay for looking.
    any_pending = False

    def __init__(self, name: str, value: Any):
        self._pending: Any = None
        super().__init__(name, value)

    @property
    def value(self) -> jax.Array:
        """The present value; computes an update that is still pending."""
        if self._pending is not None:
            array = self._pending.value
            if self._pending is not None:
                self.commit(array)
        return self._value

    @value.setter
    def value(self, new: Any) -> None:
        session = current_session.get()
        aval = getattr(new, "aval", None) if hasattr(new, "call") else None
        if aval is None:
            if session is not None:
                session.states.append((self, self._pending, self._value))  # pyright: ignore[reportArgumentType]
            self._pending = None
            _Held.value.fset(self, new)  # pyright: ignore[reportOptionalCall]
            return
        if aval.shape != self.aval.shape:
            raise ShapeError(f"{self!r} cannot be updated with {aval!r}: keep the shape of a State fixed.")
        if session is not None:
            session.states.append((self, self._pending, self._value))  # pyright: ignore[reportArgumentType]
        if session is not None and session.traced and session.outer is not None:
            raise GraphError(f"{self!r} cannot be updated inside scan, cond, while_loop, vmap or checkpoint: return the "
                             "new value from that function and assign it outside.")
        self._pending = new
        State.any_pending = True
        states = new.call.states = new.call.states or []
        if self not in states:
            states.append(self)

    def commit(self, array: jax.Array) -> None:
        """Take a computed update as the present value."""
        self._pending = None
        self._store(array)

    def restore(self, pending: Any, value: jax.Array) -> None:
        """Undo updates of a call that failed."""
        self._pending = pending
        self._store(value)
