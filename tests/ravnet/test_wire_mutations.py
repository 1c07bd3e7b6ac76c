"""20,000 damaged or hostile files: each is refused with a reason or read as what it says, and nothing runs.

Half of them are damaged bytes. The other half have a correct digest and a document that lies: values of JSON replaced,
removed, swapped or multiplied, as somebody could write who knows the format.
"""

from __future__ import annotations

import json
import random
import resource
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from graphs import GRAPHS

import zkynet
from ravnet.wire.codec import decode, encode
from ravnet.wire.container import read_container, write_container
from ravnet.wire.graph import CallGraph
from ravnet.wire.schema import FormatError, Limits

NAMES = ("training of an MLP", "training of a conv net", "numbers and indices", "a loop", "several outputs")
LIMITS = Limits(file_bytes=10**7, value_bytes=10**7, calls=1000, leaves=1000, operators=10_000, exported=False)
SECONDS = 20  # for one file: what is not refused by then, hangs
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 10**6, 2**31, 2**63, 10**30, -10**18, 0.0, 1.5, -1e308, "", "x", "float32",
    "add", "../../etc/passwd", "__import__('os')", [], [0], [[]], [-1], [10**12], {}, {"float": "nan"},
    {"dtype": "object"}, {"program": 0}, {"program": 99}, {"optimizer": {}}, {"slice": [0, 1]},
    {"layout": [[], [0, 0], []]}, {"aval": ["float32", [10**9]]}]


@pytest.fixture
def bounded() -> Iterator[None]:
    """At most 4 GiB more than now, and a time for each file."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * 2**30, before[1]))

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"a file took more than {SECONDS} s")

    handler = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


def read(content: bytes) -> CallGraph | None:
    """The graph, or None when it is refused with a reason."""
    signal.alarm(SECONDS)
    try:
        graph = decode(content, LIMITS)
    except FormatError as error:
        assert str(error)
        return None
    finally:
        signal.alarm(0)
    return graph


def damaged(content: bytes, draw: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(data)) if draw.random() < 0.7 else draw.randrange(min(len(data), 64))
        match draw.randrange(4):
            case 0:
                data[place] ^= 1 << draw.randrange(8)
            case 1:
                data[place] = draw.randrange(256)
            case 2:
                del data[place:place + draw.choice((1, 8, 1000))]
            case 3:
                data[place:place] = draw.randbytes(draw.choice((1, 8, 100)))
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_bytes(name: str, bounded: None):
    content = encode(GRAPHS[name]())
    draw = random.Random(name)
    before = zkynet.compile_stats().compilations
    for _ in range(10_000 // len(NAMES)):
        mutated = damaged(content, draw)
        graph = read(mutated)
        assert graph is None or encode(graph) == content  # padding, which says nothing
    assert zkynet.compile_stats().compilations == before


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON document."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def lying(text: str, draw: random.Random) -> str:
    document = json.loads(text)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        found = list(places(document))
        tree, key = draw.choice(found)
        match draw.randrange(5):
            case 0 | 1:
                tree[key] = draw.choice(VALUES)
            case 2:
                del tree[key]
            case 3:
                other, place = draw.choice(found)
                tree[key] = json.loads(json.dumps(other[place]))
            case 4:
                tree[key] = tree[key] * 3 if isinstance(tree[key], (int, str, list)) else [tree[key]]
    return json.dumps(document)


@pytest.mark.parametrize("name", NAMES)
def test_lying_documents(name: str, bounded: None):
    tensors, text = read_container(encode(GRAPHS[name]()), LIMITS)
    draw = random.Random(name)
    before = zkynet.compile_stats().compilations
    refused = 0
    for _ in range(10_000 // len(NAMES)):
        graph = read(write_container(tensors, lying(text, draw)))
        refused += graph is None
        if graph is not None:
            graph.check()
            assert all(np.asarray(leaf).nbytes <= LIMITS.value_bytes for leaf in graph.leaves.values())
    assert refused > 1000
    assert zkynet.compile_stats().compilations == before
