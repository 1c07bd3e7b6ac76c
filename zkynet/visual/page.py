"""A page that shows one or more views of a graph: pan, zoom, search, details; no network, no library.

Everything that comes from the graph stands in the SVG as escaped text; the script reads it from there and
writes it back with `textContent` only, and the page's policy forbids loading anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources

from zkynet.visual import style
from zkynet.visual.picture import Kind, Picture
from zkynet.visual.style import printable
from zkynet.visual.svg import stylesheet

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(views: Sequence[tuple[str, Picture, str]], start: int = 0) -> str:
    """The page as one text.

    Args:
        views: for each a short name ("depth 1"), the picture, and its SVG; the same graph in more or less
            detail. A double click on a collapsed module goes to the view where it is open.
        start: the view shown first.
    """
    picture = views[start][1]
    title = _text(picture.title or "computational graph")
    chosen = "".join(
        f'<option value="{index}"{" selected" if index == start else ""}>{_text(name)}</option>'
        for index, (name, _, _) in enumerate(views)
    )
    choice = f'<label>show <select id="view">{chosen}</select></label>' if len(views) > 1 else ""
    sheets = "\n".join(
        f'<div class="sheet"{"" if index == start else " hidden"}>{drawn}</div>'
        for index, (_, _, drawn) in enumerate(views)
    )
    kinds: list[Kind] = sorted({kind for _, view, _ in views for kind in view.kinds()})
    alarmed = any(box.alarm for _, view, _ in views for box in view.boxes)
    return _PAGE.format(
        title=title,
        policy=escape(POLICY, quote=True),
        style=_file("viewer.css") + stylesheet(),
        choice=choice,
        legend=_legend(kinds, alarmed),
        sheets=sheets,
        script=_file("viewer.js"),
    )


def _file(name: str) -> str:
    return resources.files("zkynet.visual").joinpath(name).read_text("utf-8")


def framed(page: str, height: int = 480) -> str:
    """The page in a frame of its own, for a notebook: neither disturbs the other."""
    return (
        f'<iframe srcdoc="{escape(page, quote=True)}" sandbox="allow-scripts" width="100%" height="{height}"'
        ' style="border:1px solid #9995;border-radius:6px"></iframe>'
    )


def _text(text: str) -> str:
    return escape(printable(text), quote=True)


def _legend(kinds: Sequence[Kind], alarmed: bool) -> str:
    names = [(kind, style.SHADES[kind].meaning) for kind in kinds]
    if alarmed:
        names.append(("operator alarm", style.ALARM.meaning))
    return "".join(
        f'<span class="zkynet-cg chip"><svg width="14" height="11" class="zkynet-cg"><g class="box {kind}">'
        f'<rect x="1" y="1" width="12" height="9" rx="2"/></g></svg>{_text(meaning)}</span>'
        for kind, meaning in names
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="zkynet-cg">
<header>
<h1 title="{title}">{title}</h1>
<input id="search" type="search" placeholder="search (press /)" aria-label="search the boxes"
 autocomplete="off">
<output id="found" for="search"></output>
{choice}
<span class="buttons"><button id="out" title="smaller (-)">&minus;</button><button id="fit"
 title="show all (0)">fit</button><button id="in" title="larger (+)">+</button><button id="theme"
 title="light or dark">&#9680;</button></span>
</header>
<main id="canvas" tabindex="0" aria-label="the graph: drag to move, wheel to zoom">
{sheets}
<aside id="detail" hidden><button id="close" aria-label="close">&times;</button><pre id="text"></pre></aside>
</main>
<footer>{legend}<span class="hint">drag to move · wheel to zoom · click for details · double-click
 a module to open or close it</span></footer>
<script>{script}</script>
</body>
</html>
"""
