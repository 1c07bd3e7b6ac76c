"""Trainer: epochs as one program, in the order of the seed, whatever the data's form."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

import zkynet
from zkynet import data, nn, optim, train
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import InputError
from zkynet.train.loops import Loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int32)


def make(seed: int = 0, loss: Any = None, optimizer: Any = None, **how: Any) -> train.Trainer:
    nn.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return train.Trainer(net, loss or nn.CrossEntropyLoss(), optimizer or optim.Adam(lr=1e-2), **how)


def weights(trainer: train.Trainer) -> list[np.ndarray]:
    return [np.array(p.value) for p in trainer.model.parameters()]


def assert_same(first: list[np.ndarray], second: list[np.ndarray], exact: bool = False) -> None:
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-6)


def test_an_epoch_is_the_define_by_run_loop_in_the_epochs_order():
    trainer = make(seed=3)
    trainer.fit((X, Y), epochs=2, batch_size=10, progress=False)
    nn.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    opt, loss_fn = optim.Adam(net.parameters(), lr=1e-2), nn.CrossEntropyLoss()
    losses = []
    for epoch in range(2):
        for rows in data.epoch_order(50, 0, epoch).reshape(5, 10):
            loss = loss_fn(net(X[rows]), Y[rows])
            opt.step(loss)
            losses.append(float(loss.value))
    assert_same(weights(trainer), [np.array(p.value) for p in net.parameters()])
    np.testing.assert_allclose(trainer.history["loss"], np.reshape(losses, (2, 5)).mean(axis=1), rtol=1e-5)


def test_training_learns_and_reports_what_it_measured():
    trainer = make(metrics=["accuracy"])
    history = trainer.fit((X, Y), validation=(X, Y), epochs=40, batch_size=16, progress=False)
    assert history["val_accuracy"][-1] > 0.9 and history["val_loss"][-1] < history["val_loss"][0]
    assert trainer.evaluate((X, Y)) == pytest.approx({"loss": history["val_loss"][-1],
                                                      "accuracy": history["val_accuracy"][-1]}, rel=1e-5)
    predicted = trainer.predict(X, batch_size=16)
    assert predicted.shape == (50, 2) and np.mean(predicted.argmax(axis=1) == Y) == pytest.approx(
        history["val_accuracy"][-1])


def test_a_ragged_last_batch_counts_its_own_rows_and_compiles_nothing_more():
    trainer = make(optimizer=optim.SGD(lr=0.1))
    before = weights(trainer)
    zkynet.clear_compile_cache()
    trainer.fit((X[:7], Y[:7]), epochs=1, batch_size=4, shuffle=False, progress=False)
    assert zkynet.compile_stats().compilations == 1
    after = weights(trainer)
    for p, value in zip(trainer.model.parameters(), before, strict=True):
        p.value = value
    opt = optim.SGD(trainer.model.parameters(), lr=0.1)
    for rows in (slice(0, 4), slice(4, 7)):
        opt.step(nn.CrossEntropyLoss()(trainer.model(X[rows]), Y[rows]))
    assert_same(after, weights(trainer))


def test_arrays_data_sets_and_loaders_train_alike():
    expected = None
    source = data.ArrayDataset(X, Y)
    for given in ((X, Y), source, data.Subset(source, np.arange(50)),
                  data.Loader((X, Y), batch_size=10, shuffle=True, seed=0)):
        trainer = make()
        trainer.fit(given, epochs=2, batch_size=10, progress=False)
        expected = expected or weights(trainer)
        assert_same(expected, weights(trainer))


def test_larger_data_are_gathered_in_blocks(monkeypatch: pytest.MonkeyPatch):
    whole = make()
    whole.fit((X, Y), epochs=2, batch_size=8, progress=False)
    monkeypatch.setattr("zkynet.train.feeding.RESIDENT_BYTES", 0)
    monkeypatch.setattr("zkynet.train.feeding.BLOCK_BYTES", 20 * 20)  # two batches
    blocks = make()
    blocks.fit((X, Y), epochs=2, batch_size=8, progress=False)
    assert_same(weights(whole), weights(blocks))


def test_watching_changes_nothing():
    class Watching(train.Callback):
        def __init__(self) -> None:
            self.every_steps, self.seen = 3, []

        def on_steps(self, trainer: Any, logs: dict[str, Any]) -> None:
            self.seen.append((logs["epoch"], logs["steps"], logs["step"], logs["total"]))

    quiet, watched, watching = make(), make(), Watching()
    quiet.fit((X, Y), epochs=2, batch_size=10, progress=False)
    watched.fit((X, Y), epochs=2, batch_size=10, progress=False, callbacks=[watching])
    assert_same(weights(quiet), weights(watched), exact=True)
    assert quiet.history["loss"] == watched.history["loss"]
    assert {(0, 3, 3, 5), (1, 1, 6, 5), (1, 4, 9, 5)} <= set(watching.seen)


def test_fitting_again_goes_on():
    once, twice = make(), make()
    once.fit((X, Y), epochs=4, batch_size=10, progress=False)
    twice.fit((X, Y), epochs=2, batch_size=10, progress=False)
    with count_compilations() as compiled:
        twice.fit((X, Y), epochs=2, batch_size=10, progress=False)
        assert compiled() == 0
    assert_same(weights(once), weights(twice), exact=True)
    assert once.history["loss"] == twice.history["loss"]


def test_a_changed_rate_compiles_nothing_and_a_frozen_parameter_stays():
    trainer = make()
    trainer.fit((X, Y), epochs=1, batch_size=10, progress=False)
    trainer.optimizer.lr = 1e-3
    with count_compilations() as compiled:
        trainer.fit((X, Y), epochs=1, batch_size=10, progress=False)
        assert compiled() == 0
    assert trainer.history["lr"] == pytest.approx([1e-2, 1e-3])
    first = trainer.model.parameters()[0]
    first.trainable = False
    kept = np.array(first.value)
    trainer.fit((X, Y), epochs=1, batch_size=10, progress=False)
    assert np.array_equal(kept, first.value)


def test_states_and_random_streams_advance_within_the_program():
    nn.manual_seed(0)
    net = nn.Sequential(nn.Linear(None, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    trainer.fit((X, Y), epochs=1, batch_size=10, progress=False)
    state = net.state_dict()
    assert int(state["1.num_batches_tracked"]) == 5 and np.abs(state["1.running_mean"]).max() > 0
    assert net.training and trainer.evaluate((X, Y)) == trainer.evaluate((X, Y))


def test_prepare_is_part_of_the_program():
    nn.manual_seed(0)
    net = nn.Linear(4, 2)
    raw = np.clip(X * 40 + 128, 0, 255).astype(np.uint8)
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(lr=1e-2), metrics=["accuracy"],
                            prepare=lambda x, y: ((op.cast(x, "float32") - 128.0) / 40.0, y))
    assert trainer.fit((raw, Y), epochs=30, batch_size=10, progress=False)["accuracy"][-1] > 0.9


class Hidden(cg.Module):
    """Inputs of which a share is hidden in training."""

    def __init__(self) -> None:
        super().__init__()
        self.hide = nn.Dropout(0.5)

    def call(self, x: Any, y: Any) -> Any:
        return self.hide(x), y


def test_a_prepare_with_a_mode_is_in_that_of_the_model():
    shown, hidden = make(optimizer=optim.SGD(lr=0.0)), make(optimizer=optim.SGD(lr=0.0), prepare=Hidden())
    for trainer in shown, hidden:
        trainer.fit((X, Y), validation=(X, Y), epochs=1, batch_size=10, progress=False)
    assert hidden.history["val_loss"] == shown.history["val_loss"] and hidden.history["loss"] != shown.history["loss"]
    assert hidden.evaluate((X, Y)) == shown.evaluate((X, Y))
    np.testing.assert_array_equal(hidden.predict((X, Y)), shown.predict(X))
    assert hidden.modules["prepare"].training
    hidden.modules["prepare"].eval()
    hidden.fit((X, Y), epochs=1, batch_size=10, progress=False)
    assert hidden.history["loss"][1] != shown.history["loss"][0]


def test_low_precision_keeps_parameters_and_loss_in_float32():
    trainer = make(precision="bfloat16", metrics=["accuracy"])
    history = trainer.fit((X, Y), epochs=30, batch_size=10, progress=False)
    assert history["accuracy"][-1] > 0.9
    assert {p.dtype.name for p in trainer.model.parameters()} == {"float32"}
    full = make()
    full.fit((X, Y), epochs=1, batch_size=10, progress=False)
    low = make(precision="bfloat16")
    low.fit((X, Y), epochs=1, batch_size=10, progress=False)
    assert 0 < np.abs(weights(full)[0] - weights(low)[0]).max() < 0.05


@pytest.mark.parametrize("prepare", [None, lambda x, y: (x * 2.0, y)])
def test_low_precision_computes_what_it_says(prepare: Any):
    seen: set[str] = set()

    class Spy(cg.Module):
        def call(self, x: Any) -> Any:
            seen.add(x.dtype.name)
            return x

    net = nn.Sequential(Spy(), nn.Linear(4, 8), nn.BatchNorm1d(8), Spy(), nn.Linear(8, 2), Spy())
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(lr=0.1), precision="bfloat16", prepare=prepare)
    trainer.fit((X, Y), batch_size=10, progress=False)
    assert trainer.predict(X).dtype == np.float32
    assert seen == {"bfloat16"}
    assert {held.dtype.name for _, held in net.named_states()} == {"float32", "int32"}


def test_a_loss_that_is_no_mean_over_rows_leaves_the_rest_out_in_training_and_not_in_evaluation():
    def total(prediction: Any, target: Any) -> Any:
        return op.sum(op.square(prediction[:, 0] - target))

    trainer = make(loss=total, optimizer=optim.SGD(lr=1e-3))
    trainer.fit((X[:7], Y[:7]), epochs=1, batch_size=4, shuffle=False, progress=False)
    assert trainer.position["global_step"] == 1
    errors = (np.asarray(trainer.predict(X[:7]))[:, 0] - Y[:7]) ** 2
    expected = (4 * errors[:4].sum() + 3 * errors[4:].sum()) / 7  # the mean of the batches' losses, by rows
    assert trainer.evaluate((X[:7], Y[:7]), batch_size=4)["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_finite_is_explained_and_leaves_the_parameters_before_it():
    class Root(cg.Module):
        def call(self, x: Any) -> Any:
            return op.sqrt(x)

    nn.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 2), Root())
    trainer = train.Trainer(net, nn.MSELoss(), optim.SGD(lr=0.01))
    net[0].bias.value = np.full(2, 4.0, np.float32)
    wanted = np.ones((50, 2), np.float32)
    bad = np.where(np.arange(50)[:, None] == 23, -1e6 * np.sign(np.array(net[0].weight.value)[0]), X).astype(np.float32)
    good = train.Trainer(net, nn.MSELoss(), optim.SGD(lr=0.01))
    start = net.state_dict()
    good.fit((X[:20], wanted[:20]), epochs=1, batch_size=10, shuffle=False, progress=False)
    expected = [np.array(p.value) for p in net.parameters()]
    net.load_state_dict(start)
    with pytest.raises(train.TrainingError, match=r"loss is nan in step 2 \(epoch 0\): the value of sqrt .* in Loss"):
        trainer.fit((bad, wanted), epochs=1, batch_size=10, shuffle=False, progress=False)
    assert_same(expected, [np.array(p.value) for p in net.parameters()])
    assert np.isfinite(weights(trainer)[0]).all()


def test_running_out_of_memory_names_the_batch_size(monkeypatch: pytest.MonkeyPatch):
    trainer = make()

    def exhausted(*_: Any) -> Any:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")

    monkeypatch.setattr("zkynet.train.loops.Loop.run", exhausted)
    with pytest.raises(train.TrainingError, match="batches of 10 rows: RESOURCE_EXHAUSTED.*batch size of 5"):
        trainer.fit((X, Y), epochs=1, batch_size=10, progress=False)
    with pytest.raises(train.TrainingError, match="batches of 1 rows: .* Not even one row fits"):
        trainer.evaluate((X, Y), batch_size=1)


def test_validation_has_the_batches_of_training(monkeypatch: pytest.MonkeyPatch):
    run, sizes = Loop.run, set()

    def watched(self: Loop, carry: Any, block: Any, *rest: Any) -> Any:
        sizes.add(block[0].shape[1])
        return run(self, carry, block, *rest)

    monkeypatch.setattr(Loop, "run", watched)
    make().fit((X, Y), validation=(X, Y), batch_size=10, progress=False)
    make().fit(data.Loader((X, Y), 10), validation=(X, Y), progress=False)
    assert sizes == {10}


def test_programs_of_earlier_calls_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zkynet.train.loops._KEPT", 3)
    trainer = make()
    for rows in (1, 2, 3):
        trainer.evaluate((X[:rows], Y[:rows]))
    with count_compilations() as count:
        for rows in (1, 2, 3):
            trainer.evaluate((X[:rows], Y[:rows]))
    assert count() == 0 and len(trainer._programs) == 3
    trainer.evaluate((X[:4], Y[:4]))
    assert len(trainer._programs) == 3


SEVERAL_DEVICES = """
import numpy as np
import jax
from zkynet import nn, optim, train

