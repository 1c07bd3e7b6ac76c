"""Rows of operators/control.py: functions that become operators, with what they capture from outside."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, sample

from zkynet.framework import op, transforms
from zkynet.framework.operators.control import checkpoint

X, W = sample(3), sample(3, seed=1)
STEPS, CARRY = sample(4, 2), sample(2, seed=2)


def choose(cond: Any, sin: Any) -> Any:
    return lambda p, x, w: cond(p, lambda a: sin(a) * w, lambda a: a * a, x)


def running(scan: Any, sin: Any, **options: Any) -> Any:
    """A scan whose carry, slices and captured weight all receive gradients."""

    def function(carry: Any, xs: Any, w: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = sin(c * w) + x
            return c, c * x

        return scan(step, carry, xs, **options)

    return function


def doubled(while_loop: Any) -> Any:
    return lambda x: while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2.0), (0, x))[1]


def rows(vmap: Any, total: Any, sin: Any, **options: Any) -> Any:
    return lambda x, w: vmap(lambda a, b: sin(a) * total(b * w), **options)(x, x)


TRUE, FALSE = np.array(True), np.array(False)

CASES = [
    Case("branch", choose(op.cond, op.sin), choose(jax.lax.cond, jnp.sin), (TRUE, X, W), "true"),
    Case("branch", choose(op.cond, op.sin), choose(jax.lax.cond, jnp.sin), (FALSE, X, W), "false"),
    Case("cond", lambda p, x: op.cond(p, lambda a: (a, a * 2.0), lambda a: (a * 3.0, a), x),
         lambda p, x: jax.lax.cond(p, lambda a: (a, a * 2.0), lambda a: (a * 3.0, a), x), (FALSE, X), "two outputs"),
    # In a branch that is not taken nothing is computed, so its infinities do not matter.
    Case("cond", lambda x: op.cond(op.sum(x) > 0.0, op.log, lambda a: a, x), lambda x: x, (np.zeros(2),),
         "infinite in the other branch", numeric=False),
    Case("loop", doubled(op.while_loop), doubled(jax.lax.while_loop), (X,), order=0),
    Case("while_loop", doubled(op.while_loop), doubled(jax.lax.while_loop), (np.zeros((0, 2)),), "empty axis", order=0),
    Case("scanned", running(op.scan, op.sin), running(jax.lax.scan, jnp.sin), (CARRY, STEPS, W[:2])),
    Case("scanned", running(op.scan, op.sin, reverse=True), running(jax.lax.scan, jnp.sin, reverse=True),
         (CARRY, STEPS, W[:2]), "reverse"),
    Case("scanned", running(op.scan, op.sin), running(jax.lax.scan, jnp.sin), (CARRY, STEPS[:1], W[:2]), "one step"),
    Case("scanned", running(op.scan, op.sin), running(jax.lax.scan, jnp.sin), (CARRY, STEPS[:0], W[:2]), "no step"),
    Case("scan", lambda c: op.scan(lambda a, _: (a * a, a), c, length=2),
         lambda c: jax.lax.scan(lambda a, _: (a * a, a), c, length=2), (CARRY,), "length instead of slices"),
    Case("mapped", rows(transforms.vmap, op.sum, op.sin), rows(jax.vmap, jnp.sum, jnp.sin), (STEPS, CARRY)),
    Case("mapped", rows(transforms.vmap, op.sum, op.sin, in_axes=(1, 1), out_axes=1),
         rows(jax.vmap, jnp.sum, jnp.sin, in_axes=(1, 1), out_axes=1), (STEPS, sample(4)), "other axes"),
    Case("mapped", rows(transforms.vmap, op.sum, op.sin, in_axes=(0, None)),
         rows(jax.vmap, jnp.sum, jnp.sin, in_axes=(0, None)), (sample(3, 3), W), "one not mapped"),
    Case("checkpointed", lambda x, w: checkpoint(lambda a: op.sin(op.sin(a) * w))(x),
         lambda x, w: jnp.sin(jnp.sin(x) * w), (X, W)),
]
