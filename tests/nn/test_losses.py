"""Losses against torch.nn's: value and gradients of every input that PyTorch differentiates, by a table of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pytest

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.nn import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional

REDUCTIONS = ("mean", "sum", "none")


def floats(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def integers(high: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, high, *shape]).integers(0, high, shape).astype(np.int32)


def signs(*shape: int) -> np.ndarray:
    return np.where(integers(2, *shape) > 0, 1, -1).astype(np.float32)


def shares(*shape: int, seed: int = 9) -> np.ndarray:
    return np.exp(floats(*shape, seed=seed)) / np.exp(floats(*shape, seed=seed)).sum(1, keepdims=True)


def logs(*shape: int, axis: int = 1) -> np.ndarray:
    x = floats(*shape)
    return (x - np.log(np.exp(x).sum(axis, keepdims=True))).astype(np.float32)


@dataclass(frozen=True)
class Row:
    """A loss with options, at inputs; `wrt` are the inputs that are differentiated."""

    name: str
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    wrt: tuple[int, ...] = (0,)
    label: str = ""
    reductions: tuple[str, ...] = REDUCTIONS

    def __str__(self) -> str:
        options = {k: f"{v.shape}" if isinstance(v, np.ndarray) else v for k, v in self.options.items()}
        return f"{self.name}-{self.label} {options or ''}"


PAIR = floats(4, 3), floats(4, 3, seed=1)
X, T = floats(5, 4, low=-3.0, high=3.0), integers(4, 5)
HOLES = np.array([2, -100, 1, -100, 0], np.int32)
DEEP, PLACES = floats(2, 4, 3, 2), integers(4, 2, 3, 2)
W = np.array([0.5, 2.0, 1.0, 0.25], np.float32)
P = floats(4, 3, low=0.05, high=0.95)
EDGES = np.array([0.0, 1.0, 0.0, 1.0], np.float32), np.array([0.0, 1.0, 1.0, 0.0], np.float32)
Q = floats(4, 3, low=0.0, high=1.0, seed=2)

DIFFERENCES = [
    *(Row(name, PAIR, wrt=(0, 1)) for name in ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss")),
    *(Row("HuberLoss", PAIR, {"delta": d}, (0, 1)) for d in (0.3, 1.7)),
    *(Row("SmoothL1Loss", PAIR, {"beta": b}, (0, 1)) for b in (0.0, 0.3, 1.7)),
    Row("MSELoss", (floats(3)[0], floats(3, seed=1)[0]), label="scalars"),
]
CLASSES = [
    *(Row(name, (x, t), options, label=label)
      for name, change in (("CrossEntropyLoss", np.array), ("NLLLoss", lambda x: x - np.log(4.0, dtype=np.float32)))
      for x, t, label in ((change(X), T, "(N, C)"), (change(DEEP), PLACES, "(N, C, d1, d2)"),
                          (change(X[0]), T[0], "(C)"))
      for options in ({}, {"weight": W}, {"ignore_index": 1}, {"weight": W, "ignore_index": 2})),
    *(Row("CrossEntropyLoss", (x, t), {"label_smoothing": 0.2, **options}, label=label)
      for x, t, label in ((X, T, "(N, C)"), (DEEP, PLACES, "(N, C, d1, d2)"), (X[0], T[0], "(C)"))
      for options in ({}, {"weight": W}, {"weight": W, "ignore_index": 1})),
    *(Row(name, (X, HOLES), options, label="ignored")
      for name, options in (("CrossEntropyLoss", {}), ("CrossEntropyLoss", {"weight": W}), ("NLLLoss", {}),
                            ("CrossEntropyLoss", {"weight": W, "label_smoothing": 0.2}), ("NLLLoss", {"weight": W}))),
    *(Row("CrossEntropyLoss", (x, t), options, (0, 1), f"probabilities {label}")
      for x, t, label in ((X, shares(5, 4), "(N, C)"), (DEEP, shares(2, 4, 3, 2), "(N, C, d1, d2)"),
                          (X[0], shares(5, 4)[0], "(C)"))
      for options in ({}, {"weight": W}, {"label_smoothing": 0.3}, {"weight": W, "label_smoothing": 0.3})),
    Row("CrossEntropyLoss", (X * 1000, T), label="far from zero"),
    Row("CrossEntropyLoss", (X * 1000, T), {"label_smoothing": 0.1, "weight": W}, label="far from zero, smooth"),
    Row("CrossEntropyLoss", (X * 1000, shares(5, 4)), label="far from zero, probabilities"),
    *(Row("MultiMarginLoss", (x, t), options, label=f"{x.shape}") for x, t in ((X, T), (X[0], T[0]))
      for options in ({}, {"p": 2}, {"margin": 0.4}, {"weight": W, "p": 2})),
]
PROBABILITIES = [
    *(Row("BCELoss", (P, Q), options, (0, 1)) for options in ({}, {"weight": floats(3, low=0.1)})),
    Row("BCELoss", EDGES, label="certain"),
    *(Row("BCEWithLogitsLoss", (3.0 * PAIR[0], Q), options, (0, 1))
      for options in ({}, {"weight": floats(4, 1, low=0.1)}, {"pos_weight": floats(3, low=0.1)},
                      {"weight": floats(3, low=0.1), "pos_weight": floats(3, low=0.1)})),
    Row("BCEWithLogitsLoss", (np.array([1000, -1000, 30, -30], np.float32), EDGES[1]), label="far from zero"),
    Row("KLDivLoss", (logs(4, 3), shares(4, 3)), {}, (0, 1), reductions=(*REDUCTIONS, "batchmean")),
    Row("KLDivLoss", (logs(4, 3), logs(4, 3) * 0.5), {"log_target": True}, (0, 1),
        reductions=(*REDUCTIONS, "batchmean")),
    Row("KLDivLoss", (logs(2, 3), np.array([[1, 0, 0], [0, 0.5, 0.5]], np.float32)), label="zeros in the target"),
    *(Row("GaussianNLLLoss", (*PAIR, var), options, (0, 1, 2), f"{var.shape}")
      for var in (floats(4, 3, low=0.1), floats(4, 1, low=0.1), floats(4, low=0.1))
      for options in ({}, {"full": True}, {"eps": 0.7})),
    *(Row("PoissonNLLLoss", (PAIR[0], counts), options, label=label)
      for counts, label in ((floats(4, 3, low=0.0, high=4.0), "any"), (integers(4, 4, 3).astype(np.float32), "counts"))
      for options in ({}, {"full": True})),
    *(Row("PoissonNLLLoss", (P, Q * 5), {"log_input": False, **options})
      for options in ({}, {"full": True}, {"eps": 0.1})),
]
A, B = floats(4, 5), floats(4, 5, seed=1)
MARGINS = [
    *(Row("HingeEmbeddingLoss", (PAIR[0], signs(4, 3)), options) for options in ({}, {"margin": 0.3})),
    Row("HingeEmbeddingLoss", (PAIR[0], signs(4, 3) * integers(2, 4, 3, seed=5)), label="neither sign"),
    *(Row("MarginRankingLoss", (*PAIR, signs(4, 3)), options, (0, 1)) for options in ({}, {"margin": 0.7})),
    *(Row("CosineEmbeddingLoss", (A, B, signs(4)), options, (0, 1)) for options in ({}, {"margin": 0.2},
                                                                                {"margin": -0.5})),
    Row("CosineEmbeddingLoss", (A[0], B[0], signs(1)[0]), wrt=(0, 1), label="vectors"),
]
ROWS = [*DIFFERENCES, *CLASSES, *PROBABILITIES, *MARGINS]


def theirs(row: Row, module: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """PyTorch's value, and the gradients of its product with `cotangent`."""
    given = [torch.tensor(x, dtype=torch.int64 if np.asarray(x).dtype.kind == "i" else None) for x in row.inputs]
    moving = [given[i].requires_grad_() for i in row.wrt]
    value = module(*given)
    value.backward(torch.tensor(cotangent(value.shape)))
    return value.detach().numpy(), [x.grad.numpy() for x in moving]


