"""From a real graph to a `Picture`: which boxes there are, what they say, what flows between them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zkynet.framework import cg
from zkynet.visual.facts import PAGE, Fact, Facts, attributes, read, shape_text
from zkynet.visual.grouping import LIMIT, Fold, Plan, choose, histogram, levels
from zkynet.visual.picture import Box, Cluster, Edge, Kind, Picture
from zkynet.visual.style import clipped
from zkynet.visual.values import Numbers, gather

Direction = Literal["forward", "backward", "both"]
DIRECTIONS = ("forward", "backward", "both")
Owner = tuple[str, int]


def collect(
    graph: Any,
    title: str | None = None,
    depth: int | None = None,
    collapse: Callable[[Any], bool] | None = None,
    direction: Direction = "forward",
    fold: bool = True,
    limit: int | None = LIMIT,
    values: bool | None = None,
    several: bool = False,
) -> list[Picture]:
    """The picture of a graph; with `several` also those at other depths, from few boxes to many.

    The arguments are those of `plot_cg`. The picture asked for comes first.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is one of {', '.join(DIRECTIONS)}, but got {direction!r}")
    facts = read(graph)
    numbers = gather(facts, values)
    if direction == "backward" and numbers.gradients:
        facts = _with_gradient(facts, numbers)
    chosen = choose(facts, depth, collapse, fold, limit)
    plans = [chosen]
    if several:
        plans += [plan for plan in levels(facts, chosen, collapse, fold, limit) if plan is not chosen]
    heading = facts.heading if title is None else title
    return [_Collector(plan, numbers, direction, heading).picture() for plan in plans]


def _with_gradient(facts: Facts, numbers: Numbers) -> Facts:
    """The facts as they are, but without the wires along which no gradient flows."""
    for fact in facts.facts:
        fact.inputs = [wire for wire in fact.inputs if wire[0] in numbers.flows]
    return facts


@dataclass(slots=True)
class _Wire:
    """What passes from one box to another."""

    source: int
    part: int | None
    slot: int


