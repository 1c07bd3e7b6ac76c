"""Sharing each batch between local devices: rows are split, parameters and state are copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..framework.errors import InputError

if TYPE_CHECKING:
    from .trainer import Trainer


class OneDevice:
    """Everything stays where it is."""

    count = 1

    def check(self, size: int) -> None:
        pass

    def split(self, array: Any) -> Any:
        return array

    def copy(self, arrays: Sequence[Any]) -> list[Any]:
        return list(arrays)

    def gather(self, trainer: Trainer) -> None:
        pass


class SeveralDevices:
    """Data parallel: XLA adds up the gradients between the devices, so the numbers are those of one device."""

    def __init__(self, devices: Sequence[Any]):
        self.devices, self.count = devices, len(devices)
        mesh = Mesh(np.array(devices), ("rows",))
        self.rows = NamedSharding(mesh, PartitionSpec(None, "rows"))
        self.everywhere = NamedSharding(mesh, PartitionSpec())

    def check(self, size: int) -> None:
        """Whether the devices can share batches of this size."""
        if size % self.count:
            raise InputError(f"{self.count} devices cannot share a batch of {size} rows equally: choose a multiple of "
                             f"{self.count}.")

    def split(self, array: Any) -> Any:
        """Batches (batches, rows, ...), each shared; what cannot be shared equally is computed by every device."""
        return jax.device_put(array, self.everywhere if array.shape[1] % self.count else self.rows)

    def copy(self, arrays: Sequence[Any]) -> list[Any]:
        return [jax.device_put(array, self.everywhere) for array in arrays]

    def gather(self, trainer: Trainer) -> None:
        """Bring the trained values back to the first device."""
        states = [state for module in trainer.modules.values() for _, state in module.named_states()]
        known = [*trainer.optimizer.params, *trainer.optimizer.states, *states]
        for held in dict.fromkeys([*known, *trainer.changing]):  # a callback that evaluates has forgotten the loops
            held.commit(jax.device_put(held.value, self.devices[0]))


def mesh_of(devices: int | str | None) -> OneDevice | SeveralDevices:
    """The devices that a number, "all" or None stands for."""
    if devices is None:
        return OneDevice()
    local = jax.local_devices()
    count = len(local) if devices == "all" else devices
    if not isinstance(count, int) or not 1 <= count <= len(local):
        raise InputError(f'devices is a number from 1 to {len(local)} (those of this machine) or "all", but got '
                         f"{devices!r}.")
    return SeveralDevices(local[:count])
