"""The arguments of layers and losses, of their making and of their calls, against those of torch.nn's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from zkynet import nn

torch = pytest.importorskip("torch")

# PyTorch's of every layer that are not taken: where things are computed, and how precisely, is said for all at once
# (zkynet.device, zkynet.precision); size_average and reduce are deprecated.
NOWHERE = {"device", "dtype", "size_average", "reduce"}
# By layers: what is missing (-), added (+) or has another default; of calls in parentheses. Whatever is not here is the
# same.
DIFFERENCES = {
    "Linear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d": "+weight_init +bias_init",
    "BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d": "num_features",  # None waits
    "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout": "+seed",
    "Embedding": "+weight_init",
    "Hardtanh": "-min_value -max_value",  # deprecated
    "AvgPool1d": "+divisor_override",
    "RNN": "+nonlinearity -mode -proj_size (+lengths)",
    "LSTM": "-mode (+lengths)",
    "GRU": "-mode -proj_size (+lengths)",
    "MultiheadAttention": "+rotary (key) (value) (+cache)",  # None of them: of the query to itself
    "TransformerEncoderLayer TransformerDecoderLayer": "+rotary activation (+cache)",  # by name, not the function
    "TransformerEncoder TransformerDecoder": "(+cache)",
    "ModuleList ModuleDict": "modules",  # () instead of None
}
EXPECTED = {name: set(what.split()) for names, what in DIFFERENCES.items() for name in names.split()}
BOTH = sorted(name for name in nn.__all__ if inspect.isclass(getattr(nn, name)) and hasattr(torch.nn, name))


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()
            if name not in {"self", *NOWHERE} and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


@pytest.mark.parametrize("name", BOTH)
def test_arguments_are_those_of_torch(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    made = torch.nn.RNNBase if issubclass(theirs, torch.nn.RNNBase) else theirs
    found = set()
    for mine, other, form in ((ours, made, "{}"), (ours.call, theirs.forward, "({})")):
        a, b = arguments(mine), arguments(other)
        both = [key for key in a if key in b]
        assert both == [key for key in b if key in a], "another order"
        found |= {form.format(f"+{key}") for key in a.keys() - b} | {form.format(f"-{key}") for key in b.keys() - a}
        found |= {form.format(key) for key in both if a[key] != b[key]}
    assert found == EXPECTED.get(name, set())
