"""Indices as text: a parser of NumPy's basic indices, which evaluates nothing.

    index = "[" items "]" | "(" items ")" | items, and any of these within {"indices": "..."}
    items = item {"," item} [","]
    item  = integer | "None" | "..." | "Ellipsis" | [integer] ":" [integer] [":" [integer]] | "slice(" ... ")"

Everything else is refused, with its position. The bounds of a slice may also be None.
"""

from __future__ import annotations

import functools
import re
from types import EllipsisType
from typing import Any

from zkynet.framework.errors import InputError

Item = int | slice | EllipsisType | None
Index = tuple[Item, ...]

LONGEST = 2000  # characters
_MOST_DIGITS = 18
_TOKEN = re.compile(r"\s*(?:(?P<int>[+-]?(?:0|[1-9][0-9]*)(?![0-9A-Za-z_.]))|(?P<word>None|Ellipsis|slice)\b"
                    r"|(?P<mark>\.\.\.|[\[\](),:])|(?P<end>$)|(?P<other>.))", re.ASCII | re.DOTALL)
_WRAPPED = re.compile(r"""\s*\{\s*(['"])indices\1\s*:\s*(['"])(?P<index>[^'"\\]*)\2\s*\}\s*""")
_CLOSING = {"[": "]", "(": ")"}


def parse_index(text: str) -> Index:
    """The index that a text stands for, as a tuple.

    Raises:
        InputError: for anything but integers, slices, Ellipsis and None; it names the position.

    >>> parse_index("[:, -1, ::2]")
    (slice(None, None, None), -1, slice(None, None, 2))
    >>> parse_index(str({"indices": "[..., None]"}))
    (Ellipsis, None)
    """
    if not isinstance(text, str):
        raise InputError(f"an index text must be a str, but got {type(text).__name__}.")
    if len(text) > LONGEST:
        raise InputError(f"an index text may have {LONGEST} characters, but this one has {len(text)}.")
    return _parsed(text)


def write_index(index: Index) -> str:
    """The text of an index; `parse_index` of it gives the index again.

    >>> write_index((slice(None), -1, slice(1, None, 2), ..., None))
    '[:, -1, 1::2, ..., None]'
    """
    return f"[{', '.join([_written(item) for item in index]) or '()'}]"


def _written(item: Item) -> str:
    if isinstance(item, slice):
        start, stop, step = ["" if part is None else str(int(part)) for part in (item.start, item.stop, item.step)]
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return "..." if item is Ellipsis else str(item)


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Index:
    wrapped = _WRAPPED.fullmatch(text)
    first, last = wrapped.span("index") if wrapped else (0, len(text))
    return _Parser(text, first, last).whole()


