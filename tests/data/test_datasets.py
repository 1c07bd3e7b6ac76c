"""Arrays, subsets, what counts as in memory, and fingerprints."""

from __future__ import annotations

import pickle
from pathlib import Path

import jax
import numpy as np
import pytest

from zkynet import data
from zkynet.data.draws import Draws
from zkynet.framework.errors import InputError, ShapeError

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2], np.int32)


def test_arrays_are_kept_as_they_are():
    pairs = data.ArrayDataset(X, Y, classes=["a", "b", "c"])
    assert pairs.arrays[0] is X and pairs.arrays[1] is Y and pairs.classes == ("a", "b", "c")
    x, y = pairs[-1]
    np.testing.assert_array_equal(x, X[5])
    assert y == 2
    part = pairs[2:4]
    assert np.shares_memory(part.arrays[0], X) and part.classes == pairs.classes
    assert [int(label) for _, label in pairs] == Y.tolist()


@pytest.mark.parametrize("arrays", [(), (X, Y[:5]), (np.float32(1),)])
def test_arrays_of_different_lengths_are_refused(arrays):
    with pytest.raises(ShapeError, match="one first axis"):
        data.ArrayDataset(*arrays)


@pytest.mark.parametrize("array", [np.array(["a", "b"]), np.array([None, 1])])
def test_arrays_that_hold_no_numbers_are_refused(array):
    with pytest.raises(InputError, match="arrays of numbers"):
        data.ArrayDataset(array)


def test_arrays_go_to_the_device():
    x, y = data.ArrayDataset(X, Y).on_device()
    assert isinstance(x, jax.Array) and x.devices() == {jax.devices()[0]}
    np.testing.assert_array_equal(x, X)
    assert y.dtype == np.int32


def test_a_memory_map_is_pickled_by_its_place(tmp_path: Path):
    big = np.arange(200_000, dtype=np.float32).reshape(1000, 200)
    np.save(tmp_path / "x.npy", big)
    mapped = data.npy(tmp_path / "x.npy")
    message = pickle.dumps(mapped)
    assert len(message) < 1000 < len(pickle.dumps(data.ArrayDataset(big)))
    np.testing.assert_array_equal(pickle.loads(message).arrays[0], big)
    part = pickle.loads(pickle.dumps(mapped[10:20]))  # a view of a map: its contents
    np.testing.assert_array_equal(part.arrays[0], big[10:20])


def test_subsets_of_subsets():
    outer = data.Subset((X, Y), [5, 4, 3, 2])
    inner = data.Subset(outer, [3, 0])
    np.testing.assert_array_equal(inner[0][0], X[2])
    np.testing.assert_array_equal(data.read_rows(inner, [1, 0, 1]).arrays[1], [2, 2, 2])
    with pytest.raises(InputError, match="from 0 to 3"):
        data.Subset(outer, [4])
    with pytest.raises(InputError, match="got -1"):
        data.Subset(outer, [-1])


@pytest.mark.parametrize("mask", [Y == 2, (Y == 2).tolist(), np.zeros(6, bool)])
def test_a_mask_is_the_rows_where_it_is_true(mask):
    subset = data.Subset((X, Y), mask)
    assert len(subset) == np.sum(mask)
    np.testing.assert_array_equal(data.read_rows(subset, np.arange(len(subset))).arrays[0], X[np.asarray(mask)])
    np.testing.assert_array_equal(data.read_rows(data.ArrayDataset(X), mask).arrays[0], X[np.asarray(mask)])


@pytest.mark.parametrize("indices", [[1.7], [True, False], np.array(["1"]), [2**70]])
def test_what_is_no_index(indices):
    with pytest.raises(InputError, match="whole numbers, or a mask of 6 booleans; got"):
        data.Subset((X, Y), indices)
    with pytest.raises(InputError, match="whole numbers"):
        data.read_rows(data.ArrayDataset(X), indices)
    assert len(data.Subset((X, Y), [])) == 0


@pytest.mark.parametrize("wrong, message", [
    ([X, X], "holds 2 arrays: pass a tuple of arrays"), ([jax.numpy.zeros(2)], "holds 1 arrays"),
    ({"x": X}, "got dict"), ("abc", "got str"), (b"abc", "got bytes"), (1.5, "got float")])
def test_what_is_no_data_set(wrong, message: str):
    with pytest.raises(InputError, match=message):
        data.Loader(wrong)


def test_a_list_of_pairs_is_a_data_set():
    rows = data.read_rows([(X[i], int(Y[i])) for i in range(6)], [4, 0])
    np.testing.assert_array_equal(rows.arrays[0], X[[4, 0]])
    np.testing.assert_array_equal(rows.arrays[1], Y[[4, 0]])
    with pytest.raises(ShapeError, match=r"example 1 has shape \(2,\), example 0 has \(3,\)"):
        data.read_rows([np.zeros(3), np.zeros(2)], [0, 1])


