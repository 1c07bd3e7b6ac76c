"""What survives a process: accounts, graphs and results, in SQLite and files below one folder.

Small results are rows of the database. Large ones are files, written beside their place, synced and renamed before the
row that names them is committed. So whatever a row says is there, whenever the process is killed; what no row names
(the rest of an interrupted write) is overwritten or removed later. Several processes may use one folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - makes NumPy know bfloat16 and its kin by name
import numpy as np

from ..errors import ExecutionError, StateError
from .engine import Failure, GraphInfo
from .federated import Part

SMALL = 64 * 2**10  # bytes; larger results are files
_WAIT = 30.0  # seconds for other processes' transactions

# What each version of the format adds.
_TABLES = ("""
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE accounts (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE);
CREATE TABLE graphs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES accounts, about TEXT NOT NULL,
    cost TEXT NOT NULL, wanted TEXT NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL, made REAL NOT NULL, digest TEXT NOT NULL);
CREATE TABLE names (
    graph INTEGER NOT NULL REFERENCES graphs ON DELETE CASCADE, name TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (graph, name));
CREATE TABLE results (
    graph INTEGER NOT NULL REFERENCES graphs ON DELETE CASCADE, number INTEGER NOT NULL, kept INTEGER NOT NULL,
    dtype TEXT, shape TEXT, crc INTEGER, data BLOB, failure TEXT, PRIMARY KEY (graph, number));
""", """
CREATE TABLE parts (
    graph INTEGER NOT NULL REFERENCES graphs ON DELETE CASCADE, source TEXT NOT NULL, part TEXT NOT NULL,
    PRIMARY KEY (graph, source));
