"""One training step of ResNet-20 of width 16 on 32 x 32 x 3, SGD with momentum, against PyTorch in both of its layouts.

`python -m benchmarks resnet` first checks that all have the same loss from the same weights.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from zkynet import models, nn, optim, train

from .timing import Row, medians, print_table

RATE, MOMENTUM = 0.1, 0.9
STEPS = 4  # of one epoch
TOLERANCE = 1e-4


def contenders_of_torch(net: Any, blocks: int, x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The same net with the same weights; each of its three stages has so many blocks."""
    torch: Any = importlib.import_module("torch")
    f = torch.nn.functional
    weights = [torch.tensor(np.asarray(parameter.value)) for parameter in net.parameters()]

    class Block(torch.nn.Module):
        def __init__(self, before: int, width: int, stride: int):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(before, width, 3, stride, 1, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(width)
            self.conv2 = torch.nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = torch.nn.BatchNorm2d(width)
            self.more = (width - before) // 2

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x)))))
            around = f.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more)) if self.more else x
            return f.relu(around + y)

    shapes = [shape for before, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
              for shape in ((before, width, stride), *[(width, width, 1)] * (blocks - 1))]
    made = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        *[Block(*shape) for shape in shapes], torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(64, 10))
    with torch.no_grad():
        for parameter, weight in zip(made.parameters(), weights, strict=True):
            parameter.copy_(weight)

    def stepping(layout: Any) -> Callable[[], Any]:
        own = copy.deepcopy(made).to(memory_format=layout)
        images, classes = torch.tensor(x).contiguous(memory_format=layout), torch.tensor(y, dtype=torch.int64)
        optimizer = torch.optim.SGD(own.parameters(), lr=RATE, momentum=MOMENTUM)

        def step() -> Any:
            optimizer.zero_grad()
            loss = f.cross_entropy(own(images), classes)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    return {"PyTorch eager": stepping(torch.contiguous_format),
            "PyTorch channels last": stepping(torch.channels_last)}


def contenders(batch: int, depth: int) -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * batch, 3, 32, 32)).astype(np.float32)
    y = rng.integers(0, 10, STEPS * batch).astype(np.int32)
    net, loss_of = models.CifarResNet(depth), nn.CrossEntropyLoss()
    found = {}
    try:
        found = contenders_of_torch(net, (depth - 2) // 6, x[:batch], y[:batch])
    except ImportError:
        pass
    fitted = train.Trainer(copy.deepcopy(net), loss_of, optim.SGD(lr=RATE, momentum=MOMENTUM))
    optimizer = optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)

    def step() -> Any:
        loss = loss_of(net(x[:batch]), y[:batch])
        optimizer.step(loss)
        return loss.value

    return {"zkynet step": step, "zkynet fit": lambda: fitted.fit((x, y), epochs=1, batch_size=batch, progress=False),
            **found}


def rows(quick: bool = False) -> list[Row]:
    made, depth = [], 8 if quick else 20
    for batch in (4,) if quick else (64, 128):
        works = contenders(batch, depth)
        first = {name: float(work()) for name, work in works.items() if name != "zkynet fit"}
        worst = max(abs(loss / first["zkynet step"] - 1) for loss in first.values())
        assert worst < TOLERANCE, first
        times = medians(works, rounds=2 if quick else 11)
        times["zkynet fit"] /= STEPS
        made.append(Row(f"ResNet-{depth}: one step, batch {batch}", times))
    return made


def main(quick: bool = False) -> None:
    print_table("ResNet-20", rows(quick))
