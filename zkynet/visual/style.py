"""Fonts, colours and text widths, shared by every form of a picture."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from zkynet.visual.picture import Box, Kind, Picture

# Widest of the usual sans-serif fonts last: boxes are measured for DejaVu Sans, so the text fits in all.
FONTS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
DOT_FONT = "Helvetica"
TITLE_SIZE = 13.0
LINE_SIZE = 11.0
LABEL_SIZE = 10.0
HEADING_SIZE = 16.0
PADDING = (11.0, 7.0)
LINE_HEIGHT = 1.32
MARGIN = 14.0


@dataclass(frozen=True, slots=True)
class Shade:
    """The colours of one kind of box: for a light page and for a dark one."""

    fill: str
    stroke: str
    text: str
    dark_fill: str
    dark_stroke: str
    dark_text: str
    meaning: str


SHADES: dict[Kind, Shade] = {
    "input": Shade("#dff3e4", "#2f855a", "#12301f", "#153826", "#5bbd88", "#d9f5e5", "input"),
    "parameter": Shade("#dceafd", "#2b6cb0", "#122844", "#142f50", "#6ea8e8", "#dceafd", "parameter"),
    "state": Shade("#ece3fb", "#6b46c1", "#2a1a52", "#33235a", "#a98bf0", "#ebe3fc", "state"),
    "constant": Shade("#eeeeee", "#777777", "#222222", "#333333", "#9a9a9a", "#eeeeee", "constant"),
    "operator": Shade("#fffdf3", "#8a7433", "#2b2410", "#2c2a20", "#c2aa62", "#f7f1dc", "operator"),
    "module": Shade("#e3e8ef", "#3d4a5c", "#1a2230", "#27303d", "#9fb0c8", "#e6edf7", "module, collapsed"),
    "nodes": Shade("#f1f1f4", "#6a6a75", "#26262e", "#2e2e35", "#a2a2b0", "#ededf2", "several nodes"),
    "gradient": Shade("#fdebd8", "#b7611a", "#40210a", "#45290f", "#e69a55", "#fdebd8", "gradient"),
}
ALARM = Shade("#c62828", "#7f0000", "#ffffff", "#d03b3b", "#ff9d9d", "#ffffff", "not finite")
EDGE = ("#4a4f57", "#aab2bf")
GRADIENT = ("#b7500f", "#f0a05a")
INK = ("#1c1f24", "#e8eaed")
FAINT = ("#5b626d", "#a5adb8")
PAGE = ("#ffffff", "#16181c")
FRAMES = (("#f6f8fb", "#1c2026"), ("#edf1f6", "#22272f"))
FRAME_LINE = ("#9aa7b8", "#55606f")

_NARROW = frozenset("iljI.,:;'|!()[]{}ft/\\ \"`-")
_WIDE = frozenset("mwMW@%…—#&+=<>~")


def text_width(text: str, size: float, bold: bool = False) -> float:
    """A width in points which no usual font exceeds; an estimate per character, so no font is read.

    >>> text_width("iii", 10) < text_width("www", 10)
    True
    """
    ems = 0.0
    for letter in text:
        if letter in _NARROW:
            ems += 0.41
        elif letter in _WIDE:
            ems += 0.98
        elif letter.isascii():
            ems += 0.70 if letter.isupper() else 0.64
        elif unicodedata.combining(letter):
            continue
        else:
            ems += 1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.85
    return ems * size * (1.1 if bold else 1.0)


def clipped(text: str, most: int) -> str:
    """`text` on one line and at most this many characters long, the middle left out where it is longer.

    >>> clipped("a very long name", 9)
    'a ve…name'
    """
    text = " ".join(printable(text).split())
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return text[: most - 1 - tail] + "…" + (text[-tail:] if tail else "")


def printable(text: str) -> str:
    """`text` without what XML forbids: control characters (but line ends and tabs), lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cn") else "�" for c in text
    )


def box_size(box: Box) -> tuple[float, float]:
    """Width and height that hold the box's text."""
    across, down = PADDING
    width = text_width(box.title, TITLE_SIZE, bold=True)
    for line in box.lines:
        width = max(width, text_width(line, LINE_SIZE))
    height = LINE_HEIGHT * (TITLE_SIZE + LINE_SIZE * len(box.lines))
    return max(width + 2 * across, 44.0), height + 2 * down


@dataclass(frozen=True, slots=True)
class Sheet:
    """The page round a drawing of a given size: its own size, and where the drawing's corner comes."""

    width: float
    height: float
    x: float
    y: float

    @staticmethod
    def around(picture: Picture, width: float, height: float) -> Sheet:
        """Room for the title above and the notes below."""
        head = HEADING_SIZE * 1.9 if picture.title else 0.0
        foot = LINE_SIZE * 1.5 * len(picture.notes) + (6.0 if picture.notes else 0.0)
        texts = [text_width(picture.title, HEADING_SIZE, bold=True)]
        texts += [text_width(note, LINE_SIZE) for note in picture.notes]
        whole = max([width, *texts])
        return Sheet(
            whole + 2 * MARGIN, height + head + foot + 2 * MARGIN, MARGIN + (whole - width) / 2, MARGIN + head
        )


def label_size(text: str) -> tuple[float, float]:
    """Width and height of an edge's label."""
    return text_width(text, LABEL_SIZE) + 6.0, LABEL_SIZE * LINE_HEIGHT + 2.0


def shade(box: Box) -> Shade:
    """The colours of a box."""
    return ALARM if box.alarm else SHADES[box.kind]
