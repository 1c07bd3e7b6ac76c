"""Finding what repeats: runs of module calls (or of operators) of equal structure, to be drawn once.

Two stretches of a graph are equal when they hold the same operators with the same attributes, shapes and
wiring; what comes from outside must have the same shape, and where it is a parameter be the same one.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from zkynet.visual.facts import Facts, shape_text

LEAST = 3  # two equal calls side by side are easier to read than one drawn for two
LONGEST = 12  # units in one repetition
MANY, MUCH = 20, 0.2  # a run of plain operators has this many, and is this much of its frame


@dataclass(slots=True)
class Run:
    """`count` repetitions; each is a list of units, each with its facts in corresponding order."""

    units: list[list[int]]
    members: list[list[int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How often it repeats."""
        return len(self.units)


class Repeats:
    """The units of each group in the order of the data flow, and the runs among them.

    A unit is an operator (its fact's index) or a module call (the complement `~index` of its group's).
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.units = _units(facts)
        self._names: dict[Hashable, int] = {}
        self._signatures: dict[int, int] = {}
        self._runs: dict[tuple[int, bool], list[Run]] = {}

    def runs(self, group: int, operators: bool = False) -> list[Run]:
        """The runs among a group's units; those of operators alone only on demand."""
        key = (group, operators)
        if key not in self._runs:
            self._runs[key] = self._find(self.units[group], operators)
        return self._runs[key]

    def members(self, units: Sequence[int]) -> list[int]:
        """The facts of some units, with the leaves that nothing else uses, in order."""
        found: set[int] = set()
        for unit in units:
            found.update(self.facts.within(~unit) if unit < 0 else (unit,))
        for unit in units:
            for source, _ in self.facts.facts[unit].inputs if unit >= 0 else ():
                leaf = self.facts.facts[source]
                if leaf.is_leaf and leaf.kind != "input" and found.issuperset(leaf.users):
                    found.add(source)
        return sorted(found)

    def _signature(self, unit: int) -> int:
        """Equal for units of equal structure."""
        if unit not in self._signatures:
            content = self.content(self.members([unit])) if unit < 0 else self.facts.facts[unit].token
            self._signatures[unit] = self._names.setdefault((unit < 0, content), len(self._names))
        return self._signatures[unit]

    def content(self, members: Sequence[int]) -> Hashable:
        """Operators, wiring and nesting of some facts, without their names and places."""
        facts = self.facts
        place = {fact: index for index, fact in enumerate(members)}
        groups: dict[int, int] = {}
        found = []
        for index in members:
            fact = facts.facts[index]
            wiring = []
            for source, part in fact.inputs:
                if source in place:
                    wiring.append((place[source], part))
                else:
                    outside = facts.facts[source]
                    shared = outside.kind in ("parameter", "state")
                    wiring.append((source if shared else shape_text(outside.node), part, shared))
            group = groups.setdefault(fact.group, len(groups))
            label = facts.groups[fact.group].label if fact.group else ""
            found.append((fact.token, tuple(wiring), group, label))
        return tuple(found)

    def _find(self, units: list[int], operators: bool) -> list[Run]:
        names = [self._signature(unit) for unit in units]
        longest = min(LONGEST, len(units) // LEAST)
        same = {period: _matches(names, period) for period in range(1, longest + 1)}
        runs: list[Run] = []
        start = 0
        while start < len(units):
            best: Run | None = None
            for period in same:
                if same[period][start] < period * (LEAST - 1):
                    continue
                first = self._best_start(units, same[period], start, period)
                if not operators and all(unit >= 0 for unit in units[first : first + period]):
                    continue
                run = self._grow(units, first, period, same[period][first] // period + 1)
                plain = all(unit >= 0 for unit in run.units[0])
                if plain and _size(run) < max(MANY, MUCH * len(units)):
                    continue
                if run.count >= LEAST and (best is None or _size(run) > _size(best)):
                    best = run
            if best is None:
                start += 1
            else:
                runs.append(best)
                start = units.index(best.units[-1][-1], start) + 1
        return runs

    def _best_start(self, units: list[int], same: list[int], start: int, period: int) -> int:
        """A run that begins with a module call reads better: start there where it costs no repetition."""
        count = same[start] // period
        for first in range(start, start + period):
            if units[first] < 0 and same[first] // period >= count:
                return first
        return start

    def _grow(self, units: list[int], start: int, period: int, most: int) -> Run:
        """As many repetitions from `start` as are wired alike."""
        run = Run([])
        model: Hashable = None
        for index in range(most):
            part = units[start + index * period : start + (index + 1) * period]
            members = self.members(part)
            content = self.content(members)
            if run.units and content != model:
                break
            model = content
            run.units.append(part)
            run.members.append(members)
        return run


def _size(run: Run) -> int:
    return run.count * len(run.units[0])


def _matches(names: Sequence[int], period: int) -> list[int]:
    """For each place how many names from there on equal the ones a period later."""
    found = [0] * (len(names) + 1)
    for index in range(len(names) - period - 1, -1, -1):
        found[index] = found[index + 1] + 1 if names[index] == names[index + period] else 0
    return found


def _units(facts: Facts) -> list[list[int]]:
    """For each group its operators and calls, each after what it uses, else in the order they were made."""
    firsts: list[dict[int, int]] = [{} for _ in facts.groups]
    downs: dict[int, dict[int, None]] = {}
    waiting: dict[int, int] = {}
    lineages = [facts.lineage(group.index) for group in facts.groups]
    for fact in facts.facts:
        if fact.is_leaf:
            continue
        lineage = lineages[fact.group]
        for group, inner in zip(lineage, lineage[1:], strict=False):
            firsts[group].setdefault(~inner, fact.index)
        firsts[fact.group].setdefault(fact.index, fact.index)
        for source, _ in fact.inputs:
            if not facts.facts[source].is_leaf:
                before, after = _parting(lineages[facts.facts[source].group], lineage, source, fact.index)
                if before != after and after not in downs.setdefault(before, {}):
                    downs[before][after] = None
                    waiting[after] = waiting.get(after, 0) + 1
    return [_in_order(first, downs, waiting) for first in firsts]


def _parting(source: list[int], target: list[int], one: int, other: int) -> tuple[int, int]:
    """The units in which two facts stand, inside the innermost group that holds both."""
    depth = 0
    while depth + 1 < min(len(source), len(target)) and source[depth + 1] == target[depth + 1]:
        depth += 1
    before = ~source[depth + 1] if depth + 1 < len(source) else one
    after = ~target[depth + 1] if depth + 1 < len(target) else other
    return before, after


def _in_order(first: dict[int, int], downs: dict[int, dict[int, None]], waiting: dict[int, int]) -> list[int]:
    left = {unit: waiting.get(unit, 0) for unit in first}
    ready = [(first[unit], unit) for unit in first if not left[unit]]
    heapq.heapify(ready)
    order: list[int] = []
    while len(order) < len(first):
        if ready:
            _, unit = heapq.heappop(ready)
        else:  # calls that use one another's results crosswise: take the earliest
            unit = min(set(first).difference(order), key=first.__getitem__)
        if unit not in left:
            continue
        del left[unit]
        order.append(unit)
        for after in downs.get(unit, ()):
            if after in left:
                left[after] -= 1
                if not left[after]:
                    heapq.heappush(ready, (first[after], after))
    return order
