"""Rules of loops and branches: bodies are graphs of their own, which read values of the graph around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .export_graph import Graph, Value
from .export_rules import rule
from .export_trace import Kind, Program


@rule("branch")
def _branch(graph: Graph, predicate: Value, *inputs: Value, if_true: Program, if_false: Program) -> Any:
    bodies = []
    for program in (if_true, if_false):
        body = Graph(graph.model, graph)
        bodies.append(body.finished([], body.run(program, inputs), graph.outs))
    made = graph.add("If", graph.cast(predicate, "bool"), outputs=len(graph.outs), then_branch=bodies[0],
                     else_branch=bodies[1])
    return made if isinstance(made, tuple) else (made,)


@rule("loop")
def _loop(graph: Graph, *inputs: Value, test: Program, body: Program, carried: int) -> Any:
    from_test = inputs[carried:carried + len(test.inputs) - carried]
    from_body = inputs[len(test.inputs):]
    first = graph.run(test, [*inputs[:carried], *from_test])[0]
    inner = Graph(graph.model, graph)
    number = inner.input("iteration", Kind((), np.dtype("int64")))
    going = inner.input("going", Kind((), np.dtype("bool")))
    carry = [inner.input("carry", kind) for kind in graph.outs]
    after = inner.run(body, [*carry, *from_body])
    again = inner.run(test, [*after, *from_test])
    made = graph.add("Loop", "", first, *inputs[:carried], outputs=carried, body=inner.finished(
        [number, going, *carry], [*again, *after], [going.kind, *graph.outs]))
    return made if isinstance(made, tuple) else (made,)


@rule("scanned")
def _scanned(graph: Graph, *inputs: Value, body: Program, carried: int, sliced: int, length: Any,
             reverse: bool) -> Any:
    """Outputs: the last carry, the outputs of all steps, and the carry before each step."""
    init, rows, captured = inputs[:carried], inputs[carried:carried + sliced], inputs[carried + sliced:]
    init = [graph.cast(x, kind.dtype) for x, kind in zip(init, graph.outs, strict=False)]
    if not rows:  # there must be something to go through
        counter = graph.add("Expand", np.zeros((1,), np.int32), graph.dims([length]))
        rows = (Value.of(counter, Kind((length,), np.dtype("int32"))),)
    inner = Graph(graph.model, graph)
    carry = [inner.input("carry", kind) for kind in graph.outs[:carried]]
    items = [inner.input("item", Kind(row.shape[1:], row.dtype)) for row in rows]
    after = inner.run(body, [*carry, *items[:sliced], *captured])
    kinds = [*(kind for kind in graph.outs[:carried]), *(Kind(k.shape[1:], k.dtype) for k in graph.outs[carried:])]
    made = graph.add("Scan", *init, *rows, outputs=len(graph.outs), num_scan_inputs=len(rows),
                     scan_input_directions=[int(reverse)] * len(rows),
                     scan_output_directions=[int(reverse)] * (len(graph.outs) - carried),
                     body=inner.finished([*carry, *items], [*after, *carry], kinds))
    return made if isinstance(made, tuple) else (made,)


@rule("mapped")
def _mapped(graph: Graph, *inputs: Value, structure: Program, in_axes: tuple, size: Any) -> Any:
    """A loop that carries nothing."""
    rows = [x for x, axis in zip(inputs, in_axes, strict=True) if axis == 0]
    inner = Graph(graph.model, graph)
    items = iter([inner.input("item", Kind(row.shape[1:], row.dtype)) for row in rows])
    given = [next(items) if axis == 0 else x for x, axis in zip(inputs, in_axes, strict=True)]
    made = graph.add("Scan", *rows, outputs=len(graph.outs), num_scan_inputs=len(rows), body=inner.finished(
        [x for x, axis in zip(given, in_axes, strict=True) if axis == 0], inner.run(structure, given),
        [Kind(kind.shape[1:], kind.dtype) for kind in graph.outs]))
    return made if isinstance(made, tuple) else (made,)


@rule("checkpointed")
def _checkpointed(graph: Graph, *inputs: Value, structure: Program, again: bool) -> Any:
    return tuple(graph.run(structure, inputs))
