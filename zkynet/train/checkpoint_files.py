"""One checkpoint on disk: arrays and a manifest, written by orbax in one atomic step and checked when read.

Orbax's simple, synchronous parts are used: a directory gets its name only when all in it is written, and no thread is
left at exit. The manifest has a sha256 of every array and of itself, so that what is read is what was written.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError

FORMAT = "zkynet checkpoint"
VERSION = 1
KINDS = ("model", "optimizer")
_NATIVE = {"bfloat16"}  # of the dtypes that NumPy does not have itself; the others are stored as bytes


def write_checkpoint(path: Path, state: Mapping[str, Any], producer: str) -> None:
    """Write {"model": arrays by name, "optimizer": the same, "progress": for JSON} as the new directory `path`."""
    import orbax.checkpoint as ocp

    arrays = {kind: {name: np.ascontiguousarray(value).reshape(np.shape(value)) for name, value in state[kind].items()}
              for kind in KINDS}
    facts = {kind: {name: _facts(array) for name, array in held.items()} for kind, held in arrays.items()}
    manifest = json.loads(json.dumps({"format": FORMAT, "version": VERSION, "zkynet": producer,
                                      "progress": state["progress"], "arrays": facts}))
    manifest["sha256"] = _digest_of(manifest)
    # Zero-sized arrays, which orbax refuses, are in the manifest only.
    stored = {kind: {name: _stored(array) for name, array in held.items() if array.size}
              for kind, held in arrays.items()}
    _checkpointer().save(path.absolute(), args=ocp.args.Composite(
        arrays=ocp.args.PyTreeSave(stored), manifest=ocp.args.JsonSave(manifest)))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given, plus "zkynet", the version that wrote it.

    Raises:
        CheckpointError: when it is no checkpoint of zkynet, of a later version, or anything in it was changed.
    """
    import orbax.checkpoint as ocp

    manifest = _manifest(path)
    try:
        found = _checkpointer().restore(path.absolute(), args=ocp.args.Composite(arrays=ocp.args.PyTreeRestore()))
        stored = {kind: dict(found["arrays"].get(kind) or {}) for kind in KINDS}
    except Exception as error:  # whatever orbax and tensorstore stumble over
        raise CheckpointError(f"{path} is damaged: its arrays cannot be read ({_reason(error)}).") from error
    state: dict[str, Any] = {"progress": manifest["progress"], "zkynet": manifest["zkynet"]}
    for kind in KINDS:
        facts = manifest["arrays"][kind]
        state[kind] = {name: _checked(path, f"{kind} {name}", fact, stored[kind].get(name))
                       for name, fact in facts.items()}
    return state


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest, found to be whole."""
    file = path / "manifest" / "metadata"
    if not path.is_dir() or not file.exists():
        raise CheckpointError(f"{path} is no checkpoint of zkynet: it is not a directory with a manifest.")
    try:
        manifest = json.loads(file.read_bytes())
        found = manifest.pop("sha256")
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{path} is no checkpoint of zkynet, but {str(manifest['format'])[:60]!r}.")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is damaged: its manifest cannot be read ({_reason(error)}).") from error
    if _digest_of(manifest) != found:
        raise CheckpointError(f"{path} is damaged: its manifest does not have the checksum it was written with.")
    if manifest["version"] != VERSION:
        raise CheckpointError(f"{path} has version {manifest['version']} of the format (zkynet {manifest['zkynet']}), "
                              f"but this zkynet reads version {VERSION}.")
    return manifest


def _facts(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": _digest(array)}


def _stored(array: np.ndarray) -> np.ndarray:
    odd = array.dtype.kind == "V" and array.dtype.name not in _NATIVE
    return np.frombuffer(array.tobytes(), np.uint8) if odd else array


def _checked(path: Path, name: str, fact: Mapping[str, Any], stored: Any) -> np.ndarray:
    """The array that the manifest tells of."""
    dtype, shape = np.dtype(fact["dtype"]), tuple(fact["shape"])
    if 0 in shape:
        return np.zeros(shape, dtype)
    if stored is None:
        raise CheckpointError(f"{path} is damaged: {name} is missing.")
    array = np.asarray(stored)
    if array.dtype != dtype and array.dtype == np.uint8 and array.nbytes == dtype.itemsize * np.prod(shape):
        array = np.frombuffer(array.tobytes(), dtype).reshape(shape)
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(f"{path} is damaged: {name} is {array.dtype}{list(array.shape)}, but was written as "
                              f"{dtype}{list(shape)}.")
    if _digest(array) != fact["sha256"]:
        raise CheckpointError(f"{path} is damaged: {name} does not have the checksum it was written with.")
    return array


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


@functools.cache
def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