def cotangent(shape: Iterable[int]) -> np.ndarray:
    shape = tuple(shape)
    return np.asarray(np.cos(np.arange(1, 1 + int(np.prod(shape)))).reshape(shape), np.float32)


def ours(row: Row, module: cg.Module, inputs: Iterable[Any] | None = None) -> tuple[Any, Any]:
    """The same of ours; inside a compiled function of the inputs, when they are given."""
    inputs = list(row.inputs if inputs is None else inputs)

    def loss(*moving: Any) -> Any:
        given = list(inputs)
        for index, x in zip(row.wrt, moving, strict=True):
            given[index] = x
        return module(*given)

    at = [inputs[i] for i in row.wrt]
    return zkynet.vjp(loss, tuple(range(len(at))))(*at, cotangent=cotangent(module(*inputs).shape))


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")
def test_a_loss_is_that_of_torch(row: Row) -> None:
    modules = [getattr(nn, row.name)(**row.options, reduction=reduction) for reduction in row.reductions]
    together = zkynet.compile(lambda *inputs: [ours(row, module, inputs) for module in modules])(*row.inputs)
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in row.options.items()}
    for reduction, (value, found) in zip(row.reductions, together, strict=True):
        expected, gradients = theirs(row, getattr(torch.nn, row.name)(**options, reduction=reduction))
        assert_close(value, expected, f"{row}, {reduction}: value")
        for index, mine, other in zip(row.wrt, found, gradients, strict=True):
            assert_close(mine, other, f"{row}, {reduction}: gradient of input {index}")


