"""The rule of recurrent nets: ONNX's own LSTM, GRU and RNN where they say the same, else a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...framework.operators.recurrent import NODES, _forward
from .export_graph import Graph, Value
from .export_rules import rule
from .export_trace import lift

# Name, and in which order ONNX has our gates: i, f, g, o of an LSTM and r, u, n of a GRU.
_KINDS = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "tanh": ("RNN", (0,)), "relu": ("RNN", (0,))}


@rule("recurrent")
def _recurrent(graph: Graph, lengths: Value, projected: Value, weight: Value, bias: Value, *states: Value, kind: str,
               reverse: bool) -> Any:
    """ONNX keeps only the last of an LSTM's c, and it goes on with zeros where a sequence has ended."""
    source = _projection(graph, projected)
    if source is None or lengths.shape != (0,) or not _last_only(graph, len(states), projected.shape[0], reverse):
        return graph.expand(_by_steps, lengths, projected, weight, bias, *states, kind=kind, reverse=reverse)
    x, weight_ih, bias_ih = source
    op_type, order = _KINDS[kind]
    rows = [weight_ih, weight] + ([bias_ih] if bias_ih is not None else []) + [bias]
    given = [_gates(graph, part, order) for part in rows]
    if bias_ih is None:
        given.insert(2, graph.constant(np.zeros(bias.shape, bias.dtype)))
    first = np.array([0], np.int64)
    inputs = [x, *(graph.add("Unsqueeze", part, first) for part in (
        given[0], given[1], graph.add("Concat", given[2], given[3], axis=0))), "",
              *(graph.add("Unsqueeze", state, first) for state in states)]
    how: dict[str, Any] = {"hidden_size": weight.shape[1], "direction": "reverse" if reverse else "forward"}
    if kind == "gru":
        how["linear_before_reset"] = 1
    elif kind in ("relu", "tanh"):
        how["activations"] = [kind.capitalize()]
    made = graph.add(op_type, *inputs, outputs=3 if kind == "lstm" else 2, **how)
    after = [graph.add("Squeeze", made[0], np.array([1], np.int64))]
    if kind == "lstm":
        graph.model.last_states.add(made[2])
        after.append(made[2])
    return (*after, *[""] * (len(graph.outs) - len(after)))


def _by_steps(*inputs: Any, kind: str, reverse: bool) -> Any:
    return _forward(NODES, *inputs, kind=kind, reverse=reverse)


def _projection(graph: Graph, projected: Value) -> tuple[Value, Value, Value | None] | None:
    """Input, weight and bias of the linear map that made the projections; None where something else did."""
    step, inputs = graph.model.makers.get(projected, (None, []))
    if step is None or len(inputs) < 2 or inputs[0].ndim != 3 or len({x.dtype for x in (*inputs, projected)}) > 1:
        return None
    if step.operator.name == "linear":
        return inputs[0], inputs[1], inputs[2]
    if step.operator.name == "tensordot" and step.attributes["axes"] == ((-1,), (-1,)) and inputs[1].ndim == 2:
        return inputs[0], inputs[1], None
    return None


def _last_only(graph: Graph, states: int, steps: Any, reverse: bool) -> bool:
    """Whether of all outputs but the first nothing is read but a second state's last step."""
    last = 0 if reverse else lift(lambda n: n - 1, steps)
    for index, steps_reading in graph.readers().items():
        if index == 0:
            continue
        if index >= states:
            return False
        for step in steps_reading:
            if step is None or step.operator.name != "slice" or step.attributes["starts"][0] != last \
                    or step.kinds[0].shape[0] != 1 or step.kinds[0].shape[1:] != graph.outs[index].shape[1:]:
                return False
    return True


def _gates(graph: Graph, value: Value, order: tuple[int, ...]) -> str:
    """The rows of each gate in ONNX's order."""
    if len(order) == 1:
        return value
    parts = graph.add("Split", value, outputs=len(order), axis=0, num_outputs=len(order))
    return graph.add("Concat", *[parts[i] for i in order], axis=0)
