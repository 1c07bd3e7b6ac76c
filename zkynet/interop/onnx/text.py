"""Strings in imported graphs: arrays of str that stay on the host, carried through a call as leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...framework.avals import make_aval
from ...framework.nodes import LeafNode
from ...framework.session import Call


class TextNode(LeafNode):
    """A leaf that holds an array of strings. Only rules of imported operators read it; nothing computes with it."""

    __slots__ = ("text",)

    def __init__(self, text: Any):
        self.text = np.asarray(text, dtype=object)
        super().__init__(make_aval(self.text.shape, np.dtype(np.int32)), 0, None, Call(), None)

    @property
    def value(self) -> Any:
        return self.text


def is_text(value: Any) -> bool:
    """Whether a value consists of strings.

    >>> is_text("a"), is_text(np.array(["a"])), is_text([1.0])
    (True, True, False)
    """
    if isinstance(value, (str, bytes)):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "OSU"
    return isinstance(value, list) and bool(value) and all(is_text(v) for v in value)


def as_text(value: Any) -> Any:
    """Strings as a TextNode; anything else as it is."""
    return TextNode(value) if is_text(value) else value


def host(value: Any) -> Any:
    """The array of strings of a TextNode; anything else as it is."""
    return value.text if value.__class__ is TextNode else value
