"""A picture in the DOT language, and what Graphviz's `dot` program makes of it.

The same source gives the PNG and PDF files and, by `dot -Tjson`, the places for our own SVG.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

from zkynet.visual import style
from zkynet.visual.geometry import Drawing, Point, Rect, Route, number
from zkynet.visual.picture import Box, Cluster, Edge, Picture
from zkynet.visual.style import box_size, printable, shade

PATIENCE = 30.0  # seconds; dot's time grows fast with tangled graphs
SHAPES = {"input": "rounded,filled", "operator": "rounded,filled", "nodes": "rounded,dashed,filled"}
HINT = (
    "Install Graphviz (Debian, Ubuntu: apt-get install graphviz; macOS: brew install graphviz; "
    "conda install graphviz), or save as .html or .svg, which need nothing"
)


class DotMissing(RuntimeError):
    """Graphviz's `dot` program is needed and not installed, or did not answer."""


def has_dot() -> bool:
    """Whether the `dot` program is on the PATH."""
    return shutil.which("dot") is not None


def source(picture: Picture) -> str:
    """The picture as DOT text; all text in it is escaped.

    >>> from zkynet.visual.picture import Box, Picture
    >>> "digraph" in source(Picture("f", [Box("n", "input", "x")]))
    True
    """
    import graphviz  # only here: importing zkynet.visual stays cheap, and DOT alone needs it

    graph = graphviz.Digraph(
        graph_attr={"rankdir": "TB", "fontname": style.DOT_FONT, "fontsize": f"{style.HEADING_SIZE:g}",
                    "labelloc": "t", "labeljust": "l", "nodesep": "0.28", "ranksep": "0.4", "pad": "0.2",
                    "bgcolor": style.PAGE[0], "compound": "true", "charset": "UTF-8", "nslimit": "20",
                    "mclimit": "0.7"},
        node_attr={"shape": "box", "fontname": style.DOT_FONT, "fontsize": f"{style.TITLE_SIZE:g}",
                   "margin": "0.12,0.06", "height": "0.3", "width": "0.5"},
        edge_attr={"fontname": style.DOT_FONT, "fontsize": f"{style.LABEL_SIZE:g}", "arrowsize": "0.7",
                   "color": style.EDGE[0], "fontcolor": style.FAINT[0]},
    )  # fmt: skip
    heading = [f"<B>{_text(picture.title)}</B>"] if picture.title else []
    small = f'<FONT POINT-SIZE="{style.LINE_SIZE:g}" COLOR="{style.FAINT[0]}">'
    heading += [f"{small}{_text(note)}</FONT>" for note in picture.notes]
    if heading:
        lines = "".join(f'{line}<BR ALIGN="LEFT"/>' for line in heading)
        graph.attr("graph", label=f"<{lines}>")
    _fill(graph, picture, None, picture.children())
    for edge in picture.edges:
        graph.edge(*_ends(edge), **_edge(edge))
    return graph.source


def _fill(graph: Any, picture: Picture, where: str | None, inside: dict[str | None, list[str]]) -> None:
    """Writes the boxes and clusters that stand directly in one cluster."""
    clusters = {cluster.id: cluster for cluster in picture.clusters}
    boxes: dict[str | None, list[Box]] = {}
    for box in picture.boxes:
        boxes.setdefault(box.cluster, []).append(box)

    def write(graph: Any, where: str | None, depth: int) -> None:
        for box in boxes.get(where, ()):
            graph.node(box.id, **_box(box))
        for name in inside.get(where, ()):
            with graph.subgraph(name=f"cluster_{name}") as part:
                part.attr("graph", **_cluster(clusters[name], depth))
                write(part, name, depth + 1)

    write(graph, where, 0)


def _text(text: str) -> str:
    # A label that starts with < and ends with > is markup to dot: what is inside must be escaped.
    return escape(printable(text), quote=True).replace("&#x27;", "&#39;") or " "


def _box(box: Box) -> dict[str, str]:
    colours = shade(box)
    width, height = box_size(box)
    small = f'<FONT POINT-SIZE="{style.LINE_SIZE:g}">'
    label = "".join(
        [f"<B>{_text(box.title)}</B>", *(f"<BR/>{small}{_text(line)}</FONT>" for line in box.lines)]
    )
    found = {
        "label": f"<{label}>", "style": SHAPES.get(box.kind, "filled"), "fillcolor": colours.fill,
        "color": colours.stroke, "fontcolor": colours.text, "tooltip": _quoted(box.detail or box.title),
        # What the browser's widest font needs; dot's own measure only makes it larger.
        "width": f"{width / 72:.3f}", "height": f"{height / 72:.3f}", "margin": "0.05,0.03",
    }  # fmt: skip
    if box.kind == "module":
        found["peripheries"] = "2"
    return found


