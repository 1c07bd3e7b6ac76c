"""What `ravdl.v2.layers` gives: RavDL's layers, of which some take their arguments with the call, too.

    heads = Reshape()
    y = heads._forward_pass(x, shape=(batch_size, -1, 4, 16))
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from zkynet.framework.errors import InputError

from ..dl import layers
from ..dl.layer import Unit


class AtCall(Unit):
    """Put before a layer without parameters: what `_forward_pass` is given goes before what the constructor was."""

    _needed: ClassVar[str | None] = None  # the argument that must come by one of the two ways

    def __init__(self, *args: Any, **kwargs: Any):
        names = inspect.signature(type(self).__mro__[2]).parameters
        self.given = {**dict(zip(names, args, strict=False)), **kwargs}
        if self._is_complete:
            super().__init__(**self.given)

    @property
    def _is_complete(self) -> bool:
        return self._needed is None or self._needed in self.given

    def build(self, shape: tuple[int, ...] = ()) -> None:
        if self._is_complete:
            super().build(shape)

    def _forward_pass(self, *inputs: Any, training: Any = True, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not options:
            if not self._is_complete:
                raise InputError(f"{type(self).__name__} needs {self._needed}=, here or in its constructor.")
            return super()._forward_pass(*inputs, training=training)
        made = type(self)(**{**self.given, **options})
        made.name = self.name
        found = made._forward_pass(*inputs, training=training)
        if not self._is_complete:  # the summary shows how it was used last
            self._input, self._output = made._input, made._output
        return found


class Reshape(AtCall, layers.Reshape):
    """`Reshape(shape=, contiguous=)`."""

    _needed = "shape"


class Transpose(AtCall, layers.Transpose):
    """`Transpose(axes=)`."""

    _needed = "axes"


class Concat(AtCall, layers.Concat):
    """`Concat(axis=0)`."""


class Power(AtCall, layers.Power):
    """`Power(power=)`; without it, the second input is the exponent."""


def __getattr__(name: str) -> Any:
    return getattr(layers, name)


def __dir__() -> list[str]:
    return layers.__all__
