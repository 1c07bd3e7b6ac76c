"""Readers of published sets, on small files in each of their forms; nothing in a file is executed."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zkynet import data
from zkynet.framework.errors import InputError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
DIGITS = RNG.integers(0, 10, 12)
COLOR = RNG.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
KINDS = RNG.integers(0, 10, 20)


def write_idx(path: Path, array: np.ndarray, code: int) -> None:
    raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


@pytest.mark.parametrize("names", [("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
                                   ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
                                   ("raw/train-images-idx3-ubyte.gz", "raw/train-labels-idx1-ubyte.gz")])
def test_mnist_in_idx_files(tmp_path: Path, names):
    (tmp_path / "raw").mkdir()
    write_idx(tmp_path / names[0], GRAY, 8)
    write_idx(tmp_path / names[1], DIGITS.astype(np.uint8), 8)
    found = data.mnist(tmp_path)
    np.testing.assert_array_equal(found.arrays[0], GRAY[:, None])
    assert found.arrays[1].tolist() == DIGITS.tolist() and found.arrays[1].dtype == np.int32
    assert found.classes == tuple("0123456789")
    with pytest.raises(data.DataError, match="none of t10k-images-idx3-ubyte"):
        data.mnist(tmp_path, "test")


def test_mnist_as_kaggles_csv(tmp_path: Path):
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    rows = np.concatenate([DIGITS[:, None], GRAY.reshape(12, -1)], 1)
    np.savetxt(tmp_path / "train.csv", rows, "%d", ",", header=header, comments="")
    np.savetxt(tmp_path / "test.csv", rows[:, 1:], "%d", ",", header=header[6:], comments="")
    found = data.mnist(tmp_path)
    np.testing.assert_array_equal(found.arrays[0], GRAY[:, None])
    assert found.arrays[1].tolist() == DIGITS.tolist()
    (images,) = data.mnist(tmp_path, "test").arrays
    np.testing.assert_array_equal(images, GRAY[:, None])


@pytest.mark.parametrize("text, message", [
    ("label,a,b\n1,2,3\n", "square images; got 3 columns"), ("label,a\n1,300\n", "300"),
    ("label,a\n1,2\n1\n", "column"), ("label,a\n", "no row of values"),
    ("label,a\n1,2,3\n", "expected 2 values in a row, as in the header; got 3")])
def test_mnist_of_another_csv(tmp_path: Path, text: str, message: str):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(data.DataError, match=message):
        data.mnist(tmp_path)


def test_mnist_in_a_csv_of_other_bytes(tmp_path: Path):
    whole = b"label,a\n" + b"1,2\n" * 20
    for place in (2, 40):
        (tmp_path / "train.csv").write_bytes(whole[:place] + b"\xff" + whole[place:])
        with pytest.raises(data.DataError, match="train.csv: 'utf-8' codec can't decode byte 0xff"):
            data.mnist(tmp_path)
    (tmp_path / "train.csv").write_bytes(b"label,a\n\n \n")
    with pytest.raises(data.DataError, match="train.csv: there is no row of values"):
        data.mnist(tmp_path)


@pytest.mark.parametrize("below, digits", [("", range(10)), ("mnist", range(10)), ("", [7, 9])])
def test_mnist_as_a_folder(tmp_path: Path, below: str, digits):
    for digit in digits:
        (tmp_path / below / "train" / str(digit)).mkdir(parents=True)
        Image.fromarray(GRAY[digit]).save(tmp_path / below / "train" / str(digit) / "00001.png")
    found = data.mnist(tmp_path)
    np.testing.assert_array_equal(found.arrays[0], GRAY[list(digits), None])
    assert found.arrays[1].tolist() == list(digits) and found.classes == tuple("0123456789")
    (tmp_path / below / "train" / "ten").mkdir()
    with pytest.raises(data.DataError, match="expected sub-folders named 0, 1, .*; got 'ten'"):
        data.mnist(tmp_path)
    with pytest.raises(InputError, match="'train' or 'test'; got 'all'"):
        data.mnist(tmp_path, "all")


@pytest.mark.parametrize("code, dtype", [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_idx_types(tmp_path: Path, code: int, dtype: str):
    array = RNG.integers(0, 100, (3, 4)).astype(dtype)
    write_idx(tmp_path / "a", array, code)
    found = data.idx(tmp_path / "a")
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative


def test_damaged_idx_files(tmp_path: Path):
    for name in ("a", "a.gz"):
        write_idx(tmp_path / name, GRAY, 8)
        whole = (tmp_path / name).read_bytes()
        for content in (b"", b"\0\0\7\1abcd", b"text", whole[:10], whole[:-1], whole + b"x"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(data.DataError, match=f"{name}: "):
                data.idx(tmp_path / name)


def cifar_batches() -> list[tuple[np.ndarray, list[int]]]:
    return [(COLOR[i:i + 4].reshape(4, -1), KINDS[i:i + 4].tolist()) for i in range(0, 20, 4)]


def python2_pickle(pixels: np.ndarray, labels: list[int]) -> bytes:
    """As Python 2's cPickle wrote the published files: protocol 2, strings of bytes, numpy.core."""
    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    array = (b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\0\x85" + text(b"b")
             + b"\x87Rq\x04(K\x01K" + bytes([len(pixels)]) + b"M" + struct.pack("<H", pixels.shape[1])
             + b"\x86cnumpy\ndtype\nq\x05" + text(b"u1") + b"K\0K\x01\x87Rq\x06(K\x03" + text(b"|")
             + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\0tb\x89"
             + text(pixels.tobytes()) + b"tb")
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return (b"\x80\x02}q\x01(" + text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + numbers
            + text(b"data") + array + text(b"filenames") + b"](" + text(b"a.png") + b"e" + b"u.")


