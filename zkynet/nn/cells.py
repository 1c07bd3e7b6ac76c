"""One step of a recurrent net, for loops of your own (op.scan, or plain Python)."""

from __future__ import annotations

from typing import Any

from ..framework import cg, op
from ..framework.errors import ShapeError
from ..framework.operators.recurrent import KINDS, NODES
from .layer import Layer
from .recurrent import NAMES, known_nonlinearity


class _Cell(Layer):
    _kind: str
    weight_ih: cg.Parameter
    weight_hh: cg.Parameter
    bias_ih: cg.Parameter | None = None
    bias_hh: cg.Parameter | None = None

    def __init__(self, input_size: int | None, hidden_size: int, bias: bool = True):
        super().__init__()
        self.check_sizes(hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        if input_size is None:
            self.deferred = True
        else:
            self._make(input_size)

    def _make(self, input_size: int) -> None:
        self.check_sizes(input_size=input_size)
        self.input_size = input_size
        wide = KINDS[self._kind].gates * self.hidden_size
        shapes = (wide, input_size), (wide, self.hidden_size), (wide,), (wide,)
        for name, shape in list(zip(NAMES, shapes, strict=True))[:4 if self.bias else 2]:
            self.make(name, shape, None, self.hidden_size)
        self.deferred = False

    def call(self, input: Any, hx: Any = None) -> Any:
        if input.ndim not in (1, 2):
            raise ShapeError(f"{self.functional_name} takes an input (batch, input_size) or (input_size,), but its "
                             f"shape is {tuple(input.shape)}.")
        if self.deferred:
            self._make(input.shape[-1])
        self.check_last(input, self.input_size, "input_size")
        net, wanted = KINDS[self._kind], (*input.shape[:-1], self.hidden_size)
        if hx is None:
            state = [op.zeros(wanted, dtype=input.dtype if input.aval.inexact else None)] * net.states
        else:
            state = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        if [tuple(h.shape) for h in state] != [wanted] * net.states:
            what = "a pair (h, c) of arrays" if net.states == 2 else "an array"
            raise ShapeError(f"{self.functional_name} needs as its state {what} of the shape {wanted}, but got "
                             f"{[tuple(h.shape) for h in state]}.")
        from_input = op.linear(input, self.weight_ih, self.bias_ih)
        from_state = op.linear(state[0], self.weight_hh, self.bias_hh)
        new, _ = net.step(NODES, from_input, from_state, *state)
        return new if net.states > 1 else new[0]

    def extra(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """h' = tanh(x weight_ih^T + bias_ih + h weight_hh^T + bias_hh), or relu of it (torch.nn.RNNCell).

    Args:
        input_size: size of the input's last axis; None takes it from the first input.
        hidden_size: size of the state.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".

    Called with the input, (batch, input_size) or (input_size,), and the state h, (batch, hidden_size) or
    (hidden_size,), zeros by default; returns the next state.

    Parameters: weight_ih (hidden_size, input_size), weight_hh (hidden_size, hidden_size), bias_ih and bias_hh
    (hidden_size,).

    Raises:
        InputError: when a size is no int, or below 0.
        ShapeError: when input or state do not fit.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.RNNCell(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(self, input_size: int | None, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"):
        self._kind = known_nonlinearity(nonlinearity, "RNNCell")
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = nonlinearity


class LSTMCell(_Cell):
    """One step of `LSTM` (torch.nn.LSTMCell): the state is a pair (h, c), and so is what it returns.

    Args and parameters: as for `RNNCell`, with rows for the gates i, f, g and o (4 hidden_size in all).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> h, c = nn.LSTMCell(3, 4)(np.ones((2, 3), np.float32))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    _kind = "lstm"


class GRUCell(_Cell):
    """One step of `GRU` (torch.nn.GRUCell).

    Args and parameters: as for `RNNCell`, with rows for the gates r, u and n (3 hidden_size in all).

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.GRUCell(3, 4)(np.ones(3, np.float32)).shape
    (4,)
    """

    _kind = "gru"
