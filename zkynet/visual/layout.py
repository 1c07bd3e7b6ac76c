"""Our own layout of a picture: nested clusters, each a layered layout of what stands directly in it.

Used where Graphviz's `dot` is not installed. Clusters are laid out from the innermost outwards; an edge
which leaves a cluster gets a lane of its own down to the frame, and goes on from there one level up, so
that boxes never overlap, frames hold their own members only, and edges run beside the boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zkynet.visual.geometry import Drawing, Point, Rect, Route, number
from zkynet.visual.layered import BOTTOM, TOP, Layers, Link, layered
from zkynet.visual.picture import Edge, Picture
from zkynet.visual.style import LINE_SIZE, Sheet, box_size, label_size, text_width

FRAME_PADDING = 12.0
FRAME_HEAD = LINE_SIZE * 1.5 + 4.0


@dataclass(slots=True)
class _Pass:
    """An edge inside one cluster: from a unit (or the frame) to a unit (or the frame)."""

    edge: int
    source: str | None
    target: str | None
    hint: float = 0.0


@dataclass(slots=True)
class _Frame:
    """One cluster's inside: its units (boxes and clusters by prefixed id), its edges, where they stand."""

    id: str | None
    units: list[str] = field(default_factory=list)
    passes: list[_Pass] = field(default_factory=list)
    layers: Layers | None = None
    size: tuple[float, float] = (0.0, 0.0)
    origin: tuple[float, float] = (0.0, 0.0)
    place: dict[str, int] = field(default_factory=dict)
    doors: dict[int, float] = field(default_factory=dict)  # where an edge passes the frame, from its middle


def layout(picture: Picture) -> Drawing:
    """Places every box, cluster and edge of a picture.

    >>> from zkynet.visual.picture import Box, Edge, Picture
    >>> boxes = [Box("a", "input", "x"), Box("b", "operator", "sin")]
    >>> drawing = layout(Picture("f", boxes, [Edge("a", "b")]))
    >>> drawing.boxes["a"].bottom < drawing.boxes["b"].y
    True
    """
    picture = picture.check().pruned()
    plan = _Plan(picture)
    plan.route_through_frames()
    plan.lay_out_all(draft=bool(picture.clusters))
    if picture.clusters:
        # Inside a frame nothing was known of where its edges go. Now it is, and crossings can be undone:
        # first where edges enter, then, with those in place, where they leave.
        for entering in (True, False):
            plan.hint(plan.drawing(), entering)
            plan.lay_out_all(draft=entering)
    return plan.drawing()


