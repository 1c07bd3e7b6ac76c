"""What scikit-learn and PyTorch reach on the data of the scripts, on the same splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import cluster, datasets, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.model_selection import train_test_split


def arrays(load: Any) -> Any:
    return load(return_X_y=True)


def iris() -> Any:
    X, y = arrays(datasets.load_iris)
    return train_test_split((X - X.mean(axis=0)) / X.std(axis=0), y, test_size=0.33, random_state=42)


def digits() -> Any:
    X, y = arrays(datasets.load_digits)
    return train_test_split((X / 16).reshape(-1, 1, 8, 8).astype(np.float32), y, test_size=0.4, random_state=1)


def diabetes() -> Any:
    X, y = arrays(datasets.load_diabetes)
    return train_test_split(X / X.std(axis=0), (y - y.mean()) / y.std(), test_size=0.3, random_state=0)


def score(estimator: Any, data: Any) -> float:
    X, X_test, y, y_test = data
    return estimator.fit(X, y).score(X_test, y_test)


def net_on_iris() -> float:
    return score(neural_network.MLPClassifier((15, 30), max_iter=2000, random_state=0), iris())


def neighbours_on_iris() -> float:
    return score(neighbors.KNeighborsClassifier(5), iris())


def regression_on_diabetes() -> float:
    return score(linear_model.LinearRegression(), diabetes())


def convolution_on_digits() -> float:
    """The net of digits_cnn.py in PyTorch."""
    from torch import nn

    return torch_on_digits(nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8),
        nn.Conv2d(8, 16, 3, padding="same"), nn.ReLU(), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 10)), nn.CrossEntropyLoss(), 0.005, 8)


def net_on_digits() -> float:
    """The net of onnx_finetune.py in PyTorch."""
    from torch import nn

    return torch_on_digits(nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.BatchNorm1d(48), nn.Linear(48, 10)),
        nn.CrossEntropyLoss(), 0.003, 15)


def script_on_digits() -> float:
    """The net of torchscript_cnn.py, trained by PyTorch."""
    from torch import nn

    return torch_on_digits(nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(128, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 10), nn.Softmax(-1)), nn.MSELoss(), 0.006, 8)


def torch_on_digits(net: Any, loss: Any, lr: float, epochs: int) -> float:
    import torch

    X, X_test, y, y_test = [torch.tensor(part) for part in digits()]
    targets = torch.nn.functional.one_hot(y, 10).float()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small steps: threads only wait for each other
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in net.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        for _ in range(epochs):
            for start in range(0, len(X), 128):
                optimizer.zero_grad()
                loss(net(X[start:start + 128]), targets[start:start + 128]).backward()
                optimizer.step()
    torch.set_num_threads(threads)
    with torch.no_grad():
        return (net.eval()(X_test).argmax(-1) == y_test).float().mean().item()


# The learners that run on the executor: estimator, data.
LEARNERS: dict[str, tuple[Any, Any]] = {
    "logistic_regression": (linear_model.LogisticRegression(random_state=0), iris),
    "knn_classifier": (neighbors.KNeighborsClassifier(5), iris),
    "naive_bayes": (naive_bayes.GaussianNB(), iris),
    "svm_svc": (svm.SVC(kernel="rbf"), iris),
    "decision_tree_classifier": (tree.DecisionTreeClassifier(random_state=0), iris),
    "random_forest_classifier": (ensemble.RandomForestClassifier(20, random_state=0), iris),
    "kmeans": (cluster.KMeans(3, random_state=0), iris),
    "linear_regression": (linear_model.LinearRegression(), diabetes),
    "knn_regressor": (neighbors.KNeighborsRegressor(9), diabetes),
    "svm_svr": (svm.SVR(kernel="linear"), diabetes),
    "decision_tree_regressor": (tree.DecisionTreeRegressor(random_state=0), diabetes),
    "random_forest_regressor": (ensemble.RandomForestRegressor(20, max_depth=4, random_state=0), diabetes),
}


def learned(name: str) -> np.ndarray:
    """What scikit-learn predicts, with the numbers that the executor has: 32 bits."""
    estimator, data = LEARNERS[name]
    X, X_test, y, _ = [part.astype({"f": np.float32, "i": np.int32}[part.dtype.kind]) for part in data()]
    return estimator.fit(X, y).predict(X_test)
