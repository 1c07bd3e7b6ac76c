"""History: reading it, and JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from zkynet.train import History


def example() -> History:
    history = History()
    history.append(0, {"loss": 1 / 3, "matrix": np.array([[1, 2], [3, 4]]), "lr": np.float32(0.1)})
    history.append(1, {"loss": 0.1, "val_loss": math.inf, "lr": np.float32(0.1)})
    return history


def test_values_over_epochs():
    history = example()
    assert history["epoch"] == [0, 1] and history["loss"] == [1 / 3, 0.1] and history["val_loss"] == [None, math.inf]
    assert history["matrix"] == [[[1, 2], [3, 4]], None]
    assert history.names == ["epoch", "loss", "matrix", "lr", "val_loss"] and "loss" in history and "mse" not in history
    assert len(history) == 2 and history.last == history.epochs[1] and list(history) == history.epochs
    assert repr(history) == "History(2 epochs; loss=0.1, val_loss=inf, lr=0.1)"
    assert History().last == {} and repr(History()) == "History(0 epochs)"


def test_an_unknown_name_lists_the_others():
    with pytest.raises(KeyError, match="no 'losss'; it has: epoch, loss, matrix, lr, val_loss"):
        example()["losss"]


def test_json_keeps_every_bit():
    history = example()
    history.append(2, {"loss": float(np.nextafter(0.1, 1)), "val_loss": 5e-324})
    again = History.from_json(history.to_json())
    assert again == history and again.epochs == history.epochs
    assert again["loss"][2] != 0.1 and json.loads(history.to_json())[1]["loss"] == 0.1
    again.append(3, {"loss": 1.0})
    assert again != history
