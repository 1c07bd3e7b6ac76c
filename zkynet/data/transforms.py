"""Transforms of batches, composed by `Mapped`. Random ones draw from (seed, epoch, index) and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..framework.errors import InputError, ShapeError
from .dataset import Rows, as_dataset, fingerprint, read_rows
from .draws import Draws
from .errors import DataError

Pair = int | Sequence[int]


def whole_pair(name: str, value: Any, least: int) -> tuple[int, int]:
    """Two whole numbers, of one for both or of two. InputError: others, or any below the least."""
    pair = np.asarray(value)
    if pair.dtype.kind not in "iu" or pair.shape not in ((), (2,)) or (pair < least).any():
        raise InputError(f"{name}: expected a whole number of at least {least}, or two; got {value!r}")
    first, second = np.broadcast_to(pair, 2).tolist()
    return first, second


class Transform:
    """Base of transforms: `call(x)` or, where `random` is set, `call(x, draws)`, for a whole batch x of shape (N, ...).

    >>> class Noise(Transform):
    ...     random = True
    ...     def call(self, x, draws):
    ...         return x + draws.uniform(-0.1, 0.1)[:, None]
    >>> noisy = Mapped(np.zeros((4, 2)), Noise())
    >>> bool((noisy[1][0] == noisy[1][0]).all())
    True
    """

    random = False

    def call(self, x: np.ndarray, *draws: Draws) -> np.ndarray:
        raise NotImplementedError

    def __call__(self, x: np.ndarray, draws: Draws | None = None) -> np.ndarray:
        if not self.random:
            return self.call(x)
        return self.call(x, Draws(np.arange(len(x))) if draws is None else draws)


class Mapped:
    """A data set seen through transforms, applied to batches in turn.

    Args:
        dataset: any data set.
        transforms: of `Transform`, or plain functions of a batch (N, ...) that give a batch of the same length. A plain
            function gives the same rows whenever it is asked: a data set in memory is mapped once, before the first
            epoch of `Trainer.fit`. What draws is a `Transform` whose `random` is set.
        on: which component of the examples they apply to; the first by default.

    Where one `Mapped` is the data set of another, their random transforms draw different numbers.

    >>> Mapped((np.array([[0], [255]], np.uint8), [0, 1]), ToFloat(), lambda x: x * 2)[1]
    (array([2.], dtype=float32), np.int64(1))
    """

    def __init__(self, dataset: Any, *transforms: Callable[..., Any], on: int = 0) -> None:
        self.dataset = as_dataset(dataset)
        self.transforms = transforms
        self.on = on

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Any:
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"example {index} of {length}")
        arrays, kept, problems = self.rows(np.array([index % length]))
        if kept is not None and not len(kept):  # not an IndexError, which would end a loop over the data set
            raise DataError(next(iter(problems.values()), f"example {index} cannot be read"))
        return tuple(a[0] for a in arrays)

    def __repr__(self) -> str:
        names = (t.__name__ if hasattr(t, "__name__") else type(t).__name__ for t in self.transforms)  # pyright: ignore
        return f"Mapped({self.dataset!r}, {', '.join(names)})"

    @property
    def classes(self) -> Sequence[str] | None:
        return getattr(self.dataset, "classes", None)

    @property
    def _draws(self) -> bool:
        return any(getattr(t, "random", False) for t in self.transforms)

    @property
    def row_bytes(self) -> int | None:
        inner = getattr(self.dataset, "row_bytes", None)
        if inner is None or not len(self) or self._draws:
            return None
        return sum(a.nbytes for a in self.rows(np.array([0])).arrays)

    def rows(self, indices: np.ndarray, seed: int = 0, epoch: int = 0) -> Rows:
        arrays, kept, problems = read_rows(self.dataset, indices, seed, epoch)
        x, indices = arrays[self.on], indices if kept is None else indices[kept]
        draws = Draws(indices, seed, epoch, stream=_drawing(self.dataset))  # not the numbers that one below has drawn
        for transform in self.transforms:
            before = len(x)
            x = transform(x, draws) if isinstance(transform, Transform) else np.asarray(transform(x))
            if len(x) != before:
                raise ShapeError(f"{transform!r} made {len(x)} rows of {before}; a transform keeps the first axis")
        position = self.on % len(arrays)
        return Rows((*arrays[:position], x, *arrays[position + 1:]), kept, problems)

    def fingerprint(self) -> str:
        return fingerprint(self.dataset)


def _drawing(dataset: Any) -> int:
    """How many data sets draw numbers, from this one down."""
    below = getattr(dataset, "dataset", None)
    return (isinstance(dataset, Mapped) and dataset._draws) + (0 if below is None else _drawing(below))


class ToFloat(Transform):
    """float32; integers are divided by the largest of their type, so that uint8 becomes [0, 1].

    >>> ToFloat()(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """

    def call(self, x: np.ndarray, *draws: Draws) -> np.ndarray:
        if x.dtype.kind in "iu":
            return x / np.float32(np.iinfo(x.dtype).max) if x.dtype.itemsize < 4 else (
                (x / np.iinfo(x.dtype).max).astype(np.float32))
        return x.astype(np.float32)


class Normalize(Transform):
    """(x - mean) / std for each channel, the second axis of the batch: (N, C), (N, C, H, W), ...; float32.

    Args:
        mean, std: a number for each channel, or one for all.

    >>> Normalize(0.5, [0.5, 0.25])(np.ones((1, 2))).tolist()
    [[1.0, 2.0]]

    Raises:
        InputError: a std that is not positive.
        ShapeError: another number of channels.
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = (np.asarray(v, np.float32).reshape(-1) for v in (mean, std))
        if not (self.std > 0).all():
            raise InputError(f"Normalize: expected a positive std; got {self.std.tolist()}: leave constant channels "
                             "out, or give them 1")

    @classmethod
    def of(cls, dataset: Any, on: int = 0, batch: int = 1024) -> Normalize:
        """With mean and standard deviation of a data set (of the training set, say); constant channels get std 1.

        Raises:
            ShapeError: examples without a channel axis.
            InputError: no example to take them of.
        """
        dataset = as_dataset(dataset)
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for start in range(0, len(dataset), batch):
            x = read_rows(dataset, np.arange(start, min(start + batch, len(dataset)))).arrays[on].astype(np.float64)
            if x.ndim < 2:
                raise ShapeError(f"Normalize.of: expected examples of shape (C, ...); got batches of shape {x.shape}: "
                                 "x[:, None] has one channel")
            axes = tuple(i for i in range(x.ndim) if i != 1)
            count += x.size // x.shape[1]
            total = total + x.sum(axes)
            squares = squares + np.square(x).sum(axes)
        if not count:
            raise InputError(f"Normalize.of: {len(dataset)} examples, none of which has a value to take the mean of")
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
        return cls(mean, np.where(std > 1e-7 * np.abs(mean), std, 1))

    def call(self, x: np.ndarray, *draws: Draws) -> np.ndarray:
        for values in (self.mean, self.std):
            if x.ndim < 2 or len(values) not in (1, x.shape[1]):
                raise ShapeError(f"Normalize: expected shape (N, {len(values)}, ...); got {x.shape}")
        shape = (-1, *[1] * (x.ndim - 2))
        out = np.subtract(x, self.mean.reshape(shape), dtype=np.float32)
        return np.divide(out, self.std.reshape(shape), out=out)


class RandomCrop(Transform):
    """A random part of each image, of one size, after zeros were put around it. Images (N, ..., H, W).

    Args:
        size: of the part: a number, or (height, width).
        padding: zeros on each side: a number, or (vertical, horizontal).

    Raises:
        InputError: a size or padding that is not a whole number, a size below 1, a padding below 0.
        ShapeError: no images, or smaller ones than the part, with their padding.

    >>> RandomCrop(32, padding=4)(np.zeros((2, 3, 32, 32), np.uint8)).shape
    (2, 3, 32, 32)
    """

    random = True

    def __init__(self, size: Pair, padding: Pair = 0) -> None:
        self.size = whole_pair("RandomCrop: size", size, 1)
        self.padding = whole_pair("RandomCrop: padding", padding, 0)

    def call(self, x: np.ndarray, *draws: Draws) -> np.ndarray:
        (draw,) = draws
        (up, side), (height, width) = self.padding, self.size
        if x.ndim < 3:
            raise ShapeError(f"RandomCrop: expected images (N, ..., H, W); got shape {x.shape}")
        x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(up, up), (side, side)]) if up or side else x
        if x.shape[-2] < height or x.shape[-1] < width:
            raise ShapeError(f"RandomCrop: parts of {height} x {width} of images that are, with their padding, "
                             f"{x.shape[-2]} x {x.shape[-1]}")
        tops = draw.integers(0, x.shape[-2] - height + 1)
        lefts = draw.integers(0, x.shape[-1] - width + 1)
        out = np.empty((*x.shape[:-2], height, width), x.dtype)
        for row, image, top, left in zip(out, x, tops.tolist(), lefts.tolist(), strict=True):
            row[...] = image[..., top:top + height, left:left + width]
        return out


