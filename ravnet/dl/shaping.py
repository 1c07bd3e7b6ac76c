"""Layers without parameters that join, reshape or combine their inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError
from zkynet.framework.nodes import Node

from .layer import Shape, Unit
from .values import flag


class Reshape(Unit):
    """The same elements in another shape (torch.Tensor.reshape).

    Args:
        shape: the lengths of all axes, the batch included; one of them may be -1, which is inferred.
        contiguous: taken for old scripts' sake; arrays always are.
    """

    def __init__(self, shape: Any, contiguous: Any = None, input_shape: Any = None):
        self.shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        self.contiguous = contiguous if contiguous is None else flag(contiguous, "contiguous")
        super().__init__(input_shape)

    def _make(self, shape: Shape) -> cg.Module:
        return nn.Reshape(*self.shape)


class Transpose(Unit):
    """Two axes exchanged (torch.transpose); or, of more than two, all axes in this order (torch.permute)."""

    def __init__(self, axes: Any, input_shape: Any = None):
        if not isinstance(axes, (tuple, list)) or len(axes) < 2:
            raise InputError(f"Transpose takes the two axes to exchange, but got {axes!r}.")
        self.axes = tuple(axes)
        super().__init__(input_shape)

    def _apply(self, *nodes: Any) -> Node:
        (node,) = nodes
        if len(self.axes) == 2:
            return op.swapaxes(node, axis1=self.axes[0], axis2=self.axes[1])
        return op.transpose(node, axes=self.axes)


class Merge(Unit):
    """A layer of several inputs, given one by one or as a list."""

    _least = 2  # inputs

    def _forward_pass(self, *inputs: Any, training: Any = True) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            inputs = tuple(inputs[0])
        if len(inputs) < self._least:
            raise InputError(f"{self._title} takes {self._least} inputs or more, but got {len(inputs)}.")
        return self._record(inputs, training)


class Concat(Merge):
    """The inputs one after the other along an axis (torch.cat)."""

    _least = 1

    def __init__(self, axis: int = 0, input_shape: Any = None):
        self.axis = axis
        super().__init__(input_shape)

    def _apply(self, *nodes: Any) -> Node:
        return op.concat(*nodes, axis=self.axis)


class _Pairwise(Merge):
    """An operator applied from left to right."""

    _function: Callable[[Any, Any], Any]

    def _apply(self, *nodes: Any) -> Node:
        found, *rest = nodes
        for node in rest:
            found = type(self)._function(found, node)
        return found


class Add(_Pairwise):
    """x + y (+ z ...), broadcast."""

    _function = staticmethod(op.add)


class Subtract(_Pairwise):
    """x - y, broadcast."""

    _function = staticmethod(op.subtract)


class Multiply(_Pairwise):
    """x y, element by element, broadcast."""

    _function = staticmethod(op.mult)


class Division(_Pairwise):
    """x / y, element by element, broadcast."""

    _function = staticmethod(op.divide)


class Dot(_Pairwise):
    """x @ y: the product of vectors or matrices, of stacks of matrices pairwise (torch.matmul)."""

    _function = staticmethod(op.matmul)


class Power(Merge):
    """x^y, element by element.

    Args:
        power: the exponent, a number; left out, the second input is.
    """

    _least = 1

    def __init__(self, power: Any = None, input_shape: Any = None):
        self.power = power
        super().__init__(input_shape)

    def _apply(self, *nodes: Any) -> Node:
        if self.power is not None:
            return op.power(nodes[0], self.power)
        if len(nodes) != 2:
            raise InputError("Power takes an exponent: Power(2), or as the second input.")
        return op.power(*nodes)
