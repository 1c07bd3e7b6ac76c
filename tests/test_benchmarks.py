"""The training benchmark: its contenders do the same work, and its short form prints tables. No time is asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent


def run(code: str) -> str:
    """What a process of its own prints: the benchmarks are no part of the installed packages."""
    done = subprocess.run([sys.executable, *code.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", ["lenet", "conv_net", "gpt", "lstm"])
def test_first_losses_are_those_of_torch_and_jax(name: str) -> None:
    said = run(f"-m benchmarks.train {name}")
    assert "losses differ by at most" in said
    assert float(said.split("by at most ")[1].split()[0]) <= 1e-4


def test_short_form_prints_its_tables() -> None:
    said = run("-m benchmarks train mlp --quick")
    assert "| MLP 64-64-64-10, batch 32 |" in said
    assert "zkynet fit / lax.scan" in said
