"""Two small nets on scikit-learn's tables: a line whose best values are known, and a classifier of tumours.

    python examples/tables.py

`models.fcn.Linear` is trained on the diabetes table (442 patients, 10 measurements, the disease's progress) by LBFGS,
and compared with the least-squares solution; `models.MLP` on the breast cancer table (569 tumours, 30 measurements),
compared on held-out rows with always saying the more frequent class.
"""

from __future__ import annotations

import numpy as np

from zkynet import data, models, nn, optim, train


def line() -> tuple[float, float]:
    """Mean squared error of the trained line and of the exact solution."""
    x, y = (array.astype(np.float32) for array in data.sklearn("diabetes").arrays)
    x, y = (x - x.mean(0)) / x.std(0), y.reshape(-1, 1) / 100
    model = models.fcn.Linear(np.zeros((1, x.shape[1]), np.float32), np.zeros(1, np.float32))
    loss_fn = nn.MSELoss()
    opt = optim.LBFGS(model.parameters(), max_iter=50, line_search_fn="strong_wolfe")
    opt.step(lambda: loss_fn(model(x), y))
    columns = np.hstack([x, np.ones_like(y)])
    best, *_ = np.linalg.lstsq(columns, y)
    return float(loss_fn(model(x), y).value), float(np.mean((columns @ best - y) ** 2))


def classifier() -> tuple[float, float]:
    """Accuracy on held-out rows, and that of the more frequent class."""
    table = data.sklearn("breast_cancer")
    parts = data.split(table, {"train": 0.75, "test": 0.25}, seed=0, stratify=True)
    x, y = table.arrays
    rows = parts["train"].indices
    x = ((x - x[rows].mean(0)) / x[rows].std(0)).astype(np.float32)
    test = parts["test"].indices
    nn.manual_seed(0)
    trainer = train.Trainer(models.MLP([x.shape[1], 32, 2], dropout=0.2), nn.CrossEntropyLoss(),
                            optim.AdamW(lr=3e-3, weight_decay=0.1), metrics=["accuracy"])
    trainer.fit((x[rows], y[rows]), epochs=40, batch_size=32, progress=False)
    return trainer.evaluate((x[test], y[test]))["accuracy"], float(np.bincount(y[test]).max() / len(test))


def main() -> tuple[float, float]:
    error, best = line()
    print(f"diabetes: mean squared error {error:.6f}, least squares {best:.6f}")
    accuracy, frequent = classifier()
    print(f"breast cancer: accuracy {accuracy:.1%} on held-out tumours, always the more frequent class {frequent:.1%}")
    return error - best, accuracy


if __name__ == "__main__":
    main()
