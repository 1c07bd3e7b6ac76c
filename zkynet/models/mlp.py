"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..framework.errors import InputError
from ..nn.given import Activation, activation_of


class MLP(nn.Sequential):
    """Linear layers with an activation (and dropout) between them: y = W_n f(... f(W_1 x + b_1)) + b_n.

    Args:
        sizes: of the input, of every hidden layer and of the output; the first may be None, then it comes from the
            first input.
        activation: a name in `nn.given.ACTIVATIONS` ("relu", "tanh", ...), a function of a node, or a Module.
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
        function = activation_of(activation, "MLP")
        layers: list[Any] = []
        for number, (before, after) in enumerate(zip([sizes[0], *widths], widths, strict=False)):
            if number:
                layers += [function, nn.Dropout(dropout)] if dropout else [function]
            layers.append(nn.Linear(before, after))
        super().__init__(*layers)
