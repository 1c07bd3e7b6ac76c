"""Fully connected nets: one affine map of given values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..framework import cg, op
from ..framework.errors import ShapeError


class Linear(cg.Module):
    """y = W x + b, for a vector x or for each row of a batch.

    The affine map that starts from values of your own; `nn.Linear` makes its own from sizes.

    Args:
        W0: initial W, (out, in).
        b0: initial b, (out,), or a number for all of them.

    Input (..., in), output (..., out). Parameters: W (out, in), b (out,).

    Raises:
        ShapeError: when W0 has not two axes, b0 does not fit it, or the input does not.

    >>> from zkynet.models import fcn
    >>> import numpy as np
    >>> m = fcn.Linear(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([10.0, 20.0]))
    >>> result = m(np.array([3.0, 4.0]))
    >>> result.value.tolist()
    [21.0, 24.0]
    >>> result.back(np.array([1.0, 0.0]))
    >>> result.grad(m.param("W")).tolist(), result.grad(m.input("x")).tolist()
    ([[3.0, 4.0], [0.0, 0.0]], [1.0, 2.0])
    """

    def __init__(self, W0: Any, b0: Any):
        shape, offset = np.shape(W0), np.shape(b0)
        if len(shape) != 2 or offset not in ((), (shape[0],)):
            raise ShapeError(f"fcn.Linear needs W0 of the shape (out, in) and b0 of the shape (out,), but got {shape} "
                             f"and {offset}.")
        parameters = cg.Parameter("W", W0), cg.Parameter("b", np.broadcast_to(b0, shape[:1]))
        super().__init__(inputs=(cg.Variable("x"),), params=parameters)

    def call(self, x: Any) -> Any:
        W = self.param("W")
        if not x.shape or x.shape[-1] != W.shape[1]:
            raise ShapeError(f"fcn.Linear has W of the shape {W.shape}, so its input needs {W.shape[1]} as its last "
                             f"axis, but got the shape {tuple(x.shape)}.")
        return op.linear(x, W, self.param("b"))
