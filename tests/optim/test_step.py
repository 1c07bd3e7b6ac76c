"""What a step moves and what it starts from: gradients that reach nothing, updates that are pending, Ctrl-C."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import zkynet
from zkynet import optim
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError

WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "at once": lambda opt, loss: opt.step(loss()),
    "compiled": lambda opt, loss: zkynet.compile(lambda: opt.step(loss()) or opt.params[0])()}


def product(params: Any, moving: tuple[int, ...], detach: Any) -> Any:
    """p q, with a gradient at some of them."""
    p, q = [one if number in moving else detach(one) for number, one in enumerate(params)]
    return p * q


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "options"), [
    ("SGD", {"momentum": 0.9, "weight_decay": 0.5}), ("Adam", {"weight_decay": 0.5})])
def test_what_is_only_detached_in_a_loss_stays_as_torchs(way: str, name: str, options: dict[str, Any]):
    torch = pytest.importorskip("torch")
    ours = [cg.Parameter("p", 2.0), cg.Parameter("q", 3.0)]
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in (2.0, 3.0)]
    opt, judge = getattr(optim, name)(ours, lr=0.1, **options), getattr(torch.optim, name)(theirs, lr=0.1, **options)
    for moving in ((0, 1), (0,), (1,)):
        WAYS[way](opt, functools.partial(product, ours, moving, op.stop_gradient))
        judge.zero_grad()
        product(theirs, moving, torch.Tensor.detach).backward()
        judge.step()
        np.testing.assert_allclose([float(p.value) for p in ours], [p.item() for p in theirs], rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", [
    lambda p: op.cast(op.greater(p, 0.0), "float32"), lambda p: op.argmax(p * np.ones(3, np.float32)),
    lambda p: 2.0 * op.stop_gradient(op.square(p))], ids=["a comparison", "an integer", "a detached one"])
def test_a_loss_without_a_gradient_is_refused(way: str, loss: Any):
    p = cg.Parameter("p", 1.0)
    opt = optim.SGD([p], lr=0.1, weight_decay=0.5)
    with pytest.raises(GraphError, match="depends on none of the 1 .* or through no operation that has a gradient"):
        WAYS[way](opt, functools.partial(loss, p))
    assert float(p.value) == 1.0 and opt.state_dict()["step"] == 0


def test_a_detached_target_may_be_from_before_a_step():
    p = cg.Parameter("p", 4.0)
    opt = optim.SGD([p], lr=0.25)
    target = op.stop_gradient(p * 1.0)
    opt.step(op.square(p))  # to 2
    opt.step(op.square(p - target))  # its gradient is -4
    assert float(p.value) == 3.0


def halve(p: cg.Parameter, opt: optim.Optimizer) -> None:
    p.value = p * 0.5


def descend(p: cg.Parameter, opt: optim.Optimizer) -> None:
    opt.apply({p: 4.0})


@pytest.mark.parametrize(("update", "expected"), [(halve, 0.0), (descend, 1.0)])
def test_a_loss_written_before_a_pending_update_moves_what_that_gives(update: Any, expected: float):
    p = cg.Parameter("p", 4.0)
    opt = optim.SGD([p], lr=0.25)
    loss = op.square(p)  # its gradient is 8
    update(p, opt)  # to 2, and to 3
    opt.step(loss)
    assert float(p.value) == expected and float(loss.value) == 16.0


def test_optimizers_whose_states_have_other_shapes_share_no_program():
    """The second parameter is no part of the loss, but its state lies beside that of the first."""
    zkynet.clear_compile_cache()
    with count_compilations() as compiled:
        for size in (5, 7, 5):
            w, c = cg.Parameter("w", np.ones(3, np.float32)), cg.Parameter("c", np.ones(size, np.float32))
            opt = optim.Adam([w, c])
            opt.step(op.sum(op.square(w)))
            state = opt.state_dict()
            np.testing.assert_allclose(state["groups.0.mu.0"], np.full(3, 0.2), rtol=1e-6)
            np.testing.assert_array_equal(state["groups.0.mu.1"], np.zeros(size))
        assert compiled() == 2


def interrupt_at(number: int) -> Any:
    """A trace function that raises KeyboardInterrupt at this instruction of the step, where a Ctrl-C might."""
    instructions = itertools.count(1)

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_globals.get("__name__") not in ("zkynet.optim.step", "zkynet.framework.xla"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(instructions) == number:
            raise KeyboardInterrupt
        return trace

    return trace


def test_after_ctrl_c_at_any_instruction_there_is_a_step_or_none():
    p = cg.Parameter("p", 0.0)
    opt = optim.SGD([p], lr=1.0)
    opt.step(p * 1.0)
    tracing, number, interrupted = sys.gettrace(), 0, True
    while interrupted:
        number, interrupted = number + 1, False
        sys.settrace(interrupt_at(number))
        try:
            opt.step(p * 1.0)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(tracing)
        assert float(p.value) == -opt.state_dict()["step"]
    assert number > 100