def assert_close(mine: Any, other: np.ndarray, name: str) -> None:
    mine = np.asarray(mine)
    assert mine.shape == other.shape and mine.dtype == other.dtype, name
    np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("options", "low", "shapes"), [
    ({}, -2.0, [(4, 5), (4, 5)]), ({"dim": 0}, -2.0, [(4, 5), (4, 5)]), ({"dim": -1, "eps": 1e-3}, -2.0, [(4, 5)] * 2),
    ({"dim": 2}, -2.0, [(4, 1, 5), (1, 3, 5)]), ({"dim": -2}, 0.5, [(1, 2, 3), (2, 1, 3)]),
    ({"dim": 0}, 0.5, [(3,), (2, 3)]), ({}, 0.5, [(2, 1), (2, 3)])], ids=str)
def test_cosine_similarity(options: dict[str, Any], low: float, shapes: list[tuple[int, ...]]) -> None:
    row = Row("CosineSimilarity", tuple(floats(*shape, low=low, seed=seed) for seed, shape in enumerate(shapes)),
              options, (0, 1))
    expected, gradients = theirs(row, torch.nn.CosineSimilarity(**options))
    value, found = ours(row, nn.CosineSimilarity(**options))
    assert_close(value, expected, "value")
    for mine, other in zip(found, gradients, strict=True):
        assert_close(mine, other, "gradient")


def test_cosine_similarity_of_vectors_shorter_than_eps() -> None:
    """Their length counts as the constant eps. (PyTorch's gradient there is that of the length all the same.)"""
    module, short = nn.CosineSimilarity(eps=0.1), 1e-3 * A
    value, (gradient,) = zkynet.vjp(lambda x: module(x, B), (0,))(short, cotangent=np.ones(4, np.float32))
    assert_close(value, F.cosine_similarity(torch.tensor(short), torch.tensor(B), eps=0.1).numpy(), "value")
    assert_close(gradient, B / np.linalg.norm(B, axis=1, keepdims=True) / np.float32(0.1), "gradient")
    zero = zkynet.vjp(lambda x: module(x, B), (0,))(0.0 * A, cotangent=np.ones(4, np.float32))[1][0]
    assert_close(zero, np.asarray(gradient), "gradient at zero")


