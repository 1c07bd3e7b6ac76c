"""Comma-separated values."""

from __future__ import annotations

import csv as csv_format
import math
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np

from ..framework.errors import InputError
from .dataset import ArrayDataset
from .errors import DataError

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
CHUNK = 4096
Column = str | int


def csv(path: str | os.PathLike[str], target: Column | Sequence[Column] | None = None,
        features: Column | Sequence[Column] | None = None, header: bool = True, delimiter: str = ",",
        missing: str | float = "raise", classify: bool | None = None) -> ArrayDataset:
    """A table of numbers, as features x (N, columns) float32 and, where asked for, targets y.

    Args:
        path: a file of comma-separated values, UTF-8.
        target: name or number of the column to predict, or a list of them.
        features: the columns of x, or one; by default all that are not targets.
        header: whether the first line names the columns. Without names, columns are named "0", "1", ...
        delimiter: the character between values.
        missing: what a missing value (nothing, NA, N/A, NaN, null, None, ?; in any case) does: "raise" an error, "drop"
            its row, "mean" of its column takes its place, or a number does. A missing target can only be raised or
            dropped.
        classify: whether the target is a class. By default it is when its values are text, or whole numbers that are
            written as such: 7, not 7.0, which could as well be a measurement.

    Returns:
        An `ArrayDataset` with `features`, the names of the columns of x. A target of classes is int32 (N,): whole
        numbers as they are, text by its place in the sorted `classes`. A target of fractions is float32 (N, 1), a list
        of targets float32 (N, k).

    Raises:
        DataError: with file, line and column: no number, a missing value, a line of another length, no such column.
        InputError: a `missing` or a `delimiter` that is none.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = path.write_text("length,width,kind\\n1.5,2,rose\\n3,?,daisy\\n")
    >>> flowers = csv(path, target="kind", missing=0)
    >>> flowers.arrays[0].tolist(), flowers.arrays[1].tolist(), flowers.classes
    ([[1.5, 2.0], [3.0, 0.0]], [1, 0], ('daisy', 'rose'))
    """
    if missing not in ("raise", "drop", "mean") if isinstance(missing, str) else not isinstance(missing, Real):
        raise InputError(f"csv: expected missing='raise', 'drop', 'mean' or a number; got {missing!r}")
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv_format.reader(file, delimiter=delimiter, strict=True)
        except (TypeError, ValueError) as error:
            raise InputError(f"csv: expected a delimiter of one character; got {delimiter!r} ({error})") from error
        table = _Table(os.fspath(path), reader, header)
        targets = [] if target is None else table.columns(target)
        chosen = table.columns(features) if features is not None else [
            i for i in range(len(table.names)) if i not in targets]
        table.read(chosen, targets)
    several = target is not None and not isinstance(target, Column)
    return _dataset(table, chosen, targets, several, missing, classify)


def _plain(text: str) -> str:
    """The text itself. ValueError: 1_0, which is ten in Python, and a mistake in a table."""
    if "_" in text:
        raise ValueError(f"not a number: {text!r}")
    return text


def _whole(text: str) -> int:
    """7 of 7 and of 7.0."""
    value = float(_plain(text))
    if value != int(value):
        raise ValueError(f"not a whole number: {text!r}")
    return int(value)


