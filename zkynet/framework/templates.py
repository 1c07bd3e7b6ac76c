"""Placeholders that a Module is written with: Variable, Parameter, Constant and State.

A template has a name and no node. Calling a Module grounds its templates: each becomes a leaf node of
that call's graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .avals import Aval, aval_of, kept_dtype
from .errors import GraphError, InputError, ShapeError
from .session import current_session
from .symbols import Symbols

if TYPE_CHECKING:
    from .nodes import Node


def as_array(value: Any, name: str) -> jax.Array:
    """A JAX array from an array, a number or a nested list of numbers; refuses anything else by name."""
    if isinstance(value, jax.Array):  # a typed random key becomes the integers it is made of
        return value if isinstance(value.dtype, np.dtype) else jax.random.key_data(value)
    try:
        array = np.asarray(value)
        if not is_numeric(array.dtype):
            raise TypeError(f"dtype {array.dtype}")
        return jnp.array(array, kept_dtype(array, name))
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name!r} needs a number or an array of numbers, but got {type(value).__name__} "
            f"{str(value)[:60]!r} ({error}). Convert it to a numeric NumPy or JAX array first."
        ) from None


def is_numeric(dtype: np.dtype) -> bool:
    """Whether JAX computes with this dtype (bfloat16 and the like have NumPy's kind "V", as records do)."""
    return dtype.kind in "biufc" or dtype.kind == "V" and jnp.issubdtype(dtype, jnp.number)


def _family(dtype: np.dtype) -> str:
    return "f" if jnp.issubdtype(dtype, jnp.floating) else dtype.kind


def keeps_dtype(own: np.dtype, new: np.dtype) -> bool:
    """Whether a held value of dtype `own` stays so when it is given one of dtype `new`: always, unless that would
    lose more than rounding does (a fraction given to an integer)."""
    return _family(own) == _family(new) == "f" or jnp.promote_types(own, new) == own


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


class Held(Template, Symbols):
    """A template that holds an array between calls.

    Inside a call (or a compiled function) it may be assigned a node: the update is part of the graph and takes
    effect when anything of that graph is computed (value, back, step). A later call that comes before sees the
    new value all the same, as an expression.
    """

    __slots__ = ("_value", "aval", "_pending", "__weakref__")
    _value: jax.Array
    aval: Aval
    _pending: Node | None
    # Whether any update was ever assigned: graphs without updates must not pay for looking.
    any_pending = False
    optional = False  # whether a state_dict without it is complete all the same

    def __init__(self, name: str, value: Any):
        super().__init__(name)
        self._pending = None
        array = as_array(value, name)
        # A parameter's dtype is its own: it must not change with what it is combined with.
        self._store(array.astype(array.dtype) if array.weak_type else array)

    def _store(self, array: jax.Array) -> None:
        self._value = array
        self.aval = aval_of(array)

    @property
    def value(self) -> jax.Array:
        """The present value; computes an update that is still pending."""
        pending = self._pending
        if pending is not None:
            array = pending.value
            if self._pending is pending:
                self.commit(array)
        return self._value

    @value.setter
    def value(self, new: Any) -> None:
        session = current_session.get()
        root: Any = getattr(new, "root", None)  # of nodes and results of modules
        update = None if root is None else self._fitting_node(root, session)
        array = self._value if root is not None else self._fitting(new)
        if update is None and session is not None and session.traced:  # so that a compiled function does it every time
            from .leaves import array_leaf

            update = self._fitting_node(array_leaf(array, None, None, self.name), session)
        if session is not None:
            session.updates.append((self, self._pending, self._value))
        if update is None:
            self._pending = None
            self._store(array)
            return
        self._pending = update
        Held.any_pending = True
        updated = update.call.updated = update.call.updated or []
        if self not in updated:
            updated.append(self)

    def __getstate__(self) -> Any:
        _ = self.value  # an update that is still pending would take its graph along
        return super().__getstate__()

    def misfit(self, array: jax.Array) -> str | None:
        """What is wrong with an array as this one's value, when its shape and dtype must stay; None when it fits."""
        own, new = self.aval.dtype, array.dtype
        keeps = keeps_dtype(own, new) or new.kind != "c" and bool((array.astype(own) == array).all())
        return None if keeps and array.shape == self.aval.shape else f"is {self.aval!r}, got {aval_of(array)!r}"

    def _fitting(self, new: Any) -> jax.Array:
        array = as_array(new.value if isinstance(new, Held) else new, self.name)
        if array.shape != self.aval.shape:
            raise ShapeError(
                f"{self!r} has shape {self.aval.shape}, but the new value has shape {array.shape}. "
                f"Reshape the value, or make a new {type(self).__name__}."
            )
        own = self.aval.dtype
        if array.dtype != own and keeps_dtype(own, array.dtype):
            array = array.astype(own)
        return array.astype(array.dtype) if array.weak_type else array

    def _fitting_node(self, update: Node, session: Any) -> Node:
        if session is not None and session.traced and session.outer is not None:
            raise GraphError(f"{self!r} cannot be updated inside scan, cond, while_loop, vmap or checkpoint: return "
                             "the new value from that function and assign it outside.")
        if update.aval.shape != self.aval.shape:
            raise ShapeError(f"{self!r} cannot be updated with {update.aval!r}: its shape must stay the same.")
        if update.aval.dtype == self.aval.dtype and not update.aval.weak_type:
            return update
        if not keeps_dtype(self.aval.dtype, update.aval.dtype):
            raise ShapeError(f"{self!r} cannot be updated with {update.aval!r} without losing digits: make it a "
                             f"{type(self).__name__} of floats from the start, or cast the update.")
        from .operators.shape import cast

        return cast(update, dtype=self.aval.dtype)

    def commit(self, array: jax.Array) -> None:
        """Take a computed update as the present value."""
        self._pending = None
        self._keep(array)

    def restore(self, pending: Any, value: jax.Array) -> None:
        """Undo the updates of a call that failed."""
        self._pending = pending
        self._keep(value)

    def _keep(self, array: jax.Array) -> None:
        """Store it; as one of the 64-bit mode in force only if shape or dtype are others than before."""
        if array.shape == self.aval.shape and array.dtype == self.aval.dtype:
            self._value = array
        else:
            self._store(array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.aval!r})"


class Parameter(Held):
    """A value that is learned: `result.grad(p)` is the gradient with respect to it.

    Args:
        name: its name within the Module.
        value: a number or an array; its dtype is kept.
        trainable: a frozen parameter (False) is left out of `parameters(trainable=True)` and of steps.

    >>> Parameter("w", 1).value
    Array(1, dtype=int32)
    """

    __slots__ = ("trainable",)

    def __init__(self, name: str, value: Any = 0.0, trainable: bool = True):
        super().__init__(name, value)
        self.trainable = trainable


class Constant(Held):
    """A named array that is never learned; it is an argument of compiled programs, not part of them."""

    __slots__ = ()

    def _fitting_node(self, update: Node, session: Any) -> Node:
        raise GraphError(f"{self!r} cannot be updated by a call: use a cg.State for what calls change.")


class State(Held):
    """A value that calls read and update by assignment: running statistics, a random key, a cache."""

    __slots__ = ()
