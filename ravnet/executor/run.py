"""Running a call graph: programs compiled once, values freed after their last use, failures kept to their branch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from zkynet.framework.avals import Aval, aval_of
from zkynet.framework.compile import run as run_structure
from zkynet.framework.structure import Structure

from ..functions import call_late
from ..wire.graph import Call, CallGraph, Late
from .engine import Failure

Value = jax.Array | np.ndarray | Failure
# (calls done, calls in all, the wanted values that the last call gave, all values that later calls use: None for those
# of an earlier run that are not read yet)
Report = Callable[[int, int, Mapping[int, Value], Mapping[int, Any]], None]


class Stopped(Exception):
    """Raised by `report` to end a run between two calls."""


def execute(graph: CallGraph, wanted: Iterable[int], report: Report, known: Mapping[int, Any] | None = None) -> None:
    """Compute the wanted values.

    Args:
        graph: a checked graph.
        wanted: numbers of values; calls that none of them needs are left out.
        report: called after each call. Wanted values may still be on their way (JAX computes while Python goes on).
        known: values of an earlier run: what gave them is left out, too. Each is read when it is needed.
    """
    known = known or {}
    wanted = set(wanted)
    total, calls = len(needed_calls(graph, wanted)), needed_calls(graph, wanted, known)
    uses = Counter(number for call in calls for number in call.inputs)
    values: dict[int, Any] = dict.fromkeys(number for number in uses if number in known)
    given = {number: aval_array(leaf) for number in wanted if (leaf := graph.leaves.get(number)) is not None}
    report(total - len(calls), total, given, values)
    for done, call in enumerate(calls, total - len(calls) + 1):
        for number in call.inputs:
            if values.get(number) is None:
                leaf = graph.leaves[number] if number in graph.leaves else known[number]
                values[number] = leaf if not isinstance(leaf, np.ndarray) else jax.numpy.asarray(leaf)
        results = _results(graph, call, [values[number] for number in call.inputs])
        for number in call.inputs:
            uses[number] -= 1
            if not uses[number]:
                values.pop(number, None)
        found: dict[int, Value] = {}
        for number, result in zip(call.outputs, results, strict=True):
            if number in known:
                continue
            if uses[number]:
                values[number] = result
            if number in wanted:
                found[number] = result
        report(done, total, found, values)


def aval_array(leaf: Any) -> np.ndarray:
    """A leaf as the array that it is in a program: Python numbers have 32 bits there."""
    return np.asarray(leaf, aval_of(leaf).dtype)


def needed_calls(graph: CallGraph, wanted: Iterable[int], known: Container[int] = ()) -> list[Call]:
    """The calls that the wanted values depend on and that are not known, in order."""
    needed = {number for number in wanted if number not in known}
    found: list[Call] = []
    for call in reversed(graph.calls):
        if not needed.isdisjoint(call.outputs):
            needed.update([number for number in call.inputs if number not in known])
            found.append(call)
    return found[::-1]


def _results(graph: CallGraph, call: Call, inputs: list[Any]) -> Sequence[Value]:
    failed = next((value for value in inputs if isinstance(value, Failure)), None)
    program = call.program
    if isinstance(program, Late):
        return [failed] * program.outputs if failed else _late(program, call.origin, inputs)
    if failed is None:
        try:
            outputs = run_structure(program, inputs)
            if any(not item.operator.jit for item, _ in program.instructions if item.__class__ is not Aval):
                jax.block_until_ready(outputs)  # so that what their Python code raises is raised here
            return outputs
        except Exception:  # which operator it was is found below
            pass
    return one_by_one(program, inputs, graph.places.get(program, {}), call.origin)


def _late(program: Late, origin: str | None, inputs: list[Any]) -> Sequence[Value]:
    arrays = [np.asarray(value) for value in inputs]
    try:
        found = call_late(program.function, arrays, json.loads(program.params))
    except Exception as error:  # whatever the requester's data made a library raise
        return [_failure(program.function, arrays, origin, error)] * program.outputs
    results = [np.asarray(array) for array in (found if isinstance(found, (list, tuple)) else [found])]
    if len(results) != program.outputs:
        error = ValueError(f"it gave {len(results)} results, but the graph says {program.outputs}")
        return [_failure(program.function, arrays, origin, error)] * program.outputs
    return results


def one_by_one(structure: Structure, inputs: Sequence[Any], places: dict[int, str],
               origin: str | None = None) -> list[Value]:
    """Run operator by operator: a failing one is named, and what does not need it is computed all the same."""
    values: list[Any] = []
    arguments = iter(inputs)
    for slot, (item, slots) in enumerate(structure.instructions):
        if item.__class__ is Aval:
            values.append(next(arguments))
            continue
        arrays = [values[s] for s in slots]
        failed = next((array for array in arrays if isinstance(array, Failure)), None)
        if failed is None:
            try:
                values.append(jax.block_until_ready(item.operator.evaluate(item.kwargs, *arrays)))
                continue
            except Exception as error:
                failed = _failure(item.operator.name, arrays, _place(places.get(slot), origin), error)
        values.append(failed)
    return [values[slot] for slot in structure.outputs]


def _place(place: str | None, origin: str | None) -> str | None:
    """Where the operator was written: for a structure that several lines share that is known of the first one only."""
    if place is None or origin is None or origin in place:
        return place or origin
    return f"{place}, in the program recorded at {origin}"


def _failure(name: str, arrays: Sequence[Any], place: str | None, error: Exception) -> Failure:
    shapes = ", ".join(f"{np.asarray(a).dtype}{list(np.shape(a))}" for a in arrays if not isinstance(a, tuple))
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Failure(f"op {name}({shapes}){f' of {place}' if place else ''} failed: {reason}")
