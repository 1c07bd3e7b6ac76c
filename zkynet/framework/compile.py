"""Structures to compiled programs: the bounded cache, its statistics, and why something was compiled."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax

from .avals import Aval, x64_mode
from .errors import TracedValueError
from .nodes import Engine, Node
from .session import Scope
from .structure import Key, Structure, linearize
from .templates import Held
from .xla import jit

CACHE_LIMIT = 1024  # structures kept; the least recently used half goes when there are more

_structures: dict[Key, Structure] = {}
# While set (debug.nan_checks), structures run through it operator by operator instead of compiled.
watcher: ContextVar[Callable[[Structure, Sequence[Any]], list[jax.Array]] | None] = ContextVar("watcher", default=None)
_lock = threading.RLock()
_clock = itertools.count(1)


@dataclass
class CompileStats:
    """Counts since the start of the process (or `reset_compile_stats`).

    `compilations`: programs handed to XLA; `hits`: graphs whose structure was known; `structures`: cached now.
    """

    compilations: int = 0
    hits: int = 0
    structures: int = 0


@dataclass
class Compilation:
    """One compilation: what was compiled, with which inputs, and what differed from the nearest earlier one."""

    what: str
    reason: str
    inputs: dict[str, str]
    operators: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} ({len(self.operators)} operators): {self.reason}"


_stats = CompileStats()
_history: deque[Compilation] = deque(maxlen=256)


def compile_stats() -> CompileStats:
    """How often programs were compiled and found again.

    >>> import zkynet
    >>> from zkynet.framework import op
    >>> before = zkynet.compile_stats()
    >>> for x in (1.0, 2.0, 3.0):
    ...     _ = op.tan(op.tan(x)).value
    >>> zkynet.compile_stats().compilations - before.compilations
    1
    """
    return CompileStats(_stats.compilations, _stats.hits, len(_structures))


def explain_compiles(last: int | None = None) -> list[Compilation]:
    """The recent compilations (up to 256), oldest first, each with what changed in its key."""
    found = list(_history)
    return found if last is None else found[-last:]


def clear_compile_cache() -> None:
    """Forget all programs, statistics and explanations."""
    global _stats
    with _lock:
        _structures.clear()
        _history.clear()
        _stats = CompileStats()


def use_disk_cache(folder: str | os.PathLike[str]) -> None:
    """Keep compiled programs on disk too, so that the next process starts without compiling them again."""
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def structure_of(key: Key) -> Structure:
    """The one Structure with this key."""
    found = _structures.get(key)
    if found is None:
        with _lock:
            if len(_structures) >= CACHE_LIMIT:
                oldest = sorted(_structures.values(), key=lambda s: s.used)[: CACHE_LIMIT // 2]
                for structure in oldest:
                    del _structures[structure.key]
            found = _structures.setdefault(key, Structure(key))
    else:
        _stats.hits += 1
    found.used = next(_clock)
    return found


def run(structure: Structure, arrays: Sequence[Any], what: Callable[[], str] | None = None) -> list[jax.Array]:
    """Run a structure as one compiled program."""
    watch = watcher.get()
    if watch is not None:
        return watch(structure, arrays)
    return (structure.program or program_of(structure, what))(*arrays)


def program_of(structure: Structure, what: Callable[[], str] | None = None) -> Callable[..., list[jax.Array]]:
    """The compiled program of a structure; making it is what `compile_stats` counts."""
    program = structure.program
    if program is None:
        program = structure.program = jit(structure.evaluate)
        record_compilation(structure, what() if what is not None else "a graph")
    return program


def record_compilation(structure: Structure, what: str) -> None:
    """Count a program of this structure, and note what changed against the nearest earlier one."""
    _stats.compilations += 1
    _record(structure, what)


def evaluate(nodes: list[Node]) -> None:
    """Compute the nodes' values, and updates of states that are due with them, in one program."""
    wanted = [node for node in nodes if node._value is None]
    if not wanted:
        return
    if wanted[0].aval.x64 != x64_mode():  # made in a `precision("float64")` block, or outside of this one
        with jax.enable_x64(wanted[0].aval.x64):
            return evaluate(nodes)
    states = due_updates(wanted) if Held.any_pending else None
    key, leaves, slots = linearize([*wanted, *pending_of(states)] if states else wanted)
    structure = structure_of(key)
    watch = watcher.get()
    if watch is not None:
        structure.remember(slots)
    if structure.names is None:
        structure.names = [leaf_name(leaf) for leaf in leaves]
    arrays = known_values(leaves)
    if watch is None:
        program = structure.program or program_of(structure, lambda: describe(wanted[0]))
        values = program(*arrays)
    else:
        values = watch(structure, arrays)
    for node, value in zip(wanted, values):  # noqa: B905 - the values of the states follow
        node._value = value
    if states:
        for state, value in zip(states, values[len(wanted):], strict=True):
            state.commit(value)


