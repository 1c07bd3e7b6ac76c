"""A jaxpr as zkynet's nodes: flattened once, then built anew in every call, equation by equation.

Nested calls are inlined. An equation whose primitive has no counterpart, or whose counterpart would give another shape
or dtype, is one node of its own, and so is a function with a gradient rule of its own (`custom_jvp`, `custom_vjp`):
inlining it would lose the rule. JAX's own activations with such rules are recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...framework import op
from ...framework.errors import ZkynetError
from ...framework.leaves import as_node
from ...framework.nodes import Node
from ...framework.operator import FunctionOperator
from ...framework.session import current_session
from ...framework.templates import Variable
from .primitives import BUILDERS

# Functions that a jaxpr keeps by name: ours is used where the jaxpr inside is the one that JAX's own makes.
_NAMED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu": (jax.nn.relu, op.relu), "relu6": (jax.nn.relu6, op.relu6), "silu": (jax.nn.silu, op.silu),
    "logaddexp": (jnp.logaddexp, op.logaddexp),
}
_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr"}
_KEEPING = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


class Known(NamedTuple):
    """A literal of the jaxpr."""

    value: Any
    aval: Any

    @property
    def operand(self) -> Any:
        """A Python number, which takes the dtype of what it meets; arrays and NaNs stay as they are."""
        array = self.array
        return array if array.shape or np.isnan(array) else array.item()

    @property
    def array(self) -> np.ndarray:
        return np.asarray(self.value, self.aval.dtype)


class Equation(NamedTuple):
    """An equation over slots instead of variables."""

    eqn: Any
    inputs: tuple[Any, ...]  # slots, or literals
    outputs: tuple[int, ...]
    named: Callable[..., Any] | None  # the operator that the whole call is, where it is recognised


class Flat:
    """A closed jaxpr without nested calls, as equations over slots: inputs first, then constants."""

    def __init__(self, closed: Any):
        self.equations: list[Equation] = []
        self.avals: list[Any] = []
        self.constants = list(closed.consts)
        self.jaxpr = closed.jaxpr
        names: dict[Any, Any] = {}
        for variable in (*closed.jaxpr.invars, *closed.jaxpr.constvars):
            names[variable] = self._slot(variable)
        self.outputs = self._inline(closed.jaxpr, names)

    def _slot(self, variable: Any) -> int:
        self.avals.append(variable.aval)
        return len(self.avals) - 1

    def _inline(self, jaxpr: Any, names: dict[Any, Any]) -> list[Any]:
        def read(atom: Any) -> Any:
            return Known(atom.val, atom.aval) if isinstance(atom, core.Literal) else names[atom]

        for eqn in jaxpr.eqns:
            inputs = tuple([read(atom) for atom in eqn.invars])
            named = _recognised(eqn)
            inner = eqn.params.get(_INLINED.get(eqn.primitive.name, ""))
            if named is None and inner is not None:
                inside = dict(zip(inner.jaxpr.invars, inputs, strict=True))
                for variable, value in zip(inner.jaxpr.constvars, inner.consts, strict=True):
                    inside[variable] = Known(value, variable.aval)
                outputs = self._inline(inner.jaxpr, inside)
            else:
                outputs = [self._slot(variable) for variable in eqn.outvars]
                self.equations.append(Equation(eqn, inputs, tuple(outputs), named))
            names.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]


def _recognised(eqn: Any) -> Callable[..., Any] | None:
    """Our operator for a call of one of JAX's named functions; None when it only has the name."""
    field = _KEEPING.get(eqn.primitive.name) or _INLINED.get(eqn.primitive.name)
    theirs, ours = _NAMED.get(_name(eqn), (None, None))
    if theirs is None or field is None or len(eqn.outvars) != 1:
        return None
    avals = [atom.aval for atom in eqn.invars]
    if not all(jnp.issubdtype(aval.dtype, jnp.floating) for aval in avals):
        return None
    (judge,) = jax.make_jaxpr(lambda *x: theirs(*x))(*[
        jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]).jaxpr.eqns or (None,)
    if judge is None or judge.primitive is not eqn.primitive:
        return None
    return ours if str(judge.params[field]) == str(eqn.params[field]) else None


def fixed_operator(body: Callable[..., Any], name: str, avals: Sequence[Any]) -> FunctionOperator:
    """An operator for inputs of just these avals; integers have no gradient, and must stay integers."""
    inputs = [Variable(f"x{i}", differentiable=jnp.issubdtype(aval.dtype, jnp.inexact)) for i, aval in enumerate(avals)]
    return FunctionOperator(body, name, inputs, {}, variadic=False)


# Building ---------------------------------------------------------------------------------------------------

# How one equation becomes nodes: the builder, its operands (slots or fixed values), the slots that it fills.
class Step(NamedTuple):
    build: Callable[..., Any]
    operands: tuple[Any, ...]
    outputs: tuple[int, ...]



