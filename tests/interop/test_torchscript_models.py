"""Models scripted and traced by PyTorch: outputs, gradients, training, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torchscript_judge import assert_close, judge, sample, scripted, torch, traced
from torchscript_nets import CNN, GPT, MLP, Recurrent

import zkynet
from zkynet import nn, optim
from zkynet.framework import op
from zkynet.interop import torchscript

tnn = torch.nn
IMAGES, ROWS = sample(4, 1, 8, 8), sample(5, 6)
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 6))


def seeded(make: Any, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return make(*args, **kwargs)


LAYERS = {
    "sequential": lambda: (tnn.Sequential(tnn.Linear(6, 4), tnn.ELU(), tnn.LayerNorm(4), tnn.Linear(4, 2)), ROWS),
    "unbatched": lambda: (tnn.Sequential(tnn.Linear(6, 4), tnn.Softmax(dim=-1)), ROWS[0]),
    "batch norm 1d": lambda: (tnn.Sequential(tnn.BatchNorm1d(6), tnn.Linear(6, 2), tnn.PReLU()), ROWS),
    "batch norm, running average": lambda: (tnn.BatchNorm2d(1, momentum=None), IMAGES),
    "batch norm without statistics": lambda: (tnn.BatchNorm2d(1, track_running_stats=False), IMAGES),
    "conv 1d": lambda: (tnn.Sequential(
        tnn.Conv1d(8, 4, 3, stride=2, padding=1), tnn.GroupNorm(2, 4), tnn.SiLU(), tnn.AvgPool1d(2)), IMAGES[:, 0]),
    "conv transpose": lambda: (tnn.Sequential(
        tnn.ConvTranspose2d(1, 3, 3, stride=2, padding=1, output_padding=1, bias=False),
        tnn.InstanceNorm2d(3, affine=True), tnn.Hardswish()), IMAGES),
    "circular padding": lambda: (tnn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), IMAGES),
    "embedding": lambda: (
        tnn.Sequential(tnn.Embedding(11, 4, padding_idx=2), tnn.Flatten(), tnn.Linear(24, 2)), TOKENS),
    "lstm": lambda: (Recurrent("LSTM", num_layers=2, batch_first=True), sample(2, 5, 3)),
    "bidirectional gru": lambda: (Recurrent("GRU", bidirectional=True), sample(5, 2, 3)),
    "rnn": lambda: (Recurrent("RNN", bias=False), sample(5, 2, 3)),
    "mlp": lambda: (MLP(), ROWS),
    "mlp, the other way": lambda: (MLP(residual=False), ROWS),
    "cnn": lambda: (CNN(), IMAGES),
    "gpt": lambda: (GPT(), TOKENS),
}
MODES = [(name, how, training) for name in LAYERS for how in ("script", "trace") for training in (True, False)
         if how == "script" or training == ("norm" not in name and name != "cnn")]


@pytest.mark.parametrize(("name", "how", "training"), MODES)
def test_outputs_gradients_and_buffers_are_pytorchs(name: str, how: str, training: bool):
    module, x = seeded(LAYERS[name])
    module.train(training)
    theirs = scripted(module) if how == "script" else traced(module, x)
    ours = judge(theirs, x)
    assert set(ours.state_dict()) - {"stream"} == set(theirs.state_dict()) - set(ours.aliases)
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})


TRAINED = {
    "mlp": (MLP, ROWS, np.array([0, 2, 1, 1, 0]), lambda p: optim.Adam(p, lr=0.01), torch.optim.Adam, {"lr": 0.01}),
    "cnn": (CNN, IMAGES, np.array([0, 2, 1, 1]), lambda p: optim.SGD(p, lr=0.05, momentum=0.9), torch.optim.SGD,
            {"lr": 0.05, "momentum": 0.9}),
    # The keys' bias changes nothing, so that its gradient is rounding alone: a small eps would blow that up.
    "gpt": (GPT, TOKENS, np.roll(TOKENS, -1, axis=1), lambda p: optim.Adam(p, lr=0.01, eps=1e-4), torch.optim.Adam,
            {"lr": 0.01, "eps": 1e-4}),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_moves_the_same_numbers_and_goes_back(name: str, tmp_path):
    make, x, target, our_optimizer, their_optimizer, options = TRAINED[name]
    theirs = scripted(seeded(make))
    ours = torchscript.load(theirs)
    loss_fn, opt = nn.CrossEntropyLoss(), our_optimizer(ours.parameters())
    their_opt = their_optimizer(theirs.parameters(), **options)
    compiled = None
    for step in range(20):
        scores = ours(x)
        loss = loss_fn(op.reshape(scores, shape=(target.size, -1)), target.reshape(-1))
        opt.step(loss)
        their_opt.zero_grad()
        their_scores = theirs(torch.tensor(x))
        their_loss = torch.nn.functional.cross_entropy(their_scores.reshape(target.size, -1),
                                                       torch.tensor(target.reshape(-1)))
        their_loss.backward()
        their_opt.step()
        assert_close(loss.value, their_loss, f"loss of step {step}", 1e-4)
        if step == 2:
            compiled = zkynet.compile_stats().compilations
    assert zkynet.compile_stats().compilations == compiled
    for path, tensor in theirs.state_dict().items():
        assert_close(ours.state_dict()[ours.aliases.get(path) or path], tensor, path, 1e-4)

    ours.eval()
    back = torchscript.to_torch(ours)
    assert isinstance(back, torch.jit.ScriptModule) and not back.training
    assert_close(ours(x).value, back(torch.tensor(x)))
    torchscript.save(ours, tmp_path / "trained.pt")
    assert_close(torchscript.load(tmp_path / "trained.pt")(x).value, back(torch.tensor(x)))
    assert [p.name for p in tmp_path.iterdir()] == ["trained.pt"]
