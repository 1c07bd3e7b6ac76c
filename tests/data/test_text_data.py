"""Characters as numbers, windows of them, and what stays out of training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkynet import data
from zkynet.framework.errors import InputError


@given(st.text(), st.text())
def test_encoding_and_decoding(text: str, more: str):
    vocabulary = data.Vocabulary(text + more)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == np.int32 and len(tokens) == len(text)
    assert vocabulary.decode(tokens) == text
    assert [vocabulary.characters[t] for t in tokens] == list(text)
    again = data.Vocabulary(vocabulary.characters)
    assert again == vocabulary and hash(again) == hash(vocabulary) and len(again) == len(set(text + more))


def test_what_is_not_in_the_vocabulary():
    vocabulary = data.Vocabulary("abcé")
    with pytest.raises(data.DataError, match="the character 'd' at position 2 is not in the vocabulary of 4"):
        vocabulary.encode("abd")
    with pytest.raises(data.DataError, match="'~' at position 0"):
        vocabulary.encode("~")
    with pytest.raises(data.DataError, match="at position 0"):
        data.Vocabulary("").encode("a")
    for tokens in ([4], [-1]):
        with pytest.raises(data.DataError, match="from 0 to 3"):
            vocabulary.decode(tokens)


@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 15))
def test_windows(total: int, length: int, stride: int):
    if total <= length:
        return
    windows = data.Windows(np.arange(total), length, stride)
    judge = [start for start in range(0, total, stride) if start + length + 1 <= total]
    assert len(windows) == len(judge)
    x, y = data.read_rows(windows, np.arange(len(windows))).arrays
    for i, start in enumerate(judge):
        np.testing.assert_array_equal(x[i], np.arange(start, start + length))
        np.testing.assert_array_equal(y[i], x[i] + 1)
        assert (windows[i][0] == x[i]).all() and (windows[i][1] == y[i]).all()
    np.testing.assert_array_equal(data.read_rows(windows, np.arange(-len(windows), 0)).arrays[0], x)
    for beyond in (len(windows), -len(windows) - 1):
        with pytest.raises(IndexError):
            windows[beyond]
        with pytest.raises(IndexError):
            data.read_rows(windows, [beyond])


@pytest.mark.parametrize("tokens, length, stride", [
    (np.arange(4), 4, None), (np.arange(4), 0, None), (np.zeros((4, 2)), 1, None), (np.arange(4), 2, 0)])
def test_windows_that_do_not_exist(tokens, length, stride):
    with pytest.raises(InputError, match="Windows: expected a sequence"):
        data.Windows(tokens, length, stride)


def test_validation_is_the_end():
    train, validation = data.cut(np.arange(100), 0.15)
    assert train.tolist() == list(range(85)) and validation.tolist() == list(range(85, 100))
    assert data.cut([1, 2], 0.01) == ([1], [2])
    with pytest.raises(InputError, match="between 0 and 1"):
        data.cut([1, 2], 1.0)
    for tokens, fraction in (("a", 0.1), ("", 0.1), ([1, 2], 0.9)):
        with pytest.raises(InputError, match="leaves nothing for training"):
            data.cut(tokens, fraction)


@given(st.text(st.characters(exclude_characters="\r\ufeff", exclude_categories=["Cs"])),
       st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_text_file_is_what_python_wrote(content: str, encoding: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.txt"
        path.write_bytes(content.replace("\n", "\r\n").encode(encoding))
        assert (data.text(path, encoding) if encoding == "utf-16" else data.text(path)) == content


def test_what_is_no_text_file(tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"caf\xe9s")
    with pytest.raises(data.DataError, match=r"t.txt: no text in utf-8-sig \(.* position 3.*encoding="):
        data.text(path)
    assert data.text(path, "latin-1") == "cafés"
    with pytest.raises(InputError, match="the name of an encoding; got 'utf-99'"):
        data.text(path, "utf-99")
    with pytest.raises(FileNotFoundError, match="nothing.txt"):
        data.text(tmp_path / "nothing.txt")
