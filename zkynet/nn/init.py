"""Initial values of parameters, made by NumPy on the host: nothing is compiled to fill a weight.

All take a shape, give a float32 array and draw from one generator that `manual_seed` sets anew, so the same seed and
the same order of layers give the same net. For a weight (out, in, *kernel) the fan-in is in * prod(kernel), the fan-out
out * prod(kernel). Layers take a name ("he_normal"), a name with arguments (("xavier_uniform", {"gain": 2.0})), a
function of the shape, a number or an array. Names and arguments are those of torch.nn.init, without the underscore and
without its `generator`: `manual_seed` stands for it. "xavier", "glorot", "he", "kaiming" and "lecun" without a
distribution are the uniform ones.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..framework.errors import InputError
from ..framework.operators.arguments import is_int

Shape = tuple[int, ...]
Initialiser = str | tuple[str, Mapping[str, Any]] | float | np.ndarray | Callable[[Shape], Any]

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Start the generator of initial values (and of the layers' random streams) anew.

    >>> manual_seed(3)
    >>> first = uniform((2,))
    >>> manual_seed(3)
    >>> bool((first == uniform((2,))).all())
    True

    Raises:
        InputError: when the seed is not an int of at least 0.
    """
    if not is_int(seed) or seed < 0:
        raise InputError(f"manual_seed needs an int of at least 0, but got {seed!r}.")
    global _generator
    _generator = np.random.default_rng(seed)


def fresh_seed() -> int:
    """A seed for a random stream, drawn from the generator."""
    return int(_generator.integers(2**31 - 1))


# Without regard to the shape --------------------------------------------------------------------------------


def uniform(shape: Shape, a: float = 0.0, b: float = 1.0) -> np.ndarray:
    """Uniform in [a, b)."""
    return (a + (b - a) * _generator.random(shape, np.float32)).astype(np.float32)


def normal(shape: Shape, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """Normal of this mean and standard deviation."""
    return (mean + std * _generator.standard_normal(shape, np.float32)).astype(np.float32)


def truncated_normal(shape: Shape, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> np.ndarray:
    """Normal, but drawn again where it is outside of [a, b]; `std` is that before, the result's is less.

    Raises:
        InputError: when a < b does not hold, or std is not above 0.

    >>> bool((abs(truncated_normal((1000,), std=5.0)) <= 2.0).all())
    True
    """
    if not (a < b and std > 0):
        raise InputError(f"truncated_normal needs a < b and std > 0, but got a={a}, b={b}, std={std}.")
    low, high = (a - mean) / std, (b - mean) / std
    found = np.empty(0)
    count = math.prod(shape)
    while found.size < count:
        found = np.concatenate([found, _truncated(low, high, 2 * (count - found.size) + 16)])
    return np.clip(mean + std * found[:count], a, b).astype(np.float32).reshape(shape)


trunc_normal = truncated_normal  # PyTorch's name


def _truncated(low: float, high: float, count: int) -> np.ndarray:
    """Standard normals within [low, high], from so many attempts: normal ones, or uniform ones that are kept as often
    as the density there says, where few normal ones would fall into the interval."""
    if math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)) > 0.2:
        drawn = _generator.standard_normal(count)
        return drawn[(low <= drawn) & (drawn <= high)]
    densest = min(max(0.0, low), high)
    reach = math.sqrt(densest * densest + 60.0)  # beyond, the density is e^-30 of what it is there at most
    drawn = _generator.uniform(max(low, -reach), min(high, reach), count)
    return drawn[_generator.random(count) < np.exp((densest * densest - drawn * drawn) / 2)]


def constant(shape: Shape, val: float) -> np.ndarray:
    """All elements `val`."""
    return np.full(shape, val, np.float32)


def zeros(shape: Shape) -> np.ndarray:
    return np.zeros(shape, np.float32)


def ones(shape: Shape) -> np.ndarray:
    return np.ones(shape, np.float32)


# By the number of inputs and outputs ------------------------------------------------------------------------


