"""A session of its own for tests that ask for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ravnet.api import session


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder; the session that a test makes in it ends with the test."""
    monkeypatch.setenv("RAVNET_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAVENVERSE_URL", raising=False)
    monkeypatch.setattr(session, "_session", None)
    yield tmp_path / "home"
    if session._session is not None:
        engine = session._session.engine
        for info in engine.graphs():
            engine.stop(info.id)
        engine.store.close()  # pyright: ignore[reportAttributeAccessIssue] - the embedded one


@pytest.fixture
def forget(home: Path) -> Callable[[], None]:
    """Makes the process as one that has not initialised anything."""
    return lambda: setattr(session, "_session", None)
