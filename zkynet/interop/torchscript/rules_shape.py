"""Rules of what moves elements without computing on them. Views know how to write what is written to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...framework import op
from .registry import NUMBERS, add_rules, axes_of, code_of, dtype_of, node, rank, rule, shape_of, view

LAST = 2**63 - 1  # PyTorch's end of a slice without one


def _axis(dim: int, count: int) -> int:
    return dim + count if dim < 0 else dim


def _at(dim: int, x: Any, item: Any) -> tuple:
    return (*(slice(None),) * _axis(dim, rank(x)), item)


def _reshaped(base: Any, new: Any, *_: Any) -> Any:
    return op.reshape(new, shape=shape_of(base))


# Views with another shape ---------------------------------------------------------------------------------------


@view("view", _reshaped)
@view("reshape", _reshaped)
@view("_unsafe_view", _reshaped)
def _view(x: Any, size: Sequence[int]) -> Any:
    return op.reshape(x, shape=tuple([int(n) for n in size]))


@view("view_as", _reshaped)
@view("reshape_as", _reshaped)
def _(x: Any, other: Any) -> Any:
    return op.reshape(x, shape=shape_of(other))


@view("flatten", _reshaped)
def _(x: Any, start: int = 0, end: int = -1) -> Any:
    return op.flatten(x, start, end)


@view("unflatten", _reshaped)
def _(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    shape, dim = shape_of(x), _axis(dim, rank(x))
    known = math.prod([n for n in sizes if n != -1])
    sizes = [shape[dim] // known if n == -1 else n for n in sizes]
    return op.reshape(x, shape=(*shape[:dim], *sizes, *shape[dim + 1:]))


@view("squeeze", _reshaped)
def _(x: Any, dim: Any = None) -> Any:
    """Axes of another length than 1 stay."""
    shape = shape_of(x)
    dims = range(len(shape)) if dim is None else (dim,) if dim.__class__ is int else dim
    ones = tuple([d for d in dims if shape[d] == 1])
    return op.squeeze(x, axis=ones) if ones else node(x)


@view("unsqueeze", _reshaped)
def _(x: Any, dim: int) -> Any:
    return op.expand_dims(x, axis=dim)


# Views with other axes --------------------------------------------------------------------------------------------


_EXCHANGED = (lambda base, new, a, b: op.swapaxes(new, axis1=a, axis2=b),
              lambda base, shape, a, b: np.swapaxes(base, a, b))


@view("transpose", *_EXCHANGED)
@view("swapaxes", *_EXCHANGED)
@view("swapdims", *_EXCHANGED)
def _(x: Any, a: int, b: int) -> Any:
    return op.swapaxes(x, axis1=a, axis2=b)


_TRANSPOSED = (lambda base, new: op.transpose(new), lambda base, shape: base.T)


@view("t", *_TRANSPOSED)
@view("numpy_T", *_TRANSPOSED)
def _(x: Any) -> Any:
    return op.transpose(x)


@view("mT", lambda base, new: op.swapaxes(new, axis1=-1, axis2=-2), lambda base, shape: base.mT)
def _(x: Any) -> Any:
    return op.swapaxes(x, axis1=-1, axis2=-2)


def _permuted_back(base: Any, new: Any, dims: Sequence[int]) -> Any:
    order = [_axis(d, rank(base)) for d in dims]
    return op.transpose(new, axes=tuple(sorted(range(len(order)), key=order.__getitem__)))


@view("permute", _permuted_back, lambda base, shape, dims: np.transpose(base, dims))
def _(x: Any, dims: Sequence[int]) -> Any:
    return op.transpose(x, axes=tuple(dims))


def _moved(base: Any, shape: Any, source: Any, target: Any) -> Any:
    return np.moveaxis(base, source, target)


@view("movedim", layout=_moved)
@view("moveaxis", layout=_moved)
def _(x: Any, source: Any, target: Any) -> Any:
    return op.moveaxis(x, source=axes_of(source), destination=axes_of(target))


@view("diagonal", layout=lambda base, shape, *arguments: np.diagonal(base, *arguments))
def _(x: Any, offset: int = 0, a: int = 0, b: int = 1) -> Any:
    return op.diagonal(x, offset=offset, axis1=a, axis2=b)


# Views of parts -------------------------------------------------------------------------------------------------


def _part(at: Any) -> Any:
    """How to write to a part and where it lies; `at(base, *arguments)` is its index."""
    return (lambda base, new, *arguments: op.set_at(base, at(base, *arguments), new),
            lambda base, shape, *arguments: base[(*at(base, *arguments), ...)])  # of no axes an array, too


def _slice_at(x: Any, dim: int = 0, start: Any = None, stop: Any = None, step: int = 1) -> tuple:
    return _at(dim, x, slice(start, None if stop is None or stop >= LAST else stop, step))


@view("slice", *_part(_slice_at))
def _(x: Any, dim: int = 0, start: Any = None, stop: Any = None, step: int = 1) -> Any:
    if (start is None or start == 0) and (stop is None or stop >= shape_of(x)[dim]) and step == 1:
        return node(x)
    return op.getitem(node(x), _slice_at(x, dim, start, stop, step))


def _position(index: Any) -> Any:
    return index if index.__class__ is int else int(index)


def _select_at(x: Any, dim: int, index: Any) -> tuple:
    return _at(dim, x, _position(index))


@view("select", *_part(_select_at))
def _(x: Any, dim: int, index: Any) -> Any:
    return op.getitem(node(x), _select_at(x, dim, index))


def _narrow_at(x: Any, dim: int, start: Any, length: int) -> tuple:
    """A negative start counts from the end."""
    start = _position(start)
    start += shape_of(x)[dim] if start < 0 else 0
    return _at(dim, x, slice(start, start + length))


@view("narrow", *_part(_narrow_at))
def _(x: Any, dim: int, start: Any, length: int) -> Any:
    return op.getitem(node(x), _narrow_at(x, dim, start, length))


def _sizes(x: Any, sizes: Any, dim: int) -> Sequence[int]:
    """The lengths of the parts: given, or all of one length but the last."""
    if sizes.__class__ is not int:
        return sizes
    length = shape_of(x)[dim]
    return [min(sizes, length - start) for start in range(0, length, sizes)] if length else [0]


def _split_at(x: Any, index: int, sizes: Any, dim: int = 0) -> tuple:
    sizes = _sizes(x, sizes, dim)
    start = sum(sizes[:index])
    return _at(dim, x, slice(start, start + sizes[index]))


def _chunk_size(x: Any, chunks: int, dim: int) -> int:
    return max(1, -(-shape_of(x)[dim] // chunks))


def _chunk_at(x: Any, index: int, chunks: int, dim: int = 0) -> tuple:
    return _split_at(x, index, _chunk_size(x, chunks, dim), dim)


@view("split", *_part(_split_at))
@view("split_with_sizes", *_part(_split_at))
@rule("unsafe_split", "unsafe_split_with_sizes")
def _split(x: Any, sizes: Any, dim: int = 0) -> list[Any]:
    return list(op.split(x, tuple(_sizes(x, sizes, dim)), axis=dim))


@view("chunk", *_part(_chunk_at))
@rule("unsafe_chunk")
def _(x: Any, chunks: int, dim: int = 0) -> list[Any]:
    return _split(x, _chunk_size(x, chunks, dim), dim)


@view("unbind", *_part(lambda x, index, dim=0: _at(dim, x, index)))
def _(x: Any, dim: int = 0) -> list[Any]:
    x = node(x)
    return [op.getitem(x, _at(dim, x, i)) for i in range(x.shape[dim])]


# Repetition -----------------------------------------------------------------------------------------------------


def _repeated(base: Any, shape: tuple[int, ...], *_: Any) -> Any:
    return np.broadcast_to(base, shape)


@view("expand", layout=_repeated)
def _(x: Any, size: Sequence[int], *_: Any) -> Any:
    shape = (1,) * (len(size) - rank(x)) + tuple(shape_of(x))
    wanted = tuple([have if n == -1 else int(n) for n, have in zip(size, shape, strict=True)])
    return node(x) if wanted == tuple(shape_of(x)) else op.broadcast_to(x, shape=wanted)


@view("expand_as", layout=_repeated)
def _(x: Any, other: Any) -> Any:
    return op.broadcast_to(x, shape=tuple(shape_of(other)))


@rule("repeat")
def _(x: Any, repeats: Sequence[int]) -> Any:
    return op.tile(x, reps=tuple(repeats))


@rule("repeat_interleave.self_int")
def _(x: Any, repeats: int, dim: int | None = None, *_: Any) -> Any:
    return op.repeat(x, repeats, axis=dim)


# Joining and other orders -----------------------------------------------------------------------------------------


@rule("cat", "concat", "concatenate")
def _(tensors: Sequence[Any], dim: int = 0) -> Any:
    """PyTorch leaves out empty tensors of one axis."""
    kept = [x for x in tensors if tuple(shape_of(x)) != (0,)] or list(tensors)[:1]
    return op.concat(*kept, axis=dim)


@rule("stack")
def _(tensors: Sequence[Any], dim: int = 0) -> Any:
    return op.stack(*tensors, axis=dim)


@rule("pad")
def _pad(x: Any, widths: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    """PyTorch names the last axis first."""
    pairs = {rank(x) - 1 - i // 2: (widths[i], widths[i + 1]) for i in range(0, len(widths), 2)}
    return op.pad(x, pairs, mode=mode, value=0 if value is None else value)


for _mode, _name in (("reflect", "reflection"), ("replicate", "replication")):
    add_rules({f"{_name}_pad{d}d": lambda x, widths, mode=_mode: _pad(x, widths, mode) for d in (1, 2, 3)})
add_rules({"constant_pad_nd": lambda x, widths, value=0: _pad(x, widths, "constant", value)})


@rule("pixel_shuffle")
def _(x: Any, factor: int) -> Any:
    *batch, channels, height, width = shape_of(x)
    parts, n = (*batch, channels // factor**2, factor, factor, height, width), len(batch)
    order = (*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    whole = (*batch, channels // factor**2, height * factor, width * factor)
    return op.reshape(op.transpose(op.reshape(x, shape=parts), axes=order), shape=whole)


@rule("meshgrid")
def _(tensors: Sequence[Any], indexing: str = "ij") -> list[Any]:
    sizes = [math.prod(shape_of(x)) for x in tensors]
    lines = [op.reshape(x, shape=(*(1,) * i, -1, *(1,) * (len(sizes) - 1 - i))) for i, x in enumerate(tensors)]
    grids = [op.broadcast_to(line, shape=tuple(sizes)) for line in lines]
    return [op.swapaxes(grid, axis1=0, axis2=1) for grid in grids] if indexing == "xy" and len(sizes) > 1 else grids


@rule("broadcast_tensors")
def _(tensors: Sequence[Any]) -> list[Any]:
    shape = np.broadcast_shapes(*map(shape_of, tensors))
    return [op.broadcast_to(x, shape=shape) for x in tensors]


add_rules({
    "flip": lambda x, dims: op.flip(x, axis=tuple(dims)),
    "roll": lambda x, shifts, dims: op.roll(x, shift=shifts[0] if not dims else tuple(shifts), axis=axes_of(dims)),
    "tril": lambda x, k=0: op.tril(x, k=k), "triu": lambda x, k=0: op.triu(x, k=k),
    "diag": lambda x, k=0: op.diag(x, k),
})

# Dtype, device and copies -----------------------------------------------------------------------------------------


def cast(x: Any, code: Any, copy: bool = False) -> Any:
    """In the dtype of this number; itself when it is in it already."""
    dtype = None if code is None else dtype_of(code)
    if x.__class__ in NUMBERS:
        return x if dtype is None else op.full((), x, dtype)
    x = node(x)
    if dtype is None or x.dtype == dtype:
        return op.identity(x) if copy else x
    return op.cast(x, dtype=dtype)


def _to_dtype(x: Any, dtype: Any, blocking: Any = None, copy: Any = False, *_: Any) -> Any:
    return cast(x, dtype, bool(copy))


def _to_device(x: Any, device: Any, dtype: Any = None, blocking: Any = None, copy: Any = False, *_: Any) -> Any:
    return cast(x, dtype, bool(copy))


def _to_layout(x: Any, dtype: Any, layout: Any, device: Any, pin: Any, blocking: Any, copy: Any = False,
               *_: Any) -> Any:
    return cast(x, dtype, bool(copy))


def _to_other(x: Any, other: Any, blocking: Any = None, copy: Any = False, *_: Any) -> Any:
    return cast(x, node(other).dtype, bool(copy))


# None of these is a view: what comes back unchanged is the same tensor, what does not is a new one.
add_rules({
    "to.dtype": _to_dtype, "to.device": _to_device, "to.dtype_layout": _to_layout, "to.prim_dtype": _to_dtype,
    "to.prim_Device": _to_device, "to.other": _to_other, "to.prim_other": lambda x, *_: node(x),
    "type_as": _to_other, "alias": node, "cpu": node, "cuda": node,
    "clone": lambda x, *_: op.identity(x), "prim::dtype": code_of,
    "is_floating_point": lambda x: bool(node(x).aval.inexact), "requires_grad_": lambda x, *_: x,
})
view("detach", _reshaped)(op.stop_gradient)


@view("contiguous", _reshaped, lambda base, shape, order=0: base if base.flags.c_contiguous and not order else None)
def _(x: Any, order: int = 0) -> Any:
    return node(x)
