"""What `benchmarks.train` trains: five nets with their data and first weights, as NumPy arrays.

Weights are in PyTorch's layout under PyTorch's names; zkynet, PyTorch and hand-written JAX start from them or, where
the layout differs, from their transposes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RATE = 1e-3  # of Adam, with betas 0.9 and 0.999 and eps 1e-8

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Workload:
    """A net, its weights, and the data of one epoch: `steps` batches of `batch` rows.

    `sizes` holds what the net's builders need to know besides the shapes of the weights.
    """

    name: str
    title: str
    batch: int
    steps: int
    weights: dict[str, np.ndarray]
    x: np.ndarray
    y: np.ndarray
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The data in order."""
        x = self.x.reshape(self.steps, self.batch, *self.x.shape[1:])
        y = self.y.reshape(self.steps, self.batch, *self.y.shape[1:])
        return list(zip(x, y, strict=True))


def _weights(shapes: Shapes) -> dict[str, np.ndarray]:
    """Normal with deviation 1/sqrt(inputs); scales of normalisation are 1, biases 0."""
    rng = np.random.default_rng(0)
    made = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            made[name] = np.full(shape, 1.0 if name.endswith("weight") else 0.0, np.float32)
        else:
            made[name] = (rng.normal(size=shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
    return made


def _layers(**shapes: tuple[int, ...]) -> Shapes:
    """Weight and bias of layers that are called `layer_N`, with N the place in a Sequential."""
    found: Shapes = {}
    for name, shape in shapes.items():
        number = name.removeprefix("layer_")
        found |= {f"{number}.weight": shape, f"{number}.bias": shape[:1]}
    return found


def _data(rows: int, shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, *shape)).astype(np.float32), rng.integers(0, classes, rows).astype(np.int32)


def mlp(quick: bool) -> Workload:
    batch, steps = 32, 5 if quick else 1000
    shapes = _layers(layer_0=(64, 64), layer_2=(64, 64), layer_4=(10, 64))
    return Workload("mlp", f"MLP 64-64-64-10, batch {batch}", batch, steps, _weights(shapes),
                    *_data(batch * steps, (64,), 10))


def lenet(quick: bool) -> Workload:
    batch, steps = (4, 3) if quick else (64, 32)
    shapes = _layers(layer_0=(6, 1, 5, 5), layer_3=(16, 6, 5, 5), layer_7=(120, 400), layer_9=(84, 120),
                     layer_11=(10, 84))
    return Workload("lenet", f"LeNet, 1 x 28 x 28, batch {batch}", batch, steps, _weights(shapes),
                    *_data(batch * steps, (1, 28, 28), 10))


def conv_net(quick: bool) -> Workload:
    batch, steps = (4, 3) if quick else (64, 4)
    shapes = _layers(layer_0=(32, 3, 3, 3), layer_3=(64, 32, 3, 3), layer_7=(128, 4096), layer_9=(10, 128))
    return Workload("conv_net", f"conv net 32-64-128-10, 3 x 32 x 32, batch {batch}", batch, steps, _weights(shapes),
                    *_data(batch * steps, (3, 32, 32), 10))


def gpt(quick: bool) -> Workload:
    """Blocks that normalise first, learned positions, exact GELU, a head of its own."""
    batch, steps, layers, width, length = (2, 3, 1, 16, 8) if quick else (16, 10, 4, 128, 64)
    vocabulary, heads = 65, 4
    shapes: Shapes = {"embedding.weight": (vocabulary, width), "positions.weight": (length, width)}
    for number in range(layers):
        prefix = f"layers.{number}."
        shapes |= {prefix + name: shape for name, shape in {
            "self_attn.in_proj_weight": (3 * width, width), "self_attn.in_proj_bias": (3 * width,),
            "self_attn.out_proj.weight": (width, width), "self_attn.out_proj.bias": (width,),
            "linear1.weight": (4 * width, width), "linear1.bias": (4 * width,),
            "linear2.weight": (width, 4 * width), "linear2.bias": (width,),
            "norm1.weight": (width,), "norm1.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
        }.items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (vocabulary, width)}
    tokens = np.random.default_rng(1).integers(0, vocabulary, (batch * steps, length + 1)).astype(np.int32)
    return Workload("gpt", f"GPT, {layers} layers of {width}, {length} tokens, batch {batch}", batch, steps,
                    _weights(shapes), tokens[:, :-1].copy(), tokens[:, 1:].copy(),
                    {"vocabulary": vocabulary, "context": length, "width": width, "layers": layers, "heads": heads})


def lstm(quick: bool) -> Workload:
    """The last state, classified."""
    batch, steps, length, inputs, width = (4, 3, 5, 8, 8) if quick else (32, 64, 50, 32, 128)
    shapes: Shapes = {
        "lstm.weight_ih_l0": (4 * width, inputs), "lstm.weight_hh_l0": (4 * width, width),
        "lstm.bias_ih_l0": (4 * width,), "lstm.bias_hh_l0": (4 * width,),
        "head.weight": (10, width), "head.bias": (10,)}
    return Workload("lstm", f"LSTM of {width}, {length} steps, batch {batch}", batch, steps, _weights(shapes),
                    *_data(batch * steps, (length, inputs), 10), {"inputs": inputs, "width": width})


WORKLOADS: dict[str, Any] = {"mlp": mlp, "lenet": lenet, "conv_net": conv_net, "gpt": gpt, "lstm": lstm}
