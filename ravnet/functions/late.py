"""Running any function by name, on arrays: those whose results' shapes depend on values, and what builds on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zkynet.framework.errors import InputError
from zkynet.framework.nodes import Engine
from zkynet.framework.operators.arguments import node_of

from .function import Function, is_place
from .table import FUNCTIONS


def named(name: str) -> Function:
    """The function of this name.

    Raises:
        InputError: when there is none.
    """
    try:
        return FUNCTIONS[name]
    except KeyError:
        raise InputError(f"there is no function {name!r}.") from None


def call_late(name: str, arrays: Sequence[Any], params: Mapping[str, Any] | None = None, key: Any = None) -> Any:
    """The result of a function on concrete arrays: an array, or a list of `Function.outputs` arrays.

    Args:
        arrays, params: as in `Bound`: parameters {"$input": i} take the value of an array.
        key: of a random function, an array; instead of the parameter `seed`.

    >>> import numpy as np
    >>> call_late("unique", [np.array([3, 1, 3])]).tolist()
    [1, 3]
    >>> call_late("reshape", [np.arange(6), np.array([2, 3])], {"shape": {"$input": 1}}).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    function = named(name)
    values = [np.asarray(array) for array in arrays]
    places = {parameter: _place(function, item, len(values)) for parameter, item in (params or {}).items()
              if is_place(item)}
    given = {**(params or {}), **{parameter: values[i] for parameter, i in places.items()}}
    inputs = [value for i, value in enumerate(values) if i not in places.values()]
    bound = function.bound(inputs, given)
    if function.check is not None:
        function.check(*inputs, **bound.params)
    if bound.late:
        found = function.apply(bound)
        return [np.asarray(part) for part in found] if isinstance(found, (list, tuple)) else np.asarray(found)
    nodes = function.bound([node_of(value, name) for value in inputs], bound.params)
    found = function.apply(nodes, None if key is None else node_of(key, name))
    wanted = list(found) if isinstance(found, (list, tuple)) else [found]
    Engine.evaluate([node for node in wanted if not node.is_computed])
    results = [np.asarray(node.value) for node in wanted]
    return results if isinstance(found, (list, tuple)) else results[0]


def _place(function: Function, item: Mapping[str, Any], count: int) -> int:
    place = item["$input"]
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
        raise InputError(f"{function.name}: a parameter stands for input {place!r}, but there are {count} inputs.")
    return place
