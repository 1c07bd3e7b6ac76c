"""The reverse walk: gradients as graph expressions, derived once per structure.

`pull_back` walks from outputs to wanted nodes and asks each operator for the cotangents of its inputs;
`push_forward` walks the other way, with the transpose of the same rules where an operator declares no `jvp`.
Broadcasting is undone and dtypes are restored in one place, `_fit`. Integer leaves are differentiated as if
they were float32, on a copy of the graph over their casts (`_real_valued`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .avals import Aval
from .errors import GraphError, InputError, RuleError, ShapeError, ZkynetError
from .leaves import as_node, zeros_aval
from .module import Module
from .nodes import Node, OperatorNode, topological
from .operator import Operator, Signature, Variable, output, outputs_of, unwrap
from .operators.elementwise import add, mult
from .operators.linalg import tensordot
from .operators.shape import cast, full, sum_to
from .session import Session, current_session
from .structure import Structure, linearize, placeholders

# One cotangent a node; a list, one an output, for an operator with several outputs.
Cotangents = dict[Node, Any]


def filled(aval: Aval, value: float) -> Node:
    """Zeros or ones of an aval, as part of the structure."""
    return full(shape=aval.shape, dtype=aval.dtype, value=value)


def pull_back(outputs: Sequence[Node], cotangents: Sequence[Node], wanted: Sequence[Node]) -> list[Node | None]:
    """Cotangents of the wanted nodes, as nodes; None where nothing flows."""
    if not wanted:
        return []
    # A node made before all wanted ones cannot depend on them.
    order = topological(list(outputs), since=min(node.serial for node in wanted))
    reached = set(wanted)
    for node in order:
        if node not in reached and _carries(node, reached):
            reached.add(node)
    total: Cotangents = {}
    for node, cotangent in zip(outputs, cotangents, strict=True):
        if node in reached:
            _accumulate(total, node, _fit(cotangent, node.aval))
    for node in reversed(order):
        cotangent = total.get(node)
        if cotangent is None or node not in reached or not node.inputs:
            continue
        if node.signature.operator is output:
            _accumulate_output(total, node, cotangent)
            continue
        _stand_at(node)
        needed = [child in reached and node.signature.operator.differentiable(i) for i, child in enumerate(node.inputs)]
        if not any(needed):
            continue
        for child, part in zip(node.inputs, input_cotangents(node, cotangent, needed), strict=True):
            if part is not None:
                _accumulate(total, child, part)
    return [total.get(node) for node in wanted]


def _stand_at(node: Node) -> None:
    """What a rule makes belongs to the module and line of the node it differentiates."""
    session = current_session.get()
    if session is not None and session.traced:
        session.scope, session.origin = node.scope, node.origin


def _carries(node: Node, reached: set[Node]) -> bool:
    """Whether a cotangent can flow from this node to a reached one."""
    if node.aval.__class__ is Aval and not node.aval.inexact:
        return False
    for index, child in enumerate(node.inputs):
        if child in reached and node.signature.operator.differentiable(index):
            return True
    return False


def _accumulate(total: Cotangents, node: Node, cotangent: Any) -> None:
    present = total.get(node)
    if present is None:
        total[node] = cotangent
    elif isinstance(present, list):
        total[node] = [b if a is None else a if b is None else add(a, b) for a, b in zip(present, cotangent, strict=True)]
    else:
        total[node] = add(present, cotangent)


def _accumulate_output(total: Cotangents, node: Node, cotangent: Node) -> None:
    """The cotangent of one output, as that of its place in the operator's tuple of outputs."""
    (tupled,) = node.inputs
    index = node.signature.attrs[0]
    avals: Any = tupled.aval
    parts: list[Node | None] = [None] * len(avals)
    parts[index] = cotangent
    _accumulate(total, tupled, parts)


def _fit(cotangent: Node, aval: Aval) -> Node:
    """Undo broadcasting and promotion: bring a cotangent to the shape and dtype of its node."""
    if cotangent.shape != aval.shape:
        cotangent = sum_to(cotangent, shape=aval.shape)
    dtype = zeros_aval(aval).dtype
    return cotangent if cotangent.dtype == dtype else cast(cotangent, dtype=dtype)


# One operator ---------------------------------------------------------------------------------------------


def input_cotangents(node: Node, cotangent: Any, needed: Sequence[bool]) -> list[Node | None]:
    """The cotangents of an operator node's inputs where needed, by whichever rule the operator has."""
    operator = node.signature.operator
    kwargs = node.signature.kwargs
    if isinstance(cotangent, list):
        produced: Any = outputs_of(node)
        cotangent = tuple([filled(zeros_aval(out.aval), 0) if c is None else c
                           for c, out in zip(cotangent, produced, strict=True)])
    else:
        produced = node
    if isinstance(operator.vjp, tuple):
        parts = [rule(cotangent, produced, *node.inputs, **kwargs) if need else None
                 for rule, need in zip(operator.vjp, needed, strict=True)]
    elif operator.vjp is not None:
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
        raise RuleError(f"{_blame(node, operator.vjp)} raised {type(error).__name__}: {error}") from error
    except Exception as error:
        raise RuleError(f"{_blame(node, operator.vjp)} raised {type(error).__name__}: {error}. It receives nodes "
                        "(the cotangent, the output, the inputs) and must build the result with zkynet "
                        "operators.") from error
    if not isinstance(parts, (tuple, list)):
        parts = (parts,)
    if len(parts) != len(node.inputs):
        raise RuleError(f"{_blame(node, operator.vjp)} returned {len(parts)} cotangents for {len(node.inputs)} "
                        "inputs. Return a tuple with one for each input, in order.")
    return parts


