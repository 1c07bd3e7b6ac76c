"""What compiled functions depend on besides their inputs: modes of modules, options of optimizers."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

# Compiled functions keep a program for each version. It is the same again when everything is as it was: the exclusive
# or of a random number for each object that changed and each value it had or has.
version = 0
_count = itertools.count()
_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def changed(holder: Any, before: Any, after: Any) -> None:
    """Let compiled functions see that a mode of this object is another one. Both values are hashable."""
    global version
    number = _numbers.get(holder)
    if number is None:
        number = _numbers[holder] = next(_count)
    version ^= hash((number, before)) ^ hash((number, after))
