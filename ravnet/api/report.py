"""What is printed: the cost of a graph, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..executor.cost import Cost, NodeCost, node_costs
from ..executor.federated import Rules
from ..wire.graph import CallGraph

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


@dataclass(frozen=True)
class Activation:
    """A graph that is ready for execution.

    Attributes:
        id: its number.
        about: name, algorithm, approach, ...
        cost: the estimate.
        graph: what was recorded.
    """

    id: int
    about: Mapping[str, Any]
    cost: Cost
    graph: CallGraph = field(repr=False)

    @property
    def nodes(self) -> list[NodeCost]:
        """The estimate for each node: (operator, place, flops, bytes)."""
        return list(node_costs(self.graph))

    @property
    def participants(self) -> int:
        """The largest number of participants that is of use; for a federated graph, how many it waits for."""
        return self.cost.participants if self._rules is None else self._rules.max_clients

    @property
    def _rules(self) -> Rules | None:
        return Rules.read(self.about.get("rules")) if self.about.get("approach") == "federated" else None

    def __str__(self) -> str:
        cost, rules = self.cost, self._rules
        participants = (f"participants that are of use: {cost.participants} at most" if rules is None else
                        f"participants that it waits for: {rules.max_clients}, with the columns "
                        f"{', '.join(rules.columns)}")
        lines = [f"graph {self.id} {self.about.get('name') or ''} ({self.about.get('approach')}) is activated",
                 f"  cost: {scaled(cost.flops)}FLOP, {scaled(cost.bytes)}B moved (estimates)",
                 f"  calls: {cost.calls} of {cost.programs} programs",
                 f"  independent parts: {cost.parts}",
                 f"  {participants}"]
        if cost.late:
            lines[2] += f"; the cost of {cost.late} is known at execution only"
        return "\n".join(lines)


def scaled(number: float) -> str:
    """A number with a decimal prefix.

    >>> scaled(12), scaled(1_234_000)
    ('12 ', '1.23 M')
    """
    place = 0
    while abs(number) >= 1000 and place < len(_PREFIXES) - 1:
        number, place = number / 1000, place + 1
    return f"{number:.3g} {_PREFIXES[place]}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys under their names.

    >>> print(table([{"id": 1, "name": "cnn"}, {"id": 12, "name": None}]))
    id  name
    1   cnn
    12
    """
    if not rows:
        return "(none)"
    cells = [list(rows[0]), *[[_cell(key, value) for key, value in row.items()] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in cells)


def _cell(key: str, value: Any) -> str:
    if key == "cost" and value is not None:
        return f"{scaled(value)}FLOP"
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
