"""Federated graphs: statistics of tables that several participants have, and of which no row is passed on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compat import SCRIPTS, Runner

import ravnet as R
from ravnet.api import session
from ravnet.compat import federated, provider
from ravnet.errors import StateError
from ravnet.executor.federated import Rules, part_of
from ravnet.executor.store import Store
from zkynet.framework.errors import InputError

NAMES = {"mean": np.mean, "variance": np.var, "deviation": np.std}
RULES = {"rules": {"age": {"min": 18, "max": 80}, "salary": {}}, "max_clients": 2}


def table(path: Path, rows: np.ndarray, header: str = "name,age,salary") -> Path:
    """A file of rows (age, salary), with a column more than is asked for."""
    lines = [",".join([f"person {i}", *[repr(float(value)) for value in row]]) for i, row in enumerate(rows)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def people(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(18, 80, count), rng.normal(4000, 900, count)], 1).astype(np.float32)


def record(rules: Any = RULES) -> None:
    R.initialize("token")
    R.Graph(name="office", approach="federated", rules=json.dumps(rules))
    for name, op in zip(NAMES, (R.federated_mean(), R.federated_variance(), R.federated_standard_deviation()),
                        strict=True):
        op.persist_op(name)
    (R.federated_mean() * 2).persist_op("twice")


def check(rows: np.ndarray, graph_id: int | None = None) -> None:
    for name, judge in NAMES.items():
        found = R.fetch_persisting_op(name, graph_id=graph_id)
        np.testing.assert_allclose(np.asarray(found), judge(rows.astype(np.float64), axis=0), rtol=1e-6)


# A graph ----------------------------------------------------------------------------------------------------


def test_the_statistics_are_those_of_all_rows_together(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record()
    assert R.activate().participants == 2
    parts = [people(seed, count) for seed, count in ((0, 5), (1, 40))]
    R.execute()
    follower = threading.Thread(target=R.track_progress)
    follower.start()
    for i, rows in enumerate(parts):
        federated.participate(file_path=table(tmp_path / f"{i}.csv", rows))
    follower.join(60)
    assert R.track_progress().status == "computed"
    check(np.concatenate(parts))
    np.testing.assert_allclose(np.asarray(R.fetch_persisting_op("twice")), 2 * np.concatenate(parts).mean(0), rtol=1e-6)
    printed = capsys.readouterr().out
    assert "participants that it waits for: 2, with the columns age, salary" in printed
    assert "graph 1: 1 of 2 have contributed" in printed and "graph 1: 100 %" in printed


def test_participants_may_come_before_it_is_executed_and_while_it_is_stopped(home: Path, tmp_path: Path):
    record()
    R.activate()
    federated.participate(file_path=table(tmp_path / "a.csv", people(0, 9)))
    R.execute()
    engine = session._the_session().engine
    engine.stop(1)
    assert (info := engine.info(1)) and info.status == "stopped"
    federated.participate("token", 1, table(tmp_path / "b.csv", people(1, 9)))
    R.execute()
    R.track_progress()
    check(np.concatenate([people(0, 9), people(1, 9)]))
    for name, message in (("a.csv", "a.csv has contributed to graph 1 already"), ("c.csv", "all 2 have contributed")):
        with pytest.raises(StateError, match=message):
            federated.participate(graph_id=1, file_path=table(tmp_path / name, people(2, 9)))
    check(np.concatenate([people(0, 9), people(1, 9)]))


def test_what_is_kept_of_a_table_are_its_statistics_only(home: Path, tmp_path: Path):
    record()
    R.activate()
    rows = people(0, 30)
    federated.participate(file_path=table(tmp_path / "a.csv", rows))
    (part,) = session._the_session().engine.store.parts(1)  # pyright: ignore[reportAttributeAccessIssue]
    assert part.size == 30
    np.testing.assert_allclose([part.means, part.variances], [rows.mean(0, float), rows.var(0, float)])
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for value in rows[:, 1]:
        forms = repr(float(value)).encode(), value.tobytes(), float(value).hex().encode(), np.float64(value).tobytes()
        assert not any(form in kept for form in forms)
    assert b"person" not in kept


def test_a_flushed_graph_waits_no_more(home: Path):
    record()
    R.activate()
    R.execute()
    R.flush()
    assert R.get_my_graphs() == [] and list((home / "graphs").iterdir()) == []
    with pytest.raises(StateError, match="no federated graph of the account waits for participants"):
        federated.participate(file_path="a.csv")


# Rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [
    None, "", "{", "[]", "3", '{"rules": {"age": {}}}', '{"rules": {}, "max_clients": 1}',
    '{"rules": [{"min": 1, "max": 2}], "max_clients": 1}', '{"rules": {"age": {}}, "max_clients": 0}',
    '{"rules": {"age": {}}, "max_clients": true}', '{"rules": {"age": {"least": 1}}, "max_clients": 1}',
    '{"rules": {"age": {"min": "1"}}, "max_clients": 1}', '{"rules": {"age": {"min": 2, "max": 1}}, "max_clients": 1}',
    '{"rules": {"age": {"min": NaN}}, "max_clients": 1}', '{"rules": {"age": 3}, "max_clients": 1}'])
def test_wrong_rules_are_refused_where_they_are_given(home: Path, rules: str | None):
    R.initialize("token")
    with pytest.raises(InputError, match="JSON text, but got"):
        R.Graph(name="office", approach="federated", rules=rules)


HEADER = "name,age,salary"
REFUSED = {
    "a missing column": ("name,age", "p,20\n" * 5, "no column 'salary'; there are name, age"),
    "too small": (HEADER, "p,17,1\n" + "p,20,1\n" * 5, "column 'age' has 1 of 6 values outside .* from 18 to 80"),
    "too large": (HEADER, "p,81,1\n" * 2 + "p,80,1\n" * 5, "column 'age' has 2 of 7 values"),
    "not finite": (HEADER, "p,20,inf\n" * 4, "column 'salary' has 4 of 4 values outside"),
    "a missing value": (HEADER, "p,20,1\np,,1\n" * 5, "line 3, column 'age': a missing value"),
    "no number": (HEADER, "p,20,much\n" * 5, "line 2, column 'salary': expected a number; got 'much'"),
    "a ragged line": (HEADER, "p,20,1\np,20\n" * 5, "line 3: expected 3 values; got 2"),
    "few rows": (HEADER, "p,20,1\n" * 2, "2 rows, and mean and variance of fewer than 3 tell"),
    "no rows": (HEADER, "", "no row of values"),
    "nothing": ("", "", "the file is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_against_the_rules_is_refused_and_leaves_nothing(home: Path, tmp_path: Path, case: str):
    record()
    R.activate()
    header, lines, message = REFUSED[case]
    path = tmp_path / "table.csv"
    path.write_text(f"{header}\n{lines}" if header else "")
    with pytest.raises(InputError, match=message):
        federated.participate(graph_id=1, file_path=path)
    assert session._the_session().engine.store.parts(1) == []  # pyright: ignore[reportAttributeAccessIssue]


def test_files_and_graphs_that_are_not_there(home: Path, tmp_path: Path):
    record()
    R.activate()
    with pytest.raises(InputError, match="no file 'missing.csv'"):
        federated.participate(graph_id=1, file_path="missing.csv")
    with pytest.raises(InputError, match="takes file_path="):
        federated.participate(graph_id=1)
    with pytest.raises(StateError, match="no graph 7"):
        federated.participate(graph_id=7, file_path="a.csv")
    with pytest.raises(StateError, match="no graph 1"):
        federated.participate("another account", graph_id=1, file_path="a.csv")


def test_each_approach_has_its_own_participants(home: Path, tmp_path: Path):
    record()
    R.activate()
    R.Graph(name="other", approach="distributed")
    with pytest.raises(InputError, match=r"only the participants of a federated graph supply: .*approach='federated'"):
        R.federated_mean()
    (R.t(1.0) + 1).persist_op("two")
    R.federated_mean([1, 3], [2.0, 6.0]).persist_op("mean of given parts")
    R.activate()
    assert [row["name"] for row in provider.list_graphs(approach="federated")] == ["office"]
    assert len(provider.list_graphs()) == 2
    with pytest.raises(InputError, match="one of distributed, federated, but got 'nearby'"):
        provider.list_graphs(approach="nearby")
    with pytest.raises(StateError, match="graph 1 is federated: .*ravpy.federated.participate"):
        provider.participate(graph_id=1)
    with pytest.raises(StateError, match="graph 2 is distributed: .*ravpy.distributed.participate"):
        federated.participate(graph_id=2, file_path=table(tmp_path / "a.csv", people(0, 5)))
    assert provider.participate().about["name"] == "other"  # not the older one, which is federated
    assert float(R.fetch_persisting_op("mean of given parts")) == 5


@settings(max_examples=50, deadline=None)
@given(least=st.floats(-1e6, 1e6, width=32), most=st.floats(-1e6, 1e6, width=32),
       values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=9))
def test_a_column_takes_part_if_and_only_if_it_keeps_its_limits(tmp_path_factory: pytest.TempPathFactory, least: float,
                                                                most: float, values: list[float]):
    least, most = sorted((least, most))
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("\n".join(["x", *map(repr, values)]))
    rules = Rules.read(json.dumps({"rules": {"x": {"min": least, "max": most}}, "max_clients": 1}))
    if least <= min(values) and max(values) <= most:
        size, means, variances = part_of(path, rules)
        assert (size, means) == (len(values), [pytest.approx(np.mean(values), abs=1e-6)])
        assert variances == [pytest.approx(np.var(values), rel=1e-6, abs=1e-6)]
    else:
        with pytest.raises(InputError, match="outside of the rules' range"):
            part_of(path, rules)


def test_limits_are_compared_in_the_precision_of_the_values(tmp_path: Path):
    """As 32 bits, 0.1 is a little more and 0.7 a little less than they are as 64."""
    path = tmp_path / "table.csv"
    path.write_text("low,high\n0.1,0.7\n0.05,0.8\n0.02,0.9\n")
    limits = {"low": {"max": 0.1}, "high": {"min": 0.7, "max": 1e300}}
    assert part_of(path, Rules.read(json.dumps({"rules": limits, "max_clients": 1}))).size == 3


# Several processes ------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, quickly: dict[str, str]) -> Runner:
    return Runner(tmp_path, quickly)


@pytest.fixture
def requester(run: Runner) -> Iterator[subprocess.Popen[str]]:
    """A script in a process of its own, which waits for two participants."""
    command = [sys.executable, "-m", "ravnet.compat", str(SCRIPTS / "federated_requester.py")]
    process = subprocess.Popen(command, cwd=run.folder, env=run.environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout is not None
    while "waits for participants: 0 of 2 have contributed" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    yield process
    process.kill()
    process.communicate()


def test_scripts_of_a_requester_and_its_participants(run: Runner, requester: subprocess.Popen[str]):
    offices = [people(seed, 20) for seed in (3, 4)]
    for i, rows in enumerate(offices):
        done = run.start(SCRIPTS / "federated_participant.py", str(table(run.folder / f"{i}.csv", rows)))
        assert done.returncode == 0 and f"{i + 1} of 2 have contributed" in done.stdout, done.stderr
    printed, errors = requester.communicate(timeout=60)
    assert requester.returncode == 0, errors
    rows = np.concatenate(offices).astype(np.float64)
    for name, judge in NAMES.items():
        found = re.search(rf"^{name} of salary: (\S+) of age: (\S+)$", printed, re.MULTILINE)
        assert found, printed
        np.testing.assert_allclose([float(found[2]), float(found[1])], judge(rows, axis=0), rtol=1e-6)


def test_a_requester_that_is_killed_while_it_waits_goes_on(home: Path, run: Runner, requester: subprocess.Popen[str]):
    R.initialize("token")
    federated.participate(file_path=table(run.folder / "0.csv", people(0, 10)))
    requester.kill()
    requester.communicate()
    assert R.get_my_graphs()[0]["status"] == "interrupted"
    federated.participate(file_path=table(run.folder / "1.csv", people(1, 10)))
    R.execute()
    assert R.track_progress().status == "computed"
    check(np.concatenate([people(0, 10), people(1, 10)])[:, ::-1])


def test_a_data_folder_of_the_format_before_is_read_and_takes_participants(home: Path, tmp_path: Path):
    record()
    R.activate()
    database = session._the_session().engine.store._db  # pyright: ignore[reportAttributeAccessIssue]
    database.execute("DROP TABLE parts")
    database.execute("PRAGMA user_version = 1")
    Store(home).close()
    federated.participate(file_path=table(tmp_path / "a.csv", people(0, 9)))
    assert len(Store(home).parts(1)) == 1