def fans(shape: Shape) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in, *kernel)."""
    if len(shape) < 2:
        raise InputError(f"fan-in and fan-out need a weight of at least two axes (out, in, ...), but got {shape}.")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights are larger because of the activation behind them (torch.nn.init.calculate_gain).

    Args:
        nonlinearity: a key of GAINS, or "leaky_relu": sqrt(2 / (1 + slope^2)).
        param: the slope of "leaky_relu", 0.01 by default.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise InputError(f"there is no gain for {nonlinearity!r}; there is one for: "
                         f"{', '.join(sorted([*GAINS, 'leaky_relu']))}.")
    return GAINS[nonlinearity]


def _symmetric(shape: Shape, std: float) -> np.ndarray:
    """Uniform around 0 with this standard deviation."""
    bound = math.sqrt(3.0) * std
    return uniform(shape, -bound, bound)


def _xavier_std(shape: Shape, gain: float) -> float:
    return gain * math.sqrt(2.0 / max(sum(fans(shape)), 1))


def _kaiming_std(shape: Shape, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise InputError(f"mode must be 'fan_in' or 'fan_out', but is {mode!r}.")
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fans(shape)[mode == "fan_out"], 1))


def xavier_uniform(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Uniform of standard deviation gain sqrt(2 / (fan-in + fan-out)): Glorot and Bengio, "Understanding the difficulty
    of training deep feedforward neural networks", 2010, equation 16. Also called "glorot_uniform", "xavier" and
    "glorot".

    >>> bool((abs(xavier_uniform((2, 4))) <= 1.0).all())
    True
    """
    return _symmetric(shape, _xavier_std(shape, gain))


