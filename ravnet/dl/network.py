"""Network: what all models can do: steps, frozen layers, saved weights, pickle, ONNX."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from zkynet.framework import cg
from zkynet.framework.errors import InputError, ShapeError, ZkynetError

from ..api.graph import GraphRecord
from ..api.op import Op
from ..errors import StateError
from .custom import plain
from .layer import Layer, Unit
from .naming import assign_names, parts, units
from .optimizers import as_optimizer
from .steps import Steps
from .summary import print_summary
from .values import current_graph, flag


class Network(Layer):
    """Base of the models. Subclasses say how the layers are applied (`_forward_pass`)."""

    _runtime: ClassVar[tuple[str, ...]] = ("_steps",)
    _steps: Steps | None = None
    _training_state: Any = None  # of the optimizer, between pickle and the next step
    _id: str | None = None
    _versions: int = 0  # how often the weights were persisted
    _named: bool = False  # whether the layers have names

    def _hint(self) -> str:
        return f"Make it with one: {type(self).__name__}(optimizer=Adam(), ...)."

    def initialize_params(self, optimizer: Any = None) -> None:
        """Name the layers, and take the optimizer: an object, a class or a name ("adam").

        Call it at the end of `__init__`, when all layers are set.
        """
        if optimizer is not None:
            self.optimizer = as_optimizer(optimizer)
            self._steps = None
        self._name_layers()

    def _name_layers(self) -> list[Unit]:
        assign_names(self)
        self._named = True
        found = units(self)
        for unit in found:
            unit.optimizer = self.optimizer
            unit.build()
        return found

    # Training ------------------------------------------------------------------------------------------------

    def _backward_pass(self, loss: Any, step: Any = True) -> None:
        """Gradients of the loss, and a step of the optimizer; with step=False they are added up until the next step.

        Raises:
            InputError: when the loss is no op without axes, or the model has no optimizer.
        """
        if self.optimizer is None:
            raise InputError(f"{type(self).__name__} has no optimizer. {self._hint()}")
        if not isinstance(loss, Op):
            raise InputError("_backward_pass takes the loss as an op, such as R.square_loss(y_true, y_pred), but got "
                             f"{type(loss).__name__}.")
        if loss.is_late or loss.get_shape() != ():
            shape = "one that depends on values" if loss.is_late else loss.get_shape()
            raise ShapeError(f"_backward_pass takes a loss without axes, but its shape is {shape}: take its mean() or "
                             "sum().")
        loss.graph.require_recording()
        try:
            self._training().backward(loss, self._parameters(), flag(step, "step"))
        except ZkynetError as error:
            raise type(error)(f"_backward_pass of {self._title}: {error}") from None

    def _parameters(self) -> list[cg.Parameter]:
        return [parameter for unit in units(self) for parameter in unit.parameters()]

    def _training(self) -> Steps:
        if self._steps is None:
            self._steps = Steps(as_optimizer(self.optimizer))
            if self._training_state is not None:
                names = {name: parameter for parameter, name in self._parameter_names().items()}
                self._steps.load(self._training_state, names)
                self._training_state = None
        return self._steps

    def _parameter_names(self) -> dict[cg.Parameter, str]:
        return {held: f"{unit._title}.{path}" for unit in units(self) for path, held in unit.held()
                if isinstance(held, cg.Parameter)}

    def set_trainable(self, trainable: Any = True) -> None:
        """Train all layers from the next step on, or keep their parameters as they are."""
        super().set_trainable(trainable)
        for layer in parts(self):
            layer.set_trainable(trainable)

    # Results -------------------------------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the layers with their numbers of parameters and output shapes, as far as they are known."""
        print_summary(type(self).__name__, self._name_layers())

    @property
    def model_id(self) -> str:
        """What the names of saved weights begin with."""
        if self._id is None:
            self._id = f"{type(self).__name__}_{uuid.uuid4().hex[:12]}"
        return self._id

    def _recording_graph(self) -> GraphRecord:
        """The graph in which the model was used last, as long as it is recorded; else the present one."""
        used = [unit._graph for unit in units(self) if unit._graph is not None and not unit._graph.activated]
        return used[0] if used else current_graph()

    def save_model(self, name: str | None = None) -> None:
        """Persist weights and running statistics as they are at this point of the graph.

        They get the names "{name}.{layer}.{weight}", such as "net.Dense_1.weight"; without a name, of the model's id. A
        model that is pickled afterwards finds them in a later process.
        """
        graph = self._recording_graph()
        graph.require_recording()
        self._versions += 1
        count = "" if self._versions == 1 else f".{self._versions}"
        prefix = f"{self.model_id}{count}." if name is None else f"{name}."
        for unit in self._name_layers():
            unit.persist(graph, prefix)

    persist_weights = save_model

    def get_onnx_model(self, name: str, *examples: Any) -> str:
        """Write the model with its trained weights as name.onnx, and return that path.

        Args:
            examples: inputs, as arrays; only needed where the model was never used, so that their shapes are unknown.

        Raises:
            StateError: when the weights are not computed yet.
        """
        from .onnx import write

        self._name_layers()
        return write(self, name, examples)

    def input_example(self) -> list[tuple[tuple[int, ...], str]] | None:
        """Shapes (batch included) and dtypes of the inputs, if they are known."""
        return None

    # Pickle --------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        self._name_layers()
        state = {name: plain(value, f"the attribute {name!r} of {self._title}")
                 for name, value in vars(self).items() if name not in self._runtime}
        if self._steps is not None:
            state["_training_state"] = self._steps.values(self._parameter_names())
        return state


def require_computed(network: Network) -> None:
    """Raise StateError unless all weights are known; gets those that were saved."""
    try:
        for unit in units(network):
            unit.weights()
    except StateError as error:
        raise StateError(f"{network._title}: {error}") from None
