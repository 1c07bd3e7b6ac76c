"""Keeping large temporaries mapped, so that a step does not pay for page faults anew.

XLA:CPU allocates a program's temporaries at every run. Above a limit (32 MiB at most) glibc maps each from the kernel
and returns it afterwards; a small conv net spends a third of its time on that. With a higher limit freed memory is used
again. That holds for the whole process, so it is done by what trains, not by importing, and can be switched off.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # M_* of glibc's malloc.h
_LIMIT = 2**30
# What other threads than the first allocate lies in heaps of 64 MiB, which are unmapped when they become empty unless
# this much more than one is to be kept (heap_trim in glibc's malloc/arena.c). It costs addresses, no memory.
_PAD = 2**27
_OPTIONS = (_MMAP_THRESHOLD, _LIMIT), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PAD)


@functools.cache
def keep_large_blocks() -> bool:
    """Raise glibc's limits, once; whether that was possible. ZKYNET_KEEP_MEMORY=0 in the environment leaves them."""
    if not sys.platform.startswith("linux") or os.environ.get("ZKYNET_KEEP_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return all(mallopt(*option) for option in _OPTIONS)
