"""What programs are compiled for, and the options that go to XLA with them."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, repeat, starmap
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

# By default jaxlib 0.10 gives single convolutions on the CPU to its library YNN, which runs each on one thread. Without
# that one they run on all cores (2 cores, batch 64, 16 x 16, 32 to 64 channels: forward 7.1 -> 4.0 ms, weight gradient
# 12.4 -> 6.6 ms). What is listed stays as it is by default.
_OPTION = "xla_cpu_experimental_ynn_fusion_type"
_OPTIONS: dict[str, str | bool] = {_OPTION: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}


def on_cpu() -> bool:
    """Whether programs are compiled for the CPU now (kernels are chosen by that)."""
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    platform = getattr(device, "platform", device) or jax.default_backend()
    return platform == "cpu"


def jit(function: Callable[..., Any], **arguments: Any) -> Any:
    """`jax.jit` with `compiler_options`. While JAX traces another program, the function becomes part of that.

    Returns:
        the function, compiled when it is called; `lower(*given)` as of `jax.jit`.
    """
    options = compiler_options() if on_cpu() else None
    program = jax.jit(function, compiler_options=options, **arguments)
    if options is None:
        return program

    @functools.wraps(function)
    def run(*given: Any) -> Any:
        try:
            return program(*given)
        except ValueError:  # JAX takes options for whole programs only
            if not any(isinstance(value, Tracer) for value in (jnp.zeros(()), *given)):
                raise
            return function(*given)

    vars(run).update(lower=program.lower, program=program)
    return run


def run_into(targets: Sequence[Any], run: Callable[..., Any], given: Sequence[Any]) -> None:
    """Run what `jit` returned; its outputs become the `_value`s of the targets.

    Python raises KeyboardInterrupt between its own instructions, and there are none between running and storing. So a
    Ctrl-C finds the old values or the new ones, also where the program writes over the old.
    """
    try:
        outputs = chain.from_iterable(starmap(getattr(run, "program", run), [given]))
        deque(map(setattr, targets, repeat("_value"), outputs), maxlen=0)
    except ValueError:  # of options inside of another program, which `run` knows
        for target, value in zip(targets, run(*given), strict=True):
            target._value = value


@functools.cache
def compiler_options() -> dict[str, str | bool] | None:
    """What programs for the CPU are compiled with; None where XLA_FLAGS say it, or where XLA has no such option.

    `ZKYNET_COMPILER_OPTIONS=0` in the environment leaves everything to XLA.
    """
    if os.environ.get("ZKYNET_COMPILER_OPTIONS") == "0" or _OPTION in os.environ.get("XLA_FLAGS", ""):
        return None
    try:
        jax.jit(lambda: 0, compiler_options=_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:  # another version's XLA
        return None
    return _OPTIONS
