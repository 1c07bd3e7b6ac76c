"""NeuralNetwork: layers one after the other, trained by `fit`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from zkynet.framework.errors import InputError

from ..api.graph import GraphRecord
from ..api.op import Op
from .layer import Layer, Unit
from .loss_functions import as_loss
from .network import Network
from .optimizers import as_optimizer
from .shaping import Reshape
from .utils.data_manipulation import batch_iterator
from .values import flag, graph_of, op_in


class NeuralNetwork(Network):
    """A model of layers in a row.

    Args:
        optimizer: such as `Adam()`, or the name of one.
        loss: 'SquareLoss', 'CrossEntropy', a class of `ravnet.dl.loss_functions`, or a function of y_true and y_pred.
        validation_data: (X, y), on which `fit` evaluates the loss after each epoch.

    >>> from ravnet.dl import NeuralNetwork
    >>> from ravnet.dl.layers import Activation, Dense
    >>> from ravnet.dl.optimizers import RMSprop
    >>> model = NeuralNetwork(optimizer=RMSprop(), loss="SquareLoss")
    >>> model.add(Dense(20, input_shape=(4,)))
    >>> model.add(Activation("softmax"))
    >>> model.summary()
    NeuralNetwork
    +--------------+------------+--------------+
    | Layer        | Parameters | Output shape |
    +--------------+------------+--------------+
    | Dense_1      | 100        | (20,)        |
    | Activation_1 | 0          | (20,)        |
    +--------------+------------+--------------+
    Total parameters: 100
    """

    _runtime: ClassVar[tuple[str, ...]] = (*Network._runtime, "_epochs")
    _epochs: tuple[GraphRecord, int] | None = None  # the graph of the last fit, and the epochs done in it

    def __init__(self, optimizer: Any = None, loss: Any = None, validation_data: Any = None):
        self.layers: list[Layer] = []
        self.optimizer = None if optimizer is None else as_optimizer(optimizer)
        self.loss_function = None if loss is None else as_loss(loss)
        is_pair = isinstance(validation_data, (tuple, list)) and len(validation_data) == 2
        if validation_data is not None and not is_pair:
            raise InputError(f"validation_data is a pair (X, y), but got {type(validation_data).__name__}.")
        self.validation_data = validation_data

    def add(self, layer: Layer) -> None:
        """Put a layer at the end; only the first needs `input_shape=`, or the data says it."""
        if not isinstance(layer, Layer):
            raise InputError(f"a NeuralNetwork is made of layers, such as Dense(10), but got {layer!r}.")
        self.layers.append(layer)
        try:
            self._name_layers()
            self._infer_shape()
        except BaseException:
            self.layers.pop()
            raise

    def _infer_shape(self) -> None:
        """Build the last layer, if its input is known: from the one before, or the first from itself."""
        *before, layer = self.layers
        if not isinstance(layer, Unit):
            return
        shape: Any = getattr(before[-1], "_output", None) if before else layer._input
        if not shape or isinstance(shape[0], tuple):
            return
        if not isinstance(layer, Reshape) or -1 in layer.shape:  # without -1 it depends on the batch's size
            layer.infer(shape)

    # Recording -----------------------------------------------------------------------------------------------

    def _forward_pass(self, X: Any, training: Any = True) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.layers:
            raise InputError("the NeuralNetwork has no layers: model.add(Dense(10)).")
        for layer in self.layers:
            X = layer._forward_pass(X, training=training)
        return X

    def predict(self, X: Any) -> Op:
        """The output for X, not in training."""
        return self._forward_pass(X, training=False)

    def _loss(self, X: Any, y: Any, training: bool) -> Op:
        if self.loss_function is None:
            raise InputError("the NeuralNetwork has no loss: NeuralNetwork(optimizer=..., loss='SquareLoss').")
        graph = graph_of([X, y])
        y = op_in(graph, y)
        return self.loss_function(y, self._forward_pass(op_in(graph, X), training=training))

    def train_on_batch(self, X: Any, y: Any) -> Op:
        """One step; returns the loss before it."""
        loss = self._loss(X, y, training=True)
        self._backward_pass(loss)
        return loss

    def test_on_batch(self, X: Any, y: Any) -> Op:
        """The loss, not in training."""
        return self._loss(X, y, training=False)

    def fit(self, X: Any, y: Any, n_epochs: int, batch_size: int, save_model: Any = False,
            persist_weights: Any = False) -> list[Op]:
        """Record n_epochs of steps over the batches of X and y, in order.

        Each loss is persisted as training_loss_epoch_{e}_batch_{b}, both from 1; with validation_data its loss after
        each epoch as validation_loss_epoch_{e}. A second `fit` in the same graph goes on counting epochs.

        Args:
            save_model, persist_weights: persist the weights after the last epoch; see `save_model`.

        Returns:
            the losses' ops.
        """
        graph = graph_of([X, y])
        batches = [(graph.tensor(a), graph.tensor(b)) for a, b in batch_iterator(_rows(X), _rows(y), batch_size)]
        losses = []
        first = 1 + self._epochs_in(graph)
        for epoch in range(first, first + int(n_epochs)):
            for number, (a, b) in enumerate(batches, 1):
                losses.append(self.train_on_batch(a, b).persist_op(name=f"training_loss_epoch_{epoch}_batch_{number}"))
                self._epochs = graph, epoch  # one that failed at its first batch is not counted
            if self.validation_data is not None:
                self._validate(graph, batch_size).persist_op(name=f"validation_loss_epoch_{epoch}")
        if flag(save_model, "save_model") or flag(persist_weights, "persist_weights"):
            self.save_model()
        return losses

    def _epochs_in(self, graph: GraphRecord) -> int:
        """How many epochs were recorded in this graph."""
        return self._epochs[1] if self._epochs is not None and self._epochs[0] is graph else 0

    def _validate(self, graph: GraphRecord, batch_size: int) -> Op:
        """The mean loss over the validation data."""
        data: Any = self.validation_data
        X, y = data
        total: Any = None
        for a, b in batch_iterator(_rows(X), _rows(y), batch_size):
            part: Any = self.test_on_batch(graph.tensor(a), graph.tensor(b))
            part = part * (len(a) / len(X))
            total = part if total is None else total + part
        return total

    def input_example(self) -> list[tuple[tuple[int, ...], str]] | None:
        first = self.layers[0] if self.layers else None
        if not isinstance(first, Unit) or not first._input:
            return None
        return [((1, *first._input[1:]), np.dtype(first._takes).name)]


def _rows(data: Any) -> Any:
    """Data that can be cut along its first axis."""
    return data if isinstance(data, (np.ndarray, Op)) or hasattr(data, "detach") else np.asarray(data)
