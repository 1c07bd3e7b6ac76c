"""From a file to a module: its tensors, its parts, and the programs of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...framework import cg
from ...framework.errors import GraphError, InputError
from ...framework.random_stream import RandomStream
from ...nn.init import fresh_seed
from .archive import Archive, parts, read
from .decoder import Decoder
from .module import Argument, TorchScriptModule


def load(source: Any, method: str = "forward", seed: int | None = None) -> TorchScriptModule:
    """A TorchScript model as a trainable Module (torch.jit.script and torch.jit.trace make such models).

    PyTorch reads the file; everything is computed here. Parameters and buffers keep PyTorch's names, tied weights are
    one parameter, and those that need no gradient are frozen. What the model draws (dropout) comes from one random
    stream.

    Args:
        source: a path, or a torch.jit.ScriptModule, which is copied. PyTorch warns against loading files from people
            whom you do not trust.
        method: what a call runs; others must be marked torch.jit.export.
        seed: of the random stream; drawn from the generator of `nn.manual_seed` by default.

    Returns:
        the module, in the mode (training or not) in which it was saved.

    Raises:
        InputError: when PyTorch is missing; when the file is missing, damaged, or no TorchScript; when it has not the
            method.
        GraphError: when there are operators without a rule: all of them, with their places in the model's source.

    >>> import numpy as np, torch, warnings
    >>> from zkynet.interop import torchscript
    >>> with warnings.catch_warnings():  # PyTorch's, about its newer formats
    ...     warnings.simplefilter("ignore")
    ...     scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()))
    >>> model = torchscript.load(scripted)
    >>> [name for name, _ in model.named_parameters()], model(np.ones((2, 3), np.float32)).shape
    (['0.weight', '0.bias'], (2, 4))
    """
    archive = read(source)
    loading = Loading(archive, seed)
    root = loading.build(archive.root, (), method)
    if not archive.root._has_method(method):
        raise InputError(f"the TorchScript model {root.functional_name} has no method {method!r}; it has: "
                         f"{', '.join(archive.root._method_names()) or 'none'}.")
    root.method, root.content, root.aliases = method, archive.content, loading.aliases
    loading.decode(root, method)
    if loading.writes:  # all steps must know that tensors are written to
        loading.mutable = True
        for module in loading.parts:
            module.programs.clear()
        loading.decode(root, method)
    if loading.unsupported:
        found = "\n".join(f"  {what} at {place}" for what, place in loading.unsupported)
        raise GraphError(f"the TorchScript model {root.functional_name} uses what zkynet has no rule for:\n{found}")
    for module in loading.parts:
        module.writes = loading.writes
    if loading.draws:
        loading.keep_stream(root)
    return root


class Loading:
    """What is needed while one model is translated: PyTorch's objects beside the modules that are made of them."""

    def __init__(self, archive: Archive, seed: int | None):
        self.archive = archive
        self.stream = RandomStream("stream", fresh_seed() if seed is None else seed)
        self.parts: dict[TorchScriptModule, Any] = {}  # and PyTorch's module of each
        self.held: dict[Any, tuple[str, Any]] = {}  # by place in memory: tied weights are one
        self.aliases: dict[str, str] = {}
        self.changing: set[tuple[str, str]] = set()  # (class, attribute) that methods assign
        self.searched: set[str] = set()  # classes that were looked through for them
        self.draws = False  # whether any program needs the stream
        self.writes = False  # whether any program writes to a tensor that is no buffer
        self.mutable = False  # whether steps look for tensors that were written to
        self.unsupported: dict[tuple[str, str], None] = {}  # (operator, place), each once

    # Modules and tensors ----------------------------------------------------------------------------------

    def build(self, theirs: Any, path: tuple[str, ...], method: str = "forward") -> TorchScriptModule:
        kind = theirs._type()
        arguments = _arguments(theirs, method) if theirs._has_method(method) else ()
        made = TorchScriptModule(kind.name(), kind.annotation_str, arguments)
        self.parts[made] = theirs
        self._search(theirs, kind.annotation_str)
        made.training = bool(theirs.getattr("training")) if theirs.hasattr("training") else False
        for name, tensor in parts(theirs, "ParameterDict"):
            made.members[name] = self._held(tensor, (*path, name), lambda key, array, tensor=tensor: cg.Parameter(
                key, array, trainable=tensor.requires_grad))
        for name, tensor in parts(theirs, "BufferDict"):
            made.members[name] = self._held(tensor, (*path, name), cg.State)
        for name, child in parts(theirs, "ModuleDict"):
            made.members[name] = self.build(child, (*path, name))
        return made

    def _held(self, tensor: Any, path: tuple[str, ...], kind: Any) -> Any:
        """The parameter or state of a tensor: one for all names of the same."""
        name = ".".join(path)
        key = _key(tensor)
        if key is not None and key in self.held:
            first, held = self.held[key]
            self.aliases[name] = first
            return held
        held = kind(path[-1], _array(tensor, name))
        if key is not None:
            self.held[key] = name, held
        return held

    def _search(self, theirs: Any, class_name: str) -> None:
        if class_name in self.searched:
            return
        self.searched.add(class_name)
        for method in theirs._method_names():
            for node in theirs._get_method(method).graph.findAllNodes("prim::SetAttr"):
                owner = next(iter(node.inputs()))
                self.changing.add((owner.type().annotation_str, node.s("name")))

    def keep_stream(self, root: TorchScriptModule) -> None:
        """Give the model its stream, under a name that is free."""
        name = "stream"
        while name in root.members:
            name += "_"
        self.stream.short_name = name
        root.members[name] = self.stream

    # What decoding asks for -----------------------------------------------------------------------------

    def graph(self, module: TorchScriptModule, method: str) -> Any:
        return self.parts[module]._get_method(method).graph

    def function(self, name: str) -> Any:
        return self.archive.function(name)

    def decode(self, module: TorchScriptModule, method: str, place: str = "") -> None:
        """Make the programs of a method, for both modes; those of other modules that it calls, too.

        `place` is where it is called, in the user's source."""
        for training in (True, False):
            key = method, training
            if key not in module.programs:
                graph = self.graph(module, method)
                count = len(list(graph.inputs())) - 1
                module.programs[key] = Decoder(module, self, training, place).program(graph, count)

    def attribute(self, module: TorchScriptModule, name: str) -> Any:
        """A parameter, state or module, or any other attribute, made ours."""
        if name in module.members:
            return module.members[name]
        if name not in module.values:
            value = self.translated(self.parts[module].getattr(name), name)
            changes = (module.class_name, name) in self.changing
            if isinstance(value, cg.Constant) and changes:  # a tensor that calls assign
                value = cg.State(name, value.value)
            if isinstance(value, (cg.Constant, cg.State)):
                module.members[name] = value
            else:
                module.values[name] = value
            return value
        return module.values[name]

    def translated(self, value: Any, name: str = "constant") -> Any:
        """A constant of PyTorch's as ours; raises TypeError for what has no counterpart."""
        import torch

        if isinstance(value, torch.Tensor):
            key = _key(value)
            if key in self.held:
                return self.held[key][1]
            array = _array(value, name)
            return array.item() if not array.ndim and name == "constant" else cg.Constant(name, array)
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, (int, float, bool, str, type(None))):
            return value
        if isinstance(value, (list, tuple)):
            return type(value)([self.translated(item) for item in value])
        if isinstance(value, dict):
            return {key: self.translated(item) for key, item in value.items()}
        raise TypeError(f"{type(value).__name__} has no counterpart")


def _arguments(theirs: Any, method: str) -> Sequence[Argument]:
    return [Argument(given.name, given.type.annotation_str,
                     (given.default_value,) if given.has_default_value() else ())
            for given in theirs._get_method(method).schema.arguments[1:]]


def _key(tensor: Any) -> Any:
    """Where a tensor's elements are; None for one that has none."""
    if not tensor.numel():
        return None
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype


def _array(tensor: Any, name: str) -> np.ndarray:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise InputError(f"the TorchScript model's tensor {name} is sparse or quantized, which is not supported.")
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        import jax.numpy as jnp

        return np.asarray(tensor.float().numpy()).astype(jnp.bfloat16)
    return np.array(tensor.numpy())
