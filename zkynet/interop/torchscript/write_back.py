"""Back to PyTorch: the file that was loaded, with the present weights in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...framework.errors import InputError
from .archive import Archive, parts
from .module import TorchScriptModule


def to_torch(module: TorchScriptModule) -> Any:
    """The torch.jit.ScriptModule that was loaded, with the module's present parameters, buffers and mode.

    Raises:
        InputError: for a part of a loaded model, or another module.

    >>> import numpy as np, torch, warnings
    >>> from zkynet.interop import torchscript
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     model = torchscript.load(torch.jit.script(torch.nn.Linear(2, 1)))
    >>> model.weight.value, model.bias.value = np.ones((1, 2)), np.zeros(1)
    >>> torchscript.to_torch(model)(torch.tensor([3.0, 4.0])).tolist()
    [7.0]
    """
    import torch

    if not isinstance(module, TorchScriptModule) or module.content is None:
        raise InputError(f"{module!r} was not loaded as a whole from TorchScript, so there is no file into which its "
                         "weights could be written back: pass what load() returned.")
    theirs = Archive(module.content, module.functional_name).module
    with torch.no_grad():
        _write(module, theirs._c)
    return theirs


def save(module: TorchScriptModule, path: str | os.PathLike) -> None:
    """Write `to_torch(module)` to a file, which torch.jit.load and `load` read; it is whole, or not there."""
    target = Path(path)
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        unfinished.write_bytes(to_torch(module).save_to_buffer())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _write(ours: TorchScriptModule, theirs: Any) -> None:
    import torch

    if theirs.hasattr("training"):
        theirs.setattr("training", ours.training)
    children = dict(parts(theirs, "ModuleDict"))
    for name, member in ours.members.items():
        if name in children:
            _write(member, children[name])
        elif theirs.hasattr(name):  # the random stream is ours alone
            tensor = theirs.getattr(name)
            array = np.asarray(member.value)
            array = array.astype(np.float32) if array.dtype.kind == "V" else array.copy()
            tensor.copy_(torch.from_numpy(array).to(tensor.dtype))
    for name, value in ours.values.items():
        if isinstance(value, (int, float, str)) and theirs.hasattr(name) and theirs.getattr(name) != value:
            theirs.setattr(name, value)
