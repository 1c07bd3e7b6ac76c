"""Loaders: order, coverage, padding, places, devices. Hypothesis chooses the sizes."""

from __future__ import annotations

import gc
import itertools
import json
import threading
import time
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zkynet
from zkynet import data
from zkynet.data.prefetch import Prefetch
from zkynet.framework.errors import DeviceError, InputError

SIZES = {"length": st.integers(1, 40), "batch_size": st.integers(1, 12), "seed": st.integers(-2**40, 2**40)}
OPTIONS = SIZES | {"shuffle": st.booleans(), "drop_last": st.booleans(), "pad_last": st.booleans(),
                   "prefetch": st.integers(0, 3)}


def loader_of(length: int, batch_size: int, drop_last: bool = False, **options) -> data.Loader:
    x = np.arange(length)
    return data.Loader((x, x * 10), min(batch_size, length), drop_last=drop_last, device="host", **options)


def contents(batches) -> list[tuple]:
    return [(*(a.tolist() for a in b.arrays), b.weights.tolist(), b.size) for b in batches]


@settings(deadline=None)
@given(**OPTIONS)
def test_every_example_comes_once_an_epoch(length, batch_size, seed, shuffle, drop_last, pad_last, prefetch):
    loader = loader_of(length, batch_size, drop_last, seed=seed, shuffle=shuffle, pad_last=pad_last, prefetch=prefetch)
    for epoch in range(3):
        assert loader.epoch == epoch
        order = loader.order()
        batches = list(loader)
        assert len(batches) == len(loader)
        real = np.concatenate([b.arrays[0][:b.size] for b in batches])
        np.testing.assert_array_equal(real, order)
        covered = length - length % loader.batch_size if drop_last else length
        assert len(np.unique(real)) == len(real) == covered == sum(b.size for b in batches)
        if not shuffle:
            assert real.tolist() == list(range(covered))
        for batch in batches:
            x, y = batch
            np.testing.assert_array_equal(y, x * 10)
            rows = loader.batch_size if pad_last else batch.size
            assert x.shape == y.shape == batch.weights.shape == (rows,) and batch.weights.dtype == np.float32
            assert batch.weights.tolist() == [1.0] * batch.size + [0.0] * (rows - batch.size)
            assert set(x[batch.size:]) <= set(x[:batch.size])
        assert all(b.size == loader.batch_size for b in batches[:-1])


@settings(deadline=None)
@given(stop=st.integers(0, 60), **OPTIONS)
def test_taken_up_at_any_place(stop, length, batch_size, seed, shuffle, drop_last, pad_last, prefetch):
    options = {"shuffle": shuffle, "pad_last": pad_last, "prefetch": prefetch}
    whole = loader_of(length, batch_size, drop_last, seed=seed, **options)
    expected = contents([batch for _ in range(3) for batch in whole])
    stop %= 2 * len(whole) + 1
    first, seen, state = loader_of(length, batch_size, drop_last, seed=seed, **options), [], None
    while state is None:
        if len(seen) == stop:  # also before anything, and right after an epoch's end
            state = json.loads(json.dumps(first.state()))
            break
        for batch in first:
            seen += contents([batch])
            if len(seen) == stop:
                state = json.loads(json.dumps(first.state()))
                break
    second = loader_of(length, batch_size, drop_last, seed=0, **options)  # the seed comes with the state
    second.load_state(state)
    rest = []
    while second.epoch < 3:
        rest += contents(second)
    assert seen + rest == expected
    while first.epoch < 3:  # the loader itself goes on in the same way
        seen += contents(first)
    assert seen == expected


def test_orders_change_with_seed_and_epoch():
    loaders = [loader_of(30, 5, seed=seed, shuffle=True) for seed in range(5)]
    assert len({tuple(loader.order(epoch).tolist()) for loader in loaders for epoch in range(5)}) == 25


def test_random_transforms_go_with_seed_and_epoch():
    dataset = data.Mapped(np.random.default_rng(0).random((10, 1, 6, 6)), data.RandomCrop(6, 3))
    first = data.Loader(dataset, 4, seed=1, device="host")
    epochs = [np.concatenate([b.arrays[0][:b.size] for b in first]) for _ in range(2)]
    assert (epochs[0] != epochs[1]).any()
    larger = data.Loader(dataset, 10, seed=1, device="host")
    np.testing.assert_array_equal(next(iter(larger)).arrays[0], epochs[0])
    larger.epoch, larger.position = 1, 0
    np.testing.assert_array_equal(larger.peek().arrays[0], epochs[1])
    other = data.Loader(dataset, 10, seed=2, device="host")
    assert (other.peek().arrays[0] != epochs[0]).any()