class _Collector:
    """Makes one picture of one plan."""

    def __init__(self, plan: Plan, numbers: Numbers, direction: Direction, title: str) -> None:
        self.plan = plan
        self.facts = plan.facts
        self.numbers = numbers
        self.direction = direction
        self.title = title
        self.folds = {fold.single: fold for fold in plan.folds if fold.single is not None}
        self.members = plan.boxes()
        if direction == "backward" and numbers.gradients:
            self.members = {o: m for o, m in self.members.items() if not numbers.flows.isdisjoint(m)}

    def picture(self) -> Picture:
        """The whole picture."""
        clusters = self._clusters()
        boxes = [self._box(owner, members) for owner, members in self.members.items()]
        return Picture(self.title, boxes, self._edges(), clusters, self._notes()).check().pruned()

    # Frames ---------------------------------------------------------------------------------------------

    def _clusters(self) -> list[Cluster]:
        found = []
        for fold in self.plan.folds:
            if fold.single is None:
                name = _fold_name(fold, self.facts)
                found.append(Cluster(f"r{fold.number}", name, self._frame(fold.group, None), fold.run.count))
        for group in self.facts.groups[1:]:
            if self.plan.shut_in(group.index) is None:
                fold = self.folds.get(group.index)
                label = _fold_name(fold, self.facts) if fold else clipped(group.title, 60)
                parent = self._frame(group.parent, self.plan.frame_of_group.get(group.index))
                found.append(Cluster(f"g{group.index}", label, parent, fold.run.count if fold else 1))
        return found

    def _frame(self, group: int, fold: int | None) -> str | None:
        """The frame of a thing that stands directly in a group, or in a fold's frame there."""
        if fold is not None:
            return f"r{fold}"
        return None if group == PAGE else f"g{group}"

    # Boxes ----------------------------------------------------------------------------------------------

    def _box(self, owner: Owner, members: list[int]) -> Box:
        what, index = owner
        bad = self.numbers.bad
        alarm = self.numbers.alarm(self.facts.facts[bad]) if bad is not None and bad in members else ""
        if what == "fact":
            return self._fact_box(self.facts.facts[index], members, alarm)
        if what == "group":
            return self._group_box(index, members, alarm)
        facts = [self.facts.facts[member] for member in members]
        leaves = all(fact.is_leaf for fact in facts)
        words = f"{facts[0].kind}s" if leaves else "nodes"
        lines = tuple(text for text in (histogram(facts), _size_of_parameters(facts)) if text)
        kind: Kind = facts[0].kind if leaves else "nodes"
        detail = "\n".join([f"{len(facts):,} {words}", histogram(facts, 20)])
        title = f"… {len(facts):,} {words}"
        return Box(
            f"m{index}", kind, title, lines, self._frame(self.plan.merges[index][0], None), detail, alarm
        )

    def _fact_box(self, fact: Fact, members: list[int], alarm: str) -> Box:
        numbers = self._numbers(members)
        title, words = (
            clipped(fact.name, 40),
            _kind_line(fact) if fact.is_leaf else _attributes(fact.node, 34),
        )
        if fact.is_leaf and fact.node.template is None:
            # A number in a formula has no name: its value is its name.
            title, words = (numbers.pop(0), words) if numbers and numbers[0][0] == "=" else (title, "")
        if self.direction == "backward":
            numbers = [line for line in numbers if line.startswith("grad")]
        kind: Kind = "gradient" if self.direction == "backward" and not fact.is_leaf else fact.kind
        detail = [self._path(fact), f"{fact.kind}: {shape_text(fact.node)}", _attributes(fact.node, 500)]
        detail += [*self.numbers.lines(fact.index), _place(fact.node)]
        frame = self._frame(fact.group, self.plan.frame_of_fact.get(fact.index))
        lines = tuple(text for text in (words, *numbers) if text)
        return Box(
            f"n{fact.index}",
            kind,
            title.removeprefix("= "),
            lines,
            frame,
            "\n".join(filter(None, detail)),
            alarm,
        )

    def _numbers(self, members: list[int]) -> list[str]:
        """The lines of a fact; where it stands for several, only what is the same in all."""
        first = self.numbers.lines(members[0])
        for member in members[1:]:
            if not first:
                break
            other = self.numbers.lines(member)
            first = [line for line in first if line in other]
        return first

    def _path(self, fact: Fact) -> str:
        names = [str(self.facts.groups[g].scope.name) for g in self.facts.lineage(fact.group)[1:]]
        return ".".join([*names, fact.name])

    def _group_box(self, index: int, members: list[int], alarm: str) -> Box:
        group = self.facts.groups[index]
        fold = self.folds.get(index)
        # Of blocks that repeat, one is counted.
        facts = [self.facts.facts[member] for member in members if member not in self.plan.alias]
        count = sum(not fact.is_leaf for fact in facts)
        operators = f"{count:,} operator{'s' if count != 1 else ''}{' each' if fold else ''}"
        title = _fold_name(fold, self.facts) if fold else clipped(group.title, 44)
        lines = tuple(text for text in (operators, _size_of_parameters(facts)) if text)
        frame = self._frame(group.parent, self.plan.frame_of_group.get(index))
        detail = "\n".join([str(group.scope.path), *lines, histogram(facts, 20)])
        return Box(f"g{index}", "module", title, lines, frame, detail, alarm)

    # Edges ----------------------------------------------------------------------------------------------

    def _edges(self) -> list[Edge]:
        edges: list[Edge] = []
        for (source, target), wires in self._wires().items():
            labels = [self._label(wire) for wire in wires]
            if len(labels) > 3:
                same = len(set(labels)) == 1
                labels = [f"{len(labels)} values" if not same else f"{len(labels)} x {labels[0]}"]
            for label in labels:
                if self.direction == "backward":
                    edges.append(Edge(_id(target), _id(source), label, gradient=True))
                else:
                    edges.append(Edge(_id(source), _id(target), label))
            if self.direction == "both" and any(self._flows(wire) for wire in wires):
                edges.append(Edge(_id(target), _id(source), gradient=True, against=True))
        return edges

    def _wires(self) -> dict[tuple[Owner, Owner], list[_Wire]]:
        found: dict[tuple[Owner, Owner], list[_Wire]] = {}
        seen: set[tuple[Owner, Owner, int, int | None]] = set()
        for fact in self.facts.facts:
            target = self.plan.owner(fact.index)
            single = target == ("fact", fact.index) and len(self.members.get(target, ())) == 1
            for slot, (index, part) in enumerate(fact.inputs):
                source = self.plan.owner(index)
                if source == target or self._elsewhere(index, fact.index):
                    continue
                if source not in self.members or target not in self.members:
                    continue
                key = (source, target, self.plan.drawn_as(index), part)
                if key in seen and not single:
                    continue
                seen.add(key)
                found.setdefault((source, target), []).append(_Wire(index, part, slot))
        return found

    def _elsewhere(self, source: int, target: int) -> bool:
        """Whether a wire lies in a repetition that is not drawn, or joins two of them."""
        mine = self.plan.turns.get(target)
        if not mine:
            return False
        other = dict(self.plan.turns.get(source, ()))
        return any(fold in other and (turn or other[fold] != turn) for fold, turn in mine)

    def _flows(self, wire: _Wire) -> bool:
        """Whether a gradient passes along a wire: known after back(), else guessed from the dtype."""
        if self.numbers.gradients:
            return wire.source in self.numbers.flows
        node = self.facts.facts[wire.source].node
        return isinstance(node.aval, tuple) or np.dtype(node.dtype).kind in "fcV"

    def _label(self, wire: _Wire) -> str:
        node = self.facts.facts[wire.source].node
        if self.direction == "backward" and wire.source in self.numbers.gradients:
            array = self.numbers.gradients[wire.source]
            return f"{array.dtype}[{','.join(map(str, array.shape))}]"
        if wire.part is not None and isinstance(node.aval, tuple):
            aval = node.aval[wire.part]
            return f"[{wire.part}] {aval.dtype}[{','.join(map(str, aval.shape))}]"
        return shape_text(node)

    # Remarks --------------------------------------------------------------------------------------------

    def _notes(self) -> list[str]:
        count = len(self.facts.facts)
        notes = []
        if len(self.members) < count and self.direction != "backward":
            notes.append(f"{count:,} nodes in {len(self.members):,} boxes")
            if self.plan.closed:
                notes[0] += f", modules open to depth {self.plan.depth} of {self.facts.deepest()}"
        if self.direction != "forward" and not self.numbers.gradients:
            notes.append(
                "no gradients yet: "
                + (
                    "values=True computes them"
                    if self.numbers.backed
                    else "call back() before plot_cg to see them"
                )
            )
        if self.numbers.bad is not None:
            notes.append(self.numbers.alarm(self.facts.facts[self.numbers.bad]))
        return notes