def _by_local_derivatives(node: Node, cotangent: Node, needed: Sequence[bool]) -> list[Node | None]:
    """The seed's style: the rule gives d output / d input; contract it with the cotangent."""
    parts: list[Node | None] = []
    if isinstance(cotangent, tuple):
        raise RuleError(f"{_blame(node, node.signature.operator._gradfn)}: an operator with several outputs needs a vjp rule.")
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
                f"{_blame(node, node.signature.operator._gradfn, index)} has shape {local.shape}; expected an elementwise "
                f"derivative broadcastable to the output {node.shape}, or the full Jacobian "
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
        raise RuleError(f"{_blame(node, rule, index)} is None where a gradient is due. Return zeros, or declare the "
                        "input with cg.Variable(name, differentiable=False).")
    if isinstance(part, list):  # the child is the tuple of outputs of another operator
        return part
    try:
        part = as_node(part, current_session.get(), node)
    except InputError:
        raise RuleError(f"{_blame(node, rule, index)} is a {type(part).__name__}; expected a node, an array or a "
                        "number.") from None
    if part.shape != child.shape and not (part.shape == node.shape and _broadcasts_to(child.shape, node.shape)):
        raise RuleError(f"{_blame(node, rule, index)} has shape {part.shape}; expected {child.shape}, the input's "
                        "shape (or the output's, where the input was broadcast).")
    if not part.aval.inexact and child.aval.inexact:
        raise RuleError(f"{_blame(node, rule, index)} has dtype {part.dtype}; expected {child.dtype}, the input's.")
    return _fit(part, child.aval)


def _blame(node: Node, rule: Any, index: int | None = None) -> str:
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
        rule = self.of._gradfn(self.of.inputs[self.index])
        try:
            return unwrap(rule(*inputs, **dict(self.kwargs)), self.of)
        except InputError:
            raise
        except Exception as error:
            code = getattr(rule, "__code__", None)
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
            raise RuleError(f"{_blame(node, operator._gradfn, index)} is not an array, a number or a node.") from None

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
        raise RuleError(f"{_blame(node, None)}: a jit=False operator needs a gradient rule of its own (_gradfn or vjp); "
                        "JAX cannot look into Python code.")
    cotangents = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    exact = tuple(not child.aval.inexact for child in node.inputs)
    kwargs = tuple(node.signature.kwargs.items())
    made = iter(JaxVjp(operator, kwargs, len(node.inputs), exact)(*node.inputs, *cotangents))
    return [filled(zeros_aval(child.aval), 0) if e else next(made)
            for e, child in zip(exact, node.inputs, strict=True)]


# Forward mode ----------------------------------------------------------------------------------------------


