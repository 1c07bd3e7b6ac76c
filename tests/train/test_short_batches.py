"""Rows that do not fill a batch: whatever the loss and the form of the data, the loss that was given is trained.

torch is the judge: a linear model, batch after batch in the data's order, a short last batch as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zkynet import data, models, nn, optim, train
from zkynet.framework import op
from zkynet.framework.errors import InputError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(3)
X = RNG.normal(size=(10, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
IGNORING = np.where(np.isin(np.arange(10), [1, 2, 8]), -100, Y).astype(np.int32)
CLASS_WEIGHTS = np.array([1.0, 5.0], np.float32)


def trainer_of(loss: Any, **how: Any) -> train.Trainer:
    nn.manual_seed(0)
    return train.Trainer(nn.Linear(4, 2), loss, optim.SGD(lr=0.1), **how)


def by_torch(loss: Any, target: np.ndarray, size: int, rows: int = 10, start: Any = None) -> list[np.ndarray]:
    """The parameters after an epoch over the first rows."""
    start = start or trainer_of(nn.MSELoss())
    net = torch.nn.Linear(4, 2)
    net.load_state_dict({name: torch.tensor(np.array(value)) for name, value in start.model.state_dict().items()})
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for first in range(0, rows, size):
        part = slice(first, min(first + size, rows))
        wanted = torch.tensor(target[part])
        found = loss(net(torch.tensor(X[part])), wanted.long() if target.dtype.kind == "i" else wanted)
        sgd.zero_grad()
        found.backward()
        sgd.step()
    return [p.detach().numpy() for p in net.parameters()]


def fitted(loss: Any, given: Any, size: int, **how: Any) -> list[np.ndarray]:
    trainer = trainer_of(loss)
    trainer.fit(given, epochs=1, batch_size=size, shuffle=False, progress=False, **how)
    return [np.array(p.value) for p in trainer.model.parameters()]


LOSSES = {
    "mean": (nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), Y),
    "ignored classes": (nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), IGNORING),
    "class weights": (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
                      torch.nn.CrossEntropyLoss(torch.tensor(CLASS_WEIGHTS)), IGNORING),
    "smoothing": (nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1),
                  torch.nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1), Y),
    "probabilities": (nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), np.eye(2, dtype=np.float32)[Y]),
    "squares": (nn.MSELoss(), torch.nn.MSELoss(), X[:, :2]),
}
SUM = (nn.CrossEntropyLoss(reduction="sum"), torch.nn.CrossEntropyLoss(reduction="sum"), Y)


@pytest.mark.parametrize("form", ["arrays", "loader"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_last_batch_counts_its_own_rows(name: str, form: str):
    ours, theirs, target = LOSSES[name]
    given = (X, target) if form == "arrays" else data.Loader((X, target), 4, prefetch=0)
    for a, b in zip(fitted(ours, given, 4), by_torch(theirs, target, 4), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_loss_that_cannot_leave_rows_out_is_trained_on_full_batches_or_on_short_ones_when_asked():
    ours, theirs, target = SUM
    loader = data.Loader((X, target), 4, prefetch=0)
    for given, rows, how in (((X, target), 8, {}), (loader, 8, {}), ((X, target), 10, {"tail": "short"}),
                             (data.Loader((X, target), 4, pad_last=False, prefetch=0), 10, {"tail": "short"})):
        for a, b in zip(fitted(ours, given, 4, **how), by_torch(theirs, target, 4, rows), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_loader_with_a_short_batch_gives_it_as_it_is():
    loss, theirs, target = LOSSES["mean"]
    loader = data.Loader((X, target), 4, pad_last=False, prefetch=0)
    for a, b in zip(fitted(loss, loader, 4), by_torch(theirs, target, 4), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_short_batch_is_all_that_batch_normalisation_sees():
    def trained(tail: str) -> np.ndarray:
        nn.manual_seed(0)
        net = nn.Sequential(nn.BatchNorm1d(4, momentum=1.0), nn.Linear(4, 2))
        trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(lr=0.0))
        trainer.fit((X, Y), batch_size=4, shuffle=False, tail=tail, progress=False)
        return np.array(net[0].running_mean.value)

    np.testing.assert_allclose(trained("short"), X[8:].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(trained("drop"), X[4:8].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(trained("pad"), X[[8, 9, 0, 1]].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", [*LOSSES, "sum of classes"])
def test_the_loss_of_all_rows_does_not_depend_on_the_batches(name: str):
    ours, theirs, target = LOSSES.get(name, SUM)
    trainer = trainer_of(ours)
    wanted = torch.tensor(target)
    logits = torch.tensor(trainer.predict(X))
    expected = float(theirs(logits, wanted.long() if target.dtype.kind == "i" else wanted))
    if name == "sum of classes":  # a mean over batches, weighted by their rows
        parts = [float(theirs(logits[a:a + 4], wanted[a:a + 4].long())) for a in (0, 4, 8)]
        expected = float(np.average(parts, weights=[4, 4, 2]))
    for given in ((X, target), data.Loader((X, target), 4, prefetch=0)):
        assert trainer.evaluate(given, batch_size=4)["loss"] == pytest.approx(expected, rel=1e-5)
    if name != "sum of classes":
        assert trainer.evaluate((X, target), batch_size=10)["loss"] == pytest.approx(expected, rel=1e-5)


def test_padded_texts_have_the_loss_that_their_perplexity_says():
    tokens = np.array([[1, 2, 0], [2, 1, 2], [2, -100, -100]], np.int32)
    nn.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    trainer = train.Trainer(net, models.SequenceLoss(), optim.SGD(lr=0.1), metrics=["perplexity"])
    found = trainer.evaluate((np.abs(tokens) % 5, tokens), batch_size=2)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=1e-5)


def test_a_plain_function_as_loss_stays_as_it_is():
    def total(prediction: Any, target: Any) -> Any:
        return op.sum(op.square(prediction[:, 0] - target))

    trainer_of(total).fit(data.Loader((X[:7], Y[:7]), 4, prefetch=0), progress=False)
    assert not hasattr(total, "reduction")


def test_predictions_are_of_all_rows_whatever_the_form_of_the_data():
    trainer = trainer_of(nn.CrossEntropyLoss(), prepare=lambda x, y: (x * 2.0, y))
    doubled = trainer.predict(X * 2.0, batch_size=4)
    assert doubled.shape == (10, 2)
    for given in ((X, Y), data.ArrayDataset(X, Y), data.Loader((X, Y), 4, prefetch=0),
                  data.Loader((X, Y), 4, pad_last=False, prefetch=0)):
        np.testing.assert_allclose(trainer.predict(given, batch_size=4), doubled, rtol=1e-5, atol=1e-6)


def test_an_output_without_rows_is_refused():
    class Both(nn.Linear):
        def call(self, input: Any) -> Any:
            return super().call(input), op.sum(input, axis=0)

    trainer = train.Trainer(Both(4, 2), nn.MSELoss(), optim.SGD(lr=0.1))
    with pytest.raises(InputError, match=r"shape \(4,\) does not have the 5 rows"):
        trainer.predict(X, batch_size=5)
