"""Rows of the export tests: an operator as a small function of nodes, and example inputs.

Axis 0 of the first input is the batch, unless `fixed`; inputs of the same length along axis 0 share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zkynet.framework import op
from zkynet.framework.operators.control import checkpoint
from zkynet.framework.operators.create import basis
from zkynet.framework.operators.gather import window_added
from zkynet.framework.operators.linalg import embed_diagonal
from zkynet.framework.operators.normalize import deviation
from zkynet.framework.operators.pool_operators import place_in_plane
from zkynet.framework.operators.recurrent import recurrence
from zkynet.framework.operators.resize import resize
from zkynet.framework.operators.running import linear_recurrence
from zkynet.framework.operators.shape import barrier, place, sum_to
from zkynet.framework.transforms import vmap


class Row(NamedTuple):
    operator: str  # its name in the registry
    function: Callable[..., Any]
    inputs: tuple
    fixed: bool = False

    def __str__(self) -> str:
        return self.operator


def sample(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


X, Y = sample(3, 4), sample(3, 4, seed=1)
POSITIVE, INNER = sample(3, 4, low=0.5, high=3.0), sample(3, 4, low=-0.9, high=0.9)
WIDE = sample(3, 4, low=-8.0, high=8.0)
CUBE = sample(3, 4, 5)
INTS = np.array([[3, -4, 0, 7], [-7, 2, 5, 1], [6, -1, -3, 2]], np.int32)
DIVISORS = np.array([2, 3, -2, -5], np.int32)
BOOLS = np.array([[True, False, True, True], [False, False, True, False], [True, True, True, True]])
SPECIAL = np.array([[0.0, np.inf, -np.inf, np.nan], [1.0, -0.0, 2.5, -2.5], [0.5, 1.5, -1.5, -0.5]], np.float32)
PLANES, WEIGHT = sample(3, 4, 6, 7), sample(6, 2, 3, 3)
LINES = sample(3, 4, 9)
MATRICES = sample(3, 4, 4) + 3.0 * np.eye(4, dtype=np.float32)
VECTOR = sample(4)
PLACES = np.array([[0, 2, 1], [3, 3, 0], [1, 0, 2]], np.int32)
CLASSES = np.array([1, 3, 0], np.int32)


def _op(name: str) -> Any:
    return getattr(op, name)


def each(names: str, *inputs: Any) -> list[Row]:
    """The same inputs for several operators."""
    return [Row(name, _op(name), inputs) for name in names.split()]


ELEMENTWISE = [
    *each("add subtract mult divide maximum minimum hypot arctan2 logaddexp", X, Y),
    *each("equal not_equal less less_equal greater greater_equal", np.round(X), np.round(Y)),
    *each("floor_divide remainder", WIDE, POSITIVE),
    *each("logical_and logical_or logical_xor", BOOLS, BOOLS[::-1].copy()),
    *each("negative identity square abs sign floor ceil trunc round stop_gradient", WIDE),
    *each("sin cos tan arctan sinh cosh tanh arcsinh erf erfc exp exp2 expm1 sigmoid logsigmoid", X),
    *each("relu relu6 leaky_relu elu celu selu gelu softplus softsign tanhshrink hardshrink softshrink", WIDE),
    *each("hardtanh hardsigmoid hardswish silu mish cbrt", WIDE),
    *each("reciprocal sqrt rsqrt log log1p log2 log10 log1mexp", POSITIVE),
    *each("arcsin arccos arctanh erfinv", INNER),
    *each("isnan isinf isfinite floor ceil trunc round sign relu abs logical_not", SPECIAL),
    *each("add subtract mult maximum minimum floor_divide remainder divide less equal", INTS, DIVISORS),
    *each("add mult maximum minimum", BOOLS, BOOLS[::-1].copy()),
    *each("abs sign negative square isnan sqrt exp sigmoid floor", INTS),
    Row("arccosh", lambda x: op.arccosh(x + 1.0), (POSITIVE,)),
    Row("power", op.power, (POSITIVE, Y)),
    Row("integer_power", lambda x: x ** 2 + x ** 3 + x ** -1, (POSITIVE,)),
    Row("round", lambda x: op.round(x, decimals=1) + op.round(x * 30.0, decimals=-1), (WIDE,)),
    Row("threshold", lambda x: op.threshold(x, threshold=0.1, value=-2.0), (X,)),
    Row("gelu", lambda x: op.gelu(x, approximate="tanh"), (WIDE,)),
    Row("softplus", lambda x: op.softplus(x, beta=2.0, threshold=3.0), (WIDE,)),
    Row("leaky_relu", lambda x: op.leaky_relu(x, negative_slope=0.3), (X,)),
    Row("where", lambda c, a: op.where(c, a, 0.5), (BOOLS, X)),
    Row("where", lambda c: op.where(c, c, op.logical_not(c)), (BOOLS,)),
    Row("logsubexp", lambda a, b: op.logsubexp(a + 3.0, b), (X, Y)),
    Row("binary_cross_entropy", op.binary_cross_entropy, (sample(3, 4, low=0.1, high=0.9), BOOLS.astype(np.float32))),
    Row("maximum", lambda x: op.clip(x, -0.5, 0.25), (X,)),
    Row("add", lambda x, i: x + i + 1, (X, INTS)),
    Row("mult", lambda i: i * 2.5, (INTS,)),
]

REDUCTIONS = [
    *[Row(name, lambda x, f=name: (_op(f)(x), _op(f)(x, axis=-1), _op(f)(x, axis=(1, 2), keepdims=True)), (CUBE,))
      for name in "sum mean max min prod var std norm any all count_nonzero logsumexp".split()],
    *[Row(name, lambda x, f=name: _op(f)(x, axis=1), (INTS,)) for name in "sum mean max min prod any".split()],
    *[Row(name, lambda x, f=name: (_op(f)(x), _op(f)(x, axis=1, keepdims=True)), (X,))
      for name in "argmax argmin".split()],
    Row("var", lambda x: op.var(x, axis=0, ddof=1), (X,)),
    Row("norm", lambda x: [op.norm(x, ord=p, axis=1) for p in (0, 1, 3, np.inf, -np.inf)], (X,)),
    *[Row(name, lambda x, f=name: (_op(f)(x), _op(f)(x, axis=(1, 2))), (CUBE,))
      for name in "softmax softmin log_softmax".split()],
    Row("cumsum", lambda x: (op.cumsum(x, axis=1), op.cumsum(x, axis=0, reverse=True)), (X,)),
    Row("cumprod", lambda x: (op.cumprod(x, axis=1), op.cumprod(x, axis=0, reverse=True)), (X,)),
    Row("logcumsumexp", lambda x: op.logcumsumexp(x, axis=1), (X,)),
    Row("linear_recurrence", lambda a, b: linear_recurrence(a, b, axis=1, reverse=True), (X, Y)),
    Row("log_sum_exp", lambda x: op.log_sum_exp(x, axis=1, weights=np.array([0.0, 1.0, 2.0, 0.5])), (X,)),
    Row("log_matmul", lambda a: op.log_matmul(a, sample(4, 3)), (X,)),
    Row("log_matmul", lambda a: op.log_matmul(a * 400.0, sample(4, 3) * 400.0), (X,)),
    Row("sort", lambda x: (op.sort(x), op.sort(x, descending=True), op.argsort(x, axis=0)), (X,)),
    Row("sort", lambda x: op.argsort(x, axis=1), (INTS,)),
    Row("top_k", lambda x: (*op.top_k(x, 2), *op.top_k(x, 3, largest=False)), (X,)),
    Row("slice", lambda x: op.median(x, axis=1), (X,)),
    Row("normalize", lambda x: op.normalize(x, VECTOR, VECTOR[::-1].copy()), (X,)),
    Row("normalize", lambda x: op.normalize(x, VECTOR, axis=(2,), along=1), (CUBE,)),
    Row("normalize", lambda x: op.normalize(x, VECTOR, center=False), (X,)),
    Row("standardize", lambda x: op.standardize(x, VECTOR, VECTOR + 2.0, VECTOR, VECTOR), (CUBE,)),
    Row("standardize", lambda x: op.standardize(x, VECTOR, VECTOR + 2.0), (X,)),
    Row("running_moments", lambda x: op.running_moments(VECTOR, VECTOR + 2.0, 0, x, axis=(0, 2)), (CUBE,)),
    Row("deviation", lambda x: deviation(x, axis=(1,), eps=1e-5, center=True), (X,)),
    Row("cross_entropy", lambda x, t: (op.cross_entropy(x, t), op.cross_entropy(x, t, reduction="mean")), (X, CLASSES)),
    Row("cross_entropy", lambda x, t: op.cross_entropy(x, t, ignore_index=3, reduction="mean"), (X, CLASSES)),
    Row("soft_cross_entropy", lambda x, t: op.soft_cross_entropy(x, op.softmax(t)), (X, Y)),
]

SHAPES = [
    Row("cast", lambda x: (op.cast(x * 3.0, "int32"), op.cast(x, bool), op.cast(op.cast(x, bool), "float32")), (X,)),
    Row("barrier", barrier, (X, Y)),
    Row("broadcast_to", lambda x: op.broadcast_to(x, (2, *x.shape)), (X,)),
    Row("sum_to", lambda x: (sum_to(x, (4, 1)), sum_to(x, ())), (CUBE,)),
    Row("reshape", lambda x: (op.reshape(x, (-1,)), op.reshape(x, (x.shape[0] * 2, 10))), (CUBE,)),
    Row("reshape", lambda x: (op.flatten(x, 1), op.flatten(x, 0, 1)), (CUBE,)),
    Row("expand_dims", lambda x: op.expand_dims(x, (0, -1)), (X,)),
    Row("squeeze", lambda x: op.squeeze(x[:, None, :, None], (1, -1)), (X,)),
    Row("transpose", lambda x: (op.transpose(x), op.transpose(x, (1, -1, 0))), (CUBE,)),
    Row("moveaxis", lambda x: (op.moveaxis(x, 0, -1), op.moveaxis(x, (0, 1), (2, 0))), (CUBE,)),
    Row("swapaxes", lambda x: op.swapaxes(x, 0, -1), (CUBE,)),
    Row("concat", lambda x, i: (op.concat(x, i, axis=1), op.concat(x, x)), (X, INTS)),
    Row("stack", lambda x, y: (op.stack(x, y, axis=-1), op.stack(x, y)), (X, Y)),
    Row("split", lambda x: (*op.split(x, 2, axis=1), *op.split(x, [1, 3], axis=1)), (X,)),
    Row("slice", lambda x: op.slice(x, (0, 1), (x.shape[0], 2)), (X,)),
    Row("place", lambda x: place(x, shape=(x.shape[0], 9), starts=(0, 1), steps=(1, 2)), (X,)),
    Row("flip", lambda x: (op.flip(x), op.flip(x, 1)), (X,)),
    Row("roll", lambda x: (op.roll(x, 1, 1), op.roll(x, (-1, 2), (1, 2))), (CUBE,)),
    Row("repeat", lambda x: (op.repeat(x, 2, axis=0), op.repeat(x, 3, axis=1)), (X,)),
    Row("tile", lambda x: (op.tile(x, 2), op.tile(x, (2, 1, 3))), (X,)),
    Row("pad", lambda x: (op.pad(x, {0: (1, 2), 1: (0, 1)}, value=0.5), op.pad(x, {1: (-1, 2)})), (X,)),
    *[Row("pad", lambda x, m=m: op.pad(x, {1: (2, 1)}, mode=m), (X,)) for m in ("reflect", "replicate", "circular")],
    Row("full", lambda x: (op.full(x.shape, 2.5), op.zeros_like(x), op.ones((x.shape[0], 2), "int32")), (X,)),
    Row("arange", lambda x: (op.arange(x.shape[0]) + op.cast(x[:, 0], "int32"), op.arange(0.0, 1.0, 0.25)), (X,)),
    Row("eye", lambda x: x @ op.eye(4, 6, 1), (X,)),
    Row("basis", lambda x: op.tensordot(x, basis((2, 2), "float32"), axes=1), (X,)),
]

INDEXING = [
    Row("getitem", lambda x: (x[:, 1], x[:, ::-2], x[..., None, 1:3], x[:, 1:1]), (X,)),
    Row("getitem", lambda x: (x[:, [0, 2, 2]], x[:, [0, 1], [2, 3]], x[:, :, [[0], [1]]]), (CUBE,)),
    Row("getitem", lambda x: (x[:, [0, 2], 1:3], x[:, 1, [0, 1]], x[:, [3, 1], None, [0, 1]]), (CUBE,)),
    Row("getitem", lambda x: (x[[0, 2]], x[0], x[1:, ::2], x[-1, ..., 1]), (CUBE,), True),
    Row("getitem", lambda x, i: op.take(x, i, axis=1), (X, CLASSES)),
    Row("getitem", lambda i: op.take(sample(9, 5), i, axis=0), (PLACES,)),
    Row("set_at", lambda x, y: op.set_at(x, (slice(None), slice(1, 3)), y[:, :2]), (X, Y)),
    Row("set_at", lambda x: op.set_at(op.set_at(x, (..., slice(None, None, -2)), 0.5), (slice(None), [0, 3]), 9.0),
        (X,)),
    Row("set_at", lambda x: op.set_at(x, (slice(None), [0, 2], slice(0, 4, 2)), 7.0), (CUBE,)),
    Row("add_at", lambda x: op.add_at(op.add_at(x, (slice(None), [1, 1, 2]), 2.0), (..., slice(0, 2)), 1.0), (X,)),
    Row("gather", lambda x, i: op.gather(x, i, 1), (X, PLACES)),
    Row("gather", lambda x, i: op.take_along_axis(x, op.expand_dims(i, 2), 1), (CUBE, PLACES)),
    Row("scatter_add", lambda x, i: op.scatter_add(x, i, op.cast(i, "float32"), 1), (X, PLACES)),
    Row("scatter_add", lambda x, i: op.scatter_add(x, i, 2.5, 1), (X, PLACES)),
    Row("one_hot", lambda i: (op.one_hot(i, 4), op.one_hot(i, 3, "int32", axis=0)), (PLACES,)),
    Row("dynamic_slice", lambda x, k: op.dynamic_slice(x, [0, k[0]], (x.shape[0], 2)), (X, np.array([3], np.int32))),
    Row("dynamic_update_slice", lambda x, k: op.dynamic_update_slice(x, x[:, :2] * 9.0, [0, k[0]]),
        (X, np.array([-3], np.int32))),
    Row("dynamic_add_slice", lambda x, k: window_added(x, x[:, :2], 0, k[0]), (X, np.array([1], np.int32))),
]

LINEAR = [
    Row("matmul", lambda x, y: (x @ op.swapaxes(y, 1, 2), x[0] @ VECTOR[:5].repeat(2)[:5]), (CUBE, CUBE + 1.0)),
    Row("matmul", lambda i: i @ DIVISORS, (INTS,)),
    Row("linear", lambda x: (op.linear(x, sample(2, 4), sample(2)), op.linear(x[:, None], sample(2, 4), sample(2))),
        (X,)),
    Row("tensordot", lambda x: (op.linear(x, sample(2, 4)), op.tensordot(x, sample(4, 2, 3), axes=1)), (X,)),
    Row("tensordot", lambda x: op.tensordot(x, sample(5, 2, 4), axes=((1, 2), (2, 0))), (CUBE,)),
    Row("dot", lambda x: (op.dot(x, sample(4, 2)), op.dot(x, VECTOR), op.dot(x, 2.0)), (X,)),
    Row("outer", lambda x: op.outer(x, VECTOR), (sample(3),)),
    Row("einsum", lambda x, y: op.einsum("bij,bkj->bik", x, y), (CUBE, CUBE + 1.0)),
    Row("einsum", lambda x: (op.einsum("bij->bj", x), op.einsum("b...,ij->b", x, sample(1, 2))), (CUBE,)),
    Row("einsum", lambda x: op.einsum("bij,bik->bjk", x, x[:, :, :1] * 1.0), (CUBE,)),
    Row("diagonal", lambda x: (op.diagonal(x, axis1=1, axis2=2), op.diagonal(x, offset=-1, axis1=2, axis2=1)), (CUBE,)),
    Row("embed_diagonal", lambda x: embed_diagonal(x, shape=(x.shape[0], 5, 4), offset=-1, axis1=1, axis2=2), (X,)),
    Row("trace", lambda x: op.trace(x, offset=1, axis1=1, axis2=2), (CUBE,)),
    Row("tril", lambda x: (op.tril(x), op.tril(op.cast(x * 9.0, "int32"), k=1)), (CUBE,)),
    Row("triu", lambda x: op.triu(x, k=-1), (CUBE,)),
    Row("inv", op.inv, (MATRICES,)),
    Row("det", op.det, (MATRICES,)),
    Row("slogdet", lambda x: op.slogdet(-x), (MATRICES[:, ::-1].copy(),)),
    Row("solve", lambda a, b: (op.solve(a, op.swapaxes(b, 1, 2)), op.solve(a, VECTOR)), (MATRICES, CUBE[:, :, :4])),
    *[Row("solve_triangular", lambda a, b, low=low, trans=trans: op.solve_triangular(a, b, lower=low, trans=trans),
          (MATRICES, CUBE[:, :, :2])) for low in (False, True) for trans in (False, True)],
    Row("cholesky", lambda x: op.cholesky(x @ op.swapaxes(x, 1, 2)), (MATRICES,)),
]

SPACE = [
    Row("conv", lambda x: op.conv2d(x, WEIGHT, sample(6), stride=(2, 1), padding=1, groups=2), (PLANES,)),
    Row("conv", lambda x: op.conv2d(x, WEIGHT, padding="same", groups=2, dilation=(1, 2)), (PLANES,)),
    Row("conv", lambda x: op.conv1d(x, sample(2, 4, 3), padding=((2, 0),)), (LINES,)),
    Row("conv", lambda x: op.conv3d(x, sample(2, 2, 2, 2, 2)), (sample(3, 2, 3, 4, 3),)),
    Row("add_channels", lambda x: (op.add_channels(x, VECTOR), op.conv2d(x, sample(4, 4, 1, 1), VECTOR)), (PLANES,)),
    Row("sum_channels", op.sum_channels, (PLANES,)),
    Row("conv_transpose", lambda x: op.conv_transpose2d(x, sample(4, 3, 3, 3), sample(6), stride=2, padding=1,
                                                        output_padding=1, groups=2), (PLANES,)),
    Row("conv_transpose", lambda x: op.conv_transpose1d(x, sample(4, 2, 3), dilation=3, output_padding=2), (LINES,)),
    Row("max_pool", lambda x: (op.max_pool2d(x, 2), op.max_pool2d(x, 3, 2, 1, 1, True), op.max_pool1d(x[:, 0], 2)),
        (PLANES,)),
    Row("max_pool", lambda x: op.max_pool2d(op.cast(x * 99.0, "int32"), 2, dilation=2), (PLANES,)),
    Row("max_pool_indices", lambda x: op.max_pool2d(x, 3, 2, 1, return_indices=True), (PLANES,)),
    Row("pick_in_plane", lambda x: op.max_pool1d(x, 35), (sample(3, 2, 40),)),
    Row("place_in_plane", lambda x: place_in_plane(*op.max_pool2d(x, 2, return_indices=True), size=(6, 7)), (PLANES,)),
    Row("avg_pool", lambda x: (op.avg_pool2d(x, 2), op.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
                               op.avg_pool2d(x, (3, 2), 2, 1)), (PLANES,)),
    Row("avg_pool", lambda x: (op.avg_pool2d(x, 3, 2, 1, ceil_mode=True), op.avg_pool1d(x[:, 0], 2, 3, ceil_mode=True),
                               op.avg_pool2d(x, 2, divisor_override=3)), (PLANES,)),
    Row("adaptive_avg_pool", lambda x: (op.adaptive_avg_pool2d(x, (3, 4)), op.adaptive_avg_pool2d(x, (2, 7))),
        (PLANES,)),
    Row("adaptive_max_pool_indices", lambda x: op.adaptive_max_pool2d(x, (4, 3), return_indices=True), (PLANES,)),
    Row("mean", lambda x: (op.global_avg_pool(x), op.global_max_pool(x)), (PLANES,)),
    Row("integer_power", lambda x: op.lp_pool2d(x, 2, 2, ceil_mode=True), (PLANES,)),
    *[Row("resize", lambda x, mode=mode, corners=corners: resize(x, size=(11, 4), mode=mode, align_corners=corners),
          (PLANES,)) for mode in ("linear", "cubic") for corners in (False, True)],
    Row("resize", lambda x: (resize(x, size=(12, 5), mode="nearest"), resize(x, size=(3, 9), mode="nearest-exact"),
                             resize(x, size=(12, 14), mode="linear", scale=(0.6, 0.4))), (PLANES,)),
    Row("resize", lambda x: resize(x, size=(5,), mode="linear"), (LINES,)),
]


def _steps(x: Any) -> Any:
    total, sums = op.scan(lambda c, row: (c * 0.5 + row, op.sin(c)), x[:, 0], op.swapaxes(x, 0, 1))
    return total, sums, op.scan(lambda c, _: (c + x[:, 1], c), x[:, 0], length=3, reverse=True)[1]


STEPS, STATE = sample(5, 3, 8), sample(3, 2)


def _recurrent(kind: str, gates: int, lengths: Any = None, reverse: bool = False) -> Any:
    weight, bias = sample(2 * gates, 2), sample(2 * gates)
    states = 2 if kind == "lstm" else 1

    def run(x: Any, first: Any) -> Any:
        x = op.swapaxes(x, 0, 1)[..., :2 * gates]
        counted = None if lengths is None else op.cast(first[:, 0] * 0.0 + lengths, "int32")
        return recurrence(x, weight, bias, [first] * states, kind=kind, lengths=counted, reverse=reverse)

    return run


CONTROL = [
    Row("scanned", _steps, (X,)),
    Row("branch", lambda x: op.cond(op.sum(x) > 0, lambda a: (a * 2.0, a), lambda a: (a, a + x[0]), x[1]), (X,)),
    Row("loop", lambda x: op.while_loop(lambda c: op.sum(c[0]) < c[1], lambda c: (c[0] * 2.0 + 1.0, c[1]), (x, 99.0)),
        (X,)),
    Row("mapped", lambda x: vmap(lambda row: op.softmax(row) * op.sum(row))(x), (X,)),
    Row("checkpointed", lambda x: checkpoint(lambda a: op.sin(op.sin(a)))(x), (X,)),
    *[Row("recurrent", run, (np.swapaxes(STEPS, 0, 1).copy(), STATE)) for run in (
        _recurrent("tanh", 1), _recurrent("relu", 1, reverse=True), _recurrent("lstm", 4), _recurrent("gru", 3),
        _recurrent("gru", 3, 2.0), _recurrent("lstm", 4, 3.0, True))],
]

ROWS = [*ELEMENTWISE, *REDUCTIONS, *SHAPES, *INDEXING, *LINEAR, *SPACE, *CONTROL]
