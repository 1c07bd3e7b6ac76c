"""Models over whole sessions: fit, fetch, pickle in between, new graphs, other processes, ONNX."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravnet as R
from ravnet.api.op import Op
from ravnet.api.recording import Ref
from ravnet.dl import Functional, NeuralNetwork, layers, load_onnx
from ravnet.dl.layer import Unit
from ravnet.dl.naming import units
from ravnet.dl.optimizers import Adam, RMSprop
from ravnet.errors import StateError
from zkynet import nn
from zkynet.framework.errors import InputError, ShapeError, ZkynetError

RNG = np.random.default_rng(7)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[X[:, :3].argmax(1)]


@pytest.fixture(autouse=True)
def session(home: Path) -> None:
    nn.manual_seed(0)
    R.initialize("token")
    begin()


def begin() -> None:
    R.Graph(name="test", algorithm="net", approach="distributed")


def finish() -> None:
    R.activate()
    R.execute()
    R.track_progress()


def network(**options: Any) -> NeuralNetwork:
    model = NeuralNetwork(optimizer=RMSprop(), loss="SquareLoss", **options)
    model.add(layers.Dense(6, input_shape=(4,)))
    model.add(layers.BatchNormalization1D())
    model.add(layers.Activation("relu"))
    model.add(layers.Dropout(0.1))
    model.add(layers.Dense(3))
    model.add(layers.Activation("softmax"))
    return model


class Net(Functional):
    def __init__(self, optimizer: Any = None):
        self.blocks = [layers.Dense(6), layers.Dense(6)]
        self.by_name = {"norm": layers.BatchNormalization1D(), "out": layers.Dense(3)}
        self.mask: Any = np.ones((1, 6), np.float32)
        self.initialize_params(optimizer)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        o = input
        for block in self.blocks:
            o = block._forward_pass(o)
        o = self.by_name["norm"]._forward_pass(o, training=training)
        return self.by_name["out"]._forward_pass(R.t(self.mask) * o * 0.5)


def train(model: Functional, steps: int = 2) -> Op:
    loss: Any = None
    for _ in range(steps):
        loss = R.square_loss(R.t(Y), model._forward_pass(R.t(X)))
        model._backward_pass(loss)
    return loss


def arrays(model: Any) -> list[np.ndarray]:
    return [array for unit in units(model) for array in unit.weights().values()]


# fit ----------------------------------------------------------------------------------------------------------


def test_fit_persists_losses_that_go_down_and_validation():
    model = network(validation_data=(X[:7], Y[:7]))
    losses = model.fit(X.tolist(), Y, n_epochs=8, batch_size=8, save_model=True)
    model.predict(X).persist_op(name="prediction")
    assert len(losses) == 24
    finish()
    first, last = (float(R.fetch_persisting_op(op_name=f"training_loss_epoch_{e}_batch_1")) for e in (1, 8))
    assert last < first
    assert float(losses[0]()) == first
    validation = [float(R.fetch_persisting_op(f"validation_loss_epoch_{e}")) for e in (1, 8)]
    assert validation[1] < validation[0]
    prediction = R.fetch_persisting_op("prediction")
    assert np.allclose(np.asarray(prediction).sum(1), 1.0, atol=1e-5)
    weight = R.fetch_persisting_op(f"{model.model_id}.Dense_1.weight")
    assert np.array_equal(weight, model.layers[0].weights()["weight"])  # pyright: ignore[reportAttributeAccessIssue]


def test_validation_loss_is_the_mean_over_all_batches():
    model = network(validation_data=(X, Y))
    (loss,) = model.fit(X, Y, 1, 20)
    whole = model.test_on_batch(X, Y)
    model.validation_data = X[:11], Y[:11]
    model.fit(X, Y, 1, 8)
    part = model.test_on_batch(X[:11], Y[:11])
    finish()
    assert loss.get_shape() == ()
    assert np.isclose(R.fetch_persisting_op("validation_loss_epoch_1"), whole(), atol=1e-6)
    assert np.isclose(R.fetch_persisting_op("validation_loss_epoch_2"), part(), atol=1e-6)
    assert np.isfinite(R.fetch_persisting_op("training_loss_epoch_2_batch_3"))


def test_epochs_repeat_one_program_for_each_size_of_a_batch():
    model = network()
    model.fit(X, Y, n_epochs=10, batch_size=8)  # batches of 8, 8 and 4
    from ravnet.api.session import current_graph

    graph = current_graph().recorder.graph
    assert (len(graph.calls), len(graph.programs())) == (30, 2)
    rows = [leaf for leaf in graph.leaves.values() if isinstance(leaf, np.ndarray) and leaf.shape[1:] == (4,)]
    assert len(rows) == 4  # three batches and the weight; its mean square lies in one array with that of the bias


def test_what_fails_leaves_the_model_as_it_was():
    model = NeuralNetwork(optimizer=Adam(), loss="SquareLoss")
    model.add(layers.Dense(3, input_shape=(4,)))
    with pytest.raises(ZkynetError):
        model.add(layers.Conv2D(3, 8, 3))
    model.add(layers.Activation("softmax"))
    assert [layer.name for layer in model.layers] == ["Dense_1", "Activation_1"]
    with pytest.raises(ShapeError):
        model.fit(X, Y[:, :2], n_epochs=5, batch_size=20)
    model.fit(X, Y, n_epochs=1, batch_size=20)
    model.fit(X, Y, n_epochs=1, batch_size=20)
    finish()
    first, second = (float(R.fetch_persisting_op(f"training_loss_epoch_{e}_batch_1")) for e in (1, 2))
    assert second < first


def test_a_layer_is_inferred_once_when_it_is_added(monkeypatch: pytest.MonkeyPatch):
    inferred, infer = [], Unit.infer
    monkeypatch.setattr(Unit, "infer", lambda self, shape: inferred.append(self) or infer(self, shape))
    assert inferred == network().layers


def test_summary(capsys: pytest.CaptureFixture[str]):
    model = network()
    model.layers[0].set_trainable(False)
    model.summary()
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["|", "Dense_1", "|", "30", "|", "(6,)", "|"] in rows
    assert ["|", "Dense_2", "|", "21", "|", "(3,)", "|"] in rows
    assert " ".join(rows[-1]) == "Total parameters: 63 (30 of them frozen)"
    other = NeuralNetwork()
    other.add(layers.Dense(3))
    other.summary()
    assert "and those of layers whose input is not known yet" in capsys.readouterr().out
    other.predict(X)
    other.summary()
    assert "Total parameters: 15" in capsys.readouterr().out


@pytest.mark.parametrize("loss", ["CrossEntropy", "layer", "function"])
def test_losses(loss: str):
    from ravnet.dl.loss_functions import CrossEntropy

    given = {"layer": CrossEntropy, "function": R.cross_entropy_loss}
    model = NeuralNetwork(optimizer="sgd", loss=given.get(loss, loss))
    model.add(layers.Dense(3, initial_W=np.zeros((3, 4)), initial_w0=np.zeros(3)))
    found = model.train_on_batch(X, Y)
    classes = model.test_on_batch(X, Y.argmax(1))
    finish()
    assert np.isclose(found(), np.log(3), atol=1e-6)
    assert float(classes()) < float(found())


# Pickle -------------------------------------------------------------------------------------------------------


def contains(state: Any, kinds: tuple[type, ...], seen: set[int] | None = None) -> bool:
    """Whether what pickle would store contains objects of these kinds."""
    seen = set() if seen is None else seen
    if id(state) in seen:
        return False
    seen.add(id(state))
    if isinstance(state, kinds):
        return True
    if isinstance(state, dict):
        return any(contains(item, kinds, seen) for item in state.values())
    if isinstance(state, (list, tuple)):
        return any(contains(item, kinds, seen) for item in state)
    return hasattr(state, "__getstate__") and contains(state.__getstate__(), kinds, seen)


def test_pickle_before_anything_and_after_execution_goes_on_where_it_was():
    import jax

    model: Any = pickle.loads(pickle.dumps(Net(Adam(lr=0.1))))
    train(model)
    finish()
    weights = arrays(model)
    assert not contains(model.__getstate__(), (Ref, Op, jax.Array))
    other = pickle.loads(pickle.dumps(model))
    for ours, theirs in zip(arrays(other), weights, strict=True):
        assert np.array_equal(ours, theirs)
    begin()
    first, second = train(model), train(other)
    finish()
    assert float(first()) == float(second())  # the state of Adam went along
    fresh = Net(Adam(lr=0.1))
    begin()
    fresh_loss = train(fresh)
    finish()
    assert float(first()) < float(fresh_loss())


def test_pickle_before_execution_finds_saved_weights_afterwards(capsys: pytest.CaptureFixture[str]):
    model = network()
    model.fit(X, Y, n_epochs=2, batch_size=10, save_model=True)
    text = pickle.dumps(model)
    early = pickle.loads(text)
    with pytest.raises(StateError, match="not computed yet"):
        early.predict(X)
    finish()
    late = pickle.loads(text)
    late.summary()
    assert "Total parameters: 63" in capsys.readouterr().out
    begin()
    ours, theirs = late.predict(X), model.predict(X)
    finish()
    assert np.array_equal(ours(), theirs())


def test_pickle_before_execution_without_saved_weights_says_so():
    model = Net(Adam())
    train(model)
    other = pickle.loads(pickle.dumps(model))
    with pytest.raises(StateError, match=r"weight of Dense_1 is not computed yet.*save_model\(\) before pickle.dump"):
        other._forward_pass(R.t(X))


def test_pickle_keeps_ops_that_a_model_holds_as_arrays():
    model = Net(Adam())
    model.mask = R.t(np.full((1, 6), 2.0))
    assert np.array_equal(pickle.loads(pickle.dumps(model)).mask, np.full((1, 6), 2.0, np.float32))
    model.mask = R.add(R.t(np.ones(3)), 1)
    with pytest.raises(InputError, match="the attribute 'mask' of Net needs an array, but got <Op .*not computed yet"):
        pickle.dumps(model)


LATER = """
import pickle, sys
import numpy as np
import ravnet as R
R.initialize("token")
model = pickle.load(open(sys.argv[1], "rb"))
model.summary()
print(model.get_onnx_model(sys.argv[2]))
"""


def test_another_process_exports_the_trained_weights(tmp_path: Path):
    runtime = pytest.importorskip("onnxruntime")
    model = network()
    model.fit(X, Y, n_epochs=2, batch_size=10, save_model=True)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    prediction = model.predict(X)
    finish()
    done = subprocess.run([sys.executable, "-c", LATER, str(tmp_path / "model.pkl"), str(tmp_path / "net")],
                          capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "net.onnx")
    (found,) = runtime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"input": X})
    assert np.allclose(found, prediction(), atol=1e-5)


def test_a_copy_has_the_values_of_its_moment_and_trains_apart():
    model = Net(Adam(lr=0.1))
    train(model)
    early, frozen = copy.deepcopy(model), copy.deepcopy(model)
    train(model)
    train(early, 1)
    finish()
    assert [unit.name for unit in units(early)] == [unit.name for unit in units(model)]
    weights = [arrays(one)[0] for one in (model, early, frozen)]
    assert not any(np.array_equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_copies_of_dropout_draw_apart():
    first = layers.Dropout(0.5, input_shape=(100,))
    second = copy.deepcopy(first)
    one, two = first._forward_pass(R.t(np.ones((1, 100)))), second._forward_pass(R.t(np.ones((1, 100))))
    finish()
    assert not np.array_equal(one(), two())


# Graph after graph --------------------------------------------------------------------------------------------


def test_a_model_goes_on_in_the_next_graph_only_when_the_first_was_executed():
    model = Net(Adam(lr=0.05))
    before = train(model)
    R.activate()
    begin()
    with pytest.raises(StateError, match="Dense_1: the layer was trained in another graph, which is not executed yet"):
        model._forward_pass(R.t(X))
    R.execute(graph_id=before.graph.id)
    R.track_progress(graph_id=before.graph.id)
    after = train(model)
    finish()
    assert float(after()) < float(before())


def test_accumulated_gradients_go_along_into_the_next_graph():
    model = Net(Adam(lr=0.05))
    loss = R.square_loss(R.t(Y), model._forward_pass(R.t(X)))
    model._backward_pass(loss, step=False)
    finish()
    begin()
    last = train(model, 2)
    finish()
    assert float(last()) < float(loss())


def test_weights_may_be_saved_several_times():
    model = Net(Adam(lr=0.05))
    train(model)
    model.save_model("mine")
    train(model)
    model.persist_weights()
    finish()
    early = R.fetch_persisting_op("mine.Dense_1.weight")
    late = R.fetch_persisting_op(f"{model.model_id}.2.Dense_1.weight")
    assert not np.array_equal(early, late)
    assert np.array_equal(late, model.blocks[0].weights()["weight"])


# ONNX ---------------------------------------------------------------------------------------------------------


def test_onnx_of_a_functional_model_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    model = Net(Adam(lr=0.1))
    train(model)
    with pytest.raises(StateError, match="weight of Dense_1 is not computed yet: R.execute"):
        model.get_onnx_model("net")
    prediction: Any = model._forward_pass(R.t(X), training=False)
    finish()
    assert model.get_onnx_model("net") == "net.onnx"
    (found,) = runtime.InferenceSession("net.onnx").run(None, {"input": X[:5]})
    assert np.allclose(found, prediction()[:5], atol=1e-5)
    begin()
    again = load_onnx(model_file_path="net.onnx", optimizer=Adam(lr=0.01), loss="SquareLoss")
    same = again.predict(X)
    losses = again.fit(X, Y, n_epochs=5, batch_size=20)
    finish()
    assert np.allclose(same(), prediction(), atol=1e-5)
    assert float(losses[-1]()) < float(losses[0]())
    copied = pickle.loads(pickle.dumps(again))
    for ours, theirs in zip(arrays(copied), arrays(again), strict=True):
        assert np.array_equal(ours, theirs)


def test_onnx_needs_a_shape_or_an_example(tmp_path: Path):
    pytest.importorskip("onnx")
    model = NeuralNetwork()
    model.add(layers.Dense(3))
    with pytest.raises(InputError, match="the shape of the input of NeuralNetwork is not known"):
        model.get_onnx_model(str(tmp_path / "net"))
    path = model.get_onnx_model(str(tmp_path / "net"), X[:1])
    assert Path(path).is_file()
    with pytest.raises(InputError, match="there is no file"):
        load_onnx(tmp_path / "none.onnx")


# Errors -------------------------------------------------------------------------------------------------------


class Forgetful(layers.CustomLayer):
    def __init__(self) -> None:
        self.d1 = layers.Dense(3)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        o = self.d1._forward_pass(input)  # noqa: F841 - what scripts forget to return


class Unnamed(Functional):
    def __init__(self, optimizer: Any):
        self.d1 = layers.Dense(3)

    def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
        return self.d1._forward_pass(input)


def test_a_missing_return_and_a_missing_initialize_params_are_explained():
    class Outer(Functional):
        def __init__(self) -> None:
            self.inner = Forgetful()
            self.initialize_params(Adam())

        def _forward_pass_call(self, input: Any, training: bool = True) -> Any:
            return self.inner._forward_pass(input)

    with pytest.raises(InputError, match=r"_forward_pass_call of Forgetful_1 returned None: is a `return` missing at "
                                         r"its end \(.*test_dl_models.py:\d+\)\?"):
        Outer()._forward_pass(R.t(X))
    model = Unnamed(Adam())
    loss = R.square_loss(R.t(Y), model._forward_pass(R.t(X)))
    with pytest.raises(InputError, match=r"Unnamed has no optimizer. Call self.initialize_params\(optimizer\) at the "
                                         "end of its __init__"):
        model._backward_pass(loss)


def test_errors_of_shapes_come_at_the_users_line_and_name_the_layer():
    model = Net(Adam())
    model._forward_pass(R.t(X))
    with pytest.raises(ShapeError, match=r"^Dense_1: Linear was made for in_features=4, but its input has the shape "
                                         r"\(20, 3\)") as caught:
        model._forward_pass(R.t(Y))
    assert any("test_dl_models.py" in str(entry.path) for entry in caught.traceback)
    with pytest.raises(ShapeError, match=r"Dense: initial_W must have the shape \(3, 4\).*but has \(4, 3\)"):
        layers.Dense(3, initial_W=np.ones((4, 3)), input_shape=4)
    with pytest.raises(ShapeError, match="_backward_pass takes a loss without axes"):
        model._backward_pass(model._forward_pass(R.t(X)))


def test_a_wrong_initial_value_is_refused_each_time_until_it_is_right():
    layer = layers.Dense(2, initial_W=np.ones((3, 2)), initial_w0=np.zeros(2))  # (in, out): the wrong way round
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"Dense: initial_W must have the shape \(2, 3\).*but has \(3, 2\)"):
            layer._forward_pass(R.t(np.ones((1, 3))))
    layer.initial_W = np.ones((2, 3))
    out = layer._forward_pass(R.t(np.ones((1, 3))))
    finish()
    assert out().tolist() == [[3.0, 3.0]]


WRONG: dict[str, tuple[Any, str]] = {
    "activation": (lambda: layers.Activation("rolu"), "there is no activation 'rolu'; there are: relu, sigmoid"),
    "constant": (lambda: layers.Activation("relu", slope=2), "slope"),
    "text": (lambda: layers.Dense(3, use_bias="maybe"), "use_bias is True or False, but got 'maybe'"),
    "shape": (lambda: layers.Dense(3, input_shape=(0,)), "input_shape is a tuple of sizes, without the batch"),
    "no bias": (lambda: layers.Dense(3, initial_w0=np.zeros(3), use_bias=False, input_shape=4),
                "Dense: initial_w0 was given, but the layer has no bias"),
    "not numbers": (lambda: layers.Dense(3, initial_W="ones", input_shape=4), "initial_W needs an array of numbers"),
    "axes": (lambda: layers.Transpose(1), "Transpose takes the two axes to exchange"),
    "one input": (lambda: layers.Add()._forward_pass(R.t(X)), "Add takes 2 inputs or more, but got 1"),
    "exponent": (lambda: layers.Power()._forward_pass(R.t(X)), "Power takes an exponent"),
    "floats": (lambda: layers.Embedding(5, 2)._forward_pass(R.t(X)), "floats that are no whole numbers"),
    "computed floats": (lambda: layers.Embedding(5, 2)._forward_pass(R.exp(R.t(X))), "floats that are computed"),
    "late": (lambda: layers.Dense(3)._forward_pass(R.unique(R.t(X))), "shape that depends on values"),
    "layer": (lambda: NeuralNetwork().add(3), "made of layers, such as Dense"),  # pyright: ignore[reportArgumentType]
    "no layers": (lambda: NeuralNetwork().predict(X), "has no layers"),
    "loss": (lambda: NeuralNetwork(loss="hinge"), "there is no loss 'hinge'"),
    "no loss": (lambda: train_without_loss(), r"has no loss: NeuralNetwork\(optimizer=..., loss="),
    "no optimizer": (lambda: NeuralNetwork()._backward_pass(R.t(1.0)), "NeuralNetwork has no optimizer"),
    "no op": (lambda: network()._backward_pass(0.5), "takes the loss as an op"),
    "validation": (lambda: network(validation_data=X), r"validation_data is a pair \(X, y\)"),
    "inputs": (lambda: Net(Adam())._forward_pass(), "needs its inputs as ops or arrays"),
}


def train_without_loss() -> None:
    model = NeuralNetwork(optimizer=Adam())
    model.add(layers.Dense(3))
    model.train_on_batch(X, Y)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str):
    call, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        call()


def test_nothing_is_recorded_after_activation_or_in_a_strange_graph():
    model = Net(Adam())
    old = R.t(X)
    R.activate()
    with pytest.raises(StateError, match="the graph is activated"):
        model._forward_pass(old)
    begin()
    with pytest.raises(InputError, match="belongs to another graph"):
        layers.Add()._forward_pass(R.t(X), old)


def test_frozen_models_refuse_a_step():
    from zkynet.framework.errors import GraphError

    model = Net(Adam())
    model.set_trainable("False")
    loss = R.square_loss(R.t(Y), model._forward_pass(R.t(X)))
    with pytest.raises(GraphError, match="depends on none of the 8 trainable parameters"):
        model._backward_pass(loss)
