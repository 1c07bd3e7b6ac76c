"""Cotangents that are mostly zero are added in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zkynet
from zkynet.framework import op
from zkynet.framework.nodes import Node
from zkynet.framework.operators.accumulate import plus
from zkynet.framework.session import Session, current_session

X = np.arange(96.0, dtype=np.float32).reshape(16, 6)
PLACES = np.array([3, 3, 15])

READS: dict[str, Callable[[Any], Node]] = {
    "row": lambda x: x[2],
    "rows reversed": lambda x: x[3:1:-1],
    "steps": lambda x: x[::8, ::2],
    "positions": lambda x: x[PLACES],
    "scalar node": lambda x: x[op.identity(3)],
    "gather": lambda x: op.gather(x, op.argmax(x, axis=1, keepdims=True), axis=1),
    "window": lambda x: op.dynamic_slice(x, (op.identity(3), 2), (2, 3)),
}


def gradient_node(read: Callable[[Any], Node], x: Node) -> Node:
    """The gradient of the sum of squares of what is read, as an expression."""
    return zkynet.grad(lambda x: op.sum(op.square(read(x))))(x)


def operators_below(node: Node, end: Node) -> list[str]:
    found = [] if node is end or node.isleaf() else [node.name]
    return found + [name for child in node.inputs if child is not end for name in operators_below(child, end)]


@pytest.mark.parametrize("name", READS)
def test_a_part_is_added_in_place(name: str) -> None:
    token = current_session.set(Session())
    try:
        x = op.identity(X)
        total, part = op.square(x), gradient_node(READS[name], x)
        expected = op.add(total, part)
        for result in (plus(total, part), plus(part, total)):
            assert "full" not in operators_below(result, total)
            assert result.name not in ("add", "place")
            np.testing.assert_array_equal(result.value, expected.value)
    finally:
        current_session.reset(token)


def test_a_large_part_and_an_ordinary_node_are_just_added() -> None:
    x = op.identity(X)
    assert plus(op.square(x), gradient_node(lambda x: x[1:], x)).name == "add"
    assert plus(x, op.square(x)).name == "add"


def test_parts_of_parts_stay_in_place() -> None:
    x = op.identity(X)
    parts = [gradient_node(READS[name], x) for name in ("row", "positions", "window")]
    first = plus(plus(parts[0], parts[1]), parts[2])
    total = plus(op.square(x), first)
    np.testing.assert_array_equal(total.value, sum(part.value for part in parts) + X * X)


def test_thousands_of_parts_are_no_recursion() -> None:
    x = op.identity(X)
    part = gradient_node(READS["row"], x)
    parts = part
    for _ in range(1500):
        parts = plus(parts, part)
    assert plus(op.square(x), parts).name == "add_at"


def unrolled(o: Any, x: Any, place: Callable[[int], Any]) -> Any:
    state = x[0]
    for step in range(1, 16):
        state = o.sin(state * x[step]) + x[place(step - 1)]
    return o.sum(state)


def test_a_sequence_read_step_by_step_has_the_right_gradient() -> None:
    x = X / 96.0
    gradient = zkynet.grad(lambda x: unrolled(op, x, op.identity))(x)
    expected = jax.grad(lambda x: unrolled(jnp, x, int))(x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_what_a_scan_captures_and_reads_row_by_row() -> None:
    def run(x: Any) -> Node:
        return op.sum(op.scan(lambda c, i: (c + op.square(x[i]), 0.0), x[0], op.arange(16))[0])

    expected = 2 * X
    expected[0] += 1
    np.testing.assert_allclose(zkynet.grad(run)(X), expected)