def xavier_normal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Normal of standard deviation gain sqrt(2 / (fan-in + fan-out)). Also called "glorot_normal"."""
    return normal(shape, 0.0, _xavier_std(shape, gain))


def kaiming_uniform(shape: Shape, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> np.ndarray:
    """Uniform of standard deviation gain / sqrt(fan): He et al., "Delving deep into rectifiers", 2015, equations 10
    and 14. Also called "he_uniform", "kaiming" and "he".

    Args:
        a: the slope below 0 of a leaky ReLU, of which `calculate_gain` makes the gain. PyTorch's layers use sqrt(5),
            which makes the weights uniform in +-1/sqrt(fan-in).
        mode: "fan_in" keeps the variance of what goes forward, "fan_out" that of the gradients.
        nonlinearity: see `calculate_gain`.
    """
    return _symmetric(shape, _kaiming_std(shape, a, mode, nonlinearity))


def kaiming_normal(shape: Shape, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> np.ndarray:
    """Normal of the same standard deviation as `kaiming_uniform`. Also called "he_normal"."""
    return normal(shape, 0.0, _kaiming_std(shape, a, mode, nonlinearity))


def lecun_uniform(shape: Shape) -> np.ndarray:
    """Uniform of standard deviation 1 / sqrt(fan-in): LeCun et al., "Efficient backprop", 1998, equation 16. Also
    called "lecun"."""
    return _symmetric(shape, _kaiming_std(shape, 0.0, "fan_in", "linear"))


def lecun_normal(shape: Shape) -> np.ndarray:
    """Normal of standard deviation 1 / sqrt(fan-in), which SELU is made for (Klambauer et al., 2017); not truncated."""
    return normal(shape, 0.0, _kaiming_std(shape, 0.0, "fan_in", "linear"))


# Matrices of a kind -----------------------------------------------------------------------------------------


def orthogonal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """gain times a random matrix (shape[0], the rest) whose rows, or columns if they are fewer, are orthonormal.

    All such matrices are equally likely. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks", 2013.

    >>> q = orthogonal((3, 2, 2))
    >>> bool(np.allclose(q.reshape(3, 4) @ q.reshape(3, 4).T, np.eye(3), atol=1e-6))
    True
    """
    if len(shape) < 2:
        raise InputError(f"orthogonal needs a weight of at least two axes, but got {shape}.")
    rows, columns = shape[0], math.prod(shape[1:])
    tall = _generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the decomposition unique, and q uniform
    return (gain * (q.T if rows < columns else q)).astype(np.float32).reshape(shape)


def eye(shape: Shape) -> np.ndarray:
    """The identity matrix, cut to a shape of two axes. Also called "identity"."""
    if len(shape) != 2:
        raise InputError(f"eye needs a weight of two axes, but got {shape}.")
    return np.eye(*shape, dtype=np.float32)


def dirac(shape: Shape, groups: int = 1) -> np.ndarray:
    """A convolution that passes on as many channels as it can, in each group: 1 in the middle of kernel (i, i).

    >>> dirac((1, 1, 3)).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    if not 3 <= len(shape) <= 5:
        raise InputError(f"dirac needs the weight of a convolution, of 3 to 5 axes, but got {shape}.")
    if groups < 1 or shape[0] % groups:
        raise InputError(f"dirac: {shape[0]} output channels cannot be divided into {groups} groups.")
    made = np.zeros(shape, np.float32)
    each = shape[0] // groups
    middle = tuple([n // 2 for n in shape[2:]])
    for channel in range(min(each, shape[1])):
        made[(slice(channel, None, each), channel, *middle)] = 1.0
    return made


def sparse(shape: Shape, sparsity: float, std: float = 0.01) -> np.ndarray:
    """Normal, with this part of each column (rounded up) set to 0: Martens, "Deep learning via Hessian-free
    optimization", 2010.

    >>> int((sparse((10, 2), sparsity=0.25) == 0).sum())
    6
    """
    if len(shape) != 2:
        raise InputError(f"sparse needs a weight of two axes, but got {shape}.")
    if not 0.0 <= sparsity <= 1.0:
        raise InputError(f"sparse: sparsity must be in [0, 1], but is {sparsity!r}.")
    made = normal(shape, 0.0, std)
    # The ranks of random numbers are a random order of the rows, another one for each column.
    order = _generator.random(shape).argsort(axis=0)
    np.put_along_axis(made, order[:math.ceil(sparsity * shape[0])], 0.0, axis=0)
    return made


# By name ----------------------------------------------------------------------------------------------------

BY_NAME: dict[str, Callable[..., np.ndarray]] = {
    made.__name__: made for made in (
        constant, dirac, eye, kaiming_normal, kaiming_uniform, lecun_normal, lecun_uniform, normal, ones, orthogonal,
        sparse, truncated_normal, uniform, xavier_normal, xavier_uniform, zeros)
} | {
    "glorot_normal": xavier_normal, "glorot_uniform": xavier_uniform, "he_normal": kaiming_normal,
    "he_uniform": kaiming_uniform, "identity": eye, "trunc_normal": truncated_normal,
    "glorot": xavier_uniform, "he": kaiming_uniform, "kaiming": kaiming_uniform, "lecun": lecun_uniform,
    "xavier": xavier_uniform,
}


def initial(how: Initialiser, shape: Shape) -> np.ndarray:
    """The float32 array that an initialiser stands for: a name, a pair of a name and its arguments, a function of the
    shape, a number or an array.

    Raises:
        InputError: for a name that is not in BY_NAME, wrong arguments, or an array of another shape.

    >>> initial("zeros", (2,)), initial(0.5, (2,)).tolist(), initial(lambda shape: np.eye(2), (2, 2)).shape
    (array([0., 0.], dtype=float32), [0.5, 0.5], (2, 2))
    >>> initial(("orthogonal", {"gain": 2.0}), (1, 1)).tolist() in ([[2.0]], [[-2.0]])
    True
    """
    if isinstance(how, str):
        how = how, {}
    if isinstance(how, tuple) and len(how) == 2 and isinstance(how[0], str):
        made = _by_name(*how, shape)
    else:
        made = how(shape) if callable(how) else how
    made = np.asarray(made, np.float32)
    if made.shape not in ((), shape):
        raise InputError(f"an initial value of shape {shape} is needed, but got {made.shape}.")
    return np.broadcast_to(made, shape)


def _by_name(name: str, arguments: Mapping[str, Any], shape: Shape) -> np.ndarray:
    if name not in BY_NAME:
        raise InputError(f"there is no initialiser {name!r}; there are: {', '.join(sorted(BY_NAME))}.")
    function = BY_NAME[name]
    signature = inspect.signature(function)
    try:
        signature.bind(shape, **arguments)
    except TypeError as error:
        known = ", ".join(list(signature.parameters)[1:]) or "none"
        raise InputError(f"initialiser {name!r}: {error}; its arguments are: {known}.") from None
    return function(shape, **arguments)
