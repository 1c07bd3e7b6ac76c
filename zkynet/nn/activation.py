"""Activations as layers: one row of a table each, over the operator of the same function.

`inplace` is taken where PyTorch takes it, and does nothing: arrays never change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..framework import cg, op
from ..framework.errors import InputError, ShapeError
from .layer import Layer

REQUIRED = inspect.Parameter.empty


class Activation(Layer):
    """A layer that applies one operator; its arguments are the operator's attributes and stay readable as attributes.

    >>> from zkynet import nn
    >>> layer = nn.LeakyReLU(0.5)
    >>> layer, layer.negative_slope, layer([-1.0, 2.0]).value.tolist()
    (LeakyReLU(negative_slope=0.5), 0.5, [-0.5, 2.0])
    """

    _function: Callable[..., Any]
    _signature: inspect.Signature
    _renamed: tuple[tuple[str, str], ...] = ()  # arguments, and what the operator calls them

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        try:
            given = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"{self.functional_name}{self._signature}: {error}.") from None
        given.apply_defaults()
        for name, value in given.arguments.items():
            setattr(self, name, value)

    if TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any: ...

    def call(self, input: Any) -> Any:
        if not self._renamed:
            return self._function(input)
        return self._function(input, **{theirs: getattr(self, ours) for ours, theirs in self._renamed})

    def extra(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._signature.parameters if name != "inplace")


def _activation(name: str, function: Callable[..., Any], doc: str, renamed: dict[str, str] | None = None,
                inplace: bool = False, **arguments: Any) -> type[Activation]:
    """The class of one row; `arguments` are its arguments with their defaults."""
    taken = {**arguments, "inplace": False} if inplace else arguments
    signature = inspect.Signature([inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
                                   for key, default in taken.items()])
    own = {"_function": staticmethod(function), "_signature": signature, "__signature__": signature,
           "_renamed": tuple((key, (renamed or {}).get(key, key)) for key in arguments),
           "__doc__": f"{doc} (torch.nn.{name}).", "__module__": __name__}
    return type(name, (Activation,), own)


Sigmoid = _activation("Sigmoid", op.sigmoid, "y = 1 / (1 + e^-x)")
LogSigmoid = _activation("LogSigmoid", op.logsigmoid, "y = ln sigmoid(x)")
Tanh = _activation("Tanh", op.tanh, "y = tanh x")
Softsign = _activation("Softsign", op.softsign, "y = x / (1 + |x|)")
Tanhshrink = _activation("Tanhshrink", op.tanhshrink, "y = x - tanh x")
ReLU = _activation("ReLU", op.relu, "y = max(x, 0); y'(0) = 0", inplace=True)
ReLU6 = _activation("ReLU6", op.relu6, "y = min(max(x, 0), 6)", inplace=True)
LeakyReLU = _activation("LeakyReLU", op.leaky_relu, "y = x where x > 0, else negative_slope x", inplace=True,
                        negative_slope=0.01)
ELU = _activation("ELU", op.elu, "y = x where x > 0, else alpha (e^x - 1)", inplace=True, alpha=1.0)
CELU = _activation("CELU", op.celu, "y = x where x > 0, else alpha (e^(x / alpha) - 1)", inplace=True, alpha=1.0)
SELU = _activation("SELU", op.selu, "y = s x where x > 0, else s a (e^x - 1); s = 1.0507, a = 1.6733", inplace=True)
GELU = _activation("GELU", op.gelu, 'y = x Phi(x), Phi the normal distribution; approximate="tanh" for a formula near '
                   "it", approximate="none")
SiLU = _activation("SiLU", op.silu, "y = x sigmoid(x)", inplace=True)
Mish = _activation("Mish", op.mish, "y = x tanh(ln(1 + e^x))", inplace=True)
Softplus = _activation("Softplus", op.softplus, "y = ln(1 + e^(beta x)) / beta; exactly x where beta x > threshold",
                       beta=1.0, threshold=20.0)
Hardsigmoid = _activation("Hardsigmoid", op.hardsigmoid, "y = x / 6 + 1/2 brought into [0, 1]", inplace=True)
Hardswish = _activation("Hardswish", op.hardswish, "y = x hardsigmoid(x)", inplace=True)
Hardtanh = _activation("Hardtanh", op.hardtanh, "y = x brought into [min_val, max_val]", inplace=True,
                       min_val=-1.0, max_val=1.0)
Hardshrink = _activation("Hardshrink", op.hardshrink, "y = x where |x| > lambd, else 0", lambd=0.5)
Softshrink = _activation("Softshrink", op.softshrink, "y = x brought nearer to 0 by lambd; 0 where |x| <= lambd",
                         lambd=0.5)
Threshold = _activation("Threshold", op.threshold, "y = x where x > threshold, else value", inplace=True,
                        threshold=REQUIRED, value=REQUIRED)


def _over_axis(name: str, function: Callable[..., Any], doc: str) -> type[Activation]:
    def along(input: Any, dim: int | None) -> Any:
        if dim is None:  # PyTorch's choice
            dim = 0 if len(input.shape) in (0, 1, 3) else 1
        return function(input, axis=dim)

    return _activation(name, along, f"{doc} along axis dim; None is axis 0 of inputs of 1 or 3 axes, else 1", dim=None)


Softmax = _over_axis("Softmax", op.softmax, "y = e^x / sum e^x")
Softmin = _over_axis("Softmin", op.softmin, "y = e^-x / sum e^-x")
LogSoftmax = _over_axis("LogSoftmax", op.log_softmax, "y = x - ln sum e^x")
Softmax2d = _activation("Softmax2d", lambda input: op.softmax(input, axis=-3),
                        "y = e^x / sum e^x over the channels of (batch, channels, height, width) or (channels, height, "
                        "width)")


class GLU(Layer):
    """y = a sigmoid(b), a and b the two halves of x along axis dim (torch.nn.GLU).

    Dauphin et al., "Language modeling with gated convolutional networks", 2017.

    Raises:
        ShapeError: when the axis has an odd length.

    >>> from zkynet import nn
    >>> nn.GLU()([3.0, 0.0]).value.tolist()
    [1.5]
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def call(self, input: Any) -> Any:
        shape = input.shape
        if not -len(shape) <= self.dim < len(shape) or shape[self.dim] % 2:
            raise ShapeError(f"GLU halves axis {self.dim}, but got an input of shape {tuple(shape)}: the axis must "
                             "exist and have an even length.")
        passed, gate = op.split(input, 2, axis=self.dim)
        return passed * op.sigmoid(gate)

    def extra(self) -> str:
        return f"dim={self.dim}"


