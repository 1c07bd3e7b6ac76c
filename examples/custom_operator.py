"""An operator of one's own, with its own gradient, in the two styles; checked numerically and used in a model.

    python examples/custom_operator.py
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import zkynet
from zkynet.framework import cg, op


class Huber(cg.Operator):
    """y = x^2 / 2 where |x| <= delta, else delta (|x| - delta / 2). Huber, 1964. Local derivative style."""

    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),), attributes={"delta": 1.0})

    def call(self, x: Any, delta: float) -> Any:
        size = jnp.abs(x.value)
        return jnp.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))

    def _gradfn(self, inpt: cg.Variable) -> Any:
        return lambda x, delta: jnp.clip(x.value, -delta, delta)


class ClippedGradient(cg.Operator):
    """y = x, with a gradient that is clipped on its way back: a rule that no function has. Cotangent style."""

    def __init__(self, limit: float):
        super().__init__(inputs=(cg.Variable("x"),))
        self.limit = limit

    def call(self, x: Any) -> Any:
        return x.value

    def vjp(self, cotangent: Any, output: Any, x: Any) -> Any:
        return (op.clip(cotangent, -self.limit, self.limit),)


def main() -> None:
    huber = Huber()
    x = np.array([-3.0, -0.5, 0.25, 2.0])
    print(zkynet.gradcheck(huber, x))
    print("delta 2:", zkynet.gradcheck(lambda x: huber(x, delta=2.5), x))

    gentle = ClippedGradient(0.1)
    steep = cg.Module.build("Steep", lambda x: op.sum(op.exp(gentle(x))), (cg.Variable("x"),))
    result = steep(np.array([0.0, 1.0, 5.0], np.float32))
    result.back()
    print("clipped gradient:", result.grad(steep.input("x")))


if __name__ == "__main__":
    main()