def test_what_counts_as_in_memory(tmp_path: Path):
    arrays = data.ArrayDataset(X, Y)
    np.save(tmp_path / "x.npy", X)
    mapped = data.npy(tmp_path / "x.npy")
    for whole in (arrays, mapped):  # of any size
        assert data.in_memory(whole) is whole and data.in_memory(whole, limit=0) is whole
    fixed = data.Mapped(data.Subset(arrays, [1, 3]), lambda x: x * 2)
    whole = data.in_memory(fixed)
    assert whole is not None
    np.testing.assert_array_equal(whole.arrays[0], X[[1, 3]] * 2)
    np.testing.assert_array_equal(whole.arrays[1], Y[[1, 3]])
    assert data.in_memory(fixed, limit=X[:2].nbytes) is None
    assert data.in_memory(data.Mapped(np.zeros((4, 1, 8, 8)), data.RandomHorizontalFlip())) is None
    assert data.in_memory([(1, 2)]) is None
    windows = data.in_memory(data.Windows(np.arange(10), 4))
    assert windows is not None
    np.testing.assert_array_equal(windows.arrays[1], [[1, 2, 3, 4], [5, 6, 7, 8]])


def test_fingerprints_tell_data_sets_apart():
    changed = X.copy()
    changed[3, 2] += 1
    pairs = [(X[i], Y[i]) for i in range(6)]
    different = [data.ArrayDataset(X, Y), data.ArrayDataset(changed, Y), data.ArrayDataset(X), data.ArrayDataset(X[:5]),
                 data.ArrayDataset(X.reshape(6, 2, 2)), data.Subset(X, [0, 1]), data.Subset(X, [1, 0]),
                 data.Windows(np.arange(9), 2), data.Windows(np.arange(9), 3), pairs]
    marks = [data.fingerprint(d) for d in different]
    assert len(set(marks)) == len(marks)
    assert data.fingerprint(data.ArrayDataset(X.copy(), Y.copy())) == marks[0]
    assert data.fingerprint(data.Mapped((X, Y), lambda x: x + 1)) == marks[0]
    assert data.fingerprint(np.asfortranarray(X)) == marks[2]


def test_draws_depend_on_seed_epoch_and_index_alone():
    indices = np.arange(50)
    whole = Draws(indices, seed=3, epoch=1)
    first, second = whole.uniform(), whole.integers(0, 1000)
    for index in (0, 17, 49):
        alone = Draws(np.array([index]), seed=3, epoch=1)
        assert alone.uniform() == first[index] and alone.integers(0, 1000) == second[index]
    for other in (Draws(indices, 4, 1), Draws(indices, 3, 2), Draws(indices + 50, 3, 1)):
        assert not np.isin(other.uniform(), first).any()
    generators = [g.normal() for g in Draws(indices, 3, 1).generators()]
    assert generators == [g.normal() for g in Draws(indices, 3, 1).generators()] and len(set(generators)) == 50


def test_draws_look_random():
    """Uniform over cells, for pairs of neighbouring indices, of draws and of epochs: chi-square of 255 degrees."""
    n = 100_000
    one = Draws(np.arange(n), seed=0, epoch=0)
    a, b = one.uniform(), one.uniform()
    other_epoch, other_seed = (Draws(np.arange(n), *key).uniform() for key in ((0, 1), (1, 0)))
    for first, second in [(a, np.roll(a, 1)), (a, b), (a, other_epoch), (a, other_seed)]:
        cells = np.bincount((first * 16).astype(int) * 16 + (second * 16).astype(int), minlength=256)
        chi = ((cells - n / 256) ** 2 / (n / 256)).sum()
        assert 255 - 5 * 22.6 < chi < 255 + 5 * 22.6
    counts = np.bincount(one.integers(0, 7), minlength=7)
    assert abs(counts - n / 7).max() < 5 * np.sqrt(n / 7)


def test_orders_are_permutations_and_look_random():
    orders = np.array([data.epoch_order(8, seed=5, epoch=e) for e in range(8000)])
    np.testing.assert_array_equal(np.sort(orders, 1), np.tile(np.arange(8), (8000, 1)))
    for place in range(8):
        assert abs(np.bincount(orders[:, place], minlength=8) - 1000).max() < 5 * np.sqrt(1000)
    # This order is what saved runs are continued with: it must not change with any version of anything.
    assert data.epoch_order(10, seed=0, epoch=0).tolist() == ORDER_0_0
    assert data.epoch_order(10, seed=-7, epoch=3).tolist() == ORDER_M7_3


ORDER_0_0 = [4, 1, 9, 7, 5, 2, 0, 6, 3, 8]
ORDER_M7_3 = [3, 8, 4, 5, 1, 7, 0, 9, 2, 6]
