"""Gradients of gradients: curvature along a direction, and Newton's method with Hessian-vector products only.

    python examples/higher_order.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

import zkynet
from zkynet.framework import op


def rosenbrock(x: Any) -> Any:
    """sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2. Its minimum is 0 at (1, ..., 1). Rosenbrock, 1960."""
    return op.sum(100.0 * op.square(x[1:] - op.square(x[:-1])) + op.square(1.0 - x[:-1]))


def conjugate_gradient(product: Any, b: np.ndarray, steps: int) -> np.ndarray:
    """Solve A s = b, for a positive definite A given as s -> A s. Hestenes & Stiefel, 1952."""
    s, r = np.zeros_like(b), b.copy()
    p = r.copy()
    for _ in range(steps):
        if np.linalg.norm(r) < 1e-8:
            break
        a_p = np.asarray(product(p))
        curvature = p @ a_p
        if curvature <= 0:  # not convex along p: stop where we are
            return s if s.any() else b
        alpha = (r @ r) / curvature
        s, r_new = s + alpha * p, r - alpha * a_p
        p = r_new + (r_new @ r_new) / (r @ r) * p
        r = r_new
    return s


def main(size: int = 10) -> float:
    gradient = zkynet.compile(zkynet.value_and_grad(rosenbrock))
    curvature = zkynet.hvp(rosenbrock)
    hessian_times = zkynet.compile(lambda x, v: curvature(x, vector=v))
    with zkynet.precision("float64"):
        x = np.full(size, -0.5)
        value, g = gradient(x)
        steps = 0
        while float(np.linalg.norm(g)) > 1e-9 and steps < 100:
            steps += 1
            step = conjugate_gradient(lambda v, x=x: hessian_times(x, v), -np.asarray(g), 4 * size)
            length = 1.0
            while float(rosenbrock_at(x + length * step)) > float(value) and length > 1e-6:
                length *= 0.5
            x = x + length * step
            value, g = gradient(x)
        print(f"after {steps} Newton steps: f = {float(value):.2e}, |x - 1| = {np.abs(x - 1).max():.2e}")
        print("third derivative of x^4 at 2:", zkynet.grad(zkynet.grad(zkynet.grad(lambda x: x**4)))(2.0))
    return float(value)


rosenbrock_at = zkynet.compile(rosenbrock)

if __name__ == "__main__":
    main()
