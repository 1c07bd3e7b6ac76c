"""The verbs of a script, from initialize to flush."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravnet as R
from ravnet.api import session
from ravnet.api.fetched import fetched
from ravnet.api.progress import follow, percent
from ravnet.api.report import scaled, table
from ravnet.errors import ExecutionError, PersistNameError, StateError
from ravnet.executor.engine import GraphInfo
from ravnet.functions import FUNCTIONS
from zkynet import nn
from zkynet.framework.errors import InputError, ShapeError

ROOT = Path(__file__).resolve().parents[2]
RULES = '{"rules": {"age": {"min": 18}}, "max_clients": 1}'


def begin(name: str = "test", token: str = "token") -> None:
    R.initialize(token)
    R.Graph(name=name, algorithm="arithmetic", approach="distributed")


def finish() -> GraphInfo:
    R.activate()
    R.execute()
    return R.track_progress()


# A whole script ---------------------------------------------------------------------------------------------


def test_a_script_from_beginning_to_end(home: Path, capsys: pytest.CaptureFixture[str]):
    R.initialize(ravenverse_token="token")
    R.flush()
    R.Graph(name="script", algorithm="arithmetic", approach="distributed")
    a, b = R.t([1.0, 2.0, 3.0]), R.Tensor(np.array([10, 20, 30]))
    total = a + b * 2 - 1
    total.persist_op(name="total")
    mean = R.mean(R.matmul(R.t(np.eye(3)), total))
    mean.persist_op(name="mean")
    found = R.unique(R.t([3, 1, 3]))
    more = found + 1
    report = R.activate()
    assert (report.participants, report.cost.late) == (2, 2)
    nodes = report.nodes
    assert sum(node.flops for node in nodes) == report.cost.flops
    assert sum(node.bytes for node in nodes) == report.cost.bytes
    product, = [node for node in nodes if node.operator == "matmul"]
    assert (product.flops, product.bytes) == (2 * 3 * 3, 4 * (9 + 3 + 3)) and "test_session.py:" in str(product.place)
    assert {"unique", "mean"} <= {node.operator for node in nodes}
    assert "participants that are of use: 2 at most" in capsys.readouterr().out
    R.execute(participants=3)
    assert R.track_progress().status == "computed"
    assert "100 %" in capsys.readouterr().out
    assert R.fetch_persisting_op(op_name="total").tolist() == [20, 41, 62]
    assert R.fetch_persisting_op("mean") == 41
    assert more().tolist() == [2, 4] and found.get_output().tolist() == [1, 3]  # what the script holds
    assert (total.get_status(), total.get_shape(), total.get_dtype()) == ("computed", (3,), "float32")
    assert float(mean) == 41.0 and bool(mean) and np.array(total).shape == (3,)
    row, = R.get_my_graphs()
    assert (row["name"], row["status"], row["approach"]) == ("script", "computed", "distributed")
    assert "script  distributed  arithmetic" in capsys.readouterr().out
    R.flush()
    assert R.get_my_graphs() == []
    assert "(none)" in capsys.readouterr().out


def test_every_function_is_offered_at_module_level_and_as_a_method():
    missing = [name for name in FUNCTIONS if not callable(getattr(R, name, None)) or name not in dir(R)]
    assert not missing
    without = {"lin", "zeros", "arange"}
    assert not [name for name in FUNCTIONS if not hasattr(session.Op, name) and name not in without]
    assert "axis" in (R.sum.__doc__ or "")
    with pytest.raises(AttributeError, match="no attribute 'summ'"):
        _ = R.summ


def test_importing_is_light():
    heavy = {"torch", "onnx", "onnxruntime", "sklearn", "flax", "optax", "pydantic", "rich"}
    script = f"import sys, ravnet; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_constants_and_data(home: Path):
    begin()
    known = [R.epsilon(), R.one(), R.minus_one(), R.inf(), R.pi()]
    assert np.allclose([op() for op in known], [1e-7, 1, -1, np.inf, np.pi])
    assert R.t(3).get_dtype() == "int32" and R.t(2.5).get_dtype() == "float32" and R.t(True).get_dtype() == "bool"
    assert R.t(np.zeros((2, 3))).get_dtype() == "float32" and R.t([[1, 2]]).get_shape() == (1, 2)
    assert R.Scalar(5).get_shape() == ()
    op = R.t([1, 2])
    assert R.t(op) is op
    for wrong, message in ((["a"], "needs numbers"), ([[1], [1, 2]], "equal rows"), (2**40, "32-bit"),
                           (None, "needs numbers"), ([2**40], "32-bit"), (2**70, "32-bit")):
        with pytest.raises(InputError, match=message):
            R.t(wrong)
    with pytest.raises(InputError, match="takes a number"):
        R.Scalar([1, 2])


def test_data_is_copied_when_it_is_given(home: Path):
    begin()
    data = np.ones(3, np.float32)
    op = R.t(data) + 0
    op.persist_op("op")
    data[:] = 7
    finish()
    assert R.fetch_persisting_op("op").tolist() == [1, 1, 1]


def test_shape_errors_are_raised_at_the_line_that_wrote_them(home: Path):
    begin()
    with pytest.raises(ShapeError, match=r"matmul.*test_session\.py:\d+") as caught:
        R.matmul(R.t(np.ones((2, 3))), R.t(np.ones((2, 3))))
    assert "/ravnet/api/" not in str(caught.value)
    with pytest.raises(InputError, match="out of range"):  # what a compiled program could not notice
        R.gather(R.t([1.0, 2.0]), R.t([5]))


def test_integers_to_negative_powers_are_refused_as_by_numpy(home: Path):
    begin()
    whole = R.t([1, 2, 4])
    for wrong in (lambda: whole ** -1, lambda: (whole + 1) ** -1, lambda: R.pow(10, R.t([-2]))):
        with pytest.raises(InputError, match="pow: integers to negative powers are no integers"):
            wrong()
    with pytest.raises(ValueError, match="negative integer powers"):
        _ = np.array([1, 2, 4]) ** -1
    powers = [whole ** -1.0, R.t([2.0]) ** -1, whole ** 2]
    finish()
    for power, wanted in zip(powers, ([1, 0.5, 0.25], [0.5], [1, 4, 16]), strict=True):
        assert np.allclose(power(), wanted)


def test_a_list_in_brackets_chooses_rows(home: Path):
    begin()
    x = np.arange(12.0).reshape(3, 4)
    indices: list[Any] = [[0, 2], [1], [[0, 1], [2, 2]], ([0, 2], [1, 3]), (0, 2)]
    ops = [R.t(x)[index] for index in indices]
    finish()
    for op, index in zip(ops, indices, strict=True):
        assert np.array_equal(op(), x[index])


def test_a_list_stands_for_the_arrays_in_it(home: Path):
    begin()
    x, y = np.ones(3), np.zeros(2)
    ops = [R.stack([R.t(x)]), R.stack([x, x], axis=1), R.concat([R.t(x)]), R.concat([x, y]), R.concat([R.t(x), y])]
    wanted = [np.stack([x]), np.stack([x, x], axis=1), x, np.concatenate([x, y]), np.concatenate([x, y])]
    assert [op.get_shape() for op in ops] == [array.shape for array in wanted]
    finish()
    for op, array in zip(ops, wanted, strict=True):
        assert np.array_equal(op(), array)


def test_random_ops_differ_and_follow_the_seed(home: Path):
    def drawn() -> list[list[float]]:
        nn.manual_seed(3)
        begin()
        ops = [R.random(size=4), R.random(size=4)]
        finish()
        return [op().tolist() for op in ops]

    first, again = drawn(), drawn()
    assert first == again and first[0] != first[1]


def test_parameters_that_are_ops(home: Path):
    begin()
    count = R.size(R.t([1.0, 2.0]))  # a value that only the execution knows
    late = R.tile(R.t([5.0]), reps=count)
    known = R.tile(R.t([5.0]), reps=R.t(3))
    finish()
    assert late().tolist() == [5, 5] and known().tolist() == [5, 5, 5]
    assert known.get_shape() == (3,)


# States -----------------------------------------------------------------------------------------------------


def test_before_initialize(home: Path):
    for verb in (R.flush, R.get_my_graphs, R.activate, R.execute, R.track_progress, lambda: R.Graph(name="x"),
                 lambda: R.t(1), lambda: R.fetch_persisting_op("x"), lambda: R.add(1, 2)):
        with pytest.raises(StateError, match=r"call R\.initialize"):
            verb()
    for token in ("", "  ", None, 3):
        with pytest.raises(InputError, match="token is a text"):
            R.initialize(token)  # pyright: ignore[reportArgumentType]


def test_a_remote_service_is_refused_for_now(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAVENVERSE_URL", "https://example.org")
    with pytest.raises(StateError, match=r"example\.org.*gateway"):
        R.initialize("token")


def test_without_a_graph(home: Path):
    R.initialize("token")
    for verb in (R.activate, R.execute, R.track_progress, lambda: R.t(1), lambda: R.add(1, 2),
                 lambda: R.fetch_persisting_op("x")):
        with pytest.raises(StateError, match=r"no graph: call R\.Graph"):
            verb()


def test_a_graph_is_described_in_known_words(home: Path):
    R.initialize("token")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"approach": "local"}, "distributed, federated, but got 'local'"), ({"rules": "{"}, "JSON"),
        ({"gpu_required": True}, "'yes' or 'no'"), ({"name": 3}, "name of a graph is a text")]
    for wrong, message in cases:
        with pytest.raises(InputError, match=message):
            R.Graph(**wrong)
    assert "'f' (federated), recording" in repr(R.Graph(name="f", approach="federated", rules=RULES))


def test_the_order_of_verbs(home: Path):
    begin()
    op = R.t(1.0) + 1
    op.persist_op("op")
    with pytest.raises(StateError, match=r"not activated yet: call R\.activate"):
        R.execute()
    with pytest.raises(StateError, match="not activated yet"):
        R.track_progress()
    with pytest.raises(StateError, match=r"'op' is not computed yet: call R\.activate"):
        R.fetch_persisting_op("op")
    with pytest.raises(StateError, match="recorded, but not computed"):
        op()
    with pytest.raises(StateError, match="no truth value"):
        assert op
    assert op.get_status() == "pending" and "pending" in repr(op)
    R.activate()
    for more in (lambda: R.t(1), lambda: op + 1, lambda: R.add(op, 1), lambda: op.persist_op("again")):
        with pytest.raises(StateError, match="activated, so no op can be added"):
            more()
    with pytest.raises(StateError, match="activated already, as graph 1"):
        R.activate()
    with pytest.raises(StateError, match=r"not being executed: call R\.execute"):
        R.track_progress()
    with pytest.raises(StateError, match=r"'op' is pending: the graph is not executed yet"):
        R.fetch_persisting_op("op")
    for wrong in (0, "2", True):
        with pytest.raises(InputError, match="from 1 on"):
            R.execute(participants=wrong)  # pyright: ignore[reportArgumentType]
    R.execute()
    R.track_progress()
    with pytest.raises(StateError, match="executed already"):
        R.execute()
    assert R.fetch_persisting_op("op") == 2


def test_persist_names(home: Path):
    begin()
    a, b = R.t(1.0) + 1, R.t(2.0) + 1
    a.persist_op(name="training_loss_epoch_1_batch_1")
    a.persist_op(name="training_loss_epoch_1_batch_1")
    with pytest.raises(PersistNameError, match="already the name of another op"):
        b.persist_op(name="training_loss_epoch_1_batch_1")
    for wrong in ("", None, 3):
        with pytest.raises(InputError, match="under a name"):
            b.persist_op(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(PersistNameError, match=r"in the graph that is being recorded\. Did you mean 'training_loss_ep"):
        R.fetch_persisting_op("training_loss_epoch_1_batch_2")
    finish()
    with pytest.raises(PersistNameError, match=r"in graph 1\. Did you mean 'training_loss_epoch_1_batch_1'\?"):
        R.fetch_persisting_op("training_los_epoch_1_batch_1")
    with pytest.raises(PersistNameError, match=r"It has: training_loss_epoch_1_batch_1\."):
        R.fetch_persisting_op("zzz")


def test_ops_of_two_graphs_do_not_mix(home: Path):
    begin()
    old = R.t(1.0) + 1
    R.Graph(name="second")
    with pytest.raises(InputError, match=r"belongs to another graph\. Fetch its result"):
        _ = R.t(1.0) + old
    with pytest.raises(InputError, match="belongs to another graph"):
        R.add(old, 1)


# Several graphs and accounts ----------------------------------------------------------------------------------


def test_several_graphs_of_an_account(home: Path):
    begin("first")
    (R.t(1.0) + 1).persist_op("only_first")
    finish()
    R.Graph(name="second")
    (R.t(1.0) + 2).persist_op("second")
    with pytest.raises(PersistNameError, match=r"Graph 1 has that name: pass graph_id=1"):
        R.fetch_persisting_op("only_first")
    assert R.fetch_persisting_op("only_first", graph_id=1) == 2
    R.activate()
    assert [(row["id"], row["name"], row["status"]) for row in R.get_my_graphs()] == [
        (1, "first", "computed"), (2, "second", "activated")]
    R.execute()
    R.track_progress()
    assert R.fetch_persisting_op("second") == 3
    with pytest.raises(StateError, match="no graph 7"):
        R.track_progress(graph_id=7)


def test_a_later_session_of_the_account_finds_its_newest_graph(home: Path, forget: Callable[[], None]):
    begin()
    (R.t([1.0, 2.0]) * 3).persist_op("op")
    R.activate()
    forget()
    R.initialize("token")
    R.execute()
    R.track_progress()
    assert R.fetch_persisting_op("op").tolist() == [3, 6]
    R.flush()
    with pytest.raises(StateError, match="no graph"):
        R.fetch_persisting_op("op")


def test_saying_the_token_again_changes_nothing(home: Path):
    begin()
    op = R.t(1.0) + 1
    R.initialize("token")
    (op + 1).persist_op("op")
    finish()
    R.initialize("other")
    assert op() == 2 and op.get_status() == "computed"  # what a script holds stays its own
    R.initialize("token")
    assert R.fetch_persisting_op("op") == 3


def test_another_token_sees_nothing(home: Path):
    begin(token="mine")
    (R.t(1.0) + 1).persist_op("secret")
    finish()
    R.initialize("theirs")
    assert R.get_my_graphs() == []
    for verb in (lambda: R.fetch_persisting_op("secret", graph_id=1), lambda: R.execute(graph_id=1),
                 lambda: R.track_progress(graph_id=1)):
        with pytest.raises(StateError, match="no graph 1"):
            verb()
    R.flush()
    R.initialize("mine")
    assert R.fetch_persisting_op("secret") == 2
    files = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"mine" not in files and b"theirs" not in files  # tokens are kept as hashes


# Failures ---------------------------------------------------------------------------------------------------


def test_a_failing_op_names_itself_and_the_others_finish(home: Path, capsys: pytest.CaptureFixture[str]):
    begin()
    wrong = R.bincount(R.t([3, -1]))
    wrong.persist_op("wrong")
    (wrong + 1).persist_op("after")
    (R.t(1.0) + 1).persist_op("right")
    info = finish()
    assert info.status == "failed"
    message = r"op bincount\(int32\[2\]\) of .*test_session\.py:\d+ failed: bincount: x is a list of integers >= 0"
    for name in ("wrong", "after"):
        with pytest.raises(ExecutionError, match=message):
            R.fetch_persisting_op(name)
    with pytest.raises(ExecutionError, match=message):
        wrong()
    assert wrong.get_status() == "failed"
    assert R.fetch_persisting_op("right") == 2
    assert capsys.readouterr().err.count("op bincount") == 1  # once, though two ops failed of it
    R.execute()  # tries those that failed again
    assert R.track_progress().status == "failed"


# Results ----------------------------------------------------------------------------------------------------


def test_fetched_results_take_all_forms_of_old_scripts():
    x = fetched(np.arange(6, dtype=np.float32).reshape(2, 3))
    for form in (np.array(x), x.detach().numpy(), x["result"].detach().numpy(), x.cpu().detach().numpy(), x.numpy()):
        assert type(form) is np.ndarray or form is x
        assert form.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(np.array(x)) is np.ndarray and type(x.detach().numpy()) is np.ndarray
    assert x[1].tolist() == [3, 4, 5] and x[:, -1].tolist() == [2, 5] and x[1, 2] == 5 and len(x) == 2
    assert str(x) == "[[0. 1. 2.]\n [3. 4. 5.]]" and "Fetched" in repr(x)
    assert x.shape == (2, 3) and x.tolist() == np.asarray(x).tolist() and (x + 1).sum() == 21
    assert np.argmax(x, axis=-1).tolist() == [2, 2] and x.argmax(axis=1).tolist() == [2, 2]
    quarters = fetched(x / 4)
    assert round(quarters).tolist() == [[0, 0, 0], [1, 1, 1]] and round(quarters, 1)[0, 1] == np.float32(0.2)
    x[0, 0] = 9  # a copy of one's own
    with pytest.raises(TypeError, match="cannot be hashed"):
        hash(x)
    with pytest.raises(IndexError):
        _ = x["other"]


def test_fetched_scalars_are_like_numbers():
    x = fetched(np.float32(0.125))
    assert x == 0.125 and x < 1 and x > 0 and 0.0625 * 2 == x and not x != 0.125
    assert float(x) == 0.125 and int(x) == 0 and bool(x) and x.item() == 0.125 and -x == -0.125
    assert f"{x:.2f}" == "0.12" and str(x) == "0.125" and round(x, 2) == 0.12 and round(x) == 0
    assert x["result"] == 0.125 and x.detach().numpy().shape == () and np.array(x).shape == ()
    assert sum([x, x]) == 0.25 and max(x, fetched(np.float32(1))) == 1 and {x: 1}[x] == 1 and np.isfinite(x)
    assert list(range(3))[fetched(np.int32(1))] == 1


def test_fetched_results_go_to_torch():
    torch = pytest.importorskip("torch")
    x = fetched(np.arange(3, dtype=np.float32))
    assert torch.tensor(x).tolist() == torch.from_numpy(x.numpy()).tolist() == torch.as_tensor(x).tolist() == [0, 1, 2]


# What is shown ------------------------------------------------------------------------------------------------


class Shown:
    """An engine whose graph comes along by itself."""

    def __init__(self, *done: int):
        self.infos = [GraphInfo(1, {"name": "[bold]x"}, {}, "executing", "", n, 4) for n in done]
        self.infos.append(GraphInfo(1, {}, {}, "computed", "", 4, 4))

    def info(self, graph: int) -> GraphInfo:
        return self.infos.pop(0)

    def wait(self, graph: int, seconds: float) -> None:
        pass


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_lines_and_as_a_bar():
    lines = io.StringIO()
    follow(Shown(0, 1, 1, 4), 1, lines)  # pyright: ignore[reportArgumentType]
    assert lines.getvalue().splitlines() == [
        "graph 1: 0 % (0 of 4 calls)", "graph 1: 20 % (1 of 4 calls)", "graph 1: 90 % (4 of 4 calls)",
        "graph 1: 100 % (4 of 4 calls)"]
    pytest.importorskip("rich")
    bar = Terminal()
    assert follow(Shown(0, 2), 1, bar).status == "computed"  # pyright: ignore
    assert "100 %" in bar.getvalue() and "4/4" in bar.getvalue()
    assert percent(GraphInfo(1, {}, {}, "executing", "", 0, 0)) == 0


def test_tables_and_numbers():
    assert (scaled(999), scaled(1500), scaled(2e21)) == ("999 ", "1.5 k", "2e+03 E")
    text = table([{"id": 1, "rules": "x" * 50, "cost": 2_000_000}])
    assert text.splitlines()[1].split() == ["1", "x" * 37 + "...", "2", "MFLOP"]


def test_a_model_file(home: Path, tmp_path: Path):
    with pytest.raises(InputError, match="there is no file"):
        R.model(tmp_path / "missing.pt")
    with pytest.raises(InputError, match="takes the path"):
        R.model(3)  # pyright: ignore[reportArgumentType]