def test_peek_leaves_the_place():
    loader = loader_of(5, 2, shuffle=True)
    for _ in range(2):
        ahead = contents([loader.peek()])
        seen = contents(loader)
        assert seen[:1] == ahead and len(seen) == 3
    loader.epoch, loader.position = 0, 3  # at the end of an epoch: the next one's first
    ahead = contents([loader.peek()])
    assert loader.state()["position"] == 3
    assert contents([next(iter(loader))]) == ahead and loader.epoch == 1


TAKERS = {"zip": lambda loader: [batch for _, batch in zip(range(len(loader)), loader, strict=False)],
          "islice": lambda loader: list(itertools.islice(loader, len(loader))),
          "an iterator that is kept": lambda loader: [next(loader.kept) for _ in range(len(loader))]}


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("taker", TAKERS)
def test_taking_exactly_the_batches_of_an_epoch(taker: str, prefetch: int):
    judge = loader_of(5, 2, shuffle=True)
    expected = [contents(judge) for _ in range(3)]
    loader: Any = loader_of(5, 2, shuffle=True, prefetch=prefetch)
    for epoch in range(3):
        loader.kept = iter(loader)
        assert contents(TAKERS[taker](loader)) == expected[epoch]
        resumed = loader_of(5, 2, shuffle=True)
        resumed.load_state(json.loads(json.dumps(loader.state())))
        if epoch < 2:
            assert contents([resumed.peek()]) == expected[epoch + 1][:1] and contents(resumed) == expected[epoch + 1]
    loader.kept.close()
    assert (loader.epoch, loader.position) == (3, 0)


def test_a_padded_epoch_compiles_once():
    """Three batches, the last ragged: one program; and a second for the shorter batch when it is asked for."""
    mean: Any = jax.jit(lambda x, w: (x * w).sum() / w.sum())
    x = np.random.default_rng(0).random(10, np.float32)
    total = sum(float(mean(b.arrays[0], b.weights)) * b.size for b in data.Loader(x, 4))
    assert total == pytest.approx(x.sum(), rel=1e-6) and mean._cache_size() == 1
    total = sum(float(mean(b.arrays[0], b.weights)) * b.size for b in data.Loader(x, 4, pad_last=False))
    assert total == pytest.approx(x.sum(), rel=1e-6) and mean._cache_size() == 2


def test_batches_are_put_on_the_device():
    loader = data.Loader((np.zeros((6, 2)), np.arange(6)), 4)
    first, last = loader
    for batch in (first, last):
        assert all(isinstance(a, jax.Array) for a in (*batch.arrays, batch.weights))
        assert batch.arrays[0].dtype == np.float32 and batch.arrays[1].dtype == np.int32
    again = next(iter(loader))
    assert again.weights is first.weights  # ones are put there once
    for device in ("cpu", "cpu:0", jax.devices()[0]):
        (only,) = data.Loader(np.zeros(3), 3, device=device)
        assert only.arrays[0].devices() == {jax.devices()[0]} and only.weights.devices() == {jax.devices()[0]}
    (host,) = data.Loader(np.zeros(3), 3, device="host")
    assert isinstance(host.arrays[0], np.ndarray) and host.arrays[0].dtype == np.float64
    for wrong in ("tpu", "cpu:99", "cpu:x"):
        with pytest.raises(DeviceError, match=f"no device '{wrong}'; there is: cpu"):
            data.Loader(np.zeros(3), device=wrong)


def test_a_sharding_places_the_parts_of_a_batch():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    (batch,) = data.Loader((np.zeros((4, 2)), np.zeros(4)), 4, device=sharding)
    assert batch.arrays[0].sharding == sharding and batch.weights.sharding == sharding


@pytest.mark.parametrize("prefetch", [0, 2])
def test_contexts_of_the_caller_hold(prefetch: int):
    """64 bits and a default device are settings of a thread; batches are put in another one."""
    loader = data.Loader(np.arange(4.0), 2, prefetch=prefetch)
    with jax.enable_x64(True):
        assert [b.arrays[0].dtype for b in loader] == [np.float64] * 2
    with zkynet.device("cpu"):
        assert [b.arrays[0].devices() for b in loader] == [{jax.devices("cpu")[0]}] * 2
    assert [b.arrays[0].dtype for b in loader] == [np.float32] * 2


def test_a_batch_is_not_changed_by_what_comes_later():
    x = np.zeros((4, 1000), np.float32)
    loader = data.Loader(x, 2)
    first = next(iter(loader))
    x += 1
    assert not np.asarray(first.arrays[0]).any()


