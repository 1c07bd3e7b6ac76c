"""Weights of a model as a safetensors file, which other libraries read, and which holds no code."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import zkynet

from ..framework import cg
from ..framework.errors import InputError
from ..framework.random_stream import RandomStream
from ..framework.templates import keeps_dtype
from .errors import WeightsError
from .files import replace_file

# safetensors' names of the dtypes, where NumPy's is another.
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}
# How files begin that are something else, but a header's size too might begin so: then a "{" follows it.
_STARTS = ((b"PK\x03\x04", "a zip archive, as torch.save and numpy.savez write"), (b"\x80", "a pickle"),
           (b"\x93NUMPY", "a NumPy file"), (b"\x89HDF", "an HDF5 file"), (b"\x1f\x8b", "a gzip file"))


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Attributes:
        loaded: paths that were set; missing: paths of the model that the file does not have; unexpected: names in the
            file that the model does not have; misfits: what has another shape, or a dtype that would lose digits,
            with the reason.
        metadata: what the file says about itself.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    misfits: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether file and model fit each other exactly."""
        return not (self.missing or self.unexpected or self.misfits)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} loaded"]
        for what, names in (("missing in the file", self.missing), ("not in the model", self.unexpected)):
            if names:
                lines.append(f"{what}: {_listed(names)}")
        if self.misfits:
            lines.append("not fitting: " + _listed([f"{path} ({reason})" for path, reason in self.misfits.items()]))
        return "; ".join(lines)


def save_weights(model: cg.Module, path: str | os.PathLike[str]) -> Path:
    """Write all parameters and states by path, as a whole or not at all; but not the place of random streams, which
    other libraries do not have (a `Checkpointer` keeps them).

    Returns:
        the path.

    Raises:
        InputError: when a layer has no parameters yet, as its sizes come from the first input.
        WeightsError: for a dtype that the format does not have.

    >>> import tempfile
    >>> from zkynet import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_weights(nn.Linear(3, 2), folder + "/linear.safetensors")
    ...     print(load_weights(nn.Linear(3, 2), path))
    2 loaded
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    _refuse_unmade(model)
    # Rows in order: safetensors takes the memory as it is.
    own = _own(model)
    named = {name: np.array(value, order="C") for name, value in model.state_dict().items()
             if not isinstance(own[name], RandomStream)}
    wrong = [f"{name} is {array.dtype}" for name, array in named.items() if array.dtype.name not in _DTYPES.values()]
    if wrong:
        raise WeightsError(f"safetensors files cannot hold this: {_listed(wrong)}.")
    metadata = {"format": "np", "producer": "zkynet", "version": zkynet.__version__, "model": model.functional_name}
    try:
        content = save(named, metadata)
    except SafetensorError as error:
        raise WeightsError(f"the weights of {model.functional_name} cannot be written: {error}.") from error
    return replace_file(path, content)


def load_weights(model: cg.Module, path: str | os.PathLike[str], strict: bool = True) -> LoadReport:
    """Set parameters and states by path, from a safetensors file. Nothing changes when an error is raised.

    Args:
        strict: refuse a file that does not fit exactly; otherwise set what fits, and report the rest. The model keeps
            its dtypes: floating point ones fit each other, others where no number is changed by it.

    Raises:
        WeightsError: when the file is no safetensors file or damaged; with `strict`, when it does not fit.
    """
    _refuse_unmade(model)
    found, metadata = _read(Path(path))
    own = _own(model)
    misfits = {name: reason for name, held in own.items() if name in found and (reason := _misfit(held, found[name]))}
    report = LoadReport(loaded=[name for name in own if name in found and name not in misfits],
                        missing=[name for name in own if name not in found and not own[name].optional],
                        unexpected=[name for name in found if name not in own], misfits=misfits, metadata=metadata)
    if strict and not report.complete:
        raise WeightsError(f"{path} does not fit {model.functional_name}: {report}. Pass strict=False to load what "
                           "fits.")
    model.load_state_dict({name: found[name].astype(own[name].dtype) for name in report.loaded}, strict=False)
    return report


def _own(model: cg.Module) -> dict[str, Any]:
    """Parameters and states by path."""
    return {**dict(model.named_parameters()), **dict(model.named_states())}


def _misfit(held: Any, array: np.ndarray) -> str:
    if held.shape != array.shape:
        return f"{array.shape} in the file, {held.shape} in the model"
    if held.dtype == array.dtype or keeps_dtype(held.dtype, array.dtype):
        return ""
    with np.errstate(invalid="ignore"), warnings.catch_warnings(action="ignore"):
        same = np.array_equal(array.astype(held.dtype), array)
    return "" if same else f"{array.dtype} in the file, {held.dtype} in the model"


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    from safetensors import SafetensorError, deserialize

    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    _refuse_others(path, content)
    try:
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8:8 + size]).get("__metadata__") or {}
        return {name: _array(name, item) for name, item in deserialize(content)}, dict(metadata)
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is no whole safetensors file: {error}. Copy or save it again.") from error


def _refuse_others(path: Path, content: bytes) -> None:
    """Say what a file is that is clearly something else."""
    for start, kind in _STARTS:
        if content.startswith(start) and content[8:9] != b"{":
            raise WeightsError(f"{path} is {kind}, not a safetensors file. It was not opened, as such files may run "
                               "code: save the weights with safetensors where they come from (for PyTorch, "
                               "safetensors.torch.save_file(model.state_dict(), path)).")


def _array(name: str, item: dict[str, Any]) -> np.ndarray:
    if item["dtype"] not in _DTYPES:
        raise WeightsError(f"{name} has the dtype {item['dtype']}, which is not known here.")
    return np.frombuffer(item["data"], np.dtype(_DTYPES[item["dtype"]])).reshape(item["shape"])


def _refuse_unmade(model: cg.Module) -> None:
    unmade = [path or model.functional_name for path, module in model.named_modules() if module.deferred]
    if unmade:
        raise InputError(f"{_listed(unmade)} of {model.functional_name} has no parameters yet, as the sizes come from "
                         "the first input: call the model once on an example, then save or load.")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
