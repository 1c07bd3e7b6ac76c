"""Wrong arguments of reductions, shape operators and gathers are errors at the calling line that say what is wrong;
and what constructors make without being told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import zkynet
from zkynet.framework import op
from zkynet.framework.errors import InputError, ShapeError

X = np.arange(12.0, dtype=np.float32).reshape(3, 4)
NO_INT: Any = 1.0

MISFITS: list[tuple[Callable[[], Any], str]] = [
    (lambda: op.sum(X, axis=2), "sum"),
    (lambda: op.max(np.zeros((0, 2)), axis=0), "max"),
    (lambda: op.norm(X, "nuc"), "ord must be"),
    (lambda: op.softmax(X, axis=5), "softmax"),
    (lambda: op.cumsum(X, axis=-3), "axis -3 is out of range"),
    (lambda: op.sort(X, 2), "axis 2 is out of range"),
    (lambda: op.top_k(X, 5), "has 4 elements"),
    (lambda: op.median(np.zeros(0)), "no elements"),
    (lambda: op.reshape(X, (5, -1)), "reshape"),
    (lambda: op.broadcast_to(X, (4, 4)), "broadcast_to"),
    (lambda: op.squeeze(X, axis=0), "squeeze"),
    (lambda: op.transpose(X, (0, 0)), "transpose"),
    (lambda: op.flatten(X, 1, 0), "before start_axis"),
    (lambda: op.concat([X, X.T]), "concat"),
    (lambda: op.stack([X, X.T]), "stack"),
    (lambda: op.split(X, 2), "not divisible into 2"),
    (lambda: op.split(X, [1, 1]), "must add up to 3"),
    (lambda: op.pad(X, [(1, 1)] * 3), "for 3 axes"),
    (lambda: op.pad(X, 3, "reflect"), "from 0 to 2 for axis 0"),
    (lambda: op.pad(X, 5, "circular"), "from 0 to 3"),
    (lambda: op.pad(X, -1, "replicate"), "but got (-1, -1)"),
    (lambda: op.pad(X, -2), "crop more"),
    (lambda: op.repeat(X, -1), "must not be negative"),
    (lambda: op.repeat(X, [1, 2], axis=0), "3 elements along axis 0"),
    (lambda: op.gather(X, [[0, 0, 0, 0, 0]], axis=0), "none of them longer"),
    (lambda: op.gather(X, [[3]], axis=0), "positions from 3 to 3"),
    (lambda: op.take_along_axis(X, [0], axis=1), "as many axes"),
    (lambda: op.take_along_axis(X, [[0], [1]], axis=1), "do not broadcast"),
    (lambda: op.scatter_add(X, [0], 1.0), "as many"),
    (lambda: op.scatter_add(X, [[0, 0]], [1.0, 2.0, 3.0]), "scatter_add"),
    (lambda: op.slice(X, (2, 0), (2, 1)), "not within"),
    (lambda: op.dynamic_slice(X, (0,), (1, 1)), "one start for each"),
    (lambda: op.dynamic_update_slice(X, np.zeros((5, 5)), (0, 0)), "dynamic_update_slice"),
    (lambda: op.set_at(X, 0, np.zeros(3)), "set_at"),
    (lambda: op.add_at(X, 0, np.zeros(3)), "add_at"),
]


@pytest.mark.parametrize("call, message", MISFITS, ids=[message for _, message in MISFITS])
def test_what_does_not_fit_is_said_at_the_calling_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ShapeError) as error:
        call()
    assert message in str(error.value) and "test_shape_arguments.py" in str(error.value)


@pytest.mark.parametrize("call, message", [
    (lambda: op.pad(X, 1, "mirror"), "unknown mode 'mirror'"),
    (lambda: op.pad(X, 0.5), "a width is an int"),
    (lambda: op.cumsum(X, axis=NO_INT), "an axis must be a Python int"),
    (lambda: op.sum(X, axis=op.identity(1)), "axis"),
    (lambda: op.gather(X, [[0.5]]), "positions must be integers"),
])
def test_what_is_no_such_argument_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_constructors_follow_the_precision_in_force() -> None:
    assert op.zeros(2).dtype == np.float32 and op.full(2, 1).dtype == np.int32 and op.full(2, True).dtype == bool
    with zkynet.precision("bfloat16"):
        assert {op.zeros(2).dtype.name, op.full(2, 0.5).dtype.name, op.one_hot([0], 2).dtype.name} == {"bfloat16"}
    with zkynet.precision("float64"):
        assert {op.ones(2).dtype.name, op.eye(2).dtype.name, op.arange(0.0, 1.0).dtype.name} == {"float64"}
    assert op.ones(2).dtype == np.float32


def test_bfloat16_stays_bfloat16() -> None:
    with zkynet.precision("bfloat16"):
        x = op.identity(X)
        outputs = [op.sum(x), op.mean(x, 0), op.var(x), op.norm(x), op.softmax(x), op.log_softmax(x), op.cumprod(x, 1),
                   op.prod(x), op.pad(x, 1, "edge"), x[op.argmax(x, 0)], op.sort(x), op.top_k(x, 2)[0]]
        assert {y.dtype.name for y in outputs} == {"bfloat16"}


def test_third_derivatives_of_products_through_zeros() -> None:
    x = np.array([0.0, 0.0, 2.0, 3.0], np.float32)
    by_two = zkynet.hessian(lambda x: op.prod(x))(x)
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 6.0
    np.testing.assert_array_equal(by_two, expected)
    third = zkynet.jacobian(zkynet.hessian(lambda x: op.prod(x)))(x)
    assert float(third[0, 1, 2]) == 3.0 and float(third[2, 3, 0]) == 0.0 and float(third[1, 0, 3]) == 2.0


def test_one_number_of_a_call_may_be_written_inside_a_traced_function() -> None:
    rows = zkynet.vmap(lambda row: op.set_at(row, 0, 1.0) + op.sum(2.0) + op.cast(1.0, "float32"))(X)
    assert rows[1].tolist() == [4.0, 8.0, 9.0, 10.0]
