"""Import rules of sequences and optional values: Python lists of nodes, and None."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...framework import op
from .import_registry import importer


def _index(ctx: Any, sequence: list, position: Any) -> int:
    at = int(ctx.number(position, "the position"))
    return at + len(sequence) if at < 0 else at


@importer("SequenceConstruct", fold=False)
def _(ctx, *items):
    return list(items)


@importer("SequenceEmpty", fold=False)
def _(ctx):
    return []


@importer("SequenceInsert", fold=False)
def _(ctx, sequence, item, position=None):
    at = len(sequence) if position is None else _index(ctx, sequence, position)
    return [*sequence[:at], item, *sequence[at:]]


@importer("SequenceErase", fold=False)
def _(ctx, sequence, position=None):
    at = len(sequence) - 1 if position is None else _index(ctx, sequence, position)
    return [item for i, item in enumerate(sequence) if i != at]


@importer("SequenceAt", fold=False)
def _(ctx, sequence, position):
    return sequence[_index(ctx, sequence, position)]


@importer("SequenceLength", fold=False)
def _(ctx, sequence):
    return np.asarray(len(sequence), np.int64)


@importer("ConcatFromSequence", fold=False)
def _(ctx, sequence):
    axis = ctx.attr("axis")
    return op.stack(sequence, axis=axis) if ctx.attr("new_axis", 0) else op.concat(sequence, axis=axis)


@importer("SplitToSequence", fold=False)
def _(ctx, x, split=None):
    axis = ctx.attr("axis", 0) % x.ndim
    length = x.shape[axis]
    index = (slice(None),) * axis
    if split is None:
        keep = ctx.attr("keepdims", 1)
        return [x[(*index, slice(i, i + 1) if keep else i)] for i in range(length)]
    sizes = ctx.static(split, "the sizes")
    if sizes.ndim == 0:
        size = int(sizes)
        sizes = [min(size, length - start) for start in range(0, length, size)]
    ends = np.cumsum([0, *sizes])
    return [x[(*index, slice(int(a), int(b)))] for a, b in zip(ends[:-1], ends[1:], strict=True)]


@importer("SequenceMap", fold=False)
def _(ctx, *inputs):
    """The body, applied to the elements of the first sequence and of those beside it; a tensor is the same for all."""
    body = ctx.graph("body")
    made = [body(*[item[i] if isinstance(item, list) else item for item in inputs]) for i in range(len(inputs[0]))]
    return tuple([step[k] for step in made] for k in range(len(ctx.node.output)))


# Optional values --------------------------------------------------------------------------------------------


@importer("Optional", fold=False)
def _(ctx, value=None):
    return value


@importer("OptionalHasElement", fold=False)
def _(ctx, value=None):
    return np.asarray(value is not None)


@importer("OptionalGetElement", fold=False)
def _(ctx, value):
    return value
