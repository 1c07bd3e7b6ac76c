"""Gradient rules of one operator: whichever it declares, checked, with broadcasting undone in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .avals import Aval
from .errors import InputError, RuleError, ZkynetError
from .leaves import as_node, unwrap, zeros_aval
from .module import Module
from .nodes import Node, OperatorNode
from .operator import Operator, Signature, host_result, outputs_of
from .operators.elementwise import mult
from .operators.linalg import tensordot
from .operators.shape import cast, full, sum_to
from .session import current_session
from .templates import Variable


def filled(aval: Aval, value: float) -> Node:
    """Zeros or ones of an aval, as part of the structure."""
    return full(shape=aval.shape, dtype=aval.dtype, value=value)


def fit(cotangent: Node, aval: Aval) -> Node:
    """Undo broadcasting and promotion: bring a cotangent to the shape and dtype of its node."""
    if cotangent.shape != aval.shape:
        cotangent = sum_to(cotangent, shape=aval.shape)
    dtype = zeros_aval(aval).dtype
    return cotangent if cotangent.dtype == dtype else cast(cotangent, dtype=dtype)


def input_cotangents(node: Node, cotangent: Any, needed: Sequence[bool], produced: Any = None) -> list[Node | None]:
    """The cotangents of an operator node's inputs where needed, by whichever rule the operator has.

    `produced` stands for the output(s) in the rule, when that is not the node itself.
    """
    operator = node.signature.operator
    kwargs = node.signature.kwargs
    if isinstance(cotangent, list):
        produced = outputs_of(node) if produced is None else produced
        cotangent = tuple([filled(zeros_aval(out.aval), 0) if c is None else c
                           for c, out in zip(cotangent, produced, strict=True)])
    elif produced is None:
        produced = node
    if isinstance(operator.vjp, tuple):
        parts = [rule(cotangent, produced, *node.inputs, **kwargs) if need else None
                 for rule, need in zip(operator.vjp, needed, strict=True)]
    elif operator.vjp is not None:
        if operator.selective:
            kwargs = {**kwargs, "needed": tuple(needed)}
        parts = _by_rule(node, operator, cotangent, produced, kwargs)
    elif operator._gradfn is not None:
        parts = _by_local_derivatives(node, cotangent, needed)
    else:
        parts = _by_jax(node, cotangent)
    return [_checked(part, node, index) if need else None
            for index, (part, need) in enumerate(zip(parts, needed, strict=True))]


def _by_rule(node: Node, operator: Operator, cotangent: Any, produced: Any, kwargs: dict[str, Any]) -> Sequence[Any]:
    assert operator.vjp is not None
    try:
        parts = operator.vjp(cotangent, produced, *node.inputs, **kwargs)
    except ZkynetError as error:
        raise RuleError(f"{blame(node, operator.vjp)} raised {type(error).__name__}: {error}") from error
    except Exception as error:
        raise RuleError(f"{blame(node, operator.vjp)} raised {type(error).__name__}: {error}. It receives nodes "
                        "(the cotangent, the output, the inputs) and must build the result with zkynet "
                        "operators.") from error
    if not isinstance(parts, (tuple, list)):
        parts = (parts,)
    if len(parts) != len(node.inputs):
        raise RuleError(f"{blame(node, operator.vjp)} returned {len(parts)} cotangents for {len(node.inputs)} "
                        "inputs. Return a tuple with one for each input, in order.")
    return parts


def _by_local_derivatives(node: Node, cotangent: Node, needed: Sequence[bool]) -> list[Node | None]:
    """Local-derivative style: the rule gives d output / d input; contract it with the cotangent."""
    parts: list[Node | None] = []
    if isinstance(cotangent, tuple):
        rule = node.signature.operator._gradfn
        raise RuleError(f"{blame(node, rule)}: an operator with several outputs needs a vjp rule.")
    for index, need in enumerate(needed):
        if not need:
            parts.append(None)
            continue
        local = LocalDerivative.node(node, index)
        child = node.inputs[index]
        if local.shape == node.shape + child.shape and local.shape != node.shape:
            parts.append(tensordot(cotangent, local, axes=node.ndim))
        elif _broadcasts_to(local.shape, node.shape):
            parts.append(mult(cotangent, local))
        else:
            raise RuleError(
                f"{blame(node, node.signature.operator._gradfn, index)} has shape {local.shape}; expected an "
                f"elementwise derivative broadcastable to the output {node.shape}, or the full Jacobian "
                f"{node.shape + child.shape}.")
    return parts


def _broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def _checked(part: Any, node: Node, index: int) -> Any:
    """A rule's cotangent for one input, brought to that input's shape and dtype; a wrong one is named."""
    child = node.inputs[index]
    rule = node.signature.operator.vjp
    if part is None:
        raise RuleError(f"{blame(node, rule, index)} is None where a gradient is due. Return zeros, or declare the "
                        "input with cg.Variable(name, differentiable=False).")
    if isinstance(part, list) and child.aval.__class__ is tuple:  # the outputs of another operator
        return part
    try:
        if isinstance(part, (tuple, list, dict)):
            raise InputError
        part = as_node(part, current_session.get(), node)
    except InputError:
        raise RuleError(f"{blame(node, rule, index)} is a {type(part).__name__}; expected a node, an array or a "
                        "number.") from None
    several = node.aval.__class__ is tuple
    if part.shape != child.shape and (
            several or part.shape != node.shape or not _broadcasts_to(child.shape, node.shape)):
        raise RuleError(f"{blame(node, rule, index)} has shape {part.shape}; expected {child.shape}, the input's "
                        "shape (or the output's, where the input was broadcast).")
    if not part.aval.inexact and child.aval.inexact:
        raise RuleError(f"{blame(node, rule, index)} has dtype {part.dtype}; expected {child.dtype}, the input's.")
    return fit(part, child.aval)


def tangents_by_rule(node: Node, tangents: tuple, produced: Any) -> list[Node]:
    """The tangents of a node's outputs by its operator's own `jvp`, checked; a wrong one is named."""
    operator = node.signature.operator
    rule: Any = operator.jvp
    avals: Any = node.aval if node.aval.__class__ is tuple else (node.aval,)
    try:
        returned = rule(tangents, produced, *node.inputs, **node.signature.kwargs)
        parts = returned if node.aval.__class__ is tuple else (returned,)
        found = [as_node(part, current_session.get(), operator) for part in parts]
    except Exception as error:
        raise RuleError(f"{blame(node, rule)} jvp raised {type(error).__name__}: {error}") from error
    if [part.shape for part in found] != [aval.shape for aval in avals]:
        shapes = ", ".join(str(part.shape) for part in found)
        raise RuleError(f"{blame(node, rule)} jvp returned a tangent of shape {shapes}; expected "
                        f"{', '.join(str(aval.shape) for aval in avals)}, the output's.")
    return [fit(part, aval) for part, aval in zip(found, avals, strict=True)]


def blame(node: Node, rule: Any, index: int | None = None) -> str:
    """Who made the wrong cotangent: operator, input, where it was called, where the rule stands."""
    operator = node.signature.operator
    code = getattr(rule, "__code__", None)
    stands = f", rule at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    whose = "" if index is None else f"'s cotangent for input {operator.input_name(index)!r}"
    called = f" (called at {node.where}{stands})" if node.where or stands else ""
    return f"operator {operator.name}{whose}{called}: the gradient rule" if index is None else \
        f"operator {operator.name}{whose}{called}"


class LocalDerivative(Operator):
    """d output / d input of an operator whose rule is `_gradfn`, as an operator of the same inputs."""

    def __init__(self, of: Operator, index: int, kwargs: tuple):
        super().__init__(tuple(Variable(v.short_name) for v in of.inputs), name=f"d{of.name}/d{of.input_name(index)}")
        self.of = of
        self.index = index
        self.kwargs = kwargs
        self.jit = of.jit

    def call(self, *inputs: Any) -> Any:
        assert self.of._gradfn is not None
        rule: Any = None
        try:
            rule = self.of._gradfn(self.of.inputs[self.index])
            if not callable(rule):
                raise TypeError(f"_gradfn must return a function of the operator's inputs, but returned {rule!r}")
            return unwrap(rule(*inputs, **dict(self.kwargs)), self.of)
        except InputError:
            raise
        except Exception as error:
            code = getattr(rule if callable(rule) else self.of._gradfn, "__code__", None)
            stands = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
            raise RuleError(f"operator {self.of.name}'s _gradfn for input {self.of.input_name(self.index)!r}{stands} "
                            f"raised {type(error).__name__}: {error}") from error

    @staticmethod
    def node(node: Node, index: int) -> Node:
        operator = node.operator
        assert operator is not None
        kwargs = tuple(node.signature.kwargs.items())
        try:
            return LocalDerivative(operator, index, kwargs)(*node.inputs)
        except InputError:
            raise RuleError(f"{blame(node, operator._gradfn, index)} is not an array, a number or a node.") from None

    @staticmethod
    def module(operator: Operator, variable: Variable) -> Module:
        """`operator.gradfn(variable)`: the local derivative as a Module of the operator's inputs."""
        from .transforms import local_derivative

        index = operator.inputs.index(variable)

        def derivative(*inputs: Any) -> Node:
            return local_derivative(operator(*inputs), index)

        names = tuple(Variable(v.short_name) for v in operator.inputs)
        return Module.build(f"d{operator.name}/d{variable.short_name}", derivative, names)


