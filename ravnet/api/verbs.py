"""The functions of `ravnet.functions` as they are offered at module level: they record ops of the current graph."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..functions import FUNCTIONS
from .op import Op
from .session import current_graph


@cache
def function_named(name: str) -> Any:
    """The function of this name, recording.

    Raises:
        AttributeError: when there is none.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        raise AttributeError(f"module 'ravnet' has no attribute {name!r}")

    def recorded(*args: Any, **kwargs: Any) -> Op | list[Op]:
        return current_graph().apply(function, args, kwargs)

    recorded.__name__ = recorded.__qualname__ = name
    recorded.__doc__ = f"{function.usage}: {function.meaning}."
    return recorded
