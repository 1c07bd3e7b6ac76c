"""A layer and its counterpart of PyTorch: the same weights, and then the same outputs, gradients and states.

A test module that imports this is skipped where PyTorch is absent.

    judge(nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3), sample(2, 3, 8, 8))
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

from zkynet import vjp
from zkynet.framework import cg
from zkynet.framework.random_stream import RandomStream

torch = pytest.importorskip("torch")


def sample(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    """A float32 array that is the same in every run."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def judge(ours: cg.Module, theirs: Any, *inputs: Any, rtol: float = 1e-5, atol: float = 1e-7,
          **call_kwargs: Any) -> Any:
    """Compare a layer with its torch counterpart in one forward and backward pass; returns our outputs.

    Our layer gets the mode (training or not) and, by name, the parameters and buffers of theirs. Then are compared: the
    outputs, the gradients of all floating inputs and of all parameters under one random cotangent, and afterwards the
    states (buffers) which the pass may have updated.

    Args:
        inputs: NumPy arrays, None, or tuples and dicts of those; integers and booleans have no gradient.
        rtol: the largest allowed difference, relative to the largest element of what is compared.
        atol: the same, absolute: for what is zero but for rounding.
        call_kwargs: given to both calls, arrays among them as tensors to theirs; they have no gradient.
    """
    ours.train(theirs.training)
    if any(module.deferred for module in ours.modules()):
        ours(*inputs, **call_kwargs)
    load(ours, theirs.state_dict())

    tensors = jax.tree.map(_tensor, inputs)
    leaves = [leaf for leaf in jax.tree.leaves(tensors) if leaf.requires_grad]
    weights = dict(theirs.named_parameters())
    outputs = jax.tree.map(lambda t: t, theirs(*tensors, **jax.tree.map(_fixed, call_kwargs)), is_leaf=torch.is_tensor)
    flat = jax.tree.leaves(outputs)
    cotangents = [_cotangent(t, seed) for seed, t in enumerate(flat)]
    moving = [(t, torch.tensor(c)) for t, c in zip(flat, cotangents, strict=True) if t.requires_grad]
    wanted = [*leaves, *weights.values()]
    gradients = torch.autograd.grad([t for t, _ in moving], wanted, [c for _, c in moving],
                                    allow_unused=True) if moving and wanted else []

    numbers = tuple(i for i, given in enumerate(inputs) if any(map(_floating, jax.tree.leaves(given))))
    own = dict(ours.named_parameters())
    pull = vjp(ours, numbers, wrt=list(own.values()))
    value, pulled = pull(*inputs, **call_kwargs,
                         cotangent=jax.tree.unflatten(jax.tree.structure(outputs), cotangents))
    by_input, by_parameter = pulled if numbers else ((), pulled)

    assert jax.tree.structure(value) == jax.tree.structure(outputs), "the outputs have another form than torch's"
    for index, (a, b) in enumerate(zip(jax.tree.leaves(value), flat, strict=True)):
        assert_close(a, b, f"output {index}", rtol, atol)
    given = [leaf for number in numbers for leaf in jax.tree.leaves(inputs[number])]
    found = [g for g, leaf in zip(jax.tree.leaves(by_input), given, strict=True) if _floating(leaf)]
    for index, (a, b, x) in enumerate(zip(found, gradients[:len(leaves)], leaves, strict=True)):
        assert_close(a, torch.zeros_like(x) if b is None else b, f"gradient of floating input {index}", rtol, atol)
    named = dict(zip(own, by_parameter, strict=True))
    for (name, weight), b in zip(weights.items(), gradients[len(leaves):], strict=True):
        assert_close(named[name], torch.zeros_like(weight) if b is None else b, f"gradient of {name}", rtol, atol)
    states = dict(ours.named_states())
    for name, buffer in theirs.named_buffers():
        if name in states:
            assert_close(states[name].value, buffer, f"state {name} afterwards", rtol, atol)
    return value


def load(ours: cg.Module, state: Mapping[str, Any]) -> None:
    """Load a torch state_dict by name; our side may hold random streams besides, and nothing else."""
    held = dict(itertools.chain(ours.named_parameters(), ours.named_states()))
    expected = {name for name, what in held.items() if not isinstance(what, RandomStream)}
    assert expected == set(state), f"names differ from torch's: {sorted(expected)} and {sorted(state)}"
    ours.load_state_dict({name: tensor.detach().numpy() for name, tensor in state.items()}, strict=False)


def assert_close(ours: Any, theirs: Any, what: str, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """Equal shape and kind of dtype, the same infinities, and no difference beyond rtol of the largest element."""
    a, b = np.asarray(ours), theirs.detach().numpy() if torch.is_tensor(theirs) else np.asarray(theirs)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, torch has {b.shape}"
    assert a.dtype.kind == b.dtype.kind, f"{what}: dtype {a.dtype}, torch has {b.dtype}"
    if b.dtype.kind != "f":
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    assert a.dtype == b.dtype, f"{what}: dtype {a.dtype}, torch has {b.dtype}"
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite], err_msg=what)
    largest = np.abs(b[finite]).max(initial=0.0)
    worst = np.abs(a[finite] - b[finite]).max(initial=0.0)
    assert worst <= rtol * largest + atol, (
        f"{what}: differs from torch by {worst:.3g}, with elements up to {largest:.3g}:\n{a}\nexpected\n{b}")


def _floating(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f"


def _tensor(x: Any) -> Any:
    made = torch.tensor(np.asarray(x))
    return made.requires_grad_() if made.is_floating_point() else made


def _fixed(x: Any) -> Any:
    return torch.tensor(x) if isinstance(x, (np.ndarray, jax.Array)) else x


def _cotangent(tensor: Any, seed: int) -> np.ndarray:
    return sample(*tensor.shape, seed=100 + seed) if tensor.is_floating_point() else np.zeros(tensor.shape, np.float32)
