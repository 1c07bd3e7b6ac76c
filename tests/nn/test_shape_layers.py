"""Layers that change shapes or look up rows (Flatten, Unflatten, Reshape, Upsample, Embedding), and Bilinear, against
PyTorch; and what is recorded of a call (nn/recorded.py)."""

from __future__ import annotations

import gc
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
from torch_judge import assert_close, judge, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import GraphError, InputError, ShapeError
from zkynet.nn.recorded import RecordedLayer

# Shapes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "shape"), [
    ((), (2, 3, 4)), ((), (5, 3)), ((0,), (2, 3, 4)), ((1, 2), (2, 3, 4, 5)), ((-3, -2), (2, 3, 4, 5)),
    ((2, 2), (2, 3, 4)),
], ids=str)
def test_flatten(args: tuple, shape: tuple[int, ...]) -> None:
    ours, theirs = nn.Flatten(*args), torch.nn.Flatten(*args)
    judge(ours, theirs, sample(*shape))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(("args", "shape"), [
    ((1, (2, 3)), (2, 6)), ((1, (-1, 3)), (2, 6, 2)), ((-1, (2, 1, 2)), (3, 4)), ((0, [3, -1]), (6, 2)),
], ids=str)
def test_unflatten(args: tuple, shape: tuple[int, ...]) -> None:
    ours, theirs = nn.Unflatten(*args), torch.nn.Unflatten(*args)
    judge(ours, theirs, sample(*shape))
    assert repr(ours) == repr(theirs).replace("[3, -1]", "(3, -1)")


class TorchReshape(torch.nn.Module):
    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.reshape(self.shape)


@pytest.mark.parametrize("shape", [(-1, 3, 2), (4, 6), (24,), (2, 2, -1, 3)], ids=str)
def test_reshape(shape: tuple[int, ...]) -> None:
    judge(nn.Reshape(*shape), TorchReshape(shape), sample(4, 6))
    judge(nn.Reshape(shape), TorchReshape(shape), sample(4, 6))
    assert repr(nn.Reshape(shape)) == f"Reshape({', '.join(map(str, shape))})"


def test_reshape_takes_any_batch():
    layer = nn.Reshape(-1, 3, 2)
    assert [layer(sample(n, 6)).shape for n in (4, 1, 0, 4)] == [(4, 3, 2), (1, 3, 2), (0, 3, 2), (4, 3, 2)]


# Upsample ---------------------------------------------------------------------------------------------------

PLANE, LINE, BLOCK = (2, 3, 6, 5), (2, 3, 7), (1, 2, 3, 2, 4)
UPSAMPLE: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"scale_factor": 2}, PLANE), ({"scale_factor": 3}, LINE), ({"scale_factor": (1, 2, 1.5)}, BLOCK),
    ({"scale_factor": 1.7}, PLANE), ({"scale_factor": 0.6}, PLANE), ({"size": (9, 3)}, PLANE), ({"size": 11}, LINE),
    ({"scale_factor": 1.7, "recompute_scale_factor": True}, PLANE),
    ({"scale_factor": 1.7, "mode": "nearest-exact"}, PLANE), ({"size": 3, "mode": "nearest-exact"}, LINE),
    ({"scale_factor": 2, "mode": "linear"}, LINE), ({"size": 5, "mode": "linear", "align_corners": True}, LINE),
    ({"size": 200, "mode": "linear"}, LINE),
    ({"scale_factor": 2, "mode": "bilinear"}, PLANE),
    ({"scale_factor": 2, "mode": "bilinear", "align_corners": True}, PLANE),
    ({"scale_factor": (1.7, 0.6), "mode": "bilinear"}, PLANE), ({"size": (1, 9), "mode": "bilinear"}, PLANE),
    ({"size": (1, 9), "mode": "bilinear", "align_corners": True}, PLANE),
    ({"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True}, PLANE),
    ({"scale_factor": 2, "mode": "bicubic"}, PLANE),
    ({"size": (4, 9), "mode": "bicubic", "align_corners": True}, PLANE),
    ({"scale_factor": 2, "mode": "trilinear"}, BLOCK), ({"size": (4, 1, 7), "mode": "trilinear"}, BLOCK),
]


@pytest.mark.parametrize(("how", "shape"), UPSAMPLE, ids=str)
def test_upsample(how: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = nn.Upsample(**how), torch.nn.Upsample(**how)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The default behavior for interpolate")
        judge(ours, theirs, sample(*shape))
    assert repr(ours).replace(", align_corners=True", "") == repr(theirs)


@pytest.mark.parametrize("how", [{"size": np.int64(4)}, {"scale_factor": np.float32(2)}], ids=str)
def test_upsampling_takes_numbers_of_numpy(how: dict[str, Any]) -> None:
    assert repr(nn.Upsample(**how)) == repr(nn.Upsample(**{name: number.item() for name, number in how.items()}))
    assert nn.Upsample(**how)(sample(1, 1, 2)).shape == (1, 1, 4)


def test_upsampling_keeps_what_is_not_finite_with_its_neighbours():
    x = np.array([[[1.0, np.inf, 2.0, 3.0]]], np.float32)
    found = np.asarray(nn.Upsample(scale_factor=2, mode="linear")(x).value)[0, 0]
    assert np.isfinite(found[-2:]).all() and not np.isfinite(found[1:5]).any()
    theirs = torch.nn.Upsample(scale_factor=2, mode="linear")(torch.tensor(x)).numpy()[0, 0]
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(theirs))


def test_upsampling_keeps_integers():
    x = np.arange(6, dtype=np.int32).reshape(1, 1, 2, 3)
    found = nn.Upsample(scale_factor=2)(x).value
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, x.repeat(2, axis=2).repeat(2, axis=3))


