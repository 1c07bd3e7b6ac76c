"""Parameters as scripts write them, brought to plain Python values: the one place that does.

Booleans arrive as "True", axes and shapes as text, lists, tuples, NumPy numbers or whole floats. A parameter's kind is
the annotation of the function that takes it, e.g. `axis: Axes = None`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from .index_text import read_index


@dataclass(frozen=True)
class Kind:
    """What a parameter may be: a description, and a reader that raises ValueError or TypeError for anything else."""

    text: str
    read: Callable[[Any], Any]
    takes_none: bool = False  # otherwise None stands for the default
    many: bool = False  # several ints in a row are one such parameter: x.reshape(2, 3)


# Possessive throughout, so that no text makes it backtrack.
_LITERAL = re.compile(r"(?:True|False|None|nan|inf|[\s\[\](),]|[+-]?[0-9.]++(?:[eE][+-]?[0-9]++)?+)*+")
_WORDS = {"True": "true", "False": "false", "None": "null", "nan": "NaN", "inf": "Infinity"}


def literal(text: str) -> Any:
    """The number, boolean, None or (nested) list of these that a text stands for; nothing is evaluated.

    >>> literal("(0, -1)"), literal("True"), literal("[[1, 2], [3.5, None]]")
    ([0, -1], True, [[1, 2], [3.5, None]])
    """
    if len(text) > 100_000 or not _LITERAL.fullmatch(text) or _depth(text) > 16:
        raise ValueError("no literal")
    text = re.sub(r"[A-Z]?[a-z]{2,}", lambda match: _WORDS[match.group()], text)
    text = text.replace("(", "[").replace(")", "]").replace("+", "")
    return json.loads(re.sub(r",\s*\]", "]", text))


def _depth(text: str) -> int:
    deepest = now = 0
    for character in text:
        now += (character in "[(") - (character in "])")
        deepest = max(deepest, now)
    return deepest


def plain(value: Any) -> Any:
    """Plain Python numbers, booleans and lists of a value, or of the text of one."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("no plain value")


# Readers ----------------------------------------------------------------------------------------------------


_FLAGS = {"True": True, "False": False, "true": True, "false": False}


def _flag(value: Any) -> bool:
    if value is True or value is False:
        return value
    if value.__class__ is str and value in _FLAGS:
        return _FLAGS[value]
    value = _single(plain(value))
    if value not in (True, False):
        raise ValueError
    return bool(value)


def _single(value: Any) -> Any:
    """The one element of lists of one element: recorded numbers are often arrays."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _int(value: Any) -> int:
    if value.__class__ is int:  # what it mostly is
        return value
    value = _single(plain(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    value = _single(plain(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    return value


def _axis(value: Any) -> int | None:
    value = plain(value)
    return None if value is None else _int(value)


def _axes(value: Any) -> Any:
    if value.__class__ is int:
        return value
    value = plain(value)
    if isinstance(value, list):
        return tuple([_int(item) for item in value])
    return None if value is None else _int(value)


def _ints(value: Any) -> tuple[int, ...]:
    value = value if isinstance(value, (list, tuple)) else plain(value)
    return tuple([_int(item) for item in (value if isinstance(value, (list, tuple)) else [value])])


def _shape(value: Any) -> tuple[int, ...]:
    shape = _ints(value)
    if min(shape, default=0) < 0:
        raise ValueError
    return shape


def _counts(value: Any) -> Any:
    value = plain(value)
    return tuple([_int(item) for item in value]) if isinstance(value, list) else _int(value)


def _numbers(value: Any) -> Any:
    value = plain(value)
    return [_numbers(item) for item in value] if isinstance(value, list) else _number(value)


def _whole_numbers(value: Any) -> Any:
    value = plain(value)
    return [_whole_numbers(item) for item in value] if isinstance(value, list) else _int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_DTYPES = {"bool": "bool", "int": "int32", "int32": "int32", "int64": "int32", "uint8": "uint8", "float": "float32",
           "float32": "float32", "float64": "float32", "float16": "float16"}


def _dtype(value: Any) -> str:
    if isinstance(value, type):
        return _DTYPES[value.__name__]
    return _DTYPES[value if isinstance(value, str) else np.dtype(value).name]


def choice(*words: str) -> Kind:
    """One of some words."""
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError
        return value

    return Kind("one of " + ", ".join(map(repr, words)), read)


# Kinds ------------------------------------------------------------------------------------------------------

Flag = Annotated[bool, Kind("True or False", _flag)]
Int = Annotated[int, Kind("an integer", _int)]
MaybeInt = Annotated[int | None, Kind("an integer or None", _axis, takes_none=True)]
Number = Annotated[float, Kind("a number", _number)]
MaybeNumber = Annotated[float | None, Kind("a number or None", lambda value: None if value is None else _number(value),
                                           takes_none=True)]
Numbers = Annotated[Any, Kind("a number or a list of numbers", _numbers)]
Widths = Annotated[Any, Kind("a width, a pair (before, after), or a list of one pair for each axis", _whole_numbers)]
Integers = Annotated[Any, Kind("an integer or a (nested) list of integers", _whole_numbers)]
Axis = Annotated[int | None, Kind("an axis (an integer) or None", _axis, takes_none=True)]
Axes = Annotated[Any, Kind("an axis, a list of axes, or None", _axes, takes_none=True)]
Order = Annotated[Any, Kind("a list of axes, or None", _axes, takes_none=True, many=True)]
Shape = Annotated[tuple[int, ...], Kind("a shape: an integer or a list of integers >= 0", _shape, many=True)]
MaybeShape = Annotated[Any, Kind("a shape (an integer or a list of integers >= 0) or None",
                                 lambda value: None if value is None else _shape(value), takes_none=True, many=True)]
NewShape = Annotated[tuple[int, ...], Kind("a shape: an integer or a list of integers, one of which may be -1", _ints,
                                           many=True)]
MaybeNewShape = Annotated[Any, Kind("a shape (an integer or a list of integers, one of which may be -1) or None",
                                    lambda value: None if value is None else _ints(value), takes_none=True)]
Counts = Annotated[Any, Kind("an integer or a list of integers", _counts)]
MaybeCounts = Annotated[Any, Kind("an integer, a list of integers, or None",
                                  lambda value: None if value is None else _counts(value), takes_none=True)]
Reps = Annotated[Any, Kind("an integer or a list of integers", _counts, many=True)]
Text = Annotated[str, Kind("a text", _text)]
Dtype = Annotated[str, Kind("one of " + ", ".join(_DTYPES), _dtype)]
IndexText = Annotated[Any, Kind(
    "an index: text such as '[:, -1]' or {\"indices\": text}, or a list of integers and lists of integers", read_index)]
SEED = Kind("an integer", _int)
