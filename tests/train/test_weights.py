"""Weights as safetensors files: read by others, read from others, partial, refused."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from small_run import assert_identical

import zkynet
from zkynet import nn, train
from zkynet.framework import cg
from zkynet.framework.errors import InputError
from zkynet.framework.random_stream import RandomStream
from zkynet.train import load_weights, save_weights

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def network(seed: int = 0, width: int = 6) -> nn.Sequential:
    nn.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def held(model: cg.Module) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model.state_dict().items() if name.split(".")[-1] != "stream"}


class AllKinds(cg.Module):
    """A parameter or state of many dtypes, and a random stream, which is not saved."""

    def __init__(self, scale: int = 1):
        super().__init__()
        self.weights = [cg.Parameter("w", (np.arange(6).reshape(2, 3) * scale).astype(np.dtype(dtype)))
                        for dtype in ("float32", "bfloat16", "float16", "int32", "uint8", "bool", "complex64",
                                      "float8_e4m3fn", "float8_e5m2")]
        self.scalar = cg.Parameter("scalar", 3.0 * scale)
        self.empty = cg.Parameter("empty", np.zeros((0, 2), np.float32))
        self.turned = cg.Parameter("turned", np.asfortranarray(np.arange(6.0).reshape(2, 3) * scale))
        self.stream = RandomStream("stream", seed=scale)

    def call(self, x):
        return x


@pytest.mark.parametrize("make", [lambda seed: network(seed), lambda seed: AllKinds(seed + 1)])
def test_weights_come_back_to_the_bit(tmp_path: Path, make):
    model, other = make(0), make(1)
    path = save_weights(model, tmp_path / "deep" / "weights.safetensors")
    report = load_weights(other, path)
    assert_identical(held(model), held(other))
    assert report.complete and report.loaded == list(held(model)) and str(report) == f"{len(report.loaded)} loaded"
    assert report.metadata["producer"] == "zkynet" and report.metadata["version"] == zkynet.__version__
    assert [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]


def test_others_read_what_we_write_and_we_what_they_write(tmp_path: Path):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    ours = network()
    ours.append(nn.Dropout(0.5))
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2),
                                 torch.nn.Dropout(0.5)).eval()
    theirs.load_state_dict(safetensors_torch.load_file(save_weights(ours, tmp_path / "ours.safetensors")))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(ours.eval()(x).value, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)
    half = {name: value.to(torch.bfloat16) if value.is_floating_point() else value
            for name, value in theirs.state_dict().items()}
    safetensors_torch.save_file(half, tmp_path / "half.safetensors")
    again = network(seed=1)
    assert load_weights(again, tmp_path / "half.safetensors").complete
    np.testing.assert_array_equal(held(again)["0.weight"], half["0.weight"].float().numpy())
    assert held(again)["0.weight"].dtype == np.float32


def test_what_does_not_fit_is_reported(tmp_path: Path):
    model = network()
    arrays = held(model)
    arrays["head.weight"] = arrays.pop("2.weight")
    arrays["0.weight"] = np.zeros((6, 5), np.float32)
    arrays["1.num_batches_tracked"] = np.array(0.5, np.float32)
    safetensors_numpy.save_file(arrays, tmp_path / "other.safetensors")
    before = held(model)
    message = (r"other.safetensors does not fit Sequential: 6 loaded; missing in the file: 2.weight; not in the model: "
               r"head.weight; not fitting: 0.weight \(\(6, 5\) in the file, \(6, 4\) in the model\), 1.num_batches")
    with pytest.raises(train.WeightsError, match=message):
        load_weights(model, tmp_path / "other.safetensors")
    assert_identical(before, held(model))
    other = network(seed=1)
    kept = held(other)
    report = load_weights(other, tmp_path / "other.safetensors", strict=False)
    assert report.missing == ["2.weight"] and report.unexpected == ["head.weight"] and not report.complete
    assert list(report.misfits) == ["0.weight", "1.num_batches_tracked"] and "int32" in str(report)
    assert_identical({name: arrays[name] if name in report.loaded else kept[name] for name in kept}, held(other))


@pytest.mark.parametrize(("own", "given", "fits"), [
    ("int32", np.array([1, 2**31 - 1]), True), ("int32", np.array([1, 2**31]), False),
    ("int32", np.array([1.0, 2.0]), True), ("int32", np.array([1.0, 2.5]), False),
    ("uint8", np.array([1, -1]), False), ("float32", np.array([1, 2]), True), ("float32", np.array([0.1, 1e30]), True),
    ("bool", np.array([0, 1]), True), ("bool", np.array([0, 2]), False),
    ("float32", np.array([1 + 1j, 1], np.complex64), False), ("complex64", np.array([1.0, 2.0]), True)])
def test_dtypes_fit_where_nothing_is_lost_but_rounding(tmp_path: Path, own: str, given: np.ndarray, fits: bool):
    model = cg.Module.build("One", lambda x: x, (cg.Variable("x"),))
    model.w = cg.Parameter("w", np.zeros(2, own))  # pyright: ignore[reportAttributeAccessIssue]
    safetensors_numpy.save_file({"w": given}, tmp_path / "w")
    report = load_weights(model, tmp_path / "w", strict=False)
    assert report.complete == fits and held(model)["w"].dtype == own
    np.testing.assert_allclose(held(model)["w"], given if fits else np.zeros(2), rtol=1e-6)


def test_random_streams_may_be_missing(tmp_path: Path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    safetensors_numpy.save_file({n: a for n, a in held(model).items() if "stream" not in n}, tmp_path / "w.safetensors")
    assert load_weights(model, tmp_path / "w.safetensors").complete


def test_layers_without_sizes_are_named(tmp_path: Path):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(None, 2))
    for use in (save_weights, load_weights):
        with pytest.raises(InputError, match="^1 of Sequential has no parameters yet"):
            use(model, tmp_path / "w.safetensors")


def test_a_dtype_that_the_format_lacks_is_named(tmp_path: Path):
    with zkynet.precision("float64"):
        model = cg.Module.build("Complex", lambda x: x, (cg.Variable("x"),))
        model.w = cg.Parameter("w", np.ones(2, np.complex128))  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(train.WeightsError, match="cannot hold this: w is complex128"):
            save_weights(model, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


class Trap:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, w=np.ones(3))
    return file.getvalue()


def good() -> bytes:
    return safetensors_numpy.save({"w": np.ones((40, 50), np.float32)})


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def header(**entry: object) -> bytes:
    text = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}})
    return framed(text.encode()) + bytes(8)


FILES = {
    "pickle": (lambda tmp: pickle.dumps(Trap(tmp / "ran")), "is a pickle, not a safetensors file. It was not opened"),
    "zip": (lambda tmp: zipped(), r"is a zip archive, as torch.save .*safetensors.torch.save_file"),
    "npy": (lambda tmp: b"\x93NUMPY" + bytes(100), "is a NumPy file"),
    "hdf5": (lambda tmp: b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
    "text": (lambda tmp: b"these are my weights: 1, 2, 3", "is no whole safetensors file"),
    "empty": (lambda tmp: b"", "is no whole safetensors file"),
    "cut in the arrays": (lambda tmp: good()[:-10], "is no whole safetensors file"),
    "cut in the header": (lambda tmp: good()[:20], "is no whole safetensors file"),
    "too long": (lambda tmp: good() + b"more", "is no whole safetensors file"),
    "a huge header": (lambda tmp: (2**62).to_bytes(8, "little") + b"{" + bytes(100), "is no whole safetensors file"),
    "beyond the end": (lambda tmp: header(data_offsets=[0, 4096], shape=[1024]), "is no whole safetensors file"),
    "sizes that disagree": (lambda tmp: header(shape=[3]), "is no whole safetensors file"),
    "a deep header": (lambda tmp: framed(b'{"a":' * 20000), "is no whole safetensors file"),
    "no metadata": (lambda tmp: framed(b'{"__metadata__": 7}'), "is no whole safetensors file"),
    "an unknown dtype": (lambda tmp: header(dtype="F6_E2M3", shape=[8], data_offsets=[0, 6])[:-2], "dtype F6_E2M3"),
}


@pytest.mark.parametrize("case", FILES)
def test_other_files_are_refused_and_nothing_in_them_runs(tmp_path: Path, case: str):
    content, message = FILES[case]
    path = tmp_path / "weights.bin"
    path.write_bytes(content(tmp_path))
    with pytest.raises(train.WeightsError, match=message):
        load_weights(network(), path)
    assert not (tmp_path / "ran").exists()


def test_a_header_that_begins_like_a_pickle_is_read(tmp_path: Path):
    """0x80 = 128 is also the first byte of a header of 128 bytes."""
    text = json.dumps({"weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}).encode().ljust(128)
    (tmp_path / "w").write_bytes(len(text).to_bytes(8, "little") + text + np.float32(7).tobytes())
    model = nn.Linear(1, 1, bias=False)
    assert load_weights(model, tmp_path / "w").complete and float(model.weight.value[0, 0]) == 7


def test_metadata_may_be_null(tmp_path: Path):
    text = json.dumps({"__metadata__": None, "weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}})
    (tmp_path / "w").write_bytes(framed(text.encode()) + bytes(4))
    try:
        assert load_weights(nn.Linear(1, 1, bias=False), tmp_path / "w").metadata == {}
    except train.WeightsError as error:  # versions of safetensors differ in whether that is allowed
        assert "is no whole safetensors file" in str(error)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(train.WeightsError, match="none.safetensors cannot be read: No such file"):
        load_weights(network(), tmp_path / "none.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save_weights(network(), tmp_path / "w.safetensors")
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(network(seed=1), path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
