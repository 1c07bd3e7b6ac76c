"""How arguments find their places, and what wrong ones are told."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from function_judges import data, node

import ravnet.functions
from ravnet.functions import FUNCTIONS, Bound, call_late, named
from ravnet.functions.kinds import literal
from ravnet.functions.page import table
from zkynet.framework.errors import InputError, ShapeError, ZkynetError

NAMES = """
    lin add sub mul div pos neg exp natlog pow square cube square_root cube_root abs matmul multiply dot transpose sum
    sort split reshape concat min max unique argmax argmin expand_dims inv gather reverse stack tile slice find_indices
    shape greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not logical_xor mean
    average mode variance median std percentile random bincount where sign foreach one_hot_encoding set_value clip
    random_uniform prod flatten ravel pad arange repeat index join_to_list combine_to_list zeros ravint cnn_index
    cnn_index_2 cnn_add_at size squeeze linear_regression logistic_regression knn_classifier knn_regressor naive_bayes
    kmeans svm_svc svm_svr decision_tree_classifier decision_tree_regressor random_forest_classifier
    random_forest_regressor federated_mean federated_variance federated_standard_deviation square_loss
    cross_entropy_loss cross_entropy_accuracy sparse_categorical_cross_entropy sparse_categorical_cross_entropy_loss
    sparse_categorical_cross_entropy_accuracy