TWICE = [(row.name, row.options, row.inputs, row.wrt) for row in (
    Row("HuberLoss", (np.array([0.1, 0.0, 2.0, -3.0], np.float32), np.zeros(4, np.float32)), {"delta": 0.5}),
    Row("SmoothL1Loss", PAIR, {"beta": 0.4}, (0, 1)), Row("KLDivLoss", (logs(4, 3), shares(4, 3)), {}, (0, 1)),
    Row("CrossEntropyLoss", (X, HOLES), {"weight": W, "label_smoothing": 0.2}),
    Row("CrossEntropyLoss", (X, shares(5, 4)), {"weight": W}, (0, 1)), Row("BCEWithLogitsLoss", (P, Q), {}, (0, 1)),
    Row("GaussianNLLLoss", (*PAIR, floats(4, 3, low=0.5)), {}, (0, 1, 2)), Row("PoissonNLLLoss", PAIR, {}, (0,)),
    Row("CosineEmbeddingLoss", (A, B, signs(4)), {"margin": -0.9}, (0, 1)), Row("CosineSimilarity", (A, B), {}, (0, 1)),
)]


@pytest.mark.parametrize(("name", "options", "inputs", "wrt"), TWICE)
def test_losses_have_second_derivatives(name: str, options: dict, inputs: tuple, wrt: tuple) -> None:
    """Against differences in float64: PyTorch has no second derivative of some."""
    module = getattr(nn, name)(**options)

    def loss(*moving: Any) -> Any:
        return module(*moving, *inputs[len(moving):])

    verdict = zkynet.gradcheck(loss, *[np.asarray(inputs[i], np.float64) for i in wrt])
    assert verdict, str(verdict)


# Connectionist temporal classification ------------------------------------------------------------------------

STEPS, COUNT, CLASS_COUNT = 7, 4, 5
LOGITS = floats(STEPS, COUNT, CLASS_COUNT)
LABELS = np.array([[1, 2, 3], [2, 2, 9], [4, -1, 0], [7, 7, 7]], np.int32)  # padded with what is no class
LENGTHS, LABEL_LENGTHS = np.array([7, 5, 3, 6], np.int32), np.array([3, 2, 1, 0], np.int32)


def ctc_of_torch(logits: np.ndarray, labels: Any, lengths: Any, label_lengths: Any, cotangent: Any = None,
                 **options: Any) -> tuple[np.ndarray, np.ndarray]:
    x = torch.tensor(logits, requires_grad=True)
    value = F.ctc_loss(x.log_softmax(-1), torch.tensor(labels, dtype=torch.int64), torch.tensor(lengths),
                       torch.tensor(label_lengths), **options)
    value.backward(torch.ones_like(value) if cotangent is None else torch.tensor(cotangent))
    assert x.grad is not None
    return value.detach().numpy(), x.grad.numpy()


def ctc(logits: np.ndarray, labels: Any, lengths: Any, label_lengths: Any, cotangent: Any = None,
        **options: Any) -> tuple[Any, Any]:
    """Value and gradient at the logits: there PyTorch's rule is the derivative."""
    module = nn.CTCLoss(**options)
    value, (gradient,) = zkynet.vjp(lambda x: module(op.log_softmax(x), labels, lengths, label_lengths), (0,))(
        logits, cotangent=np.float32(1.0) if cotangent is None else cotangent)
    return value, gradient


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("blank", [0, 4])
def test_ctc_of_a_padded_batch(reduction: str, blank: int) -> None:
    labels = np.where(LABELS == blank, 3, LABELS) if blank else LABELS
    g = cotangent((COUNT,)) if reduction == "none" else None
    known = np.clip(labels, 0, CLASS_COUNT - 1)  # PyTorch reads no padding either, but be it a class
    expected = ctc_of_torch(LOGITS, known, LENGTHS, LABEL_LENGTHS, g, reduction=reduction, blank=blank)
    for mine, other, name in zip(ctc(LOGITS, labels, LENGTHS, LABEL_LENGTHS, g, reduction=reduction, blank=blank),
                                 expected, ("value", "gradient"), strict=True):
        assert_close(mine, other, name)