class _Plan:
    """The frames of a picture, and the way of every edge through them."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.parent = {cluster.id: cluster.parent for cluster in picture.clusters}
        self.labels = {cluster.id: cluster.label for cluster in picture.clusters}
        self.home = {box.id: box.cluster for box in picture.boxes}
        self.sizes = {_box(box.id): box_size(box) for box in picture.boxes}
        self.frames: dict[str | None, _Frame] = {None: _Frame(None)}
        for cluster in picture.clusters:
            self.frames[cluster.id] = _Frame(cluster.id)
        for box in picture.boxes:
            self.frames[box.cluster].units.append(_box(box.id))
        for cluster in picture.clusters:
            self.frames[cluster.parent].units.append(_cluster(cluster.id))
        for frame in self.frames.values():
            frame.place = {unit: index for index, unit in enumerate(frame.units)}
        self.flipped: set[int] = set()

    def outside_in(self) -> list[_Frame]:
        """Every frame, none before the one around it."""
        inside = self.picture.children()
        order: list[str | None] = [None]
        for name in order:
            order += inside.get(name, [])
        return [self.frames[name] for name in order]

    def _around(self, box: str) -> list[str | None]:
        """The clusters a box stands in, outermost (None) first."""
        chain: list[str | None] = []
        name = self.home[box]
        while name is not None:
            chain.append(name)
            name = self.parent[name]
        return [None, *reversed(chain)]

    def route_through_frames(self) -> None:
        """Splits every edge into its parts inside each cluster, and turns those that would run upwards."""
        crossing: dict[str | None, list[tuple[int, str, str]]] = {name: [] for name in self.frames}
        ways = []
        for index, edge in enumerate(self.picture.edges):
            source, target = self._around(edge.source), self._around(edge.target)
            depth = 0
            while depth + 1 < min(len(source), len(target)) and source[depth + 1] == target[depth + 1]:
                depth += 1
            upper = [*(_cluster(c) for c in source[depth + 1 :] if c is not None), _box(edge.source)]
            lower = [*(_cluster(c) for c in target[depth + 1 :] if c is not None), _box(edge.target)]
            ways.append((source[depth:], target[depth:], upper, lower))
            if upper[0] != lower[0]:
                crossing[source[depth]].append((index, upper[0], lower[0]))
        for name, pairs in crossing.items():
            self.flipped |= _against(pairs, self.picture.edges, self.frames[name].place)
        for index, (source, target, upper, lower) in enumerate(ways):
            if upper[0] == lower[0]:
                continue  # an edge from a box to itself: not drawn
            if index in self.flipped:
                source, target, upper, lower = target, source, lower, upper
            self.frames[source[0]].passes.append(_Pass(index, upper[0], lower[0]))
            for name, unit in zip(source[1:], upper[1:], strict=True):
                self.frames[name].passes.append(_Pass(index, unit, None))
            for name, unit in zip(target[1:], lower[1:], strict=True):
                self.frames[name].passes.append(_Pass(index, None, unit))

    def lay_out_all(self, draft: bool) -> None:
        """Places the units of every frame, inner ones first."""
        for frame in reversed(self.outside_in()):
            self.lay_out(frame, draft)

    def lay_out(self, frame: _Frame, draft: bool) -> None:
        """Places a frame's units; the frames inside it have their sizes already."""
        links = [self._link(frame, part) for part in frame.passes]
        frame.layers = found = layered([self.sizes[unit] for unit in frame.units], links, draft)
        if frame.id is None:
            return
        width = max(found.width, text_width(self.labels[frame.id], LINE_SIZE, bold=True))
        frame.origin = (FRAME_PADDING + (width - found.width) / 2, FRAME_HEAD)
        frame.size = (width + 2 * FRAME_PADDING, found.height + FRAME_HEAD + FRAME_PADDING)
        self.sizes[_cluster(frame.id)] = frame.size
        for part, bends in zip(frame.passes, found.bends, strict=True):
            if part.source is None or part.target is None:
                end = bends[0] if part.source is None else bends[-1]
                frame.doors[part.edge] = frame.origin[0] + end.x - frame.size[0] / 2

    def _link(self, frame: _Frame, part: _Pass) -> Link:
        source = TOP if part.source is None else frame.place[part.source]
        target = BOTTOM if part.target is None else frame.place[part.target]
        text = self.picture.edges[part.edge].label
        label = label_size(text) if text and source != TOP and target != BOTTOM else None
        shifts = self._shift(part.source, part), self._shift(part.target, part)
        return Link(source, target, label, *shifts, hint=part.hint)

    def hint(self, drawing: Drawing, entering: bool) -> None:
        """Tells each edge that enters (or leaves) a frame where its far end is drawn."""
        for frame in self.frames.values():
            for part in frame.passes:
                if (part.source if entering else part.target) is None:
                    edge = self.picture.edges[part.edge]
                    far = edge.source if entering != (part.edge in self.flipped) else edge.target
                    label = drawing.routes[part.edge].label
                    # Between edges to the same box, the places of their labels decide.
                    part.hint = drawing.boxes[far].middle.x + (label.x * 1e-3 if label else 0.0)

    def _shift(self, unit: str | None, part: _Pass) -> float | None:
        """How far from a cluster's middle an edge passes its frame; nothing for boxes."""
        return None if unit is None or unit.startswith("b") else self.frames[unit[1:]].doors[part.edge]

    def _name(self, frame: _Frame, rect: Rect) -> Point:
        """Where a frame's name stands: at the left, or where the fewest edges pass through it."""
        doors = [rect.middle.x + frame.doors[part.edge] for part in frame.passes if part.source is None]
        length = text_width(self.labels[frame.id or ""], LINE_SIZE, bold=True)
        left, right = rect.x + 9.0, max(rect.right - 9.0 - length, rect.x + 9.0)
        places = [left, right, *(door + 5.0 for door in doors if left < door + 5.0 < right)]
        return Point(
            min(places, key=lambda x: sum(x - 3 < door < x + length for door in doors)), rect.y + 15.0
        )

    def drawing(self) -> Drawing:
        """The frames put into one another, with the heading above."""
        outer = self.frames[None].layers
        assert outer is not None
        sheet = Sheet.around(self.picture, outer.width, outer.height)
        drawing = Drawing(sheet.width, sheet.height)
        pieces: dict[int, list[list[Point]]] = {}
        labels: dict[int, Point] = {}
        corners: dict[str | None, tuple[float, float]] = {None: (sheet.x, sheet.y)}
        for frame in self.outside_in():
            x, y = corners[frame.id]
            x, y = x + frame.origin[0], y + frame.origin[1]
            assert frame.layers is not None
            for unit, rect in zip(frame.units, frame.layers.rects, strict=True):
                rect = rect.moved(x, y)
                if unit.startswith("b"):
                    drawing.boxes[unit[1:]] = rect
                else:
                    drawing.clusters[unit[1:]] = rect
                    corners[unit[1:]] = (rect.x, rect.y)
                    drawing.names[unit[1:]] = self._name(self.frames[unit[1:]], rect)
            for part, bends, label in zip(frame.passes, frame.layers.bends, frame.layers.labels, strict=True):
                moved = [Point(p.x + x, p.y + y) for p in bends]
                # Parts of an edge that leave inner frames come first, in the order from the inside out.
                parts = pieces.setdefault(part.edge, [])
                parts.insert(0, moved) if part.target is None else parts.append(moved)
                if label is not None:
                    labels[part.edge] = label.moved(x, y).middle
        for index in range(len(self.picture.edges)):
            points = [point for piece in pieces.get(index, []) for point in piece]
            if index in self.flipped:
                points.reverse()
            drawing.routes.append(Route(_path(points), labels.get(index)))
        return drawing


