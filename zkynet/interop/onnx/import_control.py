"""Import rules of control flow: If, Loop and Scan.

A branch or loop becomes part of the one program, as `op.cond`, `op.scan` or `op.while_loop`, wherever its shapes stay
the same; otherwise it is decided here and now, by values that are known when the graph is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...framework import op
from ...framework.errors import InputError, TracedValueError, ZkynetError
from ...framework.nodes import Node
from .import_registry import importer

_LONGEST = 1 << 24  # a loop with a higher bound ends by its condition


class _NotPlain(ZkynetError):
    """A loop that cannot be written as the operator that was tried."""


def _plain(values: Sequence[Any]) -> bool:
    """Whether all are arrays: sequences and absent optional values exist on the host only."""
    return all(isinstance(v, (Node, np.ndarray)) and v.dtype != object for v in values)


def _nodes(values: Sequence[Any]) -> tuple:
    if not _plain(values):
        raise _NotPlain("sequences and optional values cannot leave a compiled branch or loop.")
    return tuple([v if isinstance(v, Node) else op.identity(v) for v in values])


def _scalar(value: Any) -> Any:
    return value if value.ndim == 0 else op.reshape(value, shape=())


def _either(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """What the first gives; if it cannot be made, the second, which must know the values that it decides by."""
    try:
        return first()
    except ZkynetError as error:
        try:
            return second()
        except TracedValueError as unknown:
            raise (unknown if isinstance(error, _NotPlain) else error) from None


# If ---------------------------------------------------------------------------------------------------------


@importer("If", fold=False)
def _(ctx, condition):
    branches = ctx.graph("then_branch"), ctx.graph("else_branch")

    def chosen() -> tuple:
        return branches[0 if ctx.number(condition, "the condition") else 1]()

    def selected() -> tuple:
        return op.cond(_scalar(condition), *[lambda branch=branch: _nodes(branch()) for branch in branches])

    return chosen() if isinstance(condition, np.ndarray) else _either(selected, chosen)


# Loop -------------------------------------------------------------------------------------------------------


class _Loop:
    """One Loop node: `trips` and `condition` may each be None; the body gives (condition, *carried, *outputs)."""

    def __init__(self, ctx: Any, trips: Any, condition: Any, carried: tuple):
        self.ctx = ctx
        self.body = ctx.graph("body")
        self.trips = trips
        self.condition = condition
        self.carried = carried

    def run(self, index: Any, goes_on: Any, carried: Sequence[Any]) -> tuple[Any, tuple, tuple]:
        made = self.body(index, goes_on, *carried)
        count = len(carried) + 1
        return made[0], tuple(made[1:count]), tuple(made[count:])

    def by_values(self) -> tuple:
        """Step by step, as long as the values say; also with shapes that change, and with sequences."""
        trips = self.ctx.number(self.trips, "the trip count")
        goes_on = self.condition is None or bool(self.ctx.number(self.condition, "the condition"))
        carried, rows, index = self.carried, [], 0
        while goes_on and (trips is None or index < trips):
            following, carried, outputs = self.run(np.asarray(index, np.int64), np.asarray(True), carried)
            rows.append(outputs)
            index += 1
            if self.condition is not None and not (trips is not None and index >= trips):
                goes_on = bool(self.ctx.number(following, "the condition"))
        if rows:
            return *carried, *[op.stack(*column, axis=0) for column in zip(*rows, strict=True)]
        if len(self.ctx.node.output) == len(carried):
            return carried
        _, _, outputs = self.run(np.asarray(0, np.int64), np.asarray(True), carried)  # for their shapes
        return *carried, *[op.zeros((0, *part.shape), part.dtype) for part in outputs]

    def by_scan(self) -> tuple:
        """A compiled loop of so many steps, which can be differentiated."""
        trips = self.ctx.number(self.trips, "the trip count")
        starts = self.condition is None or bool(self.ctx.number(self.condition, "the condition"))
        if trips is None or trips > _LONGEST:
            raise _NotPlain("the number of steps of this loop is not known.")
        return self.scanned(max(trips, 0) if starts else 0, ends_early=False)

    def by_counting(self) -> tuple:
        """The same, for a loop that ends by its condition: it is run once for the number of its steps alone."""
        return self.scanned(self.ctx.number(self.until_its_end()[0], "the number of steps"), ends_early=True)

    def by_condition(self) -> tuple:
        """A compiled loop that ends by its condition; it gives the last values alone and has no gradient."""
        return self.until_its_end()[2]

    def scanned(self, steps: int, ends_early: bool) -> tuple:
        def step(carried: tuple, index: Any) -> tuple:
            following, carried, outputs = self.run(index, np.asarray(True), carried)
            always = self.condition is None or (isinstance(following, np.ndarray) and following.all())
            if not (ends_early or always):
                raise _NotPlain("this loop may end before its trip count.")
            return _nodes(carried), _nodes(outputs)

        carried, outputs = op.scan(step, _nodes(self.carried), np.arange(steps))
        return *carried, *outputs

    def until_its_end(self) -> tuple:
        """The number of steps, the last condition and the last values."""
        endless = self.trips is None or (isinstance(self.trips, np.ndarray) and self.trips.item() > _LONGEST)
        trips = None if endless else _scalar(self.trips)

        def goes_on(state: tuple) -> Any:
            index, condition, _ = state
            return condition if trips is None else op.logical_and(condition, op.less(index, trips))

        def step(state: tuple) -> tuple:
            index, condition, carried = state
            following, carried, _ = self.run(index, condition, carried)
            condition = condition if self.condition is None else _scalar(_nodes((following,))[0])
            return index + 1, condition, _nodes(carried)

        first = np.asarray(True) if self.condition is None else _scalar(self.condition)
        index = np.zeros((), np.int64)
        return op.while_loop(goes_on, step, (*_nodes((index, first)), _nodes(self.carried)))


@importer("Loop", fold=False)
def _(ctx, trips=None, condition=None, *carried):
    loop = _Loop(ctx, trips, condition, carried)
    if trips is None and condition is None:
        raise InputError("an ONNX Loop without a trip count and a condition would not end.")
    try:
        return _either(loop.by_scan, lambda: _either(loop.by_counting, loop.by_values))
    except TracedValueError:
        if len(ctx.node.output) > len(carried):  # how many steps it collects must be known
            raise
    return loop.by_condition()


# Scan -------------------------------------------------------------------------------------------------------


def _scanned(ctx: Any, states: Sequence[Any], sequences: Sequence[Any]) -> tuple[tuple, tuple]:
    """The last states, and the outputs of all steps stacked on axis 0, for sequences along axis 0."""
    body, count = ctx.graph("body"), len(states)

    def compiled() -> tuple[tuple, tuple]:
        def step(carried: tuple, parts: tuple) -> tuple:
            made = _nodes(body(*carried, *parts))
            return made[:count], made[count:]

        return op.scan(step, _nodes(states), _nodes(sequences))

    def unrolled() -> tuple[tuple, tuple]:
        carried, rows = tuple(states), []
        for i in range(sequences[0].shape[0]):
            made = body(*carried, *[s[i] for s in sequences])
            carried = made[:count]
            rows.append(made[count:])
        return carried, tuple([op.stack(*column, axis=0) for column in zip(*rows, strict=True)])

    return _either(compiled, unrolled)


def _flags(ctx: Any, name: str, count: int) -> Sequence[int]:
    return ctx.attr(name, None) or (0,) * count


@importer("Scan", since=9, fold=False)
def _(ctx, *inputs):
    count = ctx.attr("num_scan_inputs")
    states, sequences = inputs[:len(inputs) - count], inputs[len(inputs) - count:]
    along = []
    for x, axis, back in zip(sequences, _flags(ctx, "scan_input_axes", count),
                             _flags(ctx, "scan_input_directions", count), strict=True):
        x = op.moveaxis(x, source=axis, destination=0) if axis % x.ndim else x
        along.append(op.flip(x, axis=0) if back else x)
    last, outputs = _scanned(ctx, states, along)
    placed = []
    for y, axis, back in zip(outputs, _flags(ctx, "scan_output_axes", len(outputs)),
                             _flags(ctx, "scan_output_directions", len(outputs)), strict=True):
        y = op.flip(y, axis=0) if back else y
        placed.append(op.moveaxis(y, source=0, destination=axis) if axis % y.ndim else y)
    return *last, *placed


@importer("Scan", since=8, fold=False)
def _(ctx, lengths, *inputs):
    """The first version: batches on axis 0, sequences on axis 1, each example with its own length."""
    count = ctx.attr("num_scan_inputs")
    states, sequences = inputs[:len(inputs) - count], inputs[len(inputs) - count:]
    batch, steps = sequences[0].shape[:2]
    lengths = (steps,) * batch if lengths is None else ctx.ints(lengths, "sequence_lens")
    rows = []
    for example, length in enumerate(lengths):
        along = [op.flip(s[example, :length], axis=0) if back else s[example, :length]
                 for s, back in zip(sequences, _flags(ctx, "directions", count), strict=True)]
        last, outputs = _scanned(ctx, [s[example] for s in states], along)
        rows.append([*last, *[op.pad(y, {0: (0, steps - length)}) for y in outputs]])
    return tuple([op.stack(*column, axis=0) for column in zip(*rows, strict=True)])
