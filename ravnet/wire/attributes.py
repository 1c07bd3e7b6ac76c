"""Static attributes of operators as JSON and back: plain values, dtypes, programs, and plans of optimizers.

JSON keeps numbers' kinds apart (1, 1.0, true) and floats exact. What JSON lacks is a dict with one key that says what
it is. Nothing here is evaluated: an unknown key is refused.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zkynet.framework.avals import Aval, make_aval
from zkynet.framework.errors import InputError
from zkynet.framework.structure import Structure
from zkynet.optim import optimizers, schedules
from zkynet.optim.optimizer import Optimizer
from zkynet.optim.packing import Layout
from zkynet.optim.update import GroupPlan, Plan, Settings, plan_of

_PLAIN = (bool, int, str, type(None))
_SPECIAL = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}

# Optimizers and schedules that a graph may name.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: found for name, found in vars(optimizers).items()
    if isinstance(found, type) and issubclass(found, Optimizer) and found is not Optimizer}
SCHEDULES: dict[str, type] = {
    name: found for name, found in vars(schedules).items()
    if isinstance(found, type) and issubclass(found, schedules.Schedule) and found is not schedules.Schedule}


class AttributeCodec:
    """Encodes and decodes attribute values.

    Args:
        programs: from a structure to its number in the file, or from the number to the structure.
    """

    def __init__(self, programs: Callable[[Any], Any]):
        self.programs = programs

    # To JSON ---------------------------------------------------------------------------------------------

    def encode(self, value: Any) -> Any:
        """JSON for a value; raises InputError for what has none."""
        if value.__class__ in _PLAIN:
            return value
        if isinstance(value, float):
            return value if value - value == 0.0 else {"float": str(value)}
        if isinstance(value, (tuple, list)):
            return [self.encode(item) for item in value]
        if isinstance(value, complex):
            return {"complex": [self.encode(value.real), self.encode(value.imag)]}
        if isinstance(value, np.dtype):
            return {"dtype": value.name}
        if isinstance(value, type) and issubclass(value, np.generic):
            return {"scalar": np.dtype(value).name}
        if isinstance(value, slice):
            return {"slice": [self.encode(part) for part in (value.start, value.stop, value.step)]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, Structure):
            return {"program": self.programs(value)}
        if isinstance(value, Aval):
            return {"aval": encode_aval(value)}
        if isinstance(value, Plan):
            return {"optimizer": self._encode_plan(value)}
        if isinstance(value, schedules.Schedule) and type(value).__name__ in SCHEDULES:
            fields = {field.name: self.encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"schedule": [type(value).__name__, fields]}
        if isinstance(value, Layout):  # its tree and names follow from the plan
            return {"layout": [self.encode(part) for part in (value.shapes, value.alone, value.packed)]}
        raise InputError(f"{type(value).__name__} {value!r:.80} is no value that a stored graph can hold.")

    def _encode_plan(self, plan: Plan) -> dict[str, Any]:
        name = next((name for name, found in OPTIMIZERS.items() if found.transformation is plan.transformation), None)
        if name is None:
            raise InputError("only the optimizers of zkynet.optim can be stored with a graph, not one of your own.")
        groups = [{"count": group.count, "options": {key: self.encode(value) for key, value in group.options},
                   "schedule": self.encode(group.schedule)} for group in plan.groups]
        return {"name": name, "groups": groups,
                "settings": {key: self.encode(value) for key, value in dataclasses.asdict(plan.settings).items()}}

    # From JSON -------------------------------------------------------------------------------------------

    def decode(self, value: Any) -> Any:
        """The value of JSON; raises InputError for what `encode` does not write."""
        if value.__class__ in _PLAIN or value.__class__ is float:
            return value
        if isinstance(value, list):
            return tuple([self.decode(item) for item in value])
        if isinstance(value, dict) and len(value) == 1:
            (kind, content), = value.items()
            decode = self._kinds().get(kind)
            if decode is not None:
                return decode(content)
        raise InputError(f"{value!r:.80} is no attribute of an operator.")

    @functools.cache  # noqa: B019 - a codec lives as long as one file's decoding
    def _kinds(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "float": lambda text: _SPECIAL[text],
            "complex": lambda parts: complex(*self.decode(parts)),
            "dtype": dtype_of,
            "scalar": lambda name: dtype_of(name).type,
            "slice": lambda parts: slice(*self.decode(parts)),
            "ellipsis": lambda _: Ellipsis,
            "program": self.programs,
            "aval": decode_aval,
            "optimizer": self._decode_plan,
            "schedule": self._decode_schedule,
            "layout": lambda parts: Placing(*[self.decode(part) for part in parts]),
        }

    def _decode_schedule(self, content: Any) -> Any:
        name, fields = content
        return SCHEDULES[name](**{key: self.decode(value) for key, value in fields.items()})

    def _decode_plan(self, content: Any) -> Plan:
        groups = tuple([GroupPlan(int(group["count"]), tuple([(key, self.decode(value)) for key, value in
                                                             group["options"].items()]),
                                  self.decode(group["schedule"])) for group in content["groups"]])
        settings = Settings(**{key: self.decode(value) for key, value in content["settings"].items()})
        return plan_of(OPTIMIZERS[content["name"]].transformation, groups, settings)


def programs_in(content: Any) -> Iterator[Any]:
    """The numbers of the programs that the JSON of attributes names."""
    if isinstance(content, dict) and content.keys() == {"program"}:
        yield content["program"]
    elif isinstance(content, (dict, list)):
        for item in content.values() if isinstance(content, dict) else content:
            yield from programs_in(item)


class Placing(NamedTuple):
    """What a file says of a Layout."""

    shapes: Any
    alone: Any
    packed: Any

    def layout(self, plan: Plan) -> Layout:
        """The Layout of this plan's state, whose tree depends on the number of parameters alone."""
        count = sum(group.count for group in plan.groups)
        state = jax.eval_shape(plan.init, {i: jax.ShapeDtypeStruct((), jnp.float32) for i in range(count)})
        scalars = Layout.of(state)
        leaves = [*self.alone, *(number for group in self.packed for number in group)]
        numbers = [*leaves, *(size for shape in self.shapes for size in shape)]
        if (any(number.__class__ is not int or number < 0 for number in numbers)
                or sorted(leaves) != list(range(len(scalars.names))) or len(self.shapes) != len(leaves)):
            raise InputError("the state of an optimizer is not laid out as its rule says.")
        return dataclasses.replace(scalars, shapes=self.shapes, alone=self.alone, packed=self.packed)


# Avals ---------------------------------------------------------------------------------------------------

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
          "float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2")


def dtype_of(name: Any) -> np.dtype:
    """The dtype of this name; raises InputError for names that are none."""
    if name not in DTYPES:
        raise InputError(f"{name!r:.40} is no dtype of a stored graph.")
    return np.dtype(getattr(jnp, "bool_" if name == "bool" else name))


def encode_aval(aval: Any) -> list[Any]:
    """["float32", [2, 3]], with true at the end for a weak type; a list of those for a tuple of outputs."""
    if isinstance(aval, tuple):
        return [encode_aval(one) for one in aval]
    found: list[Any] = [aval.dtype.name, list(aval.shape)]
    return [*found, True] if aval.weak_type else found


def decode_aval(content: Sequence[Any]) -> Any:
    if content and isinstance(content[0], list):
        return tuple([decode_aval(one) for one in content])
    name, shape, *weak = content
    if not all(type(n) is int and n >= 0 for n in shape) or weak not in ([], [True]):
        raise InputError(f"{content!r:.80} is no shape and dtype.")
    return make_aval(tuple(shape), dtype_of(name), bool(weak))
