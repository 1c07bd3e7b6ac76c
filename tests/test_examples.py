"""Every example runs as a user runs it, from another folder, and does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_digits_reaches_97_percent_on_held_out_digits_and_leaves_its_results(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    said = run("digits.py", tmp_path)
    accuracy = float(said.split("test accuracy ")[-1].split("%")[0])
    assert accuracy >= 97.0
    out = tmp_path / "runs" / "digits"
    assert "<svg" in (out / "graph.svg").read_text()
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    trained = np.load(out / "parameters.npz")
    assert {name: trained[name].shape for name in trained.files}["dense.weight"] == (10, 128)


def test_composite_models_share_what_they_say(tmp_path: Path) -> None:
    said = run("composite_models.py", tmp_path)
    pictures = sorted(p.name for p in (tmp_path / "runs" / "composite_models").glob("*.svg"))
    assert len(pictures) == 4
    # f(3) + f(4) with w = 1 is 36 + 80; a shared weight gathers 9 + 16.
    assert "shared weight, two inputs: value 116" in said and "25.0" in said


def test_custom_operator(tmp_path: Path) -> None:
    said = run("custom_operator.py", tmp_path)
    assert "clipped gradient: [0.1 0.1 0.1]" in said
    assert "wrong" not in said


def test_higher_order(tmp_path: Path) -> None:
    said = run("higher_order.py", tmp_path)
    assert "third derivative of x^4 at 2: 48.0" in said
    assert float(said.split("|x - 1| = ")[1].split()[0]) < 1e-6


def test_pallas_operator(tmp_path: Path) -> None:
    said = run("pallas_operator.py", tmp_path)
    assert float(said.split("op.silu: ")[1]) < 1e-6


def test_the_short_benchmark_prints_its_table(tmp_path: Path) -> None:
    root = EXAMPLES.parent
    done = subprocess.run([sys.executable, "-m", "benchmarks", "core", "--quick"], cwd=root, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| (x+w)x^2: call, back, both gradients |" in done.stdout
