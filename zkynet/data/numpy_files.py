"""Arrays from .npy and .npz files, memory-mapped; nothing is unpickled."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from .dataset import ArrayDataset
from .errors import DataError

Path = str | os.PathLike[str]


def npy(*paths: Path, memory_map: bool = True) -> ArrayDataset:
    """One .npy file for each component: `npy("x.npy", "y.npy")`. Memory-mapped, so that only the rows used are read.

    Raises:
        DataError: a file that is no .npy file, is cut short, or holds Python objects.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/x.npy"
    >>> np.save(path, np.eye(3, dtype=np.float32))
    >>> npy(path)[1]
    (memmap([0., 1., 0.], dtype=float32),)
    """
    return ArrayDataset(*(_load(os.fspath(path), memory_map) for path in paths))


def npz(path: Path, names: Sequence[str] | None = None, memory_map: bool = True) -> ArrayDataset:
    """The arrays of an .npz file, by default all in the file's order. Those stored uncompressed (np.savez) are mapped.

    Raises:
        DataError: no .npz file, no array of a name, or an array of Python objects.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/both.npz"
    >>> np.savez(path, x=np.zeros((4, 2)), y=np.arange(4))
    >>> len(npz(path, ["y", "x"]).arrays), npz(path)[3][1].item()
    (2, 3)
    """
    path, wanted = os.fspath(path), None if names is None else list(names)
    with _reading(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        wanted = list(members) if wanted is None else wanted
        if unknown := [name for name in wanted if name not in members]:
            raise DataError(f"{path}: no array {unknown[0]!r}; there are {', '.join(members)}")
        arrays = [_map_member(path, members[n]) if memory_map and not members[n].compress_type
                  else _read_member(path, archive, members[n]) for n in wanted]
    return ArrayDataset(*arrays)


@contextmanager
def _reading(path: str, kind: str) -> Iterator[None]:
    """Names the file where the parsers of zip, zlib and headers raise what they run into, of whichever type."""
    try:
        yield
    except (DataError, FileNotFoundError):
        raise
    except Exception as error:
        raise DataError(f"{path}: cannot be read as {kind} ({type(error).__name__}: {error})") from error


def _load(path: str, memory_map: bool) -> np.ndarray:
    with _reading(path, ".npy"):
        array = np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays; read it with npz()")
    return array


def _read_member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)  # pyright: ignore[reportArgumentType]
        if file.read(1):  # asking also has the checksum compared
            raise DataError(f"{path}: {info.filename!r} is longer than its header says")
    return array


def _map_member(path: str, info: zipfile.ZipInfo) -> np.ndarray:
    """Maps an array that lies uncompressed in the archive: after its local header, whose length the file tells."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        signature, name, extra = struct.unpack("<4s22xHH", file.read(30))
        if signature != b"PK\3\4":
            raise DataError(f"{path}: no header where {info.filename!r} should be")
        file.seek(name + extra, os.SEEK_CUR)
        start = file.tell()
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise DataError(f"{path}: {info.filename!r} holds Python objects, which are not read")
        if file.tell() - start + dtype.itemsize * math.prod(shape) != info.file_size:
            raise DataError(f"{path}: {info.filename!r} is not as long as its header says")
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
