"""Layer: a Module whose parameters may wait for the first input."""

from __future__ import annotations

import math
from typing import Any

from ..framework import cg
from ..framework.errors import InputError, ShapeError
from ..framework.operators.arguments import is_int
from .init import Initialiser, initial, uniform


class Layer(cg.Module):
    """What the layers have in common: parameters by initialiser, and sizes taken from the first input.

    A layer that was given None for a size of its input sets `self.deferred = True`, makes its parameters in the first
    `call()` and then sets it False. Until then asking for its parameters is an error that says so. When that call, or
    one around it, fails, the layer gets back the attributes it had before.
    """

    def make(self, name: str, shape: tuple[int, ...], how: Initialiser | None, fan_in: int = 1) -> None:
        """Set the attribute `name` to a new Parameter; without an initialiser uniform in +-1/sqrt(fan_in), as PyTorch's
        weights and biases are."""
        if how is None:
            bound = 1.0 / math.sqrt(max(fan_in, 1))
            value = uniform(shape, -bound, bound)
        else:
            value = initial(how, shape)
        setattr(self, name, cg.Parameter(name, value))

    def check_sizes(self, least: int = 0, **sizes: Any) -> None:
        """Raise unless each size is an int, not below `least`."""
        for name, size in sizes.items():
            if not is_int(size) or size < least:
                raise InputError(f"{self.functional_name}: {name} must be an int >= {least}, but got {size!r}.")

    def last_size(self, input: Any) -> int:
        """The size of the input's last axis."""
        if not input.shape:
            raise ShapeError(f"{self.functional_name} takes its sizes from the last axis of its first input, but got a "
                             "scalar.")
        return input.shape[-1]

    def check_last(self, input: Any, size: int | None, what: str) -> None:
        """Raise unless the last axis of the input has this size."""
        shape = input.shape
        if not shape or shape[-1] != size:
            raise ShapeError(f"{self.functional_name} was made for {what}={size}, but its input has the shape "
                             f"{tuple(shape)}: the last axis must be {size}.")

    def extra(self) -> str:
        """What `repr` shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        return f"{self.functional_name}({self.extra()})"

