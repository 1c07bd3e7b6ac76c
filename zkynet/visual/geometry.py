"""Where things stand on the page: what a layout hands to a renderer. Points, y downwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Point(NamedTuple):
    """A place on the page."""

    x: float
    y: float


class Rect(NamedTuple):
    """A rectangle: its upper left corner and its size.

    >>> Rect(0, 0, 2, 2).overlaps(Rect(1, 1, 2, 2)), Rect(0, 0, 2, 2).overlaps(Rect(2, 0, 1, 1))
    (True, False)
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of the right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of the lower side."""
        return self.y + self.height

    @property
    def middle(self) -> Point:
        """The centre."""
        return Point(self.x + self.width / 2, self.y + self.height / 2)

    def moved(self, dx: float, dy: float) -> Rect:
        """The same rectangle elsewhere."""
        return Rect(self.x + dx, self.y + dy, self.width, self.height)

    def overlaps(self, other: Rect, slack: float = 1e-6) -> bool:
        """Whether the two share an area."""
        return (
            self.x < other.right - slack
            and other.x < self.right - slack
            and self.y < other.bottom - slack
            and other.y < self.bottom - slack
        )

    def contains(self, other: Rect, slack: float = 1e-6) -> bool:
        """Whether the other lies inside this one."""
        return (
            self.x <= other.x + slack
            and self.y <= other.y + slack
            and other.right <= self.right + slack
            and other.bottom <= self.bottom + slack
        )


@dataclass(slots=True)
class Route:
    """The course of an edge, as an SVG path, and the middle of its label."""

    path: str
    label: Point | None = None


@dataclass(slots=True)
class Drawing:
    """The places of a picture's boxes and clusters by id, and of its edges in the picture's order."""

    width: float
    height: float
    boxes: dict[str, Rect] = field(default_factory=dict)
    clusters: dict[str, Rect] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    names: dict[str, Point] = field(default_factory=dict)  # left end of the clusters' names, on the baseline


def number(value: float) -> str:
    """A coordinate as text: one decimal is finer than a screen's pixel.

    >>> number(3.0), number(2.54)
    ('3', '2.5')
    """
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
