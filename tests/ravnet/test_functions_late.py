"""Functions that run when values are there, against NumPy and scikit-learn; and all others, run by name on arrays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from function_judges import assert_same, data

from ravnet.functions import FUNCTIONS, NOWHERE, call_late, fit
from zkynet.framework.errors import InputError, ShapeError

# name, arrays, parameters, judge
ROWS: list[tuple[str, list[np.ndarray], dict[str, Any], Callable[..., Any]]] = [
    ("unique", [data("i 9")], {}, np.unique),
    ("unique", [data("i 3 4")], {"return_counts": "True", "return_inverse": True},
     lambda x: np.unique(x, return_inverse=True, return_counts=True)),
    ("unique", [data("i 6 1")], {"axis": "0", "return_index": True}, lambda x: np.unique(x, True, axis=0)),
    ("where", [data("b 7")], {}, lambda c: np.stack(np.where(c))),
    ("where", [data("i 3 4")], {}, lambda c: np.stack(np.where(c))),
    ("bincount", [data("i 9")], {"minlength": 7}, lambda x: np.bincount(x, minlength=7)),
    ("bincount", [data("i 9").astype(np.float32), data("p 9")], {}, lambda x, w: np.bincount(x.astype(int), w)),
    ("find_indices", [data("i 9"), np.array([2])], {}, lambda x, v: np.nonzero(x == 2)[0]),
    ("find_indices", [data("i 9"), np.asarray(1)], {}, lambda x, v: np.nonzero(x == 1)[0]),
    ("find_indices", [np.array([1.5, 2, 1.5]), np.array([[1.5], [9]])], {},
     lambda x, v: np.array([[0, 2], [NOWHERE, NOWHERE]])),
    ("find_indices", [np.array([True, False, True]), np.array([1])], {}, lambda x, v: np.array([0, 2])),
    ("foreach", [np.array([[1, 1, 2], [4, 3, 3]])], {"operation": "unique"}, lambda x: np.array([[1, 2], [3, 4]])),
    ("foreach", [data("i 3 4")], {"operation": "bincount", "minlength": 4},
     lambda x: np.stack([np.bincount(row, minlength=4) for row in x])),
    ("repeat", [data("f 3 2"), np.array([2, 0, 1])], {"repeats": {"$input": 1}, "axis": 0},
     lambda x, n: np.repeat(x, n, 0)),
    ("reshape", [data("f 3 4"), np.array([6, -1])], {"shape": {"$input": 1}}, lambda x, s: x.reshape(6, -1)),
    ("split", [data("f 4 3")], {"numOrSizeSplits": 2}, lambda x: np.split(x, 2)),
    ("gather", [data("f 4 3"), np.array([1.0, -1.0])], {}, lambda x, i: x[[1, -1]]),
    ("matmul", [data("f 3 4"), data("f 4 2")], {}, np.matmul),
]


@pytest.mark.parametrize("row", ROWS, ids=[f"{i}-{row[0]}" for i, row in enumerate(ROWS)])
def test_values_are_those_of_the_judge(row: Any):
    name, arrays, params, judge = row
    found = call_late(name, arrays, params)
    assert_same(found, judge(*arrays))
    inputs = len(arrays) - sum(isinstance(item, dict) for item in params.values())
    outputs = FUNCTIONS[name].outputs(params, inputs)
    assert outputs == (len(found) if isinstance(found, list) else 1)


def test_rows_of_different_lengths_are_filled_up_with_no_position():
    x = np.array([1, 2, 2, 3, 6, 6, 6, 7])
    found = call_late("find_indices", [x, np.array([1, 6])])
    assert found.tolist() == [[0, NOWHERE, NOWHERE], [4, 5, 6]]
    first = call_late("foreach", [found], {"operation": "slice", "begin": 0, "size": 1})
    assert call_late("gather", [x, call_late("reshape", [first], {"shape": [2]})]).tolist() == [1, 6]
    with pytest.raises(InputError, match=f"^gather: position {NOWHERE} is out of range for an axis of length 8"):
        call_late("gather", [x, found])


WRONG: list[tuple[str, list[Any], dict[str, Any], type[Exception], str]] = [
    ("bincount", [np.array([-1, 2])], {}, InputError, "^bincount: x is a list of integers >= 0"),
    ("bincount", [np.array([0.5])], {}, InputError, "^bincount: x is a list of integers >= 0"),
    ("bincount", [np.array([1]), np.ones(2)], {}, ShapeError, r"^bincount: weights have the shape \(2,\)"),
    ("find_indices", [np.ones((2, 2)), np.ones(1)], {}, ShapeError, "^find_indices: x has one axis, but got .*2, 2"),
    ("gather", [np.ones(3), np.array([0, 3])], {}, InputError, "^gather: position 3 is out of range"),
    ("gather", [np.asarray(1.0), np.array([0])], {}, ShapeError, "^gather: a scalar has no rows"),
    ("pow", [np.array([2]), np.array([-1])], {}, InputError, "^pow: integers to negative powers are no integers"),
    ("one_hot_encoding", [np.array([0, 4])], {"depth": 4}, InputError, "^one_hot_encoding: position 4 is out of range"),
    ("foreach", [np.array([[1, 1], [1, 2]])], {"operation": "unique"}, ShapeError,
     "^foreach: unique gives results of different shapes"),
    ("unique", [], {}, InputError, "^unique: the input 'x' is missing. It takes unique.x, return_index=False"),
    ("linear_regression", [np.ones((3, 1))], {}, InputError, "^linear_regression: the input 'y' is missing"),
    ("linear_regression", [np.ones((3, 1)), np.ones(2)], {}, InputError, "scikit-learn does not accept this: .*3, 2"),
    ("knn_classifier", [np.ones((3, 1)), np.ones(3)], {}, InputError, "^knn_classifier: the parameter 'k' is missing"),
    ("knn_classifier", [np.ones((3, 1)), np.ones(3)], {"k": 5}, InputError, "does not accept this: .*neigh"),
    ("svm_svc", [np.ones((2, 1)), np.arange(2)], {"kernel": "best"}, InputError, "does not accept this: .*kernel"),
    ("kmeans", [np.ones((3, 1)), np.ones((3, 2))], {"n_clusters": 1}, InputError, "does not accept this: .*features"),
    ("federated_mean", [], {}, InputError, "^federated_mean: sizes of the participants' parts are missing"),
    ("federated_mean", [np.ones(2)], {}, InputError, "^federated_mean: means of the participants' parts are missing"),
    ("federated_mean", [np.ones(2), np.ones(3)], {}, ShapeError, r": sizes have the shape \(2,\), means \(3,\)"),
    ("federated_mean", [np.zeros(2), np.ones(2)], {}, InputError, ": there are no data: all sizes are 0"),
    ("federated_variance", [np.ones(2), np.ones(2), -np.ones(2)], {}, InputError, "variances must not be negative"),
    ("federated_mean", [np.ones(1), np.array([np.nan])], {}, InputError, "means contain nan or inf"),
]


@pytest.mark.parametrize("row", WRONG, ids=[f"{i}-{row[0]}" for i, row in enumerate(WRONG)])
def test_wrong_values_are_told_what_is_right(row: Any):
    name, arrays, params, kind, message = row
    with pytest.raises(kind, match=message):
        call_late(name, arrays, params)


# Federated --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [(), (3,)])
def test_statistics_of_parts_are_those_of_all_rows(columns: tuple[int, ...]):
    rng = np.random.default_rng(0)
    parts = [rng.normal(1e4, 5, (n, *columns)) for n in (1, 7, 30)]
    rows = np.concatenate(parts)
    sizes, means = np.array([len(part) for part in parts]), np.array([part.mean(0) for part in parts])
    variances, deviations = np.array([part.var(0) for part in parts]), np.array([part.std(0) for part in parts])
    found = [call_late("federated_mean", [sizes, means]), call_late("federated_variance", [sizes, means, variances]),
             call_late("federated_standard_deviation", [sizes, means, deviations])]
    for got, wanted in zip(found, (rows.mean(0), rows.var(0), rows.std(0)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10)


# scikit-learn -----------------------------------------------------------------------------------------------

sklearn = pytest.importorskip("sklearn")
from sklearn import cluster, ensemble, linear_model, naive_bayes, neighbors, svm, tree  # noqa: E402 (after the skip)


def blobs(targets: str, seed: int = 0, features: int = 3) -> list[np.ndarray]:
    """x, y and further x: three groups, or a noisy linear function."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, 60)
    x = (rng.normal(size=(60, features)) + 3 * group[:, None]).astype(np.float32)
    y = group.astype(np.int32) if targets == "class" else (x @ np.arange(1, features + 1) + 1).astype(np.float32)
    return [x[:40], y[:40], x[40:]]


