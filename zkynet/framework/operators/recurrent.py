"""Recurrent nets as one operator: a compiled loop that keeps what its own reverse loop needs.

What comes from the inputs is projected before the loop, for all steps at once, and the gradients of the weights are one
product each after the reverse loop: only what truly recurs is inside. Steps are written once, for arrays and for nodes;
the operators' bodies run them on arrays, and where a rule needs more than the reverse loop (derivatives of it, second
ones for instance) the same steps run as `op.scan`, which differentiates to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..nodes import Node
from .accumulate import is_zero
from .arguments import misfit, node_of
from .control import scan, trace
from .create import arange, full, zeros_like
from .elementwise import less, relu, sigmoid, tanh, where
from .linalg import tensordot
from .reduce import sum
from .registry import builtin
from .shape import cast, concat, cut_axis, reshape, transpose

ARRAYS = SimpleNamespace(
    tanh=jnp.tanh, sigmoid=jax.nn.sigmoid, relu=jax.nn.relu, where=jnp.where, less=jnp.less, scan=lax.scan,
    concat=jnp.concatenate, transpose=jnp.transpose, reshape=lambda x, shape: jnp.reshape(x, shape),
    zeros_like=jnp.zeros_like, arange=jnp.arange)
NODES = SimpleNamespace(
    tanh=tanh, sigmoid=sigmoid, relu=relu, where=where, less=less, scan=scan,
    concat=lambda parts, axis: concat(*parts, axis=axis), transpose=transpose,
    reshape=lambda x, shape: reshape(x, shape=shape), zeros_like=zeros_like, arange=arange)


# Steps ------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """One step of a recurrent net, forwards and backwards.

    Attributes:
        states: how many arrays its state has; the first is the output h.
        gates: how many times as wide as the state the projections are.
        step: (m, z, a, *state) -> the next state, what is kept for `back`; z comes from the input and
            a = h weight^T + bias from the state.
        back: (m, g, before, after, kept) -> the cotangents of z, of a (None: the same), and of the state before,
            but for what goes through a (None: nothing else). g is the cotangent of the state after.
    """

    states: int
    gates: int
    step: Callable[..., tuple]
    back: Callable[..., tuple]


def gates_of(x: Any, count: int) -> list[Any]:
    """The parts of the last axis, each as wide as the state."""
    width = x.shape[-1] // count
    return [x[..., i * width:(i + 1) * width] for i in range(count)]


def _tanh_step(m: Any, z: Any, a: Any, h: Any) -> tuple:
    return (m.tanh(z + a),), ()


def _tanh_back(m: Any, g: Any, before: Any, after: Any, kept: Any) -> tuple:
    (h,) = after
    return g[0] * (1.0 - h * h), None, (None,)


def _relu_step(m: Any, z: Any, a: Any, h: Any) -> tuple:
    return (m.relu(z + a),), ()


def _relu_back(m: Any, g: Any, before: Any, after: Any, kept: Any) -> tuple:
    return m.where(m.less(0.0, after[0]), g[0], 0.0), None, (None,)


def _lstm_step(m: Any, z: Any, a: Any, h: Any, c: Any) -> tuple:
    """Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al., 2000."""
    i, f, g, o = gates_of(z + a, 4)
    i, f, g, o = m.sigmoid(i), m.sigmoid(f), m.tanh(g), m.sigmoid(o)
    c = f * c + i * g
    return (o * m.tanh(c), c), (i, f, g, o)


def _lstm_back(m: Any, cotangents: Any, before: Any, after: Any, kept: Any) -> tuple:
    into_h, into_c = cotangents
    i, f, g, o = kept
    bounded = m.tanh(after[1])
    into_c = into_c + into_h * o * (1.0 - bounded * bounded)
    into_z = m.concat([into_c * g * (i * (1.0 - i)), into_c * before[1] * (f * (1.0 - f)),
                       into_c * i * (1.0 - g * g), into_h * bounded * (o * (1.0 - o))], axis=-1)
    return into_z, None, (None, into_c * f)


def _gru_step(m: Any, z: Any, a: Any, h: Any) -> tuple:
    """Cho et al., "Learning phrase representations", 2014, with the reset gate after the product, as in PyTorch."""
    (z_r, z_u, z_n), (a_r, a_u, a_n) = gates_of(z, 3), gates_of(a, 3)
    r, u = m.sigmoid(z_r + a_r), m.sigmoid(z_u + a_u)
    n = m.tanh(z_n + r * a_n)
    return (n + u * (h - n),), (r, u, n, a_n)


def _gru_back(m: Any, g: Any, before: Any, after: Any, kept: Any) -> tuple:
    (into_h,), (h,) = g, before
    r, u, n, a_n = kept
    into_n = into_h * (1.0 - u) * (1.0 - n * n)
    into_u = into_h * (h - n) * (u * (1.0 - u))
    into_r = into_n * a_n * (r * (1.0 - r))
    return (m.concat([into_r, into_u, into_n], axis=-1), m.concat([into_r, into_u, into_n * r], axis=-1),
            (into_h * u,))


KINDS = {"tanh": Kind(1, 1, _tanh_step, _tanh_back), "relu": Kind(1, 1, _relu_step, _relu_back),
         "lstm": Kind(2, 4, _lstm_step, _lstm_back), "gru": Kind(1, 3, _gru_step, _gru_back)}


# Loops ------------------------------------------------------------------------------------------------------


def alive(m: Any, lengths: Any, steps: int) -> Any:
    """(steps, batch, 1): whether a sequence is still going on at a step; None where all go on to the end."""
    if lengths.shape == (0,):
        return None
    return m.less(m.reshape(m.arange(0, steps), (steps, 1, 1)), m.reshape(lengths, (1, -1, 1)))


def _forward(m: Any, lengths: Any, projected: Any, weight: Any, bias: Any, *states: Any, kind: str,
             reverse: bool) -> tuple:
    """After each step: the state, and what is kept. The state of a sequence that has ended stays as it is."""
    net, transposed = KINDS[kind], m.transpose(weight)

    def step(state: Any, x: Any) -> Any:
        z, going_on = x
        new, kept = net.step(m, z, state[0] @ transposed + bias, *state)
        if going_on is not None:
            new = tuple([m.where(going_on, a, b) for a, b in zip(new, state, strict=True)])
        return new, (*new, *kept)

    xs = projected, alive(m, lengths, projected.shape[0])
    return m.scan(step, states, xs, reverse=reverse)[1]


def _backward(m: Any, lengths: Any, weight: Any, *rest: Any, kind: str, reverse: bool) -> tuple:
    """Cotangents of the projections, of h weight^T + bias where those differ, and of the first state.

    `rest` holds the cotangents of the states after all steps, the first state, then what `_forward` returned.
    """
    net = KINDS[kind]
    count = net.states
    g, first, after, kept = rest[:count], rest[count:2 * count], rest[2 * count:3 * count], rest[3 * count:]
    before = tuple([shifted(m, a, b, reverse) for a, b in zip(first, after, strict=True)])

    def step(carry: Any, x: Any) -> Any:
        g, before, after, kept, going_on = x
        g = tuple([a + b for a, b in zip(carry, g, strict=True)])
        into_z, into_a, direct = net.back(m, g, before, after, kept)
        parts = [part if going_on is None else m.where(going_on, part, 0.0)
                 for part in (into_z, into_a) if part is not None]
        through = parts[-1] @ weight
        into = (through if direct[0] is None else direct[0] + through, *direct[1:])
        if going_on is not None:
            into = tuple([m.where(going_on, a, b) for a, b in zip(into, g, strict=True)])
        return into, tuple(parts)

    start = tuple([m.zeros_like(state) for state in first])
    xs = tuple(g), before, tuple(after), tuple(kept), alive(m, lengths, after[0].shape[0])
    into, parts = m.scan(step, start, xs, reverse=not reverse)
    return (*parts, *into)


def shifted(m: Any, first: Any, after: Any, reverse: bool) -> Any:
    """The states before all steps, of the first one and those after."""
    first = m.reshape(first, (1, *first.shape))
    return m.concat([after[1:], first] if reverse else [first, after[:-1]], axis=0)


# Operators --------------------------------------------------------------------------------------------------


@builtin(no_gradient=("lengths",))
def recurrent(lengths, projected, weight, bias, *states, kind, reverse):
    """A recurrent net over all steps: the states after each step, then what its gradient needs; see `recurrence`."""
    return _forward(ARRAYS, lengths, projected, weight, bias, *states, kind=kind, reverse=reverse)


@builtin(no_gradient=("lengths",))
def recurrent_back(lengths, weight, *rest, kind, reverse):
    """The reverse loop of `recurrent`."""
    return _backward(ARRAYS, lengths, weight, *rest, kind=kind, reverse=reverse)


@recurrent.def_vjp
def _(g, y, lengths, projected, weight, bias, *states, kind, reverse):
    count = len(states)
    if not all([is_zero(part) for part in g[count:]]):  # of what is kept: part of a derivative of the reverse loop
        return _by_scan(_forward, g, lengths, [projected, weight, bias, *states], kind, reverse)
    parts = recurrent_back(lengths, weight, *g[:count], *states, *y, kind=kind, reverse=reverse)
    into_z, into_a = parts[0], parts[-count - 1]
    before = shifted(NODES, states[0], y[0], reverse)
    return (None, into_z, tensordot(into_a, before, axes=((0, 1), (0, 1))), sum(into_a, axis=(0, 1)), *parts[-count:])


@recurrent_back.def_vjp
def _(g, y, lengths, weight, *rest, kind, reverse):
    return _by_scan(_backward, g, lengths, [weight, *rest], kind, reverse)


@recurrent.def_jvp
def _(tangents, y, *inputs, kind, reverse):
    return _pushed_by_scan(_forward, tangents, inputs, kind, reverse)


@recurrent_back.def_jvp
def _(tangents, y, *inputs, kind, reverse):
    return _pushed_by_scan(_backward, tangents, inputs, kind, reverse)


def _as_scan(function: Callable[..., tuple], inputs: Sequence[Node], kind: str,
             reverse: bool) -> tuple[Any, list[Node]]:
    """A loop as a structure, in which it is an `op.scan`, and all that goes into that."""
    structure, captured, _ = trace(lambda *nodes: function(NODES, *nodes, kind=kind, reverse=reverse),
                                   [node.aval for node in inputs], "recurrent")
    return structure, [*inputs, *captured]


def _by_scan(function: Callable[..., tuple], g: Sequence[Node], lengths: Node, inputs: Sequence[Node], kind: str,
             reverse: bool) -> list[Node | None]:
    """The cotangents of a loop's inputs by the rule of `op.scan`."""
    from ..backward import vjp_structure

    structure, given = _as_scan(function, [lengths, *inputs], kind, reverse)
    pull = vjp_structure(structure, tuple(structure.inputs[1:len(inputs) + 1]))
    made = pull.replay([*given, *g])
    return [None, *(made[slot] for slot in pull.outputs[len(structure.outputs):])]


