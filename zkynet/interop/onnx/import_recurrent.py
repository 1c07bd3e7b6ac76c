"""Import rules of recurrent nets: RNN, LSTM and GRU.

A net with ONNX's default activations, without peepholes and clipping, is zkynet's own recurrent operator, as PyTorch
has it; any other is the same step written out, in a compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...framework import op
from ...framework.errors import InputError
from ...framework.operators.recurrent import recurrence
from .import_nn import ACTIVATIONS, choice
from .import_registry import importer


class Kind(NamedTuple):
    """A kind of net.

    Attributes:
        gates: how many, in ONNX's order: i o f c of LSTM, z r h of GRU.
        states: h, and c for LSTM.
        activations: the default ones.
        order: where zkynet's operator finds its gates.
        step: (net, z, h, ...) -> the next states, for a projection z of the input.
    """

    gates: int
    states: int
    activations: tuple[str, ...]
    order: tuple[int, ...]
    step: Callable[..., tuple]


class Net(NamedTuple):
    """One direction: weights (of input and state, both transposed at use), biases, and how the step is made."""

    size: int
    weight: Any
    state_weight: Any
    bias: Any
    state_bias: Any
    peepholes: Any
    activations: list[Callable[[Any], Any]]
    clip: float | None
    coupled: bool  # LSTM: the forget gate is 1 - the input gate
    reset_after: bool  # GRU: the reset gate comes after the product with the state's weights

    def active(self, which: int, x: Any) -> Any:
        if self.clip is not None:
            x = op.clip(x, -self.clip, self.clip)
        return self.activations[which](x)

    def part(self, x: Any, index: int) -> Any:
        return x[..., index * self.size:(index + 1) * self.size]

    def rows(self, matrix: Any, *which: int) -> Any:
        """The rows of some gates in a weight or bias."""
        parts = [matrix[i * self.size:(i + 1) * self.size] for i in which]
        return parts[0] if len(parts) == 1 else op.concat(*parts, axis=0)


# Steps ------------------------------------------------------------------------------------------------------


def _rnn_step(net: Net, z: Any, h: Any) -> tuple:
    return (net.active(0, z + op.linear(h, net.state_weight, net.state_bias)),)


def _lstm_step(net: Net, z: Any, h: Any, c: Any) -> tuple:
    """Hochreiter and Schmidhuber 1997, with peepholes from the cell to the gates (Gers and Schmidhuber 2000)."""
    i, o, f, g = (net.part(z + op.linear(h, net.state_weight, net.state_bias), k) for k in range(4))
    if net.peepholes is not None:
        to_i, to_o, to_f = (net.rows(net.peepholes, k) for k in range(3))
        i, f = i + to_i * c, f + to_f * c
    i = net.active(0, i)
    f = 1.0 - i if net.coupled else net.active(0, f)
    c = f * c + i * net.active(1, g)
    if net.peepholes is not None:
        o = o + to_o * c
    return net.active(0, o) * net.activations[2](c), c


def _gru_step(net: Net, z: Any, h: Any) -> tuple:
    """Cho et al. 2014; with `reset_after` the variant of cuDNN and PyTorch."""
    if net.reset_after:
        a = op.linear(h, net.state_weight, net.state_bias)
        gates, last = a[..., :2 * net.size], net.part(a, 2)
    else:
        bias = net.state_bias
        gates = op.linear(h, net.rows(net.state_weight, 0, 1), None if bias is None else net.rows(bias, 0, 1))
    u = net.active(0, net.part(z, 0) + net.part(gates, 0))
    r = net.active(0, net.part(z, 1) + net.part(gates, 1))
    if net.reset_after:
        last = r * last
    else:
        last = op.linear(r * h, net.rows(net.state_weight, 2), None if bias is None else net.rows(bias, 2))
    n = net.active(1, net.part(z, 2) + last)
    return (n + u * (h - n),)


KINDS = {
    "RNN": Kind(1, 1, ("Tanh",), (0,), _rnn_step),
    "LSTM": Kind(4, 2, ("Sigmoid", "Tanh", "Tanh"), (0, 2, 3, 1), _lstm_step),
    "GRU": Kind(3, 1, ("Sigmoid", "Tanh"), (1, 0, 2), _gru_step),
}


# Activations ------------------------------------------------------------------------------------------------

# Those that only recurrent nets have, with their attributes' defaults.
_MORE: dict[str, tuple[Callable[..., Any], dict[str, float]]] = {
    "affine": (lambda x, alpha, beta: x * alpha + beta, {"alpha": 1.0, "beta": 0.0}),
    "scaledtanh": (lambda x, alpha, beta: op.tanh(x * beta) * alpha, {"alpha": 1.0, "beta": 1.0}),
}
_KNOWN = {**{name.lower(): found for name, found in ACTIVATIONS.items()}, **_MORE}


def _activations(names: list[str], alphas: Iterator[float], betas: Iterator[float]) -> list[Callable[[Any], Any]]:
    """Functions by name; each takes the next alpha and beta, where it has them."""
    found = []
    for name in names:
        if name.lower() not in _KNOWN:
            raise InputError(f"the activation {name!r} of a recurrent net is not known; known are: {sorted(_KNOWN)}.")
        body, defaults = _KNOWN[name.lower()]
        sources = {"alpha": alphas, "beta": betas}
        values = {key: float(next(sources[key], default)) for key, default in defaults.items()}
        found.append(lambda x, body=body, values=values: body(x, **values))
    return found


# Rules ------------------------------------------------------------------------------------------------------


def _own_kind(ctx: Any, name: str, names: list[str], peepholes: Any) -> str | None:
    """The kind of zkynet's operator that computes just this, or None."""
    if ctx.attr("clip", None) or peepholes is not None or ctx.attr("input_forget", 0):
        return None
    chosen = tuple(n.lower() for n in names)
    if name == "RNN":
        return chosen[0] if chosen[0] in ("tanh", "relu") else None
    if chosen != tuple(n.lower() for n in KINDS[name].activations):
        return None
    return None if name == "GRU" and not ctx.attr("linear_before_reset", 0) else name.lower()