LEARNERS: list[tuple[str, str, dict[str, Any], Any, tuple[str, ...]]] = [
    ("linear_regression", "number", {}, linear_model.LinearRegression(), ("coef_", "intercept_")),
    ("logistic_regression", "class", {}, linear_model.LogisticRegression(random_state=0), ("coef_", "intercept_")),
    ("knn_classifier", "class", {"k": 5}, neighbors.KNeighborsClassifier(5), ()),
    ("knn_regressor", "number", {"k": "4"}, neighbors.KNeighborsRegressor(4), ()),
    ("naive_bayes", "class", {}, naive_bayes.GaussianNB(), ("theta_", "var_", "class_prior_")),
    ("svm_svc", "class", {}, svm.SVC(kernel="linear"), ("support_vectors_", "dual_coef_", "intercept_")),
    ("svm_svc", "class", {"kernel": "rbf"}, svm.SVC(), ("support_vectors_", "dual_coef_", "intercept_")),
    ("svm_svr", "number", {}, svm.SVR(kernel="linear"), ("support_vectors_", "dual_coef_", "intercept_")),
    ("decision_tree_classifier", "class", {}, tree.DecisionTreeClassifier(random_state=0), ("tree",)),
    ("decision_tree_regressor", "number", {"random_state": 3}, tree.DecisionTreeRegressor(random_state=3), ("tree",)),
    ("random_forest_classifier", "class", {"n_estimators": 5, "max_depth": 2},
     ensemble.RandomForestClassifier(5, max_depth=2, random_state=0), ()),
    ("random_forest_regressor", "number", {"n_estimators": 4, "min_samples_split": 5, "random_state": 1},
     ensemble.RandomForestRegressor(4, min_samples_split=5, random_state=1), ()),
]


