"""LBFGS: all iterations of a step, line search included, in one compiled program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..framework import cg
from ..framework.avals import aval_of, x64_mode
from ..framework.backward import derive, vjp_structure
from ..framework.compile import describe, due_updates, known_values, leaf_name, pending_of, run, structure_of
from ..framework.errors import GraphError, InputError
from ..framework.nodes import Node
from ..framework.operator import FunctionOperator
from ..framework.session import current_session
from ..framework.structure import Structure, linearize, placeholders
from . import rules
from .optimizer import Optimizer, scalar_loss
from .step import Places, find_places
from .wolfe import Point, strong_wolfe

# (value, gradient) at a flat vector of all parameters.
Objective = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


class Memory(NamedTuple):
    """What a step leaves to the next: the pairs of the approximate Hessian (rings of history_size rows) and the last
    move, all parameters as one flat vector."""

    steps: Any  # (history_size, n): how far the parameters moved
    changes: Any  # (history_size, n): how the gradient changed with it
    weights: Any  # (history_size,): 1 / (step . change)
    scale: Any  # of the initial inverse Hessian
    direction: Any  # (n,)
    length: Any  # along the direction
    gradient: Any  # (n,): where the direction was chosen
    pairs: Any  # taken so far
    iterations: Any
    evaluations: Any

    @staticmethod
    def empty(history: int, size: int, dtype: Any) -> Memory:
        rows, vector, zero = jnp.zeros((history, size), dtype), jnp.zeros(size, dtype), jnp.zeros((), dtype)
        count = jnp.zeros((), jnp.int32)
        return Memory(rows, rows, jnp.zeros(history, dtype), zero + 1, vector, zero, vector, count, count, count)


class Limits(NamedTuple):
    """The numbers of a group, as arrays: changing them compiles nothing."""

    lr: Any
    tolerance_grad: Any
    tolerance_change: Any
    max_iter: Any
    max_eval: Any


class LBFGS(Optimizer):
    """Limited-memory BFGS (torch.optim.LBFGS): d = -H g with H from the last history_size steps.

    `step` takes a function that returns the loss, as a graph, and calls it once: all iterations (up to max_iter, with
    all their evaluations) are one program, made of that graph. So its Python control flow is decided at the start of
    the step, and random streams and other states stand still meanwhile: their updates are those of the first
    evaluation. The memory takes 2 history_size times the parameters.

    Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.4 and 3.5; torch's stopping rules.

    Args:
        params: the parameters, one group; None to bind them later.
        lr: length of a move without line search, first trial with one.
        max_iter: iterations in a step.
        max_eval: evaluations in a step; 1.25 max_iter by default.
        tolerance_grad: stop when no element of the gradient is greater.
        tolerance_change: stop when the parameters or the loss change by less.
        history_size: pairs to remember.
        line_search_fn: None or "strong_wolfe".
        maximize: climb instead of descend.

    Raises:
        InputError: for wrong options, several groups, or parameters that are not real.

    >>> from zkynet.framework import cg, op
    >>> x = cg.Parameter("x", [3.0, -1.0])
    >>> opt = LBFGS([x], line_search_fn="strong_wolfe")
    >>> float(opt.step(lambda: op.sum(op.square(x - 1.0) * [1.0, 10.0])))
    44.0
    >>> np.round(x.value, 4).tolist()
    [1.0, 1.0]
    """

    _counter = "iterations"

    def __init__(self, params: Any = None, lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None, *, maximize: bool = False):
        rules.check(max_iter=max_iter)  # of which max_eval is computed
        options = {"lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                   "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                   "history_size": history_size, "line_search_fn": line_search_fn}
        self.check(options)
        super().__init__(params, options, maximize=maximize)
        self._sign = -1.0 if maximize else 1.0

    def _start(self) -> None:
        if len(self.param_groups) > 1:
            raise InputError("LBFGS takes one group of parameters: its Hessian is that of all of them together.")
        options, params = self.param_groups[0], self.params
        if any(p.dtype.kind == "c" for p in params):
            raise InputError("LBFGS needs real parameters; split complex ones into two.")
        dtype = jnp.result_type(np.float32, *[p.dtype for p in params])
        size = sum(prod(p.shape) for p in params)
        self._keep(lambda _: Memory.empty(options["history_size"], size, dtype), {}, small=0)
        self.index = {p: number for number, p in enumerate(params)}

    def check(self, options: Any) -> None:
        rules.check(**{name: value for name, value in options.items() if name != "line_search_fn"})
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise InputError("line_search_fn of LBFGS must be None or 'strong_wolfe', but got "
                             f"{options['line_search_fn']!r}.")

    def replan(self) -> None:
        if self.param_groups[0]["history_size"] != self.states[0].shape[0]:
            raise InputError("the history_size of an LBFGS cannot change: make another one.")

    def step(self, closure: Callable[[], Any]) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Minimise what `closure` returns, for up to max_iter iterations.

        Args:
            closure: a function without arguments that returns the loss as a graph.

        Returns:
            the loss at the start of the step, an array.

        Raises:
            GraphError: when the closure returns no scalar graph of the parameters, or inside of a compiled function.
        """
        if current_session.get() is not None:
            raise GraphError("LBFGS.step() runs a program of its own and cannot be part of another: call it outside of "
                             "zkynet.compile and of Modules.")
        self._check_usable()
        root = _loss(closure)
        with jax.enable_x64(root.aval.x64) if root.aval.x64 != x64_mode() else contextlib.nullcontext():
            return self._minimise(root)

    def apply(self, gradients: Any) -> None:
        raise GraphError("LBFGS evaluates the loss several times in a step: call step(closure), with a function that "
                         "returns the loss.")

    def _minimise(self, root: Node) -> jax.Array:
        due = due_updates([root])
        key, leaves, slots = linearize([root, *pending_of(due)], through=True)
        structure = structure_of(key)
        if structure.names is None:
            structure.names = [leaf_name(leaf) for leaf in leaves]
        places, stale = find_places(self, structure, leaves, slots)
        arrays = known_values(leaves)
        for p, place in zip(self.params, places, strict=True):
            if place is not None:
                arrays[place] = p.value
        program = self._program(structure, places, {slot: node for node, slot in slots.items()})
        arrays += [*self._limits(), *[state.value for state in self.states]]
        loss, *values = run(program, arrays, lambda: f"{describe(root)}, step of LBFGS")
        if not stale:
            root._value = loss
        present = [p for p, place in zip(self.params, places, strict=True) if place is not None]
        for held, value in zip([*due, *present, *self.states], values, strict=True):
            held.commit(value)
        return loss

    def _limits(self) -> Limits:
        group = self.param_groups[0]
        kind = self.states[0].dtype.type
        return Limits(kind(group["lr"]), kind(group["tolerance_grad"]), kind(group["tolerance_change"]),
                      np.int32(group["max_iter"]), np.int32(group["max_eval"]))

    def _program(self, structure: Structure, places: Places, origins: Any) -> Structure:
        searching = self.param_groups[0]["line_search_fn"] is not None
        shapes = tuple([p.shape for p in self.params])
        how = ("lbfgs", places, shapes, searching, self._sign, self.states[0].aval)
        wanted = tuple([place for place in places if place is not None])
        pull = vjp_structure(structure, wanted, (0,), True, origins)

        def build(nodes: list[Node], leaves: list[Node]) -> tuple[list[Node], list[Node]]:
            avals = [*map(aval_of, self._limits()), *[state.aval for state in self.states]]
            inputs = [*leaves, *placeholders(avals)]
            made = minimise(*inputs, structure=pull, places=places, shapes=shapes, searching=searching,
                            sign=self._sign)
            return list(made), inputs

        return derive(structure, how, build)


