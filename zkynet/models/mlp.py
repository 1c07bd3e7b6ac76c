"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from ..framework import op
from ..framework.errors import InputError

Activation = str | Callable[[Any], Any]
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": op.relu, "tanh": op.tanh, "sigmoid": op.sigmoid, "gelu": op.gelu, "silu": op.silu, "elu": op.elu,
    "selu": op.selu, "leaky_relu": op.leaky_relu, "softplus": op.softplus,
}


class MLP(nn.Sequential):
    """Linear layers with an activation (and dropout) between them: y = W_n f(... f(W_1 x + b_1)) + b_n.

    Args:
        sizes: of the input, of every hidden layer and of the output; the first may be None, then it comes from the
            first input.
        activation: a name of `ACTIVATIONS`, or a function of a node, or a Module.
        dropout: the probability of zero after each activation, in training mode.

    Input (..., sizes[0]), output (..., sizes[-1]). Parameters: "0.weight", "0.bias", ... as in torch.nn.Sequential.

    Raises:
        InputError: for fewer than two sizes, or an activation that is not known.

    >>> from zkynet import models, nn
    >>> nn.manual_seed(0)
    >>> net = models.MLP([4, 16, 3])
    >>> net([[5.1, 3.5, 1.4, 0.2]]).shape, sum(p.value.size for p in net.parameters())
    ((1, 3), 131)
    """

    def __init__(self, sizes: Sequence[int | None], activation: Activation = "relu", dropout: float = 0.0):
        widths = [size for size in sizes[1:] if size is not None]
        if not widths or len(widths) < len(sizes) - 1:
            raise InputError(f"MLP needs the sizes of its input and of at least one layer, and only the input's may be "
                             f"None, but got {list(sizes)}.")
        function = function_of(activation, "MLP")
        layers: list[Any] = []
        for number, (before, after) in enumerate(zip([sizes[0], *widths], widths, strict=False)):
            if number:
                layers += [function, nn.Dropout(dropout)] if dropout else [function]
            layers.append(nn.Linear(before, after))
        super().__init__(*layers)


def function_of(activation: Activation, who: str) -> Callable[[Any], Any]:
    """The function of an activation given by name, or as it is."""
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise InputError(f"{who} knows the activations {', '.join(ACTIVATIONS)}, or takes a function or a Module, but "
                         f"got {activation!r}.")
    return ACTIVATIONS[activation]