def test_ctc_of_targets_one_after_the_other_and_of_one_example() -> None:
    joined = np.concatenate([row[:n] for row, n in zip(LABELS, LABEL_LENGTHS, strict=True)])
    padded = ctc(LOGITS, LABELS, LENGTHS, LABEL_LENGTHS)
    for mine, other in zip(ctc(LOGITS, joined, [*LENGTHS], tuple(LABEL_LENGTHS)), padded, strict=True):
        assert_close(mine, np.asarray(other), "joined targets")
    for reduction in REDUCTIONS:
        expected = ctc_of_torch(LOGITS[:, 0], LABELS[0], 7, 3, reduction=reduction)
        for mine, other in zip(ctc(LOGITS[:, 0], LABELS[0], 7, 3, reduction=reduction), expected, strict=True):
            assert_close(mine, other, f"one example, {reduction}")


def test_ctc_of_impossible_targets() -> None:
    """Three equal labels need five steps; the second example can be."""
    labels, lengths, label_lengths = np.array([[2, 2, 2], [1, 2, 1]]), np.array([4, 4]), np.array([3, 3])
    logits = LOGITS[:4, :2]
    value, gradient = ctc(logits, labels, lengths, label_lengths, cotangent((2,)), reduction="none")
    assert np.isposinf(value[0]) and np.isfinite(value[1]) and np.isfinite(gradient).all()
    for reduction in REDUCTIONS:
        g = cotangent((2,)) if reduction == "none" else None
        options = {"reduction": reduction, "zero_infinity": True}
        for mine, other in zip(ctc(logits, labels, lengths, label_lengths, g, **options),
                               ctc_of_torch(logits, labels, lengths, label_lengths, g, **options), strict=True):
            assert_close(mine, other, f"zero_infinity, {reduction}")


