"""What a flax module computes for inputs of given shapes: its jaxpr, what it reads of the module, and what it changes.

Flax's Python runs once for each mode (training or not) and each signature of the inputs; after that a call makes one
node, or the jaxpr's nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
from jax.extend import core

from ...framework.avals import Aval
from ...framework.errors import InputError, ShapeError, ZkynetError
from .opened import Opened, fixed_operator


class Source(Protocol):
    """A flax module without its values."""

    name: str
    example: str  # the inputs it was made with, for messages

    def run(self, training: bool, values: Sequence[Any], args: Any, named: Any) -> tuple[Any, list[Any]]:
        """The outputs, and for each held value its new one, or None where it stayed the same."""
        ...

    def export(self, training: bool, values: Sequence[Any]) -> Any:
        """What flax works with, holding these values."""
        ...


class Plan(NamedTuple):
    """A call's nodes: those of `operands` and of the inputs go in, outputs and new values of `updated` come out."""

    make: Any
    operands: tuple[int, ...]
    inputs: tuple[int, ...]
    updated: tuple[int, ...]
    tree: Any

    def nodes(self, operands: list[Any]) -> tuple[Any, list[Any]]:
        made = self.make(operands)
        count = self.tree.num_leaves
        return self.tree.unflatten(made[:count]), made[count:]


def make_plan(source: Source, training: bool, tree: Any, held: Sequence[Aval], inputs: Sequence[Aval],
              opened: bool) -> Plan:
    found: dict[str, Any] = {}

    def flat(*arrays: Any) -> list[Any]:
        args, named = tree.unflatten(arrays[len(held):])
        outputs, news = source.run(training, arrays[:len(held)], args, named)
        leaves, found["tree"] = jax.tree.flatten(outputs)
        found["updated"] = tuple([i for i, new in enumerate(news) if new is not None])
        return [*leaves, *[news[i] for i in found["updated"]]]

    try:
        closed = jax.make_jaxpr(flat)(*[aval.struct for aval in (*held, *inputs)])
    except ZkynetError:
        raise
    except Exception as error:
        raise _does_not_fit(source, inputs, error) from error
    if not found["tree"].num_leaves:
        raise InputError(f"{source.name} returned no array, so there is nothing to compute.")
    pruned, used = _pruned(closed)
    make = Opened(pruned, source.name) if opened else _Single(pruned, source.name)
    count = len(held)
    return Plan(make, tuple([i for i in used if i < count]), tuple([i - count for i in used if i >= count]),
                found["updated"], found["tree"])


def _pruned(closed: Any) -> tuple[Any, list[int]]:
    """The jaxpr without what no output needs, and which inputs are left: a call that draws nothing must not advance
    a stream of keys."""
    jaxpr = closed.jaxpr
    needed = {id(atom) for atom in jaxpr.outvars}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or any(id(variable) in needed for variable in eqn.outvars):
            kept.append(eqn)
            needed.update(map(id, eqn.invars))
    used = [i for i, variable in enumerate(jaxpr.invars) if id(variable) in needed]
    smaller = jaxpr.replace(invars=[jaxpr.invars[i] for i in used], eqns=kept[::-1],
                            debug_info=jaxpr.debug_info._replace(arg_names=None))
    return core.ClosedJaxpr(smaller, closed.consts), used


class _Single:
    """The whole module as one operator, whose gradient is JAX's of the jaxpr."""

    def __init__(self, closed: Any, name: str):
        run = core.jaxpr_as_fun(closed)
        single = len(closed.jaxpr.outvars) == 1

        def body(*inputs: Any) -> Any:
            outputs = run(*inputs)
            return outputs[0] if single else tuple(outputs)

        self.operator = fixed_operator(body, name, closed.in_avals)

    def __call__(self, operands: list[Any]) -> list[Any]:
        made = self.operator(*operands)
        return list(made) if isinstance(made, tuple) else [made]


def _does_not_fit(source: Source, inputs: Sequence[Aval], error: Exception) -> ZkynetError:
    came = ", ".join(map(repr, inputs)) or "no arrays"
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    kind = type(error).__name__
    if kind in ("ScopeParamNotFoundError", "ScopeCollectionNotFound", "ScopeVariableNotFoundError"):
        return InputError(f"{source.name} misses some of its variables: {reason} Pass everything that init() returned.")
    if kind == "InvalidRngError":
        return InputError(f"{source.name} draws from a stream of random numbers that it was not given: {reason}. Name "
                          'its streams: from_linen(..., rngs={"dropout": 0}).')
    made = f" It was made with {source.example}." if source.example not in ("", came) else ""
    return ShapeError(f"{source.name} does not take inputs {came}: {kind}: {reason}{made}")