def push_forward(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
    """Tangents of the outputs, given those of some nodes; None where nothing depends on them.

    An operator without a `jvp` rule gets it from its reverse rule: that is linear in the cotangent, so
    pulling the tangents back through it gives the transpose of the transpose, the Jacobian itself.
    """
    order = topological(list(outputs), since=min(node.serial for node in wrt))
    known: Cotangents = {node: _fit(t, node.aval) for node, t in zip(wrt, tangents, strict=True)}
    for node in order:
        if node in known or not node.inputs or not any(child in known for child in node.inputs):
            continue
        if node.signature.operator is output:
            part = known[node.inputs[0]][node.signature.attrs[0]]
            if part is not None:
                known[node] = part
            continue
        _stand_at(node)
        tangent = _tangent(node, known)
        if tangent is not None:
            known[node] = tangent
    return [known.get(node) for node in outputs]


def _tangent(node: Node, known: Cotangents) -> Any:
    operator = node.signature.operator
    moving = [child in known and operator.differentiable(i) for i, child in enumerate(node.inputs)]
    several = node.aval.__class__ is tuple
    if not any(moving) or (not several and not node.aval.inexact):
        return None
    if operator.jvp is not None:
        given = tuple([known[child] if m else filled(zeros_aval(child.aval), 0)
                       for child, m in zip(node.inputs, moving, strict=True)])
        produced: Any = outputs_of(node) if several else node
        tangent = operator.jvp(given, produced, *node.inputs, **node.signature.kwargs)
        return list(tangent) if several else _fit(as_node(tangent, current_session.get(), operator), node.aval)
    avals: Any = node.aval if several else (node.aval,)
    seeds = [filled(zeros_aval(aval), 0) for aval in avals]
    parts = input_cotangents(node, list(seeds) if several else seeds[0], moving)
    pairs = [(part, known[child]) for part, child in zip(parts, node.inputs, strict=True) if part is not None]
    if any(isinstance(part, list) for part, _ in pairs):
        raise GraphError(f"operator {operator.name} has no forward-mode rule.")
    transposed = pull_back([part for part, _ in pairs], [t for _, t in pairs], seeds)
    return transposed if several else transposed[0]


# Derived structures ----------------------------------------------------------------------------------------


def derive(structure: Structure, key: tuple, build: Callable[[list[Node], list[Node]], tuple[list[Node], list[Node]]],
           origins: dict[int, Node] | None = None) -> Structure:
    """The structure made of another one's nodes, once: `build(nodes, leaves)` returns its outputs and its inputs."""
    found = structure.derived.get(key)
    if found is None:
        from .compile import structure_of

        token = current_session.set(Session(traced=True))
        try:
            leaves = placeholders(structure.in_avals)
            nodes = structure.replay(leaves, origins)
            outputs, arguments = build(nodes, list(leaves))
            new_key, inputs, slots = linearize(outputs, arguments=arguments, literals=True)
            _refuse_constants(inputs[len(arguments):])
            found = structure.derived[key] = structure_of(new_key)
            found.remember(slots)
            found.names = found.names or structure.names
        finally:
            current_session.reset(token)
    return found


def _refuse_constants(leaves: list[Node]) -> None:
    if leaves:
        names = ", ".join(repr(leaf) for leaf in leaves)
        raise RuleError(f"a gradient rule used an array of its own ({names}), which no call could change. Make it an "
                        "input of the operator: cg.Variable(name, differentiable=False).")


def vjp_structure(structure: Structure, wanted: tuple[int, ...], of: tuple[int, ...] | None = None,
                  seeded: bool = False, origins: dict[int, Node] | None = None) -> Structure:
    """Outputs followed by the cotangents of the wanted slots.

    Args:
        of: which outputs to differentiate (all by default).
        seeded: take their cotangents to be ones, instead of extra inputs.
    """
    of = tuple(range(len(structure.outputs))) if of is None else of

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        real = _real_valued(structure, nodes)
        outs = [real[structure.outputs[i]] for i in of]
        avals = [zeros_aval(out.aval) for out in outs]
        given: list[Node] = [] if seeded else list(placeholders(avals))
        cotangents = [filled(aval, 1) for aval in avals] if seeded else given
        targets = [real[slot] for slot in wanted]
        parts = pull_back(outs, cotangents, targets)
        grads = [filled(zeros_aval(t.aval), 0) if part is None else part for part, t in zip(parts, targets, strict=True)]
        return [*(nodes[slot] for slot in structure.outputs), *grads], [*leaves, *given]

    return derive(structure, ("vjp", wanted, of, seeded), build, origins)


def jvp_structure(structure: Structure, wrt: tuple[int, ...], origins: dict[int, Node] | None = None) -> Structure:
    """Outputs followed by their tangents; extra inputs are the tangents of the slots `wrt`."""

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        real = _real_valued(structure, nodes)
        sources = [real[slot] for slot in wrt]
        given = list(placeholders([zeros_aval(node.aval) for node in sources]))
        outs = [real[slot] for slot in structure.outputs]
        parts = push_forward(outs, sources, given)
        tangents = [filled(zeros_aval(out.aval), 0) if part is None else part
                    for part, out in zip(parts, outs, strict=True)]
        return [*(nodes[slot] for slot in structure.outputs), *tangents], [*leaves, *given]

    return derive(structure, ("jvp", wrt), build, origins)


def _real_valued(structure: Structure, nodes: list[Node]) -> list[Node]:
    """The nodes over float32 casts of integer leaves, wherever a gradient could flow; else the nodes themselves."""
    if all(aval.inexact for aval in structure.in_avals):
        return nodes
    real: list[Node] = []
    for (item, slots), node in zip(structure.instructions, nodes, strict=True):
        if item.__class__ is Aval:
            real.append(node if item.inexact else cast(node, dtype=np.dtype("float32")))
            continue
        inputs = [real[s] if item.operator.differentiable(i) else nodes[s] for i, s in enumerate(slots)]
        real.append(node if all(a is nodes[s] for a, s in zip(inputs, slots, strict=True))
                    else _reapplied(item, node, inputs))
    return real


def _reapplied(signature: Signature, node: Node, inputs: list[Node]) -> Node:
    try:
        if signature.operator is output:
            avals: Any = inputs[0].aval
            fitting = Signature(output, signature.attrs, (avals,), avals[signature.attrs[0]])
        else:
            fitting = signature.operator.signature(signature.attrs, tuple([n.aval for n in inputs]))
    except ShapeError:
        return node  # an operator for integers only: no gradient flows through it
    made = OperatorNode(fitting, tuple(inputs), node.call, node.scope, node.origin)
    return made

