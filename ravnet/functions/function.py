"""What a ravop function is: a name, its inputs and parameters, and a body on zkynet's operators.

The signature of the body is the specification. What comes before `/` are inputs (arrays), the rest parameters, whose
annotations (`kinds`) say what is accepted. A default makes either optional; `*arrays` takes any number of inputs.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, get_type_hints

from zkynet.framework import cg, op
from zkynet.framework.errors import InputError

from .kinds import SEED, Kind, plain

REQUIRED = inspect.Parameter.empty
# What any op of a script may carry besides its own arguments: nothing that its value depends on.
IGNORED = ("name",)
OpInput = Annotated[Any, "op"]  # an optional input that only an op can be by position, never a number or a list


@dataclass(frozen=True)
class Input:
    """An array that a function takes.

    Attributes:
        never: types that are meant for a later parameter when they come by position; ops are not.
    """

    name: str
    required: bool = True
    never: type | tuple[type, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A plain value that a function takes."""

    name: str
    kind: Kind
    default: Any = REQUIRED


@dataclass(frozen=True)
class Bound:
    """Arguments in their places.

    Attributes:
        inputs: in the order of the function's inputs. Parameters that were given as ops of unknown value come last.
        params: plain values, which JSON can hold; {"$input": 2} stands for the value of input 2.
        late: it runs when values are there, by `call_late`.
        outputs: how many results it has.
    """

    inputs: tuple[Any, ...]
    params: dict[str, Any]
    late: bool
    outputs: int


def is_node(value: Any) -> bool:
    """Whether a value is a node of a graph."""
    return isinstance(value, cg.Node)


