"""A placed picture as an SVG text: escaped, self-contained, readable on light and on dark pages."""

from __future__ import annotations

import hashlib
from html import escape

from zkynet.visual import style
from zkynet.visual.geometry import Drawing, Point, Rect, Route, number
from zkynet.visual.picture import Box, Cluster, Edge, Picture
from zkynet.visual.style import printable

_CORNERS = {"input": 12.0, "operator": 8.0, "nodes": 8.0}


def svg(picture: Picture, drawing: Drawing, fluid: bool = False) -> str:
    """The picture as one `<svg>` element; `fluid` leaves the size to the page it stands in.

    >>> from zkynet.visual.layout import layout
    >>> from zkynet.visual.picture import Box, Picture
    >>> picture = Picture("a < b", [Box("n", "input", "x")])
    >>> "a &lt; b" in svg(picture, layout(picture))
    True
    """
    size = f"{number(drawing.width)} {number(drawing.height)}"
    fixed = "" if fluid else f' width="{number(drawing.width)}" height="{number(drawing.height)}"'
    # Several pictures may share a page: the ids of the arrow heads must differ.
    prefix = "z" + hashlib.sha256(f"{size}{picture!r}".encode(errors="replace")).hexdigest()[:8]
    depth = _depths(picture)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="zkynet-cg" viewBox="0 0 {size}"{fixed} role="img">',
        f"<title>{_text(picture.title or 'computational graph')}</title>",
        f"<style>{stylesheet()}</style>",
        f"<defs>{_arrow(prefix + 'f', 'head')}{_arrow(prefix + 'g', 'head gradient')}</defs>",
        f'<rect class="page" width="{number(drawing.width)}" height="{number(drawing.height)}"/>',
    ]
    drawn = sorted((c for c in picture.clusters if c.id in drawing.clusters), key=lambda c: depth[c.id])
    parts += [_frame(cluster, drawing.clusters[cluster.id], depth[cluster.id]) for cluster in drawn]
    routed = list(zip(picture.edges, drawing.routes, strict=True))
    parts += [_edge(edge, route, prefix) for edge, route in routed if route.path]
    parts += [_box(box, drawing.boxes[box.id]) for box in picture.boxes]
    parts += [_frame_name(c, drawing.names[c.id]) for c in picture.clusters if c.id in drawing.names]
    parts += [
        _edge_label(edge, route.label) for edge, route in routed if edge.label and route.label is not None
    ]
    parts += _margins(picture, drawing)
    parts.append("</svg>")
    return "\n".join(parts)


def stylesheet() -> str:
    """The rules of every picture; all names begin with the picture's class, so that no page is disturbed."""
    light, dark = _colours(0), _colours(1)
    rules = [
        f".zkynet-cg{{{light}font-family:{style.FONTS};background:var(--page)}}",
        f"@media (prefers-color-scheme:dark){{.zkynet-cg:not(.light){{{dark}}}}}",
        f".zkynet-cg.dark{{{dark}}}",
        ".zkynet-cg .page{fill:var(--page)}",
        ".zkynet-cg text{fill:var(--ink);white-space:pre}",
        f".zkynet-cg .heading{{font-size:{style.HEADING_SIZE}px;font-weight:bold}}",
        f".zkynet-cg .note{{font-size:{style.LINE_SIZE}px;fill:var(--faint)}}",
        f".zkynet-cg .name{{font-size:{style.TITLE_SIZE}px;font-weight:bold;text-anchor:middle}}",
        f".zkynet-cg .line{{font-size:{style.LINE_SIZE}px;text-anchor:middle}}",
        f".zkynet-cg .label{{font-size:{style.LABEL_SIZE}px;text-anchor:middle;fill:var(--faint);"
        "paint-order:stroke;stroke:var(--page);stroke-width:3.5px;stroke-linejoin:round}",
        ".zkynet-cg .label.gradient{fill:var(--gradient)}",
        f".zkynet-cg .frame-name{{font-size:{style.LINE_SIZE}px;font-weight:bold;fill:var(--faint);"
        "paint-order:stroke;stroke:var(--frame0);stroke-width:3.5px;stroke-linejoin:round}",
        ".zkynet-cg .frame{fill:var(--frame0);stroke:var(--frame-line);stroke-width:1}",
        ".zkynet-cg .frame.odd{fill:var(--frame1)}",
        ".zkynet-cg .edge path{fill:none;stroke:var(--edge);stroke-width:1.1}",
        ".zkynet-cg .edge.gradient path{stroke:var(--gradient);stroke-dasharray:5 3}",
        ".zkynet-cg .head{fill:var(--edge)}.zkynet-cg .head.gradient{fill:var(--gradient)}",
    ]
    for kind in [*style.SHADES, "alarm"]:
        name = f".zkynet-cg .box.{kind}"
        rules.append(f"{name} rect{{fill:var(--{kind}-fill);stroke:var(--{kind}-line);stroke-width:1.2}}")
        rules.append(f"{name} text{{fill:var(--{kind}-text)}}")
    rules.append(".zkynet-cg .box.nodes rect{stroke-dasharray:5 3}")
    return "".join(rules)


