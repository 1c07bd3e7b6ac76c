"""However a run ends, parameters, position and history are those of one place, and training goes on from there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zkynet import data, nn, optim, train
from zkynet.framework import cg, op
from zkynet.framework.errors import ZkynetError
from zkynet.framework.random_stream import RandomStream

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)


def make(**how: Any) -> train.Trainer:
    nn.manual_seed(0)
    return train.Trainer(nn.Linear(4, 2), nn.CrossEntropyLoss(), optim.Adam(lr=0.1), **how)


def fit(trainer: train.Trainer, given: Any = (X, Y), **how: Any) -> train.History:
    return trainer.fit(given, **{"batch_size": 2, "progress": False, **how})


def values(trainer: train.Trainer) -> list[np.ndarray]:
    return [np.array(p.value) for module in trainer.modules.values() for p in module.parameters()]


def assert_same(first: train.Trainer, second: train.Trainer) -> None:
    for a, b in zip(values(first), values(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.position == second.position and first.history["loss"] == second.history["loss"]


class Interrupt(train.Callback):
    """Ctrl-C after so many steps."""

    def __init__(self, at: int):
        self.at = self.every_steps = at

    def on_steps(self, trainer: Any, logs: Any) -> None:
        if logs["step"] == self.at:
            raise KeyboardInterrupt


class Broken:
    """A data set that fails when it is read for the sixth time."""

    def __init__(self, reads: int = 0):
        self.held, self.reads = data.ArrayDataset(X, Y), reads

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Any:
        return self.held[index]

    def rows(self, *how: Any) -> data.Rows:
        self.reads += 1
        if self.reads == 6:
            raise OSError("the disk is gone")
        return self.held.rows(*how)


@pytest.mark.parametrize("stop", ["ctrl-c", "a file that cannot be read", "validation"])
def test_a_run_that_was_interrupted_goes_on_where_it_was(stop: str):
    whole, broken = make(), make()
    fit(whole, epochs=2, shuffle=False)
    if stop == "ctrl-c":
        with pytest.raises(KeyboardInterrupt):
            fit(broken, epochs=2, shuffle=False, callbacks=[Interrupt(9)])
        assert broken.position == {"epoch": 1, "step": 3, "global_step": 9}
    elif stop == "validation":
        with pytest.raises(OSError, match="disk is gone"):
            fit(broken, epochs=2, shuffle=False, validation=data.Loader(Broken(reads=1), 2, prefetch=0))
        assert broken.position == {"epoch": 0, "step": 6, "global_step": 6} and not len(broken.history)
    else:
        loader = data.Loader(Broken(), 2, prefetch=0)
        with pytest.raises(OSError, match="disk is gone"):
            fit(broken, loader, epochs=2)
        assert 2 <= broken.position["step"] == broken.position["global_step"] <= 4
        fit(broken, loader, epochs=2)
        assert_same(whole, broken)
        return
    fit(broken, epochs=2 - broken.position["epoch"], shuffle=False)
    assert_same(whole, broken)


def test_other_data_begin_the_interrupted_epoch_anew():
    trainer, fresh = make(), make()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, callbacks=[Interrupt(3)])
    for own, other in zip(trainer.model.parameters(), fresh.model.parameters(), strict=True):
        own.value = other.value
    trainer.optimizer.load_state_dict(bound(fresh).optimizer.state_dict())
    fit(trainer, (X[:8], Y[:8]))
    fit(fresh, (X[:8], Y[:8]))
    np.testing.assert_array_equal(values(trainer)[0], values(fresh)[0])
    assert trainer.position == {"epoch": 1, "step": 0, "global_step": 7}


def bound(trainer: train.Trainer) -> train.Trainer:
    trainer.state_dict()
    return trainer


def test_after_a_loss_that_is_not_finite_the_place_is_the_one_before_it():
    bad = np.where(np.arange(12)[:, None] == 7, np.inf, X).astype(np.float32)
    trainer, until = make(), make()
    with pytest.raises(train.TrainingError, match=r"in step 3 \(epoch 0\)"):
        fit(trainer, (bad, Y), shuffle=False)
    assert trainer.position == {"epoch": 0, "step": 3, "global_step": 3}
    fit(until, (X[:6], Y[:6]), shuffle=False)
    np.testing.assert_array_equal(values(trainer)[0], values(until)[0])
    assert len(fit(trainer)) == 1 and trainer.position == {"epoch": 1, "step": 0, "global_step": 9}


def test_validation_data_that_do_not_fit_are_refused_before_training():
    trainer = make()
    with pytest.raises(ZkynetError):
        fit(trainer, validation=(X[:, :3], Y))
    assert trainer.position["global_step"] == 0


# Checkpoints ------------------------------------------------------------------------------------------------


def test_a_state_that_is_not_finite_replaces_no_checkpoint(tmp_path: Any):
    nn.manual_seed(0)
    rates = train.LearningRateSchedule(lambda epoch: 1e-6 if epoch < 2 else 3e38)
    trainer = train.Trainer(nn.Linear(4, 2), nn.MSELoss(), optim.SGD(lr=0.1))
    with pytest.raises(train.TrainingError, match=r"weight.* of Linear has elements that are NaN or infinite"):
        fit(trainer, (X * 100, X[:, :2]), epochs=9, batch_size=12,
            callbacks=[rates, train.Checkpointer(tmp_path, keep=1)])
    found = train.Checkpointer(tmp_path).restore(trainer)
    assert found is not None and found.position["epoch"] == 2 and np.isfinite(values(trainer)[0]).all()


class Jitter(cg.Module):
    """Compiled augmentation with a random stream of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = RandomStream("stream", 3)

    def call(self, x: Any, y: Any) -> Any:
        return x + op.normal(self.stream.draw(), x.shape), y


