"""Rules of recurrent nets: whole sequences as compiled loops, and single cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...framework import op
from ...framework.operators.recurrent import last_state, recurrence
from .registry import add_rules, draw, node, rule


def _net(stream: Any, kind: str, x: Any, states: Sequence[Any], params: Sequence[Any], biases: bool, layers: int,
         dropout: float, training: bool, bidirectional: bool, batch_first: bool) -> tuple[Any, list[Any]]:
    """The outputs of the last layer, and the final states of all layers and directions."""
    x, states = node(x), [node(state) for state in states]
    single, time = x.ndim == 2, x.ndim == 3 and batch_first
    if single:
        x, states = op.expand_dims(x, axis=1), [op.expand_dims(state, axis=1) for state in states]
    elif time:
        x = op.swapaxes(x, axis1=0, axis2=1)
    step, finals, index = 4 if biases else 2, [[] for _ in states], 0
    for layer in range(layers):
        if layer and dropout and training:
            x = op.dropout(x, draw(stream), p=float(dropout))
        outputs = []
        for reverse in (False, True)[:1 + bool(bidirectional)]:
            weight, recurrent, *both = params[index * step:(index + 1) * step]
            bias, recurrent_bias = both or (None, None)
            after = recurrence(op.linear(x, weight, bias), recurrent, recurrent_bias,
                               [state[index] for state in states], kind=kind, reverse=reverse)
            outputs.append(after[0])
            for found, sequence in zip(finals, after, strict=True):
                found.append(last_state(sequence, reverse))
            index += 1
        x = outputs[0] if len(outputs) == 1 else op.concat(*outputs, axis=-1)
    ends = [found[0] if len(found) == 1 else op.concat(*found, axis=0) for found in finals]
    if single:
        return op.squeeze(x, axis=1), [op.squeeze(end, axis=1) for end in ends]
    return (op.swapaxes(x, axis1=0, axis2=1) if time else x), ends


@rule("lstm.input", random=True)
def _(stream: Any, x: Any, states: Sequence[Any], params: Sequence[Any], *options: Any) -> tuple:
    y, ends = _net(stream, "lstm", x, states, params, *options)
    return y, *ends


for _name, _kind in (("gru", "gru"), ("rnn_tanh", "tanh"), ("rnn_relu", "relu")):
    def _plain(stream: Any, x: Any, state: Any, params: Sequence[Any], *options: Any, kind: str = _kind) -> tuple:
        y, ends = _net(stream, kind, x, [state], params, *options)
        return y, ends[0]

    add_rules({f"{_name}.input": _plain}, random=True)


def _cell(kind: str, x: Any, states: Sequence[Any], weight: Any, recurrent: Any, bias: Any,
          recurrent_bias: Any) -> list[Any]:
    """One step of a loop."""
    x, states = node(x), [node(state) for state in states]
    single = x.ndim == 1
    if single:
        x, states = op.expand_dims(x, axis=0), [op.expand_dims(state, axis=0) for state in states]
    projected = op.expand_dims(op.linear(x, weight, bias), axis=0)
    after = recurrence(projected, recurrent, recurrent_bias, states, kind=kind)
    return [op.squeeze(sequence, axis=(0, 1) if single else 0) for sequence in after]


@rule("lstm_cell")
def _(x: Any, states: Sequence[Any], weight: Any, recurrent: Any, bias: Any = None,
      recurrent_bias: Any = None) -> tuple:
    return tuple(_cell("lstm", x, states, weight, recurrent, bias, recurrent_bias))


for _name, _kind in (("gru_cell", "gru"), ("rnn_tanh_cell", "tanh"), ("rnn_relu_cell", "relu")):
    add_rules({_name: lambda x, state, weight, recurrent, bias=None, recurrent_bias=None, kind=_kind: _cell(
        kind, x, [state], weight, recurrent, bias, recurrent_bias)[0]})
