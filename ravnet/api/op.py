"""Op: what a script holds of a value of its graph. Operators and methods record further ops."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from zkynet.framework.nodes import Node

from ..errors import StateError
from ..functions import FUNCTIONS, Function
from .recording import Ref

if TYPE_CHECKING:
    from .graph import GraphRecord


_ids = itertools.count(1)


class Op:
    """A value of a graph: data that was given, or the result of a function.

    Every function of `ravnet` is also a method (`x.sum(axis=0)`), and the arithmetic, comparison and indexing operators
    of Python record ops too.
    """

    __slots__ = ("graph", "value", "id", "__weakref__")
    __array_priority__ = 100  # so that array + op asks the op
    __array_ufunc__ = None

    def __init__(self, graph: GraphRecord, value: Node | Ref):
        self.graph = graph
        self.value = value
        self.id = next(_ids)  # tells the ops of a process apart

    @property
    def is_late(self) -> bool:
        """Whether the shape depends on values."""
        return isinstance(self.value, Ref) and self.value.aval is None

    @property
    def node(self) -> Node:
        """The zkynet node."""
        return self.graph.recorder.node(self.value) if isinstance(self.value, Ref) else self.value

    @property
    def recorded(self) -> Ref:
        """The value as a part of the call graph; recorded now if it was not yet."""
        if isinstance(self.value, Ref):
            return self.value
        value = self.value._value
        return value if isinstance(value, Ref) else self.graph.recorder.ref_of(self.value)

    @property
    def number(self) -> int:
        """The number of the value in the call graph."""
        return self.recorded.number

    def settle(self) -> None:
        """Once the value is recorded, forget how it was computed: its nodes are freed, and no gradient goes through."""
        if isinstance(self.value, Node) and isinstance(self.value._value, Ref):
            self.value = self.value._value

    def persist_op(self, name: str) -> Op:
        """Keep the result under a name, for `fetch_persisting_op`."""
        self.graph.persist(self, name)
        return self

    def get_shape(self) -> tuple[int, ...] | None:
        """The shape; None when it depends on values."""
        return None if self.is_late else tuple(self.value.shape)

    def get_dtype(self) -> str | None:
        """The dtype's name; None when it depends on values."""
        return None if self.is_late else np.dtype(self.value.dtype).name

    def get_status(self) -> str:
        """"pending" before execution, then "computed" or "failed"."""
        return self.graph.status_of(self)

    def get_output(self) -> Any:
        """The result, after execution."""
        return self.graph.result_of(self)

    __call__ = get_output

    def __repr__(self) -> str:
        shape = "unknown shape" if self.is_late else f"{self.get_dtype()}{list(self.value.shape)}"
        return f"<Op {self.id}: {shape}, {self.get_status()}>"

    def __bool__(self) -> bool:
        return bool(self._number("truth value (use R.where)"))

    def __float__(self) -> float:
        return float(self._number("value"))

    def __int__(self) -> int:
        return int(self._number("value"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._number("value"), dtype)

    def _number(self, what: str) -> Any:
        """The result; refuses while the graph is recorded, even for given data, as Python would decide by it."""
        if not self.graph.activated:
            raise StateError(f"an op has no {what} while its graph is recorded: fetch it after R.execute().")
        return self.graph.result_of(self)

    def __iter__(self) -> Any:
        if self.is_late or not self.value.shape:
            raise TypeError(f"{self!r} cannot be iterated over.")
        return (self[i] for i in range(self.value.shape[0]))

    def __len__(self) -> int:
        if self.is_late or not self.value.shape:
            raise TypeError(f"{self!r} has no len().")
        return self.value.shape[0]

    __hash__ = object.__hash__

    if TYPE_CHECKING:  # set below; further functions are methods, too

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Op: ...
        def __radd__(self, other: Any) -> Op: ...
        def __sub__(self, other: Any) -> Op: ...
        def __rsub__(self, other: Any) -> Op: ...
        def __mul__(self, other: Any) -> Op: ...
        def __rmul__(self, other: Any) -> Op: ...
        def __truediv__(self, other: Any) -> Op: ...
        def __rtruediv__(self, other: Any) -> Op: ...
        def __pow__(self, other: Any) -> Op: ...
        def __rpow__(self, other: Any) -> Op: ...
        def __matmul__(self, other: Any) -> Op: ...
        def __rmatmul__(self, other: Any) -> Op: ...
        def __lt__(self, other: Any) -> Op: ...
        def __le__(self, other: Any) -> Op: ...
        def __gt__(self, other: Any) -> Op: ...
        def __ge__(self, other: Any) -> Op: ...
        def __eq__(self, other: Any) -> Op: ...  # pyright: ignore[reportIncompatibleMethodOverride]
        def __ne__(self, other: Any) -> Op: ...  # pyright: ignore[reportIncompatibleMethodOverride]
        def __neg__(self) -> Op: ...
        def __pos__(self) -> Op: ...
        def __abs__(self) -> Op: ...
        def __invert__(self) -> Op: ...

    def __getitem__(self, index: Any) -> Op:
        if isinstance(index, list):  # in brackets it chooses along axis 0; as a parameter it has an item for each axis
            index = (index,)
        return self.graph.apply(FUNCTIONS["index"], (self,), {"indices": index})


def _method(function: Function) -> Any:
    def method(self: Op, *args: Any, **kwargs: Any) -> Any:
        return self.graph.apply(function, (self, *args), kwargs)

    method.__name__, method.__doc__ = function.name, f"{function.meaning[:1].upper()}{function.meaning[1:]}."
    return method


def _binary(function: Function, swapped: bool = False) -> Any:
    def method(self: Op, other: Any) -> Any:
        return self.graph.apply(function, (other, self) if swapped else (self, other), {})

    return method


_OPERATORS = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow", "matmul": "matmul"}
_COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
                "ne": "not_equal"}
_UNARY = {"neg": "neg", "pos": "pos", "abs": "abs", "invert": "logical_not"}

for _name, _function in FUNCTIONS.items():
    if not hasattr(Op, _name):
        setattr(Op, _name, _method(_function))
for _symbol, _name in _OPERATORS.items():
    setattr(Op, f"__{_symbol}__", _binary(FUNCTIONS[_name]))
    setattr(Op, f"__r{_symbol}__", _binary(FUNCTIONS[_name], swapped=True))
for _symbol, _name in _COMPARISONS.items():
    setattr(Op, f"__{_symbol}__", _binary(FUNCTIONS[_name]))
for _symbol, _name in _UNARY.items():
    setattr(Op, f"__{_symbol}__", _method(FUNCTIONS[_name]))