# Embedding --------------------------------------------------------------------------------------------------

INDICES = np.array([[1, 6, 6], [0, 3, 1]])


@pytest.mark.parametrize("padding", [None, 0, 6, -1])
@pytest.mark.parametrize("indices", [INDICES, INDICES[0].astype(np.int32), np.array(6), np.zeros((0, 2), int)],
                         ids=["matrix", "vector", "scalar", "empty"])
def test_embedding(padding: int | None, indices: np.ndarray) -> None:
    ours, theirs = nn.Embedding(7, 3, padding), torch.nn.Embedding(7, 3, padding)
    judge(ours, theirs, indices)
    assert repr(ours) == repr(theirs)


def test_embedding_starts_normal_with_zeros_for_padding():
    nn.manual_seed(0)
    table = np.asarray(nn.Embedding(200, 50, padding_idx=3).weight.value)
    assert not table[3].any() and np.abs(np.delete(table, 3, 0)).min(axis=1).max() > 0
    assert np.delete(table, 3, 0).mean() == pytest.approx(0.0, abs=0.03)
    assert np.delete(table, 3, 0).std() == pytest.approx(1.0, abs=0.03)
    nn.manual_seed(0)
    np.testing.assert_array_equal(nn.Embedding(200, 50, padding_idx=3).weight.value, table)


def test_a_given_table():
    table = sample(4, 3)
    ours = nn.Embedding.from_pretrained(table, padding_idx=1)
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(table), padding_idx=1)
    assert_close(ours(INDICES % 4).value, theirs(torch.tensor(INDICES % 4)), "rows")
    assert ours.parameters(trainable=True) == [] and not theirs.weight.requires_grad
    assert nn.Embedding.from_pretrained(table, freeze=False).parameters(trainable=True) != []
    for frozen in (True, False):
        made = nn.Embedding(4, 3, _weight=table, _freeze=frozen)
        np.testing.assert_array_equal(made.weight.value, table)
        assert made.weight.trainable is not frozen


def test_positions_outside_the_table():
    rows = np.asarray(nn.Embedding(7, 3)(np.array([7, -1, 2])).value)
    assert np.isnan(rows).all(axis=1).tolist() == [True, False, False]


# Bilinear ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(5,), (), (2, 4)], ids=str)
def test_bilinear(bias: bool, leading: tuple[int, ...]) -> None:
    ours, theirs = nn.Bilinear(2, 3, 4, bias), torch.nn.Bilinear(2, 3, 4, bias)
    judge(ours, theirs, sample(*leading, 2), sample(*leading, 3))
    assert repr(ours) == repr(theirs)


def test_bilinear_takes_sizes_from_its_first_inputs():
    layer = nn.Bilinear(None, None, 4)
    with pytest.raises(GraphError, match="takes its sizes from its first input"):
        layer.parameters()
    judge(layer, torch.nn.Bilinear(2, 3, 4), sample(5, 2), sample(5, 3))


