"""Many steps as one program: a step is traced, and a compiled loop runs it over the batches of a block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..framework import op
from ..framework.compile import record_compilation
from ..framework.compiled import Traced, trace
from ..framework.structure import Structure
from ..framework.xla import jit

_KEPT = 32  # programs of earlier models and options


class Loop:
    """The compiled form of a step.

    A step is a function of one batch's nodes that returns (sums, loss): a list of nodes that are added up over the
    batches, and a scalar that is kept for each. What it assigns to parameters and states goes from batch to batch.

    Args:
        step: called once, with one node for each of `avals`.
        avals: of a batch's arrays, and last of the number of its real rows.
        what: how explanations call it.
        programs: compiled programs by what they compute; loops of the same computation share one.
        place: puts what does not change where it is computed with.
    """

    def __init__(self, step: Callable[..., tuple[list[Any], Any]], avals: Sequence[Any], what: str,
                 programs: dict[Any, Any], place: Callable[[list[Any]], list[Any]] = list):
        self.place, self.size = place, avals[0].shape[0]
        traced: Traced = trace(step, avals)
        self.structure = traced.structure
        self.updated = traced.states  # parameters and states that change from batch to batch
        changing = {held: place for place, held in enumerate(self.updated)}
        self.fixed = [held for held in traced.captured if held not in changing]
        fixed = iter(range(len(self.fixed)))
        # For each input after the batch: whether it is one of those that change, and its place there.
        sources = tuple([(True, changing[held]) if held in changing else (False, next(fixed))
                         for held in traced.captured])
        key = (self.structure, sources, len(self.updated))
        if key not in programs:
            for old in list(programs)[:max(0, len(programs) + 1 - _KEPT)]:
                del programs[old]
            programs[key] = jit(functools.partial(_run, *key))
            record_compilation(self.structure, what)
        self.program = programs[key]

    def start(self, totals: Sequence[Any] = ()) -> list[Any]:
        """What the loop carries before its first batch: changing values, then the sums so far (zero, if not given)."""
        avals = self.structure.out_avals[:-len(self.updated) - 1]
        given = [np.asarray(total, aval.dtype) for total, aval in zip(totals, avals)]  # noqa: B905 - may be empty
        return [*(held.value for held in self.updated), *(given or [np.zeros(a.shape, a.dtype) for a in avals])]

    def totals(self, carry: Sequence[jax.Array]) -> Sequence[jax.Array]:
        """The sums so far."""
        return carry[len(self.updated):]

    def commit(self, carry: Sequence[jax.Array]) -> None:
        """Give parameters and states their new values."""
        for held, value in zip(self.updated, carry):  # noqa: B905 - the sums follow
            held.commit(value)

    def run(self, carry: list[Any], block: Sequence[Any], start: int, stop: int, rows: int) -> tuple[list[Any], Any]:
        """Run the batches start..stop of a block of arrays (batches, batch size, ...) with `rows` real rows.

        Returns:
            the carry, and the losses (batches,), zero for those that did not run.
        """
        fixed = self.place([held.value for held in self.fixed])
        return self.program(carry, fixed, list(block), start, stop, rows)


def _run(structure: Structure, sources: tuple[tuple[bool, int], ...], count: int, carry: list[Any], fixed: list[Any],
         block: list[Any], start: Any, stop: Any, rows: Any) -> tuple[list[Any], Any]:
    """Loop.run, of a structure whose inputs come from these sources and whose last `count` outputs are carried on."""
    batches, size = block[0].shape[:2]
    sums = len(structure.outputs) - count - 1

    def body(number: Any, state: Any) -> Any:
        carry, losses = state
        batch = [jax.lax.dynamic_index_in_dim(array, number, keepdims=False) for array in block]
        real = jnp.clip(rows - number * size, 0, size)
        held = [carry[place] if changes else fixed[place] for changes, place in sources]
        outputs = structure.evaluate(*batch, real, *held)
        totals = [total + part for total, part in zip(carry[count:], outputs[:sums], strict=True)]
        return [*outputs[sums + 1:], *totals], losses.at[number].set(outputs[sums])

    losses = jnp.zeros((batches,), structure.out_avals[sums].dtype)
    return jax.lax.fori_loop(start, stop, body, (list(carry), losses))


@functools.partial(jax.jit, static_argnums=(2, 3))
def shuffled(arrays: Sequence[Any], order: Any, batches: int, size: int) -> list[Any]:
    """The rows in this order, as (batches, size, ...)."""
    return [jnp.take(array, order, axis=0).reshape(batches, size, *array.shape[1:]) for array in arrays]


def real_rows(count: Any, size: int) -> Any:
    """Weights of a batch's rows: one for the first `count`, zero for what fills it up."""
    return op.cast(op.less(op.arange(size), count), "float32")