class _Table:
    """The rows of one file: numbers of the features, text of the targets, and the line each row ends on."""

    def __init__(self, path: str, reader: Any, header: bool) -> None:
        self.path, self.reader = path, reader
        self._first: list[tuple[int, list[str]]] = []
        first = next(self._rows(), None)
        if first is None:
            raise DataError(f"{path}: the file is empty")
        self.names = [name.strip() for name in first[1]] if header else [str(i) for i in range(len(first[1]))]
        if len(set(self.names)) < len(self.names):
            twice = sorted({n for n in self.names if self.names.count(n) > 1})
            raise DataError(f"{path}, line {first[0]}: columns of the same name: {twice}; is header=False meant?")
        self._first = [] if header else [first]

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        yield from self._first
        try:
            for row in self.reader:
                if row:
                    yield self.reader.line_num, row
        except (csv_format.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}, line {self.reader.line_num + 1}: {error}") from error

    def columns(self, wanted: Column | Sequence[Column]) -> list[int]:
        return [self._column(w) for w in ([wanted] if isinstance(wanted, Column) else wanted)]

    def _column(self, wanted: Column) -> int:
        if isinstance(wanted, str) and wanted in self.names:
            return self.names.index(wanted)
        if isinstance(wanted, int) and -len(self.names) <= wanted < len(self.names):
            return wanted % len(self.names)
        raise DataError(f"{self.path}: no column {wanted!r}; there are {', '.join(self.names)}")

    def read(self, features: list[int], targets: list[int]) -> None:
        lines, parts = [], [np.empty((0, len(features)), np.float32)]
        self.targets: list[list[str]] = [[] for _ in targets]
        rows = self._rows()
        while chunk := list(islice(rows, CHUNK)):
            for line, row in chunk:
                if len(row) != len(self.names):
                    raise DataError(f"{self.path}, line {line}: expected {len(self.names)} values; got {len(row)}")
            parts.append(self._numbers(chunk, features))
            lines += [line for line, _ in chunk]
            for values, i in zip(self.targets, targets, strict=True):
                values += [row[i].strip() for _, row in chunk]
        if not lines:
            raise DataError(f"{self.path}: there is no row of values")
        self.lines, self.x = np.array(lines), np.concatenate(parts)

    def _numbers(self, chunk: list[tuple[int, list[str]]], columns: list[int]) -> np.ndarray:
        whole = columns == list(range(len(self.names)))
        flat = [text for _, row in chunk for text in (row if whole else [row[i] for i in columns])]
        try:
            _plain("".join(flat))  # all at once: one by one would take as long as the conversion
            values = np.fromiter(map(float, flat), np.float64, len(flat))
        except ValueError:
            names = [self.names[i] for i in columns]
            values = np.array([self.number(text, chunk[k // len(columns)][0], names[k % len(columns)])
                               for k, text in enumerate(flat)])
        with np.errstate(over="ignore"):  # beyond float32 is infinite
            return values.astype(np.float32).reshape(len(chunk), len(columns))

    def number(self, text: str, line: int, name: str) -> float:
        if text.strip().lower() in MISSING:
            return math.nan
        try:
            return float(_plain(text))
        except ValueError:
            raise DataError(f"{self.path}, line {line}, column {name!r}: expected a number; got {text!r}") from None


def _dataset(table: _Table, features: list[int], targets: list[int], several: bool, missing: str | float,
             classify: bool | None) -> ArrayDataset:
    x, absent = table.x, np.isnan(table.x)
    lost = np.zeros(len(x), bool)
    for values in table.targets:
        lost |= np.array([text.lower() in MISSING for text in values])
    if missing == "raise":
        _raise_missing(table, features, targets, absent, lost)
    if missing == "drop":
        lost = lost | absent.any(1)
    elif lost.any():
        raise DataError(f"{table.path}, line {table.lines[lost.argmax()]}: the target is missing; missing='drop' "
                        "leaves such rows out")
    elif absent.any():
        x = np.where(absent, _means(table, features, absent) if missing == "mean" else np.float32(missing), x)
    names = [table.names[i] for i in features]
    keep = ~lost
    if not keep.any():
        raise DataError(f"{table.path}: every row misses a value; missing='mean' or a number would keep them")
    if not targets:
        return ArrayDataset(x[keep], features=names)
    if several:
        columns = [_floats(table, values, i, keep) for values, i in zip(table.targets, targets, strict=True)]
        return ArrayDataset(x[keep], np.stack(columns, 1), features=names)
    y, classes = _target(table, targets[0], keep, classify)
    return ArrayDataset(x[keep], y, features=names, classes=classes)


def _means(table: _Table, features: list[int], absent: np.ndarray) -> np.ndarray:
    empty = absent.all(0)
    if empty.any():
        name = table.names[features[int(empty.argmax())]]
        raise DataError(f"{table.path}: column {name!r} has no value to take the mean of")
    return np.asarray(np.nanmean(table.x, 0, dtype=np.float64), np.float32)


def _raise_missing(table: _Table, features: list[int], targets: list[int], absent: np.ndarray,
                   lost: np.ndarray) -> None:
    rows = absent.any(1) | lost
    if rows.any():
        row = int(rows.argmax())
        column = features[int(absent[row].argmax())] if absent[row].any() else next(
            i for i, values in zip(targets, table.targets, strict=True) if values[row].lower() in MISSING)
        raise DataError(f"{table.path}, line {table.lines[row]}, column {table.names[column]!r}: a missing value ("
                        f"{int(rows.sum())} rows miss one). missing='drop', 'mean' or a number goes on without")


def _floats(table: _Table, values: list[str], column: int, keep: np.ndarray) -> np.ndarray:
    name = table.names[column]
    return np.array([table.number(values[i], table.lines[i], name) for i in np.flatnonzero(keep)], np.float32)


def _target(table: _Table, column: int, keep: np.ndarray, classify: bool | None) -> tuple[np.ndarray, list[str] | None]:
    values = table.targets[0]
    kept = [values[i] for i in np.flatnonzero(keep)]
    if classify is not False:
        try:
            return np.array([_whole(v) if classify else int(_plain(v)) for v in kept], np.int32), None
        except (ValueError, OverflowError):
            pass
    if classify is None:
        try:
            return np.array([float(_plain(v)) for v in kept], np.float32)[:, None], None
        except ValueError:
            pass
    if classify is False:
        return _floats(table, values, column, keep)[:, None], None
    classes, y = np.unique(kept, return_inverse=True)
    return y.astype(np.int32), classes.tolist()
