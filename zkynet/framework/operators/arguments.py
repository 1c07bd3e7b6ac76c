"""What the functions in front of operators check their arguments with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError, ShapeError
from ..leaves import Named, as_node
from ..nodes import Node
from ..session import current_session, describe_origin, user_frame


class OutOfRange(ShapeError, IndexError):
    """An index beyond the end of an axis; ends Python's iteration protocols as an IndexError."""


def node_of(value: Any, name: str) -> Node:
    """The node of a value that was given to the operator called `name`."""
    return as_node(value, current_session.get(), Named(name))


def misfit(name: str, message: str, kind: type[ShapeError] = ShapeError) -> ShapeError:
    """The error of wrong arguments that only a Python function can see, worded like those of operators."""
    return kind(f"operator {name} at {describe_origin(user_frame())}: {message}")


def is_int(value: Any) -> bool:
    """Whether it is an int, also one of NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def axis_of(axis: Any, ndim: int, name: str) -> int:
    """An axis counted from 0."""
    if not is_int(axis):
        raise InputError(f"{name}: an axis must be a Python int, but got {type(axis).__name__} {axis!r}.")
    if not -ndim <= axis < ndim:
        raise misfit(name, f"axis {axis} is out of range for an array of {ndim} axes.")
    return int(axis) % ndim
