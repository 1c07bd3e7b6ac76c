"""Every activation layer against PyTorch's of the same name and arguments."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from torch_judge import judge, sample, torch

from zkynet import nn
from zkynet.framework.errors import InputError, ShapeError
from zkynet.nn import activation

X = sample(2, 4, low=-4.0, high=4.0)
IMAGES = sample(2, 4, 3, 2, low=-4.0, high=4.0)

ACTIVATIONS = [made for made in vars(activation).values() if isinstance(made, type)
               and made.__module__ == activation.__name__ and made is not activation.Activation]
# What has no meaning here, and old names.
NOT_TAKEN = ("device", "dtype", "min_value", "max_value")
ROWS = [
    ("Sigmoid", {}), ("LogSigmoid", {}), ("Tanh", {}), ("Softsign", {}), ("Tanhshrink", {}), ("Identity", {}),
    ("ReLU", {}), ("ReLU", {"inplace": True}), ("ReLU6", {}), ("SELU", {}), ("SiLU", {}), ("Mish", {}),
    ("Hardsigmoid", {}), ("Hardswish", {}), ("LeakyReLU", {}), ("LeakyReLU", {"negative_slope": 0.3}), ("ELU", {}),
    ("ELU", {"alpha": 0.5}), ("CELU", {}), ("CELU", {"alpha": 0.5}), ("GELU", {}), ("GELU", {"approximate": "tanh"}),
    ("Softplus", {}), ("Softplus", {"beta": 2.0, "threshold": 3.0}), ("Hardshrink", {}), ("Hardshrink", {"lambd": 1.0}),
    ("Softshrink", {}), ("Softshrink", {"lambd": 1.0}), ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}), ("Threshold", {"threshold": 0.5, "value": -3.0}),
    ("GLU", {}), ("GLU", {"dim": 1}), ("PReLU", {}), ("PReLU", {"num_parameters": 4, "init": 0.1}),
    ("Softmax", {"dim": -1}), ("Softmax", {"dim": 0}), ("Softmin", {"dim": 1}), ("LogSoftmax", {"dim": 1}),
]


@pytest.mark.parametrize("name, arguments", ROWS, ids=lambda part: part if isinstance(part, str) else str(part or ""))
def test_as_torch(name, arguments):
    theirs = dict(arguments)
    if theirs.pop("inplace", False):
        assert arguments["inplace"]  # torch cannot change a leaf in place; the result is the same
    judge(getattr(nn, name)(**arguments), getattr(torch.nn, name)(**theirs), X)


@pytest.mark.parametrize("name, arguments", [("PReLU", {"num_parameters": 4}), ("PReLU", {}), ("GLU", {"dim": 1}),
                                             ("Softmax2d", {}), ("LogSoftmax", {"dim": -3})])
def test_images(name, arguments):
    judge(getattr(nn, name)(**arguments), getattr(torch.nn, name)(**arguments), IMAGES)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("name", ["Softmax", "Softmin", "LogSoftmax"])
@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_the_axis_that_torch_takes_by_default(name, shape):
    judge(getattr(nn, name)(), getattr(torch.nn, name)(), sample(*shape))


def test_arguments_are_torchs():
    """Names, order and defaults, of those that torch takes by position."""
    for made in ACTIVATIONS:
        name = made.__name__
        ours = inspect.signature(made).parameters
        theirs = getattr(torch.nn, name)
        own = inspect.signature(theirs).parameters if "__init__" in vars(theirs) else {}
        known = [p for p in own.values() if p.name not in NOT_TAKEN]
        assert list(ours) == [p.name for p in known], name
        for p in known:
            assert ours[p.name].default == p.default, f"{name}({p.name}=)"
    assert {made.__name__ for made in ACTIVATIONS} <= set(nn.__all__)


def test_every_activation_has_a_row():
    rows = {name for name, _ in ROWS} | {"Softmax2d"}
    assert rows == {made.__name__ for made in ACTIVATIONS}


def test_positional_arguments_attributes_and_repr():
    layer: Any = nn.Hardtanh(-2.0, 0.5)
    assert (layer.min_val, layer.max_val, layer.inplace) == (-2.0, 0.5, False)
    assert repr(layer) == "Hardtanh(min_val=-2.0, max_val=0.5)"
    layer.max_val = 1.5
    assert layer(np.array([3.0], np.float32)).value.tolist() == [1.5]
    assert repr(nn.PReLU(3)) == "PReLU(num_parameters=3)" and repr(nn.GLU(0)) == "GLU(dim=0)"


WRONG = {
    "missing": (lambda: nn.Threshold(1.0), InputError, r"Threshold\(threshold, value, inplace=False\): missing.*value"),
    "unknown": (lambda: nn.ELU(beta=2.0), InputError, r"ELU\(alpha=1.0, inplace=False\).*'beta'"),
    "odd": (lambda: nn.GLU()(sample(2, 3)), ShapeError, r"GLU halves axis -1, but got an input of shape \(2, 3\)"),
    "no axis": (lambda: nn.GLU(2)(sample(2, 4)), ShapeError, "the axis must exist"),
    "channels": (lambda: nn.PReLU(3)(sample(2, 4)), ShapeError, r"PReLU has slopes for 3 channels.*\(2, 4\)"),
    "approximate": (lambda: nn.GELU("sigmoid")(X), ShapeError, "approximate must be 'none' or 'tanh'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


def test_prelu_of_a_scalar():
    assert float(nn.PReLU()(-2.0).value) == -0.5
