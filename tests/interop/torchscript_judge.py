"""A TorchScript model run by PyTorch and, loaded, by zkynet: the same outputs, gradients and states.

A test module that imports this is skipped where PyTorch is absent.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Optional

import jax
import numpy as np
import pytest

from zkynet import vjp
from zkynet.interop import torchscript

torch = pytest.importorskip("torch")
F = torch.nn.functional


def scripted(module: Any) -> Any:
    """torch.jit.script, which warns that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


def traced(module: Any, *inputs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module, tuple(map(torch.tensor, inputs)), check_trace=False)


def defined(body: str, names: Sequence[str] = ("x",), **attributes: Any) -> Any:
    """A ScriptModule of the lines of its forward; `names` are its arguments, with types or without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = type("Defined", (torch.jit.ScriptModule,), {})()
        for name, value in attributes.items():
            module.register_buffer(name, torch.tensor(value))
        lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
        module._c._define(module._concrete_type, f"def forward(self, {', '.join(names)}):\n{lines}",
                          {"torch": torch, "F": F, "Optional": Optional}.get)
    return module


def sample(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-1.0, 1.0, shape).astype(np.float32)


def flat(value: Any) -> list[np.ndarray]:
    """All arrays of an output, in order."""
    return [np.asarray(leaf.detach().numpy() if torch.is_tensor(leaf) else leaf)
            for leaf in jax.tree.leaves(value, is_leaf=torch.is_tensor)]


def assert_close(ours: Any, theirs: Any, what: str = "output", tolerance: float = 1e-5) -> None:
    a, b = np.asarray(ours), theirs.detach().numpy() if torch.is_tensor(theirs) else np.asarray(theirs)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, PyTorch has {b.shape}"
    assert a.dtype.kind == b.dtype.kind, f"{what}: dtype {a.dtype}, PyTorch has {b.dtype}"
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=what)


def judge(theirs: Any, *inputs: Any, gradients: bool = True, tolerance: float = 1e-5) -> Any:
    """Load a ScriptModule; compare the outputs, the gradients of all parameters and floating inputs under one random
    cotangent, and the buffers afterwards. Returns our module."""
    ours = torchscript.load(theirs, seed=0)
    assert ours.training == theirs.training
    tensors = [torch.tensor(x) if isinstance(x, np.ndarray) else x for x in inputs]
    for tensor in tensors:
        if torch.is_tensor(tensor) and tensor.is_floating_point():
            tensor.requires_grad_()
    outputs = theirs(*tensors)
    if not gradients:
        for i, (a, b) in enumerate(zip(flat(ours(*inputs).value), flat(outputs), strict=True)):
            assert_close(a, b, f"output {i}", tolerance)
        return ours
    cotangent = sample(*outputs.shape, seed=1)
    weights = dict(theirs.named_parameters())
    numbers = [i for i, t in enumerate(tensors) if torch.is_tensor(t) and t.requires_grad]
    wanted = [*(tensors[i] for i in numbers), *weights.values()]
    found = torch.autograd.grad(outputs, wanted, torch.tensor(cotangent), allow_unused=True)
    own = dict(ours.named_parameters())
    assert list(own) == list(weights)
    value, pulled = vjp(ours, tuple(numbers), wrt=list(own.values()))(*inputs, cotangent=cotangent)
    assert_close(value, outputs, "output", tolerance)
    by_input, by_weight = pulled if numbers else ((), pulled)
    for name, a, b, t in zip([*numbers, *own], [*by_input, *by_weight], found, wanted, strict=True):
        assert_close(a, torch.zeros_like(t) if b is None else b, f"gradient of {name}", tolerance)
    states = dict(ours.named_states())
    for name, buffer in theirs.named_buffers():
        assert_close(states[name].value, buffer, f"buffer {name} afterwards", tolerance)
    return ours
