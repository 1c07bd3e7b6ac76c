"""Tables, against pandas-free judges: NumPy's reader and values written by the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zkynet import data
from zkynet.framework.errors import InputError

HOUSES = """rooms, area,price,kind
3,71.5,100.5,flat
4,,200,house

2,nan,50,flat
5,90,?,villa
"""


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    path = tmp_path / "houses.csv"
    path.write_text(HOUSES)
    return path


def test_numbers_agree_with_numpys_reader(tmp_path: Path):
    table = np.random.default_rng(0).normal(size=(10_000, 3))  # several chunks
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="a,b,c", comments="")
    judge = np.loadtxt(tmp_path / "t.csv", delimiter=",", skiprows=1)
    found = data.csv(tmp_path / "t.csv")
    assert found.features == ("a", "b", "c") and found.arrays[0].dtype == np.float32
    np.testing.assert_array_equal(found.arrays[0], judge.astype(np.float32))
    x, y = data.csv(tmp_path / "t.csv", target=["c", "a"], features=["b"]).arrays
    np.testing.assert_array_equal(x, judge[:, 1:2].astype(np.float32))
    np.testing.assert_array_equal(y, judge[:, [2, 0]].astype(np.float32))


def test_targets_of_text_are_classes(houses: Path):
    found = data.csv(houses, target="kind", features=["rooms"])
    assert found.arrays[1].tolist() == [0, 1, 0, 2] and found.arrays[1].dtype == np.int32
    assert found.classes == ("flat", "house", "villa") and found.features == ("rooms",)


def test_targets_of_fractions_are_columns(houses: Path):
    found = data.csv(houses, target="price", features=["rooms"], missing="drop")
    assert found.arrays[1].tolist() == [[100.5], [200], [50]] and found.classes is None


def test_targets_of_whole_numbers_are_classes_unless_told(tmp_path: Path):
    (tmp_path / "t.csv").write_text("1,7\n2,3\n3,7\n")
    counted = data.csv(tmp_path / "t.csv", target=-1, header=False)
    assert counted.arrays[1].tolist() == [7, 3, 7] and counted.arrays[1].dtype == np.int32
    assert counted.features == ("0",)
    measured = data.csv(tmp_path / "t.csv", target=1, header=False, classify=False)
    assert measured.arrays[1].tolist() == [[7], [3], [7]] and measured.arrays[1].dtype == np.float32
    (tmp_path / "t.csv").write_text("a,b\n1,0.5\n2,1.5\n")
    assert data.csv(tmp_path / "t.csv", target="b", classify=True).classes == ("0.5", "1.5")
    (tmp_path / "t.csv").write_text("a,b\n1,10.0\n2,2.0\n")  # not written as whole numbers: measured, unless told
    assert data.csv(tmp_path / "t.csv", target="b").arrays[1].tolist() == [[10], [2]]
    told = data.csv(tmp_path / "t.csv", target="b", classify=True)
    assert told.arrays[1].tolist() == [10, 2] and told.arrays[1].dtype == np.int32 and told.classes is None
    (tmp_path / "t.csv").write_text("a,b\n1,1_0\n2,2_0\n")
    assert data.csv(tmp_path / "t.csv", target="b").classes == ("1_0", "2_0")  # text


def test_one_name_is_one_column(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b,ab\n1,2,3\n")
    found = data.csv(tmp_path / "t.csv", features="ab")
    assert found.features == ("ab",) and found.arrays[0].tolist() == [[3]]
    assert data.csv(tmp_path / "t.csv", features=-2).features == ("b",)


@pytest.mark.parametrize("missing, areas", [
    ("drop", [71.5]), ("mean", [71.5, 80.75, 80.75, 90]), (-1, [71.5, -1, -1, 90])])
def test_missing_values(houses: Path, missing, areas):
    found = data.csv(houses, features=["area"], missing=missing) if missing != "drop" else (
        data.csv(houses, features=["area"], target="price", missing=missing))
    assert found.arrays[0][:, 0].tolist() == areas


def test_a_missing_value_is_named_by_its_line(houses: Path):
    with pytest.raises(data.DataError, match=r"houses.csv, line 3, column 'area': a missing value \(2 rows miss one\)"):
        data.csv(houses, features=["area"])
    with pytest.raises(data.DataError, match=r"line 6, column 'price': a missing value \(1 rows"):
        data.csv(houses, features=["rooms"], target="price")
    with pytest.raises(data.DataError, match="line 6: the target is missing"):
        data.csv(houses, features=["rooms"], target="price", missing=0.0)


WRONG = [
    ("", {}, "the file is empty"),
    ("a,b\n", {}, "no row of values"),
    ("a,b\n1,2\n3\n", {}, "line 3: expected 2 values; got 1"),
    ("a,b\n1,2\n3,4,5\n", {}, "line 3: expected 2 values; got 3"),
    ("a,b\n1,2\n3,x\n", {}, "line 3, column 'b': expected a number; got 'x'"),
    ('a,b\n"1\n",2\n3,x\n', {}, "line 4, column 'b'"),  # a value over two lines
    ("a,b\n1,2\n", {"target": "c"}, "no column 'c'; there are a, b"),
    ("a,b\n1,2\n", {"target": 2}, "no column 2"),
    ("a,a\n1,2\n", {}, r"columns of the same name: \['a'\]; is header=False meant"),
    ("a,b\n,1\n,2\n", {"missing": "mean"}, "column 'a' has no value to take the mean of"),
    ("a,b\n,1\n,2\n", {"missing": "drop"}, "every row misses a value"),
    ("a,b\n1,2\n1,y\n", {"target": ["b"]}, "line 3, column 'b': expected a number; got 'y'"),
    ('a,b\n1,"2\n', {}, "line"),
    ("a,b\n1,2\n", {"missing": "guess"}, "'raise', 'drop', 'mean' or a number; got 'guess'"),
    ("a,b\n1,\n", {"missing": None}, "or a number; got None"),
    ("a,b\n1,2\n3,1_0\n", {}, "line 3, column 'b': expected a number; got '1_0'"),
    ("a,b\n1,2\n", {"delimiter": ";;"}, "a delimiter of one character; got ';;'"),
    ("a,b\n1,2\n", {"delimiter": None}, "a delimiter of one character; got None"),
]


@pytest.mark.parametrize("text, options, message", WRONG, ids=[w[2][:30] for w in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, text: str, options, message: str):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises((data.DataError, InputError), match=message):
        data.csv(tmp_path / "t.csv", **options)


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,2\n\xff\xfe,3\n")
    with pytest.raises(data.DataError, match="t.csv, line"):
        data.csv(tmp_path / "t.csv")


def test_a_byte_order_mark_and_another_delimiter(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes("\ufeffa;b\r\n1;2\r\n".encode())
    found = data.csv(tmp_path / "t.csv", delimiter=";")
    assert found.features == ("a", "b") and found.arrays[0].tolist() == [[1, 2]]


def test_beyond_float32_is_infinite(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a\n1e300\n")
    assert np.isinf(data.csv(tmp_path / "t.csv").arrays[0]).all()
