"""Rules of indexing: reading, writing and scattering at positions that are tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...framework import op
from ...framework.errors import GraphError
from .registry import add_rules, dtype_of, node, rank, rule, shape_of


def _index(indices: Sequence[Any]) -> tuple:
    return tuple([slice(None) if i is None else node(i) for i in indices])


def _mask(x: Any, indices: Sequence[Any]) -> Any:
    """The mask, shaped to broadcast with x, when one of booleans is all there is of the index."""
    given = [i for i in indices if i is not None]
    if len(given) != 1 or indices[0] is None or node(given[0]).dtype != bool:
        return None
    return op.reshape(given[0], shape=(*shape_of(given[0]), *(1,) * (rank(x) - rank(given[0]))))


@rule("index")
def _(x: Any, indices: Sequence[Any]) -> Any:
    return op.getitem(node(x), _index(indices))


@rule("index_put", "_index_put_impl")
def _(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, *_: Any) -> Any:
    """A mask with one value is a choice, whose program serves every mask."""
    mask = _mask(x, indices)
    if mask is not None and math.prod(shape_of(values)) == 1:
        values = values if not rank(values) else op.reshape(values, shape=())
        return op.where(mask, x + values if accumulate else values, x)
    return (op.add_at if accumulate else op.set_at)(x, _index(indices), values)


add_rules({
    "masked_select": lambda x, mask: op.getitem(node(x), node(mask)),
    "index_select": lambda x, dim, index: op.take(x, node(index), axis=dim),
    "gather": lambda x, dim, index, *_: op.gather(x, node(index), axis=dim),
    "take": lambda x, index: op.take(x, node(index)),
    "take_along_dim": lambda x, index, dim=None: op.take_along_axis(x, node(index), axis=dim),
    "scatter_add": lambda x, dim, index, values: op.scatter_add(x, node(index), _fitted(values, index), axis=dim),
})


def _fitted(values: Any, index: Any) -> Any:
    """Those of the values for which there is a position."""
    wanted = tuple(shape_of(index))
    return values if tuple(shape_of(values)) in (wanted, ()) else op.getitem(
        node(values), tuple([slice(n) for n in wanted]))


@rule("scatter.src", "scatter.value")
def _(x: Any, dim: int, index: Any, values: Any) -> Any:
    sizes = shape_of(index)
    places: list[Any] = list(np.ogrid[tuple([slice(n) for n in sizes])])
    places[dim] = node(index)
    return op.set_at(x, tuple(places), _fitted(values, index))


@rule("index_add")
def _(x: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    where = (*(slice(None),) * (dim % rank(x)), node(index))
    return op.add_at(x, where, source if alpha == 1 else source * alpha)


@rule("index_fill.int_Scalar")
def _(x: Any, dim: int, index: Any, value: Any) -> Any:
    return op.set_at(x, (*(slice(None),) * (dim % rank(x)), node(index)), value)


def _nonzero(x: Any) -> tuple[np.ndarray, ...]:
    try:
        return np.nonzero(np.asarray(node(x).value))
    except GraphError as error:
        raise type(error)("nonzero: how many elements are not zero decides the shape of the result, so their values "
                          "must be known now; inside compile, scan, cond or vmap use where instead.") from error


@rule("nonzero")
def _(x: Any) -> Any:
    return node(np.stack(_nonzero(x), axis=-1))


@rule("nonzero_numpy", "where")
def _(x: Any) -> list[Any]:
    return [node(found) for found in _nonzero(x)]


@rule("one_hot")
def _(x: Any, classes: int = -1) -> Any:
    if classes == -1:
        classes = int(op.max(x).value) + 1
    return op.one_hot(x, classes, dtype=dtype_of(4))


# In place: what the tensor becomes --------------------------------------------------------------------------------


@rule("copy")
def _(x: Any, source: Any, *_: Any) -> Any:
    source = node(source)
    if source.shape != tuple(shape_of(x)):
        source = op.broadcast_to(source, shape=tuple(shape_of(x)))
    return source if source.dtype == x.dtype else op.cast(source, dtype=x.dtype)


@rule("fill")
def _(x: Any, value: Any) -> Any:
    return op.full(tuple(shape_of(x)), value, x.dtype)


add_rules({"zero": lambda x: op.zeros(tuple(shape_of(x)), x.dtype)})
