"""`plot_cg`: draw a computational graph, save it, show it."""

from __future__ import annotations

import getpass
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from zkynet.visual import viewing
from zkynet.visual.collect import Direction, collect
from zkynet.visual.dot import DotMissing, dot_layout, has_dot, run_dot, source
from zkynet.visual.geometry import Drawing
from zkynet.visual.grouping import LIMIT
from zkynet.visual.layout import layout
from zkynet.visual.page import framed, page
from zkynet.visual.picture import Picture
from zkynet.visual.svg import svg

FORMATS = ("html", "svg", "png", "pdf", "dot")
SUFFIXES = {"htm": "html", "gv": "dot"}
Engine = Literal["own", "dot"]


class Plot:
    """A drawn graph: shows itself in a notebook, and can be saved again in another form.

    Attributes:
        picture: the boxes and edges, as plain data.
    """

    def __init__(self, pictures: list[Picture], engine: Engine = "own") -> None:
        self.picture = pictures[0]
        self._path: Path | None = None
        self._pictures = pictures
        self._engine: Engine = engine
        self._drawn: dict[tuple[int, bool], str] = {}

    @property
    def path(self) -> Path:
        """Where it was saved last."""
        if self._path is None:
            raise ValueError("this plot has not been saved: call save(path)")
        return self._path

    @property
    def source(self) -> str:
        """The graph in the DOT language."""
        return source(self.picture)

    @property
    def title(self) -> str:
        """The heading."""
        return self.picture.title

    def svg(self) -> str:
        """The picture as one SVG element."""
        return self._svg(0, fluid=False)

    def html(self) -> str:
        """The picture as a page with pan, zoom and search, in as many depths as fit on a page."""
        order = sorted(range(len(self._pictures)), key=lambda index: self._pictures[index].size)
        views = [
            (f"{self._pictures[i].size} boxes", self._pictures[i], self._svg(i, fluid=True)) for i in order
        ]
        return page(views, order.index(0))

    def _svg(self, index: int, fluid: bool) -> str:
        if (index, fluid) not in self._drawn:
            picture = self._pictures[index]
            self._drawn[index, fluid] = svg(picture, _placed(picture, self._engine), fluid)
        return self._drawn[index, fluid]

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Writes the picture, in the format of the path's suffix unless another is given.

        Raises:
            DotMissing: for png and pdf, where Graphviz's `dot` program is not installed.
        """
        format = format_of(path, format)
        file = Path(path)
        if file.is_dir():
            file = file / f"{_slug(self.title)}.{format}"
        elif not file.suffix:
            file = file.with_name(f"{file.name}.{format}")
        content = self._content(format)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Whoever looks at the file meanwhile (a browser that reloads) sees the old one or the new one.
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        self._path = file
        return file

    def _content(self, format: str) -> bytes:
        if format == "html":
            return self.html().encode()
        if format == "svg":
            return f'<?xml version="1.0" encoding="UTF-8"?>\n{self.svg()}\n'.encode()
        return self.source.encode() if format == "dot" else run_dot(self.source, format)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return framed(self.html())

    def __repr__(self) -> str:
        saved = f", saved as {self._path}" if self._path else ""
        return f"<Plot {self.title!r}: {self.picture.size} boxes, {len(self.picture.edges)} edges{saved}>"


def plot_cg(
    graph: Any,
    save_path: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    view: bool | None = None,
    *,
    wait: float | None = None,
    title: str | None = None,
    format: str | None = None,
    depth: int | None = None,
    collapse: Callable[[Any], bool] | None = None,
    direction: Direction = "forward",
    fold: bool = True,
    values: bool | None = None,
    limit: int | None = LIMIT,
    engine: Engine = "own",
) -> Plot:
    """Draws the computational graph below a node.

    Inputs stand above, results below; every module call is a frame, with its sub-modules in it. A parameter
    that several calls use is one box with several arrows. Boxes show values and, after `back()`, gradients;
    arrows show shapes and dtypes; the first value that is NaN or infinite is red.

    Args:
        graph: a node, the result of calling a Module, or a tuple, list or dict of these.
        save_path: a file, or a folder. Left out, a file in the temporary folder, named by the title.
        quiet: do not print where the file is.
        view: open a viewer; where there is no display, say where the file is. By default one is opened only
            when `wait` is given and there is a display.
        wait: seconds to wait after a viewer was opened.
        title: the heading; by default the name of the module or operator.
        format: html, svg, png, pdf or dot; by default that of `save_path`, else html.
        depth: how many frames may stand in one another; what is deeper is one box. By default as deep as
            `limit` allows.
        collapse: a predicate on nodes: a module call that (directly) holds a node for which it is true is
            drawn as one box.
        direction: "forward"; "backward" (the gradients flowing from the result to the leaves); or "both".
        fold: draw three or more equal module calls in a row once, as "Block x 12".
        values: compute all values for the boxes (True), or show only those that are there (False). By
            default small graphs are computed, as one program.
        limit: about this many boxes at most; above, more is collapsed. None: no limit.
        engine: who places the boxes in svg and html: "own", or "dot" (needs Graphviz).

    Returns:
        a `Plot`, which shows itself in a notebook and has `.source` (DOT), `.path` and `.save(path)`.

    Raises:
        TypeError: when `graph` is not a graph.
        ValueError: for an unknown format, direction or engine.
        DotMissing: for png and pdf, where Graphviz's `dot` program is not installed.

    >>> from zkynet.framework import op
    >>> plot = plot_cg(op.mult(3.0, 4.0), quiet=True, title="a product")
    >>> plot.path.name, "mult" in plot.source
    ('a_product.html', True)
    """
    if engine not in ("own", "dot"):
        raise ValueError(f"engine is 'own' or 'dot', but got {engine!r}")
    format = format_of(save_path, format)
    if format in ("png", "pdf") or (engine == "dot" and format != "dot"):
        need_dot(format)
    pictures = collect(
        graph, title, depth, collapse, direction, fold, limit, values, several=format == "html"
    )
    plot = Plot(pictures, engine)
    plot.save(save_path if save_path is not None else _default_folder(), format)
    wanted = wait is not None if view is None else view
    opened = wanted and viewing.show(plot.path, wait)
    if not quiet:
        reason = " (no display: open it in a browser or viewer)" if wanted and not opened else ""
        print(f"plot_cg: {plot.title or 'the graph'} is in {plot.path}{reason}")
    return plot


def format_of(path: str | os.PathLike[str] | None, format: str | None) -> str:
    """The format asked for, else that of the path's suffix, else html."""
    if format is None:
        suffix = Path(path).suffix[1:].lower() if path is not None and not Path(path).is_dir() else ""
        format = SUFFIXES.get(suffix, suffix) or "html"
    if format not in FORMATS:
        raise ValueError(
            f"plot_cg writes {', '.join(FORMATS)}, but got {format!r}. Give save_path one of these suffixes, "
            "or pass format=."
        )
    return format


def need_dot(format: str) -> None:
    """Raises DotMissing, before any work is done, where `dot` is not installed."""
    if not has_dot():
        run_dot("", format)


def _placed(picture: Picture, engine: Engine) -> Drawing:
    if engine == "dot":
        try:
            return dot_layout(picture)
        except DotMissing:
            if not has_dot():
                raise
    return layout(picture)


def _slug(title: str) -> str:
    return re.sub(r"[^\w.-]+", "_", title).strip("._")[:80] or "graph"


def _default_folder() -> Path:
    """A folder of this user's own in the temporary folder: names there are easily guessed by others."""
    try:
        user = re.sub(r"\W+", "_", getpass.getuser())
    except (KeyError, OSError):  # a user id without a name, as in some containers
        user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"zkynet-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        if stat.S_ISDIR(found.st_mode) and own and os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="zkynet-"))
