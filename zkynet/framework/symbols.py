"""Python's operators (`+`, `@`, `[...]`) on nodes, results of Modules, parameters and states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .nodes import Node

# Filled by the modules that define the operators.
SYMBOLS: dict[str, Callable[..., Any]] = {}
_symbols = SYMBOLS


class Symbols:
    """Python's operators, each the operator of that name. `==` stays identity: use `op.equal`."""

    __slots__ = ()
    __array_ufunc__ = None  # so that `ndarray + node` reaches __radd__

    # fmt: off
    def __add__(self, other: Any) -> Node: return _symbols["add"](self, other)
    def __radd__(self, other: Any) -> Node: return _symbols["add"](other, self)
    def __sub__(self, other: Any) -> Node: return _symbols["subtract"](self, other)
    def __rsub__(self, other: Any) -> Node: return _symbols["subtract"](other, self)
    def __mul__(self, other: Any) -> Node: return _symbols["mult"](self, other)
    def __rmul__(self, other: Any) -> Node: return _symbols["mult"](other, self)
    def __truediv__(self, other: Any) -> Node: return _symbols["divide"](self, other)
    def __rtruediv__(self, other: Any) -> Node: return _symbols["divide"](other, self)
    def __floordiv__(self, other: Any) -> Node: return _symbols["floor_divide"](self, other)
    def __rfloordiv__(self, other: Any) -> Node: return _symbols["floor_divide"](other, self)
    def __mod__(self, other: Any) -> Node: return _symbols["remainder"](self, other)
    def __rmod__(self, other: Any) -> Node: return _symbols["remainder"](other, self)
    def __pow__(self, other: Any) -> Node: return _symbols["power"](self, other)
    def __rpow__(self, other: Any) -> Node: return _symbols["power"](other, self)
    def __matmul__(self, other: Any) -> Node: return _symbols["matmul"](self, other)
    def __rmatmul__(self, other: Any) -> Node: return _symbols["matmul"](other, self)
    def __and__(self, other: Any) -> Node: return _symbols["logical_and"](self, other)
    def __rand__(self, other: Any) -> Node: return _symbols["logical_and"](other, self)
    def __or__(self, other: Any) -> Node: return _symbols["logical_or"](self, other)
    def __ror__(self, other: Any) -> Node: return _symbols["logical_or"](other, self)
    def __xor__(self, other: Any) -> Node: return _symbols["logical_xor"](self, other)
    def __rxor__(self, other: Any) -> Node: return _symbols["logical_xor"](other, self)
    def __invert__(self) -> Node: return _symbols["logical_not"](self)
    def __lt__(self, other: Any) -> Node: return _symbols["less"](self, other)
    def __le__(self, other: Any) -> Node: return _symbols["less_equal"](self, other)
    def __gt__(self, other: Any) -> Node: return _symbols["greater"](self, other)
    def __ge__(self, other: Any) -> Node: return _symbols["greater_equal"](self, other)
    def __neg__(self) -> Node: return _symbols["negative"](self)
    def __pos__(self) -> Node: return _symbols["identity"](self)
    def __abs__(self) -> Node: return _symbols["abs"](self)
    def __getitem__(self, index: Any) -> Node: return _symbols["getitem"](self, index)
    # fmt: on

    @property
    def T(self) -> Node:
        return _symbols["transpose"](self)