def _colours(mode: int) -> str:
    pairs = {
        "page": style.PAGE, "ink": style.INK, "faint": style.FAINT, "edge": style.EDGE,
        "gradient": style.GRADIENT, "frame0": style.FRAMES[0], "frame1": style.FRAMES[1],
        "frame-line": style.FRAME_LINE,
    }  # fmt: skip
    for kind, shade in [*style.SHADES.items(), ("alarm", style.ALARM)]:
        pairs[f"{kind}-fill"] = (shade.fill, shade.dark_fill)
        pairs[f"{kind}-line"] = (shade.stroke, shade.dark_stroke)
        pairs[f"{kind}-text"] = (shade.text, shade.dark_text)
    return "".join(f"--{name}:{colours[mode]};" for name, colours in pairs.items())


def _text(text: str) -> str:
    return escape(printable(text), quote=True)


def _arrow(id: str, name: str) -> str:
    return (
        f'<marker id="{id}" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto">'
        f'<path class="{name}" d="M0 0.8 8 4 0 7.2z"/></marker>'
    )


def _depths(picture: Picture) -> dict[str, int]:
    parent = {cluster.id: cluster.parent for cluster in picture.clusters}
    depths: dict[str, int] = {}
    for cluster in picture.clusters:
        chain, name = [], cluster.id
        while name is not None and name not in depths:
            chain.append(name)
            name = parent[name]
        start = depths[name] + 1 if name is not None else 0
        depths |= {name: start + step for step, name in enumerate(reversed(chain))}
    return depths


def _rect(rect: Rect, radius: float, inset: float = 0.0, extra: str = "") -> str:
    return (
        f'<rect x="{number(rect.x + inset)}" y="{number(rect.y + inset)}" rx="{number(radius)}"'
        f' width="{number(rect.width - 2 * inset)}" height="{number(rect.height - 2 * inset)}"{extra}/>'
    )


def _frame(cluster: Cluster, rect: Rect, depth: int) -> str:
    name = ' class="frame odd"' if depth % 2 else ' class="frame"'
    behind = _rect(rect.moved(4, 4), 6.0, extra=name) if cluster.repeats > 1 else ""
    return f'<g class="cluster" data-id="{_text(cluster.id)}">{behind}{_rect(rect, 6.0, extra=name)}</g>'


def _frame_name(cluster: Cluster, place: Point) -> str:
    return (
        f'<text class="frame-name" x="{number(place.x)}" y="{number(place.y)}">{_text(cluster.label)}</text>'
    )


def _edge(edge: Edge, route: Route, prefix: str) -> str:
    name, head = ("edge gradient", "g") if edge.gradient else ("edge", "f")
    return (
        f'<g class="{name}" data-from="{_text(edge.source)}" data-to="{_text(edge.target)}">'
        f'<path d="{route.path}" marker-end="url(#{prefix}{head})"/></g>'
    )


def _edge_label(edge: Edge, place: Point) -> str:
    name = "label gradient" if edge.gradient else "label"
    y = number(place.y + style.LABEL_SIZE * 0.36)
    return f'<text class="{name}" x="{number(place.x)}" y="{y}">{_text(edge.label)}</text>'


def _box(box: Box, rect: Rect) -> str:
    radius = _CORNERS.get(box.kind, 2.5)
    name = f"{box.kind} alarm" if box.alarm else box.kind
    parts = [f'<g class="box {name}" data-id="{_text(box.id)}">']
    detail = "\n".join(text for text in (box.alarm, box.detail or box.title) if text)
    parts += [f"<title>{_text(detail)}</title>", _rect(rect, radius)]
    if box.kind == "module":
        parts.append(_rect(rect, 1.5, inset=2.5, extra=' fill="none"'))
    middle = number(rect.middle.x)
    text = style.LINE_HEIGHT * (style.TITLE_SIZE + style.LINE_SIZE * len(box.lines))
    y = rect.middle.y - text / 2 + style.TITLE_SIZE * 1.02
    parts.append(f'<text class="name" x="{middle}" y="{number(y)}">{_text(box.title)}</text>')
    for line in box.lines:
        y += style.LINE_SIZE * style.LINE_HEIGHT
        parts.append(f'<text class="line" x="{middle}" y="{number(y + 1)}">{_text(line)}</text>')
    return "".join([*parts, "</g>"])


def _margins(picture: Picture, drawing: Drawing) -> list[str]:
    parts = []
    if picture.title:
        y = number(style.HEADING_SIZE * 1.6)
        parts.append(f'<text class="heading" x="{style.MARGIN:g}" y="{y}">{_text(picture.title)}</text>')
    y = drawing.height - style.LINE_SIZE * 1.5 * (len(picture.notes) - 1) - 12
    for note in picture.notes:
        parts.append(f'<text class="note" x="{style.MARGIN:g}" y="{number(y)}">{_text(note)}</text>')
        y += style.LINE_SIZE * 1.5
    return parts
