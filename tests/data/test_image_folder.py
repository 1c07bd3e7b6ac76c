"""Folders of images, on files that the test writes with Pillow."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zkynet import data
from zkynet.framework.errors import InputError, ShapeError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """cat: 0, 1, and 2 in a folder of its own; dog: 3, 4, 5; beside what is no image."""
    for i, name in enumerate(["cat/0.png", "cat/1.PNG", "cat/more/2.png", "dog/3.png", "dog/4.bmp", "dog/5.webp"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(tmp_path / name, lossless=True)
    for name in ("cat/notes.txt", "cat/.hidden.png", "readme.md"):
        (tmp_path / name).write_text("not an image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_classes_files_and_pixels(root: Path):
    images = data.ImageFolder(root)
    assert images.classes == ("cat", "dog") and images.class_to_index == {"cat": 0, "dog": 1}
    assert [Path(f).name for f in images.files] == ["0.png", "1.PNG", "2.png", "3.png", "4.bmp", "5.webp"]
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1] and images.labels.dtype == np.int32
    assert images.size == (5, 7) and images.shape == (3, 5, 7)
    x, y = images[4]
    assert x.dtype == np.uint8 and y == 1
    np.testing.assert_array_equal(x, PIXELS[4].transpose(2, 0, 1))
    assert not images.problems


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_load_all(root: Path, threads):
    whole = data.ImageFolder(root).load_all(threads)
    np.testing.assert_array_equal(whole.arrays[0], PIXELS.transpose(0, 3, 1, 2))
    assert whole.arrays[1].tolist() == [0, 0, 0, 1, 1, 1] and whole.classes == ("cat", "dog")


def test_nothing_is_listed_or_read_before_it_is_asked_for(root: Path):
    images = data.ImageFolder(root)
    Image.fromarray(PIXELS[0]).save(root / "cat" / "late.png")
    (root / "dog" / "3.png").write_bytes(b"broken after the folder was made")
    assert len(images) == 7
    with pytest.raises(data.DataError):
        images[4]


def test_gray_is_pillows_conversion(root: Path):
    x, _ = data.ImageFolder(root, mode="gray")[1]
    np.testing.assert_array_equal(x[0], np.asarray(Image.fromarray(PIXELS[1]).convert("L")))


def test_resize(root: Path):
    Image.fromarray(PIXELS[0][:3]).save(root / "cat" / "0.png")
    with pytest.raises(ShapeError, match=r"0.png: expected .* height and width \(5, 7\); got \(3, 7\).*resize=True"):
        data.ImageFolder(root, size=(5, 7))[0]
    x, _ = data.ImageFolder(root, size=(4, 6), resize=True)[0]
    judge = Image.fromarray(PIXELS[0][:3]).resize((6, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(x.transpose(1, 2, 0), np.asarray(judge))
    assert data.ImageFolder(root, size=8, resize=True)[0][0].shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["I;16", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_pixel_becomes_eight_bits(tmp_path: Path, mode: str):
    (tmp_path / "a").mkdir()
    gray = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)
    image = Image.fromarray(gray.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(gray).convert(mode)
    kind = "tif" if mode == "CMYK" else "png"
    extra: dict[str, Any] = {"transparency": b"\0\5"} if mode == "P" else {}
    image.save(tmp_path / "a" / f"0.{kind}", **extra)
    x, _ = data.ImageFolder(tmp_path, mode="gray")[0]
    expected = np.asarray(image) * 255 if mode == "1" else gray  # Pillow dithers
    assert abs(x[0].astype(int) - expected).max() <= (3 if mode in ("P", "CMYK") else 0)


BREAKAGES = {
    "empty": lambda raw: b"",
    "no image": lambda raw: b"this is text",
    "cut short": lambda raw: raw[:len(raw) * 2 // 3],
    "a byte changed": lambda raw: raw[:60] + bytes([raw[60] ^ 255]) + raw[61:],
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_broken_files_are_refused_or_skipped(root: Path, how: str):
    path = root / "cat" / "1.PNG"
    path.write_bytes(BREAKAGES[how](path.read_bytes()))
    strict = data.ImageFolder(root)
    with pytest.raises(data.DataError, match=r"1\.PNG: cannot be read as an image \("):
        strict.load_all()
    images = data.ImageFolder(root, on_error="skip")
    whole = images.load_all(threads=2)
    np.testing.assert_array_equal(whole.arrays[0], PIXELS[[0, 2, 3, 4, 5]].transpose(0, 3, 1, 2))
    assert whole.arrays[1].tolist() == [0, 0, 1, 1, 1]
    assert list(images.problems) == [str(path)] and "cannot be read" in images.problems[str(path)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_leaves_broken_files_out_and_reports_them(root: Path, workers: int):
    """Whatever the transforms draw for the other examples stays what it was."""
    def batches():
        images = data.ImageFolder(root, size=(5, 7), on_error="skip")
        loader = data.Loader(data.Mapped(images, data.RandomHorizontalFlip()), 2, device="host", workers=workers)
        return loader, list(loader)

    _, before = batches()
    for name in ("cat/0.png", "cat/1.PNG", "dog/3.png"):  # the whole first batch, and half of the second
        (root / name).write_bytes(b"x")
    loader, after = batches()
    assert [b.size for b in after] == [1, 2] and [b.weights.tolist() for b in after] == [[1, 0], [1, 1]]
    np.testing.assert_array_equal(after[0].arrays[0][0], before[1].arrays[0][0])
    np.testing.assert_array_equal(after[0].arrays[0][1], before[1].arrays[0][0])
    np.testing.assert_array_equal(after[1].arrays[0], before[2].arrays[0])
    assert sorted(Path(p).name for p in loader.problems) == ["0.png", "1.PNG", "3.png"]
    assert loader.epoch == 1 and data.ImageFolder(root).fingerprint() == data.ImageFolder(root, "gray").fingerprint()
    loader.close()


def test_a_loop_over_images_does_not_end_at_a_broken_one(root: Path):
    (root / "cat" / "1.PNG").write_bytes(b"x")
    images = data.ImageFolder(root, size=(5, 7), on_error="skip")
    mapped = data.Mapped(images, data.ToFloat())
    for dataset in (images, mapped):
        with pytest.raises(data.DataError, match=r"1\.PNG: cannot be read as an image"):
            for _ in dataset:
                pass
    np.testing.assert_array_equal(mapped[2][0], images[2][0] / np.float32(255))


def test_an_image_of_another_size_is_skipped_when_asked(root: Path):
    Image.fromarray(PIXELS[0][:2]).save(root / "dog" / "3.png")
    images = data.ImageFolder(root, on_error="skip")
    assert len(images.load_all()) == 5 and "expected an image of height" in next(iter(images.problems.values()))


def test_what_a_folder_lacks(root: Path, tmp_path: Path):
    with pytest.raises(data.DataError, match="no folder .*nowhere"):
        data.ImageFolder(root / "nowhere")
    with pytest.raises(data.DataError, match="a sub-folder for each class; there is none"):
        len(data.ImageFolder(root / "dog"))
    (root / "bird").mkdir()
    with pytest.raises(data.DataError, match="bird: no image in this class"):
        len(data.ImageFolder(root))
    skipping = data.ImageFolder(root, on_error="skip")
    assert skipping.classes == ("bird", "cat", "dog") and len(skipping) == 6 and skipping.labels.min() == 1
    assert "no image" in skipping.problems[str(root / "bird")]


@pytest.mark.parametrize("below, left", [("cat/more", [0, 1, 3, 4, 5]), ("cat", [3, 4, 5]), ("", None)])
def test_folders_that_cannot_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch, below: str, left):
    closed, scandir = str(root / below), os.scandir

    def refuse(path: Any):
        if os.fspath(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = re.escape(f"{closed}: cannot be listed (PermissionError: Permission denied)")
    with pytest.raises(data.DataError, match=message):
        len(data.ImageFolder(root))
    if left is not None:
        images = data.ImageFolder(root, on_error="skip")
        np.testing.assert_array_equal(images.load_all().arrays[0], PIXELS[left].transpose(0, 3, 1, 2))
        assert list(images.problems) == [closed] and re.match(message, images.problems[closed])


def test_classes_may_be_given(root: Path):
    images = data.ImageFolder(root, classes=["mouse", "dog", "cat"])
    assert images.classes == ("mouse", "dog", "cat") and images.labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert Path(images.files[0]).parts[-2] == "dog" and images[0][1] == 1
    assert images.load_all().classes == images.classes
    with pytest.raises(data.DataError, match="expected sub-folders named cat, mouse; got 'dog'"):
        len(data.ImageFolder(root, classes=["cat", "mouse"]))


@pytest.mark.parametrize("wrong, message", [
    ({"size": 0}, "size: expected a whole number of at least 1, or two; got 0"), ({"size": (3, 4, 5)}, "or two"),
    ({"mode": "hsv"}, "'gray' or 'rgb'"), ({"on_error": "warn"}, "'raise' or 'skip'"),
    ({"resize": True}, "needs the size")])
def test_wrong_arguments(tmp_path: Path, wrong, message):
    with pytest.raises(InputError, match=message):
        data.ImageFolder(tmp_path, **wrong)


def test_splits_by_the_labels_of_a_folder(root: Path, tmp_path: Path):
    images = data.ImageFolder(root)
    parts = data.split(images, {"a": 2 / 3, "b": 1 / 3}, stratify=True)
    assert sorted(images.labels[parts["b"].indices].tolist()) == [0, 1]
    parts.save(tmp_path / "split.json")
    (root / "dog" / "3.png").rename(root / "dog" / "9.png")
    with pytest.raises(data.DataError, match="another data set of the same length"):
        data.Splits.load(tmp_path / "split.json", data.ImageFolder(root))
