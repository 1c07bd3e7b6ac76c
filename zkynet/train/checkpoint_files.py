"""One checkpoint on disk: a directory with arrays, as orbax writes them, and a manifest that they are checked against.

The directory gets its name when all in it is written. The manifest has a sha256 of every file, of every array, and of
itself. Files are checked before orbax looks at them; arrays afterwards, so that what is read is what was written.

Only orbax's synchronous parts are used: no thread is left behind, and a checkpoint is there when `write_checkpoint`
returns. With its CheckpointManager a save takes longer, and would end before the checksums of the files are known.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError
from .files import replace_file

FORMAT = "zkynet checkpoint"
VERSION = 1
KINDS = ("model", "loss", "prepare", "optimizer")  # of arrays; those without any may be missing
MANIFEST, ARRAYS = "manifest.json", "arrays"
UNFINISHED = ".unfinished"  # the end of a directory's name while it is written
_NATIVE = "bfloat16"  # the one dtype beyond NumPy's that orbax stores everywhere; the others are stored as bytes


def write_checkpoint(path: Path, state: Mapping[str, Any], producer: str) -> None:
    """Write {"model": arrays by name, "optimizer": the same and so on, "progress": for JSON} as the new directory."""
    arrays = {kind: {name: np.asarray(value) for name, value in state[kind].items()} for kind in KINDS
              if state.get(kind)}
    # Arrays without elements, which orbax refuses, are in the manifest only.
    stored = {kind: {name: _stored(array) for name, array in held.items() if array.size}
              for kind, held in arrays.items()}
    part = path.with_name(path.name + UNFINISHED).absolute()
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _orbax().save(part / ARRAYS, stored)
        files = {str(file.relative_to(part)): _digest_of_file(file, sync=True) for file in _files(part / ARRAYS)}
        facts = {kind: {name: _facts(array) for name, array in held.items()} for kind, held in arrays.items()}
        manifest = json.loads(json.dumps({"format": FORMAT, "version": VERSION, "zkynet": producer, "files": files,
                                          "progress": state["progress"], "arrays": facts}))
        manifest["sha256"] = _digest_of(manifest)
        replace_file(part / MANIFEST, json.dumps(manifest, indent=1).encode())
        os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given, plus "zkynet", the version that wrote it.

    Raises:
        CheckpointError: when it is no checkpoint of zkynet, of another version, or anything in it was changed.
    """
    manifest = _manifest(path)
    _check_files(path, manifest["files"])
    try:
        found = _orbax().restore(path.absolute() / ARRAYS)
        stored = {kind: dict(found.get(kind) or {}) for kind in KINDS}
    except Exception as error:  # whatever orbax and tensorstore stumble over
        raise CheckpointError(f"{path} is damaged: its arrays cannot be read ({_reason(error)}).") from error
    state: dict[str, Any] = {"progress": manifest["progress"], "zkynet": manifest["zkynet"]}
    for kind in KINDS:
        state[kind] = {name: _checked(path, f"{kind} {name}", fact, stored[kind].get(name))
                       for name, fact in manifest["arrays"].get(kind, {}).items()}
    return state


# The manifest ----------------------------------------------------------------------------------------------


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest, found to be whole."""
    file = path / MANIFEST
    if not file.is_file():
        raise CheckpointError(f"{path} is no checkpoint of zkynet, or not a whole one: there is no {MANIFEST} in it.")
    try:
        manifest = json.loads(file.read_bytes())
        found, kind, version = manifest.pop("sha256"), manifest["format"], manifest["version"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: its manifest cannot be read ({_reason(error)}).") from error
    if kind != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of zkynet, but {str(kind)[:60]!r}.")
    if _digest_of(manifest) != found:
        raise CheckpointError(f"{path} is damaged: its manifest does not have the checksum it was written with.")
    if version != VERSION:
        raise CheckpointError(f"{path} has version {version} of the format (zkynet {manifest['zkynet']}), but this "
                              f"zkynet reads version {VERSION}.")
    return manifest


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


# Files -----------------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _digest_of_file(file: Path, sync: bool = False) -> str:
    """The checksum of a file; with `sync`, it is on the disk afterwards."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if sync:
            os.fsync(stream.fileno())
    return digest


def _check_files(path: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        try:
            found = _digest_of_file(path / name)
        except OSError as error:
            raise CheckpointError(f"{path} is damaged: {name} cannot be read ({error.strerror}).") from error
        if found != digest:
            raise CheckpointError(f"{path} is damaged: {name} does not have the checksum it was written with.")


# Arrays ----------------------------------------------------------------------------------------------------


def _facts(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": _digest_of_array(array)}


def _stored(array: np.ndarray) -> np.ndarray:
    odd = array.dtype.kind == "V" and array.dtype.name != _NATIVE
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
    if array.dtype != dtype or array.shape != shape or _digest_of_array(array) != fact["sha256"]:
        raise CheckpointError(f"{path} is damaged: {name} is not the array that was written.")
    return array


def _digest_of_array(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


@functools.cache
def _orbax() -> Any:
    import orbax.checkpoint as ocp

    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
