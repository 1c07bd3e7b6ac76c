"""README and docs: every python block runs, in order, in one namespace a page; `# => text` is what it prints.

Docstrings: every example of the public modules runs.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import ravnet
import zkynet

ROOT = Path(__file__).parent.parent
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
         if "```python" in page.read_text()]


def blocks(page: Path) -> list[tuple[int, str]]:
    """(line, source) of the python blocks of a page."""
    text = page.read_text()
    return [(text[:match.start(1)].count("\n"), match.group(1))
            for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def run_statement(statement: ast.stmt, source: str, namespace: dict) -> str:
    """What an expression's value, or what a statement prints, reads as."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), source, "eval"), namespace)
            if value is not None:
                print(value)
        else:
            exec(compile(ast.Module([statement], []), source, "exec"), namespace)
    return printed.getvalue().strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_as_written(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAVNET_HOME", str(tmp_path / "ravnet"))
    monkeypatch.setattr("ravnet.api.session._session", None)
    namespace: dict = {"__name__": page.stem}
    checked = 0
    for start, source in blocks(page):
        lines = source.splitlines()
        # The file's own line numbers make messages point into the page; compiled from disk for inspect.
        script = tmp_path / f"{page.stem}_{start}.py"
        script.write_text(source)
        for statement in ast.parse(source).body:
            got = run_statement(statement, str(script), namespace)
            expected = re.search(r"# => (.*)$", lines[(statement.end_lineno or 1) - 1])
            if expected is not None:
                checked += 1
                assert got == expected.group(1).strip(), f"{page.name}:{start + statement.lineno}"
    assert checked


MODULES = sorted(m.name for package in (zkynet, ravnet)
                 for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
                 if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVNET_HOME", str(tmp_path))
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=flags)
    assert failed == 0
