"""Every function that makes nodes, against NumPy, SciPy and PyTorch: values, shapes and kinds of dtype, twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from function_judges import assert_same, computed, data, node

import zkynet
from ravnet.functions import FUNCTIONS, call_late
from zkynet.framework import op

torch = pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
F = torch.nn.functional

# name, inputs, inputs of another shape, parameters, judge of the inputs
Row = tuple[str, str, str, dict[str, Any], Callable[..., Any]]
ROWS: list[Row] = [
    ("lin", "f 3 4", "i 2", {}, np.positive),
    ("pos", "f 3 4", "i 2", {}, np.positive),
    ("neg", "f 3 4", "i 2", {}, np.negative),
    ("exp", "f 3 4", "f 2", {}, np.exp),
    ("natlog", "p 3 4", "p 2", {}, np.log),
    ("square", "f 3 4", "i 2", {}, np.square),
    ("cube", "f 3 4", "i 2", {}, lambda x: x ** 3),
    ("square_root", "p 3 4", "i 2", {}, np.sqrt),
    ("cube_root", "f 3 4", "i 2", {}, np.cbrt),
    ("abs", "f 3 4", "f 2", {}, np.abs),
    ("sign", "f 3 4", "i 2", {}, np.sign),
    ("logical_not", "b 3 4", "f 2", {}, np.logical_not),
    ("add", "f 3 4, f 4", "i 2, i 2", {}, np.add),
    ("sub", "f 3 4, f 3 1", "i 2, i 2", {}, np.subtract),
    ("mul", "f 3 4, f 4", "f 2, i 2", {}, np.multiply),
    ("multiply", "f 3 4, f 4", "b 2, f 2", {}, np.multiply),
    ("div", "f 3 4, p 4", "i 2, p 2", {}, np.divide),
    ("pow", "p 3 4, f 4", "p 2, i 2", {}, np.power),
    ("greater", "f 3 4, f 4", "i 4, i 2 1", {}, np.greater),
    ("greater_equal", "f 3 4, f 4", "i 4, i 2 1", {}, np.greater_equal),
    ("less", "f 3 4, f 4", "i 4, i 2 1", {}, np.less),
    ("less_equal", "f 3 4, f 4", "i 4, i 2 1", {}, np.less_equal),
    ("equal", "i 3 4, i 4", "i 4, i 2 1", {}, np.equal),
    ("not_equal", "i 3 4, i 4", "i 4, i 2 1", {}, np.not_equal),
    ("logical_and", "b 3 4, b 4", "i 4, b 2 1", {}, np.logical_and),
    ("logical_or", "b 3 4, b 4", "i 4, b 2 1", {}, np.logical_or),
    ("logical_xor", "b 3 4, b 4", "i 4, b 2 1", {}, np.logical_xor),
    ("clip", "f 3 4", "f 7", {"lower_limit": -0.5, "upper_limit": 0.5}, lambda x: np.clip(x, -0.5, 0.5)),
    ("clip", "f 3 4", "f 7", {"upper_limit": "0.5"}, lambda x: np.clip(x, None, 0.5)),
    ("sum", "f 3 4", "b 2 3 4", {}, np.sum),
    ("sum", "f 3 4", "i 2 3 4", {"axis": "(0, 1)", "keepdims": "True"}, lambda x: x.sum((0, 1), keepdims=True)),
    ("prod", "f 3 4", "i 2 3 4", {"axis": [0]}, lambda x: np.prod(x, 0)),
    ("min", "f 3 4", "i 2 3 4", {"axis": -1, "keepdims": "False"}, lambda x: x.min(-1)),
    ("max", "f 3 4", "i 2 3 4", {"axis": (0, 1)}, lambda x: x.max((0, 1))),
    ("mean", "f 3 4", "i 2 3 4", {"axis": 1.0}, lambda x: x.mean(1)),
    ("variance", "f 3 4", "i 2 3 4", {"axis": (0, 1), "keepdims": True}, lambda x: x.var((0, 1), keepdims=True)),
    ("std", "f 3 4", "i 2 3 4", {"axis": 1, "ddof": 1}, lambda x: x.std(1, ddof=1)),
    ("argmax", "f 3 4", "i 2 3 4", {"axis": -1, "keepdims": "True"}, lambda x: x.argmax(-1, keepdims=True)),
    ("argmin", "f 3 4", "i 2 3 4", {}, np.argmin),
    ("median", "f 3 4", "i 2 3 4", {}, np.median),
    ("median", "f 3 4", "f 2 3 5", {"axis": (0, 1), "keepdims": True}, lambda x: np.median(x, (0, 1), keepdims=True)),
    ("percentile", "f 3 4", "f 2 3 5", {"q": 30}, lambda x: np.percentile(x, 30)),
    ("percentile", "f 3 4", "f 2 3 5", {"q": [0, 12.5, 100], "axis": 1}, lambda x: np.percentile(x, [0, 12.5, 100], 1)),
    ("percentile", "i 3 4", "f 2 3 5", {"q": [[40], [90]], "axis": (0, 1), "keepdims": True},
     lambda x: np.percentile(x, [[40], [90]], (0, 1), keepdims=True)),
    ("percentile", "f 5 1", "f 6 2", {"q": 40, "axis": 0, "method": "nearest"},
     lambda x: np.percentile(x, 40, 0, method="nearest")),
    ("percentile", "f 5 1", "f 6 2", {"q": 33, "axis": 0, "method": "hazen"},
     lambda x: np.percentile(x, 33, 0, method="hazen")),
    ("mode", "i 7", "i 9 2", {}, lambda x: stats.mode(x).mode),
    ("mode", "i 3 8", "i 2 3 9", {"axis": 1, "keepdims": "True"}, lambda x: stats.mode(x, 1, keepdims=True).mode),
    ("mode", "i 3 8", "i 2 3 3", {"axis": None}, lambda x: stats.mode(x, None).mode),
    ("average", "f 3 4", "i 2 3", {"axis": 0}, lambda x: np.average(x, 0)),
    ("average", "f 3 4, p 4", "f 2 3 5, p 3", {"axis": 1}, lambda x, w: np.average(x, 1, w)),
    ("average", "f 3 4, p 3 4", "i 2 3, i 2 3", {"keepdims": True}, lambda x, w: np.average(x, None, w, keepdims=True)),
    ("matmul", "f 3 4, f 4 2", "f 5 3 4, f 4", {}, np.matmul),
    ("dot", "f 3 4, f 4 2", "f 2 3, f 4 3 2", {}, np.dot),
    ("inv", "m 3 3", "m 2 4 4", {}, np.linalg.inv),
    ("transpose", "f 3 4", "f 2 3 4", {}, np.transpose),
    ("transpose", "f 3 4 2", "f 2 3 4", {"axes": "[2, 0, 1]"}, lambda x: x.transpose(2, 0, 1)),
    ("reshape", "f 3 4", "i 2 3 2", {"shape": (2, -1)}, lambda x: x.reshape(2, -1)),
    ("expand_dims", "f 3 4", "i 2", {}, lambda x: x[None]),
    ("expand_dims", "f 3 4", "i 2", {"axis": -1}, lambda x: x[..., None]),
    ("squeeze", "f 3 1 4", "f 1 2 1", {}, np.squeeze),
    ("squeeze", "f 3 1 4", "f 1 1 2", {"axis": 1}, lambda x: x.squeeze(1)),
    ("flatten", "f 3 4", "f 2 3 4", {}, np.ravel),
    ("ravel", "f 3 4", "f 2 3 4", {"order": "F"}, lambda x: x.ravel("F")),
    ("sort", "f 3 4", "i 2 3 4", {}, np.sort),
    ("sort", "f 3 4", "i 2 3 4", {"axis": 0}, lambda x: np.sort(x, 0)),
    ("reverse", "f 3 4", "f 2 3 4", {}, np.flip),
    ("reverse", "f 3 4", "f 2 3 4", {"axis": (0, 1)}, lambda x: np.flip(x, (0, 1))),
    ("concat", "f 3 4, f 1 4", "i 2, i 3", {}, lambda *x: np.concatenate(x)),
    ("concat", "f 3 4, f 3 1, f 3 2", "i 2 2, i 2 1, f 2 1", {"axis": -1}, lambda *x: np.concatenate(x, -1)),
    ("concat", "f 0, i 2", "f 2, f", {}, lambda *x: np.concatenate(list(map(np.atleast_1d, x)), dtype=np.float32)),
    ("stack", "f 3 4, f 3 4", "i 2, i 2", {"axis": 1}, lambda *x: np.stack(x, 1)),
    ("stack", "f 3 4", "i 2 3 4", {"axis": -1}, lambda x: np.stack(x, -1)),
    ("join_to_list", "f 3 4, f 2", "i, i", {}, np.append),
    ("combine_to_list", "f 3 4, f 3 4", "i, i", {}, lambda a, b: np.array([a, b])),
    ("tile", "f 3 4", "f 2", {"reps": [2, 1]}, lambda x: np.tile(x, (2, 1))),
    ("tile", "f 3 4", "i 2 1 3", {"reps": 2}, lambda x: np.tile(x, 2)),
    ("repeat", "f 3 4", "i 2", {"repeats": "2"}, lambda x: np.repeat(x, 2)),
    ("repeat", "f 3 4", "f 3 1", {"repeats": [2, 0, 1], "axis": 0}, lambda x: np.repeat(x, [2, 0, 1], 0)),
    ("pad", "f 3 4", "i 2 3", {"sequence": ((1, 2), (0, 3))}, lambda x: np.pad(x, ((1, 2), (0, 3)))),
    ("pad", "f 3 4", "f 2", {"sequence": 2, "mode": "constant", "constant_values": 1.5},
     lambda x: np.pad(x, 2, constant_values=1.5)),
    ("pad", "f 3 4", "f 2 2 2", {"sequence": (3, 1), "mode": "edge"}, lambda x: np.pad(x, (3, 1), mode="edge")),
    ("pad", "f 3 4", "f 2 2", {"sequence": [(5, 4)], "mode": "reflect"},
     lambda x: np.pad(x, ((5, 4),), mode="reflect")),
    ("pad", "f 3 4", "f 2 2", {"sequence": 3, "mode": "symmetric"}, lambda x: np.pad(x, 3, mode="symmetric")),
    ("pad", "f 3 4", "f 2 2", {"sequence": 3, "mode": "wrap"}, lambda x: np.pad(x, 3, mode="wrap")),
    ("split", "f 4 3", "i 2 2 2", {"numOrSizeSplits": 2}, lambda x: np.split(x, 2)),
    ("split", "f 3 4", "f 2 3", {"numOrSizeSplits": [1, 2, 6], "axis": 1}, lambda x: np.split(x, [1, 2, 6], 1)),
    ("slice", "f 6 2", "i 5", {"begin": 2, "size": 3}, lambda x: x[2:5]),
    ("slice", "f 4 5", "f 3 4 2", {"begin": [1, -2], "size": [2, 2]}, lambda x: x[1:3, x.shape[1] - 2:]),
    ("slice", "f 6 2", "i 5", {"begin": -2}, lambda x: x[-2:]),
    ("gather", "f 4 3, i 2", "i 4, i 2 3", {}, lambda x, i: x[i]),
    ("gather", "f 4 3, i", "f 4, i", {}, lambda x, i: x[i]),
    ("index", "f 3 4 2", "i 3 4 5", {"indices": str({"indices": "[:,-1,:]"})}, lambda x: x[:, -1, :]),
    ("index", "f 3 4 2", "i 3 2 1", {"indices": [[0, 2], [1, 0]]}, lambda x: x[[0, 2], [1, 0]]),
    ("set_value", "f 3 4, f", "i 3 2, i 2", {"indices": "[1:, ...]"},
     lambda x, v: np.concatenate([x[:1], np.broadcast_to(v, x[1:].shape)])),
    ("cnn_index", "f 2 3 5 5", "i 1 2 4 6", {"index1": [[0], [1]], "index2": [[0, 1], [2, 3]], "index3": [[0, 1]]},
     lambda x: x[:, [[0], [1]], [[0, 1], [2, 3]], [[0, 1]]]),
    ("cnn_index_2", "f 2 3 5 5", "i 1 2 4 6", {"pad_h": 1, "height": 3, "pad_w": "2", "width": 2},
     lambda x: x[:, :, 1:4, 2:4]),
    ("one_hot_encoding", "i 5", "i 2 3", {"depth": 4}, lambda x: np.eye(4, dtype=np.float32)[x.ravel()]),
    ("one_hot_encoding", "i 1", "i 1 1", {"depth": "5"}, lambda x: np.eye(5, dtype=np.float32)[x.ravel()][0]),
    ("where", "b 3 4, f 3 4, f 4", "f 2, i 2, i", {}, np.where),
    ("zeros", "", "", {"shape": (2, 3), "dtype": "int"}, lambda: np.zeros((2, 3), int)),
    ("zeros", "", "", {"shape": 2}, lambda: np.zeros(2)),
    ("arange", "", "", {"start": 2, "stop": 9, "step": 3}, lambda: np.arange(2, 9, 3)),
    ("arange", "", "", {"start": 2.5}, lambda: np.arange(2.5)),
    ("shape", "f 3 4", "i 2", {}, lambda x: np.array(x.shape)),
    ("shape", "f 3 4", "i 2", {"index": -1}, lambda x: x.shape[-1]),
    ("size", "f 3 4", "i", {}, np.size),
    ("ravint", "p 1", "i", {}, lambda x: int(x.item())),
    ("foreach", "f 3 4", "i 2 5", {"operation": "sort"}, np.sort),
    ("foreach", "f 3 4", "f 2 5", {"operation": "slice", "begin": 0, "size": 2}, lambda x: x[:, :2]),
    ("foreach", "f 3 4", "f 2", {"operation": "div", "params": 2}, lambda x: x / 2),
    ("foreach", "f 3 4", "i 2 2", {"operation": "sum", "keepdims": "True"}, lambda x: x.sum(1, keepdims=True)),
    ("foreach", "f 3 4", "f 2 4 1", {"operation": "split", "numOrSizeSplits": 2}, lambda x: np.split(x, 2, 1)),
]


def inputs_of(specs: str) -> list[np.ndarray]:
    return [data(spec.strip(), i) for i, spec in enumerate(specs.split(",")) if spec]


@pytest.mark.parametrize("row", ROWS, ids=[f"{i}-{row[0]}" for i, row in enumerate(ROWS)])
def test_values_are_those_of_the_judge(row: Row):
    name, first, second, params, judge = row
    for specs in dict.fromkeys((first, second)):
        arrays = inputs_of(specs)
        assert_same(computed(name, arrays, params), judge(*arrays))


def test_adding_at_patches_is_what_numpy_adds():
    index: dict[str, Any] = {"index1": [[0, 0], [1, 1]], "index2": [[0, 0], [1, 2]], "index3": [[1, 1], [2, 3]]}
    for shape in ("f 2 3 5 5", "f 1 2 4 6"):
        a, b = data(shape), np.asarray(data("f 2 2"))
        wanted = a.copy()
        places: Any = (slice(None), *index.values())
        np.add.at(wanted, places, b)
        assert_same(computed("cnn_add_at", [a, b], index), wanted)


# Losses -----------------------------------------------------------------------------------------------------


def t(array: np.ndarray) -> Any:
    return torch.tensor(array.astype(np.int64) if array.dtype.kind == "i" else array)


PROBABILITIES = np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], [0, 0.5, 0.5, 0]], np.float32)
MASKED = np.array([3, -1, 0, -1, 2, 2], np.int32)
LOSSES: list[tuple[str, np.ndarray, np.ndarray, dict[str, Any], Callable[[Any, Any], Any]]] = [
    ("square_loss", data("f 3 4"), data("f 3 4", 1), {}, lambda y, x: F.mse_loss(x, y)),
    ("square_loss", data("i 5"), data("f 5"), {}, lambda y, x: F.mse_loss(x, y.float())),
    ("cross_entropy_loss", data("i 3"), data("f 3 4"), {}, lambda y, x: F.cross_entropy(x, y)),
    ("cross_entropy_loss", data("i 2 5"), data("f 2 4 5"), {}, lambda y, x: F.cross_entropy(x, y)),
    ("cross_entropy_loss", data("i"), data("f 4"), {}, lambda y, x: F.cross_entropy(x, y)),
    ("cross_entropy_loss", PROBABILITIES, data("f 3 4"), {}, lambda y, x: F.cross_entropy(x, y)),
    ("cross_entropy_loss", np.eye(4, dtype=np.int32)[:3], data("f 3 4"), {},
     lambda y, x: F.cross_entropy(x, y.float())),
    ("cross_entropy_loss", MASKED, data("f 6 4"), {"ignore_index": "-1"},
     lambda y, x: F.cross_entropy(x, y, ignore_index=-1)),
    ("cross_entropy_loss", MASKED.reshape(2, 3), data("f 2 3 4"),
     {"ignore_index": -1, "reshape_target": (-1, 4), "reshape_label": "(-1,)"},
     lambda y, x: F.cross_entropy(x.view(-1, 4), y.view(-1), ignore_index=-1)),
    ("cross_entropy_accuracy", data("i 6"), data("f 6 4"), {}, lambda y, x: (x.argmax(1) == y).float().mean()),
    ("cross_entropy_accuracy", PROBABILITIES, data("f 3 4"), {},
     lambda y, x: (x.argmax(1) == y.argmax(1)).float().mean()),
    ("sparse_categorical_cross_entropy", data("i 6 1"), data("f 6 4"), {}, lambda y, x: F.cross_entropy(x, y[:, 0])),
    ("sparse_categorical_cross_entropy_loss", data("i 6").astype(np.float32), data("f 6 4"), {"ignore_index": 0},
     lambda y, x: F.cross_entropy(x, y.long(), ignore_index=0)),
    ("sparse_categorical_cross_entropy_accuracy", MASKED, data("f 6 4"), {"ignore_index": -1},
     lambda y, x: (x.argmax(1) == y)[y != -1].float().mean()),
    ("sparse_categorical_cross_entropy_accuracy", data("i 6 1"), data("f 6 4"), {},
     lambda y, x: (x.argmax(1) == y[:, 0]).float().mean()),
]


@pytest.mark.parametrize("row", LOSSES, ids=[f"{i}-{row[0]}" for i, row in enumerate(LOSSES)])
def test_losses_and_their_slopes_are_those_of_torch(row: Any):
    name, y_true, y_pred, params, judge = row
    assert_same(computed(name, [y_true, y_pred], params), judge(t(y_true), t(y_pred)).numpy())
    if "accuracy" not in name:
        x = t(y_pred).requires_grad_()
        judge(t(y_true), x).backward()
        slope = zkynet.grad(lambda x: FUNCTIONS[name].call(node(y_true), x, **params))(y_pred)
        assert_same(np.asarray(slope), x.grad.numpy())


# Random -----------------------------------------------------------------------------------------------------


def test_random_numbers_come_from_the_seed_alone():
    f = FUNCTIONS["random_uniform"]
    first, again, other = (np.asarray(f.call(size=(4, 5), seed=seed).value) for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).any()
    from_key = f.call(size=(4, 5), key=op.random_key(3))
    assert (np.asarray(from_key.value) == first).all()
    assert (call_late("random_uniform", [], {"size": [4, 5], "seed": 3}) == first).all()


def test_uniform_numbers_fill_their_interval_evenly():
    low, high = np.array([-1.0, 2.0], np.float32), np.array([1.0, 3.0], np.float32)
    drawn = np.asarray(FUNCTIONS["random_uniform"].call(node(low), node(high), size=(4000, 2), seed=0).value)
    for column, a, b in zip(drawn.T, low, high, strict=True):
        assert stats.kstest(column, "uniform", (a, b - a)).pvalue > 1e-3
    assert FUNCTIONS["random_uniform"].call(node(low), node(high), seed=0).shape == (2,)
    assert FUNCTIONS["random_uniform"].call(seed=0).shape == ()


def test_random_draws_from_an_array_or_fills_a_shape():
    f, x = FUNCTIONS["random"], np.array([[1, 2], [5, 7]], np.int32)
    drawn = np.asarray(f.call(node(x), size=4000, seed=1).value)
    counts = [np.sum(drawn == value) for value in (1, 2, 5, 7)]
    assert sum(counts) == 4000 and stats.chisquare(counts).pvalue > 1e-3
    assert f.call(2, 3, seed=1).shape == (2, 3) == f.call(size="(2, 3)", seed=1).shape
    assert stats.kstest(np.asarray(f.call(4000, seed=1).value), "uniform").pvalue > 1e-3


# All of them ------------------------------------------------------------------------------------------------


def test_every_function_that_makes_nodes_has_a_row():
    tested = {row[0] for row in ROWS} | {row[0] for row in LOSSES} | {"cnn_add_at", "random", "random_uniform"}
    assert tested == {name for name, function in FUNCTIONS.items() if not function.late}


def test_nan_spoils_order_statistics_as_in_numpy():
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]], np.float32)
    assert_same(computed("percentile", [x], {"q": [50, 80], "axis": 1}), np.percentile(x, [50, 80], 1))
    assert_same(computed("median", [x], {"axis": 1}), np.median(x, 1))


def test_float64_and_int64_arrive_as_32_bits():
    assert computed("add", [np.ones(2), np.ones(2)], {}).dtype == np.float32
    assert computed("add", [np.arange(2), np.arange(2)], {}).dtype == np.int32


def test_functions_differentiate():
    x = data("f 3 4")
    slope = zkynet.grad(lambda x: FUNCTIONS["sum"].call(FUNCTIONS["percentile"].call(x, q=50, axis=0)))(x)
    assert_same(np.asarray(slope), (x == np.median(x, 0)).astype(np.float32))
