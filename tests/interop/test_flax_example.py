"""examples/flax_bridge.py runs as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flax")
pytest.importorskip("sklearn")


def test_both_nets_learn_on_the_other_side(tmp_path: Path):
    script = Path(__file__).parents[2] / "examples" / "flax_bridge.py"
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    before, learned, taught = (float(x) for x in re.findall(r"accuracy ([\d.]+)%", done.stdout))
    assert before < 40 and learned >= 95 and taught >= 95  # guessing: 10 %
