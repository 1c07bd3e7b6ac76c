"""The store: what is written is there whole or not at all, in files and rows, and is read back as it was."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ravnet.errors import StateError
from ravnet.executor import store as stores
from ravnet.executor.engine import Failure
from ravnet.executor.store import SMALL, GraphGone, Store, StoreError, write_file

LARGE = np.arange(SMALL, dtype=np.float32)


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path)
    yield made
    made.close()


def graph(store: Store, token: str = "token") -> int:
    return store.add(store.account(token), {"name": "g"}, {"flops": 3}, b"content", {1, 2, 3}, {"a": 1, "b": 2}, 4)


ARRAYS = {
    "scalar": np.float32(2.5), "large": LARGE, "empty": np.zeros((0, 3), np.int32), "flags": np.array([True, False]),
    "complex": np.array([1 + 2j], np.complex64), "bytes": np.arange(5, dtype=np.uint8), "strided": np.eye(4)[:, ::2],
    "narrow": np.array([1.5, -2], ml_dtypes.bfloat16), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3))}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(store: Store, name: str):
    array = np.asarray(ARRAYS[name])
    number = graph(store)
    store.keep(number, {1: array}, 1)
    found = store.result(number, 1)
    assert isinstance(found, np.ndarray) and found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == array.tobytes() and found.flags.writeable
    assert (store.folder_of(number) / "1.value").exists() == (name == "large")


def test_a_graph_and_its_state(store: Store):
    number = graph(store)
    account = store.account("token")
    info, = store.infos(account)
    assert (info.id, info.about, info.cost, info.status, info.done, info.total) == (
        number, {"name": "g"}, {"flops": 3}, "activated", 0, 4)
    assert store.content(number) == b"content" and store.wanted(number) == {1, 2, 3}
    assert store.names(number) == {"a": 1, "b": 2} and store.number(number, "c") is None
    store.keep(number, {1: np.zeros(2), 2: Failure("op failed")}, 2)
    assert [store.state(number, n) for n in (1, 2, 3)] == ["computed", "failed", "pending"]
    assert store.result(number, 2) == Failure("op failed") and store.result(number, 3) is None
    assert store.failures(number) == ["op failed"] and store.known(number) == {1}
    store.mark(number, "executing")  # tries the failed one again
    assert store.state(number, 2) == "pending" and store.infos(account, number)[0].done == 2
    store.remove(number)
    assert store.infos(account) == [] and not store.folder_of(number).exists() and store.result(number, 1) is None


def test_accounts_are_apart(store: Store):
    mine = graph(store)
    assert store.account("token") == store.account("token") != store.account("other")
    assert store.infos(store.account("other")) == [] == store.infos(store.account("other"), mine)


def test_a_checkpoint_replaces_the_one_before(store: Store):
    number = graph(store)
    store.keep(number, {1: np.zeros(2)}, 1, {1: np.zeros(2), 7: LARGE, 8: np.ones(1)})
    assert store.known(number) == {1, 7, 8}
    store.keep(number, {2: np.zeros(2)}, 2, {8: np.ones(1), 9: LARGE})
    assert store.known(number) == {1, 2, 8, 9}  # results stay, whether in a checkpoint or not
    assert sorted(path.name for path in store.folder_of(number).glob("*.value")) == ["9.value"]
    store.keep(number, {}, 2, {8: None, 9: None})  # stored already
    assert store.known(number) == {1, 2, 8, 9}
    store.keep(number, {9: LARGE}, 3)
    store.keep(number, {}, 4, {})
    assert store.known(number) == {1, 2, 9}


def test_what_no_row_names_is_tidied_away(store: Store):
    number = graph(store)
    store.keep(number, {1: LARGE}, 1)
    for name in ("2.value", "3.123.part"):
        (store.folder_of(number) / name).write_bytes(b"rest")
    store.tidy(number)
    assert sorted(path.name for path in store.folder_of(number).iterdir()) == ["1.value", "graph"]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch):
    number = graph(store)
    store.keep(number, {1: LARGE}, 1)
    with monkeypatch.context() as patch:
        patch.setattr(stores.os, "fsync", full)
        with pytest.raises(StoreError, match=r"No space left.*Is the disk full\? Free some space.*is kept"):
            store.keep(number, {2: LARGE + 1, 3: np.zeros(1)}, 3)
        with pytest.raises(StoreError, match="No space left"):
            graph(store)
    assert store.known(number) == {1} and store.infos(store.account("token"))[0].done == 1
    assert not list(store.folder.rglob("*.part")) and len(list((store.folder / "graphs").iterdir())) == 1
    store.keep(number, {2: LARGE + 1}, 2)
    assert np.array_equal(store.result(number, 2), LARGE + 1) and graph(store) == number + 1  # pyright: ignore


class Interrupted:
    """A database for which Python raises Ctrl-C when a transaction has begun: it was pressed while that waited."""

    def __init__(self, database: sqlite3.Connection):
        self._database = database

    def execute(self, text: str, values: Any = ()) -> sqlite3.Cursor:
        found = self._database.execute(text, values)
        if text.startswith("BEGIN"):
            raise KeyboardInterrupt
        return found


def test_ctrl_c_leaves_no_transaction_open(store: Store, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(store, "_db", Interrupted(store._db))
        with pytest.raises(KeyboardInterrupt):
            graph(store)
    assert graph(store) == 1


def test_a_file_is_whole_or_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "file"
    write_file(file, b"old")
    monkeypatch.setattr(stores.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_file(file, b"new")
    assert file.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_damage_is_noticed(store: Store):
    number = graph(store)
    store.keep(number, {1: LARGE}, 1)
    file = store.folder_of(number) / "1.value"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=f"value 1 of graph {number} .* is damaged"):
        store.result(number, 1)
    (store.folder_of(number) / "graph").write_bytes(b"other")
    with pytest.raises(StoreError, match="is damaged"):
        store.content(number)
    file.unlink()
    with pytest.raises(StoreError, match="No such file"):
        store.result(number, 1)


def test_a_flushed_graph_takes_no_results(store: Store):
    number = graph(store)
    store.remove(number)
    for value in (np.zeros(1), LARGE):
        with pytest.raises(GraphGone):
            store.keep(number, {1: value}, 1)


def test_what_a_killed_process_left_of_a_flushed_graph_goes_with_the_next(store: Store):
    kept, flushed, left = graph(store), graph(store), store.folder_of(99)
    left.mkdir()
    (left / "1.value").write_bytes(b"part of a value")
    store.remove(flushed)
    assert not left.exists() and not store.folder_of(flushed).exists()
    assert store.content(kept)


def test_one_may_execute(tmp_path: Path, store: Store):
    number = graph(store)
    assert not store.is_claimed(number)
    claim = store.claim(number)
    other = Store(tmp_path)
    assert store.is_claimed(number) and other.is_claimed(number)
    with pytest.raises(StateError, match="is being executed already"):
        other.claim(number)
    claim.close()
    assert not store.is_claimed(number)
    other.claim(number).close()
    other.close()


def test_folders_that_cannot_be_used(tmp_path: Path, store: Store):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "file")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ravnet.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(broken)
    newer = tmp_path / "newer"
    Store(newer).close()
    database = sqlite3.connect(newer / "ravnet.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match=r"newer version of ravnet.*99"):
        Store(newer)


def test_tokens_are_hashed_with_a_salt_of_the_folder(tmp_path: Path, store: Store):
    store.account("a secret token")
    other = Store(tmp_path / "other")
    other.account("a secret token")
    kept = [made._rows("SELECT token FROM accounts")[0][0] for made in (store, other)]
    other.close()
    assert kept[0] != kept[1] and "secret" not in json.dumps(kept)
    if os.name == "posix":  # others of the machine cannot look in
        assert len(files := list(tmp_path.glob("ravnet.db*"))) == 3
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "graphs", *files))