def _id(owner: Owner) -> str:
    return {"fact": "n", "group": "g", "merged": "m"}[owner[0]] + str(owner[1])


def _fold_name(fold: Fold, facts: Facts) -> str:
    calls = [~unit for unit in fold.run.units[0] if unit < 0]
    if calls:
        words = ", ".join(dict.fromkeys(facts.groups[call].label for call in calls))
    else:
        words = ", ".join(facts.facts[unit].name for unit in fold.run.units[0])
    return f"{clipped(words, 50)} x {fold.run.count:,}"


def _kind_line(fact: Fact) -> str:
    frozen = fact.kind == "parameter" and not getattr(fact.node.template, "trainable", True)
    return f"{fact.kind}, frozen" if frozen else fact.kind


def _size_of_parameters(facts: list[Fact]) -> str:
    templates = {id(f.node.template): f.node for f in facts if isinstance(f.node.template, cg.Parameter)}
    total = sum(int(np.prod(node.shape)) for node in templates.values())
    return f"{total:,} parameter{'s' if total != 1 else ''}" if templates else ""


def _attributes(node: Any, most: int) -> str:
    """'axis=1, keepdims=True': the static attributes of an operator that say something."""
    parts = []
    said = {"shape": getattr(node.aval, "shape", None), "dtype": getattr(node.aval, "dtype", None)}
    for name, value in attributes(node).items():
        if name in said and value == said[name]:
            continue  # the arrows say that
        if value is not None and value is not False and not callable(value) and name != "host":
            parts.append(f"{name}={getattr(value, 'name', value)}")
    return clipped(", ".join(parts), most)


def _place(node: Any) -> str:
    """'file.py:12', relative to where we are: a picture passed on should not tell of one's folders."""
    where = node.where
    if not where:
        return ""
    file, _, line = where.rpartition(":")
    near = os.path.relpath(file) if os.path.isabs(file) and file.startswith(os.getcwd() + os.sep) else None
    return f"made at {near or os.path.basename(file)}:{line}"