def _cluster(cluster: Cluster, depth: int) -> dict[str, str]:
    label = f'<<B><FONT COLOR="{style.FAINT[0]}">{_text(cluster.label)}</FONT></B>>'
    return {
        "label": label, "labelloc": "t", "labeljust": "l", "fontsize": f"{style.LINE_SIZE:g}",
        "style": "rounded,filled", "fillcolor": style.FRAMES[depth % 2][0], "color": style.FRAME_LINE[0],
        "margin": "14", "penwidth": "2.5" if cluster.repeats > 1 else "1", "tooltip": _quoted(cluster.label),
    }  # fmt: skip


def _edge(edge: Edge) -> dict[str, str]:
    found: dict[str, str] = {}
    if edge.label:
        found["label"] = f"< {_text(edge.label)} >"
    if edge.gradient:
        found |= {"color": style.GRADIENT[0], "fontcolor": style.GRADIENT[0], "style": "dashed"}
    if edge.against:
        found["dir"] = "back"
    return found


def _ends(edge: Edge) -> tuple[str, str]:
    """Upper and lower end: an edge against the others is one with its arrow head at the start."""
    return (edge.target, edge.source) if edge.against else (edge.source, edge.target)


def _quoted(text: str) -> str:
    """A plain attribute: dot reads entities there too, and escapes that begin with a backslash."""
    import graphviz

    return graphviz.escape(_text(text))


def run_dot(text: str, format: str) -> bytes:
    """What `dot` makes of a source, as `format` (png, pdf, svg, json); DotMissing where it cannot."""
    program = shutil.which("dot")
    if program is None:
        raise DotMissing(
            f"a {format} picture needs Graphviz's `dot` program, which is not on the PATH. {HINT}."
        )
    options = ["-Gdpi=144"] if format == "png" else []
    try:
        done = subprocess.run(
            [program, f"-T{format}", *options], input=text.encode(), capture_output=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise DotMissing(
            f"`dot` was not done after {PATIENCE:g} seconds: the graph is too tangled for it. "
            "Collapse modules with depth=, or save as .html or .svg with engine='own'."
        ) from None
    if done.returncode or not done.stdout:
        raise DotMissing(f"`dot` failed: {done.stderr.decode(errors='replace').strip()[:500]}")
    return done.stdout


def dot_layout(picture: Picture) -> Drawing:
    """The places which `dot` gives to a picture, in our coordinates."""
    picture = picture.pruned()
    found = json.loads(run_dot(source(replace(picture, title="", notes=[])), "json"))
    left, low, right, high = (float(part) for part in found["bb"].split(","))
    sheet = style.Sheet.around(picture, right - left, high - low)

    def at(text: str) -> Point:
        x, y = text.split(",")[-2:]
        return Point(float(x) - left + sheet.x, high - float(y) + sheet.y)

    drawing = Drawing(sheet.width, sheet.height)
    by_number: dict[int, str] = {}
    clusters = {f"cluster_{cluster.id}": cluster for cluster in picture.clusters}
    for item in found.get("objects", ()):
        if item["name"] in clusters and "bb" in item:
            x0, y0, x1, y1 = (float(part) for part in item["bb"].split(","))
            name = clusters[item["name"]].id
            drawing.clusters[name] = Rect(x0 - left + sheet.x, high - y1 + sheet.y, x1 - x0, y1 - y0)
            if "lp" in item:
                middle, width = at(item["lp"]), 72 * float(item.get("lwidth", 0))
                drawing.names[name] = Point(middle.x - width / 2, middle.y + style.LINE_SIZE * 0.36)
        elif "pos" in item:
            by_number[item["_gvid"]] = item["name"]
            width, height = 72 * float(item["width"]), 72 * float(item["height"])
            middle = at(item["pos"])
            drawing.boxes[item["name"]] = Rect(middle.x - width / 2, middle.y - height / 2, width, height)
    routes: dict[tuple[str, str, bool], list[Route]] = {}
    for item in found.get("edges", ()):
        ends = by_number[item["tail"]], by_number[item["head"]], item.get("dir") == "back"
        label = at(item["lp"]) if "lp" in item else None
        routes.setdefault(ends, []).append(Route("".join(_spline(item.get("pos", ""), at)), label))
    for edge in picture.edges:  # in order: dot keeps the order of edges between the same two boxes
        waiting = routes.get((*_ends(edge), edge.against))
        drawing.routes.append(waiting.pop(0) if waiting else Route(""))
    return drawing


def _spline(text: str, at: Any) -> Iterator[str]:
    """An SVG path from dot's list of control points: 'e,x,y x,y x,y x,y ...'."""
    points = [at(part) for part in text.split() if not part.startswith(("e,", "s,"))]
    tips = [at(part[2:]) for part in text.split() if part.startswith(("e,", "s,"))]
    if " s," in f" {text}":  # the arrow head is at the start
        points.reverse()
    for step, point in enumerate(points):
        yield ("M" if step == 0 else "C" if step == 1 else " ") + f"{number(point.x)} {number(point.y)}"
    for tip in tips:
        yield f"L{number(tip.x)} {number(tip.y)}"
