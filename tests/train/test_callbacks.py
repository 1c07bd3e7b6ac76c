"""Callbacks that decide: when to stop, which epoch is the best, what the learning rate is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_run import arrays, assert_identical, bound_trainer, fit, make_trainer, play

from zkynet import optim, train
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import InputError

NAN = float("nan")


def losses(*values: float) -> list[dict[str, float]]:
    return [{"val_loss": value} for value in values]


# patience and so on, the losses, after how many epochs the run ends, and the best epoch
STOPS = {
    "patience": (dict(patience=2), (3.0, 2.0, 2.5, 2.0, 1.0), 4, 1),
    "goes on": (dict(patience=3), (3.0, 2.0, 2.5, 2.0, 1.0), 5, 4),
    "min_delta": (dict(patience=2, min_delta=0.5), (3.0, 2.6, 2.55, 1.0), 3, 0),
    "max": (dict(patience=1, mode="max"), (1.0, 2.0, 3.0, 2.9), 4, 2),
    "nan is never better": (dict(patience=2), (NAN, 2.0, NAN, NAN, 1.0), 4, 1),
    "nan from the start": (dict(patience=2), (NAN, NAN, 1.0), 2, None),
    "infinite": (dict(patience=1), (np.inf, 1.0, -np.inf, -np.inf), 4, 2),
}


@pytest.mark.parametrize("case", STOPS)
def test_early_stopping(case):
    how, values, ended, best = STOPS[case]
    trainer, stopping = bound_trainer(), train.EarlyStopping(**how)
    assert play(trainer, [stopping], losses(*values)) == ended
    assert stopping.monitor.epoch == best
    assert stopping.stopped == (ended - 1 if trainer.stop_training else None)


@pytest.mark.parametrize("cut", range(6))
def test_an_interrupted_run_stops_where_the_whole_one_does(cut):
    """Early stopping, best epochs and rates depend on the history alone."""
    values = losses(3.0, 2.0, 2.5, 2.1, 2.2, 1.9, 1.8)

    def run(parts):
        trainer, best = bound_trainer(), []
        for part in parts:
            callbacks = [train.EarlyStopping(patience=3), train.ReduceOnPlateau(patience=1, cooldown=1)]
            play(trainer, callbacks, part)
            best.append(callbacks[0].monitor.epoch)
        return len(trainer.history), trainer.optimizer.lr, best[-1]

    assert run([values[:cut], values[cut:]]) == run([values])


def test_a_metric_knows_whether_more_is_better():
    trainer = bound_trainer(metrics=["accuracy", "mse"])
    for name, direction in (("val_accuracy", "max"), ("mse", "min"), ("loss", "min")):
        stopping = train.EarlyStopping(name)
        stopping.on_fit_start(trainer)
        assert stopping.monitor.mode == direction
    with pytest.raises(InputError, match='whether a larger speed is better .*give mode="min" or .*loss, accuracy, mse'):
        train.EarlyStopping("speed").on_fit_start(trainer)


def test_what_is_not_in_the_logs_is_named():
    trainer = bound_trainer()
    with pytest.raises(InputError, match="no 'val_loss' in the logs to go by; there are: loss, lr. Pass validation"):
        play(trainer, [train.EarlyStopping()], [{"loss": 1.0, "lr": 0.1}])
    with pytest.raises(InputError, match="no single number, but has shape"):
        play(trainer, [train.EarlyStopping("matrix", mode="max")], [{"matrix": np.zeros((2, 2))}])


def test_the_best_epochs_parameters_come_back(tmp_path: Path):
    class Keep(train.Callback):
        def __init__(self):
            self.epochs = []

        def on_epoch_end(self, trainer, epoch, logs):
            self.epochs.append({name: array for name, array in arrays(trainer).items() if name.startswith("model")})

    def final(trainer):
        return {name: array for name, array in arrays(trainer).items() if name.startswith("model")}

    trainer, keep, best = make_trainer(optimizer=optim.SGD(lr=1.0)), Keep(), train.BestCheckpoint(tmp_path / "best")
    stopping = train.EarlyStopping(patience=3, restore_best=True)
    history = fit(trainer, 30, callbacks=[stopping, best, keep])
    at = int(np.argmin(history["val_loss"]))
    assert len(history) == at + 4 < 30 and stopping.stopped == at + 3 and best.monitor.epoch == at
    assert_identical(final(trainer), keep.epochs[at])
    other = make_trainer(optimizer=optim.SGD(lr=1.0))
    other.optimizer.bind(other.model.parameters())
    restored = best.restore(other)
    assert restored is not None and restored.position["epoch"] == at + 1 and len(other.history) == at + 1
    assert_identical(final(other), keep.epochs[at])
    assert len(best.files.paths()) == 1


def test_after_an_error_the_model_stays_as_it_is():
    trainer, stopping = bound_trainer(), train.EarlyStopping("loss", patience=2, restore_best=True)
    play(trainer, [stopping], [{"loss": 1.0}, {"loss": 2.0}])
    weight = trainer.model.parameters()[0]
    weight.value = np.full(weight.shape, 7.0)
    stopping.on_fit_end(trainer)  # in the middle of the third of 100 epochs
    assert float(weight.value.min()) == 7.0


def test_best_parameters_from_before_a_resume_are_missed_with_a_warning():
    trainer = bound_trainer()
    play(trainer, [], losses(1.0, 2.0))
    with pytest.warns(UserWarning, match="the best epoch, 0, was before this run was resumed"):
        play(trainer, [train.EarlyStopping(patience=2, restore_best=True)], losses(3.0))


PLATEAUS = {
    "defaults": dict(patience=2), "no patience": dict(patience=0, factor=0.5), "abs": dict(
        patience=1, threshold=0.3, threshold_mode="abs"), "rel": dict(patience=1, threshold=0.2),
    "cooldown": dict(patience=1, cooldown=2, factor=0.3), "min_lr": dict(patience=0, min_lr=0.003),
    "below zero": dict(patience=1, threshold=0.2, mode="max"),
    "max": dict(patience=1, mode="max"), "eps": dict(patience=0, eps=1e-3),
}


@pytest.mark.parametrize("case", PLATEAUS)
def test_reduce_on_plateau_is_that_of_torch(case):
    torch = pytest.importorskip("torch")
    how = PLATEAUS[case]
    values = np.abs(np.random.default_rng(3).normal(size=40)) * np.linspace(2, 1, 40) + 0.5
    values = -values if case == "below zero" else values
    trainer = bound_trainer(optimizer=optim.SGD(lr=0.1))
    judged = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(judged, **{"mode": "min", **how})
    ours = train.ReduceOnPlateau("loss", **how)
    rates = []
    for value in values:
        schedule.step(value)
        rates.append(judged.param_groups[0]["lr"])

    found = []
    for value in values:
        play(trainer, [ours], [{"loss": value}])
        found.append(trainer.optimizer.lr)
    np.testing.assert_allclose(found, rates, rtol=1e-6)
    assert len(set(rates)) > 1


def test_a_schedule_sets_the_rates_and_compiles_nothing():
    trainer = make_trainer(optimizer=optim.SGD(lr=1.0))
    fit(trainer, 1)
    with count_compilations() as counted:
        history = fit(trainer, 2, callbacks=[train.LearningRateSchedule(lambda epoch: 0.1 / (1 + epoch))])
    assert counted() == 0
    np.testing.assert_allclose(history["lr"], [1.0, 0.05, 0.1 / 3], rtol=1e-6)


def test_two_masters_of_the_rate_are_refused():
    trainer = bound_trainer(optimizer=optim.SGD(lr=lambda step: 0.1))
    for callback in (train.LearningRateSchedule(lambda epoch: 0.1), train.ReduceOnPlateau()):
        with pytest.raises(InputError, match="the optimizer has a schedule of its own"):
            callback.on_fit_start(trainer)


REFUSED = {
    "patience": (lambda: train.EarlyStopping(patience=0), "patience is a number of epochs"),
    "mode": (lambda: train.EarlyStopping(mode="smallest"), 'mode is "min", "max" or None'),
    "min_delta": (lambda: train.EarlyStopping(min_delta=-1), "min_delta is by how much"),
    "factor": (lambda: train.ReduceOnPlateau(factor=2.0), "above 0 and below 1, but got 2.0"),
    "threshold_mode": (lambda: train.ReduceOnPlateau(threshold_mode="both"), "'rel' or 'abs', but got 'both'"),
    "rate": (lambda: train.LearningRateSchedule(0.1), "function from the epoch"),  # pyright: ignore[reportArgumentType]
    "listening rate": (lambda: train.LearningRateSchedule(optim.ReduceOnPlateau()),  # pyright: ignore
                       r"is set by train.ReduceOnPlateau\(monitor"),
    "every_steps": (lambda: train.TensorBoard("x", every_steps=0), "every_steps is a number of steps"),
    "histograms": (lambda: train.TensorBoard("x", histograms=0), "histograms is a number of epochs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_options_are_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        make()