class _Parser:
    """Reads text[first:last] token by token; one token is looked at in advance."""

    def __init__(self, text: str, first: int, last: int):
        self.text, self.last = text, last
        self._read(first)

    def _read(self, position: int) -> None:
        match = _TOKEN.match(self.text, position, self.last)
        assert match is not None  # the last alternatives take the end and any character
        self.kind = match.lastgroup
        self.token = match.group(match.lastgroup or 0)
        self.at, self.next = match.start(match.lastgroup or 0), match.end()

    def _take(self) -> str:
        token = self.token
        self._read(self.next)
        return token

    def _took(self, mark: str) -> bool:
        found = self.kind == "mark" and self.token == mark
        if found:
            self._take()
        return found

    def _wrong(self, expected: str) -> InputError:
        found = "the end" if self.kind == "end" else repr(self.text[self.at:self.last][:20])
        return InputError(f"index text {self.text[:80]!r}, position {self.at}: expected {expected}, but found {found}. "
                          "An index is made of integers, slices such as 1:3, ... and None.")

    def whole(self) -> Index:
        index = self._enclosed("[(")
        if self.kind != "end":
            raise self._wrong("the end")
        return index

    def _enclosed(self, allowed: str) -> Index:
        """Items, in brackets or not. Brackets may hold one tuple in parentheses, which is the same index; a list would
        be another one."""
        if self.kind != "mark" or self.token not in tuple(allowed):
            return self._items()
        opened = self._take()
        close = _CLOSING[opened]
        empty = opened == "(" and self.token == close
        inner = () if empty else self._enclosed("(" if opened == "[" else "")
        if not self._took(close):
            raise self._wrong(f"',' or {close!r}")
        return inner

    def _items(self) -> Index:
        items = [self._item()]
        while self._took(","):
            if self.kind == "end" or self.token in ("]", ")"):
                break
            items.append(self._item())
        if items.count(Ellipsis) > 1:
            raise self._wrong("one ... at most")
        return tuple(items)

    def _item(self) -> Item:
        if self._took("..."):
            return Ellipsis
        if self.kind == "word" and self.token != "None":
            return Ellipsis if self._take() == "Ellipsis" else self._called_slice()
        start = self._bound()
        if self.kind == "mark" and self.token == ":":
            return self._slice(start[0] if start else None)
        if start is None:
            raise self._wrong("an integer, a slice, ... or None")
        return start[0]

    def _bound(self) -> tuple[int | None] | None:
        """An integer or None in a tuple; None where neither stands."""
        if self.kind == "int":
            if len(self.token) > _MOST_DIGITS:
                raise self._wrong(f"an integer of at most {_MOST_DIGITS} digits")
            return (int(self._take()),)
        if self.kind == "word" and self.token == "None":
            self._take()
            return (None,)
        return None

    def _slice(self, start: int | None) -> slice:
        parts: list[int | None] = [start]
        while len(parts) < 3 and self._took(":"):
            at = self.at
            found = self._bound()
            parts.append(found[0] if found else None)
            self._check_step(parts, at)
        return slice(*parts, *(None,) * (3 - len(parts)))

    def _called_slice(self) -> slice:
        """The rest of slice(stop), slice(start, stop) or slice(start, stop, step): how Python writes slices."""
        if not self._took("("):
            raise self._wrong("'('")
        parts: list[int | None] = []
        while len(parts) < 3:
            at = self.at
            found = self._bound()
            if found is None:
                raise self._wrong("an integer or None")
            parts.append(found[0])
            self._check_step(parts, at)
            if not self._took(","):
                break
        if not self._took(")"):
            raise self._wrong("')'")
        return slice(*parts)

    def _check_step(self, parts: list[int | None], at: int) -> None:
        if len(parts) == 3 and parts[2] == 0:
            raise InputError(f"index text {self.text[:80]!r}, position {at}: the step of a slice must not be 0.")


def read_index(value: Any) -> str | list[Any]:
    """An index in any form that scripts write, in one that JSON can hold: its text, or a list with index arrays.

    Text, {"indices": text}, an int, a slice, None, Ellipsis, or a tuple or list of these and of lists of integers.

    >>> read_index((slice(0, 2), -1)), read_index([[0, 1], 2])
    ('[0:2, -1]', [[0, 1], 2])
    """
    if isinstance(value, dict) and list(value) == ["indices"]:
        value = value["indices"]
    if isinstance(value, str):
        return write_index(parse_index(value))
    items = list(value) if isinstance(value, (tuple, list)) else [value]
    items = [item.tolist() if hasattr(item, "tolist") else item for item in items]
    if all([_is_basic(item) for item in items]):
        return write_index(tuple(items))
    if all([_is_integer(item) or _is_integers(item) for item in items]):
        return items
    raise ValueError("an index of something else")


def _is_integer(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _is_basic(item: Any) -> bool:
    if isinstance(item, slice):
        return item.step != 0 and all([p is None or _is_integer(p) for p in (item.start, item.stop, item.step)])
    return item is None or item is Ellipsis or _is_integer(item)


def _is_integers(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and all([_is_integer(i) or _is_integers(i) for i in item])


def index_of(read: str | list[Any]) -> tuple[Any, ...]:
    """What `read_index` gave, as what arrays are indexed with."""
    return parse_index(read) if isinstance(read, str) else tuple(read)
