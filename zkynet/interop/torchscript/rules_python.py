"""Rules of what is no tensor: numbers, strings, lists, tuples and dicts."""

from __future__ import annotations

import math
import operator
from typing import Any

from ...framework import op
from ...framework.errors import InputError, TracedValueError
from ...framework.nodes import Node
from .registry import NUMBERS, add_rules, node, rank, rule, shape_of

# Numbers --------------------------------------------------------------------------------------------------------


def number(value: Any, kind: Any) -> Any:
    """A Python number of a scalar tensor, which is computed now; a clear error where that cannot be."""
    if value.__class__ in NUMBERS or isinstance(value, str):
        return kind(value)
    try:
        return kind(node(value).value.item())
    except TracedValueError as error:
        raise TracedValueError(
            "the value of a tensor is needed here, as a number of Python's, but inside compile, scan, cond or vmap it "
            "is not known: pass that value as an attribute of the model, or use the model outside of it.") from error


def _float(value: Any) -> Any:
    """A float; of a tensor that is no number yet its node, as most uses of it are arithmetic."""
    if value.__class__ in NUMBERS or isinstance(value, str):
        return float(value)
    return op.cast(op.reshape(value, shape=()), dtype="float32")


def _implicit(value: Any) -> Any:
    return value if value.__class__ in NUMBERS else number(value, lambda item: item)


add_rules({
    "Int": lambda x: number(x, int), "IntImplicit": lambda x: number(x, int), "Bool": lambda x: number(x, bool),
    "ScalarImplicit": _implicit, "Float": _float, "FloatImplicit": _float,
    "item": lambda x: x if x.__class__ in NUMBERS else op.reshape(x, shape=()),
    "_local_scalar_dense": lambda x: x, "prim::ImplicitTensorToNum": lambda x: number(x, int),
    "prim::NumToTensor": lambda x: x,
}, python=True)


add_rules({
    "prim::max": max, "prim::min": min, "prim::abs": abs, "floordiv": operator.floordiv,
    "truediv": operator.truediv, "divmod": divmod, "round.Scalar": round, "__lshift__.int": operator.lshift,
    "__rshift__.int": operator.rshift, "gcd.int": math.gcd, "factorial.int": math.factorial,
    "__not__": operator.not_, "__is__": operator.is_, "__isnot__": operator.is_not,
    "__range_length": lambda low, high, step: len(range(low, high, step)),
    "__derive_index": lambda index, start, step: start + index * step,
    "all.bool": all, "any.bool": any, "all.int": all, "any.int": any,
}, python=True)

# Strings --------------------------------------------------------------------------------------------------------


def _shown(value: Any) -> Any:
    """A value as a message shows it; a tensor whose value is not known, by its shape."""
    if isinstance(value, Node):
        try:
            return value.value
        except TracedValueError:
            return value
    return [_shown(item) for item in value] if value.__class__ is list else value


add_rules({
    "format": lambda text, *values: text.format(*map(_shown, values)),
    "percentFormat": lambda text, *values: text % tuple(map(_shown, values)),
    "str": lambda x: str(_shown(x)), "lower": str.lower, "upper": str.upper, "strip": str.strip,
    "startswith": lambda text, start, *_: text.startswith(start),
    "endswith": lambda text, end, *_: text.endswith(end), "join": lambda text, parts: text.join(parts),
    "replace": lambda text, old, new, count: text.replace(old, new, count), "prim::StringIndex": operator.getitem,
    "split.str": lambda text, sep, most: text.split(sep, most), "find": str.find, "isdigit": str.isdigit,
}, python=True)


@rule("prim::Print")
def _(*values: Any) -> None:
    print(*map(_shown, values))


@rule("warn")
def _(*_: Any) -> None:
    """PyTorch's own warnings are about its own matters."""


@rule("prim::RaiseException")
def _(message: Any, *_: Any) -> None:
    raise InputError(f"the TorchScript model raised: {message}")


# Lists, tuples and dicts ------------------------------------------------------------------------------------------


def _pairs(*items: Any) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _missing_none(value: Any) -> Any:
    if value is None:
        raise InputError("the TorchScript model expected a value here that is None.")
    return value


def _part(items: Any, start: Any, stop: Any, step: Any) -> Any:
    return items[start:stop:step]


add_rules({"prim::ListConstruct": lambda *items: list(items), "prim::TupleConstruct": lambda *items: items,
           "prim::DictConstruct": _pairs, "list": list, "dict": dict,
           "_unwrap_optional": _missing_none, "prim::Uninitialized": lambda: None,
           "prim::TupleIndex": operator.getitem, "prim::TupleSlice": lambda x, i, j: x[i:j],
           "__getitem__": operator.getitem, "slice.t": _part, "slice.str": _part,
           "__contains__": lambda items, item: item in items, "keys": lambda x: list(x),
           "values": lambda x: list(x.values()), "items": lambda x: list(x.items()),
           "get": lambda x, key: x.get(key), "get.default_str": lambda x, key, other: x.get(key, other),
           "get.default_int": lambda x, key, other: x.get(key, other), "prim::rangelist": lambda n: list(range(n)),
           "copy.t": list, "sorted": sorted, "prim::data": lambda x: x}, raw=True, python=True)
add_rules({"len": lambda x: len(x) if isinstance(x, (list, tuple, dict, str)) else shape_of(x)[0]}, python=True)
add_rules({"index.list_int": list.index, "count.int": list.count}, python=True)

# Those that change a list: never computed beforehand, and a list that one of them gets is made anew in every call.
CHANGES = ("append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort", "_set_item", "Delete", "add_")


def _append(items: list, item: Any) -> list:
    items.append(item)
    return items


def _extended(items: list, more: list) -> list:
    items += more
    return items


def _sorted_now(items: list, reverse: bool = False) -> None:
    items.sort(reverse=reverse)


add_rules({"append.t": _append, "extend.t": lambda items, more: items.extend(more), "add_.t": _extended,
           "insert.t": lambda items, at, item: items.insert(at, item), "pop.t": lambda items, at: items.pop(at),
           "remove": lambda items, item: items.remove(item), "clear": lambda items: items.clear(),
           "reverse.t": lambda items: items.reverse(), "sort.int": _sorted_now, "sort.float": _sorted_now,
           "_set_item": operator.setitem, "Delete": operator.delitem}, raw=True)

# What is asked about tensors --------------------------------------------------------------------------------------


def _size(x: Any, axis: int | None = None) -> Any:
    shape = shape_of(x)
    return list(shape) if axis is None else shape[axis]


def _known(value: Any) -> Any:
    return lambda *_: value


add_rules({"size": _size, "dim": rank, "numel": lambda x: math.prod(shape_of(x)), "prim::device": _known("cpu"),
           "is_contiguous": _known(True), "prim::is_cuda": _known(False), "prim::is_nested": _known(False),
           "prim::is_mkldnn": _known(False), "prim::is_sparse": _known(False), "prim::is_quantized": _known(False),
           "prim::layout": _known(0), "prim::requires_grad": _known(True)})
add_rules({"is_grad_enabled": _known(True), "is_autocast_enabled": _known(False), "device": lambda *x: str(x[0]),
           "prim::type": lambda device: device.partition(":")[0], "prim::index": lambda device: None,
           "is_autocast_cpu_enabled": _known(False), "prim::is_compiling": _known(False)}, python=True)