""")
VERSION = len(_TABLES)


class StoreError(ExecutionError):
    """The data folder could not be written or read: it is full, damaged or of a newer version."""


class GraphGone(Exception):
    """The graph was flushed, by this process or another."""


class Store:
    """Accounts, graphs and results below a folder.

    Args:
        folder: made if it does not exist.

    Raises:
        StoreError: when it cannot be used.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self._lock = threading.RLock()
        with self._readable():
            self._graphs.mkdir(parents=True, exist_ok=True, mode=0o700)
            database = self.folder / "ravnet.db"
            database.touch(mode=0o600)  # SQLite gives its further files the same mode
            self._db = sqlite3.connect(database, timeout=_WAIT, isolation_level=None,
                                       check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            with self._transaction() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                for statements in _TABLES[version:]:
                    for statement in statements.split(";\n"):
                        db.execute(statement)
                if version == 0:
                    db.execute("INSERT INTO about VALUES ('salt', ?)", [secrets.token_hex(16)])
                if version < VERSION:
                    db.execute(f"PRAGMA user_version = {VERSION}")
        if version > VERSION:
            raise StoreError(f"{self.folder} was written by a newer version of ravnet (its format is {version}, this "
                             f"one knows {VERSION}). Update, or set RAVNET_HOME to another folder.")

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def __del__(self) -> None:
        if hasattr(self, "_db"):
            self.close()

    @property
    def _graphs(self) -> Path:
        return self.folder / "graphs"

    def folder_of(self, graph: int) -> Path:
        """Where the files of a graph are."""
        return self._graphs / str(graph)

    # Transactions ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Errors of the disk and the database, told so that one knows what to do."""
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the data folder {self.folder} cannot be used: {error}. Is the disk full? Free some "
                             "space, or set RAVNET_HOME to another folder; what was stored is kept.") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        with self._readable():
            try:  # a Ctrl-C while it waits is raised when it has begun
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[tuple]:
        with self._readable():
            return self._db.execute(query, values).fetchall()

    # Accounts and graphs ---------------------------------------------------------------------------------

    def account(self, token: str) -> int:
        """The account of a token, made at its first use. Only a salted hash of the token is kept."""
        salt = self._rows("SELECT value FROM about WHERE key = 'salt'")[0][0]
        hashed = hashlib.pbkdf2_hmac("sha256", token.encode(), bytes.fromhex(salt), 100_000).hex()
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO accounts (token) VALUES (?)", [hashed])
            return db.execute("SELECT id FROM accounts WHERE token = ?", [hashed]).fetchone()[0]

    def add(self, account: int, about: Mapping[str, Any], cost: Mapping[str, Any], content: bytes,
            wanted: Collection[int], names: Mapping[str, int], total: int) -> int:
        """Keep a graph; returns its id."""
        with self._transaction() as db:
            graph = db.execute(
                "INSERT INTO graphs (account, about, cost, wanted, status, total, made, digest) "
                "VALUES (?, ?, ?, ?, 'activated', ?, ?, ?)",
                [account, json.dumps(about), json.dumps(cost), json.dumps(sorted(wanted)), total, time.time(),
                 hashlib.sha256(content).hexdigest()]).lastrowid
            assert graph is not None
            db.executemany("INSERT INTO names VALUES (?, ?, ?)", [(graph, *item) for item in names.items()])
            shutil.rmtree(self.folder_of(graph), ignore_errors=True)  # of a process that was killed here
            self.folder_of(graph).mkdir()
            try:
                write_file(self.folder_of(graph) / "graph", content)
            except OSError:
                shutil.rmtree(self.folder_of(graph), ignore_errors=True)
                raise
        return graph

    def infos(self, account: int, graph: int | None = None) -> list[GraphInfo]:
        """The graphs of an account, oldest first; or this one, if it is the account's."""
        rows = self._rows("SELECT id, about, cost, status, message, done, total FROM graphs WHERE account = ? AND "
                          "id = ifnull(?, id) ORDER BY id", account, graph)
        return [GraphInfo(number, json.loads(about), json.loads(cost), *rest) for number, about, cost, *rest in rows]

    def content(self, graph: int) -> bytes:
        """The bytes of a graph."""
        with self._readable():
            digest = self._rows("SELECT digest FROM graphs WHERE id = ?", graph)
            content = (self.folder_of(graph) / "graph").read_bytes()
        if not digest or hashlib.sha256(content).hexdigest() != digest[0][0]:
            raise StoreError(f"the file of graph {graph} in {self.folder} is damaged.")
        return content

    def wanted(self, graph: int) -> set[int]:
        """The values that are kept when they are computed."""
        rows = self._rows("SELECT wanted FROM graphs WHERE id = ?", graph)
        return set(json.loads(rows[0][0])) if rows else set()

    def names(self, graph: int) -> dict[str, int]:
        """The persist names."""
        return dict(self._rows("SELECT name, number FROM names WHERE graph = ?", graph))

    def number(self, graph: int, name: str) -> int | None:
        """The value of a persist name."""
        rows = self._rows("SELECT number FROM names WHERE graph = ? AND name = ?", graph, name)
        return rows[0][0] if rows else None

    def mark(self, graph: int, status: str, message: str = "") -> None:
        """Set the status; a graph that starts forgets its failures, so that they are tried again."""
        with self._transaction() as db:
            db.execute("UPDATE graphs SET status = ?, message = ? WHERE id = ?", [status, message, graph])
            if status == "executing":
                db.execute("DELETE FROM results WHERE graph = ? AND failure IS NOT NULL", [graph])

    def remove(self, graph: int) -> None:
        """Forget a graph and its results."""
        with self._transaction() as db:
            db.execute("DELETE FROM graphs WHERE id = ?", [graph])
        self.sweep()

    def sweep(self) -> None:
        """Remove the folders of graphs that are forgotten; some process may have been writing there, or been killed."""
        with self._transaction() as db:  # in which no graph can be added
            known = {str(graph) for graph, in db.execute("SELECT id FROM graphs")}
            for path in self._graphs.iterdir():
                if path.name not in known:
                    shutil.rmtree(path, ignore_errors=True)

    def is_gone(self, graph: int) -> bool:
        """Whether it was flushed."""
        return not self._rows("SELECT 1 FROM graphs WHERE id = ?", graph)

    # Participants of federated graphs --------------------------------------------------------------------

    def contribute(self, graph: int, source: str, part: Part, most: int) -> int:
        """Keep a participant's part; returns how many there are now.

        Raises:
            StateError: when all parts are there, or this source's is.
        """
        with self._transaction() as db:
            sources = [name for name, in db.execute("SELECT source FROM parts WHERE graph = ?", [graph])]
            if source in sources:
                raise StateError(f"{source} has contributed to graph {graph} already.")
            if len(sources) >= most:
                raise StateError(f"graph {graph} needs no more participants: all {most} have contributed.")
            db.execute("INSERT INTO parts VALUES (?, ?, ?)", [graph, source, json.dumps(part)])
        return len(sources) + 1

    def parts(self, graph: int) -> list[Part]:
        """What participants have contributed, in a fixed order."""
        rows = self._rows("SELECT part FROM parts WHERE graph = ? ORDER BY source", graph)
        return [Part(*json.loads(part)) for part, in rows]

    # Results ---------------------------------------------------------------------------------------------

    def keep(self, graph: int, found: Mapping[int, np.ndarray | Failure], done: int,
             checkpoint: Mapping[int, np.ndarray | None] | None = None) -> None:
        """Keep results, how many calls are done, and the values from which a later run can go on.

        Args:
            checkpoint: replaces the one before; None leaves that. A value that is None is stored already, and stays.

        Raises:
            StoreError: nothing of this was kept; what was kept before still is.
            GraphGone: the graph was flushed.
        """
        with self._readable():
            known = self.known(graph) if checkpoint else set()
            rows = [(graph, number, 1, *self._stored(graph, number, value)) for number, value in found.items()]
            rows += [(graph, number, 0, *self._stored(graph, number, value))
                     for number, value in (checkpoint or {}).items()
                     if value is not None and number not in known and number not in found]
        old: list[int] = []
        with self._transaction() as db:
            if not db.execute("UPDATE graphs SET done = ? WHERE id = ?", [done, graph]).rowcount:
                raise GraphGone
            db.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            if checkpoint is not None:
                old = [number for number, in db.execute("SELECT number FROM results WHERE graph = ? AND NOT kept",
                                                        [graph]) if number not in checkpoint]
                db.executemany("DELETE FROM results WHERE graph = ? AND number = ?", [(graph, n) for n in old])
        for number in old:
            self._file(graph, number).unlink(missing_ok=True)

    def _file(self, graph: int, number: int) -> Path:
        return self.folder_of(graph) / f"{number}.value"

    def _stored(self, graph: int, number: int, value: np.ndarray | Failure) -> tuple:
        """The columns of a result; its file, if it is large, is written."""
        if isinstance(value, Failure):
            return None, None, None, None, value.message
        data = np.ascontiguousarray(value).tobytes()
        shape, crc = json.dumps(value.shape), zlib.crc32(data)
        if len(data) <= SMALL:
            return value.dtype.name, shape, crc, data, None
        if not self.folder_of(graph).is_dir():
            raise GraphGone
        write_file(self._file(graph, number), data)
        return value.dtype.name, shape, crc, None, None

    def known(self, graph: int) -> set[int]:
        """The values that are there: results without failures, and the checkpoint's."""
        rows = self._rows("SELECT number FROM results WHERE graph = ? AND failure IS NULL", graph)
        return {number for number, in rows}

    def state(self, graph: int, number: int) -> str:
        """"computed", "failed" or "pending"."""
        rows = self._rows("SELECT failure FROM results WHERE graph = ? AND number = ?", graph, number)
        return "pending" if not rows else "computed" if rows[0][0] is None else "failed"

    def failures(self, graph: int) -> list[str]:
        """The distinct messages of the values that failed."""
        rows = self._rows("SELECT failure FROM results WHERE graph = ? AND failure IS NOT NULL GROUP BY failure "
                          "ORDER BY min(number)", graph)
        return [text for text, in rows]

    def result(self, graph: int, number: int) -> np.ndarray | Failure | None:
        """A value, why it failed, or None when it is not there."""
        rows = self._rows("SELECT dtype, shape, crc, data, failure FROM results WHERE graph = ? AND number = ?",
                          graph, number)
        if not rows:
            return None
        dtype, shape, crc, data, failure = rows[0]
        if failure is not None:
            return Failure(failure)
        if data is None:
            with self._readable():
                data = self._file(graph, number).read_bytes()
        if zlib.crc32(data) != crc:
            raise StoreError(f"value {number} of graph {graph} in {self.folder} is damaged. R.flush() and record the "
                             "graph again.")
        return np.frombuffer(bytearray(data), np.dtype(dtype)).reshape(json.loads(shape))

    # Who executes ----------------------------------------------------------------------------------------

    def claim(self, graph: int) -> sqlite3.Connection:
        """Become the one that executes a graph, until the connection is closed or the process ends.

        Raises:
            StateError: another one does.
        """
        with self._readable():
            claim = sqlite3.connect(self.folder_of(graph) / "claim", timeout=1.0, isolation_level=None,
                                    check_same_thread=False)
            try:
                claim.execute("BEGIN EXCLUSIVE")
                return claim
            except sqlite3.OperationalError as error:
                claim.close()
                if "locked" not in str(error):
                    raise
        raise StateError(f"graph {graph} is being executed already. R.track_progress() shows how far it is.")

    def tidy(self, graph: int) -> None:
        """Remove what interrupted writes left; for the one that has claimed the graph."""
        known = {self._file(graph, number).name for number in self.known(graph)}
        with self._readable():
            for path in self.folder_of(graph).iterdir():
                if path.suffix == ".part" or path.suffix == ".value" and path.name not in known:
                    path.unlink()

    def is_claimed(self, graph: int) -> bool:
        """Whether some process executes it now."""
        if not (self.folder_of(graph) / "claim").exists():
            return False
        with self._readable():
            claim = sqlite3.connect(self.folder_of(graph) / "claim", timeout=0.0, isolation_level=None)
            try:
                claim.execute("BEGIN EXCLUSIVE")
                return False
            except sqlite3.OperationalError:
                return True
            finally:
                claim.close()


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
