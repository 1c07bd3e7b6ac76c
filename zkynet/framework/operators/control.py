"""Operators whose body is a traced function: vmap, checkpoint, cond, while_loop and scan.

The function becomes a `Structure`, a static attribute; what it captured from outside becomes inputs. The
gradient rules derive the structure's own vjp and run that in the same kind of loop or branch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import GraphError, InputError, ShapeError
from ..leaves import Named, as_node, zeros_aval
from ..nodes import Expression, Node
from ..session import Session, current_session
from ..structure import Structure, linearize, placeholders
from ..templates import Template, Variable
from .accumulate import plus
from .registry import builtin
from .shape import cast, full, reshape, sum_to


def name_of(function: Any) -> str:
    """How messages call a function, or a Module."""
    return getattr(function, "functional_name", None) or getattr(function, "__name__", type(function).__name__)


def nodes_of(tree: Any, name: str) -> tuple[list[Node], Any]:
    """The nodes of a structure of values, and the structure."""
    session = current_session.get()
    leaves, treedef = jax.tree.flatten(tree, is_leaf=lambda x: isinstance(x, (Expression, Template)))
    return [as_node(leaf, session, Named(name)) for leaf in leaves], treedef


def trace(function: Callable[..., Any], args: Sequence[Any], name: str) -> tuple[Structure, list[Node], Any]:
    """Run `function` once on placeholders (a tree of avals in `args`).

    Returns:
        the structure, the outside nodes it captured (its last inputs), and the tree of its outputs.
    """
    from ..compile import structure_of

    session = Session(outer=current_session.get() or Session(), traced=True)
    token = current_session.set(session)
    try:
        avals, treedef = jax.tree.flatten(list(args))
        leaves = placeholders(avals)
        returned = function(*jax.tree.unflatten(treedef, leaves))
        outputs, tree = nodes_of(returned, name)
        key, inputs, slots = linearize(outputs, arguments=leaves, foreign=session.call)
    finally:
        current_session.reset(token)
    structure = structure_of(key)
    if not structure.derived:
        structure.remember(slots)  # for the messages of wrong rules
    return structure, inputs[len(leaves):], tree


def _slots(structure: Structure, needed: Sequence[bool]) -> tuple[int, ...]:
    """The slots of the inputs that are asked for; what only others depend on, no rule need know."""
    return tuple([slot for slot, need in zip(structure.inputs, needed, strict=True) if need])


def _spread(needed: Sequence[bool], parts: Sequence[Node]) -> list[Node | None]:
    """Cotangents of the needed inputs, at their places among all inputs."""
    found = iter(parts)
    return [next(found) if need else None for need in needed]


def _zeros_like(node: Node) -> Node:
    aval = zeros_aval(node.aval)
    return full(shape=aval.shape, dtype=aval.dtype, value=0)


# vmap -----------------------------------------------------------------------------------------------------


@builtin
def mapped(*inputs, structure, in_axes, size):
    """A structure run for each element of axis 0 of the inputs whose `in_axes` is 0; outputs stacked on axis 0."""
    return tuple(jax.vmap(structure.evaluate, in_axes=in_axes, axis_size=size)(*inputs))


@mapped.def_vjp
def _(g, y, *inputs, structure, in_axes, size, needed):
    from ..backward import vjp_structure

    pull = vjp_structure(structure, _slots(structure, needed))
    count = len(structure.outputs)
    parts = mapped(*inputs, *g, structure=pull, in_axes=in_axes + (0,) * count, size=size)[count:]
    axes = [axis for axis, need in zip(in_axes, needed, strict=True) if need]
    return _spread(needed, [
        part if axis == 0 else reshape(sum_to(part, shape=(1, *part.shape[1:])), shape=part.shape[1:])
        for part, axis in zip(parts, axes, strict=True)])


# checkpoint -----------------------------------------------------------------------------------------------


@builtin
def checkpointed(*inputs, structure, again=False):
    """A structure whose intermediate values are computed again in the backward pass instead of kept."""
    if not again:
        return tuple(structure.evaluate(*inputs))
    return jax.lax.platform_dependent(*inputs, cpu=lambda *a: _apart(structure, a),
                                      default=lambda *a: tuple(structure.evaluate(*jax.lax.optimization_barrier(a))))


def _apart(structure: Structure, inputs: tuple) -> tuple:
    """Run a structure so that XLA does not merge it with an earlier computation of the same. On CPUs it drops
    barriers before it merges; so this is a branch that is always taken, which it cannot know."""
    never = jax.lax.rng_uniform(np.int32(0), np.int32(1), shape=()) > 0
    return jax.lax.cond(never, lambda *a: tuple(jnp.zeros(o.shape, o.dtype) for o in structure.out_avals),
                        lambda *a: tuple(jnp.asarray(o, v.dtype) for o, v in
                                         zip(structure.evaluate(*a), structure.out_avals, strict=True)), *inputs)


@checkpointed.def_vjp
def _(g, y, *inputs, structure, again, needed):
    from ..backward import vjp_structure
    from ..compile import structure_of

    pull = vjp_structure(structure, _slots(structure, needed))
    count = len(structure.outputs)
    gradients = structure_of((*pull.key[:-len(pull.outputs)], *pull.outputs[count:]))
    return _spread(needed, checkpointed(*inputs, *g, structure=gradients, again=True))


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """Rematerialise: compute `function` (or a Module) again in the backward pass instead of keeping what is inside.

    The value is the same; memory falls to the inputs and outputs, at the price of one more forward pass. A Module
    gives a Module, which holds the given one as `module`.

    >>> import zkynet
    >>> from zkynet.framework import op
    >>> f = zkynet.checkpoint(lambda x: op.sin(op.sin(x)))
    >>> round(float(zkynet.grad(f)(1.0)), 4)
    0.36
    """

    from ..module import Module

    @functools.wraps(function.call if isinstance(function, Module) else function, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        inputs, treedef = nodes_of((args, kwargs), "checkpoint")
        avals = jax.tree.unflatten(treedef, [node.aval for node in inputs])
        structure, captured, tree = trace(lambda a, k: function(*a, **k), avals, "checkpoint")
        return jax.tree.unflatten(tree, checkpointed(*inputs, *captured, structure=structure))

    if not isinstance(function, Module):
        return wrapped
    names = [Variable(variable.short_name) for variable in function.inputs]
    made: Any = Module.build(f"Checkpoint{function.functional_name}", wrapped, names)
    made.module = function
    return made


# cond -----------------------------------------------------------------------------------------------------


@builtin(no_gradient=("predicate",))
def branch(predicate, *inputs, if_true, if_false):
    """One of two structures of the same inputs, chosen by a boolean scalar; only that one runs."""
    return tuple(jax.lax.cond(predicate, if_true.evaluate, if_false.evaluate, *inputs))


@branch.def_vjp
def _(g, y, predicate, *inputs, if_true, if_false, needed):
    from ..backward import vjp_structure

    pulls = [vjp_structure(s, _slots(s, needed[1:])) for s in (if_true, if_false)]
    parts = branch(predicate, *inputs, *g, if_true=pulls[0], if_false=pulls[1])
    return [None, *_spread(needed[1:], parts[len(y):])]


def cond(predicate: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """`true_fn(*operands)` if the boolean scalar holds, else `false_fn(*operands)`; only one of them is computed.

    Both return the same structure, shapes and dtypes. Plain Python `if` works too, but computes the condition
    first and compiles each path of the program on its own.

    Raises:
        ShapeError: when the predicate is no scalar or the branches do not return the same.

    >>> from zkynet.framework import op
    >>> float(op.cond(True, lambda x: x * 2.0, lambda x: x, 3.0).value)
    6.0
    """
    (test,), _ = nodes_of([predicate], "cond")
    if test.shape != ():
        raise ShapeError(f"op.cond needs a scalar condition, but got {test.aval!r}; op.where chooses elementwise.")
    test = cast(test, dtype=np.dtype("bool"))
    inputs, treedef = nodes_of(list(operands), "cond")
    avals = jax.tree.unflatten(treedef, [node.aval for node in inputs])
    true, from_true, tree = trace(true_fn, avals, "cond")
    false, from_false, other = trace(false_fn, avals, "cond")
    if tree != other or [(a.shape, a.dtype) for a in true.out_avals] != [(a.shape, a.dtype) for a in false.out_avals]:
        raise ShapeError(f"op.cond: true_fn returns {true.out_avals} and false_fn returns {false.out_avals}; "
                         "both must return the same structure, shapes and dtypes.")
    count = len(inputs)
    parts = branch(test, *inputs, *from_true, *from_false,
                   if_true=_with_inputs(true, len(true.inputs), from_false),
                   if_false=_with_inputs(false, count, from_true))
    return jax.tree.unflatten(tree, parts)


def _with_inputs(structure: Structure, position: int, ignored: Sequence[Node]) -> Structure:
    """The structure with more inputs, which it ignores, at a position."""
    from ..compile import structure_of

    own = structure.in_avals
    leaves = placeholders([*own[:position], *(node.aval for node in ignored), *own[position:]])
    nodes = structure.replay([*leaves[:position], *leaves[position + len(ignored):]])
    return structure_of(linearize([nodes[s] for s in structure.outputs], arguments=leaves)[0])


# while_loop -----------------------------------------------------------------------------------------------


@builtin
def loop(*inputs, test, body, carried):
    """The carried inputs, changed by `body` as long as `test` holds."""
    from_test, from_body = inputs[carried:carried + len(test.inputs) - carried], inputs[len(test.inputs):]
    return tuple(jax.lax.while_loop(
        lambda carry: test.evaluate(*carry, *from_test)[0],
        lambda carry: tuple(body.evaluate(*carry, *from_body)), tuple(inputs[:carried])))


@loop.def_vjp
def _(g, y, *inputs, test, body, carried):
    raise GraphError("op.while_loop has no gradient, as the number of its steps is not known. Use op.scan with a fixed "
                     "number of steps, or op.stop_gradient on what goes into the loop.")


def while_loop(cond_fn: Callable[[Any], Any], body_fn: Callable[[Any], Any], init: Any) -> Any:
    """`while cond_fn(carry): carry = body_fn(carry)`, compiled. It has no gradient: use `op.scan` for one.

    Raises:
        ShapeError: when the body changes the carry's structure, shapes or dtypes.

    >>> from zkynet.framework import op
    >>> float(op.while_loop(lambda x: x < 100.0, lambda x: x * 2.0, 1.0).value)
    128.0
    """
    inputs, treedef = nodes_of(init, "while_loop")
    avals = jax.tree.unflatten(treedef, [node.aval for node in inputs])
    body, from_body, tree = trace(body_fn, [avals], "while_loop")
    fitting = _carry_like(inputs, body, treedef, tree, "op.while_loop")
    if fitting is not None:
        return while_loop(cond_fn, body_fn, jax.tree.unflatten(treedef, fitting))
    test, from_test, _ = trace(cond_fn, [avals], "while_loop")
    if [(a.shape, a.dtype) for a in test.out_avals] != [((), np.dtype("bool"))]:
        raise ShapeError(f"op.while_loop needs a condition that is one boolean scalar, but got {test.out_avals}.")
    parts = loop(*inputs, *from_test, *from_body, test=test, body=body, carried=len(inputs))
    return jax.tree.unflatten(treedef, parts)


def _carry_like(inputs: list[Node], body: Structure, treedef: Any, tree: Any, name: str) -> list[Node] | None:
    """Check that the carry keeps its form. Python numbers adapt: then the initial carry to start again with."""
    outs = body.out_avals[:len(inputs)]
    pairs = list(zip(inputs, outs, strict=False))
    if treedef != tree or any(node.shape != out.shape or (node.dtype != out.dtype and not node.aval.weak_type)
                              for node, out in pairs):
        raise ShapeError(f"{name}: the carry goes in as {[n.aval for n in inputs]} and comes out as {outs}; a loop "
                         "must keep its structure, shapes and dtypes.")
    if all(node.dtype == out.dtype for node, out in pairs):
        return None
    return [node if node.dtype == out.dtype else cast(node, dtype=out.dtype) for node, out in pairs]


# scan -----------------------------------------------------------------------------------------------------


@builtin
def scanned(*inputs, body, carried, sliced, length, reverse):
    """Outputs: the last carry, the outputs of all steps, and (for the gradient) the carry before each step."""
    init, xs, captured = inputs[:carried], inputs[carried:carried + sliced], inputs[carried + sliced:]

    def step(carry, x):
        out = body.evaluate(*carry, *x, *captured)
        carry_out = tuple(o.astype(c.dtype) for o, c in zip(out[:carried], carry, strict=True))
        return carry_out, (tuple(out[carried:]), carry)

    init = tuple(jnp.asarray(c) for c in init)
    last, (ys, carries) = jax.lax.scan(step, init, tuple(xs), length=length, reverse=reverse)
    return (*last, *ys, *carries)


@scanned.def_vjp
def _(g, y, *inputs, body, carried, sliced, length, reverse, needed):
    """The same loop backwards: the carry is the cotangent of the forward carry and those of captured inputs."""
    steps = len(body.outputs) - carried
    captured = inputs[carried + sliced:]
    carries = y[carried + steps:]
    wanted = (True,) * carried + needed[carried:]
    back_body = _backward_body(body, carried, sliced, wanted)
    sums = [_zeros_like(c) for c, need in zip(captured, wanted[carried + sliced:], strict=True) if need]
    init = [*g[:carried], *sums]
    xs = [*carries, *inputs[carried:carried + sliced], *g[carried:]]
    parts = scanned(*init, *xs, *captured, body=back_body, carried=len(init), sliced=len(xs), length=length,
                    reverse=not reverse)
    into_sliced = parts[len(init):len(init) + sum(wanted[carried:carried + sliced])]
    return _spread(wanted, [*parts[:carried], *into_sliced, *parts[carried:len(init)]])


def _backward_body(body: Structure, carried: int, sliced: int, wanted: tuple[bool, ...]) -> Structure:
    """One backward step: (g carry, sums for captured; carry, x, g y, g of the saved carry; captured)."""
    from ..backward import derive, vjp_structure

    pull = vjp_structure(body, _slots(body, wanted))
    count = len(body.outputs)
    end = carried + sum(wanted[carried:carried + sliced])

    def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
        outs = [zeros_aval(a) for a in body.out_avals]
        ins = [zeros_aval(a) for a in body.in_avals]
        g_carry = placeholders(outs[:carried])
        sums = placeholders([aval for aval, want in zip(ins, wanted, strict=True) if want][end:])
        g_steps = placeholders(outs[carried:])
        g_saved = placeholders(ins[:carried])
        made = pull.replay([*leaves, *g_carry, *g_steps])
        parts = [made[slot] for slot in pull.outputs[count:]]
        into_carry = [p + s for p, s in zip(parts[:carried], g_saved, strict=True)]
        into_captured = [plus(s, p) for s, p in zip(sums, parts[end:], strict=True)]
        order = [*g_carry, *sums, *leaves[:carried + sliced], *g_steps, *g_saved, *leaves[carried + sliced:]]
        return [*into_carry, *into_captured, *parts[carried:end]], order

    return derive(body, ("scan backward", carried, sliced, wanted), build)


def scan(f: Callable[[Any, Any], Any], init: Any, xs: Any = None, length: int | None = None,
         reverse: bool = False) -> tuple[Any, Any]:
    """A compiled loop: `carry, y = f(carry, x)` for each x of axis 0 of `xs`.

    Args:
        f: returns the next carry (same structure, shapes and dtypes) and an output for this step.
        init: the first carry.
        xs: a structure of nodes or arrays with the same leading axis; None with `length`.
        reverse: run from the last x to the first; outputs keep the order of `xs`.

    Returns:
        (last carry, outputs stacked on axis 0).

    Raises:
        ShapeError: when lengths disagree or the carry changes.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> total, sums = op.scan(lambda c, x: (c + x, c + x), 0.0, np.arange(4.0, dtype=np.float32))
    >>> sums.value.tolist()
    [0.0, 1.0, 3.0, 6.0]
    """
    inits, carry_tree = nodes_of(init, "scan")
    slices, xs_tree = nodes_of(xs, "scan")
    length = _scan_length(slices, length)
    carry_avals = jax.tree.unflatten(carry_tree, [n.aval for n in inits])
    x_avals = jax.tree.unflatten(xs_tree, [row_aval(n.aval) for n in slices])
    trees: list[Any] = []

    def step(carry: Any, x: Any) -> list[Any]:
        returned = f(carry, x)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise InputError("the function given to op.scan must return (carry, output).")
        carry_out, tree = nodes_of(returned[0], "scan")
        y, y_tree = nodes_of(returned[1], "scan")
        trees[:] = [tree, y_tree]
        return [*carry_out, *y]

    body, captured, _ = trace(step, [carry_avals, x_avals], "scan")
    fitting = _carry_like(inits, body, carry_tree, trees[0], "op.scan")
    if fitting is not None:
        return scan(f, jax.tree.unflatten(carry_tree, fitting), xs, length, reverse)
    parts = scanned(*inits, *slices, *captured, body=body, carried=len(inits), sliced=len(slices), length=length,
                    reverse=reverse)
    count = len(inits)
    return (jax.tree.unflatten(carry_tree, parts[:count]),
            jax.tree.unflatten(trees[1], parts[count:len(body.outputs)]))


def row_aval(aval: Any) -> Any:
    from ..avals import make_aval

    return make_aval(aval.shape[1:], aval.dtype)


def _scan_length(slices: list[Node], length: int | None) -> int:
    lengths = {n.shape[0] if n.shape else None for n in slices}
    if length is not None:
        lengths.add(length)
    if None in lengths or len(lengths) != 1:
        raise ShapeError(f"op.scan needs xs with one common leading axis (or length=), but got "
                         f"{[n.aval for n in slices]}, length={length}.")
    return lengths.pop()  # pyright: ignore[reportReturnType]


for _operator in (mapped, checkpointed, branch, scanned):
    _operator.selective = True

__all__ = ["cond", "scan", "while_loop"]
