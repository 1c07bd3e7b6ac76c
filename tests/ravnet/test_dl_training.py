"""Optimizers, accumulation and the shape of recorded training, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dl_running import assert_close, held_numbers, new_graph, run, values

from ravnet.api.graph import GraphRecord
from ravnet.dl import Functional, NeuralNetwork, layers, optimizers
from ravnet.dl.loss_functions import CrossEntropy, SquareLoss
from ravnet.dl.naming import units
from ravnet.dl.utils import batch_iterator
from zkynet import nn
from zkynet.framework.errors import GraphError, InputError

torch = pytest.importorskip("torch")
tnn = torch.nn

SQUARE = SquareLoss()
RNG = np.random.default_rng(5)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 20)]


class Net(Functional):
    """Dense, batch norm, tanh, Dense: with the weights of torch's."""

    def __init__(self, optimizer: Any, like: Any):
        given = {name: value.detach().numpy().copy() for name, value in like.state_dict().items()}
        self.first = layers.Dense(6, initial_W=given["0.weight"], use_bias="False")
        self.norm = layers.BatchNormalization1D(momentum=0.3)
        self.act = layers.Activation("tanh")
        self.last = layers.Dense(3, initial_W=given["3.weight"], initial_w0=given["3.bias"])
        self.initialize_params(optimizer)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        o = self.norm._forward_pass(self.first._forward_pass(input), training=training)
        return self.last._forward_pass(self.act._forward_pass(o))


def torch_net() -> Any:
    """Without a bias before the batch norm: its gradient would be rounding alone, of which an Adam makes a step."""
    torch.manual_seed(2)
    return tnn.Sequential(tnn.Linear(4, 6, bias=False), tnn.BatchNorm1d(6, 0.01, 0.3), tnn.Tanh(), tnn.Linear(6, 3))


def compare(graph: GraphRecord, model: Functional, theirs: Any, losses: list[Any], judged: list[Any]) -> None:
    """Losses, and all parameters and statistics afterwards."""
    held = [one for unit in units(model) for _, one in unit.held()]
    numbers = [loss.number for loss in losses] + held_numbers(graph, held)
    found = values(graph.activate(), numbers)
    for ours, their in zip(found[:len(losses)], judged, strict=True):
        assert_close(ours, their)
    for ours, their in zip(found[len(losses):], theirs.state_dict().values(), strict=True):
        assert_close(ours, their)


OPTIMIZERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    f"{kind.__name__} {number}": (kind, getattr(torch.optim, kind.__name__), options)
    for kind, several in {
        optimizers.RMSprop: [{}, {"lr": 0.02, "alpha": 0.8, "eps": 1e-6, "weight_decay": 0.1},
                             {"momentum": 0.9, "centered": True}],
        optimizers.Adam: [{}, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True}],
        optimizers.AdamW: [{}, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.2, "amsgrad": True}],
        optimizers.SGD: [{}, {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
                         {"lr": 0.05, "momentum": 0.9, "nesterov": True}],
        optimizers.Adagrad: [{}, {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.1}],
        optimizers.Adadelta: [{}, {"lr": 0.5, "rho": 0.8, "weight_decay": 0.01}],
        optimizers.Adamax: [{}, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.01}],
    }.items() for number, options in enumerate(several)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_takes_torchs_steps(name: str):
    kind, judge, options = OPTIMIZERS[name]
    theirs = torch_net()
    model = Net(kind(**options), theirs)
    graph = new_graph()
    stepper = judge(theirs.parameters(), **options)
    losses, judged = [], []
    for _ in range(4):
        loss = SQUARE(graph.tensor(Y), model._forward_pass(graph.tensor(X)))
        model._backward_pass(loss)
        their_loss = tnn.functional.mse_loss(theirs(torch.tensor(X)), torch.tensor(Y))
        stepper.zero_grad()
        their_loss.backward()
        stepper.step()
        losses.append(loss)
        judged.append(their_loss)
    assert len(graph.recorder.graph.programs()) == 1
    compare(graph, model, theirs, losses, judged)


def test_steps_that_accumulate_are_torchs_and_three_programs():
    theirs = torch_net()
    model = Net(optimizers.SGD(lr=0.1, momentum=0.5), theirs)
    graph = new_graph()
    stepper = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.5)
    losses, judged, programs = [], [], []
    for number in range(9):
        x, y = X[number:number + 8], Y[number:number + 8]
        step = number % 3 == 2
        loss = SQUARE(graph.tensor(y), model._forward_pass(graph.tensor(x)))
        model._backward_pass(loss, step=str(step) if number < 3 else step)
        their_loss = tnn.functional.mse_loss(theirs(torch.tensor(x)), torch.tensor(y))
        their_loss.backward()
        if step:
            stepper.step()
            stepper.zero_grad()
        losses.append(loss)
        judged.append(their_loss)
        programs.append(len(graph.recorder.graph.programs()))
    assert programs == [1, 2, 3, 3, 3, 3, 3, 3, 3]
    compare(graph, model, theirs, losses, judged)