class PReLU(Layer):
    """y = x where x > 0, else weight x; the slope is learned (torch.nn.PReLU).

    He et al., "Delving deep into rectifiers", 2015.

    Args:
        num_parameters: 1, or the number of channels (the input's axis 1) for a slope of each.
        init: the initial slope.

    Parameters: weight (num_parameters,).

    Raises:
        InputError: when num_parameters is no int, or below 0.
        ShapeError: when there are several slopes and the input has another number of channels.

    >>> from zkynet import nn
    >>> nn.PReLU()([-4.0, 4.0]).value.tolist()
    [-1.0, 4.0]
    """

    weight: cg.Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        super().__init__()
        self.check_sizes(num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.make("weight", (num_parameters,), init)

    def call(self, input: Any) -> Any:
        shape, count = input.shape, self.num_parameters
        slope: Any = self.weight
        if count > 1:
            if len(shape) < 2 or shape[1] != count:
                raise ShapeError(f"PReLU has slopes for {count} channels, but got an input of shape {tuple(shape)}: "
                                 f"axis 1 must be {count}.")
            if len(shape) > 2:
                slope = op.reshape(slope, shape=(count, *(1,) * (len(shape) - 2)))
        elif not shape:
            slope = op.reshape(slope, shape=())
        return op.where(input > 0.0, input, slope * input)

    def extra(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Identity(Layer):
    """y = x; whatever it is given when made is ignored (torch.nn.Identity).

    >>> from zkynet import nn
    >>> nn.Identity(54, unused=True)([1.0, 2.0]).value.tolist()
    [1.0, 2.0]
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def call(self, input: Any) -> Any:
        return input
