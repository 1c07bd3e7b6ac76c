"""Which box stands for which node: modules collapsed, repetitions folded, long stretches merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from zkynet.visual.facts import PAGE, Fact, Facts
from zkynet.visual.fold import Repeats, Run

LIMIT = 300  # boxes on a page that can be read
STRETCH = 40  # units in one frame before its middle is merged
ENDS = 6  # units left as they are at either end of a merged stretch
PARTS = 16  # merged boxes for a tangled stretch
LEAVES = 40  # leaves shared by several boxes before they are merged by kind


@dataclass(slots=True)
class Fold:
    """A run drawn once, in a frame of its own where one repetition is more than one module call."""

    number: int
    run: Run
    group: int

    @property
    def single(self) -> int | None:
        """The group which is the whole repetition, if there is one."""
        first = self.run.units[0]
        return ~first[0] if len(first) == 1 and first[0] < 0 else None


@dataclass(slots=True)
class Plan:
    """The decisions: `owner` gives each fact's box, as ("fact" | "group" | "merged", index)."""

    facts: Facts
    depth: int
    closed: set[int] = field(default_factory=set)
    folds: list[Fold] = field(default_factory=list)
    alias: dict[int, int] = field(default_factory=dict)
    turns: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # fact: its (fold, repetition)s
    frame_of_fact: dict[int, int] = field(default_factory=dict)  # fact: the fold in whose frame it stands
    frame_of_group: dict[int, int] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    merges: list[tuple[int, list[int]]] = field(default_factory=list)  # (group it stands in, its facts)
    _shut: dict[int, int | None] = field(default_factory=dict)

    def drawn_as(self, index: int) -> int:
        """The fact that is drawn for this one: itself, or its counterpart in the first repetition."""
        while index in self.alias:
            index = self.alias[index]
        return index

    def shut_in(self, group: int) -> int | None:
        """The outermost closed group around (or equal to) a group."""
        if group not in self._shut:
            outer = None if group == PAGE else self.shut_in(self.facts.groups[group].parent)
            self._shut[group] = group if outer is None and group in self.closed else outer
        return self._shut[group]

    def owner(self, index: int) -> tuple[str, int]:
        """The box in which a fact is drawn."""
        index = self.drawn_as(index)
        if index in self.merged:
            return "merged", self.merged[index]
        shut = self.shut_in(self.facts.facts[index].group)
        return ("group", shut) if shut is not None else ("fact", index)

    def boxes(self) -> dict[tuple[str, int], list[int]]:
        """All boxes with the facts drawn in them, in the graph's order."""
        found: dict[tuple[str, int], list[int]] = {}
        for fact in self.facts.facts:
            found.setdefault(self.owner(fact.index), []).append(fact.index)
        return found


def plan(
    facts: Facts,
    repeats: Repeats,
    depth: int,
    collapse: Callable[[Any], bool] | None = None,
    fold: bool = True,
    operators: bool = False,
    stretch: int | None = None,
) -> Plan:
    """Decides with modules open down to `depth` frames.

    Args:
        collapse: a predicate on nodes; a module call that holds (directly) a node for which it is true is
            one box.
        fold: whether repetitions are drawn once.
        operators: whether runs of plain operators are folded too.
        stretch: merge the middle of frames that hold more units than this.
    """
    made = Plan(facts, depth)
    made.closed = {group.index for group in facts.groups if group.depth > depth}
    if collapse is not None:
        chosen = [fact for fact in facts.facts if fact.group and collapse(fact.node)]
        made.closed |= {fact.group for fact in chosen}
    waiting = [PAGE]
    for group in waiting:
        hidden: set[int] = set()
        for run in repeats.runs(group, operators) if fold else ():
            _fold(made, Fold(len(made.folds), run, group))
            hidden.update(unit for part in run.units[1:] for unit in part)
        shown = [unit for unit in repeats.units[group] if unit not in hidden]
        waiting += [~unit for unit in shown if unit < 0 and ~unit not in made.closed]
        if stretch is not None and len(shown) > stretch:
            _merge(made, group, shown, repeats)
    if stretch is not None:
        _merge_leaves(made)
    return made


def choose(facts: Facts, depth: int | None, collapse: Callable[[Any], bool] | None, fold: bool,
           limit: int | None) -> Plan:  # fmt: skip
    """The deepest plan (with a `depth`, not deeper than that) with at most `limit` boxes."""
    repeats = Repeats(facts)
    deepest = facts.deepest()
    depths = range(deepest if depth is None else min(max(depth, 0), deepest), -1, -1)
    best: Plan | None = None
    for level in depths:
        made = plan(facts, repeats, level, collapse, fold)
        if limit is None or len(made.boxes()) <= limit:
            best = made
            break
    # A page with next to nothing on it hides more than it helps: open one level more, its middle merged.
    if best is not None and (best.depth == depths[0] or len(best.boxes()) >= 8):
        return best
    level = best.depth + 1 if best is not None else depths[-1]
    for operators, stretch in ((True, None), (True, STRETCH), (True, 2 * ENDS + 1)):
        made = plan(facts, repeats, level, collapse, fold, operators and fold, stretch)
        if limit is None or len(made.boxes()) <= limit:
            return made
    return best if best is not None else made


