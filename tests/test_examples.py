"""Every example runs as a user runs it, from another folder, and does what it says."""

from __future__ import annotations

import os
import re
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


# What the short form of each prints last, and what the figure in it must reach; the comment has its baseline.
QUICK = [
    ("mnist.py", ("--digits", "--quick"), r"test accuracy ([\d.]+)%", 90.0, None),  # guessing: 10 %
    ("autoencoder.py", ("--quick",), r"mean squared error ([\d.]+)", None, 0.02),  # 8 principal components: 0.024
    ("autoencoder.py", ("--quick", "--vae"), r"mean squared error ([\d.]+)", None, 0.07),  # always the mean: 0.1
    ("char_rnn.py", ("--quick",), r"held-out loss ([\d.]+)", None, 2.2),  # bigrams: 2.45
    ("gpt.py", ("--quick",), r"held-out loss ([\d.]+)", None, 2.35),  # bigrams: 2.45
    ("sort_digits.py", ("--quick",), r"([\d.]+)% of \d+ new rows sorted exactly", 90.0, None),  # in order before: 0.6 %
    ("sequence.py", ("--quick",), r"mean squared error ([\d.]+)", None, 0.03),  # always the mean: 0.16
    ("xor.py", (), r"\nloss ([\d.]+)", None, 0.05),  # always 1/2: 0.69
]


@pytest.mark.parametrize(("name", "options", "pattern", "least", "most"), QUICK,
                         ids=[" ".join([row[0], *row[1]]) for row in QUICK])
def test_short_form_learns(name: str, options: tuple, pattern: str, least: float | None, most: float | None,
                           tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.delenv("ZKYNET_MNIST", raising=False)
    said = run(name, tmp_path, *options)
    figure = float(re.findall(pattern, said)[-1])
    assert figure >= least if least is not None else figure <= (most or 0.0), said[-500:]
    out = tmp_path / "runs" / Path(name).stem
    if name != "xor.py":
        assert (out / "weights.safetensors").stat().st_size > 1000
    for picture in out.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "short"), [("char_rnn.py", "--epochs"), ("gpt.py", "--steps")])
def test_any_text_file_will_do(name: str, short: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("abra cadabra, abracadabra! " * 200, encoding="utf-8")
    run(name, tmp_path, "--quick", "--text", "text", short, "1")
    assert set((tmp_path / "runs" / Path(name).stem / "sample.txt").read_text()) <= set("abrcd, !\n")


def test_tables_find_the_exact_line_and_tell_tumours_apart(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    said = run("tables.py", tmp_path)
    error, best = (float(x) for x in re.findall(r"(?:error|squares) ([\d.]+)", said))
    assert best <= error + 1e-6 <= best * 1.0001
    assert float(said.split("accuracy ")[1].split("%")[0]) >= 95.0  # always the more frequent class: 62.7 %


def test_cifar10_learns_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Ten colors with noise, in the form of the binary batches."""
    rng = np.random.default_rng(0)
    colors = rng.integers(40, 216, (10, 3, 1))
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        labels = np.arange(100) % 10
        pixels = np.clip(colors[labels] + rng.normal(0, 40, (100, 3, 1024)), 0, 255).reshape(100, -1)
        records = np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8)
        (tmp_path / name).write_bytes(records.tobytes())
    options = ("--data", str(tmp_path), "--depth", "8", "--width", "4", "--batch", "25", "--quick")
    run("cifar10.py", tmp_path, *options, "--epochs", "2")
    said = run("cifar10.py", tmp_path, *options, "--epochs", "4", "--resume")
    assert "epoch 3/4" in said and "epoch 2/4" not in said
    assert float(said.split("test accuracy ")[1].split("%")[0]) >= 60.0  # guessing: 10 %


@pytest.mark.skipif("ZKYNET_MNIST" not in os.environ, reason="ZKYNET_MNIST names no folder with MNIST")
def test_lenet_reaches_99_percent_on_mnist(tmp_path: Path) -> None:
    assert float(run("mnist.py", tmp_path).split("test accuracy ")[1].split("%")[0]) >= 99.0


@pytest.mark.parametrize(("name", "message"), [("mnist.py", "bash download_datasets.sh mnist"),
                                               ("cifar10.py", "no folder with CIFAR-10: give --data DIR")])
def test_without_data_an_example_says_where_they_are(name: str, message: str, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZKYNET_MNIST", raising=False)
    monkeypatch.delenv("ZKYNET_CIFAR10", raising=False)
    done = subprocess.run([sys.executable, str(EXAMPLES / name)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr


def test_the_sonnets_are_whole() -> None:
    """54 sonnets of 14 lines, in letters that any keyboard has."""
    text = (EXAMPLES / "data" / "sonnets.txt").read_text(encoding="ascii")
    sonnets = text.strip().split("\n\n")
    assert len(sonnets) == 54 and {len(sonnet.splitlines()) for sonnet in sonnets} == {14}


def test_the_short_benchmark_prints_its_table(tmp_path: Path) -> None:
    root = EXAMPLES.parent
    done = subprocess.run([sys.executable, "-m", "benchmarks", "core", "--quick"], cwd=root, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| (x+w)x^2: call, back, both gradients |" in done.stdout