def test_the_test_writes_what_python_reads():
    pixels, labels = cifar_batches()[0]
    judge = pickle.loads(python2_pickle(pixels, labels), encoding="bytes")
    np.testing.assert_array_equal(judge[b"data"], pixels)
    assert judge[b"labels"] == labels


WRITERS = {"python 2": python2_pickle} | {
    f"protocol {p}": (lambda x, y, p=p: pickle.dumps({b"data": x, b"labels": y, b"filenames": [b"a"] * len(y)}, p))
    for p in range(6)}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("below", ["", "cifar-10-batches-py"])
def test_cifar_in_python_batches(tmp_path: Path, writer: str, below: str):
    (tmp_path / below).mkdir(exist_ok=True)
    for i, (pixels, labels) in enumerate(cifar_batches()):
        (tmp_path / below / f"data_batch_{i + 1}").write_bytes(WRITERS[writer](pixels, labels))
    found = data.cifar10(tmp_path)
    np.testing.assert_array_equal(found.arrays[0], COLOR)
    assert found.arrays[1].tolist() == KINDS.tolist() and found.classes is not None and found.classes[9] == "truck"
    (tmp_path / below / "data_batch_3").unlink()
    with pytest.raises(data.DataError, match="data_batch_3 missing beside others"):
        data.cifar10(tmp_path)


