"""Files of NumPy arrays: mapped, and nothing unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from zkynet import data

X = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float32)
Y = np.arange(50)


@pytest.mark.parametrize("memory_map", [True, False])
def test_npy(tmp_path: Path, memory_map: bool):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    found = data.npy(tmp_path / "x.npy", tmp_path / "y.npy", memory_map=memory_map)
    assert isinstance(found.arrays[0], np.memmap) == memory_map
    np.testing.assert_array_equal(found.arrays[0], X)
    assert found[7][1] == 7


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("memory_map", [True, False])
def test_npz(tmp_path: Path, save, memory_map: bool):
    fortran, empty = np.asfortranarray(X), np.empty((50, 0), np.int16)
    save(tmp_path / "all.npz", x=X, y=Y, fortran=fortran, empty=empty)
    found = data.npz(tmp_path / "all.npz", memory_map=memory_map)
    for array, expected in zip(found.arrays, (X, Y, fortran, empty), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype
    assert isinstance(found.arrays[2], np.memmap) == (memory_map and save is np.savez)
    chosen = data.npz(tmp_path / "all.npz", ["y", "x"], memory_map)
    np.testing.assert_array_equal(chosen.arrays[1], X)
    with pytest.raises(data.DataError, match="no array 'z'; there are x, y, fortran, empty"):
        data.npz(tmp_path / "all.npz", ["z"])


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_objects_are_not_unpickled(tmp_path: Path, memory_map: bool, save):
    objects = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    with pytest.raises(data.DataError, match="o.npy"):
        data.npy(tmp_path / "o.npy", memory_map=memory_map)
    save(tmp_path / "o.npz", o=objects)
    with pytest.raises(data.DataError, match="o.npz"):
        data.npz(tmp_path / "o.npz", memory_map=memory_map)


@pytest.mark.parametrize("memory_map", [True, False])
def test_damaged_files(tmp_path: Path, memory_map: bool):
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    for content in (b"", b"text", whole[:50], whole[:-10]):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(data.DataError, match="x.npy: cannot be read as .npy"):
            data.npy(tmp_path / "x.npy", memory_map=memory_map)
    np.savez(tmp_path / "x.npz", x=X)
    whole = (tmp_path / "x.npz").read_bytes()
    for content in (b"", b"text", whole[:200], whole[:-10]):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(data.DataError, match="x.npz"):
            data.npz(tmp_path / "x.npz", memory_map=memory_map)


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
def test_whatever_is_damaged_the_file_is_named(tmp_path: Path, save, memory_map: bool):
    """A byte changed (in the header mostly), or the end cut off: read as something, or a DataError."""
    path = tmp_path / ("x.npy" if save is np.save else "x.npz")
    save(path, X[:4])
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, 200, 60):
        changed = whole[:place] + bytes([rng.integers(256)]) + whole[place + 1:]
        for content in (changed, changed[:rng.integers(len(whole))]):
            path.write_bytes(content)
            try:
                (data.npy if save is np.save else data.npz)(path, memory_map=memory_map)
            except data.DataError as error:
                assert str(error).startswith(f"{path}: ")
                refused += 1
    assert refused > 60


def test_members_of_another_length_than_their_header(tmp_path: Path):
    for memory_map in (True, False):
        for held, says in ((b"(3,)", b"(2,)"), (b"(3,)", b"(4,)")):
            np.save(tmp_path / "a.npy", np.arange(3))
            content = (tmp_path / "a.npy").read_bytes().replace(held, says)
            with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
                archive.writestr("a.npy", content)
            with pytest.raises(data.DataError, match="a.npz"):
                data.npz(tmp_path / "a.npz", memory_map=memory_map)


def test_a_file_that_is_not_there_or_another_kind(tmp_path: Path):
    for read in (data.npy, data.npz):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing")
    np.savez(tmp_path / "x.npz", x=X)
    with pytest.raises(data.DataError, match="read it with npz"):
        data.npy(tmp_path / "x.npz")
