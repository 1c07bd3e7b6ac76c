"""Files that are missing, damaged, or something else; what is refused before PyTorch sees it."""

from __future__ import annotations

import os
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchscript_judge import sample, scripted, torch
from torchscript_nets import Loading

from zkynet.framework.errors import InputError, ZkynetError
from zkynet.interop import torchscript


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    scripted(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())).save(str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def refused(source: Any) -> str:
    with pytest.raises(InputError) as caught:
        torchscript.load(source)
    return str(caught.value)


def test_a_path_may_be_text_or_a_path_object(file: Path):
    x = sample(2, 3)
    np.testing.assert_array_equal(torchscript.load(str(file))(x).value, torchscript.load(file)(x).value)


def test_what_is_no_file_or_module(tmp_path: Path):
    assert "nothing.pt: cannot be read: No such file" in refused(tmp_path / "nothing.pt")
    assert "cannot be read: Is a directory" in refused(tmp_path)
    assert "but got int" in refused(3)
    assert "pass torch.jit.script(module)" in refused(torch.nn.Linear(2, 2))


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_refused_and_not_opened(tmp_path: Path, zipped: bool):
    torch.save(Bomb(tmp_path / "exploded"), tmp_path / "bomb.pt", _use_new_zipfile_serialization=zipped)
    message = refused(tmp_path / "bomb.pt")
    assert "bomb.pt: this is" in message and "pickle, which is not opened" in message
    assert "torch.jit.script(model).save(path)" in message
    assert not (tmp_path / "exploded").exists()


def test_other_files(tmp_path: Path, file: Path):
    (tmp_path / "text.pt").write_text("weights, they said")
    assert "text.pt: this is no TorchScript file" in refused(tmp_path / "text.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    assert "this is no TorchScript file" in refused(tmp_path / "empty.pt")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as other:
        other.writestr("hello/text.txt", "hello")
    assert "a zip file of another kind, not TorchScript" in refused(tmp_path / "zip.pt")
    (tmp_path / "half.pt").write_bytes(file.read_bytes()[:-400])
    assert "or a part of one" in refused(tmp_path / "half.pt")


def test_a_changed_weight_is_found(file: Path):
    content = bytearray(file.read_bytes())
    weight = np.asarray(torchscript.load(file).state_dict()["0.weight"]).tobytes()
    content[content.index(weight)] ^= 1
    file.write_bytes(content)
    assert "the file is damaged: the checksum of net/data/" in refused(file)


def test_a_part_that_is_marked_as_a_folder_is_read_all_the_same(file: Path):
    """PyTorch's own reader would take what is in memory for the weights."""
    before = np.asarray(torchscript.load(file).state_dict()["0.weight"])
    content = bytearray(file.read_bytes())
    for part in zipfile.ZipFile(file).namelist():
        entry = content.rindex(part.encode() + (b"PK" if not part.endswith("_id") else b"")) - 46
        assert content[entry:entry + 4] == b"PK\1\2"
        content[entry + 38] |= 0x10
    file.write_bytes(content)
    np.testing.assert_array_equal(torchscript.load(file).state_dict()["0.weight"], before)


def test_damaged_bytes_never_get_further_than_a_message(file: Path):
    """A file that is read in spite of them holds the same net."""
    whole, draws = file.read_bytes(), random.Random(0)
    weights = np.asarray(torchscript.load(file).state_dict()["0.weight"])
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(draws.choice((1, 1, 4))):
            content[draws.randrange(len(content))] = draws.randrange(256)
        file.write_bytes(content)
        try:
            np.testing.assert_array_equal(torchscript.load(file).state_dict()["0.weight"], weights)
        except ZkynetError as error:
            assert str(file) in str(error)


def test_code_that_runs_while_loading_is_refused(tmp_path: Path):
    scripted(Loading()).save(str(tmp_path / "code.pt"))
    assert "has code that runs while it is loaded (__setstate__" in refused(tmp_path / "code.pt")


def test_without_pytorch_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, file: Path):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install torch" in refused(file)


def test_saving_leaves_the_old_file_when_it_cannot_write(file: Path, monkeypatch: pytest.MonkeyPatch):
    ours, before = torchscript.load(file), file.read_bytes()
    ours.train()

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            torchscript.save(ours, file)
    assert file.read_bytes() == before and len(list(file.parent.iterdir())) == 1
