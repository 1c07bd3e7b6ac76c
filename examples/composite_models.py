"""One small model, composed in four ways: with and without sharing of weights and of inputs. Saves their pictures.

    python examples/composite_models.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from zkynet.framework import cg, op
from zkynet.visual import plot_cg


class SimpleModel(cg.Module):
    """f(x, w) = (x + w) x^2, for an input x and a parameter w."""

    def __init__(self, w0: Any = 1):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", w0),))

    def call(self, x: Any) -> Any:
        a = op.add(x, self.param("w"))
        b = op.square(x)
        return op.mult(a, b)


class Sum(cg.Module):
    """m1(x1) + m2(x2). Pass the same module twice to share weights."""

    def __init__(self, m1: cg.Module, m2: cg.Module):
        super().__init__(inputs=(cg.Variable("x1"), cg.Variable("x2")))
        self.m1, self.m2 = m1, m2

    def call(self, x1: Any, x2: Any) -> Any:
        return op.add(self.m1(x1), self.m2(x2))


class SumOfOneInput(Sum):
    """m1(x) + m2(x)."""

    def __init__(self, m1: cg.Module, m2: cg.Module):
        super().__init__(m1, m2)
        self._inputs = (cg.Variable("x"),)

    def call(self, x: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return op.add(self.m1(x), self.m2(x))


def main(out: Path = Path("runs/composite_models")) -> None:
    shared = SimpleModel()
    results = {
        "own weights, two inputs": Sum(SimpleModel(), SimpleModel())(3, 4),
        "shared weight, two inputs": Sum(shared, shared)(3, 4),
        "own weights, one input": SumOfOneInput(SimpleModel(), SimpleModel())(3),
        "shared weight, one input": SumOfOneInput(shared, shared)(3),
    }
    out.mkdir(parents=True, exist_ok=True)
    for title, result in results.items():
        result.back()
        file = title.replace(", ", "-").replace(" ", "_") + ".svg"
        plot_cg(result.root, title=title, save_path=out / file, quiet=True)
        gradients = {path: float(result.grad(p)) for path, p in result.module.named_parameters()}
        print(f"{title}: value {result.value}, gradients {gradients}")
    print(f"pictures are in {out}/")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