def test_bilinear_starts_as_torch_does():
    nn.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = nn.Bilinear(20, 30, 40), torch.nn.Bilinear(20, 30, 40)
    for name, near in (("weight", 0.01), ("bias", 0.15)):
        mine, other = np.abs(ours.param(name).value), np.abs(getattr(theirs, name).detach().numpy())
        assert float(mine.max()) == pytest.approx(float(other.max()), rel=near)


@pytest.mark.parametrize("same_first", [True, False])
def test_the_same_input_twice_is_not_confused_with_two(same_first: bool) -> None:
    class Forms(cg.Module):
        def __init__(self):
            super().__init__()
            self.form = nn.Bilinear(3, 3, 2)

        def call(self, x: Any, z: Any) -> Any:
            pairs = [(x, x), (x, z), (z, x), (x, x)]
            return op.stack([self.form(a, b) for a, b in (pairs if same_first else pairs[1:])])

    forms, x, z = Forms(), sample(4, 3), sample(4, 3, seed=1)
    theirs = torch.nn.Bilinear(3, 3, 2)
    theirs.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in forms.form.state_dict().items()})
    pairs = [(x, x), (x, z), (z, x), (x, x)]
    expected = [theirs(torch.tensor(a), torch.tensor(b)) for a, b in (pairs if same_first else pairs[1:])]
    assert_close(forms(x, z).value, torch.stack(expected), "forms")


# Errors -----------------------------------------------------------------------------------------------------

NO_SIZE: Any = 7.0
REFUSED = [
    (lambda: nn.Flatten(2)(sample(2, 3)), ShapeError, r"axis 2 is out of range"),
    (lambda: nn.Flatten(2, 1)(sample(2, 3, 4)), ShapeError, r"end_axis 1 is before start_axis 2"),
    (lambda: nn.Flatten()(None), InputError, r"Flatten needs an array or a node, but got NoneType"),
    (lambda: nn.Unflatten(1, (2, -1))(sample(2, 5)), ShapeError,
     r"Unflatten: axis 1 of an input of shape \(2, 5\) has 5 elements, which cannot be split into \(2, -1\)"),
    (lambda: nn.Unflatten(3, (2, -1))(sample(2, 4)), ShapeError, r"axis 3 is out of range"),
    (lambda: nn.Unflatten(1, (-1, -1)), InputError, r"Unflatten: unflattened_size must be ints >= 0, one of which"),
    (lambda: nn.Unflatten(1, 4), InputError, r"Unflatten: unflattened_size must be ints"),
    (lambda: nn.Reshape(2, 2.5), InputError, r"Reshape: shape must be ints >= 0"),
    (lambda: nn.Reshape(-1, 4)(sample(3, 3)), ShapeError,
     r"Reshape: an input of shape \(3, 3\) has 9 elements, which do not fit the shape \(-1, 4\)"),
    (lambda: nn.Upsample(), InputError, r"give either size or scale_factor, but got size=None and scale_factor=None"),
    (lambda: nn.Upsample(2, 2), InputError, r"give either size or scale_factor"),
    (lambda: nn.Upsample(2, mode="lanczos"), InputError, r"mode must be one of nearest, .* but got 'lanczos'"),
    (lambda: nn.Upsample(2, align_corners=True), InputError, r"align_corners has no meaning for mode='nearest'"),
    (lambda: nn.Upsample(2.5), InputError, r"size takes ints >= 1 and scale_factor numbers > 0"),
    (lambda: nn.Upsample(scale_factor=-1), InputError, r"size takes ints >= 1 and scale_factor numbers > 0"),
    (lambda: nn.Upsample(scale_factor=np.inf), InputError, r"scale_factor numbers > 0, .* got size=None, .*=inf"),
    (lambda: nn.Upsample(2, recompute_scale_factor=True), InputError, r"recompute_scale_factor needs scale_factor"),
    (lambda: nn.Upsample(2, mode="bilinear")(sample(2, 3, 4)), ShapeError,
     r"mode='bilinear' takes an input with the axes \(batch, channels and 2 spatial\), .* shape \(2, 3, 4\)"),
    (lambda: nn.Upsample((2, 3))(sample(2, 3, 4)), ShapeError,
     r"size=\(2, 3\) is for 2 spatial axes, but its input has 1"),
    (lambda: nn.Upsample(scale_factor=0.2)(sample(2, 3, 4)), ShapeError, r"would become one of spatial shape \(0,\)"),
    (lambda: nn.Embedding(7, 3, padding_idx=7), InputError, r"padding_idx=7 is no row of num_embeddings=7"),
    (lambda: nn.Embedding(NO_SIZE, 3), InputError, r"Embedding: num_embeddings must be an int >= 0, but got 7\.0"),
    (lambda: nn.Embedding(7, 3, max_norm=1.0), InputError, r"max_norm is not supported: normalise the weight yourself"),
    (lambda: nn.Embedding(7, 3, sparse=True), InputError, r"sparse is not supported: gradients are dense"),
    (lambda: nn.Embedding(7, 3, scale_grad_by_freq=True), InputError, r"scale_grad_by_freq is not supported"),
    (lambda: nn.Embedding(7, 3)(sample(2, 3)), InputError, r"Embedding takes integers, .* but got float32\[2,3\]"),
    (lambda: nn.Embedding(7, 3, _weight=sample(3, 7)), InputError, r"shape \(7, 3\) is needed, but got \(3, 7\)"),
    (lambda: nn.Embedding.from_pretrained([[1.0]], True, None, 2.0), InputError, r"max_norm is not supported: norm"),
    (lambda: nn.Embedding.from_pretrained([1.0]), InputError, r"a table \(num_embeddings, embedding_dim\) is needed"),
    (lambda: nn.Bilinear(2, 3, 4)(sample(5, 3), sample(5, 3)), ShapeError,
     r"Bilinear was made for in1_features=2, but its input has the shape \(5, 3\): the last axis must be 2"),
    (lambda: nn.Bilinear(2, 3, 4)(sample(5, 2), sample(5, 2)), ShapeError, r"made for in2_features=3"),
    (lambda: nn.Bilinear(2, 3, 4)(sample(5, 2), sample(4, 3)), ShapeError, r"all axes but the last must be equal"),
    (lambda: nn.Bilinear(2, 3, 4)(sample(5, 2), None), InputError,
     r"Bilinear needs an array or a node, but got NoneType"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), REFUSED, ids=[row[2][:40] for row in REFUSED])
