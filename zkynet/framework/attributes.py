"""Static attributes of operators: part of the structural key, so equal means equal in type too.

To Python 2, 2.0 and True are equal keys, 0.0 and -0.0 too, and nan is equal to nothing. To a compiled
program the first are different and the last is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .errors import InputError
from .nodes import Expression
from .templates import Template

_LOOSE = (bool, float, complex, np.generic)


class Attributes(tuple):
    """The attributes of one operator node. Interned: hashed and compared by identity."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


_interned: dict[Any, Attributes] = {}


def interned(values: Sequence[Any]) -> tuple:
    """The one Attributes object with exactly these values.

    >>> interned([2, (1, True)]) is interned([2, (1, True)])
    True
    >>> interned([2, (1, True)]) is interned([2, (1, 1)])
    False
    """
    if not values:
        return ()
    key = exact(tuple(values))
    found = _interned.get(key)
    if found is None:
        store = _interned
        for value in values:
            if hasattr(value, "uses"):  # a structure keeps what belongs to it, so that both can be freed
                store = value.uses
                break
        found = store.get(key)
        if found is None:
            found = store.setdefault(key, Attributes(values))
    return found


def exact(value: Any) -> Any:
    """A key that tells numbers apart by type, and floats by every bit that matters.

    >>> exact(1) == exact(True), exact(0.0) == exact(-0.0), exact(float("nan")) == exact(float("nan"))
    (False, False, True)
    """
    kind = value.__class__
    if kind is tuple:
        return tuple([exact(item) for item in value])
    if isinstance(value, _LOOSE):
        return kind, repr(value)
    return value


_PLAIN = frozenset((int, bool, str, type(None)))


def tells_apart(value: Any) -> bool:
    """Whether, together with its class, the value is equal to none that means something else."""
    kind = value.__class__
    if kind in _PLAIN:
        return True
    if kind is float:
        return value != 0.0 and value == value  # not -0.0 and 0.0, not nan
    if kind is tuple:
        for item in value:
            if item.__class__ is not int and (item.__class__ is not tuple or not tells_apart(item)):
                return False
        return True
    return False


def freeze(value: Any, name: str, op: Any) -> Any:
    """A hashable form of a static attribute."""
    if isinstance(value, (list, tuple)):
        return tuple([freeze(item, name, op) for item in value])
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Expression, Template, jax.Array, np.ndarray)):
        raise InputError(
            f"attribute {name!r} of operator {op.name} is static (part of the compiled program), but got "
            f"{type(value).__name__}. Pass a Python value, or declare it as an input.")
    try:
        hash(value)
    except TypeError:
        raise InputError(f"attribute {name!r} of operator {op.name} must be hashable, but got "
                         f"{type(value).__name__}.") from None
    return value