def _pushed_by_scan(function: Callable[..., tuple], tangents: Sequence[Node], inputs: Sequence[Node], kind: str,
                    reverse: bool) -> list[Node]:
    """The tangents of a loop's outputs by the rule of `op.scan`. (The transpose of the reverse rule would not do: it
    looks for cotangents that are zero, and while it is transposed all of them are.)"""
    from ..backward import jvp_structure

    structure, given = _as_scan(function, inputs, kind, reverse)
    push = jvp_structure(structure, tuple(structure.inputs[1:len(inputs)]))
    made = push.replay([*given, *tangents[1:]])
    return [made[slot] for slot in push.outputs[len(structure.outputs):]]


def recurrence(projected: Any, weight: Any, bias: Any, states: Sequence[Any], *, kind: str, lengths: Any = None,
               reverse: bool = False) -> tuple[Node, ...]:
    """The states of a recurrent net after each step.

    Args:
        projected: (steps, batch, gates * width), what comes from the inputs: x weight_ih^T + bias_ih.
        weight: (gates * width, width), of the state; bias: (gates * width,), or None.
        states: the first state, an array (batch, width) for each the kind has.
        kind: "tanh", "relu", "lstm" (gates i, f, g, o; states h, c) or "gru" (gates r, z, n).
        lengths: (batch,), how many steps each sequence has; after its end a state stays as it is.
        reverse: from the last step to the first.

    Returns:
        for each array of the state its values after every step, (steps, batch, width).

    Raises:
        ShapeError: when they do not fit.

    >>> from zkynet.framework.operators.recurrent import recurrence
    >>> (h,) = recurrence([[[1.0]], [[2.0]]], [[1.0]], None, [[[0.0]]], kind="relu")
    >>> h.value.ravel().tolist()
    [1.0, 3.0]
    """
    nodes = [node_of(x, "recurrent") for x in (projected, weight, *states)]
    (steps, batch, width), size = nodes[0].shape, nodes[1].shape[-1]
    net = KINDS[kind]
    wanted = [(steps, batch, net.gates * size), (net.gates * size, size), *((batch, size),) * net.states]
    if [node.shape for node in nodes] != wanted:
        raise misfit("recurrent", f"a {kind} net of width {size} for {batch} sequences of {steps} steps needs "
                                  f"projections, weight and states of the shapes {wanted}, but got "
                                  f"{[n.shape for n in nodes]}.")
    nodes.insert(2, full((width,), 0.0) if bias is None else node_of(bias, "recurrent"))
    if len({node.dtype for node in nodes}) > 1:
        dtype = jnp.result_type(*[node.dtype for node in nodes])
        nodes = [node if node.dtype == dtype else cast(node, dtype=dtype) for node in nodes]
    if lengths is None:
        lengths = full((0,), 0, np.dtype("int32"))
    return recurrent(lengths, *nodes, kind=kind, reverse=reverse)[:net.states]


def last_state(sequence: Node, reverse: bool) -> Node:
    """The state after the last step that was made, (1, batch, width)."""
    steps = sequence.shape[0]
    return cut_axis(sequence, 0, 0, 1) if reverse else cut_axis(sequence, 0, steps - 1, steps)


__all__: list[str] = []