def test_ctc_far_from_zero_and_over_many_steps() -> None:
    """Probabilities of paths here are about e^-60000, far below the least float."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 300.0, (60, 2, 4)).astype(np.float32)
    labels, lengths, label_lengths = rng.integers(1, 4, (2, 20)), np.array([60, 51]), np.array([20, 7])
    value, gradient = ctc(logits, labels, lengths, label_lengths, reduction="sum")
    expected, other = ctc_of_torch(logits, labels, lengths, label_lengths, reduction="sum")
    assert_close(value, expected, "value")
    np.testing.assert_allclose(gradient, other, atol=2e-3)  # where paths are nearly equal, of numbers around 1e4


def test_ctc_has_second_derivatives() -> None:
    module = nn.CTCLoss(reduction="sum")
    labels = np.array([[1, 2], [2, 2]], np.int32)
    verdict = zkynet.gradcheck(lambda x: module(op.log_softmax(x), labels, [4, 3], [2, 2]),
                               np.float64(floats(4, 2, 3)))
    assert verdict, str(verdict)


def test_ctc_is_the_sum_over_all_paths() -> None:
    """By enumerating them: merge repeats, leave out blanks."""
    import itertools

    logs_ = logs(4, 1, 3, axis=2)
    def merged(path: tuple[int, ...]) -> list[int]:
        return [c for c, _ in itertools.groupby(path) if c != 0]
    total = sum(np.exp(sum(logs_[t, 0, c] for t, c in enumerate(path)))
                for path in itertools.product(range(3), repeat=4) if merged(path) == [1, 1])
    found = losses.ctc_loss(logs_, [[1, 1]], [4], [2], reduction="sum")
    np.testing.assert_allclose(float(found.value), -np.log(total), rtol=1e-5)


# One program, one node ------------------------------------------------------------------------------------------


def operators(node: Any) -> list[str]:
    from zkynet.framework.nodes import topological

    return [n.name for n in topological([node.root]) if n.inputs]


def test_the_plain_loss_is_one_node_and_ignores_by_default() -> None:
    assert operators(nn.CrossEntropyLoss()(X, T)) == ["cross_entropy"]
    assert operators(nn.CrossEntropyLoss()(X, shares(5, 4))) == ["soft_cross_entropy", "mean"]
    assert operators(nn.MSELoss()(*PAIR)) == ["subtract", "square", "mean"]
    assert operators(nn.BCELoss()(P, Q)) == ["binary_cross_entropy", "mean"]


def test_another_weight_of_the_same_shape_compiles_nothing() -> None:
    first = nn.CrossEntropyLoss(weight=W)(X, T)
    value = float(first.value)
    before = zkynet.compile_stats().compilations
    again = nn.CrossEntropyLoss(weight=W[::-1].copy())(X, T)
    assert float(again.value) != value
    assert zkynet.compile_stats().compilations == before


def test_losses_inside_a_compiled_step() -> None:
    loss = nn.CrossEntropyLoss(weight=W, label_smoothing=0.1)
    step = zkynet.compile(lambda x, t: zkynet.value_and_grad(loss, argnums=(0,))(x, t))
    value, (gradient,) = step(X, T)
    expected, (other,) = zkynet.value_and_grad(loss, argnums=(0,))(X, T)
    assert_close(value, np.asarray(expected), "value")
    assert_close(gradient, np.asarray(other), "gradient")


def test_a_mean_over_nothing_is_nan_and_moves_nothing() -> None:
    """As PyTorch's value; the gradient of no examples is zero."""
    none = np.full(5, -100, np.int32)
    value, (gradient,) = zkynet.value_and_grad(nn.CrossEntropyLoss(), argnums=(0,))(X, none)
    assert np.isnan(value) and not np.asarray(gradient).any()


@pytest.mark.parametrize("options", [{}, {"weight": W}, {"label_smoothing": 0.1}], ids=str)
def test_classes_that_do_not_exist_make_the_loss_nan(options: dict[str, Any]) -> None:
    for wrong in (4, -1):
        target = np.array([0, 1, wrong, 3, 2], np.int32)
        found = np.asarray(nn.CrossEntropyLoss(reduction="none", **options)(X, target).value)
        assert np.isnan(found).tolist() == [False, False, True, False, False]


def test_unsigned_and_wide_classes() -> None:
    expected = float(losses.cross_entropy(X, T).value)
    for dtype in (np.uint8, np.int64, np.int16):
        assert float(losses.cross_entropy(X, T.astype(dtype)).value) == expected
        assert float(losses.cross_entropy(X, T.astype(dtype), weight=np.ones(4, np.float32)).value) == pytest.approx(
            expected)


def test_masked_logits_stay_finite() -> None:
    x = X.copy()
    x[np.arange(5), (T + 1) % 4] = -np.inf
    row = Row("CrossEntropyLoss", (x, T))
    for weight in (None, W):
        value, (gradient,) = ours(row, nn.CrossEntropyLoss(weight=weight))
        assert np.isfinite(value) and np.isfinite(gradient).all()
        expected, (other,) = theirs(row, torch.nn.CrossEntropyLoss(None if weight is None else torch.tensor(weight)))
        assert_close(value, expected, "value")
        assert_close(gradient, other, "gradient")


def test_bfloat16_stays_bfloat16() -> None:
    x = jax.numpy.asarray(X, "bfloat16")
    value, (gradient,) = zkynet.value_and_grad(nn.CrossEntropyLoss(), argnums=(0,))(x, T)
    assert (value.dtype, gradient.dtype) == ("bfloat16", "bfloat16")
    np.testing.assert_allclose(float(value), float(losses.cross_entropy(X, T).value), rtol=1e-2)