class JaxVjp(Operator):
    """The cotangents of an operator that has no rule, by `jax.vjp` of its body: the one place that uses it."""

    def __init__(self, of: Operator, kwargs: tuple, count: int, exact: tuple[bool, ...]):
        super().__init__((Variable("inputs"),), name=f"vjp of {of.name}")
        self.variadic = True
        self.of = of
        self.kwargs = kwargs
        self.count = count
        self.exact = exact  # inputs of integer dtype, which have no cotangent

    def call(self, *arguments: Any) -> Any:
        inputs = [a.value for a in arguments[: self.count]]
        cotangents = tuple(a.value for a in arguments[self.count:])
        moving = [i for i, exact in enumerate(self.exact) if not exact]

        def body(*values: Any) -> Any:
            full_inputs = list(inputs)
            for i, value in zip(moving, values, strict=True):
                full_inputs[i] = value
            return self.of.evaluate(dict(self.kwargs), *full_inputs)

        out, pull = jax.vjp(body, *[inputs[i] for i in moving])
        single = not isinstance(out, tuple)
        targets = [out] if single else list(out)
        cts = [_tangent_like(c, t) for c, t in zip(cotangents, targets, strict=True)]
        return tuple(pull(cts[0] if single else tuple(cts)))


def _tangent_like(cotangent: jax.Array, primal: jax.Array) -> Any:
    if jnp.issubdtype(primal.dtype, jnp.inexact):
        return cotangent.astype(primal.dtype)
    return np.zeros(primal.shape, jax.dtypes.float0)


