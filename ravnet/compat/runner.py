"""Runs one script as if Raven's libraries were installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType

from .names import install
from .old_numpy import shim

_USAGE = """usage: python -m ravnet.compat SCRIPT.py [ARGS]

Runs a script written for ravop, ravdl or ravpy on ravnet, unmodified. A file .env beside the script, or in the current
folder, is loaded when python-dotenv is installed. Graphs and results are kept below RAVNET_HOME.

The exit status is the script's: 1 after an error, what it gives to sys.exit(), 2 when there is no such script."""
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def main(arguments: Sequence[str]) -> int:
    """Run `SCRIPT.py [ARGS]`; returns the exit status. What the script gives to sys.exit() passes through."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if arguments else 2
    script = Path(arguments[0])
    if not script.is_file():
        print(f"ravnet.compat: there is no script {script}", file=sys.stderr)
        return 2
    try:
        run(script, arguments[1:])
    except SystemExit:
        raise
    except BaseException as error:
        _strip(error)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def run(script: Path, arguments: Sequence[str]) -> None:
    """Run the script in this process, as __main__, with its folder in front of the path."""
    folder = script.resolve().parent
    _load_environment(folder)
    install()
    shim(script)
    sys.argv = [str(script), *arguments]
    _put_first(folder)
    module = ModuleType("__main__")
    vars(module).update(__file__=str(script.absolute()), __builtins__=__builtins__)
    sys.modules["__main__"] = module  # so that pickle finds the script's classes there
    exec(compile(script.read_bytes(), str(script.absolute()), "exec", dont_inherit=True), vars(module))


def _put_first(folder: Path) -> None:
    """The script's folder takes the place of the current one, as when Python runs a script."""
    if sys.path and sys.path[0] in ("", os.getcwd()) and not sys.flags.safe_path:
        sys.path.pop(0)
    sys.path.insert(0, str(folder))


def _load_environment(folder: Path) -> None:
    try:
        from dotenv import load_dotenv
    except ImportError:
        return
    for file in (folder / ".env", Path(".env")):
        if file.is_file():
            load_dotenv(file)


def _strip(error: BaseException) -> None:
    """Take this package's frames out of the tracebacks of an error and of those that led to it."""
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        one = errors.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_ours(one.__traceback__)
        errors += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    frames = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_HERE):
            frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for one in reversed(frames):
        kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept
