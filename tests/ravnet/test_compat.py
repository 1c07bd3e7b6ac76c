"""Scripts written for Raven's libraries, run by `python -m ravnet.compat`: they learn as much as others do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import compat_judges as judges
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
TWO_POINTS = 0.02 + 1e-9


class Runner:
    """Runs scripts in a folder of their own, with a data folder of their own."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self.environment = {**environment, "RAVNET_HOME": str(folder / "home"), "TOKEN": "token",
                            "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        self.environment.pop("RAVENVERSE_URL", None)

    def start(self, script: str | Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ravnet.compat", str(script), *arguments]
        return subprocess.run(command, cwd=self.folder, env={**self.environment, **more}, text=True,
                              capture_output=True, timeout=600)

    def __call__(self, script: str) -> str:
        """What one of our scripts prints; it must succeed."""
        done = self.start(SCRIPTS / f"{script}.py")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def run(tmp_path: Path, quickly: dict[str, str]) -> Runner:
    return Runner(tmp_path, quickly)


def figure(printed: str, name: str = "Accuracy") -> float:
    found = re.search(rf"^{name}: (\S+)$", printed, re.MULTILINE)
    assert found, printed
    return float(found.group(1))


ROWS: dict[str, tuple[str, Callable[[], float]]] = {
    "iris_sequential": ("Accuracy", judges.net_on_iris),
    "iris_functional": ("Accuracy", judges.net_on_iris),
    "knn": ("Accuracy", judges.neighbours_on_iris),
    "linear_regression": ("R2", judges.regression_on_diabetes),
    "sorter": ("Accuracy", lambda: 1.0),  # numpy.sort is always right
}
TORCH_ROWS: dict[str, tuple[str, Callable[[], float]]] = {
    "digits_cnn": ("Accuracy", judges.convolution_on_digits),
}


@pytest.mark.parametrize("script", ROWS)
def test_a_script_reaches_what_scikit_learn_reaches(run: Runner, script: str):
    name, judge = ROWS[script]
    assert figure(run(script), name) >= judge() - TWO_POINTS


@pytest.mark.parametrize("script", TORCH_ROWS)
def test_a_script_reaches_what_torch_reaches(run: Runner, script: str):
    pytest.importorskip("torch")
    name, judge = TORCH_ROWS[script]
    assert figure(run(script), name) >= judge() - TWO_POINTS


def test_v1_in_three_processes_compile_execute_and_onnx(run: Runner):
    pytest.importorskip("onnxruntime")
    compiled = run("iris_v1_compile")
    assert "Dense_3" in compiled and "participants that are of use" in compiled
    executed = run("iris_v1_execute")
    assert re.search(r"^\d+ +ann +distributed +neural_network +activated", executed, re.MULTILINE), executed
    losses = [float(loss) for loss in re.findall(r"^epoch \d+ batch \d loss (\S+)$", executed, re.MULTILINE)]
    assert len(losses) == 8 and sum(losses[4:]) < sum(losses[:4]) / 2
    accuracy = figure(executed)
    assert accuracy >= judges.net_on_iris() - TWO_POINTS
    exported = run("iris_v1_onnx")
    assert figure(exported, "Difference") < 1e-5
    assert figure(exported) == accuracy


def test_the_learners_predict_what_scikit_learn_predicts(run: Runner):
    run("learners")
    with np.load(run.folder / "learners.npz") as found:
        for name in judges.LEARNERS:
            np.testing.assert_allclose(found[name], judges.learned(name), rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_torchscript_model_is_trained_and_comes_back_as_a_torch_module(run: Runner):
    pytest.importorskip("torch")
    printed = run("torchscript_cnn")
    assert figure(printed) >= judges.script_on_digits() - TWO_POINTS
    assert figure(printed, "Difference") < 1e-5
    assert figure(printed, "Accuracy of loaded model") == figure(printed)


def test_an_onnx_file_of_pytorch_is_trained_further(run: Runner):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    printed = run("onnx_finetune")
    assert figure(printed, "Accuracy before") < 0.7
    assert figure(printed) >= judges.net_on_digits() - TWO_POINTS