class Opened:
    """The nodes of a jaxpr. Which operator stands for which equation is decided in the first call."""

    def __init__(self, closed: Any, name: str):
        self.name = name
        self.flat = Flat(closed)
        self.steps: list[Step] | None = None

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        session = current_session.get()
        values: list[Any] = [as_node(value, session, self) for value in (*inputs, *self.flat.constants)]
        values += [None] * (len(self.flat.avals) - len(values))
        if self.steps is None:
            self.steps = self._decide(values)
        else:
            for build, operands, outputs in self.steps:
                made = build(*[values[o] if o.__class__ is int else o.value for o in operands])
                _fill(values, outputs, made)
        return [value.operand if isinstance(value, Known) else values[value] for value in self.flat.outputs]

    def _decide(self, values: list[Any]) -> list[Step]:
        steps: list[Step] = []
        makers = {slot: equation for equation in self.flat.equations for slot in equation.outputs}
        for equation in self.flat.equations:
            if all(_is_key(self.flat.avals[slot]) for slot in equation.outputs):
                continue  # random keys are no arrays: whoever uses one makes it
            step = _translated(equation, values, self.flat)
            if step is None:
                alone = Alone(equation, makers, self.flat)
                step = Step(alone.operator, alone.sources, alone.outputs)
                _fill(values, alone.outputs, alone.operator(*[values[slot] for slot in alone.sources]))
            steps.append(step)
        return steps


def _fill(values: list[Any], slots: Sequence[int], made: Any) -> None:
    for slot, node in zip(slots, made if isinstance(made, tuple) else (made,), strict=True):
        values[slot] = node


def _is_key(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jax.dtypes.extended)


def _translated(equation: Equation, values: list[Any], flat: Flat) -> Step | None:
    """The step with our operators, tried out: it must give the shape and dtype of the equation."""
    if len(equation.outputs) != 1:
        return None
    aval = flat.avals[equation.outputs[0]]
    params = {**equation.eqn.params, "out_dtype": aval.dtype}
    build = equation.named or _builder(equation.eqn.primitive.name, params)
    if build is None:
        return None
    operands = tuple([_Fixed(i.operand) if isinstance(i, Known) else i for i in equation.inputs])
    given = [o.value if isinstance(o, _Fixed) else values[o] for o in operands]
    if any(value is None for value in given):
        return None
    try:
        node = build(*given)
    except (ZkynetError, AttributeError):  # a literal where the operator wants an array, or an argument it refuses
        return None
    if not isinstance(node, Node) or node.shape != tuple(aval.shape) or node.dtype != aval.dtype:
        return None
    values[equation.outputs[0]] = node
    return Step(build, operands, equation.outputs)


def _builder(name: str, params: Any) -> Callable[..., Any] | None:
    builder = BUILDERS.get(name)
    return None if builder is None else lambda *operands: builder(operands, params)


class _Fixed(NamedTuple):
    value: Any


class Alone:
    """An equation as an operator of its own, together with those that make the random keys it uses.

    Its body binds the primitive, and its gradient is that of JAX.
    """

    def __init__(self, equation: Equation, makers: dict[int, Equation], flat: Flat):
        self.equations = self._with_keys(equation, makers, flat)
        own = {slot for e in self.equations for slot in e.outputs}
        used = [i for e in self.equations for i in e.inputs if not isinstance(i, Known) and i not in own]
        self.sources: tuple[int, ...] = tuple(dict.fromkeys(used))
        self.outputs = tuple([slot for slot in equation.outputs if not _is_key(flat.avals[slot])])
        self.runs = [_alone(e.eqn, flat.jaxpr) for e in self.equations]
        self.operator = fixed_operator(self.body, _name(equation.eqn), [flat.avals[slot] for slot in self.sources])

    def _with_keys(self, equation: Equation, makers: dict[int, Equation], flat: Flat) -> list[Equation]:
        found: list[Equation] = []

        def visit(one: Equation) -> None:
            for source in one.inputs:
                if not isinstance(source, Known) and _is_key(flat.avals[source]) and makers[source] not in found:
                    visit(makers[source])
            found.append(one)

        visit(equation)
        return found

    def body(self, *arrays: Any) -> Any:
        values: dict[int, Any] = dict(zip(self.sources, arrays, strict=True))
        for equation, run in zip(self.equations, self.runs, strict=True):
            # The same variable twice is one input; a literal is none, but may have come in from an outer call.
            given = {atom: slot.array if isinstance(slot, Known) else values[slot]
                     for atom, slot in zip(equation.eqn.invars, equation.inputs, strict=True)
                     if not isinstance(atom, core.Literal)}
            values.update(zip(equation.outputs, run(*given.values()), strict=True))
        results = tuple([values[slot] for slot in self.outputs])
        return results if len(self.outputs) > 1 else results[0]


def _alone(eqn: Any, jaxpr: Any) -> Callable[..., Any]:
    """The equation as a function of its distinct variables."""
    variables = list(dict.fromkeys([atom for atom in eqn.invars if not isinstance(atom, core.Literal)]))
    return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr.replace(
        constvars=[], invars=variables, outvars=list(eqn.outvars), eqns=[eqn], effects=eqn.effects,
        debug_info=jaxpr.debug_info._replace(arg_names=None, result_paths=None)), ()))


def _name(eqn: Any) -> str:
    """What the equation calls, for the functions that a jaxpr keeps by name; else its primitive."""
    inner = eqn.params.get(_KEEPING.get(eqn.primitive.name, ""))
    if inner is not None:
        return str(inner.jaxpr.debug_info.func_src_info).split(" at ")[0] or eqn.primitive.name
    return str(eqn.params.get("name") or eqn.primitive.name)