def test_cifar_in_binary_batches(tmp_path: Path):
    for i, (pixels, labels) in enumerate(cifar_batches()):
        records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], 1)
        (tmp_path / f"data_batch_{i + 1}.bin").write_bytes(records.tobytes())
    found = data.cifar10(tmp_path)
    np.testing.assert_array_equal(found.arrays[0], COLOR)
    assert found.arrays[1].tolist() == KINDS.tolist()
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes()[:-1])
    with pytest.raises(data.DataError, match="records of 3073 bytes"):
        data.cifar10(tmp_path, "test")
    (tmp_path / "test_batch.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(data.DataError, match="classes 0 to 9; got 11 to 11"):
        data.cifar10(tmp_path, "test")


def test_cifar_as_a_folder(tmp_path: Path):
    for i, name in enumerate(["cat", "truck"]):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.fromarray(COLOR[i].transpose(1, 2, 0)).save(tmp_path / "train" / name / "1.png")
    found = data.cifar10(tmp_path)
    np.testing.assert_array_equal(found.arrays[0], COLOR[:2])
    assert found.classes is not None and [found.classes[i] for i in found.arrays[1]] == ["cat", "truck"]
    assert found.arrays[1].tolist() == [3, 9]  # as in the other forms
    (tmp_path / "train" / "lorry").mkdir()
    with pytest.raises(data.DataError, match="got 'lorry'"):
        data.cifar10(tmp_path)
    with pytest.raises(data.DataError, match="none of test_batch, test_batch.bin, and a folder test/"):
        data.cifar10(tmp_path, "test")


@pytest.mark.parametrize("content, message", [
    ({"data": COLOR[:2]}, r"uint8 \(N, 3072\); got the keys \['data'\]"), ([1], r"got the keys \[\]"),
    ({"data": COLOR[:2].reshape(2, -1), "labels": [1]}, "a list of 2 class numbers"),
    ({"data": COLOR[:2].reshape(2, -1), "labels": [1, "a"]}, "a list of 2 class numbers")])
def test_a_pickle_that_is_no_batch(tmp_path: Path, content, message: str):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(data.DataError, match=message):
        data.cifar10(tmp_path, "test")


PLAIN = [
    None, True, -1, 2**70, 1.5, "text", "é\n", b"bytes", b"", b"\xff" * 300, bytearray(b"ab"), (), (1,), (1, 2, 3, 4),
    [], {},
    {"a": [1, {"b": (2, None)}], 3: b"x"}, [[0] * 300, "y" * 300], list(range(2000)), {str(i): i for i in range(2000)},
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_as_pickle_does(protocol: int):
    for value in PLAIN:
        if isinstance(value, bytearray) and protocol < 5:  # written as a call of bytearray
            continue
        written = pickle.dumps(value, protocol)
        found = data.read_plain_pickle(written)
        assert found == pickle.loads(written) and type(found) is type(value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", [
    np.arange(6, dtype=">i4").reshape(2, 3), np.eye(3, dtype=np.float32), np.array(2.5), np.zeros((0, 4), np.uint8),
    np.asfortranarray(np.arange(6).reshape(2, 3)), np.array([True, False])], ids=str)
def test_arrays_are_read_as_pickle_does(array: np.ndarray, protocol: int):
    shared = data.read_plain_pickle(pickle.dumps([array, array], protocol))
    np.testing.assert_array_equal(shared[0], array)
    assert shared[0].dtype == array.dtype and shared[0].shape == array.shape and shared[1] is shared[0]


class Command:
    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


class State:
    def __init__(self) -> None:
        self.x = 1


CYCLE: list = []
CYCLE.append(CYCLE)
HOSTILE = {
    "a call": pickle.dumps(Command()), "a call, protocol 0": pickle.dumps(Command(), 0),
    "an object": pickle.dumps(State()), "a global": pickle.dumps(os.system), "eval": pickle.dumps(eval),
    "a set": pickle.dumps({1}), "cycle": pickle.dumps(CYCLE),
    "array of objects": pickle.dumps(np.array([Command()], object)),
    "inst": b"(S'touch EXECUTED'\nios\nsystem\n.",
    "dtype call": b"cnumpy\ndtype\n(S'O'\ntR.", "ndarray call": b"cnumpy\nndarray\n(I3\ntR.",
    "call of data": b"I1\n(tR.",
    "persistent": b"Pid\n.", "extension": b"\x82\x01.", "bare name": b"cnumpy\ndtype\n.", "no stop": b"I1\n",
    "empty": b"",
    "two values": b"I1\nI2\n.", "no value": b".", "no mark": b"t.", "memo": b"g7\n.", "text": b"hello",
    "half": pickle.dumps(GRAY)[:99],
    "build": b"I1\nI2\nb.", "append to a number": b"I1\nI2\na.",
    "tuple keys": pickle.dumps({(1, 2): 3}),
    "dotted": b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "big int": b"I" + b"9" * 5000 + b"\n.",
    "a wrong shape": pickle.dumps(np.arange(6)).replace(b"K\x06\x85", b"K\x07\x85"),
    "deep": b"(" * 3000 + b"l" * 3000 + b".", "bytes that are none": b"c_codecs\nencode\n(I1\ntR.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(data.DataError, match="file: cannot be read without executing it: ."):
        data.read_plain_pickle(HOSTILE[name], "file")
    assert not list(tmp_path.iterdir())


def test_the_hostile_file_would_have_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE["a call"])
    assert [p.name for p in tmp_path.iterdir()] == ["EXECUTED"]


def test_shared_parts_stay_shared():
    """A file of a few bytes that stands for 2^60 lists."""
    value: list = []
    for _ in range(60):
        value = [value, value]
    found = data.read_plain_pickle(pickle.dumps(value))
    assert found[0] is found[1]


def test_bundled_sets_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    for name in ("iris", "digits", "wine", "breast_cancer", "diabetes", "linnerud"):
        found, judge = data.sklearn(name), getattr(datasets, f"load_{name}")()
        x, y = found.arrays
        np.testing.assert_array_equal(x, judge.data.astype(np.float32))
        assert found.features == tuple(judge.feature_names)
        if name in ("diabetes", "linnerud"):
            np.testing.assert_array_equal(y, judge.target.reshape(len(x), -1).astype(np.float32))
            assert y.dtype == np.float32 and found.classes is None
        else:
            np.testing.assert_array_equal(y, judge.target)
            assert y.dtype == np.int32 and found.classes == tuple(map(str, judge.target_names))
    with pytest.raises(InputError, match="expected one of iris, digits.*got 'boston'"):
        data.sklearn("boston")