def known_values(leaves: Sequence[Node]) -> list[Any]:
    """The values of leaves; raises TracedValueError where only the shape is known."""
    values = [leaf._value for leaf in leaves]
    for value in values:
        if value is None:
            raise TracedValueError(
                "a value was asked for while only shapes are known (in compile, scan, cond, while_loop or vmap). "
                "Use op.cond, op.where or op.scan instead of Python control flow on values.")
    return values


def pending_of(held: Sequence[Held]) -> list[Node]:
    """The updates that are due."""
    return [one._pending for one in held if one._pending is not None]


def due_updates(nodes: Sequence[Node]) -> list[Held]:
    """Parameters and states whose update takes effect when these nodes are computed."""
    if not Held.any_pending:
        return []
    found: dict[Held, None] = {}
    reached = list(nodes)
    seen = set(reached)
    for node in reached:  # grows while it runs
        if node.call.updated:
            found.update(dict.fromkeys(node.call.updated))
        if node._value is None:  # below known values, updates took effect when those were computed
            for child in node.inputs:
                if child not in seen:
                    seen.add(child)
                    reached.append(child)
    return [state for state in found if state._pending is not None]


def leaf_name(leaf: Node) -> str:
    """How a leaf is called in explanations."""
    return leaf.name if leaf.template is not None else ""


def describe(node: Node) -> str:
    """What a program computes: the module whose call ends in this node, or the operator."""
    scope: Scope | None = node.scope
    return scope.path if scope is not None else f"operator {node.name}"


# Why did it compile? ------------------------------------------------------------------------------------


def _record(structure: Structure, what: str) -> None:
    names = structure.names or []
    inputs: dict[str, str] = {}
    times: dict[str, int] = {}
    for index, aval in enumerate(structure.in_avals):
        name = names[index] if index < len(names) and names[index] else f"input {index}"
        number = times[name] = times.get(name, 0) + 1
        if number > 1:
            name = f"{name} ({number})"
        inputs[name] = repr(aval) + (" (weak)" if aval.weak_type else "")
    operators = tuple([item.operator.name for item, _ in structure.instructions if item.__class__ is not Aval])
    _history.append(Compilation(what, _reason(inputs, operators, what), inputs, operators))


def _reason(inputs: dict[str, str], operators: tuple[str, ...], what: str) -> str:
    earlier = [c for c in reversed(_history) if c.what == what] or list(_history)[::-1]
    if not earlier:
        return "the first program"
    nearest = min(earlier, key=lambda c: _distance(c, inputs, operators))
    if nearest.what != what:
        return "not seen before"
    changes = [f"input {name} went from {nearest.inputs[name]} to {aval}"
               for name, aval in inputs.items() if name in nearest.inputs and nearest.inputs[name] != aval]
    if nearest.operators != operators:
        changes.append(_operator_change(nearest.operators, operators))
    elif not changes:
        changes.append("a static attribute, the wiring or the outputs asked for differ")
    return "; ".join(changes)


def _distance(other: Compilation, inputs: dict[str, str], operators: tuple[str, ...]) -> int:
    differing = sum(other.inputs.get(name) != aval for name, aval in inputs.items())
    return differing + (0 if other.operators == operators else 1000 + abs(len(operators) - len(other.operators)))


def _operator_change(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    for index, (a, b) in enumerate(zip(old, new)):  # noqa: B905 - the lengths may differ
        if a != b:
            return f"operator {index} went from {a} to {b}"
    return f"the graph went from {len(old)} to {len(new)} operators"


@contextlib.contextmanager
def count_compilations():
    """Count the compilations of a block: `with count_compilations() as n: ...; n()`."""
    start = _stats.compilations
    yield lambda: _stats.compilations - start


Engine.evaluate = staticmethod(evaluate)
