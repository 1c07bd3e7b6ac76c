"""Reading: what a TorchScript file is checked for before PyTorch gets to see it."""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from ...framework.errors import InputError


class Archive:
    """A TorchScript file that was read: PyTorch's own objects, which live until the model is translated."""

    def __init__(self, content: bytes, source: str):
        torch = _torch()
        self.content = content
        self.units = torch._C.CompilationUnit()
        try:
            self.root = torch._C.import_ir_module_from_buffer(self.units, content, torch.device("cpu"), {}, False)
        except (RuntimeError, ValueError, UnicodeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"{source}: PyTorch cannot read this TorchScript file: {reason[:300]}") from error

    @property
    def module(self) -> Any:
        """The torch.jit.ScriptModule."""
        return _torch().jit._recursive.wrap_cpp_module(self.root)

    def function(self, name: str) -> Any:
        """The graph of a function of the file."""
        return self.units.find_function(name).graph


def parts(module: Any, kind: str) -> list[tuple[str, Any]]:
    """The own ParameterDict, BufferDict or ModuleDict of one of PyTorch's modules, by name."""
    return getattr(_torch()._C, kind)(module).items()


def read(source: Any) -> Archive:
    """The TorchScript of a path, or of a ScriptModule in memory (which is copied).

    Raises:
        InputError: when it is neither, or the file is missing, damaged or something else; it says which.
    """
    torch = _torch()
    if isinstance(source, torch.jit.ScriptModule):
        return Archive(source.save_to_buffer(), f"the ScriptModule {source.original_name}")
    if isinstance(source, (torch.nn.Module, torch.jit.ScriptFunction)):
        raise InputError(f"{type(source).__name__} is no ScriptModule: pass torch.jit.script(module) or "
                         "torch.jit.trace(module, inputs), of a module.")
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"a path or a torch.jit.ScriptModule is needed, but got {type(source).__name__}.")
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{os.fspath(source)}: cannot be read: {error.strerror or error}.") from error
    return Archive(check(content, os.fspath(source)), os.fspath(source))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise InputError("TorchScript needs PyTorch to read and write its files: pip install torch.") from error
    return torch


_RUNS_CODE = re.compile(rb"^\s*def __setstate__\b", re.MULTILINE)


def check(content: bytes, name: str) -> bytes:
    """Refuse what is no whole TorchScript file; nothing is unpickled.

    Returns:
        the same as an archive written anew of the parts whose checksums are right. PyTorch's reader does not look at
        everything: of a part that is marked as a folder, by one bit, it makes a tensor of whatever is in memory.
    """
    hint = "Save the model with torch.jit.script(model).save(path)."
    clean = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file, zipfile.ZipFile(clean, "w") as copy:
            names = file.namelist()
            inner = {part.partition("/")[2] for part in names}
            if not any(part.startswith("code/") for part in inner) or "constants.pkl" not in inner:
                kind = ("what torch.save writes, a pickle, which is not opened as it can run any code"
                        if "data.pkl" in inner else "a zip file of another kind")
                raise InputError(f"{name}: this is {kind}, not TorchScript. {hint}")
            if len(set(names)) < len(names):
                raise InputError(f"{name}: the file is damaged: two of its parts have the same name.")
            for part in names:
                copy.writestr(zipfile.ZipInfo(part), _checked(file, part, name))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        if content[:1] == b"\x80":
            raise InputError(f"{name}: this is a pickle, which is not opened as it can run any code. {hint}") from None
        raise InputError(f"{name}: this is no TorchScript file, or a part of one ({error}). {hint}") from None
    return clean.getvalue()


def _checked(file: zipfile.ZipFile, part: str, name: str) -> bytes:
    """The content of one part."""
    try:
        data = file.read(part)
    except zipfile.BadZipFile as error:
        raise InputError(f"{name}: the file is damaged: the checksum of {part} is wrong ({error}).") from None
    if part.endswith(".py") and _RUNS_CODE.search(data):
        raise InputError(f"{name}: the file has code that runs while it is loaded (__setstate__ in {part}, as "
                         "quantized modules have), which is not supported.")
    return data
