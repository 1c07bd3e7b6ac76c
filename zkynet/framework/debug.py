"""Finding what went wrong: the first value that is not finite, forward or backward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import compile as compiling
from .avals import Aval
from .compile import compile_stats, explain_compiles
from .errors import NonFiniteError
from .gradients import Gradients
from .nodes import ModuleGraph, Node, topological
from .session import describe_origin
from .structure import Structure


@dataclass(frozen=True)
class NonFinite:
    """The first node whose value (or gradient) has a NaN or an infinity although what it came from has none.

    Attributes:
        node: the node; `node.value`, `node.children` tell more.
        direction: "forward" for a value, "backward" for a gradient.
        what: "nan", "inf" or both.
        module: path of the module call that made the node, or None.
        where: 'file:line' in the user's code that made the node, or None.
    """

    node: Node
    direction: str
    what: str
    module: str | None
    where: str | None

    def __str__(self) -> str:
        kind = "value" if self.direction == "forward" else "gradient"
        place = f" in {self.module}" if self.module else ""
        line = f", made at {self.where}" if self.where else ""
        return f"the {kind} of {self.node.name} ({self.node.aval!r}){place}{line} has {self.what}"


def find_nonfinite(graph: ModuleGraph | Node, backward: bool = True) -> NonFinite | None:
    """The first node with a NaN or infinity: in the forward values, else in the gradients from the root down.

    All values are computed in one program, all gradients in another one.

    >>> from zkynet.framework import cg, op
    >>> f = cg.Module.build("F", lambda x: op.log(x) * 2.0, (cg.Variable("x"),))
    >>> from zkynet.framework.debug import find_nonfinite
    >>> find_nonfinite(f(0.0)).node.name
    'log'
    """
    roots = graph.roots if isinstance(graph, ModuleGraph) else [graph]
    nodes = [node for node in topological(roots) if isinstance(node.aval, Aval)]
    compiling.evaluate(nodes)
    found = _first(nodes, [node.value for node in nodes], "forward")
    if found is not None or not backward or len(roots) != 1 or not roots[0].aval.inexact:
        return found
    seed = jnp.ones(roots[0].shape, roots[0].dtype)
    known = {node.call: node.call.backward for node in nodes}  # what the user asked for stays
    gradients = Gradients(roots[0], seed)
    for call, asked in known.items():
        call.backward = asked
    inner = [node for node in reversed(nodes) if node.aval.inexact]
    gradients.compute(tuple([gradients.slots[node.serial] for node in inner]))
    return _first(inner, [gradients.computed[gradients.slots[node.serial]] for node in inner], "backward")


def _first(nodes: list[Node], values: list[Any], direction: str) -> NonFinite | None:
    for node, value in zip(nodes, values, strict=True):
        kinds = _kinds(value)
        if node.template is None and not node.inputs:
            kinds.discard("inf")  # a constant that masks
        if kinds:
            what = " and ".join(sorted(kinds))
            scope = node.scope
            return NonFinite(node, direction, what, scope.path if scope else None, node.where)
    return None


def _kinds(value: Any) -> set[str]:
    """Which of "nan" and "inf" an array contains."""
    array = np.asarray(value)
    if array.dtype.kind not in "fcV":
        return set()
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return ({"nan"} if np.isnan(array).any() else set()) | ({"inf"} if np.isinf(array).any() else set())


@contextlib.contextmanager
def nan_checks() -> Iterator[None]:
    """Raise `NonFiniteError` where the first NaN or infinity arises, for every program run in this block (but the
    epochs of a Trainer, which looks at its losses itself).

    Programs run operator by operator here, so this is slow: for finding a fault, not for training.

    Raises:
        NonFiniteError: naming the operator and its inputs.

    >>> from zkynet.framework import op
    >>> from zkynet.framework.debug import nan_checks
    >>> try:
    ...     with nan_checks():
    ...         y = op.log(0.0).value
    ... except FloatingPointError as error:
    ...     print(str(error)[:30])
    operator log gave inf (float32
    """
    token = compiling.watcher.set(_run_checked)
    try:
        yield
    finally:
        compiling.watcher.reset(token)


def _run_checked(structure: Structure, arrays: Sequence[Any]) -> list[jax.Array]:
    """`Structure.evaluate`, looking at every value."""
    values: list[Any] = []
    arguments = iter(arrays)
    for slot, (item, slots) in enumerate(structure.instructions):
        if item.__class__ is Aval:
            values.append(next(arguments))
            continue
        inputs = [values[s] for s in slots]
        out = item.operator.evaluate(item.kwargs, *inputs)
        values.append(out)
        new = set() if isinstance(out, tuple) else _kinds(out)
        for value in inputs:
            if new and not isinstance(value, tuple):
                given = _kinds(value)
                new -= given | ({"inf"} if "nan" in given else set())
        if new:
            what = " and ".join(sorted(new))
            path, origin = structure.places.get(slot, (None, None))
            place = (f" in {path}" if path else "") + (f", made at {describe_origin(origin)}" if origin else "")
            given = ", ".join(f"{item.operator.input_name(i)} = {_range(v)}" for i, v in enumerate(inputs))
            raise NonFiniteError(f"operator {item.operator.name} gave {what} ({item.aval!r}){place}; "
                                 f"its inputs: {given}.")
    return [values[slot] for slot in structure.outputs]


def _range(value: Any) -> str:
    if isinstance(value, tuple):
        return "several"
    array = np.asarray(value).astype(np.float64)
    if not array.size:
        return "empty"
    return f"{array.item():.6g}" if array.size == 1 else f"min {array.min():.4g}, max {array.max():.4g}"


__all__ = ["NonFinite", "compile_stats", "explain_compiles", "find_nonfinite", "nan_checks"]
