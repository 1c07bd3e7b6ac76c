"""What is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("flax")
import flax.linen as fl
import jax
import numpy as np
from flax import nnx
from flax_nets import INPUTS, LINEN, linen_variables, nnx_net

from zkynet import nn
from zkynet.framework.errors import InputError, ShapeError
from zkynet.interop.flax import from_linen, from_nnx

X = np.ones((2, 5), np.float32)


class NoCall(nnx.Module):
    pass


class NoOutput(nnx.Module):
    def __call__(self, x):
        return None


class Noise(fl.Module):
    @fl.compact
    def __call__(self, x):
        return x + jax.random.normal(self.make_rng("noise"), x.shape)


def without(name: str, collection: str) -> dict:
    return {key: value for key, value in linen_variables(name).items() if key != collection}


NOT_VARIABLES: Any = [1]


def one_less(name: str) -> dict:
    variables = jax.tree.map(lambda x: x, linen_variables(name))
    del variables["params"]["Dense_0"]["kernel"]
    return variables


@pytest.mark.parametrize("build, kind, says", [
    (lambda: from_nnx(nn.Linear(2, 3)), InputError, "needs an nnx.Module, but got Linear"),
    (lambda: from_nnx(nnx.Linear), InputError, "needs an nnx.Module, but got the class Linear"),
    (lambda: from_nnx(LINEN["mlp"]()), InputError, r"is a linen module: use from_linen\(module, variables\)"),
    (lambda: from_linen(nnx_net("mlp"), {}), InputError, r"is an nnx module: use from_nnx\(module\)"),
    (lambda: from_linen("a net", {}), InputError, "needs a linen.Module, but got str 'a net'"),
    (lambda: from_linen(LINEN["mlp"](), NOT_VARIABLES), InputError, r"init\(\) returned, but got list"),
    (lambda: from_linen(LINEN["mlp"](), None), InputError, "no variables yet"),
    (lambda: from_nnx(NoCall()), InputError, "NoCall has no __call__"),
    (lambda: from_nnx(NoOutput(), X), InputError, "NoOutput returned no array"),
    (lambda: from_nnx(nnx_net("mlp"), X, X), InputError, "takes 1 inputs .x., but 2 example inputs came"),
    (lambda: from_nnx(nnx_net("mlp"), np.ones((2, 4), np.float32)), ShapeError,
     r"NnxMlp does not take inputs float32\[2,4\]"),
    (lambda: from_nnx(nnx_net("mlp"), X)(np.ones((2, 4), np.float32)), ShapeError, r"made with float32\[2,5\]"),
    (lambda: from_nnx(nnx_net("mlp"), X)(), InputError, "NnxMlp is missing its input 'x'"),
    (lambda: from_nnx(nnx_net("mlp"))("text"), InputError, "text"),
    (lambda: from_linen(LINEN["conv"](), without("conv", "batch_stats"), INPUTS["conv"]), InputError,
     "misses the variables batch_stats.BatchNorm_0.mean, batch_stats.BatchNorm_0.var; it has params"),
    (lambda: from_linen(LINEN["mlp"](), one_less("mlp"), INPUTS["mlp"]), InputError,
     "misses the variables params.Dense_0.kernel"),
    (lambda: from_linen(LINEN["mlp"](), one_less("mlp"))(INPUTS["mlp"]), InputError, "misses some of its variables"),
    (lambda: from_linen(LINEN["mlp"](), linen_variables("mlp"), np.ones((2, 4), np.float32)), ShapeError,
     r"params.Dense_1.kernel is \(5, 16\), expected \(4, 16\)"),
    (lambda: from_linen(Noise(), {})(X), InputError, r'it was not given.*from_linen\(..., rngs='),
])
def test_refused(build, kind: type, says: str):
    with pytest.raises(kind, match=says):
        build()


def test_flax_is_needed_and_named(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(InputError, match=r"pip install 'zkynet\[flax\]'"):
        from_nnx(None)