# Errors -----------------------------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Callable[[], Any], type, str]] = {
    "reduction of a layer": (lambda: nn.MSELoss(reduction="average"), InputError,
                             "reduction must be one of 'none', 'mean', 'sum', but is 'average'"),
    "reduction of kl_div": (lambda: nn.KLDivLoss(reduction="max"), InputError, "'none', 'mean', 'sum', 'batchmean'"),
    "batchmean elsewhere": (lambda: nn.L1Loss(reduction="batchmean"), InputError, "but is 'batchmean'"),
    "reduction of a function": (lambda: losses.huber_loss(*PAIR, reduction="avg"), InputError, "'none', 'mean', 'sum'"),
    "reduction of cross_entropy": (lambda: losses.cross_entropy(X, T, reduction="avg"), InputError, "but is 'avg'"),
    "reduction of the operator": (lambda: op.cross_entropy(X, T, reduction="avg"), ShapeError,
                                  "reduction must be one of 'none', 'mean', 'sum', but is 'avg'"),
    "column and vector": (lambda: nn.MSELoss()(floats(4, 1), floats(4)), ShapeError,
                          r"input has the shape \(4, 1\) and target \(4,\); they must be the same"),
    "number of classes": (lambda: nn.CrossEntropyLoss()(X, integers(4, 6)), ShapeError,
                          r"target must have the shape \(5,\), that of input without its axis 1 of 4 classes, but has "
                          r"\(6,\)"),
    "classes, weighted": (lambda: nn.CrossEntropyLoss(weight=W)(X, integers(4, 6)), ShapeError, r"\(5,\).*\(6,\)"),
    "floats as classes": (lambda: nn.CrossEntropyLoss()(X, floats(5)), ShapeError,
                          r"integer classes of the shape \(5,\), but is float32\[5\]; probabilities have the shape"),
    "floats of nll": (lambda: nn.NLLLoss()(X, floats(5)), ShapeError, "nll_loss: target must be integer classes"),
    "smoothing": (lambda: nn.CrossEntropyLoss(label_smoothing=1.5)(X, T), InputError, r"in \[0, 1\], but is 1.5"),
    "delta": (lambda: losses.huber_loss(*PAIR, delta=0), InputError, "delta must be greater than 0"),
    "beta": (lambda: losses.smooth_l1_loss(*PAIR, beta=-1), InputError, "beta must not be below 0"),
    "p": (lambda: nn.MultiMarginLoss(p=3)(X, T), InputError, "p must be 1 or 2, but is 3"),
    "var": (lambda: nn.GaussianNLLLoss()(*PAIR, floats(3)), ShapeError, r"var has the shape \(3,\).*\(4, 3\)"),
    "negative var": (lambda: nn.GaussianNLLLoss()(*PAIR, -PAIR[0] ** 2), InputError, "var must not be below 0"),
    "cosine target": (lambda: nn.CosineEmbeddingLoss()(A, B, signs(5)), ShapeError, r"\(4, 5\) and \(5,\)"),
    "ctc lengths": (lambda: nn.CTCLoss()(LOGITS, LABELS, [7, 5], LABEL_LENGTHS), ShapeError,
                    "input_lengths must be 4 integers"),
    "ctc fractions": (lambda: losses.ctc_loss(LOGITS, LABELS, [6.5, 5, 3, 6], LABEL_LENGTHS), ShapeError,
                      "input_lengths must be 4 integers"),
    "ctc length": (lambda: nn.CTCLoss()(LOGITS[:, 0], LABELS[0], 8, 3), InputError, "must be from 0 to 7, but are 8"),
    "ctc blank": (lambda: nn.CTCLoss(blank=5)(LOGITS, LABELS, LENGTHS, LABEL_LENGTHS), InputError, "5 classes"),
    "ctc joined": (lambda: nn.CTCLoss()(LOGITS, LABELS[0], LENGTHS, LABEL_LENGTHS), ShapeError, "add up to 6"),
    "ctc shapes": (lambda: nn.CTCLoss()(LOGITS[:, 0], LABELS, 7, 3), ShapeError, r"needs log_probs \(T, N, C\)"),
    "ctc targets": (lambda: nn.CTCLoss()(LOGITS, floats(4, 3), LENGTHS, LABEL_LENGTHS), ShapeError, "integer classes"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_expected(name: str) -> None:
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(("name", "options", "target"), [
    ("CrossEntropyLoss", {}, T % 3), ("CrossEntropyLoss", {}, shares(5, 3)), ("NLLLoss", {}, T % 3),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, T % 3), ("MultiMarginLoss", {}, T % 3)])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_weights_of_other_classes_are_refused(name: str, options: dict[str, Any], target: Any, count: int) -> None:
    with pytest.raises(ShapeError, match=rf"of the 3 classes, the shape \(3,\), but has \({count},\)"):
        getattr(nn, name)(weight=W[:count], **options)(X[:, :3], target)


