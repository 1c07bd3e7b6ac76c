"""Rows of operators/recurrent.py; the reference is a Python loop over the steps, each written out."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework.operators.recurrent import recurrence, recurrent, recurrent_back

STEPS, BATCH, WIDTH = 3, 2, 2
GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
LENGTHS = np.array([3, 1], np.int32)
ALL = np.zeros(0, np.int32)


def lstm(z, a, h, c):
    i, f, g, o = jnp.split(z + a, 4, -1)
    c = c / (1 + jnp.exp(-f)) + jnp.tanh(g) / (1 + jnp.exp(-i))
    return jnp.tanh(c) / (1 + jnp.exp(-o)), c


def gru(z, a, h):
    (zr, zu, zn), (ar, au, an) = jnp.split(z, 3, -1), jnp.split(a, 3, -1)
    u = 1 / (1 + jnp.exp(-zu - au))
    return ((1 - u) * jnp.tanh(zn + an / (1 + jnp.exp(-zr - ar))) + u * h,)


CELLS = {"tanh": lambda z, a, h: (jnp.tanh(z + a),), "relu": lambda z, a, h: (jnp.maximum(z + a, 0.0),),
         "lstm": lstm, "gru": gru}


def reference(kind, reverse):
    def run(lengths, projected, weight, bias, *states):
        after = []
        for t in range(STEPS)[::-1 if reverse else 1]:
            new = CELLS[kind](projected[t], states[0] @ weight.T + bias, *states)
            going_on = (t < (lengths if lengths.size else jnp.full(BATCH, STEPS)))[:, None]
            states = [jnp.where(going_on, a, b) for a, b in zip(new, states, strict=True)]
            after.append(states)
        return [jnp.stack(sequence[::-1] if reverse else sequence) for sequence in zip(*after, strict=True)]

    return run


def inputs(kind, lengths=ALL):
    wide = GATES[kind] * WIDTH
    states = [sample(BATCH, WIDTH, seed=4 + i) for i in range(2 if kind == "lstm" else 1)]
    return lengths, sample(STEPS, BATCH, wide, seed=1), sample(wide, WIDTH, seed=2), sample(wide, seed=3), *states


def row(kind, label, reverse=False, lengths=ALL):
    def function(lengths, projected, weight, bias, *states):
        return list(recurrence(projected, weight, bias, states, kind=kind, reverse=reverse,
                               lengths=lengths if lengths.shape != (0,) else None))

    return Case("recurrent", function, reference(kind, reverse), inputs(kind, lengths), f"{kind}{label}")


def everything(kind):
    """The states and all that is kept, so that a cotangent of what is kept is tested too."""
    def run(lengths, projected, weight, bias, *states):
        return list(recurrent(lengths, projected, weight, bias, *states, kind=kind, reverse=False))

    def again(lengths, projected, weight, bias, *states):
        made = reference(kind, False)(lengths, projected, weight, bias, *states)
        before = jnp.concatenate([states[0][None], made[0][:-1]])
        a = before @ weight.T + bias
        if kind == "gru":
            r, u, _ = jnp.split(jax.nn.sigmoid(projected + a), 3, -1)
            return [*made, r, u, jnp.tanh(jnp.split(projected, 3, -1)[2] + r * jnp.split(a, 3, -1)[2]),
                    jnp.split(a, 3, -1)[2]]
        i, f, g, o = jnp.split(projected + a, 4, -1)
        return [*made, jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)]

    return Case("recurrent", run, again, inputs(kind), f"{kind}, what is kept", order=1)


def reversed_loop(kind, lengths=ALL):
    """The reverse loop as an operator of its own: against JAX's vjp of the reference."""
    count, values = (2 if kind == "lstm" else 1), inputs(kind, lengths)
    cotangents = [sample(STEPS, BATCH, WIDTH, seed=8 + i) for i in range(count)]

    def run(lengths, projected, weight, bias, *rest):
        g, states = rest[:count], rest[count:]
        made = recurrent(lengths, projected, weight, bias, *states, kind=kind, reverse=False)
        parts = recurrent_back(lengths, weight, *g, *states, *made, kind=kind, reverse=False)
        return [parts[0], *parts[-count:]]

    def again(lengths, projected, weight, bias, *rest):
        g, states = rest[:count], rest[count:]
        forward = functools.partial(reference(kind, False), lengths)
        return list(jax.vjp(lambda p, *s: forward(p, weight, bias, *s), projected, *states)[1](list(g)))

    return Case("recurrent_back", run, again, (*values[:4], *cotangents, *values[4:]),
                kind + (", lengths" if lengths.size else ""), order=1)


CASES = [
    *[row(kind, "") for kind in GATES],
    row("lstm", ", reverse, lengths", True, LENGTHS),
    row("gru", ", reverse", True),
    row("tanh", ", lengths", lengths=LENGTHS),
    everything("lstm"), everything("gru"),
    *[reversed_loop(kind) for kind in ("tanh", "lstm", "gru")],
    reversed_loop("lstm", LENGTHS),
]