def _body(*arrays: Any, structure: Structure, places: Places, shapes: tuple[tuple[int, ...], ...],
          searching: bool, sign: float) -> tuple[Any, ...]:
    """The first loss, other outputs of the graph at the start, new parameters, new memory."""
    count, end = len(structure.inputs), len(structure.inputs) + len(Limits._fields)
    leaves, limits, memory = list(arrays[:count]), Limits(*arrays[count:end]), Memory(*arrays[end:])
    dtype = memory.gradient.dtype
    present = [place for place in places if place is not None]

    def spread(x: jax.Array) -> list[jax.Array]:
        """The leaves, with the parameters of a flat vector."""
        made, start = list(leaves), 0
        for place, shape in zip(places, shapes, strict=True):
            if place is not None:
                made[place] = x[start:start + prod(shape)].reshape(shape).astype(leaves[place].dtype)
            start += prod(shape)
        return made

    def flat(parts: Any) -> jax.Array:
        queue = iter(parts)
        return jnp.concatenate([jnp.zeros(prod(shape), dtype) if place is None
                                else next(queue).reshape(-1).astype(dtype)
                                for place, shape in zip(places, shapes, strict=True)])

    def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = structure.evaluate(*spread(x))
        return sign * outputs[0].astype(dtype), sign * flat(outputs[-len(present):])

    outputs = structure.evaluate(*leaves)
    first = sign * outputs[0].astype(dtype), sign * flat(outputs[-len(present):])
    x, memory = _minimised(evaluate, flat([leaves[place] for place in present]), first, memory, limits, searching)
    news = spread(x)
    return (*outputs[:-len(present)], *[news[place] for place in present], *memory)


