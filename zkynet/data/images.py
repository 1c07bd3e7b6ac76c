"""Folders of images: one sub-folder for each class."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..framework.errors import InputError, ShapeError
from .dataset import ArrayDataset, Rows
from .errors import DataError
from .transforms import whole_pair

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MODES = {"gray": ("L", 1), "rgb": ("RGB", 3)}
CHUNK = 256
THREADED = 128 * 128  # pixels. Below, decoding is mostly Python: threads only pass the interpreter's lock around


class ImageFolder:
    """The images below a folder, whose sub-folders are the classes: `root/cat/1.png`, `root/dog/a/2.jpg`.

    Files are listed at the first use and read when asked for. Example i is `(image, label)`: uint8 of shape
    (channels, height, width), and the int32 number of the class, by the sorted names of the sub-folders. Files that are
    hidden or have another extension than an image's are passed over.

    Args:
        root: the folder.
        mode: "rgb" or "gray"; images are converted to it.
        size: height and width (or one number for both) that all images have. By default those of the first.
        resize: bring images to `size` (bilinear) instead of refusing those of another size.
        on_error: what a file (or a folder) that cannot be read does: "raise" an error, or "skip": it is left out of its
            batch (and of `load_all()`) and reported in `problems`.
        classes: all names that sub-folders may have, in the order of their numbers, whether or not each is there. By
            default the names found, sorted: give them where one folder may lack a class that another has.

    Attributes:
        classes: names of the classes. class_to_index: their numbers.
        files: paths, by class, sorted. labels: an int32 array of their classes.
        problems: file or folder -> reason, for those that could not be read so far.

    Raises:
        DataError: no such folder, no sub-folder, one that is none of `classes`, one without an image (unless skipping),
            a broken file.
        ShapeError: an image of another size.

    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name, color in (("black", 0), ("white", 255)):
    ...     (root / name).mkdir()
    ...     Image.new("L", (5, 4), color).save(root / name / "0.png")
    >>> images = ImageFolder(root, mode="gray")
    >>> images.classes, len(images)
    (('black', 'white'), 2)
    >>> image, label = images[1]
    >>> image.shape, int(image.min()), int(label)
    ((1, 4, 5), 255, 1)
    """

    def __init__(self, root: str | os.PathLike[str], mode: str = "rgb", size: int | Sequence[int] | None = None,
                 resize: bool = False, on_error: str = "raise", classes: Sequence[str] | None = None) -> None:
        if mode not in MODES:
            raise InputError(f"ImageFolder: expected mode {' or '.join(map(repr, MODES))}; got {mode!r}")
        if on_error not in ("raise", "skip"):
            raise InputError(f"ImageFolder: expected on_error 'raise' or 'skip'; got {on_error!r}")
        if resize and size is None:
            raise InputError("ImageFolder: resize=True needs the size to bring images to")
        self.root, self.mode, self.resize, self.on_error = Path(root), mode, resize, on_error
        if not self.root.is_dir():
            raise DataError(f"ImageFolder: no folder {self.root}")
        self._wanted = None if size is None else whole_pair("ImageFolder: size", size, 1)
        self._classes = None if classes is None else tuple(classes)
        self.problems: dict[str, str] = {}

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        try:
            with os.scandir(self.root) as entries:
                names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        except OSError as error:
            raise DataError(f"{self.root}: {_not_listed(error)}") from error
        if not names:
            raise DataError(f"{self.root}: expected a sub-folder for each class; there is none")
        if self._classes is not None and (other := [name for name in names if name not in self._classes]):
            raise DataError(f"{self.root}: expected sub-folders named {', '.join(self._classes)}; got "
                            f"{', '.join(map(repr, other))}")
        return tuple(names)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._folders if self._classes is None else self._classes

    @property
    def class_to_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    @cached_property
    def _listing(self) -> tuple[list[str], np.ndarray]:
        files, labels = [], []
        index = self.class_to_index
        for name in sorted(self._folders, key=index.__getitem__):
            folder = str(self.root / name)
            found = self._image_files(folder)
            if not found and folder not in self.problems:
                self._report(folder, f"no image in this class; images end in {' '.join(EXTENSIONS)}")
            files += found
            labels.append(np.full(len(found), index[name], np.int32))
        return files, np.concatenate(labels)

    def _image_files(self, folder: str) -> list[str]:
        def unlisted(error: OSError) -> None:  # which os.walk would pass over
            self._report(error.filename, _not_listed(error), error)

        found = []
        for place, folders, names in os.walk(folder, onerror=unlisted):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            found += [os.path.join(place, n) for n in sorted(names) if n.lower().endswith(EXTENSIONS) and n[0] != "."]
        return found

    @property
    def files(self) -> list[str]:
        return self._listing[0]

    @property
    def labels(self) -> np.ndarray:
        return self._listing[1]

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        from PIL import Image

        if self._wanted:
            return self._wanted
        for path in self.files:
            try:
                with Image.open(path) as image:
                    return image.height, image.width
            except Exception as error:
                self._report(path, _not_read(error), error)
        raise DataError(f"{self.root}: none of the {len(self)} images can be read")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: (channels, height, width)."""
        return (MODES[self.mode][1], *self.size)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}, {self.mode}, {len(self)} images, {len(self.classes)} classes)"

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.int32]:
        path, label = self.files[index], self.labels[index]
        out = np.empty(self.shape, np.uint8)
        self._read(path, out)
        return out, label

    def rows(self, indices: np.ndarray, seed: int = 0, epoch: int = 0) -> Rows:
        images = np.empty((len(indices), *self.shape), np.uint8)
        kept, problems = self._fill(images, indices)
        if not problems:
            return Rows((images, self.labels[indices]))
        return Rows((images[kept], self.labels[indices[kept]]), kept, problems)

    def load_all(self, threads: int | None = None) -> ArrayDataset:
        """All images in memory: uint8 (N, channels, height, width) and int32 (N,). Broken files as `on_error` says.

        Args:
            threads: that read at the same time; by default as many as there are processors for large images, and one
                for small ones.
        """
        images = np.empty((len(self), *self.shape), np.uint8)
        if threads is None:
            threads = 1 if self.size[0] * self.size[1] < THREADED else os.cpu_count() or 1
        parts = [np.arange(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]

        def read(part: np.ndarray) -> np.ndarray:
            return part[self._fill(images[part[0]:part[-1] + 1], part)[0]]

        if threads == 1:
            kept = np.concatenate([read(part) for part in parts])
        else:
            with ThreadPoolExecutor(threads) as pool:
                kept = np.concatenate(list(pool.map(read, parts)))
        if len(kept) < len(self):
            return ArrayDataset(images[kept], self.labels[kept], classes=self.classes)
        return ArrayDataset(images, self.labels, classes=self.classes)

    def fingerprint(self) -> str:
        """Of the names of the files below the root; no file is read."""
        names = "\n".join(os.path.relpath(path, self.root).replace(os.sep, "/") for path in self.files)
        return hashlib.blake2b(names.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def _fill(self, images: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
        """Reads images into the rows of an array; the positions of those that could be read, and the problems."""
        kept, problems = [], {}
        for position, index in enumerate(indices.tolist()):
            try:
                self._read(self.files[index], images[position])
                kept.append(position)
            except (DataError, ShapeError) as error:
                if self.on_error == "raise":
                    raise
                problems[self.files[index]] = str(error)
        self.problems.update(problems)
        return np.array(kept, np.int64), problems

    def _report(self, path: str, reason: str, cause: Exception | None = None) -> None:
        if self.on_error == "raise":
            raise DataError(f"{path}: {reason}. on_error='skip' goes on without") from cause
        self.problems[path] = f"{path}: {reason}"

    def _read(self, path: str, out: np.ndarray) -> None:
        try:
            pixels = _decode(path, MODES[self.mode][0], self.size if self.resize else None)
        # Pillow's decoders raise whatever their parsers run into: OSError, SyntaxError, ValueError, struct.error, ...
        except Exception as error:
            raise DataError(f"{path}: {_not_read(error)}") from error
        if pixels.shape[:2] != self.size:
            raise ShapeError(f"{path}: expected an image of height and width {self.size}; got {pixels.shape[:2]}. Give "
                             "size= with resize=True to bring all images to one size, or on_error='skip'")
        out[...] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _not_read(error: Exception) -> str:
    return f"cannot be read as an image ({type(error).__name__}: {error})"


def _not_listed(error: OSError) -> str:
    return f"cannot be listed ({type(error).__name__}: {error.strerror})"


def _decode(path: str, mode: str, size: tuple[int, int] | None) -> Any:
    from PIL import Image  # here, so that without Pillow all but images works

    # Reading the file whole first is faster than letting the decoder read it by pieces, and closes it at once.
    with open(path, "rb", buffering=0) as file:
        image = Image.open(io.BytesIO(file.read()))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}) have no fixed range")
    elif "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != mode:
        image = image.convert(mode)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)
