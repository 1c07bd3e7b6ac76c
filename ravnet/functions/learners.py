"""scikit-learn's estimators as functions: fitted on the host, when the data are there.

Each takes x and y (kmeans x alone), and x_test optionally. With x_test the result is the prediction for it; without, it
is what was learned, as arrays. `fit` gives the estimator itself. scikit-learn is imported when one of them runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np

from zkynet.framework.errors import InputError

from . import kinds
from .function import REQUIRED, Function, Input, Parameter


@dataclass(frozen=True)
class Learner:
    """An estimator of scikit-learn.

    Attributes:
        place: its module and class within sklearn.
        learned: its attributes after fitting that are the result; () for the predictions of x.
        params: name: (annotation in `kinds`, default). Those called k are scikit-learn's n_neighbors.
        flat: whether y is one list of targets, so that a column is taken as one.
    """

    place: str
    learned: tuple[str, ...]
    params: tuple[tuple[str, Any, Any], ...] = ()
    flat: bool = True
    targets: bool = True

    @property
    def outputs(self) -> int:
        return len(self.learned) or 1


_SEED = ("random_state", kinds.Int, 0)
_TREE = ("tree_.feature", "tree_.threshold", "tree_.children_left", "tree_.children_right", "tree_.value")
_VECTORS = ("support_vectors_", "dual_coef_", "intercept_")


def _forest(criterion: str) -> tuple[tuple[str, Any, Any], ...]:
    return (("n_estimators", kinds.Int, 100), ("criterion", kinds.Text, criterion), ("max_depth", kinds.MaybeInt, None),
            ("min_samples_split", kinds.Int, 2), _SEED)


LEARNERS: dict[str, Learner] = {
    "linear_regression": Learner("linear_model.LinearRegression", ("coef_", "intercept_"), flat=False),
    "logistic_regression": Learner("linear_model.LogisticRegression", ("coef_", "intercept_"), (_SEED,)),
    "knn_classifier": Learner("neighbors.KNeighborsClassifier", (), (("k", kinds.Int, REQUIRED),)),
    "knn_regressor": Learner("neighbors.KNeighborsRegressor", (), (("k", kinds.Int, REQUIRED),), flat=False),
    "naive_bayes": Learner("naive_bayes.GaussianNB", ("theta_", "var_", "class_prior_")),
    "kmeans": Learner("cluster.KMeans", ("cluster_centers_", "labels_"), (("n_clusters", kinds.Int, REQUIRED), _SEED),
                      targets=False),
    "svm_svc": Learner("svm.SVC", _VECTORS, (("kernel", kinds.Text, "linear"),)),
    "svm_svr": Learner("svm.SVR", _VECTORS, (("kernel", kinds.Text, "linear"),)),
    "decision_tree_classifier": Learner("tree.DecisionTreeClassifier", _TREE, (_SEED,)),
    "decision_tree_regressor": Learner("tree.DecisionTreeRegressor", _TREE, (_SEED,), flat=False),
    "random_forest_classifier": Learner("ensemble.RandomForestClassifier", (), _forest("gini")),
    "random_forest_regressor": Learner("ensemble.RandomForestRegressor", (), _forest("squared_error")),
}


def fit(name: str, arrays: Sequence[Any], params: Mapping[str, Any] | None = None) -> Any:
    """The fitted estimator of scikit-learn: of x and y (of x alone, for kmeans).

    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [2.0]], np.float32)
    >>> fit("linear_regression", [x, 3 * x + 1]).predict([[3.0]]).round(3).tolist()
    [[10.0]]
    """
    if name not in LEARNERS:
        raise InputError(f"{name} is not one of the functions that learn: {', '.join(LEARNERS)}.")
    learner = LEARNERS[name]
    given = FUNCTIONS_BY_NAME[name].bound(arrays[:1 + learner.targets], params).params
    options = {parameter: default for parameter, _, default in learner.params if default is not REQUIRED} | given
    if "k" in options:
        options["n_neighbors"] = options.pop("k")
    x, *targets = [np.asarray(array) for array in arrays[:1 + learner.targets]]
    if targets and learner.flat and targets[0].shape[1:] == (1,):
        targets = [targets[0][:, 0]]
    try:
        return _estimator(name, learner.place)(**options).fit(x, *targets)
    except ValueError as error:
        raise InputError(f"{name}: scikit-learn does not accept this: {error}") from error


def _estimator(name: str, place: str) -> Any:
    module, _, kind = place.rpartition(".")
    try:
        import sklearn
    except ImportError:
        raise InputError(f"{name} needs scikit-learn: pip install scikit-learn") from None
    return getattr(importlib.import_module(f"{sklearn.__name__}.{module}"), kind)


def _narrow(value: Any) -> np.ndarray:
    """As the other functions give results: 32 bits."""
    array = np.asarray(value)
    return array.astype({"f": np.float32, "i": np.int32, "u": np.int32}.get(array.dtype.kind, array.dtype))


def _attribute(estimator: Any, path: str) -> Any:
    for part in path.split("."):
        estimator = getattr(estimator, part)
    return estimator


def _made(name: str, learner: Learner) -> Function:
    def body(*arrays: Any, **params: Any) -> Any:
        estimator = fit(name, arrays, params)
        x, *tests = [arrays[0], *arrays[1 + learner.targets:]]
        if tests or not learner.learned:
            try:
                return _narrow(estimator.predict(np.asarray(tests[0] if tests else x)))
            except ValueError as error:
                raise InputError(f"{name}: scikit-learn does not accept this: {error}") from error
        return [_narrow(_attribute(estimator, path)) for path in learner.learned]

    def results(inputs: int, params: Mapping[str, Any]) -> int:
        return 1 if inputs > 1 + learner.targets else learner.outputs

    kind = learner.place.rpartition(".")[2]
    learned = ", ".join([path.replace("tree_.", "").strip("_") for path in learner.learned])
    inputs = (Input("x"), *[Input("y")][:learner.targets], Input("x_test", required=False, never=(Number, str)))
    params = tuple([Parameter(param, _kind(annotation), default) for param, annotation, default in learner.params])
    return Function(name, body, f"the predictions for x_test; without it {learned or 'the predictions for x'}",
                    f"sklearn {kind}", "runs on the host, seeded by random_state" if _SEED in learner.params else
                    "runs on the host", late=True, results=results, inputs=inputs, params=params)


def _kind(annotation: Any) -> kinds.Kind:
    return next(part for part in annotation.__metadata__ if isinstance(part, kinds.Kind))


FUNCTIONS = [_made(name, learner) for name, learner in LEARNERS.items()]
FUNCTIONS_BY_NAME = {made.name: made for made in FUNCTIONS}
