"""Functional: a model whose forward pass a script writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from zkynet.framework.errors import InputError

from ..api.op import Op
from .custom import CustomLayer
from .network import Network
from .values import graph_of, ops_in


class Functional(Network, CustomLayer):
    """Derive it, set layers as attributes, call `initialize_params(optimizer)` and write `_forward_pass_call`.

    >>> from ravnet.dl import Functional
    >>> from ravnet.dl.layers import Activation, Dense
    >>> from ravnet.dl.optimizers import Adam
    >>> class Net(Functional):
    ...     def __init__(self, optimizer):
    ...         self.hidden = Dense(8)
    ...         self.act = Activation("relu")
    ...         self.out = Dense(3)
    ...         self.initialize_params(optimizer)
    ...     def _forward_pass_call(self, input, training=True):
    ...         o = self.act._forward_pass(self.hidden._forward_pass(input))
    ...         return self.out._forward_pass(o)
    >>> net = Net(Adam())
    >>> net.hidden.name, net.act.name, net.out.name
    ('Dense_1', 'Activation_1', 'Dense_2')

    In a training loop: `out = net._forward_pass(R.t(x))`, `loss = R.square_loss(R.t(y), out)`,
    `net._backward_pass(loss)`.
    """

    _example: list[tuple[tuple[int, ...], str]] | None = None

    def _hint(self) -> str:
        return "Call self.initialize_params(optimizer) at the end of its __init__, after the layers are set."

    def _forward_pass(self, *args: Any, **kwargs: Any) -> Any:
        """What `_forward_pass_call` makes of the same arguments; arrays become ops."""
        if not self._named:
            self._name_layers()
        if next(ops_in([*args, *kwargs.values()]), None) is None and not _has_arrays(args):
            raise InputError(f"{self._title} needs its inputs as ops or arrays: model._forward_pass(R.t(x)).")
        graph = graph_of([*args, *kwargs.values()])
        args = tuple([graph.tensor(value) if _is_data(value) else value for value in args])
        kwargs = {name: graph.tensor(value) if _is_data(value) else value for name, value in kwargs.items()}
        given = [value for value in args if isinstance(value, Op)]
        if not any(value.is_late for value in given):
            self._example = [(tuple(value.node.shape), value.node.dtype.name) for value in given]
        return super()._forward_pass(*args, **kwargs)

    def input_example(self) -> list[tuple[tuple[int, ...], str]] | None:
        return self._example


def _is_data(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach") and not isinstance(value, Op)


def _has_arrays(values: Any) -> bool:
    return any(_is_data(value) or isinstance(value, (list, int, float)) for value in values)
