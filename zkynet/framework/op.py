"""Every operator as a function of nodes, arrays and numbers. The names follow NumPy and PyTorch."""

from .operators.control import (
    cond, scan, while_loop,
)
from .operators.create import (
    arange, eye, full, full_like, ones, ones_like, zeros, zeros_like,
)
from .operators.einsum import (
    einsum,
)
from .operators.elementwise import (
    abs, add, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cbrt, ceil, celu, clip, cos,
    cosh, divide, elu, equal, erf, erfc, erfinv, exp, exp2, expm1, floor, floor_divide, gelu, greater,
    greater_equal, hardshrink, hardsigmoid, hardswish, hardtanh, hypot, identity, integer_power, isfinite,
    isinf, isnan, leaky_relu, less, less_equal, log, log10, log1p, log2, logical_and, logical_not,
    logical_or, logical_xor, logsigmoid, maximum, minimum, mish, mult, negative, not_equal, power,
    reciprocal, relu, relu6, remainder, round, rsqrt, selu, sigmoid, sign, silu, sin, sinh, softplus,
    softshrink, softsign, sqrt, square, subtract, tan, tanh, tanhshrink, threshold, trunc, where,
)
from .operators.gather import (
    dynamic_slice, dynamic_update_slice, gather, one_hot, scatter_add, slice, take_along_axis,
)
from .operators.index import (
    add_at, getitem, set_at, take,
)
from .operators.linalg import (
    cholesky, det, diag, diagonal, dot, inner, inv, matmul, outer, slogdet, solve, solve_triangular,
    tensordot, tril, triu,
)
from .operators.order import (
    argsort, median, sort, top_k,
)
from .operators.padding import (
    pad,
)
from .operators.reduce import (
    all, any, argmax, argmin, count_nonzero, log_softmax, max, mean, min, norm, prod, softmax, softmin,
    std, sum, var,
)
from .operators.running import (
    cumprod, cumsum,
)
from .operators.shape import (
    broadcast_to, cast, concat, expand_dims, flatten, flip, moveaxis, repeat, reshape, roll, split,
    squeeze, stack, stop_gradient, swapaxes, tile, transpose,
)

__all__ = [
    "abs", "add", "add_at", "all", "any", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "argmax", "argmin", "argsort", "broadcast_to", "cast", "cbrt", "ceil", "celu",
    "cholesky", "clip", "concat", "cond", "cos", "cosh", "count_nonzero", "cumprod", "cumsum", "det",
    "diag", "diagonal", "divide", "dot", "dynamic_slice", "dynamic_update_slice", "einsum", "elu",
    "equal", "erf", "erfc", "erfinv", "exp", "exp2", "expand_dims", "expm1", "eye", "flatten", "flip",
    "floor", "floor_divide", "full", "full_like", "gather", "gelu", "getitem", "greater", "greater_equal",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hypot", "identity", "inner", "integer_power",
    "inv", "isfinite", "isinf", "isnan", "leaky_relu", "less", "less_equal", "log", "log10", "log1p",
    "log2", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "logsigmoid",
    "matmul", "max", "maximum", "mean", "median", "min", "minimum", "mish", "moveaxis", "mult",
    "negative", "norm", "not_equal", "one_hot", "ones", "ones_like", "outer", "pad", "power", "prod",
    "reciprocal", "relu", "relu6", "remainder", "repeat", "reshape", "roll", "round", "rsqrt", "scan",
    "scatter_add", "selu", "set_at", "sigmoid", "sign", "silu", "sin", "sinh", "slice", "slogdet",
    "softmax", "softmin", "softplus", "softshrink", "softsign", "solve", "solve_triangular", "sort",
    "split", "sqrt", "square", "squeeze", "stack", "std", "stop_gradient", "subtract", "sum", "swapaxes",
    "take", "take_along_axis", "tan", "tanh", "tanhshrink", "tensordot", "threshold", "tile", "top_k",
    "transpose", "tril", "triu", "trunc", "var", "where", "while_loop", "zeros", "zeros_like",
]
