"""Our own layout: what must hold for every picture, whatever it shows."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkynet.visual.geometry import Drawing, Point, Rect
from zkynet.visual.layered import longest_path, spaced
from zkynet.visual.layout import layout
from zkynet.visual.picture import Box, Cluster, Edge, Picture
from zkynet.visual.style import label_size

quick = settings(max_examples=40, deadline=None)


@st.composite
def graphs(draw, acyclic: bool = True) -> Picture:
    """A picture with nested clusters. `acyclic`: edges go to later boxes, clusters hold stretches of them."""
    count = draw(st.integers(1, 14))
    boxes, clusters = [], []
    spans: list[tuple[int, int, str]] = []
    for index in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, count - 1))
        end = draw(st.integers(start + 1, count))
        around = [s for s in spans if s[0] <= start and end <= s[1]]
        if any(not (end <= a or b <= start or (a <= start and end <= b)) for a, b, _ in spans):
            continue  # neither inside nor outside of an earlier one
        parent = min(around, key=lambda s: s[1] - s[0])[2] if around else None
        clusters.append(Cluster(f"c{index}", f"m{index}: Module", parent, draw(st.sampled_from([1, 12]))))
        spans.append((start, end, f"c{index}"))
    for index in range(count):
        inside = [s for s in spans if s[0] <= index < s[1]]
        home = min(inside, key=lambda s: s[1] - s[0])[2] if inside else None
        if not acyclic and clusters:
            home = draw(st.sampled_from([None, *(cluster.id for cluster in clusters)]))
        lines = tuple(draw(st.lists(st.sampled_from(["= 3", "-1 … 4, mean 0.5"]), max_size=2)))
        boxes.append(Box(f"n{index}", "operator", draw(st.sampled_from(["add", "log_softmax"])), lines, home))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = []
    for one, other in draw(st.lists(pairs, max_size=24)):
        if acyclic:
            one, other = min(one, other), max(one, other)
        if one != other or not acyclic:
            label = draw(st.sampled_from(["", "float32[]", "float32[32,64]"]))
            edges.append(Edge(f"n{one}", f"n{other}", label, against=not acyclic and draw(st.booleans())))
    return Picture(draw(st.sampled_from(["", "a title"])), boxes, edges, clusters, ["a note"])


def check_places(picture: Picture, drawing: Drawing) -> None:
    """Everything is placed, on the page, and nothing overlaps but frames and what is in them."""
    used = picture.pruned()
    assert set(drawing.boxes) == {box.id for box in picture.boxes}
    assert set(drawing.clusters) == {cluster.id for cluster in used.clusters}
    page = Rect(0, 0, drawing.width, drawing.height)
    for rect in [*drawing.boxes.values(), *drawing.clusters.values()]:
        assert page.contains(rect)
    for one, other in combinations(drawing.boxes.values(), 2):
        assert not one.overlaps(other)
    parent = {cluster.id: cluster.parent for cluster in used.clusters}

    def around(name: str | None) -> set[str | None]:
        return set() if name is None else {name} | around(parent[name])

    for box in picture.boxes:
        for cluster in used.clusters:
            frame, rect = drawing.clusters[cluster.id], drawing.boxes[box.id]
            assert frame.contains(rect) if cluster.id in around(box.cluster) else not frame.overlaps(rect)
    for one, other in combinations(used.clusters, 2):
        nested = one.id in around(other.id) or other.id in around(one.id)
        assert nested or not drawing.clusters[one.id].overlaps(drawing.clusters[other.id])


def samples(path: str) -> list[Point]:
    """Points along a path of M, V and C."""
    found: list[Point] = []
    for letter, text in re.findall(r"([MVC])([^MVC]*)", path):
        numbers = [float(part) for part in text.split()]
        if letter == "M":
            found.append(Point(*numbers))
        elif letter == "V":
            found.append(Point(found[-1].x, numbers[0]))
        else:
            p0 = found[-1]
            p1, p2, p3 = (Point(*numbers[i : i + 2]) for i in (0, 2, 4))
            for t in (0.2, 0.4, 0.6, 0.8, 1.0):
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                found.append(
                    Point(
                        a * p0.x + b * p1.x + c * p2.x + d * p3.x, a * p0.y + b * p1.y + c * p2.y + d * p3.y
                    )
                )
    return found


@quick
@given(graphs())
def test_graph_without_cycles(picture: Picture) -> None:
    drawing = layout(picture)
    check_places(picture, drawing)
    for edge, route in zip(picture.edges, drawing.routes, strict=True):
        source, target = drawing.boxes[edge.source], drawing.boxes[edge.target]
        assert source.bottom < target.y, "an edge goes down"
        points = samples(route.path)
        first, last = points[0], points[-1]
        assert source.x <= first.x <= source.right and abs(first.y - source.bottom) < 0.2
        assert target.x <= last.x <= target.right and abs(last.y - target.y) < 0.2
        for name, rect in drawing.boxes.items():
            inside = [
                p for p in points if rect.x + 1 < p.x < rect.right - 1 and rect.y + 1 < p.y < rect.bottom - 1
            ]
            assert not inside, f"the edge {edge} runs over {name}"


@quick
@given(graphs())
def test_labels_lie_beside_the_boxes(picture: Picture) -> None:
    drawing = layout(picture)
    labels = []
    for edge, route in zip(picture.edges, drawing.routes, strict=True):
        assert (route.label is not None) == bool(edge.label)
        if route.label is not None:
            width, height = label_size(edge.label)
            labels.append(Rect(route.label.x - width / 2, route.label.y - height / 2, width, height))
    for label in labels:
        assert not any(label.overlaps(rect) for rect in drawing.boxes.values())
    assert not any(one.overlaps(other) for one, other in combinations(labels, 2))


@quick
@given(graphs(acyclic=False))
def test_any_graph(picture: Picture) -> None:
    drawing = layout(picture)
    check_places(picture, drawing)
    drawn = [route.path != "" for route in drawing.routes]
    assert drawn == [edge.source != edge.target for edge in picture.edges]


def test_edge_against_the_others_runs_up() -> None:
    boxes = [Box("a", "input", "x"), Box("b", "operator", "sin")]
    edges = [Edge("b", "a", gradient=True, against=True), Edge("a", "b")]
    drawing = layout(Picture("", boxes, edges))
    assert drawing.boxes["a"].bottom < drawing.boxes["b"].y
    up, down = (samples(route.path) for route in drawing.routes)
    assert up[0].y > up[-1].y and down[0].y < down[-1].y


def test_thousands_of_boxes_in_a_chain_with_a_long_edge() -> None:
    boxes = [Box(f"n{index}", "operator", "sin") for index in range(3000)]
    edges = [Edge(f"n{index}", f"n{index + 1}") for index in range(2999)] + [Edge("n0", "n2999")]
    drawing = layout(Picture("", boxes, edges))
    assert len({rect.y for rect in drawing.boxes.values()}) == 3000


@quick
@given(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10), st.floats(0, 30)), min_size=1, max_size=12)
)
def test_spaced_keeps_the_gaps_and_moves_nothing_without_need(items) -> None:
    wished, weights, least = [i[0] for i in items], [i[1] for i in items], [i[2] for i in items[1:]]
    places = spaced(wished, weights, least)
    assert all(b - a >= gap - 1e-6 for a, b, gap in zip(places, places[1:], least, strict=False))
    if all(b - a >= gap for a, b, gap in zip(wished, wished[1:], least, strict=False)):
        assert places == pytest.approx(wished)


def test_cycle_is_named() -> None:
    with pytest.raises(ValueError, match="cycle"):
        longest_path(2, [(0, 1), (1, 0)])


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Picture("", [Box("a", "input", "x"), Box("a", "input", "x")]), "two of this picture's box ids"),
        (Picture("", [Box("a", "input", "x")], [Edge("a", "b")]), "names no box: 'b'"),
        (Picture("", [Box("a", "input", "x", cluster="c")]), "unknown cluster: 'c'"),
        (Picture("", [Box("a b", "input", "x")]), "letters, digits"),
    ],
)
def test_wrong_picture_is_refused(picture: Picture, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout(picture)
