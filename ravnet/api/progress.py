"""Showing how far an execution is: a live bar in a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from ..executor.engine import Engine, GraphInfo

_STEP = 10  # per cent between lines


def follow(engine: Engine, graph: int, stream: TextIO | None = None) -> GraphInfo | None:
    """Show the progress of a graph until it is not running any more; returns its last state, None if it was flushed."""
    out: TextIO = stream or sys.stdout
    show, close = _bar(out) if out.isatty() else _lines(out)
    try:
        while True:
            info = engine.info(graph)
            if info is None:
                return None
            show(info)
            if info.status != "executing":
                return info
            engine.wait(graph, 0.1)
    finally:
        close()


def percent(info: GraphInfo) -> int:
    """How much is done; 100 only when all is."""
    if info.status in ("computed", "failed"):
        return 100
    return min(99, 100 * info.done // max(1, info.total))


def _lines(stream: TextIO) -> tuple[Callable[[GraphInfo], None], Callable[[], None]]:
    shown, told = -1, ""

    def show(info: GraphInfo) -> None:
        nonlocal shown, told
        now = percent(info) // _STEP * _STEP
        if info.status == "executing" and info.message and info.message != told:
            told = info.message
            print(f"graph {info.id} {told}", file=stream, flush=True)
        elif now > shown:
            shown = now
            print(f"graph {info.id}: {now} % ({info.done} of {info.total} calls)", file=stream, flush=True)

    return show, lambda: None


def _bar(stream: TextIO) -> tuple[Callable[[GraphInfo], None], Callable[[], None]]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        return _lines(stream)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[percent]} %"),
                   MofNCompleteColumn(), TimeElapsedColumn(), console=Console(file=stream))
    task = bar.add_task("", percent=0)
    bar.start()

    def show(info: GraphInfo) -> None:
        name = str(info.about.get("name") or "").replace("[", "(")  # rich reads brackets as markup
        waits = f" {info.message}" if info.status == "executing" else ""
        bar.update(task, description=f"graph {info.id} {name}{waits}", total=max(1, info.total), percent=percent(info),
                   completed=max(1, info.total) if percent(info) == 100 else info.done)

    return show, bar.stop
