"""The command `ravnet`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .wire.graph import CallGraph, Program

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Call graphs on this machine.")


@app.callback()
def _commands() -> None:
    """Keeps `inspect` a sub-command while it is the only one."""


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="a call-graph file")],
            program: Annotated[int, typer.Option(help="which program to plot")] = 0,
            plot: Annotated[Path | None, typer.Option(help="the picture to write: html, svg, png, pdf or dot")] = None,
            ) -> None:
    """Print what a call-graph file holds, and plot one of its programs."""
    from zkynet.framework.errors import ZkynetError

    try:
        _inspect(file, program, plot)
    except (ZkynetError, OSError) as error:
        _say(f"{file}: {error}", err=True)
        raise typer.Exit(1) from None


def _inspect(file: Path, program: int, plot: Path | None) -> None:
    from zkynet.framework.structure import Structure

    from .wire.codec import decode

    graph = decode(file.read_bytes())
    programs = graph.programs()
    uses = Counter(call.program for call in graph.calls)
    about = ", ".join(f"{name}: {value}" for name, value in graph.about.items() if value is not None)
    _say(f"{file.name}: {about}")
    _say(f"{len(programs)} programs, {len(graph.calls)} calls, {len(graph.leaves)} leaves, "
         f"{len(graph.components())} independent parts")
    for index, one in enumerate(programs):
        what = repr(one).strip("<>") if isinstance(one, Structure) else f"{one.function}({one.params}), by name"
        _say(f"  program {index}: {what}, called {uses[one]} times")
    for name, number in list(graph.names.items())[:20]:
        _say(f"  persisted {name}: {graph.aval(number) or 'a shape that depends on values'}")
    if len(graph.names) > 20:
        _say(f"  ... and {len(graph.names) - 20} more")
    if plot is not None:
        _plot(graph, programs, program, plot)


def _say(line: str, err: bool = False) -> None:
    """Print a line, in which a file of a stranger says anything: no codes that the terminal obeys, no further lines."""
    from zkynet.visual.style import printable

    typer.echo(printable(line).replace("\n", " "), err=err)


def _plot(graph: CallGraph, programs: list[Program], index: int, path: Path) -> None:
    from zkynet.framework import cg
    from zkynet.framework.errors import InputError
    from zkynet.framework.leaves import placeholder
    from zkynet.framework.session import Call
    from zkynet.framework.structure import Structure
    from zkynet.visual import plot_cg

    structure = programs[index] if 0 <= index < len(programs) else None
    if not isinstance(structure, Structure):
        raise InputError(f"there is no program {index} to plot; there are {len(programs)}.")
    names = structure.names or []
    call = Call()
    leaves = [placeholder(aval, cg.Variable(names[i] if i < len(names) and names[i] else f"input {i}"), call)
              for i, aval in enumerate(structure.in_avals)]
    nodes = structure.replay(leaves)
    plot_cg([nodes[slot] for slot in structure.outputs], path, values=False,
            title=f"{graph.about.get('name') or 'graph'}, program {index}")


if __name__ == "__main__":
    app()
