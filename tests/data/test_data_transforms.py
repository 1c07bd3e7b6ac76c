"""Transforms: their values, and that random ones do not depend on batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zkynet import data
from zkynet.data.draws import Draws
from zkynet.framework.errors import InputError, ShapeError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 10, 12), dtype=np.uint8)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.int16, 32767), (np.uint16, 65535), (np.uint32, 2**32 - 1)])
def test_to_float_divides_integers_by_the_largest(dtype, top):
    out = data.ToFloat()(np.array([0, top, top // 3], dtype))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [0, 1, top // 3 / top], rtol=1e-6)


def test_to_float_keeps_floats():
    out = data.ToFloat()(np.array([0.5, -7.0]))
    assert out.dtype == np.float32 and out.tolist() == [0.5, -7.0]


def test_normalize_by_channel():
    torch = pytest.importorskip("torch")
    scaled = data.ToFloat()(IMAGES)
    out = data.Normalize([0.1, 0.2, 0.3], [1.0, 2.0, 0.5])(scaled)
    mean, std = torch.tensor([0.1, 0.2, 0.3])[:, None, None], torch.tensor([1.0, 2.0, 0.5])[:, None, None]
    np.testing.assert_allclose(out, ((torch.from_numpy(scaled) - mean) / std).numpy(), atol=1e-6)
    assert out.dtype == np.float32


def test_normalize_of_a_data_set():
    normal = data.Normalize.of((IMAGES, np.zeros(20)), batch=7)
    out = normal(IMAGES)
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 2, 3)), 1, atol=1e-5)
    table = np.stack([np.full(9, 5.0), np.arange(9.0)], 1)  # the first column is constant
    np.testing.assert_allclose(data.Normalize.of(table)(table)[:, 0], 0, atol=1e-6)


def test_normalize_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="positive std"):
        data.Normalize(0, [1, 0])
    with pytest.raises(ShapeError, match=r"expected shape \(N, 2, ...\); got \(20, 3, 10, 12\)"):
        data.Normalize([0, 0], 1)(IMAGES)


@pytest.mark.parametrize("dataset, message", [
    (np.zeros((0, 3)), "Normalize.of: 0 examples"), (np.zeros(3), r"shape \(C, ...\); got batches of shape \(3,\)")])
def test_normalize_of_nothing(dataset, message: str):
    with pytest.raises((InputError, ShapeError), match=message):
        data.Normalize.of(dataset)


@pytest.mark.parametrize("make, message", [
    (lambda: data.RandomCrop(0), "RandomCrop: size: expected a whole number of at least 1, or two; got 0"),
    (lambda: data.RandomCrop(4, padding=-1), "RandomCrop: padding: expected a whole number of at least 0"),
    (lambda: data.RandomCrop(2.5), "got 2.5"),  # pyright: ignore[reportArgumentType]
    (lambda: data.RandomCrop((3, 0)), r"got \(3, 0\)"), (lambda: data.Resize((1, 2, 3)), "Resize: size")])
def test_sizes_that_do_not_exist(make, message: str):
    with pytest.raises(InputError, match=message):
        make()
    assert data.RandomCrop(np.int64(4)).size == data.RandomCrop([4, 4]).size == (4, 4)  # pyright: ignore


def test_crops_are_parts_of_the_padded_image():
    images = np.arange(1, 1 + 400 * 5 * 6, dtype=np.int32).reshape(400, 1, 5, 6)
    out = data.RandomCrop((5, 4), padding=(2, 1))(images)
    padded = np.pad(images, [(0, 0), (0, 0), (2, 2), (1, 1)])
    places = set()
    for crop, image in zip(out, padded, strict=True):
        found = [(t, s) for t in range(5) for s in range(5) if (image[:, t:t + 5, s:s + 4] == crop).all()]
        assert len(found) == 1
        places.update(found)
    assert len(places) == 25  # every place is drawn, the last ones too
    with pytest.raises(ShapeError, match="parts of 9 x 9 of images that are, with their padding, 7 x 8"):
        data.RandomCrop(9, padding=1)(images)


def test_flips_are_half_of_the_images():
    images = np.tile(IMAGES[:1], (2000, 1, 1, 1))
    out = data.RandomHorizontalFlip()(images)
    flipped = (out == images[..., ::-1]).all((1, 2, 3))
    assert ((out == images).all((1, 2, 3)) ^ flipped).all()
    assert 900 < flipped.sum() < 1100
    assert (data.RandomHorizontalFlip(0.0)(images) == images).all()
    assert (data.RandomHorizontalFlip(1.0)(images) == images[..., ::-1]).all()
    with pytest.raises(InputError, match="probability"):
        data.RandomHorizontalFlip(1.5)


def test_resize_is_pillows():
    out = data.Resize((7, 5))(IMAGES)
    for image, small in zip(IMAGES, out, strict=True):
        whole = Image.fromarray(image.transpose(1, 2, 0)).resize((5, 7), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(small.transpose(1, 2, 0), np.asarray(whole))
    torch = pytest.importorskip("torch")
    floats = IMAGES.astype(np.float64)
    judge = torch.nn.functional.interpolate(torch.from_numpy(floats), (7, 5), mode="bilinear", antialias=True)
    np.testing.assert_allclose(data.Resize((7, 5))(floats), judge.numpy(), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("transform", [data.RandomCrop(3), data.Resize(3)])
def test_tables_are_no_images(transform):
    with pytest.raises(ShapeError, match=r"expected images \(N, ..., H, W\); got shape \(4, 4\)"):
        transform(np.zeros((4, 4)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 19), min_size=1, max_size=8), st.integers(-2**40, 2**40), st.integers(0, 10**6))
def test_random_transforms_do_not_depend_on_the_batch(indices, seed, epoch):
    mapped = data.Mapped(IMAGES, data.RandomCrop(10, 3), data.RandomHorizontalFlip(), data.ToFloat())
    together = data.read_rows(mapped, indices, seed, epoch).arrays[0]
    for i, index in enumerate(indices):
        np.testing.assert_array_equal(together[i], data.read_rows(mapped, [index], seed, epoch).arrays[0][0])
    subset = data.Subset(mapped, indices)
    np.testing.assert_array_equal(data.read_rows(subset, np.arange(len(indices)), seed, epoch).arrays[0], together)


def test_random_transforms_change_with_the_epoch():
    mapped = data.Mapped(np.tile(IMAGES, (10, 1, 1, 1)), data.RandomHorizontalFlip())
    first, second = (data.read_rows(mapped, np.arange(200), 0, epoch).arrays[0] for epoch in (0, 1))
    assert 60 < (first != second).any((1, 2, 3)).sum() < 140


def test_mapped_applies_to_the_component_named():
    mapped = data.Mapped((np.arange(4.0), np.arange(4.0)), lambda y: y * 10, on=-1)
    assert [value.item() for value in mapped[-1]] == [3.0, 30.0]
    with pytest.raises(IndexError, match="example 4 of 4"):
        mapped[4]
    with pytest.raises(ShapeError, match="keeps the first axis"):
        data.Mapped(np.zeros(4), lambda x: x[:1]).rows(np.array([0, 1]))


def test_a_random_transform_alone_draws_by_position():
    crop = data.RandomCrop(4)
    np.testing.assert_array_equal(crop(IMAGES), crop(IMAGES, Draws(np.arange(20))))


@pytest.mark.parametrize("between", [lambda dataset: dataset, lambda dataset: data.Subset(dataset, np.arange(400))],
                         ids=["directly", "a subset"])
def test_mapped_of_mapped_draw_different_numbers(between):
    """Two views of each image: the same crop of both would be one view, twice."""
    images = np.arange(1.0, 401.0)[:, None, None, None] * np.ones((1, 8, 8))
    first = data.Mapped((images, images), data.RandomCrop(8, 4))
    a, b = data.read_rows(data.Mapped(between(first), data.RandomCrop(8, 4), on=1), np.arange(400)).arrays
    assert (a != b).any((1, 2, 3)).mean() > 0.9
    np.testing.assert_array_equal(a, data.read_rows(first, np.arange(400)).arrays[0])
    behind = data.Mapped(between(data.Mapped((images, images), lambda x: x)), data.RandomCrop(8, 4))
    np.testing.assert_array_equal(a, data.read_rows(behind, np.arange(400)).arrays[0])