def test_a_step_without_accumulation_after_one_is_one_program_again():
    theirs = torch_net()
    model = Net(optimizers.Adam(lr=0.01), theirs)
    graph = new_graph()
    stepper = torch.optim.Adam(theirs.parameters(), lr=0.01)
    losses, judged = [], []
    for step in (True, False, True, True, True):
        loss = CrossEntropy()(graph.tensor(Y), model._forward_pass(graph.tensor(X)))
        model._backward_pass(loss, step=step)
        their_loss = tnn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(Y))
        their_loss.backward()
        if step:
            stepper.step()
            stepper.zero_grad()
        losses.append(loss)
        judged.append(their_loss)
    assert len(graph.recorder.graph.programs()) == 4  # a step, gradients, their sum, an update
    assert len({call.program for call in graph.recorder.graph.calls[-2:]}) == 1
    compare(graph, model, theirs, losses, judged)


def test_the_rate_may_change_between_steps():
    theirs = torch_net()
    options = optimizers.SGD(lr=0.1)
    model, graph = Net(options, theirs), new_graph()
    stepper = torch.optim.SGD(theirs.parameters(), lr=0.1)
    losses, judged = [], []
    for rate in (0.1, 0.01, 0.5):
        options.lr = stepper.param_groups[0]["lr"] = rate
        loss = SQUARE(graph.tensor(Y), model._forward_pass(graph.tensor(X)))
        model._backward_pass(loss)
        their_loss = tnn.functional.mse_loss(theirs(torch.tensor(X)), torch.tensor(Y))
        stepper.zero_grad()
        their_loss.backward()
        stepper.step()
        losses.append(loss)
        judged.append(their_loss)
    assert len(graph.recorder.graph.programs()) == 1
    compare(graph, model, theirs, losses, judged)


def test_frozen_layers_stay_and_a_layer_that_comes_later_is_trained():
    class Growing(Functional):
        def __init__(self):
            self.first = layers.Dense(4, initial_W=np.eye(4), initial_w0=np.zeros(4))
            self.second = layers.Dense(4, initial_W=np.eye(4), initial_w0=np.zeros(4))
            self.deep = False
            self.initialize_params(optimizers.Adam(lr=0.1))

        def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
            o = self.first._forward_pass(input)
            return self.second._forward_pass(o) if self.deep else o

    model, graph = Growing(), new_graph()
    first, second = tnn.Linear(4, 4), tnn.Linear(4, 4)
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.copy_(torch.eye(4))
            layer.bias.zero_()
    stepper = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.1)
    ops, judged = [], []
    for number in range(6):
        model.deep = number >= 2
        if number == 4:
            model.first.set_trainable(False)
            first.requires_grad_(False)
        loss = model._forward_pass(graph.tensor(X)).square().mean()
        model._backward_pass(loss)
        out = first(torch.tensor(X))
        their_loss = ((second(out) if model.deep else out)**2).mean()
        stepper.zero_grad()
        their_loss.backward()
        stepper.step()
        ops.append(loss)
        judged.append(their_loss)
    for ours, their in zip(run(graph, *ops), judged, strict=True):
        assert_close(ours, their)


@pytest.mark.parametrize("step", [True, False])
def test_a_loss_across_an_update_is_refused_as_by_torch(step: bool):
    theirs = torch_net()
    model, graph = Net(optimizers.SGD(lr=0.1), theirs), new_graph()
    stepper = torch.optim.SGD(theirs.parameters(), lr=0.1)
    old, their_old = model._forward_pass(graph.tensor(X)), theirs(torch.tensor(X))
    model._backward_pass(SQUARE(graph.tensor(Y), old))
    tnn.functional.mse_loss(their_old, torch.tensor(Y)).backward(retain_graph=True)
    stepper.step()
    with pytest.raises(GraphError, match="has two values in this loss"):
        model._backward_pass(SQUARE(graph.tensor(Y), old + model._forward_pass(graph.tensor(X))), step=step)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        tnn.functional.mse_loss(their_old + theirs(torch.tensor(X)), torch.tensor(Y)).backward()


def test_one_layer_used_twice_shares_its_weights():
    shared = tnn.Linear(4, 4)

    class Twice(Functional):
        def __init__(self):
            self.layer = layers.Dense(4, initial_W=shared.weight.detach().numpy().copy(),
                                      initial_w0=shared.bias.detach().numpy().copy())
            self.again = [self.layer]
            self.initialize_params(optimizers.SGD(lr=0.1))

        def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
            return self.again[0]._forward_pass(self.layer._forward_pass(input))

    model, graph = Twice(), new_graph()
    stepper = torch.optim.SGD(shared.parameters(), lr=0.1)
    ops, judged = [], []
    for _ in range(3):
        loss = model._forward_pass(graph.tensor(X)).square().mean()
        model._backward_pass(loss)
        their_loss = (shared(shared(torch.tensor(X)))**2).mean()
        stepper.zero_grad()
        their_loss.backward()
        stepper.step()
        ops.append(loss)
        judged.append(their_loss)
    assert [unit.name for unit in units(model)] == ["Dense_1"]
    for ours, their in zip(run(graph, *ops), judged, strict=True):
        assert_close(ours, their)


