"""Pytorch_Model: TorchScript models trained here, against torch itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravnet as R
from ravnet.dl import Pytorch_Model
from ravnet.dl.optimizers import Adam
from zkynet.framework.errors import InputError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")

RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = RNG.normal(size=(12, 3)).astype(np.float32)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 6, bias=False)
        self.norm = torch.nn.BatchNorm1d(6)
        self.last = torch.nn.Linear(6, 3)

    def forward(self, x, scale: float = 1.0):
        return self.last(torch.relu(self.norm(self.first(x)))) * scale


@pytest.fixture(autouse=True)
def session(home: Path) -> None:
    R.initialize("token")
    R.Graph(name="test", algorithm="net", approach="distributed")


@pytest.fixture
def net(tmp_path: Path) -> tuple[Any, str]:
    torch.manual_seed(0)
    made = Net()
    torch.jit.script(made).save(str(tmp_path / "net.pt"))
    return made, str(tmp_path / "net.pt")


def test_training_a_saved_model_and_fetching_it(net: tuple[Any, str]):
    theirs, path = net
    model = Pytorch_Model(model_op=R.model(path))
    model.initialize(Adam(lr=0.01))
    stepper = torch.optim.Adam(theirs.parameters(), lr=0.01)
    losses, judged = [], []
    for _ in range(5):
        loss = R.square_loss(R.t(Y), model._forward_pass(R.t(X), scale=0.5))
        model._backward_pass(loss, step=True)
        losses.append(loss)
        their_loss = torch.nn.functional.mse_loss(theirs(torch.tensor(X), scale=0.5), torch.tensor(Y))
        stepper.zero_grad()
        their_loss.backward()
        stepper.step()
        judged.append(their_loss.item())
    model.save_model(name="my_net")
    prediction: Any = model._forward_pass(R.t(X), training=False)
    later = pickle.dumps(model)
    R.activate()
    R.execute()
    R.track_progress()
    assert np.allclose([float(loss()) for loss in losses], judged, atol=1e-5)
    fetched: Any = R.fetch_persisting_op(op_name="my_net")
    fetched.eval()
    theirs.eval()
    wanted = theirs(torch.tensor(X)).detach().numpy()
    assert np.allclose(prediction(), wanted, atol=1e-5)
    assert np.allclose(fetched(torch.tensor(X)).detach().numpy(), wanted, atol=1e-5)
    R.Graph(name="next", algorithm="net", approach="distributed")
    again: Any = pickle.loads(later)._forward_pass(R.t(X), training=False)
    R.activate()
    R.execute()
    R.track_progress()
    assert np.allclose(again(), wanted, atol=1e-5)


def test_each_model_has_weights_of_its_own(net: tuple[Any, str]):
    op = R.model(net[1])
    one, two = Pytorch_Model(op, Adam(lr=0.1)), Pytorch_Model(op, Adam(lr=0.1))
    loss = R.square_loss(R.t(Y), one._forward_pass(R.t(X)))
    one._backward_pass(loss)
    untouched = R.square_loss(R.t(Y), two._forward_pass(R.t(X)))
    R.activate()
    R.execute()
    R.track_progress()
    assert float(loss()) == float(untouched())


def test_wrong_arguments(net: tuple[Any, str]):
    with pytest.raises(InputError, match=r"takes model_op=R.model\('file.pt'\)"):
        Pytorch_Model(model_op=3)
    model = Pytorch_Model(net[1])
    loss = R.square_loss(R.t(Y), model._forward_pass(R.t(X)))
    with pytest.raises(InputError, match=r"Pytorch_Model has no optimizer. Call model.initialize\(optimizer\)"):
        model._backward_pass(loss)
    with pytest.raises(InputError, match=r"save_model\(name='my_net'\)"):
        model.save_model()
