"""CustomLayer: a layer that a script writes, of other layers and of ops."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from zkynet.framework.errors import GraphError, InputError

from ..api.op import Op
from .layer import Layer
from .naming import parts
from .values import array_of


class CustomLayer(Layer):
    """Derive it, set layers as attributes (also in lists and dicts) and write `_forward_pass_call`.

    A layer that is used twice shares its weights.

    >>> from ravnet.dl.layers import Activation, CustomLayer, Dense
    >>> class Block(CustomLayer):
    ...     def __init__(self):
    ...         self.dense = Dense(8)
    ...         self.act = Activation("relu")
    ...     def _forward_pass_call(self, input, training=True):
    ...         return self.act._forward_pass(self.dense._forward_pass(input))
    """

    def _forward_pass_call(self, *args: Any, **kwargs: Any) -> Any:
        raise GraphError(f"{type(self).__name__} does not define _forward_pass_call(self, input, training=True).")

    def _forward_pass(self, *args: Any, **kwargs: Any) -> Any:
        if "training" in kwargs and not _takes_training(type(self)):
            del kwargs["training"]
        found = self._forward_pass_call(*args, **kwargs)
        if found is None:
            raise InputError(f"_forward_pass_call of {self._title} returned None: is a `return` missing at its end"
                             f"{_place(type(self))}?")
        return found

    def set_trainable(self, trainable: Any = True) -> None:
        super().set_trainable(trainable)
        for layer in parts(self):
            layer.set_trainable(trainable)

    def __getstate__(self) -> dict[str, Any]:
        return {name: plain(value, f"the attribute {name!r} of {self._title}") for name, value in vars(self).items()}


@functools.cache
def _takes_training(kind: type[CustomLayer]) -> bool:
    parameters = inspect.signature(kind._forward_pass_call).parameters
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def plain(value: Any, what: str) -> Any:
    """A value for pickle: arrays in place of ops.

    Raises:
        InputError: for an op that is not computed.
    """
    if isinstance(value, Op):
        return array_of(value, f"pickle: {what}")
    if type(value) in (list, tuple):
        return type(value)([plain(item, what) for item in value])
    if type(value) is dict:
        return {key: plain(item, what) for key, item in value.items()}
    return value


def _place(kind: type) -> str:
    """Where a class's forward pass is written."""
    try:
        code = kind._forward_pass_call.__code__  # pyright: ignore[reportAttributeAccessIssue]
        lines, start = inspect.getsourcelines(code)
        return f" ({code.co_filename}:{start + len(lines) - 1})"
    except (OSError, TypeError, AttributeError):
        return ""