def levels(facts: Facts, chosen: Plan, collapse: Callable[[Any], bool] | None, fold: bool,
           limit: int | None, most: int = 4) -> list[Plan]:  # fmt: skip
    """The chosen plan among those at other depths that fit on a page too, from few boxes to many."""
    repeats = Repeats(facts)
    found = {len(chosen.boxes()): chosen}
    for level in range(facts.deepest() + 1):
        made = plan(facts, repeats, level, collapse, fold) if level != chosen.depth else chosen
        count = len(made.boxes())
        if (limit is None or count <= limit) and count not in found and len(found) < most:
            found[count] = made
    return [found[count] for count in sorted(found)]


def _fold(made: Plan, fold: Fold) -> None:
    made.folds.append(fold)
    first = fold.run.members[0]
    for turn, members in enumerate(fold.run.members):
        for model, index in zip(first, members, strict=True):
            made.turns.setdefault(index, []).append((fold.number, turn))
            if turn:
                made.alias[index] = model
    if fold.single is not None:
        return
    for unit in fold.run.units[0]:
        if unit < 0:
            made.frame_of_group[~unit] = fold.number
    for index in first:
        if made.facts.facts[index].group == fold.group:
            made.frame_of_fact[index] = fold.number


def _merge(made: Plan, group: int, shown: list[int], repeats: Repeats) -> None:
    """Merges stretches of units between the ends and the open frames, cut where few values pass."""
    stretch: list[int] = []
    for place, unit in enumerate([*shown, None]):
        end = unit is None or place < ENDS or place >= len(shown) - ENDS
        frame = unit is not None and (unit in made.frame_of_fact or (unit < 0 and ~unit not in made.closed))
        folded = unit is not None and unit < 0 and bool(made.turns.get(repeats.members([unit])[0]))
        if not end and not frame and not folded and unit is not None:
            stretch.append(unit)
            continue
        for part in _cut(made.facts, stretch, repeats):
            _join(made, group, repeats.members(part))
        stretch = []


def _cut(facts: Facts, units: list[int], repeats: Repeats) -> list[list[int]]:
    """One part where the stretch is a chain; else several, cut where the fewest values cross."""
    if len(units) < 4:
        return []
    place: dict[int, int] = {}
    for index, unit in enumerate(units):
        place |= dict.fromkeys(repeats.members([unit]), index)
    last: dict[int, int] = {}
    for index in place:
        for source, _ in facts.facts[index].inputs:
            if source in place and not facts.facts[source].is_leaf:
                last[source] = max(last.get(source, 0), place[index])
    change = [0] * (len(units) + 1)
    for source, end in last.items():
        change[place[source]] += 1
        change[end] -= 1
    crossing, now = [], 0
    for step in change[:-1]:
        now += step
        crossing.append(now)  # values that pass from the units up to here to those after
    inner = sorted(crossing[:-1])
    if inner[len(inner) // 2] <= 2:
        return [units]
    parts, start, width = [], 0, max(2, len(units) // PARTS)
    while start < len(units):
        if len(units) - start <= width * 3 // 2:
            end = len(units)
        else:
            end = 1 + min(range(start + width * 2 // 3, start + width * 4 // 3), key=crossing.__getitem__)
        parts.append(units[start:end])
        start = end
    return parts


def _merge_leaves(made: Plan) -> None:
    """Puts leaves used by one merged box into it, and joins the others of a kind where they are many."""
    facts = made.facts.facts
    open_leaves: dict[tuple[str, int], list[Fact]] = {}
    for fact in facts:
        if fact.is_leaf and fact.users and fact.index not in made.alias and fact.index not in made.merged:
            owners = {made.owner(user) for user in fact.users}
            first = next(iter(owners))
            if len(owners) == 1 and first[0] == "merged" and fact.kind != "input":
                made.merged[fact.index] = first[1]
                made.merges[first[1]][1].append(fact.index)
            elif made.owner(fact.index)[0] == "fact":
                open_leaves.setdefault((fact.kind, fact.group), []).append(fact)
    for (_, group), leaves in open_leaves.items():
        if len(leaves) > LEAVES:
            _join(made, group, [leaf.index for leaf in leaves])


def _join(made: Plan, group: int, members: list[int]) -> None:
    made.merged |= dict.fromkeys(members, len(made.merges))
    made.merges.append((group, members))


def histogram(facts: Iterable[Fact], most: int = 3) -> str:
    """What is in a box, in words: '2,490 add, 2,490 sin, …'."""
    counts = Counter(fact.name for fact in facts if not fact.is_leaf)
    if not counts:
        return ""
    parts = [f"{count:,} {name}" for name, count in counts.most_common(most)]
    return ", ".join([*parts, *(["…"] if len(counts) > most else [])])