class Scaled(cg.Module):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = cg.Parameter("scale", 1.0)

    def call(self, prediction: Any, target: Any) -> Any:
        return nn.losses.cross_entropy(prediction * self.scale, target)


def with_parts() -> train.Trainer:
    nn.manual_seed(0)
    net, loss = nn.Linear(4, 2), Scaled()
    return train.Trainer(net, loss, optim.Adam([*net.parameters(), *loss.parameters()], lr=0.1), prepare=Jitter())


def test_checkpoints_have_what_belongs_to_loss_and_prepare(tmp_path: Any):
    whole = with_parts()
    fit(whole, epochs=4)
    fit(with_parts(), epochs=2, resume=train.Checkpointer(tmp_path))
    resumed = with_parts()
    fit(resumed, epochs=4, resume=train.Checkpointer(tmp_path))
    assert_same(whole, resumed)


def test_a_parameter_of_nobody_cannot_be_saved(tmp_path: Any):
    net, scale = nn.Linear(4, 2), cg.Parameter("scale", 1.0)
    trainer = train.Trainer(net, lambda p, t: nn.losses.cross_entropy(p * scale, t),
                            optim.SGD([*net.parameters(), scale], lr=0.1))
    with pytest.raises(ZkynetError, match="belong neither to the model"):
        fit(trainer, resume=train.Checkpointer(tmp_path))


def test_a_state_of_nobody_cannot_be_saved(tmp_path: Any):
    stream = RandomStream("stream", 3)
    trainer = make(prepare=lambda x, y: (x + op.normal(stream.draw(), x.shape), y))
    with pytest.raises(ZkynetError, match="belong neither to the model"):
        fit(trainer, resume=train.Checkpointer(tmp_path))


def test_the_picture_of_the_graph_draws_nothing_from_prepare_and_loss(tmp_path: Any):
    plain, pictured = with_parts(), with_parts()
    fit(plain)
    fit(pictured, callbacks=[train.TensorBoard(tmp_path)])
    assert_same(plain, pictured)


class Clip(train.Callback):
    """Keeps weights small."""

    every_steps = 1

    def on_steps(self, trainer: Any, logs: Any) -> None:
        trainer.model.weight.value = np.clip(np.array(trainer.model.weight.value), -0.01, 0.01)