@pytest.mark.parametrize("values, fits", [
    (np.array([0, 2**40 + 5]), False), (np.array([-2**31 - 1]), False), (np.array([2**32], np.uint64), False),
    (np.array([-2**31, 2**31 - 1]), True), (np.array([2**32 - 1], np.uint64), True), (np.empty((2, 0), int), True)])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_integers_that_jax_would_wrap_are_refused(values: np.ndarray, fits: bool, prefetch: int):
    loader = data.Loader(values, 2, prefetch=prefetch, pad_last=False)
    arrays = data.ArrayDataset(values)
    if fits:
        np.testing.assert_array_equal(next(iter(loader)).arrays[0], values)
        np.testing.assert_array_equal(arrays.on_device()[0], values)
    else:
        for take in (lambda: list(loader), loader.peek, arrays.on_device):
            with pytest.raises(data.DataError, match=f"{values.dtype}: integers from .* to {values[-1]} do not fit"):
                take()
    with jax.enable_x64(True):
        np.testing.assert_array_equal(next(iter(loader)).arrays[0], values)
    (host,) = data.Loader(values, 2, device="host", pad_last=False)
    np.testing.assert_array_equal(host.arrays[0], values)


@pytest.mark.parametrize("options, message", [
    ({"batch_size": 0}, "batch_size >= 1.*got 0"), ({"workers": -1}, "workers >= 0"),
    ({"prefetch": -1}, "prefetch >= 0"),
    ({"batch_size": 4, "drop_last": True}, "3 examples make no batch of 4 with drop_last=True")])
def test_arguments_without_meaning(options, message: str):
    with pytest.raises(InputError, match=message):
        data.Loader(np.zeros(3), **options)
    with pytest.raises(InputError, match="0 examples make no batch of 32$"):
        data.Loader(np.zeros(0))


@pytest.mark.parametrize("change, message", [
    ({"batch_size": 3}, r"it has \{'batch_size': 3\}, this loader \{'batch_size': 2\}"), ({"length": 9}, "'length': 9"),
    ({"shuffle": True}, "'shuffle': True"), ({"position": 4}, "it has {'position': 4}, this loader 3 batches"),
    ({"epoch": "x"}, "not the state of a loader"), ({"seed": None}, "not the state of a loader")])
def test_states_of_other_loaders_are_refused(change, message: str):
    loader = loader_of(5, 2)
    next(iter(loader))
    before = loader.state()
    with pytest.raises(data.DataError, match=message):
        loader.load_state(before | change)
    with pytest.raises(data.DataError, match="not the state of a loader"):
        loader.load_state({})
    assert loader.state() == before


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_loader_has_one_place(prefetch: int):
    loader = loader_of(6, 2, prefetch=prefetch)
    outer = iter(loader)
    next(outer)
    assert contents(loader) == contents(loader_of(6, 2))[1:]  # goes on after the first batch
    with pytest.raises(InputError, match="taken elsewhere .* make a second loader"):
        list(outer)
    assert loader.state()["epoch"] == 1 and loader.state()["position"] == 0
    moved = iter(loader)
    next(moved)
    loader.load_state(loader.state() | {"epoch": 5})
    with pytest.raises(InputError, match="taken elsewhere"):
        next(moved)
    assert loader.epoch == 5


def prefetching() -> int:
    return sum(t.name == "zkynet-prefetch" for t in threading.enumerate())


def test_an_abandoned_loop_ends_its_thread():
    before = prefetching()
    loader = loader_of(100, 1)
    for _ in loader:
        break
    kept = iter(loader)
    next(kept)
    assert prefetching() == before + 1
    del kept
    gc.collect()
    assert prefetching() == before
    list(loader)
    assert prefetching() == before


class Broken:
    """Whose fourth example cannot be read."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int):
        if index == 3:
            raise LookupError("the fourth example is gone")
        return (index,)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_errors_come_at_their_batch(prefetch: int):
    loader = data.Loader(Broken(), 1, prefetch=prefetch, device="host")
    seen = []
    with pytest.raises(LookupError, match="the fourth example is gone"):
        for (x,) in loader:
            seen.append(x.item())
    assert seen == [0, 1, 2] and loader.position == 3


def test_prefetch_runs_ahead_and_no_further():
    started, gate = [], threading.Event()

    def items():
        for i in range(10):
            started.append(i)
            if i == 3:
                gate.set()
            yield i

    ahead = Prefetch(items(), depth=3)
    assert gate.wait(5)  # three are ready and the fourth waits for its place, before one is taken
    time.sleep(0.05)
    assert started == [0, 1, 2, 3]
    assert list(ahead) == list(range(10))
    assert list(ahead) == []