minimise = FunctionOperator(
    _body, "lbfgs", [cg.Variable("arrays", differentiable=False)],
    {"structure": None, "places": None, "shapes": None, "searching": None, "sign": None}, variadic=True)


class _Loop(NamedTuple):
    x: Any
    value: Any
    gradient: Any
    memory: Memory
    iteration: Any
    evaluations: Any
    going: Any


def _minimised(evaluate: Objective, x: jax.Array, first: tuple[Any, Any], memory: Memory, limits: Limits,
               searching: bool) -> tuple[jax.Array, Memory]:
    """The parameters and the memory after one step."""
    value, gradient = first

    def iterate(loop: _Loop) -> _Loop:
        iteration, memory = loop.iteration + 1, _remembered(loop.memory, loop.gradient)
        d = _direction(memory, loop.gradient)
        start = jnp.minimum(1.0, 1.0 / jnp.sum(jnp.abs(loop.gradient)))
        t = jnp.where(memory.iterations == 0, start, 1.0) * limits.lr
        slope = _dot(loop.gradient, d)
        descends = ~(slope > -limits.tolerance_change)
        if searching:
            here = Point(jnp.zeros_like(t), loop.value, slope, loop.gradient)
            found, used = strong_wolfe(evaluate, loop.x, d, t, here, descends, limits.max_eval - loop.evaluations,
                                       limits.tolerance_change)
            t, value, gradient = jnp.where(descends, found.t, t), found.value, found.gradient
        else:  # without a search the last iteration only moves
            used = (descends & (iteration < limits.max_iter)).astype(jnp.int32)
            value, gradient = jax.lax.cond(used > 0, evaluate, lambda _: (loop.value, loop.gradient), loop.x + t * d)
        x = jnp.where(descends, loop.x + t * d, loop.x)
        evaluations = loop.evaluations + used
        still = ((jnp.max(jnp.abs(gradient)) <= limits.tolerance_grad)
                 | (jnp.max(jnp.abs(t * d)) <= limits.tolerance_change)
                 | (jnp.abs(value - loop.value) < limits.tolerance_change))
        memory = memory._replace(direction=d, length=t, gradient=loop.gradient, iterations=memory.iterations + 1)
        return _Loop(x, value, gradient, memory, iteration, evaluations,
                     descends & ~still & (evaluations < limits.max_eval))

    begun = _Loop(x, value, gradient, memory, jnp.int32(0), jnp.int32(1),
                  ~(jnp.max(jnp.abs(gradient)) <= limits.tolerance_grad))
    ended = jax.lax.while_loop(lambda loop: loop.going & (loop.iteration < limits.max_iter), iterate, begun)
    return ended.x, ended.memory._replace(evaluations=ended.memory.evaluations + ended.evaluations)


def _remembered(memory: Memory, gradient: jax.Array) -> Memory:
    """The last move becomes a pair, unless the curvature along it was not positive."""
    step, change = memory.length * memory.direction, gradient - memory.gradient
    curvature = _dot(change, step)
    taken = (memory.iterations > 0) & (curvature > 1e-10)
    row = memory.pairs % memory.weights.shape[0]

    def put(rows: jax.Array, new: jax.Array) -> jax.Array:
        return rows.at[row].set(jnp.where(taken, new, rows[row]))

    return memory._replace(
        steps=put(memory.steps, step), changes=put(memory.changes, change),
        weights=put(memory.weights, 1.0 / curvature),
        scale=jnp.where(taken, curvature / _dot(change, change), memory.scale), pairs=memory.pairs + taken)


def _direction(memory: Memory, gradient: jax.Array) -> jax.Array:
    """-H g by the two loops over the pairs, from the last to the first and back."""
    rows = memory.weights.shape[0]
    known = jnp.minimum(memory.pairs, rows)

    def down(i: Any, carry: Any) -> Any:
        q, factors = carry
        row = (memory.pairs - 1 - i) % rows
        factor = memory.weights[row] * _dot(memory.steps[row], q)
        return q - factor * memory.changes[row], factors.at[row].set(factor)

    def up(i: Any, r: jax.Array) -> jax.Array:
        row = (memory.pairs - known + i) % rows
        return r + (factors[row] - memory.weights[row] * _dot(memory.changes[row], r)) * memory.steps[row]

    q, factors = jax.lax.fori_loop(0, known, down, (-gradient, jnp.zeros_like(memory.weights)))
    return jax.lax.fori_loop(0, known, up, memory.scale * q)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sum(a * b)  # a matrix unit would round the products


def _loss(closure: Any) -> Node:
    if not callable(closure):
        raise GraphError("LBFGS.step() needs a function without arguments that returns the loss as a graph, but got "
                         f"{type(closure).__name__}: opt.step(lambda: loss_fn(model(x), y)).")
    return scalar_loss(closure())
