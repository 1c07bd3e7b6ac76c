"""Recurrent nets over whole sequences: RNN, LSTM and GRU. Each layer and direction is one compiled loop."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..framework import op
from ..framework.errors import InputError, ShapeError
from ..framework.nodes import Node
from ..framework.operators.recurrent import KINDS, NODES, alive, last_state, recurrence
from .dropout import Dropping
from .given import known, lengths_of

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Recurrent(Dropping):
    """Layers of recurrent nets, one above the other, in one or both directions."""

    _kind: str
    input_size: int | None

    def __init__(self, input_size: int | None, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False):
        super().__init__()
        self.check_sizes(1, hidden_size=hidden_size, num_layers=num_layers)
        self.dropout = dropout
        if dropout and num_layers == 1:
            warnings.warn(f"{self.functional_name}: dropout={dropout} is between layers, so with num_layers=1 it does "
                          "nothing.", stacklevel=3)
        self.hidden_size, self.num_layers, self.bias, self.batch_first = hidden_size, num_layers, bias, batch_first
        self.bidirectional = bidirectional
        self._directions = (False, True) if bidirectional else (False,)
        self._names = [[[f"{name}_l{layer}{'_reverse' if reverse else ''}" for name in NAMES[:4 if bias else 2]]
                        for reverse in self._directions] for layer in range(num_layers)]
        self.input_size, self.deferred = input_size, input_size is None
        if input_size is not None:
            self._make(input_size)

    def _make(self, input_size: int) -> None:
        self.check_sizes(input_size=input_size)
        self.input_size = input_size
        wide, width = KINDS[self._kind].gates * self.hidden_size, input_size
        for layer in self._names:
            shapes = (wide, width), (wide, self.hidden_size), (wide,), (wide,)
            for names in layer:
                for name, shape in zip(names, shapes, strict=False):
                    self.make(name, shape, None, self.hidden_size)
            width = self.hidden_size * len(self._directions)
        self.deferred = False

    def call(self, input: Any, hx: Any = None, lengths: Any = None) -> Any:
        if input.ndim not in (2, 3) or (input.ndim == 2 and lengths is not None):
            raise ShapeError(f"{self.functional_name} takes an input of 3 axes, or of 2 without a batch and lengths, "
                             f"but its shape is {tuple(input.shape)}.")
        batched, time = input.ndim == 3, 1 if self.batch_first and input.ndim == 3 else 0
        if not input.shape[time]:
            raise ShapeError(f"{self.functional_name} needs at least one step, but its input has the shape "
                             f"{tuple(input.shape)}.")
        if self.deferred:
            self._make(input.shape[-1])
        self.check_last(input, self.input_size, "input_size")
        x = op.swapaxes(input, axis1=0, axis2=1) if time else input if batched else op.expand_dims(input, axis=1)
        states = self._first_states(hx, x, batched)
        if lengths is not None:
            lengths = _checked_lengths(lengths, x.shape, self.functional_name)
        x, finals = self._layers(x, states, lengths)
        if lengths is not None:
            x = op.where(alive(NODES, lengths, x.shape[0]), x, 0.0)
        if batched:
            return (op.swapaxes(x, axis1=0, axis2=1) if time else x), self._packed(finals)
        return op.squeeze(x, axis=1), self._packed([op.squeeze(final, axis=1) for final in finals])

    def _packed(self, states: Sequence[Any]) -> Any:
        return tuple(states) if len(states) > 1 else states[0]

    def _first_states(self, hx: Any, x: Any, batched: bool) -> list[list[Any]]:
        """One list for each array of the state, with one for each layer and direction."""
        count, number = KINDS[self._kind].states, self.num_layers * len(self._directions)
        if hx is None:
            zeros = op.zeros((x.shape[1], self.hidden_size), dtype=x.dtype if x.aval.inexact else None)
            return [[zeros] * number] * count
        given = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        wanted = (number, x.shape[1], self.hidden_size) if batched else (number, self.hidden_size)
        shapes = [tuple(h.shape) for h in given]
        if shapes != [wanted] * count:
            what = "a pair (h_0, c_0) of arrays" if count == 2 else "an array"
            raise ShapeError(f"{self.functional_name} needs as its first state {what} of the shape {wanted} (layers "
                             f"times directions, batch, hidden_size), but got {shapes}.")
        axis = 0 if batched else 1
        return [[h[i] if axis == 0 else h[i:i + 1] for i in range(number)] for h in given]

    def _layers(self, x: Any, states: list[list[Any]], lengths: Any) -> tuple[Any, list[Any]]:
        finals: list[list[Any]] = [[] for _ in states]
        index = 0
        for layer, directions in enumerate(self._names):
            if layer:
                x = self.dropped(x)
            outputs = []
            for names, reverse in zip(directions, self._directions, strict=True):
                weight_ih, weight_hh, *biases = [getattr(self, name) for name in names]
                bias_ih, bias_hh = biases or (None, None)
                after = recurrence(op.linear(x, weight_ih, bias_ih), weight_hh, bias_hh, [h[index] for h in states],
                                   kind=self._kind, lengths=lengths, reverse=reverse)
                outputs.append(after[0])
                for found, sequence in zip(finals, after, strict=True):
                    found.append(last_state(sequence, reverse))
                index += 1
            x = outputs[0] if len(outputs) == 1 else op.concat(*outputs, axis=-1)
        return x, [found[0] if len(found) == 1 else op.concat(*found, axis=0) for found in finals]

    def extra(self) -> str:
        said = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        more = [f", {name}={getattr(self, name)}" for name, usual in said.items() if getattr(self, name) != usual]
        return f"{self.input_size}, {self.hidden_size}{''.join(more)}"


def _checked_lengths(lengths: Any, shape: tuple[int, ...], name: str) -> Node:
    """One positive int for each sequence; their values are looked at where they are known."""
    lengths = lengths_of(lengths, name)
    if lengths.shape != (shape[1],) or lengths.dtype.kind not in "iu":
        raise ShapeError(f"{name} needs lengths as integers of the shape ({shape[1]},), one for each sequence of the "
                         f"batch, but got {lengths.aval!r}.")
    given = known(lengths)
    if given is not None and not ((given >= 1) & (given <= shape[0])).all():
        raise InputError(f"{name} needs lengths from 1 to {shape[0]}, the number of steps, but got {given.tolist()}.")
    return lengths


class RNN(_Recurrent):
    """h_t = tanh(x_t weight_ih^T + bias_ih + h_(t-1) weight_hh^T + bias_hh), or relu of it (torch.nn.RNN).

    Elman, "Finding structure in time", 1990. A layer above another takes that one's outputs as its inputs; in the
    reverse direction a second net runs from the last step to the first, and the outputs of both are joined.

    Args:
        input_size: size of the input's last axis; None takes it from the first input.
        hidden_size: size of the state.
        num_layers: how many nets stand above one another.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: whether input and output are (batch, steps, size) instead of (steps, batch, size).
        dropout: probability of zero in what one layer gives to the next, in training mode.
        bidirectional: whether each layer runs in both directions.

    Called with the input, (steps, batch, input_size) or (steps, input_size) without a batch; hx, the first state,
    (layers times directions, batch, hidden_size), zeros by default; and lengths, (batch,) ints: how many steps of each
    sequence count. Outputs after a sequence's end are zero, and its final state is that of its last step, as with
    PyTorch's packed sequences; other lengths compile nothing.

    Returns:
        the outputs h_t of the last layer, (steps, batch, directions times hidden_size), and the final state, like hx.

    Parameters: for layer k weight_ih_lk (hidden_size, input_size), weight_hh_lk (hidden_size, hidden_size), bias_ih_lk
    and bias_hh_lk (hidden_size,); the same with _reverse for the other direction.

    Raises:
        ShapeError: when the input, hx or lengths do not fit.
        InputError: when a size is no int or too small, dropout is no probability, or a length is known and less than 1
            or more than there are steps.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> output, h_n = nn.RNN(3, 4)(np.ones((5, 2, 3), np.float32))
    >>> output.shape, h_n.shape
    ((5, 2, 4), (1, 2, 4))
    """

    def __init__(self, input_size: int | None, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False):
        self._kind = known_nonlinearity(nonlinearity, "RNN")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        self.nonlinearity = nonlinearity


def known_nonlinearity(name: str, layer: str) -> str:
    if name not in ("tanh", "relu"):
        raise InputError(f'{layer} knows the nonlinearities "tanh" and "relu", but got {name!r}.')
    return name


class LSTM(_Recurrent):
    """Long short-term memory (torch.nn.LSTM): with z = x_t weight_ih^T + bias_ih + h_(t-1) weight_hh^T + bias_hh in
    four parts,

        i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
        c_t = f c_(t-1) + i g
        h_t = o tanh(c_t)

    Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al., 2000, and without
    peepholes.

    Args, calls and parameters: as for `RNN`, without nonlinearity; proj_size is PyTorch's, accepted with its default
    only. The state is a pair (h, c), given as hx and returned so; weights and biases have the rows of i, f, g and o in
    this order, 4 hidden_size in all.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> output, (h_n, c_n) = nn.LSTM(3, 4, bidirectional=True)(np.ones((5, 2, 3), np.float32), lengths=[5, 2])
    >>> output.shape, h_n.shape, bool((output.value[2:, 1] == 0).all())
    ((5, 2, 8), (2, 2, 4), True)
    """

    _kind = "lstm"

    def __init__(self, input_size: int | None, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0):
        if proj_size:
            raise InputError("LSTM: proj_size is not supported: for a projected state, write the loop with op.scan and "
                             "an LSTMCell.")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)


class GRU(_Recurrent):
    """Gated recurrent unit (torch.nn.GRU): with z = x_t weight_ih^T + bias_ih and a = h_(t-1) weight_hh^T + bias_hh in
    three parts each,

        r, u = sigmoid(z_r + a_r), sigmoid(z_u + a_u)
        n = tanh(z_n + r a_n)
        h_t = (1 - u) n + u h_(t-1)

    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, with the reset gate after the
    product.

    Args, calls and parameters: as for `RNN`, without nonlinearity; weights and biases have the rows of r, u and n in
    this order, 3 hidden_size in all.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> output, h_n = nn.GRU(3, 4, num_layers=2, batch_first=True)(np.ones((2, 5, 3), np.float32))
    >>> output.shape, h_n.shape
    ((2, 5, 4), (2, 2, 4))
    """

    _kind = "gru"