@dataclass(frozen=True, eq=False)
class Function:
    """One function of ravop.

    Attributes:
        body: the mathematics. It takes the inputs by position and the parameters by keyword, and a random function its
            key before all; it returns a node or a tuple of nodes, or arrays if it runs late.
        meaning, numpy, notes: what the documentation says; `numpy` is the counterpart that users know.
        late: the shape of the result depends on values, or the work is not an array program: it takes NumPy arrays.
        late_when: the same, decided by the number of inputs and the parameters of a call.
        random: it draws numbers, from `seed` or a key that the caller supplies.
        check: raises for arrays and parameters that are wrong in a way that a compiled program cannot notice.
        results: how many results it has, for a number of inputs and parameters.
        variadic: the name of the inputs, where there may be any number, also in one list; a parameter `listed` is told
            whether they were.
        extra: unknown parameters are passed on (foreach).
        supplied: without inputs, it takes what the participants of a federated graph contribute.
    """

    name: str
    body: Callable[..., Any]
    meaning: str
    numpy: str
    notes: str = ""
    late: bool = False
    random: bool = False
    late_when: Callable[[int, Mapping[str, Any]], bool] | None = None
    check: Callable[..., None] | None = None
    results: Callable[[int, Mapping[str, Any]], int] | None = None
    inputs: tuple[Input, ...] = ()
    params: tuple[Parameter, ...] = ()
    variadic: str | None = None
    extra: bool = False
    supplied: bool = False

    def call(self, *inputs: Any, key: Any = None, **params: Any) -> Any:
        """The result for inputs that are nodes (arrays, for a function that runs late), as a node or several.

        Args:
            key: of a random function, a key node; instead of `seed`, an integer.

        Raises:
            InputError: for an unknown or missing argument, or one of a wrong type.

        >>> from ravnet.functions import FUNCTIONS
        >>> from zkynet.framework import op
        >>> FUNCTIONS["sum"].call(op.ones((2, 3)), axis="0", keepdims="True").value.tolist()
        [[2.0, 2.0, 2.0]]
        """
        return self.apply(self.bind(inputs, params), key)

    def apply(self, bound: Bound, key: Any = None) -> Any:
        """The result for arguments in their places."""
        for value, name in zip(bound.inputs, self._input_names(len(bound.inputs)), strict=True):
            if is_node(value) == bound.late:
                raise InputError(
                    f"{self.name}: the shape of the result depends on values, so it takes arrays; run it by call_late."
                    if bound.late else f"{self.name}: {name} must be a node, but got {described(value)}.")
        if not self.random:
            return self.body(*bound.inputs, **bound.params)
        params = dict(bound.params)
        seed = params.pop("seed", None)
        if key is None and seed is None:
            raise InputError(f"{self.name} draws random numbers: pass seed=, an integer, or key=, a key node.")
        return self.body(op.random_key(seed) if key is None else key, *bound.inputs, **params)

    def outputs(self, params: Mapping[str, Any], inputs: int = 0) -> int:
        """How many results it has, for these parameters and this number of inputs."""
        return 1 if self.results is None else self.results(inputs, params)

    # Binding ------------------------------------------------------------------------------------------------

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None,
             is_op: Callable[[Any], bool] = is_node, value: Callable[[Any], Any] | None = None) -> Bound:
        """Arguments as scripts write them, by position and keyword, in their places.

        Positions fill what no keyword names: `where(a, b, condition=c)`. What is no input becomes a parameter.

        Args:
            is_op: tells the ops of the caller from other values.
            value: gives the value of an op that is known now (an array or a number), else None; for parameters.
        """
        if not kwargs and not self.variadic and len(args) == len(self.inputs) and not self._optional:
            return self.bound(args)
        given = dict(kwargs or {})
        if given:
            for name in IGNORED:
                if name not in self._kinds:
                    given.pop(name, None)
        inputs = self._named_inputs(given) if given else {}
        if self.variadic:
            if len(args) == 1 and isinstance(args[0], (list, tuple)):
                args = args[0]
                if "listed" in self._kinds:
                    given["listed"] = True
            arrays = [*inputs.values(), *_flattened(args, is_op)]
        else:
            self._place(args, inputs, given, is_op)
            arrays = self._ordered(inputs)
        return self.bound(arrays, *self._known(given, len(arrays), is_op, value))

    def bound(self, inputs: Sequence[Any], params: Mapping[str, Any] | None = None, ops: Sequence[Any] = ()) -> Bound:
        """As `bind`, for inputs that are in their places; `ops` are what stands for parameters."""
        if not self._fewest <= len(inputs) <= self._most:
            self._wrong_count(len(inputs))
        for number, item in enumerate(inputs):
            if item is None or isinstance(item, (str, dict, set)):
                raise self._wrong(f"{self._input_names(len(inputs))[number]} must be an array, but got "
                                  f"{described(item)}.")
        found = self._read(params or {})
        missing = [p.name for p in self.params if p.default is REQUIRED and p.name not in found]
        if missing:
            raise self._wrong(f"the parameter {missing[0]!r} is missing.")
        late = self.late or bool(ops) or (self.late_when is not None and self.late_when(len(inputs), found))
        return Bound((*inputs, *ops), found, late, self.outputs(found, len(inputs)))

    def _known(self, params: Mapping[str, Any], count: int, is_op: Callable[[Any], bool],
               value: Callable[[Any], Any] | None) -> tuple[dict[str, Any], list[Any]]:
        """Parameters with values in place of ops, as far as they are known, and the ops of which they are not."""
        found, ops = dict(params), []
        for name, item in params.items():
            if is_op(item):
                found[name] = value(item) if value is not None else None
                if found[name] is None:
                    found[name] = {"$input": count + len(ops)}
                    ops.append(item)
        return found, ops

    def _named_inputs(self, given: dict[str, Any]) -> dict[str, Any]:
        """Inputs given by keyword, taken out of `given`."""
        names = [slot.name for slot in self.inputs if slot.name in given]
        return {name: item for name in names if (item := given.pop(name)) is not None}

    def _place(self, args: Sequence[Any], inputs: dict[str, Any], given: dict[str, Any],
               is_op: Callable[[Any], bool]) -> None:
        """Positional arguments into the places that no keyword has taken."""
        slots = [slot for slot in self.inputs if slot.name not in inputs]
        rest: list[Any] = []
        for item in args:
            slot = next((slot for slot in slots if is_op(item) or not isinstance(item, slot.never)), None)
            if slot is None:
                rest.append(item)
                continue
            slots.remove(slot)
            if item is not None or slot.required:
                inputs[slot.name] = item
        free = [p for p in self.params if p.name not in given]
        if len(rest) > 1 and free and free[0].kind.many and all([_is_int(item) for item in rest]):
            rest = [rest]  # x.reshape(2, 3)
        if len(rest) > len(free):
            raise self._wrong(f"got {len(rest) - len(free)} arguments too many.")
        given.update(zip([p.name for p in free], rest, strict=False))

    def _ordered(self, inputs: Mapping[str, Any]) -> list[Any]:
        """The inputs in order; the optional ones that are missing must be the last."""
        names = [slot.name for slot in self.inputs]
        if len(inputs) == len(names):
            return [inputs[name] for name in names]
        count = max([names.index(name) + 1 for name in inputs], default=0)
        missing = [slot.name for i, slot in enumerate(self.inputs)
                   if (i < count or slot.required) and slot.name not in inputs]
        if missing:
            raise self._wrong(f"the input {missing[0]!r} is missing.")
        return [inputs[name] for name in names[:count]]

    def _read(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as plain values."""
        found = {}
        for name, item in params.items():
            parameter = self._kinds.get(name)
            if parameter is None and not self.extra:
                close = difflib.get_close_matches(name, self._kinds, 1)
                meant = f" Did you mean {close[0]!r}?" if close else ""
                raise self._wrong(f"there is no parameter {name!r}.{meant}")
            if parameter is None:
                found[name] = item if isinstance(item, (str, dict)) else plain(item)
            elif is_place(item):
                found[name] = item
            elif item is not None or parameter.kind.takes_none:
                found[name] = self._read_one(parameter, item)
        return found

    def _read_one(self, parameter: Parameter, item: Any) -> Any:
        try:
            return parameter.kind.read(item)
        except InputError as error:
            raise self._wrong(f"{parameter.name}: {error}") from None
        except (ValueError, TypeError, OverflowError, KeyError, RecursionError):
            raise self._wrong(f"{parameter.name} must be {parameter.kind.text}, but got {described(item)}.") from None

    # Descriptions -------------------------------------------------------------------------------------------

    @cached_property
    def _kinds(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.params}

    @cached_property
    def _optional(self) -> bool:
        return any(not slot.required for slot in self.inputs)

    @cached_property
    def _fewest(self) -> int:
        return len([slot for slot in self.inputs if slot.required])

    @cached_property
    def _most(self) -> float:
        return float("inf") if self.variadic else len(self.inputs)

    @cached_property
    def usage(self) -> str:
        """How it is called: 'sum(x, axis=None, keepdims=False)'."""
        inputs = [slot.name for slot in self.inputs if slot.required] + [f"*{self.variadic}"] * bool(self.variadic)
        params = [p.name for p in self.params if p.default is REQUIRED]
        optional = [f"{slot.name}=None" for slot in self.inputs if not slot.required]
        optional += [f"{p.name}={p.default!r}" for p in self.params if p.default is not REQUIRED]
        return f"{self.name}({', '.join([*inputs, *params, *optional, *['**params'] * self.extra])})"

    def _input_names(self, count: int) -> list[str]:
        names = [slot.name for slot in self.inputs][:count]
        return names + [f"{self.variadic or 'input'}[{i}]" for i in range(count - len(names))]

    def _wrong_count(self, count: int) -> None:
        missing = [slot.name for slot in self.inputs if slot.required][count:]
        raise self._wrong(f"the input {missing[0]!r} is missing." if missing else
                          f"got {count} inputs, but takes {len(self.inputs)}.")

    def _wrong(self, message: str) -> InputError:
        return InputError(f"{self.name}: {message} It takes {self.usage}.")


def function(meaning: str, numpy: str, name: str | None = None, **options: Any) -> Callable[[Callable], Function]:
    """Make a Function of a body. Its name is that of the body, without a trailing underscore."""

    def made(body: Callable[..., Any]) -> Function:
        hints = get_type_hints(body, include_extras=True)
        inputs, params, variadic, extra = [], [], None, False
        for item in list(inspect.signature(body).parameters.values())[bool(options.get("random")):]:
            if item.kind is item.POSITIONAL_ONLY:
                required = item.default is REQUIRED
                inputs.append(Input(item.name, required, object if hints.get(item.name) == OpInput else ()))
            elif item.kind is item.VAR_POSITIONAL:
                variadic = item.name
            elif item.kind is item.VAR_KEYWORD:
                extra = True
            else:
                kind = next(part for part in hints[item.name].__metadata__ if isinstance(part, Kind))
                params.append(Parameter(item.name, kind, item.default))
        if options.get("random"):
            params.append(Parameter("seed", SEED, None))
        found = name or getattr(body, "__name__", "").rstrip("_")
        return Function(found, body, meaning, numpy, inputs=tuple(inputs), params=tuple(params), variadic=variadic,
                        extra=extra, **options)

    return made


def _flattened(args: Sequence[Any], is_op: Callable[[Any], bool]) -> list[Any]:
    """Arrays, also those within lists of ops."""
    found: list[Any] = []
    for item in args:
        within = isinstance(item, (list, tuple)) and any([is_op(part) for part in item])
        found += item if within else [item]
    return found


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_place(value: Any) -> bool:
    """Whether a parameter stands for the value of an input."""
    return isinstance(value, dict) and list(value) == ["$input"]


def described(value: Any) -> str:
    """A value in a message."""
    return "None" if value is None else f"{type(value).__name__} {str(value)[:60]!r}"
