"""Reads pickle files that hold only plain data: dicts, lists, numbers, text, bytes and NumPy arrays of numbers.

Nothing is unpickled. `pickletools` splits the file into its opcodes; the few that plain data needs are carried out
here, on a stack of our own. Names of classes and functions in the file are compared with the few that NumPy arrays are
written with, and are never looked up, imported or called: any other name or opcode is refused.
"""

from __future__ import annotations

import pickletools
import struct
from typing import Any

import numpy as np

from .errors import DataError

_PUSH_ARGUMENT = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "BINUNICODE",
                  "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_OLD_BYTES = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # Python 2's str
_PUSH = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict,
         "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_NOTHING = {"PROTO", "FRAME"}
_NUMBERS = "biuf"
_UNDER_WAY = object()


class _Array:
    """An array that is being put together."""

    value: np.ndarray | None = None


class _Type:
    """A dtype that is being put together."""

    def __init__(self, text: Any) -> None:
        text = text.decode("ascii") if isinstance(text, bytes) else text
        self.value = np.dtype(text) if isinstance(text, str) and text.isalnum() else np.dtype("O")
        if self.value.kind not in _NUMBERS:
            raise ValueError(f"an array of type {text!r}; expected numbers")


def _array_from(data: Any, dtype: _Type, shape: Any, order: Any = "C") -> np.ndarray:
    data = data.encode("latin-1") if isinstance(data, str) else data  # Python 2's str, read as text
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _Type) or order not in ("C", "F"):
        raise ValueError("an array whose data are not bytes")
    return np.frombuffer(data, dtype.value).reshape(tuple(int(n) for n in shape), order=order)


# What may be named in the file, and what we do instead of calling it.
_NAMES = {
    **{f"numpy.{core}.multiarray _reconstruct": lambda *_: _Array() for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": _array_from for core in ("core", "_core")},
    "numpy dtype": lambda text, *_: _Type(text),
    "_codecs encode": lambda text, *_: text.encode("latin-1"),  # bytes, in protocols 0 to 2
    **{f"{module} bytes": lambda: b"" for module in ("__builtin__", "builtins")},  # no bytes at all, in these
}
_ARRAY_CLASS = "numpy ndarray"


class _Mark:
    """Where a run of items begins on the stack."""


class _Reader:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], _Mark):
                items = self.stack[place + 1:]
                del self.stack[place:]
                return items
        raise IndexError("no mark")

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name == "STOP":
                (result,) = self.stack
                return result
            self.step(name, argument)
        raise ValueError("no end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSH_ARGUMENT:
            stack.append(argument)
        elif name in _OLD_BYTES:
            stack.append(argument.encode("latin-1"))
        elif name in _PUSH:
            stack.append(_PUSH[name]())
        elif name in _TUPLES:
            stack[-_TUPLES[name]:] = [tuple(stack[-_TUPLES[name]:])]
        elif name in _PUT:
            self.memo[int(argument)] = stack[-1]
        elif name in _GET:
            stack.append(self.memo[int(argument)])
        elif name not in _NOTHING:
            step = getattr(self, f"on_{name.lower()}", None)
            if step is None:
                raise ValueError(f"the opcode {name}, which plain data do not need")
            step(argument)

    def on_mark(self, _: Any) -> None:
        self.stack.append(_Mark())

    def on_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def on_dict(self, _: Any) -> None:
        items = self.to_mark()
        self.stack.append({})
        self.fill(items)

    def on_list(self, _: Any) -> None:
        self.stack.append(self.to_mark())

    def on_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.to_mark()))

    def on_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill([key, value])

    def on_setitems(self, _: Any) -> None:
        self.fill(self.to_mark())

    def on_append(self, _: Any) -> None:
        value = self.stack.pop()
        self.container(list).append(value)

    def on_appends(self, _: Any) -> None:
        items = self.to_mark()
        self.container(list).extend(items)

    def fill(self, items: list[Any]) -> None:
        if not all(isinstance(key, str | bytes | int) for key in items[::2]):
            raise ValueError("a key that is neither text nor a number")
        self.container(dict).update(zip(items[::2], items[1::2], strict=True))

    def container(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"items for a {kind.__name__} that is none")
        return self.stack[-1]

    def on_global(self, argument: Any) -> None:
        if argument not in _NAMES and argument != _ARRAY_CLASS:
            raise ValueError(f"the name {argument.replace(' ', '.')}, which is not plain data")
        self.stack.append(_Name(argument))

    def on_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.on_global(f"{module} {name}")

    def on_reduce(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or name.text == _ARRAY_CLASS or not isinstance(arguments, tuple):
            raise ValueError("a call of what is no known name")
        self.stack.append(_NAMES[name.text](*arguments))

    def on_build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Type):
            if state[1] in (">", b">"):
                target.value = target.value.newbyteorder(">")
        elif isinstance(target, _Array):
            _, shape, dtype, fortran, data = state
            target.value = _array_from(data, dtype, shape, "F" if fortran else "C")
        else:
            raise ValueError("a state for what is no array")


class _Name:
    """A name that the file gives; only ever compared."""

    def __init__(self, text: str) -> None:
        self.text = text


def _finished(value: Any, seen: dict[int, Any]) -> Any:
    """The value with arrays for what they were built with. What the file shares stays shared; cycles are refused."""
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if isinstance(value, _Array | _Type | _Name | _Mark):
        raise ValueError("a part that was not completed")
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) not in seen:
        seen[id(value)] = _UNDER_WAY
        seen[id(value)] = ({k: _finished(v, seen) for k, v in value.items()} if isinstance(value, dict)
                           else type(value)(_finished(v, seen) for v in value))
    if seen[id(value)] is _UNDER_WAY:
        raise ValueError("a container that holds itself")
    return seen[id(value)]


def read_plain_pickle(data: bytes, source: str = "pickle") -> Any:
    """The plain data in a pickle: dict, list, tuple, numbers, text, bytes, None, and arrays of numbers.

    Strings of Python 2 become bytes. Nothing in the data is executed or imported.

    Raises:
        DataError: anything that is not plain data, and damaged files.

    >>> read_plain_pickle(b"(lp0\\nI1\\naI2\\na.")
    [1, 2]
    >>> read_plain_pickle(b"cos\\nsystem\\n(S'ls'\\ntR.")
    Traceback (most recent call last):
    ...
    zkynet.data.errors.DataError: pickle: cannot be read without executing it: the name os.system, ...
    """
    try:
        return _finished(_Reader().run(data), {})
    except (ValueError, TypeError, AttributeError, LookupError, struct.error, RecursionError, OverflowError) as error:
        raise DataError(f"{source}: cannot be read without executing it: {error}") from error
