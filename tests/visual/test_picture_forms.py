"""SVG, page and DOT: well-formed, complete, and harmless whatever the graph is called."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zkynet.visual.dot import dot_layout, has_dot, run_dot, source
from zkynet.visual.layout import layout
from zkynet.visual.page import framed, page
from zkynet.visual.picture import Box, Cluster, Edge, Picture
from zkynet.visual.style import clipped, printable, text_width
from zkynet.visual.svg import svg

needs_dot = pytest.mark.skipif(not has_dot(), reason="Graphviz is not installed")
HOSTILE = [
    "</script><script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "\"' onload=alert(1) x='",
    "]]> <!-- & &amp; &#60; <b>",
    "<B>>", "\\N \\G \\", "a\x00b\x1b[31m\ud800", "%s {0} {title} {{", "名前 → ∂ 🙂", "", "two\nlines",
]  # fmt: skip
quick = settings(max_examples=25, deadline=None)


def hostile(text: str) -> Picture:
    """A picture with this text in every place that takes one."""
    boxes = [
        Box("a", "parameter", text, (text,), "c", text),
        Box("b", "operator", text, (), None, text, alarm=text),
        Box("d", "module", text, (text, text)),
    ]
    edges = [Edge("a", "b", text), Edge("b", "d", text, gradient=True)]
    return Picture(text, boxes, edges, [Cluster("c", text)], [text])


def texts(root: ET.Element) -> list[str]:
    return ["".join(item.itertext()) for item in root.iter() if item.tag.endswith("}text")]


@pytest.mark.parametrize("text", HOSTILE)
def test_svg_holds_any_text_as_text(text: str) -> None:
    picture = hostile(text)
    root = ET.fromstring(svg(picture, layout(picture)))
    assert {item.tag.rpartition("}")[2] for item in root.iter()} <= {
        "svg", "title", "style", "defs", "marker", "path", "rect", "g", "text",
    }  # fmt: skip
    assert not any(name.startswith("on") for item in root.iter() for name in item.attrib)
    # XML reads line ends in text as they are; nothing else changes.
    assert texts(root).count(printable(text)) >= (9 if text else 0)


class Reader(HTMLParser):
    """The elements of a page, and what stands in its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.title = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        if self.open[-2:] == ["head", "title"]:
            self.title += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def check_page(picture: Picture) -> None:
    text = page([("few", picture, svg(picture, layout(picture), fluid=True))] * 2, 1)
    found, plain = read(text), read(page([("few", Picture(), svg(Picture(), layout(Picture())))]))
    assert found.open == []
    assert found.scripts == plain.scripts and len(found.scripts) == 1
    assert not any(name.startswith("on") or name in ("src", "href") for name, _ in found.attributes)
    assert "img" not in found.tags and found.tags.count("script") == 1
    assert any((value or "").startswith("default-src 'none'") for _, value in found.attributes)
    # No network: the only address is the name of the SVG language.
    assert set(re.findall(r"https?://[^\s\"'<>]*", text)) - set(
        re.findall(r"https?://\S*", picture.title)
    ) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("text", HOSTILE)
def test_page_holds_any_text_as_text(text: str) -> None:
    check_page(hostile(text))


@quick
@given(st.text(max_size=30))
@example("{style}")
def test_page_survives_random_text(text: str) -> None:
    check_page(hostile(text))


def test_page_in_a_notebook_is_kept_apart() -> None:
    picture = hostile(HOSTILE[0])
    found = read(framed(page([("few", picture, svg(picture, layout(picture)))])))
    assert found.tags == ["iframe"]
    attributes = dict(found.attributes)
    assert attributes["sandbox"] == "allow-scripts"
    assert (attributes["srcdoc"] or "").startswith("<!DOCTYPE html>")


def test_page_offers_the_other_depths() -> None:
    few, many = Picture("g", [Box("g1", "module", "_m1: Simple")]), hostile("x")
    found = read(page([("1 box", few, svg(few, layout(few))), ("3 boxes", many, svg(many, layout(many)))], 1))
    assert found.tags.count("option") == 2
    assert found.tags.count("svg") >= 2
    assert read(page([("1 box", few, svg(few, layout(few)))])).tags.count("option") == 0


def test_arrow_heads_of_two_pictures_on_one_page_differ() -> None:
    one, other = hostile("a"), hostile("b")
    ids = [set(re.findall(r'<marker id="(\w+)"', svg(p, layout(p)))) for p in (one, other)]
    assert len(ids[0]) == 2 and not ids[0] & ids[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_dot_source_escapes(text: str) -> None:
    found = source(hostile(text))
    assert "<script" not in found and "<img" not in found and "\x00" not in found


@needs_dot
@pytest.mark.parametrize("text", HOSTILE)
def test_dot_reads_any_text(text: str) -> None:
    picture = hostile(text)
    drawing = dot_layout(picture)
    assert set(drawing.boxes) == {"a", "b", "d"} and set(drawing.clusters) == {"c"}
    assert all(route.path for route in drawing.routes)
    ET.fromstring(svg(picture, drawing))


@needs_dot
def test_dot_places_agree_with_its_picture() -> None:
    boxes = [Box("a", "input", "x", cluster="c"), Box("b", "operator", "sin")]
    edges = [Edge("a", "b", "float32[]"), Edge("b", "a", gradient=True, against=True)]
    drawing = dot_layout(Picture("a title", boxes, edges, [Cluster("c", "m: M")]))
    assert drawing.clusters["c"].contains(drawing.boxes["a"])
    assert drawing.boxes["a"].bottom < drawing.boxes["b"].y
    down, up = (re.findall(r"[\d.]+", route.path) for route in drawing.routes)
    assert float(down[1]) < float(down[-1]) and float(up[1]) > float(up[-1])
    assert drawing.routes[0].label is not None


@needs_dot
def test_dot_writes_png_and_pdf() -> None:
    text = source(hostile("x"))
    assert run_dot(text, "png").startswith(b"\x89PNG\r\n\x1a\n")
    assert run_dot(text, "pdf").startswith(b"%PDF-")


def test_clipped() -> None:
    assert clipped("short", 9) == "short"
    assert clipped("a\n b", 9) == "a b"
    assert len(clipped("x" * 100, 20)) == 20


def test_text_is_measured_at_least_as_wide_as_it_is() -> None:
    # Widths in DejaVu Sans, the widest of the usual fonts, at 100 points.
    known = {"float32[32,64]": 716.2, "MMMwww": 504.2, "log_softmax": 605.6, "… 4,980 nodes": 751.5}
    for text, width in known.items():
        assert width <= text_width(text, 100) <= 1.25 * width
