"""Small models for the tests of pictures."""

from __future__ import annotations

import numpy as np

from zkynet.framework import cg, op


class Simple(cg.Module):
    """f(x) = (x + w) x^2"""

    def __init__(self, w0: float = 1):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", w0),))

    def call(self, x):
        a = op.add(x, self.param("w"))
        b = op.square(x)
        return op.mult(a, b)


class Pair(cg.Module):
    """The sum of two calls of Simple: of two modules, or of one twice."""

    def __init__(self, share_weights: bool, share_inputs: bool):
        names = ("x1",) if share_inputs else ("x1", "x2")
        super().__init__(inputs=tuple(cg.Variable(name) for name in names))
        self._m1 = Simple()
        self._m2 = self._m1 if share_weights else Simple(2)

    def call(self, x1, x2=None):
        return op.add(self._m1(x1), self._m2(x1 if x2 is None else x2))


class Scale(cg.Module):
    """y = x * w + b, elementwise, of a given width."""

    def __init__(self, width: int):
        super().__init__(inputs=(cg.Variable("x"),))
        self.w = cg.Parameter("w", np.ones(width, np.float32))
        self.b = cg.Parameter("b", np.zeros(width, np.float32))

    def call(self, x):
        return x * self.w + self.b


class Block(cg.Module):
    """Two Scales with some sines between."""

    def __init__(self, width: int, sines: int = 1):
        super().__init__(inputs=(cg.Variable("x"),))
        self.up = Scale(width)
        self.down = Scale(width)
        self.sines = sines

    def call(self, x):
        x = self.up(x)
        for _ in range(self.sines):
            x = op.sin(x)
        return self.down(x)


class Stack(cg.Module):
    """Blocks one after the other, with or without a residual around each; all alike, or no repetition."""

    def __init__(self, count: int, width: int = 4, residual: bool = False, alike: bool = True):
        super().__init__(inputs=(cg.Variable("x"),))
        # The steps of the Thue-Morse word hold no stretch twice in a row.
        parity = [index.bit_count() % 2 for index in range(count + 1)]
        self.blocks = [Block(width, 1 if alike else 2 + parity[i + 1] - parity[i]) for i in range(count)]
        self.head = Scale(width)
        self.residual = residual

    def call(self, x):
        for block in self.blocks:
            x = x + block(x) if self.residual else block(x)
        return self.head(x)


class Recurrent(cg.Module):
    """One cell called several times."""

    def __init__(self, count: int):
        super().__init__(inputs=(cg.Variable("x"),))
        self.cell = Scale(3)
        self.count = count

    def call(self, x):
        for _ in range(self.count):
            x = self.cell(x)
        return x


def chain(count: int, names: tuple[str, ...] = ("sin", "cos", "square", "negative"), seed: int | None = 0):
    """A graph of so many elementwise operators and no modules; in random order, or (seed=None) in turn."""
    random = np.random.RandomState(seed) if seed is not None else None

    def call(x):
        for index in range(count):
            x = getattr(op, names[random.randint(len(names)) if random else index % len(names)])(x)
        return x

    return cg.Module.build("Chain", call, (cg.Variable("x"),))(np.ones(3, np.float32))


def tangle(count: int, parameters: int = 60):
    """A graph without modules in which every operator uses two of the last ten results, or a parameter."""
    random = np.random.RandomState(0)
    held = [cg.Parameter(f"p{index}", float(index)) for index in range(parameters)]

    def call(x):
        found = [x]
        for _ in range(count):
            before = found[-1 - random.randint(min(10, len(found)))]
            other = held[random.randint(parameters)] if random.rand() < 0.5 else before
            found.append(op.add(found[-1], other) if random.rand() < 0.5 else op.mult(found[-1], other))
        return found[-1]

    return cg.Module.build("Tangle", call, (cg.Variable("x"),))(1.0)


class RandomModule(cg.Module):
    """Operators, parameters and sub-modules (some used twice) in an order drawn from a seed."""

    def __init__(self, seed: int, depth: int):
        super().__init__(inputs=(cg.Variable("x"), cg.Variable("y")))
        random = np.random.RandomState(seed)
        self.w = cg.Parameter("w", 0.5)
        children = random.randint(3) if depth else 0
        self.below = [RandomModule(seed * 7 + index, depth - 1) for index in range(children)]
        steps = [tuple(random.randint(100, size=4)) for _ in range(random.randint(2, 9))]
        self.steps = steps * random.choice([1, 1, 4])

    def call(self, x, y):
        found = [x, y]
        for kind, first, second, child in self.steps:
            a, b = found[-1 - first % min(3, len(found))], found[second % len(found)]
            if kind < 50 and self.below:
                found.append(self.below[child % len(self.below)](a, b))
            elif kind < 70:
                found.append(op.add(a, b) * self.w)
            else:
                found.append(op.sin(a) * 2.0 if kind < 85 else op.square(b))
        return sum(found[1:], found[0]) if len(self.steps) % 2 else found[-1]


def random_module(seed: int) -> RandomModule:
    """A module with up to three levels below it."""
    return RandomModule(seed, seed % 4)
