"""Nets that PyTorch's two exporters write, imported: the same outputs, and the same steps of training."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import warnings

import numpy as np
import pytest

from zkynet import optim
from zkynet.framework import op
from zkynet.interop import onnx as interop

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


class Conv(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.act = torch.nn.PReLU()
        self.norm = torch.nn.LayerNorm(64)
        self.fc = torch.nn.Linear(64, 3)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 3))

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(self.act(self.conv(x)), 2)
        return self.fc(self.norm(x.reshape(x.shape[0], -1))) * self.scale


class Batch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4 * 36, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))


class Attention(torch.nn.Module):
    """A causal transformer block over tokens."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(11, 8)
        self.block = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
        self.head = torch.nn.Linear(8, 3)
        self.register_buffer("mask", torch.triu(torch.full((6, 6), -torch.inf), 1))

    def forward(self, x):
        return self.head(self.block(self.embed(x), src_mask=self.mask)[:, -1])


def exported(net, x, dynamo, batch=True, **options) -> bytes:
    """The file that PyTorch writes; the axis 0 of the input may have any length."""
    buffer = io.BytesIO()
    if dynamo:
        shapes = ({0: torch.export.Dim("batch")},) if batch else None
        options = {"dynamic_shapes": shapes, "external_data": False, **options}
    elif batch:
        options = {"dynamic_axes": {"x": {0: "batch"}}, **options}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), buffer, input_names=["x"], dynamo=dynamo, **options)
    return buffer.getvalue()


def made(kind, seed):
    """A fresh net; but for biases of zero, as the newer exporter leaves them out."""
    torch.manual_seed(seed)
    net = kind().eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("out_proj.bias"):
                parameter.add_(0.1)
    return net


def example(kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if kind is Attention:
        return torch.randint(0, 11, (4, 6), generator=generator)
    return torch.randn(4, 1, 8, 8, generator=generator)


def steps(net, module, x, target, rule, ours, count=4):
    """The losses of both over some steps of training, from the same weights."""
    optimizer = rule(net.parameters())
    own = ours(module.parameters(trainable=True))
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        mine = op.mean(op.cross_entropy(module(x.numpy()).root, target.numpy()))
        own.step(mine)
        losses.append((loss.item(), float(mine.value)))
    return np.array(losses).T


NETS = [(kind, dynamo) for kind in (Conv, Attention) for dynamo in (False, True)]


@pytest.mark.parametrize(("kind", "dynamo"), NETS, ids=lambda value: getattr(value, "__name__", f"dynamo={value}"))
def test_imported_nets_compute_and_train_as_in_torch(kind, dynamo):
    net = made(kind, 1)
    x, target = example(kind), torch.tensor([0, 2, 1, 2])
    module = interop.load(exported(net, x, dynamo))
    np.testing.assert_allclose(np.asarray(module(x.numpy()).value), net(x).detach().numpy(), atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(np.asarray(module(x[:3].numpy()).value), net(x[:3]).numpy(), atol=1e-5)
    count = sum(p.numel() for p in net.parameters())
    assert sum(int(np.prod(p.shape)) for p in module.parameters()) == count + (0 if dynamo or kind is Attention else 3)
    if not dynamo:
        for parameter in module.parameters():  # the older exporter does not tell buffers from parameters
            parameter.trainable = parameter.short_name != "scale"
    with torch.enable_grad():
        theirs, ours = steps(net, module, x, target, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
                             lambda p: optim.SGD(p, lr=0.1, momentum=0.9))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert ours[-1] < ours[0]


BATCH = {
    "older": dict(dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False),
    "older, for inference": dict(dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False),
    "dynamo": dict(dynamo=True, optimize=False),
}


@pytest.mark.parametrize("options", BATCH.values(), ids=BATCH.keys())
def test_batch_normalisation_trains_as_in_torch(options):
    net = made(Batch, 2)
    x, target = example(Batch), torch.tensor([0, 2, 1, 2])
    module = interop.load(exported(net, x, **options)).train()
    net.train()
    assert {name for name, _ in module.named_states()} == {"bn.running_mean", "bn.running_var"}
    theirs, ours = steps(net, module, x, target, lambda p: torch.optim.SGD(p, lr=0.05),
                         lambda p: optim.SGD(p, lr=0.05))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < ours[0]
    held = net.state_dict()
    for name, value in module.state_dict().items():
        np.testing.assert_allclose(np.asarray(value), held[name].numpy(), atol=1e-4, err_msg=name)
    net.eval()
    module.eval()
    with torch.no_grad():
        np.testing.assert_allclose(np.asarray(module(x.numpy()).value), net(x).numpy(), atol=1e-4)


def test_weights_carry_over_by_name_and_modules_can_be_kept():
    net, other = made(Conv, 3), made(Conv, 4)
    x = example(Conv)
    module = interop.load(exported(net, x, True))
    names = dict(module.named_parameters())
    assert {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias"} <= set(names)
    state = {name: value.numpy() for name, value in other.state_dict().items() if name in names}
    slope, = set(names) - set(state)
    module.load_state_dict({**state, slope: np.full(names[slope].shape, other.act.weight.item(), np.float32)})
    expected = other(x).detach().numpy()
    for kept in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        np.testing.assert_allclose(np.asarray(kept(x.numpy()).value), expected, atol=1e-5)


def test_frozen_import_has_nothing_to_train():
    net = Conv().eval()
    module = interop.load(exported(net, example(Conv), False), trainable=False)
    assert module.parameters(trainable=True) == [] and len(module.parameters()) > 5
