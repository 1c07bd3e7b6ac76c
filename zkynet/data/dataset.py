"""What a data set is, and the two plain ones: arrays in memory, and some rows of another."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from ..framework.avals import kept_dtype
from ..framework.errors import InputError, ShapeError
from .errors import DataError

HASHED_WHOLE = 2**30  # bytes; of an array larger than this, the fingerprint samples rows


@runtime_checkable
class Dataset(Protocol):
    """Anything with a length whose items are tuples of arrays: `dataset[i] == (x_i, y_i)`.

    A data set may read several rows at once, faster than one by one, in a method
    `rows(indices, seed, epoch) -> Rows`; loaders use it where it exists. A list of pairs is a data set, too.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Rows(NamedTuple):
    """Some rows of a data set.

    Attributes:
        arrays: one array for each component, the rows along the first axis.
        kept: positions, among the indices asked for, of those that could be read; None for all.
        problems: of those that could not: file and reason.
    """

    arrays: tuple[np.ndarray, ...]
    kept: np.ndarray | None = None
    problems: Mapping[str, str] = {}


def read_rows(dataset: Dataset, indices: Any, seed: int = 0, epoch: int = 0) -> Rows:
    """The rows of these indices (or of a mask). `seed` and `epoch` decide what random transforms draw.

    >>> read_rows([(1.0, 2), (3.0, 4)], [1, 0]).arrays
    (array([3., 1.]), array([4, 2]))

    Raises:
        ShapeError: examples of different shapes, which cannot be one batch.
        InputError: indices that are no whole numbers.
    """
    indices = _indices(indices, dataset)
    several = getattr(dataset, "rows", None)
    if several is not None:
        return several(indices, seed, epoch)
    items = [item if isinstance(item, tuple) else (item,) for item in (dataset[int(i)] for i in indices)]
    return Rows(tuple(_stack(indices, column) for column in zip(*items, strict=True)))


def _indices(given: Any, dataset: Any) -> np.ndarray:
    """int64 (K,). A mask is the places where it is True; what else NumPy would make integers of is refused."""
    array = np.asarray(given)
    if array.dtype == bool and array.shape == (len(dataset),):
        return np.flatnonzero(array)
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"expected indices that are whole numbers, or a mask of {len(dataset)} booleans; got "
                         f"{array.dtype}{list(array.shape)}")
    return array.astype(np.int64, copy=False).reshape(-1)