x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int32)
found = []


class Look(train.Callback):
    def on_epoch_end(self, trainer, epoch, logs):
        trainer.evaluate((x, y))


for devices in (None, 4, "all"):
    nn.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(lr=1e-2), devices=devices, metrics=["accuracy"])
    trainer.fit((x, y), validation=(x, y), epochs=2, batch_size=8, progress=False)
    trainer.fit((x, y), epochs=1, batch_size=8, progress=False, callbacks=[Look()])
    assert all(len(p.value.devices()) == 1 for p in net.parameters())
    found.append([np.array(p.value) for p in net.parameters()] + [trainer.predict(x)])
for other in found[1:]:
    for a, b in zip(found[0], other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
for rows in (23, 3):
    for loss in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum")):
        given = (x[:rows], y[:rows])
        shared, single = (train.Trainer(net, loss, optim.Adam(lr=1e-2), devices=count).evaluate(given, 10)["loss"]
                          for count in (4, None))
        np.testing.assert_allclose(shared, single, rtol=1e-4)
trainer.fit((x, y), validation=(x[:7], y[:7]), epochs=1, batch_size=16, progress=False)
try:
    trainer.fit((x, y), epochs=1, batch_size=6, progress=False)
except Exception as error:
    print(type(error).__name__, error)
print(jax.device_count())
"""


def test_several_devices_share_a_batch_and_give_the_numbers_of_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    done = subprocess.run([sys.executable, "-W", "error", "-c", SEVERAL_DEVICES], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    refused, count = done.stdout.splitlines()
    assert refused == "InputError 4 devices cannot share a batch of 6 rows equally: choose a multiple of 4."
    assert count == "4"


def refit(**how: Any) -> Any:
    return make().fit((X, Y), **how)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: make().fit((X, Y[:3]), progress=False), "lengths|same number of rows|first axis"),
    (lambda: make().fit((X,), progress=False), "one array only"),
    (lambda: make().fit((X, Y), tail="keep", progress=False), "'pad', 'drop' or 'short'"),
    (lambda: refit(epochs=1.5), "epochs is a whole number"),
    (lambda: refit(epochs=-1), "epochs is a whole number"),
    (lambda: refit(batch_size=4.0), "batch_size is a whole number"),
    (lambda: refit(resume="runs"), r"resume is a Checkpointer, but got 'runs'"),
    (lambda: refit(callbacks=train.Callback()), "callbacks is a list"),
    (lambda: make(optimizer=optim.Adam), r"such as optim.Adam\(lr=1e-3\), but got <class"),
    (lambda: make(optimizer=optim.LBFGS()), "several times a step"),
    (lambda: make(precision="float16"), 'precision is "bfloat16"'),
    (lambda: make(metrics="accuracy"), "metrics is a list of names"),
    (lambda: make(metrics=["accuracy", "accuracy"]), "several values called accuracy"),
    (lambda: make(metrics=[train.Mean(lambda p, t: p[:, 0], "loss")]), "several values called loss"),
    (lambda: make(metrics=[train.Mean(lambda p, t: p[:, 0], "lr")]), "several values called lr"),
    (lambda: make(loss=nn.MSELoss()).fit(data.Loader((X[:3], X[:3]), 4, drop_last=False), tail="drop"), "do not fill"),
    (lambda: make(devices=99), "devices is a number from 1 to"),
    (lambda: make(metrics=["nonsense"]), "nonsense"),
])
def test_bad_input_is_named(call: Any, message: str):
    with pytest.raises((InputError, zkynet.ZkynetError), match=message):
        call()


def test_a_changed_model_is_what_the_next_call_computes():
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.Linear(8, 2))
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(lr=0.0), metrics=["accuracy"])
    first = trainer.fit((X, Y), batch_size=50, progress=False)["loss"][-1]
    net[1].p = 0.9
    assert abs(trainer.fit((X, Y), batch_size=50, progress=False)["loss"][-1] - first) > 0.01
    before = trainer.evaluate((X, Y))["loss"]
    net[2] = nn.Linear(8, 2)
    logits = trainer.predict(X)
    expected = float(nn.CrossEntropyLoss()(logits, Y).value)
    assert abs(before - expected) > 0.01 and trainer.evaluate((X, Y))["loss"] == pytest.approx(expected, rel=1e-5)


def test_yes_or_no_from_probabilities_and_from_logits():
    yes = Y.astype(np.float32)[:, None]
    for loss, last in ((nn.BCELoss(), [nn.Sigmoid()]), (nn.BCEWithLogitsLoss(), [])):
        nn.manual_seed(0)
        trainer = train.Trainer(nn.Sequential(nn.Linear(4, 1), *last), loss, optim.Adam(lr=0.1), metrics=["accuracy"])
        assert trainer.fit((X, yes), epochs=30, batch_size=25, progress=False)["accuracy"][-1] > 0.9
    told = train.Accuracy(threshold=0.3)
    assert vars(told.suited_to(nn.BCELoss())) == vars(told)


def test_low_precision_is_that_of_predictions_too():
    low, full = make(precision="bfloat16"), make()
    for trainer in (low, full):
        trainer.optimizer.bind(trainer.model.parameters())
    assert low.predict(X).dtype == np.float32
    assert 0 < np.abs(low.predict(X) - full.predict(X)).max() < 0.05


def test_outputs_may_be_a_named_tuple():
    class Found(NamedTuple):
        scores: Any
        again: Any

    class Net(nn.Linear):
        def call(self, input: Any) -> Any:
            scores = super().call(input)
            return Found(scores, scores * 2.0)

    trainer = train.Trainer(Net(4, 2), lambda found, target: nn.losses.cross_entropy(found.scores, target),
                            optim.Adam(lr=0.1))
    trainer.fit((X, Y), batch_size=50, progress=False)
    found = trainer.predict(X)
    np.testing.assert_allclose(found.again, found.scores * 2)
