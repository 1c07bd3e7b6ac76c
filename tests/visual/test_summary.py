"""summary: the counts agree with the arrays, the shapes with the graph."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from visual_models import Pair, Scale, Simple, Stack

from zkynet import nn
from zkynet.framework import cg
from zkynet.visual import summary

ONES = np.ones((2, 4), np.float32)


def sizes(module) -> tuple[int, int]:
    """Elements and bytes of all parameters, by JAX."""
    leaves = jax.tree.leaves([parameter.value for parameter in module.parameters()])
    return sum(leaf.size for leaf in leaves), sum(leaf.nbytes for leaf in leaves)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [(Simple(), (3,)), (Pair(True, False), (3, 4)), (Pair(False, True), (3,)), (Stack(5), (ONES,))],
)
def test_counts(module, inputs) -> None:
    for found in (summary(module), summary(module, *inputs)):
        assert (found.parameters, found.parameter_bytes) == sizes(module)
        assert found.root.parameters == found.parameters
        assert sum(row.trainable + row.frozen for row in found.rows) == found.parameters
        assert found.trainable == found.parameters and found.frozen == 0


def test_rows_and_shapes() -> None:
    found = summary(Stack(2), ONES)
    assert [(row.name, row.label) for row in found.rows] == [
        ("", "Stack"), ("blocks.0", "Block"), ("up", "Scale"), ("down", "Scale"), ("blocks.1", "Block"),
        ("up", "Scale"), ("down", "Scale"), ("head", "Scale"),
    ]  # fmt: skip
    assert all(row.outputs == ["float32[2,4]"] and row.calls == 1 for row in found.rows)
    assert found.inputs == ["x float32[2,4]"] and found.operators == 12


def test_text() -> None:
    assert str(summary(Stack(12), ONES)).splitlines() == [
        "module                               output        parameters",
        "─────────────────────────────────────────────────────────────────────────",
        "Stack                                float32[2,4]         200",
        "├─ blocks.0 … blocks.11: Block x 12  float32[2,4]          16  192 in all",
        "│  ├─ up: Scale                      float32[2,4]           8",
        "│  └─ down: Scale                    float32[2,4]           8",
        "└─ head: Scale                       float32[2,4]           8",
        "─────────────────────────────────────────────────────────────────────────",
        "inputs       x float32[2,4]",
        "parameters   200 (trainable 200, frozen 0), 800 B",
        "operators    62 in one call",
    ]


def test_frozen_and_called_twice() -> None:
    module = Pair(True, False)
    module._m1.param("w").trainable = False
    found = summary(module, 3, 4)
    assert (found.trainable, found.frozen) == (0, 1)
    assert "_m1: Simple" in str(found) and "frozen, called 2 times" in str(found)
    assert "the same module as above" in str(found)


def test_parameter_of_two_modules_counts_once() -> None:
    class Tied(cg.Module):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))
            self.first = Scale(4)
            self.second = Scale(4)
            self.second.w = self.first.w

        def call(self, x):
            return self.second(self.first(x))

    found = summary(Tied(), ONES)
    assert found.parameters == 12 and "4 shared with above" in str(found)


def test_module_with_several_outputs_and_keywords() -> None:
    class Two(cg.Module):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"), cg.Variable("y")))

        def call(self, x, y):
            return {"sum": x + y, "first": (x * y)[0]}

    found = summary(Two(), x=ONES, y=ONES)
    assert found.root.outputs == ["float32[2,4]", "float32[4]"]


def test_nothing_is_computed_and_no_state_changes() -> None:
    class Counter(cg.Module):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))
            self.count = cg.State("count", 0.0)

        def call(self, x):
            self.count.value = self.count + 1.0
            return x * self.count

    module = Counter()
    found = summary(module, 1.0)
    assert float(module.count.value) == 0.0
    assert (found.state, found.state_bytes) == (1, 4) and "state        1, 4 B" in str(found)


def test_sizes_that_come_from_the_example() -> None:
    module = nn.Sequential(nn.BatchNorm1d(None), nn.Linear(None, 3))
    found = summary(module, ONES)
    assert (found.parameters, found.state) == (4 + 4 + 4 * 3 + 3, 4 + 4 + 1)
    assert int(module[0].num_batches_tracked.value) == 0
    np.testing.assert_array_equal(module[0].running_var.value, np.ones(4))


def test_wrong_argument() -> None:
    with pytest.raises(TypeError, match="needs a Module"):
        summary(Simple()(3))
