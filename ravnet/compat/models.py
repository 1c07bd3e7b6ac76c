"""What `ravdl.v2` gives: RavDL's models."""

from __future__ import annotations

from typing import Any

from .. import dl
from ..dl import Functional, Pytorch_Model

__all__ = ["Functional", "NeuralNetwork", "Pytorch_Model"]


class NeuralNetwork(dl.NeuralNetwork):
    """As in ravnet.dl; `test_on_batch(X)` without targets gives the prediction."""

    def test_on_batch(self, X: Any, y: Any = None) -> Any:
        return self.predict(X) if y is None else super().test_on_batch(X, y)
