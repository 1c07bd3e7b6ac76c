"""`summary`: a module as a tree of its sub-modules, with output shapes and parameter counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zkynet.framework import cg
from zkynet.visual.facts import roots_of, shape_text
from zkynet.visual.style import clipped

MOST_SHAPES = 3
LEAST_ALIKE = 3  # equal modules in a row that are printed once


@dataclass(slots=True)
class Row:
    """One module: its calls' outputs, and how many elements its own parameters have (not its children's)."""

    name: str
    label: str
    outputs: list[str] = field(default_factory=list)
    calls: int = 0
    trainable: int = 0
    frozen: int = 0
    shared: int = 0
    repeated: bool = False
    children: list[Row] = field(default_factory=list)

    def walk(self) -> Iterator[Row]:
        """This row and all below it, from top to bottom."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def parameters(self) -> int:
        """Elements of all parameters of this module and those below it."""
        return sum(row.trainable + row.frozen for row in self.walk())

    def looks_like(self, other: Row) -> bool:
        """Whether the two differ in their names at most."""
        mine, its = list(self.walk())[1:], list(other.walk())[1:]
        return (
            _content(self) == _content(other)
            and len(mine) == len(its)
            and all(a.name == b.name and _content(a) == _content(b) for a, b in zip(mine, its, strict=True))
        )


@dataclass(slots=True)
class Summary:
    """A module's tree and totals; `print` it. What several modules share counts once."""

    root: Row
    inputs: list[str]
    trainable: int
    frozen: int
    parameter_bytes: int
    state: int
    state_bytes: int
    operators: int

    @property
    def parameters(self) -> int:
        """Elements of all parameters, trained or not."""
        return self.trainable + self.frozen

    @property
    def rows(self) -> list[Row]:
        """All modules, from top to bottom."""
        return list(self.root.walk())

    def __str__(self) -> str:
        table = [("module", "output", "parameters", ""), *_table(self.root)]
        widths = [max(len(cells[column]) for cells in table) for column in range(3)]
        lines = []
        for name, output, count, remark in table:
            line = f"{name.ljust(widths[0])}  {output.ljust(widths[1])}  {count.rjust(widths[2])}  {remark}"
            lines.append(line.rstrip())
        rule = "─" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, *self._totals()])

    __repr__ = __str__

    def _totals(self) -> Iterator[str]:
        if self.inputs:
            yield f"inputs       {', '.join(self.inputs)}"
        size = readable_bytes(self.parameter_bytes)
        split = f"trainable {self.trainable:,}, frozen {self.frozen:,}"
        yield f"parameters   {self.parameters:,} ({split}), {size}"
        if self.state:
            yield f"state        {self.state:,}, {readable_bytes(self.state_bytes)}"
        if self.operators:
            yield f"operators    {self.operators:,} in one call"


def summary(module: Any, *inputs: Any, **keywords: Any) -> Summary:
    """The tree of a module with output shapes and numbers of parameters; print it.

    With example inputs the module is called once, which builds a graph and computes nothing; without, the
    shapes are left out. Three or more equal modules in a row are printed once.

    Raises:
        TypeError: when `module` is not a Module.

    >>> from zkynet.framework import cg, op
    >>> class Line(cg.Module):
    ...     def __init__(self):
    ...         super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 2.0),))
    ...     def call(self, x):
    ...         return op.mult(x, self.param("w"))
    >>> print(summary(Line(), 3.0))
    module  output     parameters
    ─────────────────────────────
    Line    float32[]           1
    ─────────────────────────────
    inputs       x float32[]
    parameters   1 (trainable 1, frozen 0), 4 B
    operators    1 in one call
    """
    if not isinstance(module, cg.Module):
        raise TypeError(
            f"summary needs a Module, but got {type(module).__name__}. For the graph of one call use "
            "plot_cg(result), or print(result)."
        )
    nodes: list[Any] = []
    roots: list[Any] = []
    if inputs or keywords:
        # A call in training mode updates states (running means, random streams); looking must not.
        before = {state: (state._pending, state._value) for state in _states(module)}
        try:
            result = module(*inputs, **keywords)
        finally:
            for state in _states(module):  # what this call made had no update before
                state.restore(*before.get(state, (None, state._value)))
        roots, nodes = roots_of(result)[0], list(result.nodes)
    rows: dict[int, Row] = {}
    root = _rows("", module, rows, set())
    _add_outputs(rows, nodes, roots)
    parameters = module.parameters()
    states = [state for _, state in module.named_states()]
    given = [node for node in nodes if isinstance(node.template, cg.Variable)]
    return Summary(
        root=root,
        inputs=[f"{node.name} {shape_text(node)}" for node in given],
        trainable=sum(_size(p) for p in parameters if p.trainable),
        frozen=sum(_size(p) for p in parameters if not p.trainable),
        parameter_bytes=sum(map(_bytes, parameters)),
        state=sum(map(_size, states)),
        state_bytes=sum(map(_bytes, states)),
        operators=sum(node.operator is not None for node in nodes),
    )