def _stack(indices: np.ndarray, column: Sequence[Any]) -> np.ndarray:
    arrays = [np.asarray(value) for value in column]
    for index, array in zip(indices, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise ShapeError(f"example {index} has shape {array.shape}, example {indices[0]} has {arrays[0].shape}; in "
                             "a batch all have one shape: crop, resize or pad them")
    return np.stack(arrays)


def as_dataset(data: Any) -> Dataset:
    """A data set as it is; an array or a tuple of arrays as an `ArrayDataset`.

    Raises:
        InputError: something else, also a dict, a string, and a list of arrays: a list holds examples, not components.
    """
    if isinstance(data, tuple):
        return ArrayDataset(*data)
    if isinstance(data, np.ndarray | jax.Array):
        return ArrayDataset(data)
    if isinstance(data, list) and data and all(isinstance(a, np.ndarray | jax.Array) and a.ndim for a in data):
        raise InputError(f"a list is a data set of examples, and this one holds {len(data)} arrays: pass a tuple of "
                         "arrays (x, y), or, where each is an example, np.stack(list)")
    if isinstance(data, Dataset) and not isinstance(data, Mapping | str | bytes):
        return data
    raise InputError("expected a data set (with len and [index]), an array or a tuple of arrays; got "
                     f"{type(data).__name__}")


def put(arrays: Sequence[Any], device: Any = None) -> tuple[jax.Array, ...]:
    """Arrays on a device (by default JAX's default device), in the types that JAX keeps there: of 32 bits, usually.

    Raises:
        DataError: integers that do not fit: JAX would take other numbers for them.
    """
    for a in arrays:
        try:
            kept_dtype(a, f"an array of {a.dtype}")
        except InputError as error:
            raise DataError(str(error)) from None
    return tuple(jax.device_put(tuple(arrays), device))


class ArrayDataset:
    """Arrays of one length, in memory (or memory-mapped): example i is `(a[i], b[i], ...)`.

    Args:
        arrays: NumPy arrays (kept as they are), or what makes one (a jax array is copied to the host). The first axis
            counts the examples.
        classes: names of the classes, where the last array holds class numbers.
        features: names of the columns of the first array.

    Attributes:
        arrays: the tuple of NumPy arrays.

    Raises:
        ShapeError: no array, a scalar, or lengths that differ.

    >>> points = ArrayDataset(np.arange(6.0).reshape(3, 2), [0, 1, 1], classes=["low", "high"])
    >>> len(points), points[2]
    (3, (array([4., 5.]), np.int64(1)))
    >>> len(points[1:])
    2
    """

    def __init__(self, *arrays: Any, classes: Sequence[str] | None = None,
                 features: Sequence[str] | None = None) -> None:
        self.arrays: tuple[np.ndarray, ...] = tuple(a if isinstance(a, np.ndarray) else np.asarray(a) for a in arrays)
        self.classes = None if classes is None else tuple(classes)
        self.features = None if features is None else tuple(features)
        shapes = [a.shape for a in self.arrays]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(f"expected arrays with one first axis, of the examples; got shapes {shapes}")
        if any(a.dtype.kind in "OSUmM" for a in self.arrays):
            raise InputError(f"expected arrays of numbers; got dtypes {[str(a.dtype) for a in self.arrays]}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any, /) -> Any:
        """A tuple for an integer; an `ArrayDataset` (of views) for a slice."""
        taken = tuple(a[index] for a in self.arrays)
        if isinstance(index, slice):
            return ArrayDataset(*taken, classes=self.classes, features=self.features)
        return taken

    def __repr__(self) -> str:
        return f"ArrayDataset({', '.join(f'{a.dtype}{list(a.shape)}' for a in self.arrays)})"

    def rows(self, indices: np.ndarray, seed: int = 0, epoch: int = 0) -> Rows:
        return Rows(tuple(np.ascontiguousarray(a[indices]) for a in self.arrays))

    @property
    def row_bytes(self) -> int:
        return sum(a.dtype.itemsize * int(np.prod(a.shape[1:])) for a in self.arrays)

    def on_device(self, device: Any = None) -> tuple[jax.Array, ...]:
        """The arrays on a device (by default JAX's default device), to be indexed there by compiled programs.

        Raises:
            DataError: 64-bit integers beyond the 32 bits that JAX keeps of them.
        """
        return put(self.arrays, device)

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for a in self.arrays:
            digest.update(f"{a.dtype.str}{a.shape}".encode())
            sample = a if a.nbytes <= HASHED_WHOLE else a[_spread(len(a), 4096)]
            digest.update(np.ascontiguousarray(sample).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "arrays": tuple(_MapPlace.of(a) for a in self.arrays)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self.arrays = tuple(a.open() if isinstance(a, _MapPlace) else a for a in self.arrays)


class _MapPlace(NamedTuple):
    """A memory-mapped array by the place of its file, so that a worker process maps it instead of getting a copy."""

    path: str
    dtype: Any
    offset: int
    shape: tuple[int, ...]
    order: str

    @classmethod
    def of(cls, a: np.ndarray) -> Any:
        # A view of a map keeps the attributes of the whole; only the whole itself lies right on the mmap.
        if not isinstance(a, np.memmap) or not isinstance(a.base, mmap.mmap) or a.filename is None:
            return a
        order = "C" if a.flags.c_contiguous else "F"
        return cls(str(a.filename), a.dtype, a.offset, a.shape, order)

    def open(self) -> np.memmap:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, "C" if self.order == "C" else "F")


class Subset:
    """Some examples of another data set, in the order given.

    Args:
        dataset: any data set.
        indices: whole numbers (K,), or a mask: a boolean for each example of the data set.

    >>> [x.item() for (x,) in Subset(ArrayDataset([10, 11, 12]), [2, 0])]
    [12, 10]
    >>> len(Subset(ArrayDataset([10, 11, 12]), [True, False, True]))
    2

    Raises:
        InputError: an index outside of the data set, or one that is no whole number.
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset = as_dataset(dataset)
        self.indices = _indices(indices, self.dataset)
        length = len(self.dataset)
        if len(self.indices) and not (self.indices.min() >= 0 and self.indices.max() < length):
            raise InputError(f"expected indices from 0 to {length - 1}, the examples of the data set; "
                             f"got {self.indices.min()} to {self.indices.max()}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Any:
        return self.dataset[int(self.indices[index])]

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.dataset!r})"

    @property
    def classes(self) -> Sequence[str] | None:
        return getattr(self.dataset, "classes", None)

    @property
    def row_bytes(self) -> int | None:
        return getattr(self.dataset, "row_bytes", None)

    def rows(self, indices: np.ndarray, seed: int = 0, epoch: int = 0) -> Rows:
        return read_rows(self.dataset, self.indices[indices], seed, epoch)

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(fingerprint(self.dataset).encode(), digest_size=16)
        digest.update(self.indices.astype("<i8").tobytes())
        return digest.hexdigest()


def in_memory(dataset: Any, limit: int = 2**30) -> ArrayDataset | None:
    """The whole data set as arrays, where that costs no more than taking rows of arrays; None for one to be streamed.

    An `ArrayDataset` is returned as it is, of any size and also memory-mapped. Windows of a text, and subsets and fixed
    transforms of arrays, are made into arrays, of up to `limit` bytes. Files and random transforms are streamed: read a
    folder with `load_all()` to have it in memory. A plain function counts as a fixed transform and is applied once.

    >>> in_memory(Subset(ArrayDataset([1, 2, 3]), [2, 1])).arrays
    (array([3, 2]),)
    """
    dataset = as_dataset(dataset)
    if isinstance(dataset, ArrayDataset):
        return dataset
    row_bytes = getattr(dataset, "row_bytes", None)
    if row_bytes is None or row_bytes * len(dataset) > limit:
        return None
    return ArrayDataset(*read_rows(dataset, np.arange(len(dataset))).arrays, classes=getattr(dataset, "classes", None))


def fingerprint(dataset: Any) -> str:
    """Hexadecimal digits that tell one data set from another: of the contents of arrays, of the names of files.

    Of a data set that has no `fingerprint()` of its own, 64 rows are read. Transforms do not count.
    """
    dataset = as_dataset(dataset)
    own = getattr(dataset, "fingerprint", None)
    if own is not None:
        return own()
    sample = ArrayDataset(*read_rows(dataset, _spread(len(dataset), 64)).arrays) if len(dataset) else "empty"
    digest = sample if isinstance(sample, str) else sample.fingerprint()
    return hashlib.blake2b(f"{len(dataset)} {digest}".encode(), digest_size=16).hexdigest()


def _spread(length: int, count: int) -> np.ndarray:
    """At most `count` indices, evenly from the first to the last."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).astype(np.int64))