def _box(id: str) -> str:
    return "b" + id


def _cluster(id: str) -> str:
    return "c" + id


def _against(pairs: list[tuple[int, str, str]], edges: Sequence[Edge], place: dict[str, int]) -> set[int]:
    """The edges to turn round so that no cycle is left: those marked so, and those that close a circle."""
    turned = {index for index, _, _ in pairs if edges[index].against}
    downs: dict[str, list[tuple[int, str]]] = {}
    for index, source, target in pairs:
        upper, lower = (target, source) if index in turned else (source, target)
        downs.setdefault(upper, []).append((index, lower))
    state: dict[str, int] = {}
    for root in sorted(downs, key=place.__getitem__):
        stack = [] if root in state else [(root, 0)]
        while stack:
            unit, step = stack.pop()
            state[unit] = 1  # on the way
            if step == len(downs.get(unit, ())):
                state[unit] = 2  # done
                continue
            stack.append((unit, step + 1))
            index, lower = downs[unit][step]
            if state.get(lower) == 1:
                turned ^= {index}
            elif lower not in state:
                stack.append((lower, 0))
    return turned


def _path(points: list[Point]) -> str:
    """An SVG path: straight where the next point is below, a curve with upright ends where it is not."""
    if not points:
        return ""
    course = [points[0]]
    for point in points[1:]:
        if point != course[-1]:
            course.append(point)
    text = [f"M{number(course[0].x)} {number(course[0].y)}"]
    for before, after in zip(course, course[1:], strict=False):
        if abs(before.x - after.x) < 0.05:
            text.append(f"V{number(after.y)}")
        else:
            bend = (after.y - before.y) * 0.5
            first = f"{number(before.x)} {number(before.y + bend)}"
            second = f"{number(after.x)} {number(after.y - bend)}"
            text.append(f"C{first} {second} {number(after.x)} {number(after.y)}")
    return "".join(text)
