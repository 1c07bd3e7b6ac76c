"""Characters as numbers, windows of them, and what stays out of training."""

from __future__ import annotations

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
    with pytest.raises(IndexError):
        windows[len(windows)]


@pytest.mark.parametrize("tokens, length", [(np.arange(4), 4), (np.arange(4), 0), (np.zeros((4, 2)), 1)])
def test_windows_that_do_not_exist(tokens, length):
    with pytest.raises(InputError, match="Windows: expected a sequence"):
        data.Windows(tokens, length)


def test_validation_is_the_end():
    train, validation = data.cut(np.arange(100), 0.15)
    assert train.tolist() == list(range(85)) and validation.tolist() == list(range(85, 100))
    assert data.cut([1, 2], 0.01) == ([1], [2])
    with pytest.raises(InputError, match="between 0 and 1"):
        data.cut([1, 2], 1.0)
