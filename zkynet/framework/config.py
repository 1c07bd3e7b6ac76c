"""Device and precision in force: defaults and context managers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from .errors import DeviceError

_PRECISIONS = {"float32": None, "bfloat16": "bfloat16", "float64": "float64"}
_default: str = "float32"
_override: ContextVar[str | None] = ContextVar("zkynet_precision", default=None)
# Whether any precision but the default was ever asked for: the common case must cost nothing per leaf.
casts = False


def compute_dtype() -> np.dtype | None:
    """The dtype that floating leaves are cast to, or None to leave them as they are."""
    name = _PRECISIONS[_override.get() or _default]
    return None if name is None else jax.numpy.dtype(name)


def _check(name: str) -> None:
    if name not in _PRECISIONS:
        raise DeviceError(f"unknown precision {name!r}: choose one of {', '.join(map(repr, _PRECISIONS))}.")


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Compute in this floating dtype: "float32", "bfloat16" or "float64".

    Floating leaves (inputs, parameters) are cast when they enter a graph; gradients arrive in the leaf's
    own dtype, so bfloat16 computes with float32 parameters. "float64" also switches JAX's 64-bit mode on.

    Raises:
        DeviceError: for any other name.

    >>> import numpy as np, zkynet
    >>> from zkynet.framework import op
    >>> with zkynet.precision("bfloat16"):
    ...     y = op.square(np.ones(3, np.float32))
    >>> y.dtype.name
    'bfloat16'
    """
    global casts
    _check(name)
    token = _override.set(name)
    casts = True
    try:
        with jax.enable_x64(name == "float64"):
            yield
    finally:
        _override.reset(token)


def set_precision(name: str) -> None:
    """Make a precision the default of this process; see `precision`."""
    global _default, casts
    _check(name)
    _default = name
    casts = casts or name != "float32"
    jax.config.update("jax_enable_x64", name == "float64")


def find_device(name: str) -> Any:
    """The device called "cpu", "gpu", "gpu:1", ...; raises DeviceError naming those that exist."""
    platform, _, index = name.partition(":")
    try:
        return jax.devices(platform or "no name")[int(index or 0)]
    except (RuntimeError, IndexError, ValueError):
        known = ", ".join(f"{d.platform}:{d.id}" for d in jax.devices())
        raise DeviceError(f"there is no device {name!r} here; JAX sees: {known}. "
                          "For a GPU install jax with CUDA support.") from None


@contextlib.contextmanager
def device(name: str) -> Iterator[None]:
    """Make and compute arrays on this device: "cpu", "gpu", "gpu:1", ...

    Raises:
        DeviceError: when there is no such device.

    >>> import zkynet
    >>> with zkynet.device("cpu"):
    ...     pass
    """
    with jax.default_device(find_device(name)):
        yield


def set_device(name: str) -> None:
    """Make a device the default of this process; see `device`."""
    jax.config.update("jax_default_device", find_device(name))
