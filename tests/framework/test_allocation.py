"""Keeping large blocks: once, by what trains, and not where it is switched off."""

from __future__ import annotations

import subprocess
import sys

import pytest

# An array of 40 MB between small ones; each page of 4 kB that is taken from the system anew is one fault.
SCRIPT = """
import resource
import numpy as np
from zkynet.framework import allocation, cg, op
before = allocation.keep_large_blocks.cache_info().currsize
from zkynet import optim
optim.SGD([cg.Parameter("p", 1.0)])

def faults(runs):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(runs):
        op.sum(op.matmul(op.tanh(op.matmul(a, b)), a)).value.block_until_ready()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start) / runs

a, b = np.ones((3200, 8), np.float32), np.ones((8, 3200), np.float32)
faults(20)
print(before, allocation.keep_large_blocks(), faults(20) < 1000)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
@pytest.mark.parametrize(("setting", "kept"), [("1", True), ("0", False)])
def test_an_optimizer_keeps_large_blocks_unless_switched_off(setting: str, kept: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZKYNET_KEEP_MEMORY", setting)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0", str(kept), str(kept)], done.stderr
