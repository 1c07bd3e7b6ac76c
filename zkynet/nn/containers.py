"""Modules made of modules: in a row, in lists and dicts, around a shortcut; and of a plain function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from ..framework import cg
from ..framework.errors import GraphError, InputError, ShapeError

Modules = TypeVar("Modules", bound="_Listed")


class Lambda(cg.Module):
    """y = function(x), for a function of nodes; of several inputs too. Parameters it uses are not found: hold them in
    a module.

    >>> from zkynet import nn
    >>> nn.Lambda(lambda x: x * x)(3.0).value.tolist()
    9.0
    """

    def __init__(self, function: Callable[..., Any]):
        if not callable(function):
            raise InputError(f"Lambda needs a function of nodes, but got {type(function).__name__} {function!r}.")
        self.function = function
        names = _inputs_of(function)
        super().__init__(None if names is None else [cg.Variable(name) for name in names])

    def call(self, *inputs: Any, **named: Any) -> Any:
        return self.function(*inputs, **named)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", None) or getattr(self.function, "name", self.function)
        return f"Lambda({name})"


def _inputs_of(function: Callable[..., Any]) -> list[str] | None:
    """Names of the positional arguments; None when there may be any number."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            and p.default is p.empty]


def _as_module(value: Any, container: cg.Module) -> cg.Module:
    if isinstance(value, cg.Module):
        return value
    if callable(value) and not isinstance(value, type):
        return Lambda(value)
    hint = f" Make it first: {value.__name__}(...)." if isinstance(value, type) else ""
    raise InputError(f"{container.functional_name} holds modules, or functions of nodes, but got {value!r}.{hint}")


# Containers -------------------------------------------------------------------------------------------------


class _Container(cg.Module):
    """Modules by name, which are its children's names as they stand: "0", not "_items.0"."""

    _items: dict[str, cg.Module]
    _joined = True  # whether a module that is set as a new attribute comes last among them, as PyTorch's do

    def __init__(self, inputs: Any = None):
        self._items = {}
        super().__init__(inputs)

    def named_children(self) -> Iterator[tuple[str, cg.Module]]:
        yield from self._items.items()
        for name, child in super().named_children():
            if not name.startswith("_items."):
                yield name, child

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_items"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        items = self.__dict__.get("_items")
        new = self._joined and isinstance(value, cg.Module) and not hasattr(type(self), name)
        if items is not None and (new or name in items):
            self.__dict__.pop(name, None)  # an attribute of the name would hide the module
            items[_checked_name(name, self)] = _as_module(value, self)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self.__dict__.get("_items", {}).pop(name, None) is None:
            super().__delattr__(name)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        rows = [f"  ({name}): " + repr(item).replace("\n", "\n  ") for name, item in self.named_children()]
        return "\n".join([f"{self.functional_name}(", *rows, ")"]) if rows else f"{self.functional_name}()"


class _Listed(_Container):
    """Modules in order; their names are their numbers unless names were given."""

    def __iter__(self) -> Iterator[cg.Module]:
        return iter(list(self._items.values()))

    def __getitem__(self, index: Any) -> Any:
        found = list(self._items.items())[index]
        return self._of(found) if isinstance(index, slice) else found[1]

    def _of(self: Modules, items: Iterable[tuple[str, cg.Module]]) -> Modules:
        """A container of some of the modules, which are shared."""
        made = type(self).__new__(type(self))
        _Container.__init__(made, self.inputs)
        made._items = dict(items)
        made.training = self.training
        return made

    def _key(self, index: int) -> str:
        try:
            return list(self._items)[index]
        except IndexError:
            raise IndexError(f"{self.functional_name} has {len(self)} modules, but got the index {index}.") from None

    def __setitem__(self, index: int, module: Any) -> None:
        self._items[self._key(index)] = _as_module(module, self)

    def __delitem__(self, index: int | slice) -> None:
        items = list(self._items.items())
        named = [name for name, _ in items] != [str(i) for i in range(len(items))]
        del items[index]
        self._items = dict(items) if named else {str(i): item for i, (_, item) in enumerate(items)}

    def insert(self, index: int, module: Any) -> None:
        """Put a module before the one of this index; all are then numbered."""
        items = list(self._items.values())
        items.insert(index, _as_module(module, self))
        self._items = {str(i): item for i, item in enumerate(items)}

    def append(self: Modules, module: Any) -> Modules:
        """Put a module at the end, named by its number, or the next one that is free."""
        return self.extend([module])

    def extend(self: Modules, modules: Iterable[Any]) -> Modules:
        """Put several at the end: all of them, or none where one is no module."""
        items = dict(self._items)
        for module in modules:
            number = len(items)
            while str(number) in items:  # those of a slice go on from another number
                number += 1
            items[str(number)] = _as_module(module, self)
        self._items = items
        return self

    def __iadd__(self: Modules, modules: Iterable[Any]) -> Modules:
        return self.extend(modules)

    def pop(self, index: int = -1) -> cg.Module:
        """Take a module out."""
        found = self[index]
        del self[index]
        return found


