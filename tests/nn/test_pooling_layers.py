"""Pooling layers against PyTorch; what they print and refuse."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from torch_judge import judge, sample, torch

from zkynet import nn
from zkynet.framework import cg
from zkynet.framework.errors import InputError, ShapeError

# (layer, its arguments, by keyword, shape of the input)
ROWS: list[tuple[str, tuple, dict[str, Any], tuple[int, ...]]] = [
    ("MaxPool1d", (2,), {}, (2, 3, 6)),
    ("MaxPool1d", (3, 2, 1), {"ceil_mode": True, "return_indices": True}, (3, 8)),
    ("MaxPool1d", (2,), {"stride": 1, "dilation": 3}, (2, 3, 8)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 4)),
    ("MaxPool2d", (3, 2, 1), {}, (2, 3, 6, 5)),
    ("MaxPool2d", ((3, 2), (2, 1), (1, 0)), {"return_indices": True}, (2, 3, 6, 5)),
    ("MaxPool2d", (2,), {"dilation": (1, 2), "stride": 1}, (3, 6, 5)),
    ("MaxPool2d", (3, 2, 1, 1, True, True), {}, (2, 3, 6, 5)),
    ("MaxPool3d", (2,), {"return_indices": True}, (1, 2, 4, 3, 4)),
    ("MaxPool3d", ((1, 2, 3),), {"stride": 2, "padding": (0, 1, 1), "ceil_mode": True}, (2, 3, 4, 4)),
    ("AvgPool1d", (2,), {}, (2, 3, 6)),
    ("AvgPool1d", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}, (3, 8)),
    ("AvgPool2d", (2,), {}, (2, 3, 6, 4)),
    ("AvgPool2d", ((3, 2),), {"stride": (2, 1), "padding": (1, 0)}, (2, 3, 6, 5)),
    ("AvgPool2d", (3, 2, 1, True, False), {}, (2, 3, 6, 5)),
    ("AvgPool2d", (3, 2, 1), {"ceil_mode": True}, (3, 6, 5)),
    ("AvgPool2d", (3,), {"divisor_override": 4}, (2, 3, 6, 6)),
    ("AvgPool3d", (2,), {"stride": 1}, (1, 2, 3, 3, 4)),
    ("AvgPool3d", ((1, 2, 3), 2, (0, 1, 1)), {"count_include_pad": False}, (2, 3, 4, 4)),
    ("AdaptiveAvgPool1d", (4,), {}, (2, 3, 7)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 6, 5)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("AdaptiveAvgPool2d", ((7, 2),), {}, (3, 3, 5)),
    ("AdaptiveAvgPool3d", ((2, 3, 1),), {}, (1, 2, 3, 4, 5)),
    ("AdaptiveMaxPool1d", (4,), {"return_indices": True}, (2, 3, 7)),
    ("AdaptiveMaxPool2d", (1,), {}, (2, 3, 6, 5)),
    ("AdaptiveMaxPool2d", ((3, None),), {"return_indices": True}, (2, 3, 7, 5)),
    ("AdaptiveMaxPool3d", (2,), {}, (2, 3, 4, 5)),
    ("LPPool1d", (2, 3), {}, (2, 3, 7)),
    ("LPPool1d", (2, 3, 2), {"ceil_mode": True}, (2, 3, 8)),
    ("LPPool2d", (2, (3, 2)), {"stride": (2, 1)}, (2, 3, 6, 5)),
    ("LPPool2d", (4.0, 2), {"ceil_mode": True}, (2, 3, 5, 5)),
    ("LPPool3d", (2, 2), {}, (1, 2, 4, 4, 2)),
]


@pytest.mark.parametrize(("name", "args", "how", "shape"), ROWS, ids=str)
def test_same_as_torch(name: str, args: tuple, how: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = getattr(nn, name)(*args, **how), getattr(torch.nn, name)(*args, **how)
    judge(ours, theirs, sample(*shape))
    assert repr(ours) == re.sub(r"\((\d+),\)", r"\1", repr(theirs))  # torch's AvgPool1d alone shows (2,)


@pytest.mark.parametrize("p", [1, 3, 2.5])
def test_lp_pool_of_positive_inputs(p: float) -> None:
    judge(nn.LPPool2d(p, 2), torch.nn.LPPool2d(p, 2), sample(2, 3, 4, 4, low=0.5, high=2.0))


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Avg", "Max"])
def test_global_pooling_is_adaptive_pooling_to_one(kind: str, space: int) -> None:
    judge(getattr(nn, f"Global{kind}Pool")(), getattr(torch.nn, f"Adaptive{kind}Pool{space}d")(1),
          sample(2, 3, *(4, 5, 2)[:space]))


@pytest.mark.parametrize(("space", "args", "shape", "size"), [
    (1, (2,), (2, 3, 6), None), (1, (3, 3, 1), (3, 7), None), (1, (2,), (2, 3, 7), (7,)),
    (2, (2,), (2, 3, 6, 4), None), (2, ((3, 2), (3, 2)), (3, 6, 4), None), (2, (2,), (2, 3, 7, 5), (2, 3, 7, 5)),
    (2, (2,), (2, 3, 7, 5), [7, 5]), (3, (2,), (1, 2, 4, 2, 4), None),
    (1, (3, 1), (2, 3, 6), None), (2, (3, 1), (2, 3, 4, 4), None), (2, (3, 2, 1), (2, 3, 5, 5), None),
], ids=str)
def test_unpooling(space: int, args: tuple, shape: tuple[int, ...], size: Any) -> None:
    pooled, indices = getattr(torch.nn, f"MaxPool{space}d")(*args, return_indices=True)(torch.tensor(sample(*shape)))
    ours, theirs = getattr(nn, f"MaxUnpool{space}d")(*args), getattr(torch.nn, f"MaxUnpool{space}d")(*args)
    how = {} if size is None else {"output_size": size}
    judge(ours, theirs, pooled.numpy(), indices.numpy(), **how)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("size", [(8, 2), (6, 4), (4, 2), (4,), (1, 1, 1, 4, 4)], ids=str)
def test_unpooling_refuses_sizes_that_were_not_pooled(size: tuple[int, ...]) -> None:
    """Also PyTorch does: indices count through a plane of 3 x 3 to 5 x 5."""
    y, at = sample(1, 1, 2, 2), np.zeros((1, 1, 2, 2), np.int64)
    with pytest.raises(ValueError):
        torch.nn.MaxUnpool2d(2)(torch.tensor(y), torch.tensor(at), output_size=size)
    with pytest.raises(InputError, match="output_size must be"):
        nn.MaxUnpool2d(2)(y, at, output_size=size)


def test_pooling_and_unpooling_in_one_module():
    class There(cg.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

        def call(self, x: Any) -> Any:
            y, indices = self.pool(x)
            return self.unpool(y, indices, output_size=x.shape)

    x = sample(2, 3, 5, 4)
    both = There()
    first, second = (np.asarray(both(given).value) for given in (x, -x))
    for found, given in ((first, x), (second, -x)):
        y, at = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(given))
        np.testing.assert_array_equal(found, torch.nn.MaxUnpool2d(2)(y, at, output_size=x.shape).numpy())


REFUSED = [
    (lambda: nn.MaxPool2d((2, 2, 2)), InputError, r"MaxPool2d: kernel_size must be an int >= 1 or 2 of them"),
    (lambda: nn.MaxPool2d(2, stride=0), InputError, r"MaxPool2d: stride must be an int >= 1 or 2 of them, but got 0"),
    (lambda: nn.AvgPool1d(2, padding=-1), InputError, r"AvgPool1d: padding must be an int >= 0"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), InputError, r"AvgPool2d: divisor_override must not be zero"),
    (lambda: nn.LPPool2d(0, 2), InputError, r"LPPool2d: norm_type must not be zero"),
    (lambda: nn.AdaptiveAvgPool2d((2, 3, 4)), InputError, r"AdaptiveAvgPool2d: output_size must be"),
    (lambda: nn.AdaptiveMaxPool2d(0), InputError, r"AdaptiveMaxPool2d: output_size must be an int >= 1"),
    (lambda: nn.MaxPool2d(2, padding=2)(sample(1, 1, 4, 4)), InputError, r"padding 2 is more than half of what the"),
    (lambda: nn.MaxPool2d(5)(sample(1, 1, 4, 4)), ShapeError, r"test_pooling_layers.py:\d+: the window covers 5"),
    (lambda: nn.MaxPool2d(2)(sample(4, 4)), ShapeError, r"must have 4 axes .* but it is float32\[4,4\]"),
    (lambda: nn.MaxPool1d(2)(None), InputError, r"MaxPool1d needs an array or a node, but got NoneType"),
    (lambda: nn.GlobalAvgPool()(sample(4, 4)), ShapeError, r"must have axes \(batch, channels, \*space\)"),
    (lambda: nn.MaxUnpool1d(2)(sample(1, 1, 4), np.zeros((1, 1, 3), np.int32)), ShapeError, r"indices must have the"),
    (lambda: nn.MaxUnpool1d(2)(sample(1, 1, 4), None), InputError, r"MaxUnpool1d needs an array or a node"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), REFUSED, ids=[row[2][:40] for row in REFUSED])
def test_errors(wrong: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()


@pytest.mark.parametrize(("layer", "names"), [
    (nn.MaxPool2d(2), ["max_pool"]), (nn.AvgPool2d(2), ["avg_pool"]), (nn.GlobalAvgPool(), ["mean"]),
    (nn.AdaptiveAvgPool2d(3), ["adaptive_avg_pool"]), (nn.LPPool2d(2, 2), ["integer_power", "avg_pool", "power"]),
], ids=str)
def test_how_many_nodes_a_call_makes(layer: Any, names: list[str]) -> None:
    for _ in range(2):
        assert [node.name for node in layer(sample(2, 3, 4, 4)).nodes if not node.isleaf()] == names
