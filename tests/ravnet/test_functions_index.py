"""Index texts against NumPy's own indexing, and texts that are no index."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from function_judges import computed, data
from hypothesis import given, settings
from hypothesis import strategies as st

from ravnet.functions import FUNCTIONS, parse_index, read_index, write_index
from ravnet.functions.index_text import LONGEST
from zkynet.framework.errors import InputError

X = np.arange(4 * 3 * 5).reshape(4, 3, 5)

bounds = st.none() | st.integers(-7, 7)
slices = st.builds(slice, bounds, bounds, st.none() | st.integers(-3, 3).filter(bool))


@st.composite
def indices(draw: Any) -> tuple[Any, ...]:
    """An index of X: one item for each of some axes, new axes, at most one ellipsis."""
    items = [draw(st.integers(-n, n - 1) | slices) for n in X.shape[:draw(st.integers(0, 3))]]
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    if draw(st.booleans()) and items:
        items.append(Ellipsis)
    return tuple(items)


def as_text(item: Any, style: int) -> str:
    if not isinstance(item, slice):
        return {0: "...", 1: "Ellipsis"}[style % 2] if item is Ellipsis else str(item)
    if style == 2:
        return str(item)
    parts = ["" if part is None else str(part) for part in (item.start, item.stop, item.step)]
    return ":".join(parts if style or item.step is not None else parts[:2])


@settings(max_examples=400, deadline=None)
@given(indices(), st.integers(0, 2), st.sampled_from(["[{}]", "{}", " [ {} ] ", "[({},)]", "({},)", "[{},]"]),
       st.booleans(), st.sampled_from([",", " , ", ", "]))
def test_a_text_indexes_as_numpy_does(index: tuple[Any, ...], style: int, form: str, wrapped: bool, comma: str):
    if not index:
        return
    text = form.format(comma.join([as_text(item, style) for item in index]))
    text = str({"indices": text}) if wrapped else text
    parsed = parse_index(text)
    assert X[parsed].tolist() == X[index].tolist() and X[parsed].shape == X[index].shape
    assert parse_index(write_index(parsed)) == parsed and read_index(index) == write_index(parsed)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="[](){}:,.-+0123456789 NoneEllipsisslice'\"indices_\n", max_size=30))
def test_any_text_is_an_index_or_refused(text: str):
    try:
        parsed = parse_index(text)
    except InputError as error:
        assert "position" in str(error)
    else:
        assert parse_index(write_index(parsed)) == parsed
        assert all(item is None or isinstance(item, (int, slice, type(...))) for item in parsed)


HOSTILE = [
    ("[__import__('os').system('true')]", 1), ("[().__class__]", 3), ("[0 if True else 1]", 3), ("[x]", 1),
    ("[lambda: 0]", 1), ("[0]; import os", 3), ("[0][1]", 3), ("[exec('1')]", 1), ("[1.5]", 1), ("[1e3]", 1),
    ("[0x10]", 1), ("[1_000]", 1), ("[01]", 1), ("[True]", 1), ("[[0, 1]]", 1), ("[0 1]", 3), ("[", 1), ("", 0),
    ("[]", 1), ("[,]", 1), ("[:::]", 3), ("[1:2:3:4]", 6), ("[--1]", 1), ("[- 1]", 1), ("[1:x]", 3), ("(0", 2),
    ("[0)", 2), ("[((0,),)]", 2), ("{'indices': '[0]', 'a': 1}", 0), ("{'indices': '[y]'}", 14),
    ("{'shape': '[0]'}", 0), ("[slice(1, 2, 3, 4)]", 16), ("[slice()]", 7), ("[slice]", 6), ("[None.__class__]", 5),
    ("[..., ...]", 9), ("[....]", 4), ("[1::0]", 4), ("[slice(0, 1, 0)]", 13), ("[\x00]", 1), ("[１]", 1),
    ("[" + "9" * 40 + "]", 1), ("(" * 900, 1), ("[" * 900 + "]" * 900, 1),
]


@pytest.mark.parametrize(("text", "position"), HOSTILE, ids=[repr(text)[:30] for text, _ in HOSTILE])
def test_everything_else_is_refused_with_its_position(text: str, position: int):
    with pytest.raises(InputError, match=rf"position {position}\b"):
        parse_index(text)
    with pytest.raises(InputError, match=rf"^index: indices: .*position {position}\b"):
        FUNCTIONS["index"].bind((0,), {"indices": text}, is_op=lambda value: False)


def test_long_texts_are_refused_at_once():
    start = time.perf_counter()
    with pytest.raises(InputError, match=f"may have {LONGEST} characters"):
        parse_index("0," * 10_000_000)
    with pytest.raises(InputError, match="must be a str, but got int"):
        parse_index(3)  # pyright: ignore[reportArgumentType]
    assert parse_index("[" + "0," * 990 + "]")[:2] == (0, 0)
    assert time.perf_counter() - start < 5  # a text of the largest length that is read is read at once, too


@pytest.mark.parametrize(("value", "read"), [
    ((slice(None), -1), "[:, -1]"), (2, "[2]"), ([np.int64(1), None], "[1, None]"), (..., "[...]"),
    ({"indices": "0, 1"}, "[0, 1]"), ((np.array([0, 1]), 2), [[0, 1], 2]), (([[0], [1]], (0, 1)), [[[0], [1]], (0, 1)]),
])
def test_indices_that_are_no_text(value: Any, read: Any):
    assert read_index(value) == read


@pytest.mark.parametrize("value", [1.5, (True,), ["a"], [[0.5]], {"index": "0"}, (slice(0, 1, 0),), slice("a"),
                                   [[True]]])
def test_other_values_are_no_indices(value: Any):
    with pytest.raises(InputError, match="indices must be an index: text such as"):
        FUNCTIONS["index"].bind((0,), {"indices": value}, is_op=lambda value: False)


@pytest.mark.parametrize("text", ["[1]", "[..., ::-2]", "[None, :, 1:, None]", "[-1, 0, 1:3]"])
def test_reading_and_writing_are_numpys(text: str):
    x = data("f 4 3 5")
    index = parse_index(text)
    assert (computed("index", [x], {"indices": text}) == x[index]).all()
    wanted = x.copy()
    wanted[index] = 7
    assert (computed("set_value", [x, np.asarray(7)], {"indices": text}) == wanted).all()


def test_positions_out_of_range_are_an_error_at_the_call():
    with pytest.raises(IndexError, match="index 4 is out of range for axis 0"):
        computed("index", [X], {"indices": "[4]"})
