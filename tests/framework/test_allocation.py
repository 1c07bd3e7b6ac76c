"""Keeping large blocks: once, by what trains, and not where it is switched off."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
from zkynet.framework import allocation, cg
before = allocation.keep_large_blocks.cache_info().currsize
from zkynet import optim
optim.SGD([cg.Parameter("p", 1.0)])
print(before, allocation.keep_large_blocks())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
@pytest.mark.parametrize(("setting", "kept"), [("1", True), ("0", False)])
def test_an_optimizer_keeps_large_blocks_unless_switched_off(setting: str, kept: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZKYNET_KEEP_MEMORY", setting)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0", str(kept)], done.stderr
