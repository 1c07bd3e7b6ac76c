"""Random indices against NumPy: reading, writing, both gradients; and the errors of wrong ones."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zkynet
from zkynet.framework import op
from zkynet.framework.avals import aval_of
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import InputError, ShapeError, TracedValueError
from zkynet.framework.operators.control import trace

INDICES = 6  # of one array in one example: they share a program, as compiling is what takes time


@st.composite
def slices(draw: Any, length: int) -> slice:
    bound = st.none() | st.integers(-length - 1, length + 1)
    step = draw(st.sampled_from([None, 1, 2, 3, -1, -2]))
    return slice(draw(bound), draw(bound), step)


@st.composite
def positions(draw: Any, length: int) -> Any:
    """An integer array that broadcasts with the others of its index; sometimes as an array of JAX's."""
    shape = draw(st.sampled_from([(), (2,), (1,), (3, 1), (3, 2)]))
    array = draw(st.lists(st.integers(-length, length - 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.array(array, np.int32).reshape(shape)
    return jnp.asarray(array) if draw(st.booleans()) else array if shape else array.item()


@st.composite
def masks(draw: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of one axis or two; mostly with two true elements, to go together with positions."""
    size = int(np.prod(shape))
    chosen = draw(st.lists(st.integers(0, size - 1), max_size=3, unique=True)) if size else []
    mask = np.zeros(size, bool)
    mask[chosen] = True
    return mask.reshape(shape)


@st.composite
def indices(draw: Any, shape: tuple[int, ...]) -> tuple:
    items: list[Any] = []
    axis = 0
    while axis < len(shape):
        length = shape[axis]
        kinds = ["slice", "slice", "new", "stop", "all"] + ["int", "positions", "positions"] * (length > 0)
        kind = draw(st.sampled_from([*kinds, "mask", "mask of two" if axis + 1 < len(shape) else "mask", "boolean"]))
        if kind == "stop":
            break
        if kind == "slice":
            items.append(draw(slices(length)))
        elif kind == "all":
            items.append(slice(None))
        elif kind == "int":
            items.append(draw(st.integers(-length, length - 1)))
        elif kind == "positions":
            items.append(draw(positions(length)))
        elif kind.startswith("mask"):
            taken = 2 if kind == "mask of two" else 1
            items.append(draw(masks(shape[axis:axis + taken])))
            axis += taken - 1
        else:
            items.append(None if kind == "new" else draw(st.booleans()))
        axis += kind not in ("new", "boolean")
    if draw(st.booleans()) and axis == len(shape):
        items.insert(draw(st.integers(0, len(items))), ...)
    return tuple(items)


@st.composite
def examples(draw: Any) -> tuple[tuple[int, ...], list[tuple]]:
    shape = tuple(draw(st.lists(st.sampled_from([3, 4, 2, 1, 0]), min_size=1, max_size=3)))
    return shape, draw(st.lists(indices(shape), min_size=INDICES, max_size=INDICES))


def for_numpy(index: tuple) -> tuple:
    return tuple([np.asarray(item) if hasattr(item, "sharding") else item for item in index])


def counting(shape: tuple[int, ...], start: int) -> np.ndarray:
    """Small whole numbers, so that sums in any order are exact."""
    return np.arange(start, start + int(np.prod(shape)), dtype=np.float32).reshape(shape) % 61


def numpy_accepts(x: np.ndarray, index: tuple) -> bool:
    try:
        x[for_numpy(index)]
    except IndexError:
        return False
    return True


@settings(max_examples=30, deadline=None, derandomize=True)
@given(examples())
def test_random_indices_do_what_numpy_does(example: tuple[tuple[int, ...], list[tuple]]) -> None:
    shape, found = example
    x = counting(shape, 1)
    node = op.identity(x)
    for index in found:
        if not numpy_accepts(x, index):
            with pytest.raises(ShapeError):
                node[index]
    valid = [index for index in found if numpy_accepts(x, index)]
    if valid:
        check(x, valid)


def check(x: np.ndarray, found: list[tuple]) -> None:
    parts = [x[for_numpy(index)] for index in found]
    values = [counting(part.shape, 7) for part in parts]
    weights = [[counting(part.shape, 11), counting(x.shape, 17), counting(x.shape, 23)] for part in parts]

    def everything(x: Any, values: Any) -> Any:
        return [[x[index], op.set_at(x, index, v), op.add_at(x, index, v)]
                for index, v in zip(found, values, strict=True)]

    results, (into_x, into_values) = zkynet.vjp(everything, (0, 1))(x, values, cotangent=weights)
    expected = np.zeros(x.shape)
    for index, part, v, (w, w_set, w_add), (read, written, added), into in zip(
            map(for_numpy, found), parts, values, weights, results, into_values, strict=True):
        np.testing.assert_array_equal(read, part, str(index))
        np.testing.assert_array_equal(written, assigned(x, index, v), str(index))
        np.testing.assert_array_equal(added, summed(x, index, v), str(index))
        expected += summed(np.zeros(x.shape), index, w) + assigned(w_set, index, 0.0) + w_add
        # Where a position was written twice, only the last value counts.
        tickets = np.arange(part.size).reshape(part.shape)
        last = assigned(np.full(x.shape, -1), index, tickets)[index] == tickets
        np.testing.assert_array_equal(into, w_set[index] * last + w_add[index], str(index))
    np.testing.assert_array_equal(into_x, expected)


def assigned(x: np.ndarray, index: tuple, values: Any) -> np.ndarray:
    x = x.copy()
    x[index] = values
    return x


def summed(x: np.ndarray, index: tuple, values: Any) -> np.ndarray:
    x = x.copy()
    np.add.at(x, index, values)
    return x


X = np.arange(12.0, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("index, message", [
    (3, "index 3 is out of range for axis 0"),
    ((0, -5), "index -5 is out of range for axis 1"),
    (np.int64(7), "index 7"),
    ([0, 1, 3], "index 3 is out of range for axis 0"),
    (np.array([[-4]]), "index -4"),
    ((0, 0, 0), "3 indices for float32[3,4]"),
    ((..., 0, ...), "one Ellipsis"),
    (np.ones((3, 3), bool), "mask of shape (3, 3)"),
    ((np.array([0, 1]), np.array([0, 1, 2])), "broadcast"),
])
def test_an_index_that_does_not_fit_is_named_where_it_was_written(index: Any, message: str) -> None:
    with pytest.raises(ShapeError) as error:
        op.identity(X)[index]
    assert message in str(error.value) and "test_indexing.py" in str(error.value)


def test_out_of_range_is_an_index_error_too() -> None:
    with pytest.raises(IndexError):
        op.identity(X)[3]
    assert [float(row.value[0]) for row in op.identity(X)] == [0.0, 4.0, 8.0]


@pytest.mark.parametrize("index", [1.0, "a", np.array([0.5]), slice(op.identity(1), None)])
def test_what_cannot_be_an_index_is_refused(index: Any) -> None:
    with pytest.raises(InputError):
        op.identity(X)[index]


def test_a_mask_may_be_a_node_whose_value_is_known() -> None:
    x = op.identity(X)
    assert x[x > 8.5].value.tolist() == [9.0, 10.0, 11.0]
    with pytest.raises(TracedValueError, match="op.where"):
        zkynet.vmap(lambda row: row[row > 1.0])(X)


def test_positions_found_while_running_out_of_range_read_nan_and_write_nothing() -> None:
    place = op.identity(np.array([1, 9]))
    read = op.identity(X)[place].value
    assert read[0].tolist() == X[1].tolist() and np.isnan(read[1]).all()
    assert op.add_at(X, place, 1.0).value.sum() == X.sum() + 4
    gradient = zkynet.grad(lambda v: op.sum(op.set_at(X, place, v)))(np.ones((2, 1), np.float32))
    assert gradient.tolist() == [[4.0], [0.0]]


def test_slices_compile_to_slices() -> None:
    def gradient(x: Any) -> Any:
        return zkynet.grad(lambda x: op.sum(op.square(x[1:, ::-2])))(x)

    structure, _, _ = trace(gradient, [aval_of(X)], "test")
    program = str(jax.make_jaxpr(structure.evaluate)(X))
    assert "gather" not in program and "scatter" not in program and " pad[" in program


def test_one_program_for_all_positions_given_as_arrays() -> None:
    table = op.identity(X)
    _ = table[np.array([0, 1])].value
    with count_compilations() as count:
        for places in ([2, 1], [0, 0], [-1, 1]):
            assert table[places].value.tolist() == X[places].tolist()
    assert count() == 0


def test_writing_gives_the_array_its_own_dtype() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert op.set_at(np.array([1, 2, 3]), 0, 7.9).value.tolist() == [7, 2, 3]
    assert op.add_at(X, (0, 0), 1).dtype == np.float32


