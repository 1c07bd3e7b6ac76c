"""What a run leaves behind: the table, the curves, TensorBoard's files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from small_run import arrays, assert_identical, bound_trainer, fit, make_trainer, play

from zkynet import train


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# The table -------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_epoch(tmp_path: Path):
    path = tmp_path / "logs" / "log.csv"
    trainer = make_trainer(metrics=["accuracy", "confusion_matrix"])
    history = fit(trainer, 2, callbacks=[train.CSVLog(path)])
    rows = table(path)
    assert list(rows[0]) == history.names and [row["epoch"] for row in rows] == ["0", "1"]
    for name in ("loss", "val_accuracy", "lr", "seconds"):
        assert [float(row[name]) for row in rows] == history[name]  # to the last bit
    assert rows[1]["val_confusion_matrix"] == str(history.last["val_confusion_matrix"])


def test_a_value_that_comes_up_later_widens_the_table(tmp_path: Path):
    path = tmp_path / "log.csv"
    play(bound_trainer(), [train.CSVLog(path)], [{"loss": 2.0}, {"loss": 1.0, "val_loss": 1.5}, {"loss": 0.5}])
    assert path.read_text() == "epoch,loss,val_loss\n0,2.0,\n1,1.0,1.5\n2,0.5,\n"


def test_a_resumed_run_goes_on_with_its_table(tmp_path: Path):
    """Killed while it wrote the third line; the checkpoint is that after the first."""
    path = tmp_path / "log.csv"
    trainer = bound_trainer()
    play(trainer, [train.CSVLog(path)], [{"loss": 3.0}])
    with open(path, "a") as file:
        file.write("1,2.0\n2,1.")
    play(trainer, [train.CSVLog(path)], [{"loss": 2.5}])
    assert path.read_text() == "epoch,loss\n0,3.0\n1,2.5\n"


def test_the_table_of_another_run_is_kept(tmp_path: Path):
    path = tmp_path / "log.csv"
    for loss in (1.0, 2.0, 3.0):
        play(bound_trainer(), [train.CSVLog(path)], [{"loss": loss}])
    found = {file.name: file.read_text().split(",")[-1].strip() for file in tmp_path.iterdir()}
    assert found == {"log.1.csv": "1.0", "log.2.csv": "2.0", "log.csv": "3.0"}


def test_a_log_that_comes_later_keeps_the_table_of_another_run(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,0.5\n")
    trainer = bound_trainer()
    play(trainer, [], [{"loss": 1.0}])
    play(trainer, [train.CSVLog(path)], [{"loss": 2.0}])
    assert (tmp_path / "log.1.csv").read_text() == "epoch,loss\n0,0.5\n"
    assert path.read_text() == "epoch,loss\n0,1.0\n1,2.0\n"


# The curves ------------------------------------------------------------------------------------------------


def test_curves_of_training_and_validation(tmp_path: Path):
    image = pytest.importorskip("matplotlib.image")
    path = tmp_path / "pictures" / "curves.png"
    figures = [{"loss": 2.0 / (1 + i), "accuracy": 0.5 + i / 40, "matrix": np.eye(2), "val_loss": 2.2 / (1 + i),
                "val_accuracy": 0.5 + i / 50, "lr": 0.1, "seconds": 1.0} for i in range(12)]
    play(bound_trainer(), [train.Curves(path)], figures)
    pixels = image.imread(path)[:, :, :3]
    blue, orange = (np.abs(pixels - np.array(color) / 255).max(axis=2) < 0.02
                    for color in ((31, 78, 156), (209, 96, 42)))
    half = pixels.shape[1] // 2
    for part in (blue, orange):  # one panel for the loss, one for the accuracy, both lines in each
        assert part[:, :half].sum() > 100 and part[:, half:].sum() > 100


def test_no_epoch_gives_no_picture(tmp_path: Path):
    play(bound_trainer(), [train.Curves(tmp_path / "curves.png")], [])
    assert not list(tmp_path.iterdir())


# TensorBoard -----------------------------------------------------------------------------------------------


def events(folder: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_reads_scalars_histograms_and_the_graph(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    folder = tmp_path / "run"
    trainer = make_trainer(metrics=["accuracy", "confusion_matrix"])
    history = fit(trainer, 2, callbacks=[train.TensorBoard(folder, histograms=1)])
    found = events(folder)
    for name in ("loss", "accuracy"):
        for key, tag in ((name, f"{name}/training"), (f"val_{name}", f"{name}/validation")):
            scalars = found.Scalars(tag)
            assert [s.step for s in scalars] == [1, 2]
            np.testing.assert_allclose([s.value for s in scalars], history[key], rtol=1e-6)
    assert {"run/lr", "run/steps_per_second"} <= set(found.Tags()["scalars"])
    weight = np.asarray(trainer.model.state_dict()["0.weight"])
    histogram = found.Histograms("0/weight")[-1].histogram_value
    assert histogram.num == weight.size and histogram.sum == pytest.approx(float(weight.sum()), abs=1e-5)
    assert histogram.min == pytest.approx(float(weight.min())) and histogram.max == pytest.approx(float(weight.max()))


def test_tensorboard_reads_the_steps_between(tmp_path: Path):
    pytest.importorskip("tensorboardX")

    def board() -> train.TensorBoard:
        return train.TensorBoard(tmp_path, every_steps=2, graph=False)

    trainer = make_trainer(metrics=["accuracy", "confusion_matrix"])
    history = fit(trainer, 2, callbacks=[board()])  # of three steps each
    found = events(tmp_path / "steps")
    assert found.Tags()["scalars"] == ["loss/steps", "accuracy/steps"]
    assert [s.step for s in found.Scalars("loss/steps")] == [2, 4, 6]
    for name in ("loss", "accuracy"):  # the sixth is the end of the second epoch
        assert found.Scalars(f"{name}/steps")[-1].value == pytest.approx(history[name][1], rel=1e-6)
        assert [s.step for s in events(tmp_path).Scalars(f"{name}/training")] == [1, 2]
    fit(trainer, 1, callbacks=[board()])
    assert [s.step for s in events(tmp_path / "steps").Scalars("loss/steps")] == [2, 4, 6, 8]


def test_the_picture_of_the_graph_does_not_change_the_run(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    plain, watched = make_trainer(), make_trainer()
    fit(plain, 2)
    fit(watched, 2, callbacks=[train.TensorBoard(tmp_path, histograms=1)])
    assert_identical(arrays(plain), arrays(watched))  # dropout drew the same numbers
    from zkynet.visual.dot import has_dot

    if has_dot():
        picture = events(tmp_path).Images("graph")[0]
        assert picture.width > 100 and picture.height > 300


def test_without_dot_a_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("tensorboardX")
    monkeypatch.setenv("PATH", str(tmp_path))
    fit(make_trainer(), 1, callbacks=[train.TensorBoard(tmp_path / "run")])
    found = events(tmp_path / "run")
    (text,) = found.Tensors("graph/text_summary")
    assert b"no picture of the graph" in text.tensor_proto.string_val[0] and not found.Tags()["images"]


def test_points_after_the_checkpoint_are_hidden_after_a_resume(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    figures = [{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}]
    board = train.TensorBoard(tmp_path, graph=False)
    killed, resumed = bound_trainer(), bound_trainer()
    play(killed, [board], figures)
    play(resumed, [], figures[:1])
    play(resumed, [train.TensorBoard(tmp_path, graph=False)], [{"loss": 2.5}])
    assert [(s.step, s.value) for s in events(tmp_path).Scalars("loss/training")] == [(1, 3.0), (2, 2.5)]