def _by_jax(node: Node, cotangent: Any) -> list[Node | None]:
    operator = node.signature.operator
    if not operator.jit:
        raise RuleError(f"{blame(node, None)}: a jit=False operator needs a gradient rule of its own (_gradfn or "
                        "vjp); JAX cannot look into Python code.")
    cotangents = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    exact = tuple(not child.aval.inexact for child in node.inputs)
    kwargs = tuple(node.signature.kwargs.items())
    made = iter(JaxVjp(operator, kwargs, len(node.inputs), exact)(*node.inputs, *cotangents))
    return [filled(zeros_aval(child.aval), 0) if e else next(made)
            for e, child in zip(exact, node.inputs, strict=True)]


@host_result.def_vjp
def _(g: Any, y: Any, *values: Node, host: tuple[Operator, tuple], count: int) -> tuple:
    """The rule of the operator that ran in Python, with what it computed as its output."""
    operator, attrs = host
    results, inputs = values[:count or 1], values[count or 1:]
    avals = tuple([result.aval for result in results])
    signature = Signature(operator, attrs, tuple([n.aval for n in inputs]), avals if count else avals[0])
    twin = OperatorNode(signature, inputs, results[0].call, y[0].scope if count else y.scope,
                        y[0].origin if count else y.origin)
    needed = [operator.differentiable(i) for i in range(len(inputs))]
    parts = input_cotangents(twin, list(g) if count else g, needed, produced=y)
    nothing = [filled(zeros_aval(node.aval), 0) for node in (*results, *inputs)]
    return (*nothing[:len(results)], *[zero if part is None else part
                                       for part, zero in zip(parts, nothing[len(results):], strict=True)])
