"""Rows of operators/resize.py; the references are jnp.interp and NumPy's indexing. PyTorch judges the layer besides:
tests/nn/test_shape_layers.py."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework.operators.resize import resize, resize_spread


def middles(n: int, m: int, align_corners: bool, step: float | None = None) -> np.ndarray:
    if align_corners:
        return np.linspace(0.0, n - 1.0, m) if m > 1 else np.zeros(1)
    return (np.arange(m) + 0.5) * (n / m if step is None else step) - 0.5


def along(x: Any, axis: int, line: Callable[[Any], Any]) -> Any:
    """`line` applied to all lines of x."""
    moved = jnp.moveaxis(x, axis, -1)
    flat = jax.vmap(line)(moved.reshape(moved.size // x.shape[axis], x.shape[axis]))
    return jnp.moveaxis(flat.reshape(*moved.shape[:-1], flat.shape[-1]), -1, axis)


def linear(x: Any, size: tuple[int, ...], align_corners: bool = False, steps: Any = None) -> Any:
    for axis, m in enumerate(size, 2):
        at = middles(x.shape[axis], m, align_corners, None if steps is None else steps[axis - 2])
        index = np.arange(x.shape[axis])
        x = along(x, axis, lambda row, at=at, index=index: jnp.interp(at.astype(row.dtype), index, row))
    return x


def nearest(x: Any, *places: list[int]) -> Any:
    for axis, where in enumerate(places, 2):
        x = x[(slice(None),) * axis + (jnp.array(where),)]
    return x


def cubic(x: Any, m: int) -> Any:
    """The sum over all elements of Keys' kernel at their distance, in one dimension, the edges repeated."""
    n = x.shape[2]
    at = middles(n, m, False)[:, None]
    index = np.arange(-2, n + 2)
    d = np.abs(at - index)
    kernel = np.where(d <= 1, 1.25 * d**3 - 2.25 * d**2 + 1, np.where(d < 2, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4), 0))
    return jnp.einsum("mi,nci->ncm", kernel.astype(x.dtype), x[:, :, np.clip(index, 0, n - 1)])


LINE, PLANE = sample(1, 2, 5), sample(2, 1, 3, 4)
SPREAD = {"mode": "linear", "align_corners": False, "scale": None}


def transposed(x: np.ndarray, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda g: jax.vjp(function, jnp.asarray(x, g.dtype))[1](g)[0]


CASES = [
    Case("resize", lambda x: resize(x, size=(6, 5), mode="linear"), lambda x: linear(x, (6, 5)), (PLANE,), "two axes"),
    Case("resize", lambda x: resize(x, size=(7, 1), mode="linear", align_corners=True),
         lambda x: linear(x, (7, 1), True), (PLANE,), "corners, to a single element"),
    Case("resize", lambda x: resize(x, size=(3,), mode="linear"), lambda x: linear(x, (3,)), (LINE,), "smaller"),
    Case("resize", lambda x: resize(x, size=(8,), mode="linear", scale=(0.6,)),
         lambda x: linear(x, (8,), steps=(0.6,)), (LINE,), "distance given"),
    Case("resize", lambda x: resize(x, size=(100,), mode="linear"), lambda x: linear(x, (100,)), (LINE,),
         "many taps back"),
    Case("resize", lambda x: resize(x, size=(2, 2, 3), mode="linear"), lambda x: linear(x, (2, 2, 3)),
         (sample(1, 1, 2, 3, 2),), "three axes"),
    Case("resize", lambda x: resize(x, size=(6, 5), mode="nearest"),
         lambda x: nearest(x, [0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 3]), (PLANE,), "nearest"),
    Case("resize", lambda x: resize(x, size=(2, 3), mode="nearest"), lambda x: nearest(x, [0, 1], [0, 1, 2]), (PLANE,),
         "nearest, smaller"),
    Case("resize", lambda x: resize(x, size=(3,), mode="nearest-exact"), lambda x: nearest(x, [0, 2, 4]), (LINE,),
         "nearest-exact"),
    Case("resize", lambda x: resize(x, size=(4,), mode="nearest"), lambda x: nearest(x, [0, 1, 3, 4]),
         (np.arange(6, dtype=np.int32).reshape(1, 1, 6),), "integers stay", order=0, float32=False),
    Case("resize", lambda x: resize(x, size=(8,), mode="cubic"), lambda x: cubic(x, 8), (LINE,), "cubic"),
    Case("resize", lambda x: resize(x, size=(3,), mode="cubic"), lambda x: cubic(x, 3), (LINE,), "cubic, smaller"),
    Case("resize", lambda x: resize(x, size=(4, 6), mode="linear"), lambda x: linear(x, (4, 6)), (sample(0, 1, 3, 4),),
         "empty batch"),
    Case("resize_spread", lambda g: resize_spread(g, size=(3, 4), **SPREAD),
         transposed(PLANE, lambda x: linear(x, (6, 5))), (sample(2, 1, 6, 5),)),
    Case("resize_spread", lambda g: resize_spread(g, size=(5,), mode="nearest"),
         transposed(LINE, lambda x: nearest(x, [0, 1, 3])), (sample(1, 2, 3),), "elements without a tap"),
]