def test_two_models_in_one_loss_step_apart():
    one, two = tnn.Linear(4, 4), tnn.Linear(4, 3)

    def model_of(module: Any) -> NeuralNetwork:
        model = NeuralNetwork(optimizer=optimizers.SGD(lr=0.1), loss="SquareLoss")
        model.add(layers.Dense(module.out_features, initial_W=module.weight.detach().numpy().copy(),
                               initial_w0=module.bias.detach().numpy().copy()))
        return model

    first, second, graph = model_of(one), model_of(two), new_graph()
    steppers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (one, two)]
    ops, judged = [], []
    for _ in range(3):
        loss = SQUARE(graph.tensor(Y), second._forward_pass(first._forward_pass(graph.tensor(X))))
        second._backward_pass(loss)
        first._backward_pass(loss)
        their_loss = tnn.functional.mse_loss(two(one(torch.tensor(X))), torch.tensor(Y))
        for stepper in steppers:
            stepper.zero_grad()
        their_loss.backward()
        for stepper in steppers:
            stepper.step()
        ops.append(loss)
        judged.append(their_loss)
    assert len(graph.recorder.graph.programs()) == 2
    for ours, their in zip(run(graph, *ops), judged, strict=True):
        assert_close(ours, their)


# The seed's model ---------------------------------------------------------------------------------------------


class CustomLayer1(layers.CustomLayer):
    def __init__(self) -> None:
        self.d1 = layers.Dense(20, input_shape=(4,))
        self.bn1 = layers.BatchNormalization1D(momentum=0.99, epsilon=0.01)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        o = self.d1._forward_pass(input)
        return self.bn1._forward_pass(o, training=training)


class CustomLayer2(layers.CustomLayer):
    def __init__(self) -> None:
        self.d1 = layers.Dense(30)
        self.dropout = layers.Dropout(0.9)
        self.d2 = layers.Dense(3)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        o = self.d1._forward_pass(input)
        o = self.dropout._forward_pass(o, training=training)
        return self.d2._forward_pass(o)


class ANNModel(Functional):
    def __init__(self, optimizer: Any):
        self.custom_layer1 = CustomLayer1()
        self.custom_layer2 = CustomLayer2()
        self.act = layers.Activation("softmax")
        self.initialize_params(optimizer)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        o = self.custom_layer1._forward_pass(input, training=training)
        o = self.custom_layer2._forward_pass(o, training=training)
        return self.act._forward_pass(o)


def test_a_training_loop_is_one_program_and_its_bindings():
    nn.manual_seed(0)
    data = pytest.importorskip("sklearn.datasets").load_iris()
    x = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
    y = np.eye(3, dtype=np.float32)[data.target]
    order = np.random.default_rng(0).permutation(len(x))[:100]
    x, y, classes = x[order], y[order], data.target[order]
    model, graph = ANNModel(optimizers.Adam(lr=0.01)), new_graph()
    for _ in range(100):
        for x_batch, y_batch in batch_iterator(x, y, batch_size=25):
            out = model._forward_pass(graph.tensor(x_batch))
            model._backward_pass(SQUARE(graph.tensor(y_batch), out))
    made = graph.recorder.graph
    assert (len(made.calls), len(made.programs())) == (400, 1)
    assert [unit.name for unit in units(model)] == [
        "CustomLayer1_1_Dense_1", "CustomLayer1_1_BatchNormalization1D_1", "CustomLayer2_1_Dense_1",
        "CustomLayer2_1_Dropout_1", "CustomLayer2_1_Dense_2", "Activation_1"]
    assert model.custom_layer1.name == "CustomLayer1_1"
    del out
    (predicted,) = run(graph, model._forward_pass(graph.tensor(x), training=False))
    assert len(graph.recorder.graph.programs()) == 2
    assert (predicted.argmax(1) == classes).mean() > 0.9


def test_optimizers_by_name():
    assert isinstance(optimizers.as_optimizer("sgd"), optimizers.SGD)
    assert isinstance(optimizers.as_optimizer("Adamax"), optimizers.Adamax)
    assert optimizers.as_optimizer({"name": "adagrad", "lr": 0.5}).lr == 0.5
    assert isinstance(optimizers.as_optimizer(optimizers.Adam), optimizers.Adam)
    for wrong, message in (("newton", "there is no optimizer 'newton'; there are: rmsprop, adam"),
                           ({"name": "adam", "rate": 1}, "Adam has no option 'rate'; it has: lr, betas"),
                           (3, "an optimizer is needed, such as Adam()")):
        with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
            optimizers.as_optimizer(wrong)
    with pytest.raises(InputError, match="betas"):
        optimizers.Adam(betas=(2.0, 0.9))
