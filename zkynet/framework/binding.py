"""What an operator is called with: inputs first, then static attributes, each by position or by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .attributes import freeze, interned, tells_apart
from .errors import InputError

if TYPE_CHECKING:
    from .operator import Operator


def bind(op: Operator, args: tuple, attributes: dict[str, Any]) -> tuple[tuple, tuple]:
    """The inputs and the interned attributes."""
    op._check_ready()
    if op.variadic:
        if args and isinstance(args[0], (list, tuple)):
            args, extra = tuple(args[0]), args[1:]
        else:
            extra = ()
    elif len(args) < len(op.inputs):
        args, attributes = _inputs_by_name(op, args, attributes)
        extra = ()
    else:
        args, extra = args[:len(op.inputs)], args[len(op.inputs):]
    return args, bound_attributes(op, extra, attributes)


def bound_attributes(op: Operator, extra: tuple, attributes: dict[str, Any]) -> tuple:
    """The interned attributes, by position and name; remembered for plain values, as most calls repeat."""
    key: list[Any] = []
    for value in extra:
        if not tells_apart(value):
            return checked_attributes(op, extra, attributes)
        key += value.__class__, value
    for name, value in attributes.items():
        if not tells_apart(value):
            return checked_attributes(op, extra, attributes)
        key += name, value.__class__, value
    remembered = tuple(key)
    found = op._bound.get(remembered)
    if found is None:
        found = op._bound[remembered] = checked_attributes(op, extra, attributes)
    return found


def checked_attributes(op: Operator, extra: tuple, attributes: dict[str, Any]) -> tuple:
    """The interned attributes; raises for those that the operator does not have."""
    values = dict(op.attributes)
    values.update(zip(op.attributes, extra))  # noqa: B905 - the length is checked below
    unknown = [name for name in attributes if name not in values]
    if unknown or len(extra) > len(op.attributes):
        wrong = ", ".join(unknown) or f"{len(extra)} positional attributes"
        known = ", ".join(op.attributes) or "none"
        raise InputError(f"operator {op.name} does not take {wrong}; its attributes are: {known}.")
    values.update(attributes)
    return interned([freeze(value, name, op) for name, value in values.items()])


def _inputs_by_name(op: Operator, args: tuple, attributes: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """All inputs, and the attributes that are left."""
    inputs, attributes = list(args), dict(attributes)
    for variable in op.inputs[len(inputs):]:
        if variable.short_name not in attributes:
            raise InputError(
                f"operator {op.name} is missing its input {variable.short_name!r}: it takes "
                f"({', '.join(v.short_name for v in op.inputs)}) but got {len(args)} inputs.")
        inputs.append(attributes.pop(variable.short_name))
    return tuple(inputs), attributes