def test_what_a_callback_changes_between_steps_stays():
    trainer = make()
    fit(trainer, callbacks=[Clip()])
    assert np.abs(values(trainer)[0]).max() <= 0.01
    by_hand = make()
    by_hand.optimizer.bind(by_hand.model.parameters())
    for rows in data.epoch_order(len(X)).reshape(-1, 2):
        by_hand.optimizer.step(by_hand.loss(by_hand.model(X[rows]), Y[rows]))
        Clip().on_steps(by_hand, {})
    for a, b in zip(values(trainer), values(by_hand), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def stopped(folder: Any, **how: Any) -> None:
    """A checkpoint after three of six steps."""
    with pytest.raises(KeyboardInterrupt):
        fit(make(**how), callbacks=[train.Checkpointer(folder, every_steps=3), Interrupt(3)])


def test_a_resumed_run_keeps_the_order_it_began_with(tmp_path: Any):
    whole = make(seed=1)
    fit(whole)
    stopped(tmp_path, seed=1)
    resumed = make(seed=2)
    fit(resumed, resume=train.Checkpointer(tmp_path))
    assert_same(whole, resumed)
    assert resumed.seed == 1


def test_an_epoch_is_taken_up_after_an_explicit_restore(tmp_path: Any):
    whole = make()
    fit(whole)
    stopped(tmp_path)
    restored = make()
    train.Checkpointer(tmp_path).restore(restored)
    fit(restored)
    assert_same(whole, restored)


def test_the_middle_of_an_epoch_belongs_to_its_metrics_and_its_order(tmp_path: Any):
    stopped(tmp_path / "arrays")
    with pytest.raises(train.CheckpointError, match=r"middle of an epoch.*metrics: \[\] there, \['accuracy'\] here"):
        fit(make(metrics=["accuracy"]), resume=train.Checkpointer(tmp_path / "arrays"))
    loader = data.Loader((X, Y), 2, shuffle=True, seed=3)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), loader, callbacks=[train.Checkpointer(tmp_path / "loader", every_steps=3), Interrupt(3)])
    with pytest.raises(train.CheckpointError, match="seed: 3 there, None here"):
        fit(make(), resume=train.Checkpointer(tmp_path / "loader"))


def test_the_middle_of_an_epoch_belongs_to_its_data_and_its_end_to_any(tmp_path: Any):
    stopped(tmp_path / "middle")
    other = X.copy()
    other[5] += 1
    with pytest.raises(train.CheckpointError, match=r"middle of an epoch.*fingerprint"):
        fit(make(), (other, Y), resume=train.Checkpointer(tmp_path / "middle"))
    with pytest.raises(train.CheckpointError, match="batch_size: 2 there, 3 here"):
        fit(make(), batch_size=3, resume=train.Checkpointer(tmp_path / "middle"))
    fit(make(), resume=train.Checkpointer(tmp_path / "end"))
    assert len(fit(make(), (other, Y), batch_size=3, epochs=2, resume=train.Checkpointer(tmp_path / "end"))) == 2


def test_a_new_trainer_takes_a_checkpoint_without_training_first(tmp_path: Any):
    trained = make()
    fit(trained, validation=(X, Y), callbacks=[train.BestCheckpoint(tmp_path)])
    fresh = make()
    assert train.BestCheckpoint(tmp_path).restore(fresh) is not None
    assert_same(trained, fresh)
    nn.manual_seed(0)
    deferred = train.Trainer(nn.Linear(None, 2), nn.CrossEntropyLoss(), optim.Adam(lr=0.1))
    with pytest.raises(ZkynetError, match="call the model once on an example"):
        train.Checkpointer(tmp_path).restore(deferred)


def test_a_file_is_no_folder_of_checkpoints(tmp_path: Any):
    (tmp_path / "runs").write_text("")
    trainer = make()
    with pytest.raises(train.CheckpointError, match="cannot be a folder"):
        fit(trainer, callbacks=[train.Checkpointer(tmp_path / "runs")])
    assert trainer.position["global_step"] == 0
