"""The zkynet Module that stands for a flax module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from ...framework import config
from ...framework.avals import aval_of
from ...framework.errors import InputError
from ...framework.leaves import as_node, grounded
from ...framework.module import Module
from ...framework.random_stream import RandomStream
from ...framework.session import current_session
from ...framework.templates import Held, Parameter, State, Variable, as_array
from .plan import Plan, Source, make_plan
from .streams import FlaxStream

# Arguments by which flax modules are told whether they train, and what says that they do.
_MODES = {"train": True, "training": True, "is_training": True, "deterministic": False, "use_running_average": False}

Mode = Callable[[bool], Mapping[str, Any]]


class Statistic(State):
    """A running statistic: it enters calls as it is, not in the precision in force, where small steps would be lost."""

    __slots__ = ()


class FlaxModule(Module):
    """A flax module as a zkynet Module; made by `from_nnx` and `from_linen`.

    Parameters and states have flax's paths as names ("layers.0.kernel"). A call makes one node, named after the flax
    class, or the nodes of its inside (`open=True`).
    """

    def __init__(self, source: Source, held: Sequence[Held], inputs: Sequence[str], opened: bool):
        self._source = source
        self._held = {one.short_name: one for one in held}
        super().__init__([Variable(name) for name in inputs], [one for one in held if isinstance(one, Parameter)])
        self._opened = opened
        self._plans = _Plans()

    @property
    def functional_name(self) -> str:
        return self._source.name

    def _own(self, kind: type) -> Iterator[tuple[str, Any]]:
        for name, held in self._held.items():
            if isinstance(held, kind):
                yield name, held

    def call(self, *inputs: Any, **named: Any) -> Any:
        leaves, tree = jax.tree.flatten((inputs, named))
        key = (self.training, config.compute_dtype() if config.casts else None, tree, *[leaf.aval for leaf in leaves])
        plan: Plan | None = self._plans.get(key)
        held = list(self._held.values())
        if plan is None:
            avals = [h.aval if isinstance(h, RandomStream) else _operand(h).aval for h in held]
            plan = self._plans[key] = make_plan(self._source, self.training, tree, avals,
                                                [leaf.aval for leaf in leaves], self._opened)
        operands = [_operand(held[i]) for i in plan.operands]
        outputs, news = plan.nodes([*operands, *[leaves[i] for i in plan.inputs]])
        for index, new in zip(plan.updated, news, strict=True):
            held[index].value = new
        return outputs

    def try_on(self, example: Sequence[Any], training: bool = False) -> None:
        """Trace it with these inputs, so that what does not fit is found now."""
        leaves, tree = jax.tree.flatten((tuple(example), {}))
        make_plan(self._source, training, tree, [h.aval for h in self._held.values()],
                  [aval_of(leaf) for leaf in leaves], False)

    def to_flax(self) -> Any:
        """The present values in flax's form: an nnx module, in evaluation or training mode as this one is; for linen
        the dictionary of variables.

        >>> import numpy as np
        >>> from flax import nnx
        >>> from zkynet.interop.flax import from_nnx
        >>> net = from_nnx(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
        >>> net.param("kernel").value = np.ones((2, 3))
        >>> net.to_flax()(np.ones((1, 2))).tolist()
        [[2.0, 2.0, 2.0]]
        """
        return self._source.export(self.training, [held.value for held in self._held.values()])


class _Plans(dict):
    """Plans by mode and signature; copies of a module share them, as they hold no values."""

    def __deepcopy__(self, memo: dict) -> _Plans:
        return self


def _operand(held: Held) -> Any:
    """What enters the node: a fresh key of a stream; flax's own streams are advanced by what draws from them."""
    if isinstance(held, RandomStream) and not isinstance(held, FlaxStream):
        return held.draw()
    enter = grounded if isinstance(held, Statistic) else as_node
    return enter(held, current_session.get(), held)


# What both kinds of flax module need --------------------------------------------------------------------------


def parameters_of(module: Any) -> list[inspect.Parameter]:
    """The parameters of a flax module's __call__, without self."""
    if not callable(module):
        raise InputError(f"{type(module).__name__} has no __call__, so there is nothing to run.")
    return list(inspect.signature(module).parameters.values())


def mode_of(module: Any, count: int, given: Mode | None) -> Mode:
    """The keyword arguments of a call in training and in evaluation: those given, or those of the usual names, as far
    as the first `count` parameters (the inputs) leave them and the module has not fixed them as attributes."""
    if given is not None:
        return given
    found = {p.name: _MODES[p.name] for p in parameters_of(module)[count:]
             if p.name in _MODES and not isinstance(getattr(module, p.name, None), bool)}
    return lambda training: {name: on if training else not on for name, on in found.items()}


def input_names(module: Any, count: int | None) -> list[str]:
    """Names of the inputs: the parameters of __call__; `count` of them, or else those without a default."""
    positional = [p for p in parameters_of(module) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters_of(module) if p.kind is p.VAR_POSITIONAL), None)
    if count is None:
        names = [p.name for p in positional if p.default is p.empty and p.name not in _MODES]
        return names or ["x"]
    names = [p.name for p in positional[:count]]
    if len(names) < count and rest is None:
        raise InputError(f"{type(module).__name__} takes {len(names)} inputs ({', '.join(names)}), but {count} example "
                         "inputs came.")
    return names + [f"{rest}_{i}" for i in range(count - len(names))]


def example_arrays(example: Sequence[Any]) -> tuple[tuple[Any, ...], str]:
    """The example inputs as arrays, and in words."""
    arrays = jax.tree.map(_array, tuple(example))
    return arrays, ", ".join(map(repr, map(aval_of, jax.tree.leaves(arrays))))


def _array(value: Any) -> Any:
    return as_array(value.value if hasattr(value, "root") else value, "an example input")
