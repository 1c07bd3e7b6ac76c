"""plot_cg: files, formats, viewers, notebooks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from visual_models import Pair, Simple, Stack

from zkynet.visual import DotMissing, Plot, plot_cg, viewing
from zkynet.visual.dot import has_dot

needs_dot = pytest.mark.skipif(not has_dot(), reason="Graphviz is not installed")
STARTS = {"html": b"<!DOCTYPE html>", "svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF-", "dot": b"digraph"}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """No display, and a temporary folder of this test's own."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_dot(monkeypatch):
    monkeypatch.setenv("PATH", "")


def test_as_in_the_seed(capsys) -> None:
    plot = plot_cg(Simple()(3).root, wait=2, title="test_**Same**Inputs: 1/2")
    assert plot.path.name == "test__Same_Inputs_1_2.html" and plot.path.is_file()
    said = capsys.readouterr().out
    assert str(plot.path) in said and "no display" in said


@pytest.mark.parametrize("format", ["html", "svg", "dot", *(["png", "pdf"] if has_dot() else [])])
def test_formats(format: str, tmp_path: Path) -> None:
    result = Pair(False, False)(3, 4)
    plot = plot_cg(result, tmp_path / "new" / f"a.{format}", quiet=True)
    assert plot.path == tmp_path / "new" / f"a.{format}"
    content = plot.path.read_bytes()
    assert content.startswith(STARTS[format])
    if format == "svg":
        ET.fromstring(content)
    other = plot_cg(result, quiet=True, title="t", format=format)
    assert other.path.name == f"t.{format}"
    assert [path.name for path in plot.path.parent.iterdir()] == [f"a.{format}"], "nothing else is left"


@pytest.mark.parametrize(
    ("path", "format", "name"),
    [("a", None, "a.html"), ("a", "svg", "a.svg"), ("a.HTM", None, "a.HTM"), ("a.gv", None, "a.gv"),
     ("a.txt", "dot", "a.txt"), (".", None, "Simple.html")],
)  # fmt: skip
def test_names(path: str, format: str | None, name: str, tmp_path: Path) -> None:
    plot = plot_cg(Simple()(3), tmp_path / path, quiet=True, format=format)
    assert plot.path == tmp_path / name and plot.path.is_file()


def test_quiet_says_nothing(capsys) -> None:
    plot_cg(Simple()(3), quiet=True, wait=5)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [{"format": "gif"}, {"save_path": "a.gif"}, {"engine": "neato"}])
def test_unknown_format_or_engine(options) -> None:
    with pytest.raises(ValueError, match="gif|engine"):
        plot_cg(Simple()(3), **options)


def test_title_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    plot = plot_cg(Simple()(3), quiet=True, title="../../etc/passwd")
    assert tmp_path in plot.path.parents and plot.path.name == "etc_passwd.html"
    assert plot_cg(Simple()(3), quiet=True, title="名").path.name == "名.html"
    assert plot_cg(Simple()(3), quiet=True, title="???").path.name == "graph.html"


def test_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "zkynet-me").symlink_to(tmp_path / "elsewhere")
    plot = plot_cg(Simple()(3), quiet=True)
    assert plot.path.parent.name not in ("zkynet-me", "elsewhere")


# Without dot ----------------------------------------------------------------------


@pytest.mark.parametrize("format", ["html", "svg", "dot"])
def test_without_dot(no_dot, format: str) -> None:
    plot = plot_cg(Stack(3)([[1.0] * 4]), quiet=True, format=format)
    assert plot.path.read_bytes().startswith(STARTS[format])
    assert "Block x 3" in plot.source and "Block x 3" in plot.svg()


@pytest.mark.parametrize("format", ["png", "pdf"])
def test_without_dot_png_and_pdf_say_what_to_install(no_dot, format: str, tmp_path: Path) -> None:
    with pytest.raises(DotMissing, match="apt-get install graphviz"):
        plot_cg(Simple()(3), tmp_path / f"a.{format}", quiet=True)
    assert not (tmp_path / f"a.{format}").exists()
    with pytest.raises(DotMissing):
        plot_cg(Simple()(3), quiet=True, engine="dot")


@needs_dot
def test_dot_as_engine() -> None:
    result = Pair(True, True)(3)
    own, dot = plot_cg(result, quiet=True), plot_cg(result, quiet=True, engine="dot")
    assert own.source == dot.source and own.svg() != dot.svg()
    ET.fromstring(dot.svg())


# Viewing ----------------------------------------------------------------------


def test_viewer_opens_where_there_is_a_display(monkeypatch, capsys) -> None:
    opened, slept = [], []
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("time.sleep", slept.append)
    plot = plot_cg(Simple()(3), wait=2)
    assert opened == [plot.path.as_uri()] and slept == [2]
    assert "no display" not in capsys.readouterr().out
    plot_cg(Simple()(3))
    plot_cg(Simple()(3), view=False, wait=2)
    assert len(opened) == 1, "only when asked for"
    plot_cg(Simple()(3), view=True)
    assert len(opened) == 2 and slept == [2]


def test_no_display_does_not_wait(monkeypatch, capsys) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waited"))
    plot_cg(Simple()(3), view=True, wait=60)
    assert "no display" in capsys.readouterr().out


@needs_dot
def test_pictures_open_in_the_desktops_viewer(monkeypatch, tmp_path: Path) -> None:
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert viewing.show(tmp_path / "a.png")
    assert started == [["xdg-open", str(tmp_path / "a.png")]]


def test_no_viewer(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("PATH", "")
    assert not viewing.show(tmp_path / "a.pdf")


# The object ----------------------------------------------------------------------


def test_plot_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    plot = plot_cg(Simple()(3), quiet=True, title="f")
    assert isinstance(plot, Plot)
    ET.fromstring(plot._repr_svg_())
    assert plot._repr_html_().startswith("<iframe ")
    assert "f" in repr(plot) and "5 boxes" in repr(plot)
    assert plot.save(tmp_path / "b.svg").read_text().count('class="box ') == 5
    assert plot.path == tmp_path / "b.svg"


def test_page_of_5000_nodes_is_small(tmp_path: Path) -> None:
    from visual_models import chain

    plot = plot_cg(chain(5000), tmp_path / "large.html", quiet=True)
    assert plot.picture.size < 20 and (tmp_path / "large.html").stat().st_size < 100_000


def test_importing_is_cheap() -> None:
    code = (
        "import sys, zkynet.visual; sys.exit(bool({'graphviz', 'matplotlib', 'IPython'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
