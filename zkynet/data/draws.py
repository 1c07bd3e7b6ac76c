"""Random numbers that depend on (seed, epoch, index) alone.

They are hashes, not the output of a generator that advances: whichever process reads an example, in whichever order and
in a batch with whichever others, it gets the same numbers, after a restart and with any version of NumPy.
"""

from __future__ import annotations

from operator import index

import numpy as np

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def _mix(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014, with Stafford's constants), for each element."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _key(*numbers: int) -> np.ndarray:
    """One 64-bit number, as an array of one, from several integers."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        key = _mix((key ^ np.uint64(index(number) & MASK)) + np.uint64(GOLDEN))
    return key


def epoch_order(length: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    """The shuffled order of the examples in one epoch: an int64 permutation of 0..length-1.

    Depends on its arguments alone; a loader and a whole epoch run on the device use the same one.

    >>> epoch_order(5, seed=1, epoch=0).tolist() == epoch_order(5, seed=1, epoch=0).tolist()
    True
    >>> sorted(epoch_order(5, seed=1, epoch=1).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.argsort(_mix(np.arange(length, dtype=np.uint64) ^ _key(seed, epoch, 1)), kind="stable")


class Draws:
    """Random numbers for the rows of a batch; every call gives new ones, one for each row.

    Args:
        indices: which example each row is.
        seed, epoch: what else the numbers depend on.
        stream: another one gives other numbers for the same rows.

    >>> both = Draws(np.array([3, 7]), seed=0, epoch=2).uniform()
    >>> alone = Draws(np.array([7]), seed=0, epoch=2).uniform()
    >>> bool(both[1] == alone[0])
    True
    """

    def __init__(self, indices: np.ndarray, seed: int = 0, epoch: int = 0, stream: int = 0) -> None:
        self._rows = _mix(np.asarray(indices).astype(np.uint64) ^ _key(seed, epoch, 2 + stream))
        self._count = 0

    def bits(self) -> np.ndarray:
        """64 random bits for each row, uint64."""
        self._count += 1
        return _mix(self._rows + np.uint64(self._count * GOLDEN & MASK))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform in [low, high), float64."""
        return low + (high - low) * ((self.bits() >> np.uint64(11)) * 2.0**-53)

    def integers(self, low: int, high: int) -> np.ndarray:
        """Uniform over low, ..., high - 1, int64; at most 2^32 of them."""
        return low + ((self.bits() >> np.uint64(32)) * np.uint64(high - low) >> np.uint64(32)).astype(np.int64)

    def generators(self) -> list[np.random.Generator]:
        """A NumPy generator for each row, for everything else (slower: some microseconds a row)."""
        return [np.random.Generator(np.random.PCG64(int(bits))) for bits in self.bits()]