def _by_operator(kind: Kind, net: Net, x: Any, states: list, lengths: Any, reverse: bool, own: str) -> tuple:
    order = kind.order
    bias = None if net.bias is None else net.rows(net.bias, *order)
    projected = op.linear(x, net.rows(net.weight, *order), bias)
    state_bias = None if net.state_bias is None else net.rows(net.state_bias, *order)
    after = recurrence(projected, net.rows(net.state_weight, *order), state_bias, states, kind=own, lengths=lengths,
                       reverse=reverse)
    return after[0], [sequence[0 if reverse else -1] for sequence in after]


def _by_scan(kind: Kind, net: Net, x: Any, states: list, alive: Any, reverse: bool) -> tuple:
    def step(before: Any, xs: Any) -> tuple:
        z, going_on = xs
        after = kind.step(net, z, *before)
        if going_on is not None:
            after = tuple([op.where(going_on, a, b) for a, b in zip(after, before, strict=True)])
        return after, after[0]

    last, y = op.scan(step, tuple(states), (op.linear(x, net.weight, net.bias), alive), reverse=reverse)
    return y, list(last)


def _first_states(kind: Kind, given: tuple, direction: int, shape: tuple[int, int], dtype: Any) -> list[Any]:
    return [op.zeros(shape, dtype) if initial is None else initial[direction] for initial in given[:kind.states]]


def _recurrent(name: str) -> None:
    kind = KINDS[name]

    @importer(name)
    def _(ctx: Any, x: Any, weight: Any, state_weight: Any, bias: Any = None, lengths: Any = None, h: Any = None,
          c: Any = None, peepholes: Any = None) -> tuple:
        batch_first = bool(ctx.attr("layout", 0))
        if batch_first:
            x, h, c = (None if v is None else op.swapaxes(v, axis1=0, axis2=1) for v in (x, h, c))
        steps, batch, size = x.shape[0], x.shape[1], state_weight.shape[-1]
        direction = choice(ctx, "direction", "forward", "reverse", "bidirectional")
        count = 2 if direction == "bidirectional" else 1
        names = ctx.attr("activations", None) or list(kind.activations) * count
        alphas, betas = (iter(ctx.attr(f"activation_{key}", None) or ()) for key in ("alpha", "beta"))
        if isinstance(lengths, np.ndarray) and (lengths >= steps).all():
            lengths = None
        alive = None
        if lengths is not None:
            alive = op.less(np.arange(steps).reshape(-1, 1, 1), op.reshape(lengths, shape=(1, -1, 1)))
        ys, lasts = [], []
        for i in range(count):
            reverse = direction == "reverse" or i == 1
            width = len(names) // count
            own_names = names[i * width:(i + 1) * width]
            biases = (None, None) if bias is None else (bias[i][:kind.gates * size], bias[i][kind.gates * size:])
            net = Net(size, weight[i], state_weight[i], *biases, None if peepholes is None else peepholes[i],
                      _activations(own_names, alphas, betas), ctx.attr("clip", None) or None,
                      bool(ctx.attr("input_forget", 0)), bool(ctx.attr("linear_before_reset", 0)))
            states = _first_states(kind, (h, c), i, (batch, size), x.dtype)
            own = _own_kind(ctx, name, own_names, peepholes)
            if own is not None:
                y, last = _by_operator(kind, net, x, states, lengths, reverse, own)
            else:
                y, last = _by_scan(kind, net, x, states, alive, reverse)
            ys.append(y if alive is None else op.where(alive, y, op.zeros_like(y)))
            lasts.append(last)
        y = op.stack(*ys, axis=2 if batch_first else 1)
        if batch_first:
            y = op.transpose(y, axes=(1, 0, 2, 3))
        return (y, *[op.stack(*parts, axis=1 if batch_first else 0) for parts in zip(*lasts, strict=True)])


for _name in KINDS:
    _recurrent(_name)
