"""What `import ravop as R` gives: everything of ravnet, with Op, Tensor and Scalar as classes."""

from __future__ import annotations

from typing import Any

import ravnet
from ravnet.api.op import Op


class _Kind(type):
    """Scripts ask isinstance(x, R.Tensor) to learn whether x is an op already."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Op)


class Tensor(metaclass=_Kind):
    """`Tensor(value)` is an op of an array; every op is an instance. A name is taken and not used."""

    def __new__(cls, value: Any, name: str | None = None) -> Any:
        return ravnet.Tensor(value)


class Scalar(metaclass=_Kind):
    """`Scalar(value)` is an op of a number; every op is an instance. A name is taken and not used."""

    def __new__(cls, value: Any, name: str | None = None) -> Any:
        return ravnet.Scalar(value)


def t(value: Any, name: str | None = None) -> Any:
    """An op of data. A name is taken and not used."""
    return ravnet.t(value)


def __getattr__(name: str) -> Any:
    return getattr(ravnet, name)


def __dir__() -> list[str]:
    return sorted({*dir(ravnet), "Op"})
