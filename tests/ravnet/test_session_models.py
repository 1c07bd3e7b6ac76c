"""TorchScript models: given as files, fetched as torch modules with trained weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravnet as R
from ravnet.api.saved import ModelFile, keep_model
from ravnet.dl import Pytorch_Model
from ravnet.dl.optimizers import Adam
from ravnet.errors import PersistNameError
from zkynet.framework.errors import InputError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore::DeprecationWarning")  # PyTorch's


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    torch.jit.script(net).save(tmp_path / "net.pt")
    return tmp_path / "net.pt"


def test_a_trained_model_comes_back_as_a_torch_module(home: Path, forget: Callable[[], None], file: Path):
    R.initialize("token")
    R.Graph(name="torch", algorithm="mlp", approach="distributed")
    model_op = R.model(str(file))
    assert isinstance(model_op, ModelFile) and model_op.path == file and "net.pt" in repr(model_op)
    model = Pytorch_Model(model_op=model_op)
    model.initialize(Adam(lr=0.05))
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    for step in range(5):
        loss = R.square_loss(R.t(x[:, :1]), model._forward_pass(R.t(x)))
        loss.persist_op(f"loss_{step}")
        model._backward_pass(loss)
    predicted = model._forward_pass(R.t(x), training=False)
    model.save_model(name="my_net")
    R.activate()
    R.execute()
    R.track_progress()
    assert R.fetch_persisting_op("loss_4") < R.fetch_persisting_op("loss_0")
    expected = predicted()
    forget()  # as a later process
    R.initialize("token")
    net: Any = R.fetch_persisting_op(op_name="my_net")
    assert not net.eval().training
    with torch.no_grad():
        assert np.allclose(net(torch.from_numpy(x)).numpy(), expected, atol=1e-6)


def test_a_model_is_read_when_it_is_used(file: Path, tmp_path: Path):
    assert [name for name, _ in R.model(file).module.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    (tmp_path / "other.pt").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"other\.pt"):
        _ = R.model(tmp_path / "other.pt").module


def test_names_of_models_are_persist_names(home: Path, file: Path):
    R.initialize("token")
    graph = R.Graph(name="torch")
    R.t(1.0).persist_op("net")
    with pytest.raises(PersistNameError, match="already the name of another op"):
        keep_model(graph, "net", file.read_bytes(), {})