class Sequential(_Listed):
    """y = f_n(... f_2(f_1(x))) (torch.nn.Sequential).

    Args:
        modules: modules or functions of nodes, in order; or one dict of them by name, which are then attributes.

    Parameters: those of the modules, as "0.weight" (or "name.weight"). Indexing gives a module, slicing a Sequential of
    the same modules under their names, + one of the modules of both, numbered. A module that is set as a new attribute
    comes last, under its name.

    Raises:
        InputError: for anything that is neither a module nor a function.

    >>> from zkynet import nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> net([[1.0, 2.0, 3.0, 4.0]]).shape, list(net.state_dict())
    ((1, 2), ['0.weight', '0.bias', '2.weight', '2.bias'])
    >>> net[-1], len(net[:2])
    (Linear(3, 2), 2)
    """

    def __init__(self, *modules: Any):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            self._items = {_checked_name(name, self): _as_module(item, self) for name, item in modules[0].items()}
        else:
            self.extend(modules)

    def __add__(self, modules: Iterable[Any]) -> Sequential:
        return Sequential(*self, *modules)

    def call(self, input: Any) -> Any:
        for layer in self._items.values():
            input = layer(input)
        return input


class ModuleList(_Listed):
    """A list of modules, which the module that holds it goes through in its own `call` (torch.nn.ModuleList).

    >>> from zkynet import nn
    >>> layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(2))
    >>> len(layers), list(layers.state_dict())
    (2, ['0.weight', '1.weight'])
    """

    def __init__(self, modules: Iterable[Any] = ()):
        super().__init__(())
        self.extend(modules)

    def _of(self, items: Iterable[tuple[str, cg.Module]]) -> ModuleList:
        return super()._of((str(i), item) for i, (_, item) in enumerate(items))

    def __add__(self, modules: Iterable[Any]) -> ModuleList:
        return ModuleList([*self, *modules])

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise GraphError("a ModuleList is not called itself: go through its modules, or use a Sequential.")


class ModuleDict(_Container):
    """A dict of modules, which the module that holds it takes from in its own `call` (torch.nn.ModuleDict).

    >>> from zkynet import nn
    >>> heads = nn.ModuleDict({"class": nn.Linear(2, 3), "box": nn.Linear(2, 4)})
    >>> list(heads), heads["box"]
    (['class', 'box'], Linear(2, 4))
    """

    def __init__(self, modules: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()):
        super().__init__(())
        self.update(modules)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise GraphError("a ModuleDict is not called itself: take a module from it by name.")

    def __getitem__(self, name: str) -> cg.Module:
        return self._items[name]

    def __setitem__(self, name: str, module: Any) -> None:
        self._items[_checked_name(name, self)] = _as_module(module, self)

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._items))

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def keys(self) -> Iterable[str]:
        return self._items.keys()

    def values(self) -> Iterable[cg.Module]:
        return self._items.values()

    def items(self) -> Iterable[tuple[str, cg.Module]]:
        return self._items.items()

    def update(self, modules: Mapping[str, Any] | ModuleDict | Iterable[tuple[str, Any]]) -> None:
        """Add modules, in place of those of the same name."""
        pairs: Any = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        for name, module in pairs:
            self[name] = module

    def pop(self, name: str) -> cg.Module:
        """Take a module out."""
        return self._items.pop(name)

    def clear(self) -> None:
        self._items.clear()


def _checked_name(name: Any, container: cg.Module) -> str:
    if not isinstance(name, str) or not name or "." in name:
        raise InputError(f"{container.functional_name} needs a name without dots for each module, but got {name!r}.")
    if hasattr(type(container), name):
        raise InputError(f"{container.functional_name} has an attribute {name!r} of its own: give the module another "
                         "name.")
    return name


class Residual(_Container):
    """y = shortcut(x) + f_n(... f_1(x)); the shortcut is x itself by default.

    He et al., "Deep residual learning for image recognition", 2016.

    Args:
        modules: modules or functions of nodes, in order.
        shortcut: a module, where the shapes of x and y differ for instance.

    Parameters: those of the modules, as "0.weight", and of the shortcut, as "shortcut.weight".

    Raises:
        ShapeError: when the two parts differ in shape (they are not broadcast).

    >>> from zkynet import nn
    >>> nn.Residual(lambda x: x * 2.0)([1.0, 2.0]).value.tolist()
    [3.0, 6.0]
    """

    _joined = False

    def __init__(self, *modules: Any, shortcut: Any = None):
        super().__init__()
        self._items = {str(i): _as_module(module, self) for i, module in enumerate(modules)}
        self.shortcut = None if shortcut is None else _as_module(shortcut, self)

    def call(self, input: Any) -> Any:
        y = input
        for layer in self._items.values():
            y = layer(y)
        around = input if self.shortcut is None else self.shortcut(input)
        if y.shape != around.shape:
            raise ShapeError(f"Residual adds two parts of the same shape, but its modules gave {tuple(y.shape)} and "
                             f"its shortcut {tuple(around.shape)}: give a shortcut= that makes them fit.")
        return around + y
