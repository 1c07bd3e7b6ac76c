"""The command `ravnet inspect`, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from graphs import GRAPHS

from ravnet.wire.codec import encode


def inspect(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ravnet", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_summary_and_a_picture(tmp_path: Path):
    file, picture = tmp_path / "training.graph", tmp_path / "step.svg"
    file.write_bytes(encode(GRAPHS["training of an MLP"]()))
    done = inspect(file, "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert "1 programs, 3 calls" in done.stdout and "called 3 times" in done.stdout
    assert "persisted loss_2: float32[]" in done.stdout
    drawn = picture.read_text()
    assert "optimizer_step" in drawn and "linear" in drawn and "weight" in drawn


def test_what_a_file_says_is_no_command_to_the_terminal(tmp_path: Path):
    graph, file = GRAPHS["a loop"](), tmp_path / "loop.graph"
    graph.about["name"] = "\x1b[2Jcleared\nline"
    graph.names = {"\x1b[31mred": graph.calls[0].first}
    file.write_bytes(encode(graph))
    done = inspect(file)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "[2Jcleared line" in done.stdout and "[31mred: float32" in done.stdout


def test_what_is_no_graph_is_said_without_a_traceback(tmp_path: Path):
    file = tmp_path / "no.graph"
    file.write_bytes(b"no graph at all")
    for path in (file, tmp_path / "missing.graph"):
        done = inspect(path)
        assert done.returncode == 1 and str(path) in done.stderr and "Traceback" not in done.stderr


def test_a_program_that_is_not_there(tmp_path: Path):
    file = tmp_path / "loop.graph"
    file.write_bytes(encode(GRAPHS["a loop"]()))
    done = inspect(file, "--program", 5, "--plot", tmp_path / "x.svg")
    assert done.returncode == 1 and "no program 5" in done.stderr