def _states(module: Any) -> list[Any]:
    """The states that there are: a layer that waits for its first input has none yet."""
    return [state for part in module.modules() for _, state in part._own(cg.State)]


def _rows(name: str, module: Any, rows: dict[int, Row], counted: set[int]) -> Row:
    """The row of a module and those below; a parameter counts where it stands first."""
    row = Row(name, str(module.functional_name))
    if id(module) in rows:
        row.repeated = True
        return row
    rows[id(module)] = row
    children = list(module.named_children())
    below = {id(parameter) for _, child in children for parameter in child.parameters()}
    for parameter in module.parameters():
        if id(parameter) in below:
            continue
        size = _size(parameter)
        if id(parameter) in counted:
            row.shared += size
        elif parameter.trainable:
            row.trainable += size
        else:
            row.frozen += size
        counted.add(id(parameter))
    row.children = [_rows(child_name, child, rows, counted) for child_name, child in children]
    return row


def _add_outputs(rows: dict[int, Row], nodes: Iterable[Any], roots: list[Any]) -> None:
    """The shapes of what leaves each module's calls: nodes made inside that are used outside."""
    users: dict[Any, list[Any]] = {}
    scopes: dict[int, Any] = {}
    for node in nodes:
        for child in node.children:
            users.setdefault(child, []).append(node)
        scopes |= {id(scope): scope for scope in _around(node.scope)}
    for scope in scopes.values():
        if id(scope.module) in rows:
            rows[id(scope.module)].calls += 1
    ends = set(roots)
    for node in nodes:
        if node.operator is None or isinstance(node.aval, tuple):
            continue
        outside = [{id(scope) for scope in _around(user.scope)} for user in users.get(node, ())]
        for scope in _around(node.scope):
            leaves = node in ends or any(id(scope) not in chain for chain in outside)
            row = rows.get(id(scope.module))
            if leaves and row is not None and shape_text(node) not in row.outputs:
                row.outputs.append(shape_text(node))


def _around(scope: Any) -> Iterator[Any]:
    while scope is not None:
        yield scope
        scope = scope.parent


def _table(row: Row, branch: str = "", inner: str = "", alike: Row | None = None, times: int = 1
           ) -> Iterator[tuple[str, str, str, str]]:  # fmt: skip
    """The cells of a row and of those below; `alike` is the last of the equal rows that it stands for."""
    names = row.name if alike is None else f"{row.name} … {alike.name}"
    title = f"{names}: {row.label}" if names else row.label
    if alike is not None:
        title += f" x {times:,}"
    shapes = row.outputs[:MOST_SHAPES] + (["…"] if len(row.outputs) > MOST_SHAPES else [])
    total = row.parameters
    remarks = [f"{times * total:,} in all"] if times > 1 and total else []
    frozen = sum(below.frozen for below in row.walk())
    if frozen:
        remarks.append("frozen" if frozen == total else f"{frozen:,} frozen")
    if row.shared:
        remarks.append(f"{row.shared:,} shared with above")
    if row.calls > 1:
        remarks.append(f"called {row.calls:,} times")
    if row.repeated:
        remarks.append("the same module as above")
    yield branch + clipped(title, 60), ", ".join(shapes), f"{total:,}" if total else "", ", ".join(remarks)
    runs = list(_alike(row.children))
    for place, run in enumerate(runs):
        last = place == len(runs) - 1
        below = inner + ("└─ " if last else "├─ "), inner + ("   " if last else "│  ")
        yield from _table(run[0], *below, run[-1] if len(run) > 1 else None, len(run))


def _alike(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows in a row that look alike, together where they are many enough."""
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and rows[end].looks_like(rows[start]):
            end += 1
        if end - start < LEAST_ALIKE:
            end = start + 1
        yield rows[start:end]
        start = end


def _content(row: Row) -> tuple[Any, ...]:
    return row.label, row.outputs, row.calls, row.trainable, row.frozen, row.shared, row.repeated


def _size(held: Any) -> int:
    return int(np.prod(held.shape, dtype=np.int64))


def _bytes(held: Any) -> int:
    return _size(held) * int(getattr(held.dtype, "itemsize", 4))


def readable_bytes(count: int) -> str:
    """A size in the unit that suits it.

    >>> readable_bytes(512), readable_bytes(4160 * 4)
    ('512 B', '16.2 KiB')
    """
    if count < 1024:
        return f"{count} B"
    size, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.1f} {units[0]}"
