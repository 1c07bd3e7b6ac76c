"""An operator whose body is a Pallas kernel: y = x * sigmoid(x) in one pass. Interpreted on CPU, compiled on GPU.

    python examples/pallas_operator.py
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.experimental import pallas as pl

import zkynet
from zkynet.framework import cg, op


def kernel(x_ref: Any, y_ref: Any) -> None:
    x = x_ref[...]
    y_ref[...] = x / (1.0 + jax.numpy.exp(-x))


class Swish(cg.Operator):
    """y = x sigmoid(x), dy/dx = s + y (1 - s) with s = sigmoid(x). Ramachandran et al., 2017."""

    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x: Any) -> Any:
        x = x.value
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return pl.pallas_call(kernel, out_shape=shape, interpret=jax.default_backend() == "cpu")(x)

    def vjp(self, cotangent: Any, output: Any, x: Any) -> Any:
        s = op.sigmoid(x)
        return (cotangent * (s + output * (1.0 - s)),)


def main() -> None:
    swish = Swish()
    x = np.linspace(-3.0, 3.0, 8, dtype=np.float32)
    print("value:   ", swish(x).value)
    print("gradient:", zkynet.grad(lambda x: op.sum(swish(x)))(x))
    print(zkynet.gradcheck(swish, x, order=2))
    print("largest difference from op.silu:", float(np.max(np.abs(np.asarray(swish(x).value - op.silu(x).value)))))


if __name__ == "__main__":
    main()
