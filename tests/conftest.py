"""What holds around every test."""

from __future__ import annotations

import os

import jax
import pytest

from zkynet.framework import config
from zkynet.framework.session import current_session

# Tests compile thousands of small programs and run each once. Without LLVM's optimizations they take four fifths of
# the time, and without the fusion emitters (whose passes over MLIR run at any level) less than half of that. XLA reads
# this when it starts; what tests run as processes of their own is optimized, unless they ask for `quickly`.
QUICKLY = ("--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
           "--xla_cpu_use_fusion_emitters=false")

with pytest.MonkeyPatch.context() as _environment:
    if "XLA_FLAGS" not in os.environ:
        _environment.setenv("XLA_FLAGS", QUICKLY)
    jax.devices()


@pytest.fixture(scope="session")
def quickly() -> dict[str, str]:
    """The environment of a process that compiles longer than it computes."""
    return {"XLA_FLAGS": QUICKLY, **os.environ}


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Whatever a test does, also by raising: no call stays open, precision and device are the defaults again."""
    yield
    assert current_session.get() is None
    assert config.compute_dtype() is None
    assert not jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    assert jax.config.jax_default_device is None  # pyright: ignore[reportAttributeAccessIssue]
