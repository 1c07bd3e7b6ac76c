"""The documentation of all functions, as a table: docs/raven_functions.md holds what `table()` gives.

`python -m ravnet.functions.page` prints it.
"""

from __future__ import annotations

from .table import FUNCTIONS


def table() -> str:
    """One row a function, in the order of `FUNCTIONS`."""
    rows = ["| function | meaning | NumPy | notes |", "|---|---|---|---|"]
    for function in FUNCTIONS.values():
        notes = ["late"] * function.late + ["random"] * function.random + [function.notes] * bool(function.notes)
        cells = [f"`{function.usage}`", function.meaning, f"`{function.numpy}`", "; ".join(notes)]
        rows.append(f"| {' | '.join([cell.replace('|', chr(92) + '|') for cell in cells])} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
