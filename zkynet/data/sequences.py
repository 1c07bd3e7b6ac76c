"""Text as numbers: files of it, a vocabulary of characters, and windows with what follows each position."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..framework.errors import InputError
from .dataset import Rows
from .errors import DataError


def text(path: str | os.PathLike[str], encoding: str = "utf-8-sig") -> str:
    """The text in a file. Every kind of line end becomes `\\n`.

    Args:
        path: the file.
        encoding: by default UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: no such file.
        DataError: bytes that are no text in this encoding.
        InputError: an encoding that does not exist.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rhyme.txt"
    >>> _ = path.write_bytes("one\\r\\ntwo".encode())
    >>> text(path)
    'one\\ntwo'
    """
    try:
        with open(path, encoding=encoding) as file:
            return file.read()
    except UnicodeError as error:
        raise DataError(f"{os.fspath(path)}: no text in {encoding} ({error}); give its encoding=, for instance "
                        "'latin-1'") from error
    except LookupError as error:
        raise InputError(f"text: expected the name of an encoding; got {encoding!r}") from error


class Vocabulary:
    """The characters of a text, numbered in sorted order.

    Args:
        text: from which the characters are collected.

    Attributes:
        characters: the sorted characters, one string; `Vocabulary(characters)` is the same vocabulary again.

    >>> letters = Vocabulary("hello")
    >>> letters.characters, letters.encode("hole").tolist(), letters.decode([1, 0, 2])
    ('ehlo', [1, 3, 2, 0], 'hel')
    """

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        self._codes = _codes(self.characters)

    def __len__(self) -> int:
        return len(self.characters)

    def __repr__(self) -> str:
        return f"Vocabulary({self.characters!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.characters == self.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """int32 numbers of the characters. DataError: a character that is not in the vocabulary, and where."""
        codes = _codes(text)
        if not len(codes):
            return np.empty(0, np.int32)
        tokens = np.searchsorted(self._codes, codes)
        wrong = self._codes[np.minimum(tokens, len(self) - 1)] != codes if len(self) else np.ones(len(codes), bool)
        if wrong.any():
            place = int(wrong.argmax())
            raise DataError(f"the character {text[place]!r} at position {place} is not in the vocabulary of "
                            f"{len(self)} characters; make the vocabulary of all texts that are encoded")
        return tokens.astype(np.int32)

    def decode(self, tokens: Iterable[Any]) -> str:
        """The text of these numbers. DataError: a number that is none of the vocabulary's."""
        tokens = np.asarray(tokens if hasattr(tokens, "__len__") else list(tokens), np.int64).reshape(-1)
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < len(self)):
            raise DataError(f"expected numbers from 0 to {len(self) - 1}; got {tokens.min()} to {tokens.max()}")
        return "".join(self.characters[t] for t in tokens.tolist())


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


class Windows:
    """Parts of a sequence, each with the part one step later: x = t[i : i + length], y = t[i + 1 : i + length + 1].

    Args:
        tokens: a sequence of numbers (T,).
        length: of the parts.
        stride: from the start of one to that of the next; by default `length`, so that no token is a target twice. What
            is left after the last window, fewer than `stride` tokens, is in none.

    >>> Windows([1, 2, 3, 4, 5], length=2)[1]
    (array([3, 4]), array([4, 5]))

    Raises:
        InputError: a sequence of no more than `length` numbers, a length or stride below 1.
    """

    def __init__(self, tokens: Any, length: int, stride: int | None = None) -> None:
        self.tokens, self.length = np.asarray(tokens), int(length)
        self.stride = self.length if stride is None else int(stride)
        if self.tokens.ndim != 1 or self.length < 1 or self.stride < 1 or len(self.tokens) <= self.length:
            raise InputError("Windows: expected a sequence of more numbers than length >= 1, and stride >= 1; got "
                             f"shape {self.tokens.shape}, length {self.length}, stride {self.stride}")

    def __len__(self) -> int:
        return (len(self.tokens) - self.length - 1) // self.stride + 1

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        start = range(len(self))[index] * self.stride
        return self.tokens[start:start + self.length], self.tokens[start + 1:start + self.length + 1]

    @property
    def row_bytes(self) -> int:
        return 2 * self.length * self.tokens.itemsize

    def rows(self, indices: np.ndarray, seed: int = 0, epoch: int = 0) -> Rows:
        both = sliding_window_view(self.tokens, self.length + 1)[::self.stride][indices]
        return Rows((both[:, :-1].copy(), both[:, 1:].copy()))

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(f"{self.tokens.dtype.str} {self.length} {self.stride}".encode(), digest_size=16)
        digest.update(self.tokens.tobytes())
        return digest.hexdigest()


def cut(tokens: Any, validation: float = 0.1) -> tuple[Any, Any]:
    """A sequence in two: the start for training, and the last part, of this fraction, for validation.

    Raises:
        InputError: no fraction between 0 and 1, or nothing left for training.

    >>> cut("abcdefghij", validation=0.2)
    ('abcdefgh', 'ij')
    """
    if not 0 < validation < 1:
        raise InputError(f"cut: expected a fraction between 0 and 1; got {validation}")
    place = len(tokens) - max(1, round(len(tokens) * validation))
    if place < 1:
        raise InputError(f"cut: {validation} of {len(tokens)} leaves nothing for training")
    return tokens[:place], tokens[place:]
