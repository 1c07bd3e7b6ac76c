"""Splits: every example in one part, the proportions asked for, and found again from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zkynet import data
from zkynet.framework.errors import InputError

NAMES = ["train", "validation", "development"]


@given(st.integers(20, 500), st.lists(st.integers(1, 20), min_size=1, max_size=3), st.integers(0, 30),
       st.integers(0, 99))
def test_parts_do_not_overlap_and_have_their_sizes(length: int, weights: list[int], left_over: int, seed: int):
    total = sum(weights) + left_over
    fractions = {name: w / total for name, w in zip(NAMES, weights, strict=False)}
    assume(min(fractions.values()) * length >= 1)
    parts = data.split(np.arange(length), fractions, seed)
    together = np.concatenate([part.indices for part in parts.values()])
    assert len(np.unique(together)) == len(together)
    for name, fraction in fractions.items():
        assert abs(len(parts[name]) - fraction * length) < 1
    assert len(together) == round(sum(fractions.values()) * length) or left_over == 0
    if not left_over:
        assert len(together) == length
    again = data.split(np.arange(length), fractions, seed)
    assert all((again[name].indices == parts[name].indices).all() for name in parts)


@given(st.lists(st.integers(0, 4), min_size=60, max_size=300), st.integers(0, 99))
def test_stratified_parts_have_the_proportions_of_the_whole(labels: list[int], seed: int):
    y = np.array(labels)
    fractions = {"train": 0.6, "validation": 0.3, "development": 0.1}
    parts = data.split((np.zeros(len(y)), y), fractions, seed, stratify=True)
    assert sum(len(p) for p in parts.values()) == len(y)
    for name, part in parts.items():
        for kind in np.unique(y):
            assert abs((y[part.indices] == kind).sum() - fractions[name] * (y == kind).sum()) < 2.5


def test_seeds_and_random_choice():
    counts = np.zeros(20)
    for seed in range(2000):
        counts[data.split(np.arange(20), {"a": 0.25}, seed)["a"].indices] += 1
    assert abs(counts - 500).max() < 5 * np.sqrt(500 * 0.75)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint64])
def test_a_seed_may_be_numpys(kind: Any, tmp_path: Path):
    x, seed = np.arange(10), kind(3)
    parts = data.split(x, {"a": 0.5}, seed=seed)
    np.testing.assert_array_equal(parts["a"].indices, data.split(x, {"a": 0.5}, seed=3)["a"].indices)
    parts.save(tmp_path / "split.json")
    assert data.Splits.load(tmp_path / "split.json", x).seed == 3
    np.testing.assert_array_equal(data.epoch_order(10, seed, kind(1)), data.epoch_order(10, 3, 1))


def test_labels_may_be_given_or_found():
    x, y = np.zeros(30), np.arange(30) % 3
    judge = data.split(x, {"a": 0.5, "b": 0.5}, stratify=y)
    outer = data.Mapped((x, y), data.RandomHorizontalFlip())
    for dataset in ((x, y), outer, data.Subset(outer, np.arange(30))):
        found = data.split(dataset, {"a": 0.5, "b": 0.5}, stratify=True)
        assert (found["a"].indices == judge["a"].indices).all()
    with pytest.raises(InputError, match=r"a label for each of 30 examples; got shape \(29,\)"):
        data.split(x, {"a": 1.0}, stratify=y[1:])
    for dataset in (x, [(1.0, 2)] * 30):
        with pytest.raises(InputError, match="stratify=True needs a data set in memory with labels"):
            data.split(dataset, {"a": 1.0}, stratify=True)


@pytest.mark.parametrize("fractions", [{}, {"a": 0.9, "b": 0.2}, {"a": -0.1}, {"a": 0.0, "b": 0.5},
                                       {"a": float("nan")}])
def test_what_is_no_split(fractions):
    with pytest.raises(InputError, match="positive fractions of together at most 1"):
        data.split(np.arange(10), fractions)


def test_an_empty_part_is_refused():
    with pytest.raises(InputError, match="'b' would be empty: 0.01 of 10 examples"):
        data.split(np.arange(10), {"a": 0.99, "b": 0.01})


def test_saved_and_found_again(tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(100, 3))
    path = tmp_path / "split.json"
    parts = data.split(x, {"train": 0.8, "validation": 0.2}, seed=4)
    path.write_text("older")
    parts.save(path)
    found = data.Splits.load(path, x.copy())
    assert list(found) == ["train", "validation"] and found.seed == 4
    for name in parts:
        np.testing.assert_array_equal(found[name].indices, parts[name].indices)
    with pytest.raises(data.DataError, match="splits of 100 examples; this data set has 99"):
        data.Splits.load(path, x[1:])
    x[50, 1] += 1
    with pytest.raises(data.DataError, match="another data set of the same length"):
        data.Splits.load(path, x)
    assert [p.name for p in tmp_path.iterdir()] == ["split.json"]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode  # whom the umask lets read it


@pytest.mark.parametrize("damage", [
    lambda s: "", lambda s: "[]", lambda s: s[:40], lambda s: s.replace("split 1", "split 9"),
    lambda s: json.dumps({k: v for k, v in json.loads(s).items() if k != "seed"}),
    lambda s: json.dumps(json.loads(s) | {"splits": [1]}),
    lambda s: json.dumps(json.loads(s) | {"splits": {"a": ["x"]}}),
    lambda s: json.dumps(json.loads(s) | {"splits": {"a": [10]}}),
    lambda s: json.dumps(json.loads(s) | {"splits": {"a": [1.5]}})])
def test_damaged_files_of_splits(tmp_path: Path, damage):
    path = tmp_path / "split.json"
    data.split(np.arange(10), {"a": 0.5}).save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(data.DataError, match="split.json: (not a file of splits|expected indices)"):
        data.Splits.load(path, np.arange(10))


def test_nothing_is_left_behind_where_saving_fails(tmp_path: Path):
    parts = data.split(np.arange(10), {"a": 0.5})
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        parts.save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