@pytest.mark.parametrize("row", LEARNERS, ids=[f"{i}-{row[0]}" for i, row in enumerate(LEARNERS)])
def test_learners_are_those_of_scikit_learn(row: Any):
    name, targets, params, judge, learned = row
    for features in (3, 2):
        x, y, further = blobs(targets, features=features)
        judge.fit(x, y)
        assert_same(call_late(name, [x, y, further], params), judge.predict(further))
        assert_same(call_late(name, [x, y[:, None], further], params).reshape(-1), judge.predict(further))
        found = call_late(name, [x, y], params)
        if learned == ("tree",):
            parts = ("feature", "threshold", "children_left", "children_right", "value")
            assert_same(found, [getattr(judge.tree_, part) for part in parts])
        elif learned:
            assert_same(found, [getattr(judge, part) for part in learned])
        else:
            assert_same(found, judge.predict(x))
        assert type(fit(name, [x, y], params)) is type(judge)
        assert (fit(name, [x, y], params).predict(further) == judge.predict(further)).all()


def test_kmeans_is_that_of_scikit_learn():
    for features in (3, 2):
        x, _, further = blobs("class", features=features)
        judge = cluster.KMeans(3, random_state=0).fit(x)
        assert_same(call_late("kmeans", [x], {"n_clusters": 3}), [judge.cluster_centers_, judge.labels_])
        assert_same(call_late("kmeans", [x, further], {"n_clusters": 3}), judge.predict(further))


def test_every_late_function_has_a_row():
    tested = {row[0] for row in ROWS} | {row[0] for row in LEARNERS} | {"kmeans"}
    tested |= {"federated_mean", "federated_variance", "federated_standard_deviation"}
    assert {name for name, function in FUNCTIONS.items() if function.late} <= tested


def test_scikit_learn_is_imported_when_it_is_needed():
    script = "import sys, ravnet.functions; print(sorted({'sklearn', 'scipy.stats', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match="^naive_bayes needs scikit-learn: pip install scikit-learn"):
        call_late("naive_bayes", [np.ones((2, 1)), np.arange(2)])


def test_nearest_neighbours_written_with_functions_find_what_scikit_learn_finds():
    """A whole script of late functions: distances, sorting, finding, voting."""
    x, y, further = blobs("class")
    shown = call_late("expand_dims", [further], {"axis": 1})
    squares = call_late("pow", [call_late("sub", [shown, x]), np.asarray(2)])
    distances = call_late("square_root", [call_late("sum", [squares], {"axis": 2})])
    nearest = call_late("foreach", [call_late("foreach", [distances], {"operation": "sort"})],
                        {"operation": "slice", "begin": 0, "size": 5})
    labels = np.zeros(0, np.float32)
    for row, values in zip(distances[:8], nearest[:8], strict=True):
        found = call_late("find_indices", [row, values])
        first = call_late("foreach", [found], {"operation": "slice", "begin": 0, "size": 1})
        votes = call_late("gather", [y, call_late("reshape", [first], {"shape": [5]})])
        labels = call_late("concat", [labels, call_late("mode", [votes])])
    assert labels.tolist() == neighbors.KNeighborsClassifier(5).fit(x, y).predict(further[:8]).tolist()