@pytest.mark.parametrize(("lengths", "label_lengths", "message"), [
    ([7, 5, 8, 6], [3, 2, 1, 0], "input_lengths must be from 0 to 7"),
    ([7, 5, -1, 6], [3, 2, 1, 0], "input_lengths must be from 0 to 7"),
    ([7, 5, 3, 6], [4, 2, 1, 0], "target_lengths must be from 0 to 3"),
    ([7, 5, 3, 6], [3, 2, -1, 0], "target_lengths must be from 0 to 3")])
def test_ctc_lengths_out_of_range_are_refused(lengths: list[int], label_lengths: list[int], message: str) -> None:
    """Also by PyTorch."""
    with pytest.raises(RuntimeError):
        ctc_of_torch(LOGITS, LABELS, lengths, label_lengths)
    for kind in (list, tuple):
        with pytest.raises(InputError, match=message):
            nn.CTCLoss()(LOGITS, LABELS, kind(lengths), kind(label_lengths))


@pytest.mark.parametrize(("name", "factor"), [
    ("BCELoss", "weight"), ("BCEWithLogitsLoss", "weight"), ("BCEWithLogitsLoss", "pos_weight")])
def test_factors_that_make_more_losses_are_refused(name: str, factor: str) -> None:
    """Also by PyTorch: one for each example, (N,), does not fit one output for each, (N, 1)."""
    one, probabilities, target = np.ones(4, np.float32), P[:, :1], Q[:, :1]
    with pytest.raises(RuntimeError):
        getattr(torch.nn, name)(**{factor: torch.tensor(one)})(torch.tensor(probabilities), torch.tensor(target))
    with pytest.raises(ShapeError, match=rf"{factor} must broadcast to the shape \(4, 1\) of the losses.* has \(4,\)"):
        getattr(nn, name)(**{factor: one})(probabilities, target)


def test_no_class_is_ignored_among_probabilities() -> None:
    """Also by PyTorch."""
    with pytest.raises(RuntimeError, match="ignore_index is not supported"):
        torch.nn.CrossEntropyLoss(ignore_index=0)(torch.tensor(X), torch.tensor(shares(5, 4)))
    with pytest.raises(InputError, match="ignore_index=0 is a class to ignore, but the targets are probabilities"):
        nn.CrossEntropyLoss(ignore_index=0)(X, shares(5, 4))


def test_joined_targets_in_a_compiled_function_are_refused() -> None:
    step = zkynet.compile(lambda x, t, n: nn.CTCLoss()(x, t, [7, 7, 7, 7], n))
    with pytest.raises(InputError, match="give padded targets"):
        step(LOGITS, np.arange(6, dtype=np.int32), LABEL_LENGTHS)


def test_every_option_is_shown() -> None:
    assert repr(nn.CrossEntropyLoss(weight=W, reduction="sum")) == (
        "CrossEntropyLoss(reduction='sum', weight=(4,), ignore_index=-100, label_smoothing=0.0)")
    assert repr(nn.CosineSimilarity()) == "CosineSimilarity(dim=1, eps=1e-08)"