""".split()


class Op:
    """What a recorder has in place of a node."""

    def __init__(self, value: Any = None):
        self.value = value


def bind(name: str, /, *args: Any, **kwargs: Any) -> Bound:
    return FUNCTIONS[name].bind(args, kwargs, lambda value: isinstance(value, Op), lambda op: op.value)


def test_all_functions_are_there():
    assert set(NAMES) == set(FUNCTIONS) and len(NAMES) == len(set(NAMES))


def test_the_page_lists_all_of_them():
    page = (Path(__file__).parents[2] / "docs" / "raven_functions.md").read_text()
    assert table() in page
    assert all(f"| `{name}(" in page for name in NAMES)


def test_every_function_says_what_it_means():
    for function in FUNCTIONS.values():
        assert function.meaning and function.numpy and inspect.isfunction(function.body)
        assert function.usage.startswith(f"{function.name}(")


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(ravnet.functions.__path__)])
def test_examples_run(module: str):
    assert doctest.testmod(importlib.import_module(f"ravnet.functions.{module}")).failed == 0


# Places -----------------------------------------------------------------------------------------------------

A, B, C = Op(), Op(), Op()
PLACES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    ("matmul", (A, B), {}, (A, B), {}),
    ("matmul", (A,), {"b": B}, (A, B), {}),
    ("square_loss", (), {"y_pred": B, "y_true": A}, (A, B), {}),
    ("sum", (A,), {"axis": 0, "name": "total"}, (A,), {"axis": 0}),
    ("sum", (A, "(0, 1)", "True"), {}, (A,), {"axis": (0, 1), "keepdims": True}),
    ("sum", (A,), {"axis": None, "keepdims": None}, (A,), {"axis": None}),
    ("sum", (3,), {}, (3,), {}),
    ("where", (A, B), {"condition": C}, (C, A, B), {}),
    ("where", (C, A, B), {}, (C, A, B), {}),
    ("average", (A,), {"weights": [1, 2], "axis": 0}, (A, [1, 2]), {"axis": 0}),
    ("average", (A,), {"weights": None}, (A,), {}),
    ("reshape", (A, 2, -1), {}, (A,), {"shape": (2, -1)}),
    ("reshape", (A, [2, 3]), {}, (A,), {"shape": (2, 3)}),
    ("reshape", (A,), {"shape": np.array([2.0, 3.0])}, (A,), {"shape": (2, 3)}),
    ("reshape", (A, Op(np.array([2, 3]))), {}, (A,), {"shape": (2, 3)}),
    ("transpose", (A, 1, 0), {}, (A,), {"axes": (1, 0)}),
    ("tile", (A, Op([2])), {}, (A,), {"reps": (2,)}),
    ("clip", (A, 0, 1), {}, (A,), {"lower_limit": 0, "upper_limit": 1}),
    ("clip", (A,), {"lower_limit": Op(np.float32(0.5))}, (A,), {"lower_limit": 0.5}),
    ("concat", (A, B), {"axis": 1}, (A, B), {"axis": 1}),
    ("concat", ([A, B], C), {}, (A, B, C), {}),
    ("concat", ([[1, 2], [3]],), {}, ([1, 2], [3]), {}),
    ("stack", ([[1, 2], [3, 4]],), {}, ([1, 2], [3, 4]), {"listed": True}),
    ("stack", ([A],), {"axis": 1}, (A,), {"axis": 1, "listed": True}),
    ("stack", (A,), {}, (A,), {}),
    ("random", (2, 3), {}, (), {"size": (2, 3)}),
    ("random", ((2, 3),), {"seed": 5}, (), {"size": (2, 3), "seed": 5}),
    ("random", (A,), {"size": 3}, (A,), {"size": (3,)}),
    ("random_uniform", (0, 1), {"size": Op(np.array([4]))}, (0, 1), {"size": (4,)}),
    ("random_uniform", (), {"size": "(4, 5)"}, (), {"size": (4, 5)}),
    ("zeros", (Op(np.array([2, 3])),), {"dtype": float}, (), {"shape": (2, 3), "dtype": "float32"}),
    ("arange", (Op(0), Op(5)), {"step": 2}, (), {"start": 0, "stop": 5, "step": 2}),
    ("set_value", (A, 5), {"indices": "[:, 0]"}, (A, 5), {"indices": "[:, 0]"}),
    ("index", (A,), {"indices": str({"indices": "[:,-1,:]"})}, (A,), {"indices": "[:, -1, :]"}),
    ("knn_classifier", (A, B, 3), {}, (A, B), {"k": 3}),
    ("knn_classifier", (A, B, C), {"k": "3"}, (A, B, C), {"k": 3}),
    ("knn_classifier", (A, B, 3, C), {}, (A, B, C), {"k": 3}),
    ("kmeans", (A, np.int64(3), [[1.0]]), {}, (A, [[1.0]]), {"n_clusters": 3}),
    ("logistic_regression", (A, B, [[1.0]]), {}, (A, B, [[1.0]]), {}),
    ("linear_regression", (A, B, None), {}, (A, B), {}),
    ("foreach", (A,), {"operation": "slice", "begin": 0, "size": np.int64(2)}, (A,),
     {"operation": "slice", "begin": 0, "size": 2}),
    ("federated_mean", (), {}, (), {}),
]


@pytest.mark.parametrize("row", PLACES, ids=[f"{i}-{row[0]}" for i, row in enumerate(PLACES)])
def test_arguments_find_their_places(row: Any):
    name, args, kwargs, inputs, params = row
    bound = bind(name, *args, **kwargs)
    assert bound.inputs == inputs and bound.params == params
    again = FUNCTIONS[name].bound(bound.inputs, json.loads(json.dumps(bound.params)))
    assert again == bound, "what is bound stays the same when it is written, read and bound again"


def test_parameters_of_unknown_value_become_inputs_and_run_late():
    bound = bind("reshape", A, shape=B)
    assert bound == Bound((A, B), {"shape": {"$input": 1}}, True, 1)
    assert call_late("reshape", [np.arange(6), np.array([3, 2])], bound.params).shape == (3, 2)
    both = bind("arange", A, B, step=2)
    assert both.inputs == (A, B) and both.params == {"start": {"$input": 0}, "stop": {"$input": 1}, "step": 2}
    assert call_late("arange", [np.asarray(1), np.asarray(6)], both.params).tolist() == [1, 3, 5]


@pytest.mark.parametrize(("name", "args", "kwargs", "late", "outputs"), [
    ("sum", (A,), {}, False, 1), ("unique", (A,), {}, True, 1), ("where", (A,), {}, True, 1),
    ("where", (A, B, C), {}, False, 1), ("foreach", (A, "sort"), {}, False, 1), ("foreach", (A, "unique"), {}, True, 1),
    ("unique", (A,), {"return_counts": "True", "return_inverse": True}, True, 3), ("split", (A, 3), {}, False, 3),
    ("split", (A, [1, 2, 3]), {}, False, 4), ("linear_regression", (A, B), {}, True, 2),
    ("linear_regression", (A, B, C), {}, True, 1), ("kmeans", (A,), {"n_clusters": 2}, True, 2),
    ("kmeans", (A, B), {"n_clusters": 2}, True, 1), ("decision_tree_classifier", (A, B), {}, True, 5),
    ("foreach", (A, "split"), {"numOrSizeSplits": 2}, False, 2), ("repeat", (A, [1, 2]), {}, False, 1),
    ("repeat", (A, B), {}, True, 1), ("federated_mean", (), {}, True, 1),
])
def test_when_it_runs_and_how_many_results_it_has(name: str, args: Any, kwargs: Any, late: bool, outputs: int):
    bound = bind(name, *args, **kwargs)
    assert (bound.late, bound.outputs) == (late, outputs)
    assert FUNCTIONS[name].outputs(bound.params, len(bound.inputs)) == outputs


# Errors -----------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("sum", (A,), {"axs": 0}, r"^sum: there is no parameter 'axs'. Did you mean 'axis'\? It takes sum\(x, axis=None, "),
    ("sum", (), {}, r"^sum: the input 'x' is missing. It takes sum\(x, axis=None, keepdims=False\)\."),
    ("matmul", (A,), {}, "^matmul: the input 'b' is missing. It takes matmul"),
    ("matmul", (A, B, C), {}, "^matmul: got 1 arguments too many"),
    ("matmul", (A, "x"), {}, "^matmul: b must be an array, but got str 'x'"),
    ("matmul", (A, {}), {}, "^matmul: b must be an array, but got dict"),
    ("matmul", (None, B), {}, "^matmul: a must be an array, but got None"),
    ("concat", (A, "x"), {}, r"^concat: arrays\[1\] must be an array"),
    ("reshape", (A,), {}, "^reshape: the parameter 'shape' is missing"),
    ("reshape", (A,), {"shape": "two"}, "^reshape: shape must be a shape: an integer or a list of integers, .* 'two'"),
    ("reshape", (A,), {"shape": [2.5]}, "^reshape: shape must be a shape"),
    ("sum", (A,), {"axis": "first"}, "^sum: axis must be an axis, a list of axes, or None, but got str 'first'"),
    ("sum", (A,), {"axis": True}, "^sum: axis must be an axis"),
    ("sum", (A,), {"axis": [[0]], "keepdims": "maybe"}, "^sum: keepdims must be True or False, but got str 'maybe'"),
    ("sum", (A,), {"keepdims": 2}, "^sum: keepdims must be True or False"),
    ("sort", (A,), {"axis": float("inf")}, "^sort: axis must be an axis"),
    ("sort", (A,), {"axis": object()}, "^sort: axis must be an axis"),
    ("clip", (A,), {"lower_limit": "low"}, "^clip: lower_limit must be a number or None"),
    ("percentile", (A,), {"q": 50, "method": "best"}, "^percentile: method must be one of 'linear', 'lower'"),
    ("pad", (A,), {"sequence": 1, "mode": "mean"}, "^pad: mode must be one of 'constant', 'edge'"),
    ("zeros", (), {"shape": -1}, "^zeros: shape must be a shape: an integer or a list of integers >= 0"),
    ("zeros", (), {"shape": 2, "dtype": "complex"}, "^zeros: dtype must be one of bool, int"),
    ("cnn_index", (A,), {"index1": 0, "index2": 0}, "^cnn_index: the parameter 'index3' is missing"),
    ("where", (), {"condition": A, "b": B}, "^where: the input 'a' is missing"),
    ("foreach", (A,), {}, "^foreach: the parameter 'operation' is missing"),
    ("foreach", (A, "eval"), {}, "^foreach: operation 'eval' is not the name of a function"),
    ("foreach", (A, "foreach"), {}, "^foreach: operation 'foreach' is not the name"),
    ("foreach", (A,), {"operation": 3}, "^foreach: operation must be a text, but got int '3'"),
    ("split", (A, B), {}, "^split: numOrSizeSplits says how many results there are"),
    ("kmeans", (A,), {}, "^kmeans: the parameter 'n_clusters' is missing. It takes kmeans.x, n_clusters, x_test=None"),
]


@pytest.mark.parametrize("row", WRONG, ids=[f"{i}-{row[0]}" for i, row in enumerate(WRONG)])
def test_wrong_arguments_are_told_what_is_right(row: Any):
    name, args, kwargs, message = row
    with pytest.raises(InputError, match=message):
        bind(name, *args, **kwargs)


X = data("f 3 4")
REFUSED: list[tuple[str, list[Any], dict[str, Any], type[Exception], str]] = [
    ("matmul", [X, X], {}, ShapeError, "operator matmul"),
    ("reshape", [X], {"shape": 5}, ShapeError, "operator reshape"),
    ("sum", [X], {"axis": 2}, ShapeError, "operator sum"),
    ("average", [X, np.ones(3)], {"axis": 1}, ShapeError, r"average: weights have the shape \(3,\)"),
    ("average", [X, np.ones(3)], {}, ShapeError, "average: weights"),
    ("percentile", [X], {"q": 101}, InputError, "percentile: q is from 0 to 100, but got 101"),
    ("percentile", [X], {"q": 50, "axis": [0, -2]}, InputError, "percentile: an axis is given twice"),
    ("median", [X[:0]], {}, ShapeError, "median: there are no elements"),
    ("concat", [], {}, InputError, "concat: there are no arrays to join"),
    ("stack", [], {}, InputError, "stack: there are no arrays to join"),
    ("pad", [X], {"sequence": [[1, 2, 3]]}, ShapeError, "pad: the widths .* do not fit an array of 2 axes"),
    ("pad", [X], {"sequence": -1}, InputError, "pad: widths must not be negative"),
    ("pad", [X[:0]], {"sequence": 1, "mode": "edge"}, ShapeError, "pad: axis 0 has no elements"),
    ("slice", [X], {"begin": 4, "size": 1}, ShapeError, "slice: begin 4 and size 1 do not fit an axis of length 3"),
    ("slice", [X], {"begin": [0, 0, 0]}, ShapeError, "slice: begin .* do not fit an array of 2 axes"),
    ("gather", [X, np.array([True])], {}, InputError, "gather: positions must be integers, but got bool"),
    ("one_hot_encoding", [np.array([0])], {"depth": 0}, InputError, "one_hot_encoding: depth is the number of classes"),
    ("where", [X > 0, X], {}, InputError, "where: takes a condition alone, or a condition and two arrays"),
    ("arange", [], {"start": 1, "step": 0}, InputError, "arange: step must not be 0"),
    ("shape", [X], {"index": 2}, ShapeError, "shape: there is no axis 2 of an array of 2 axes"),
    ("ravint", [X], {}, ShapeError, "ravint: takes an array of one element"),
    ("random", [X[:0]], {"size": 1, "seed": 0}, ShapeError, "random: there are no elements to draw from"),
    ("random_uniform", [], {"size": 1}, InputError, "random_uniform draws random numbers: pass seed="),
    ("foreach", [X[0, 0]], {"operation": "neg"}, ShapeError, "foreach: a scalar has no parts"),
    ("foreach", [X], {"operation": "sum", "axs": 0}, InputError, "sum: there is no parameter 'axs'"),
    ("cross_entropy_loss", [X[0], X], {}, ShapeError, "cross_entropy: target"),
    ("cross_entropy_accuracy", [np.arange(4), X], {}, ShapeError, r"accuracy: the classes have the shape \(4,\)"),
    ("unique", [X], {}, InputError, "unique: the shape of the result depends on values, .* run it by call_late"),
]


@pytest.mark.parametrize("row", REFUSED, ids=[f"{i}-{row[0]}" for i, row in enumerate(REFUSED)])
def test_arrays_that_do_not_fit_are_refused_at_the_call(row: Any):
    name, arrays, params, kind, message = row
    with pytest.raises(kind, match=message) as caught:
        FUNCTIONS[name].call(*map(node, arrays), **params)
    assert isinstance(caught.value, ZkynetError)


def test_nodes_and_arrays_are_told_apart():
    with pytest.raises(InputError, match="^sum: x must be a node, but got ndarray"):
        FUNCTIONS["sum"].call(X)
    with pytest.raises(InputError, match="^there is no function 'total'"):
        named("total")
    with pytest.raises(InputError, match="stands for input 3, but there are 1 inputs"):
        call_late("reshape", [X], {"shape": {"$input": 3}})


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1), ("-2.5e1", -25.0), ("True", True), (" None ", None), ("(0, -1)", [0, -1]), ("()", []), ("+1", 1),
    ("[[1, 2], (3,)]", [[1, 2], [3]]),
])
def test_texts_of_numbers_and_lists_are_read(text: str, value: Any):
    assert literal(text) == value


@pytest.mark.parametrize("text", ["", "a", "1 2", "[1", "__import__('os')", "[" * 30 + "]" * 30, "1" * 200_000,
                                  "{}", "'a'", "1..2", "1e5 x", "1" * 60 + "x", "[1]]", "9" * 5000])
def test_other_texts_are_not(text: str):
    with pytest.raises(ValueError):
        literal(text)
