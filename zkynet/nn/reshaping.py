"""Layers that only change the shape."""

from __future__ import annotations

import math
from typing import Any

from ..framework import op
from ..framework.errors import InputError, ShapeError
from ..framework.operators.arguments import axis_of
from .recorded import RecordedLayer


class Flatten(RecordedLayer):
    """Merge the axes from start_dim to end_dim (included) into one (torch.nn.Flatten); the batch stays by default.

    Raises:
        ShapeError: when an axis is out of range, or the end is before the start.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Flatten()(np.ones((2, 3, 4), np.float32)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def call(self, input: Any) -> Any:
        return self.replay(lambda x: op.flatten(x, self.start_dim, self.end_dim), input)

    def extra(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(RecordedLayer):
    """Split the axis `dim` into several (torch.nn.Unflatten).

    Args:
        dim: which axis.
        unflattened_size: their lengths; one of them may be -1, which is inferred.

    Raises:
        InputError: when the lengths make no sense.
        ShapeError: when they do not make up the axis.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Unflatten(1, (3, -1))(np.ones((2, 12), np.float32)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        self.dim, self.unflattened_size = dim, _checked(unflattened_size, "Unflatten: unflattened_size")

    def _split(self, x: Any) -> Any:
        axis = axis_of(self.dim, x.ndim, self.functional_name)
        sizes, length = self.unflattened_size, x.shape[axis]
        known = math.prod([n for n in sizes if n != -1])
        if length != known and (-1 not in sizes or not known or length % known):
            raise ShapeError(f"{self.functional_name}: axis {axis} of an input of shape {x.shape} has {length} "
                             f"elements, which cannot be split into {sizes}.")
        sizes = tuple([length // known if n == -1 else n for n in sizes]) if known else sizes
        return op.reshape(x, shape=(*x.shape[:axis], *sizes, *x.shape[axis + 1:]))

    def call(self, input: Any) -> Any:
        return self.replay(self._split, input)

    def extra(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Reshape(RecordedLayer):
    """y = x with the same elements, in row-major order, in another shape, the batch included (torch.Tensor.reshape).

    Args:
        shape: the lengths of all axes; one of them may be -1, which is inferred: give it to the batch.

    Raises:
        InputError: when the lengths make no sense.
        ShapeError: when the input has another number of elements.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Reshape(-1, 3, 2, 2)(np.ones((5, 12), np.float32)).shape
    (5, 3, 2, 2)
    """

    def __init__(self, *shape: Any):
        super().__init__()
        self.shape = _checked(shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape,
                              "Reshape: shape")

    def _reshaped(self, x: Any) -> Any:
        known, size = math.prod([n for n in self.shape if n != -1]), x.aval.size
        if size != known and (-1 not in self.shape or not known or size % known):
            raise ShapeError(f"{self.functional_name}: an input of shape {x.shape} has {size} elements, which do not "
                             f"fit the shape {self.shape}.")
        return op.reshape(x, shape=self.shape)

    def call(self, input: Any) -> Any:
        return self.replay(self._reshaped, input)

    def extra(self) -> str:
        return ", ".join(map(str, self.shape))


def _checked(sizes: Any, what: str) -> tuple[int, ...]:
    """Lengths of axes, of which at most one is -1."""
    wrong = not isinstance(sizes, (tuple, list)) or any([
        isinstance(n, bool) or not hasattr(n, "__index__") or n < -1 for n in sizes])
    if wrong or list(sizes).count(-1) > 1:
        raise InputError(f"{what} must be ints >= 0, one of which may be -1 (inferred), but got {sizes!r}.")
    return tuple([int(n) for n in sizes])
