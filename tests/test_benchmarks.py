"""The training benchmark: its contenders do the same work, and its short form prints tables. No time is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent


def run(code: str, environment: dict[str, str]) -> str:
    """What a process of its own prints: the benchmarks are no part of the installed packages."""
    done = subprocess.run([sys.executable, *code.split()], cwd=ROOT, capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_first_losses_are_those_of_torch_and_jax(quickly: dict[str, str]) -> None:
    said = run("-m benchmarks.train conv_net gpt lstm", quickly)
    differences = re.findall(r"losses differ by at most (\S+)", said)
    assert len(differences) == 3 and all(float(difference) <= 1e-4 for difference in differences)


def test_short_form_prints_its_tables(quickly: dict[str, str]) -> None:
    said = run("-m benchmarks train mlp --quick", quickly)
    assert "| MLP 64-64-64-10, batch 32 |" in said
    assert "zkynet fit / lax.scan" in said


def test_resnet_has_torchs_loss_and_prints_its_table(quickly: dict[str, str]) -> None:
    assert "| ResNet-8: one step, batch 4 |" in run("-m benchmarks resnet --quick", quickly)
