"""The layers of a model: found by attribute, named by class and number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .layer import Layer, Unit


def parts(owner: Layer) -> list[Layer]:
    """The layers that a layer holds, also in lists, tuples and dicts, each once, in the order of its attributes."""
    found: dict[int, Layer] = {}
    if not isinstance(owner, Unit):
        for value in vars(owner).values():
            for layer in _within(value):
                found.setdefault(id(layer), layer)
    return list(found.values())


def _within(value: Any) -> Iterator[Layer]:
    if isinstance(value, Layer):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _within(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _within(item)


def units(owner: Layer, _seen: set[int] | None = None) -> list[Unit]:
    """All layers below one (itself, if it is one) that are modules of zkynet, each once."""
    seen = {id(owner)} if _seen is None else _seen
    if isinstance(owner, Unit):
        return [owner]
    found: list[Unit] = []
    for layer in parts(owner):
        if id(layer) not in seen:
            seen.add(id(layer))
            found += units(layer, seen)
    return found


def assign_names(owner: Layer, prefix: str = "", _seen: set[int] | None = None) -> None:
    """Name the layers below one: Dense_1, Dense_2, CustomLayer1_1, and within that CustomLayer1_1_Dense_1.

    A layer that is held at two places keeps the name of the first.
    """
    seen = {id(owner)} if _seen is None else _seen
    counts: Counter[str] = Counter()
    for layer in parts(owner):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        kind = type(layer).__name__
        counts[kind] += 1
        layer.name = f"{prefix}{kind}_{counts[kind]}"
        assign_names(layer, f"{layer.name}_", seen)
