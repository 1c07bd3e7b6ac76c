"""What a picture of a graph shows, as plain data.

A `Picture` knows nothing of nodes or of drawing: `collect` makes one from a graph, and `dot`, `layout`,
`svg` and `page` draw it. Everything in it is text, so that each form escapes it in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

Kind = Literal["input", "parameter", "state", "constant", "operator", "module", "nodes", "gradient"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Box:
    """One box: a node, a collapsed module call, or many nodes drawn as one.

    `lines` stand under the title in small print, `detail` is the longer text of the tooltip, `alarm` (when
    not empty) says why the box is marked in red.
    """

    id: str
    kind: Kind
    title: str
    lines: tuple[str, ...] = ()
    cluster: str | None = None
    detail: str = ""
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from one box to another; `gradient` for what flows in the backward pass.

    `against` marks an arrow that runs against the reading direction beside a forward one: it is drawn,
    but does not decide which box stands above which.
    """

    source: str
    target: str
    label: str = ""
    gradient: bool = False
    against: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame around boxes and other frames: one module call, or blocks that repeat."""

    id: str
    label: str
    parent: str | None = None
    repeats: int = 1


@dataclass(slots=True)
class Picture:
    """Boxes, edges and nested frames, with a title and remarks on what is not shown.

    >>> picture = Picture("f", [Box("a", "input", "x"), Box("b", "operator", "sin")], [Edge("a", "b")])
    >>> picture.check().size
    2
    """

    title: str = ""
    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many boxes there are."""
        return len(self.boxes)

    def kinds(self) -> list[Kind]:
        """The kinds that occur, in the order of the legend."""
        there = {box.kind for box in self.boxes}
        return [kind for kind in KINDS if kind in there]

    def box(self, id: str) -> Box:
        """The box with this id; KeyError where there is none."""
        for box in self.boxes:
            if box.id == id:
                return box
        raise KeyError(id)

    def children(self) -> dict[str | None, list[str]]:
        """The ids of the clusters directly inside each cluster (None: outermost), in order."""
        inside: dict[str | None, list[str]] = {}
        for cluster in self.clusters:
            inside.setdefault(cluster.parent, []).append(cluster.id)
        return inside

    def check(self) -> Picture:
        """Returns the picture itself, after a look at whether every name in it is defined once."""
        for id in [box.id for box in self.boxes] + [cluster.id for cluster in self.clusters]:
            if not re.fullmatch(r"\w+", id, re.ASCII):
                raise ValueError(f"ids are letters, digits and _, but one is {id!r}")
        boxes = _unique("box", (box.id for box in self.boxes))
        clusters = _unique("cluster", (cluster.id for cluster in self.clusters))
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in boxes:
                    raise ValueError(f"the edge {edge.source!r} -> {edge.target!r} names no box: {end!r}")
        for owner, name in [(b.id, b.cluster) for b in self.boxes] + [
            (c.id, c.parent) for c in self.clusters
        ]:
            if name is not None and name not in clusters:
                raise ValueError(f"{owner!r} stands in an unknown cluster: {name!r}")
        return self

    def pruned(self) -> Picture:
        """The same picture without clusters that hold nothing."""
        parent = {cluster.id: cluster.parent for cluster in self.clusters}
        used: set[str] = set()
        for box in self.boxes:
            name = box.cluster
            while name is not None and name not in used:
                used.add(name)
                name = parent[name]
        return replace(self, clusters=[cluster for cluster in self.clusters if cluster.id in used])


def _unique(what: str, names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two of this picture's {what} ids are {name!r}")
        seen.add(name)
    return seen