class RandomHorizontalFlip(Transform):
    """Each image (N, ..., W) mirrored, left to right, with probability p."""

    random = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise InputError(f"RandomHorizontalFlip: expected a probability p from 0 to 1; got {p}")
        self.p = p

    def call(self, x: np.ndarray, *draws: Draws) -> np.ndarray:
        (draw,) = draws
        out, flipped = x.copy(), draw.uniform() < self.p
        out[flipped] = x[flipped][..., ::-1]
        return out


class Resize(Transform):
    """Images (N, ..., H, W) at another size, bilinear with antialiasing (Pillow's). Keeps uint8; the rest is float32.

    >>> Resize((2, 3))(np.full((1, 1, 8, 8), 7, np.uint8)).tolist()
    [[[[7, 7, 7], [7, 7, 7]]]]
    """

    def __init__(self, size: Pair) -> None:
        self.size = whole_pair("Resize: size", size, 1)

    def call(self, x: np.ndarray, *draws: Draws) -> np.ndarray:
        from PIL import Image

        if x.ndim < 3:
            raise ShapeError(f"Resize: expected images (N, ..., H, W); got shape {x.shape}")
        x = x if x.dtype == np.uint8 else x.astype(np.float32)
        out = np.empty((*x.shape[:-2], *self.size), x.dtype)
        for target, plane in zip(out.reshape(-1, *self.size), x.reshape(-1, *x.shape[-2:]), strict=True):
            image = Image.fromarray(np.ascontiguousarray(plane))
            target[...] = np.asarray(image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR))
        return out