def test_errors(wrong: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()


# What is recorded -------------------------------------------------------------------------------------------


class Counted(RecordedLayer):
    """exp(x) * weight + x, looking at shapes how often?"""

    def __init__(self):
        super().__init__()
        self.weight = cg.Parameter("weight", 2.0)
        self._looks = 0

    def _made(self, x: Any, weight: Any) -> Any:
        self._looks += 1
        return op.exp(x) * weight + x, x

    def call(self, x: Any) -> Any:
        return self.replay(self._made, x, self.weight)


def test_a_shape_is_looked_at_once_and_values_every_time():
    layer = Counted()
    for seed, shape in enumerate([(3,), (3,), (2, 2), (3,), (2, 2)]):
        x = sample(*shape, seed=seed)
        layer.weight.value = float(seed)
        y, again = layer(x).value
        assert_close(y, np.exp(x) * seed + x, f"call {seed}")
        assert_close(again, x, "the input itself")
    assert layer._looks == 2
    layer.eval()
    _ = layer(sample(3))
    assert layer._looks == 3  # an attribute changed, so whatever depends on attributes is looked at again
    gradient = zkynet.grad(lambda x: op.sum(layer(x)[0]), wrt=[layer.weight])(sample(3))
    assert_close(gradient[0], np.exp(sample(3)).sum(), "gradient of the weight")


def test_what_is_recorded_holds_no_graph():
    layer = nn.Conv2d(1, 1, 3)
    graph = layer(sample(1, 1, 4, 4))
    gone = weakref.ref(graph.root)
    del graph
    gc.collect()
    assert gone() is None


def test_constants_cannot_be_recorded():
    class Constant(RecordedLayer):
        def call(self, x: Any) -> Any:
            return self.replay(lambda node: node + 1.0, x)

    with pytest.raises(GraphError, match="neither an input nor made by an operator"):
        Constant()(sample(3))
