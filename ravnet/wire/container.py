"""The container: safetensors, with the document in its metadata and a digest over all that it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from .schema import FormatError, Limits

_HEADER_LIMIT = 100_000_000  # of safetensors
_DIGEST = "sha256"
_DTYPES = {"BOOL": np.bool_, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "U8": np.uint8,
           "U16": np.uint16, "U32": np.uint32, "U64": np.uint64, "F16": np.float16, "F32": np.float32,
           "F64": np.float64, "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn,
           "F8_E5M2": ml_dtypes.float8_e5m2}


def write_container(tensors: Mapping[str, np.ndarray], document: str) -> bytes:
    """The bytes of a file."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    if len(document) > _HEADER_LIMIT // 2:
        raise FormatError(f"the graph's document has {len(document)} bytes, more than a container holds. Record fewer "
                          "calls, and execute the rest as another graph.")
    # The digest is a tensor, as safetensors does not keep metadata in order and equal graphs shall be equal files.
    return save({**arrays, _DIGEST: _digest(arrays, document)}, metadata={"graph": document})


def read_container(content: bytes, limits: Limits) -> tuple[dict[str, np.ndarray], str]:
    """Tensors and document of a file; raises FormatError when it is none, is damaged or is too large."""
    from safetensors import SafetensorError, deserialize

    if len(content) > limits.file_bytes:
        raise FormatError(f"this file has {len(content)} bytes, more than the {limits.file_bytes} allowed here.")
    try:
        entries = deserialize(content)
        metadata = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        document = metadata["graph"]
        tensors = {name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
                   for name, entry in entries}
        digest = tensors.pop(_DIGEST)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"this is no call-graph file, or it is damaged ({error!r:.200}).") from None
    if len(document) > limits.document_bytes:
        raise FormatError(f"the graph's document has {len(document)} bytes, more than the {limits.document_bytes} "
                          "allowed here.")
    if not np.array_equal(_digest(tensors, document), digest):
        raise FormatError("this file is damaged: its contents do not match their digest.")
    return tensors, document


def _digest(tensors: Mapping[str, np.ndarray], document: str) -> np.ndarray:
    found = hashlib.sha256(document.encode())
    for name in sorted(tensors):
        array = tensors[name]
        found.update(f"{name}{array.dtype.name}{array.shape}".encode())
        found.update(array.view(np.uint8).data if array.ndim and array.size else array.tobytes())
    return np.frombuffer(found.digest(), np.uint8)
