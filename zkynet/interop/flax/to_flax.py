"""A zkynet Module as an nnx module: Params, BatchStats and Rngs, and a function of their values.

The module's Python runs once for each mode and signature of the inputs; flax then traces the structure. JAX is told
zkynet's gradient rules, so that gradients in flax's loop are those of zkynet's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...framework import config, modes
from ...framework.avals import Aval, aval_of
from ...framework.backward import vjp_structure
from ...framework.compiled import trace
from ...framework.errors import InputError
from ...framework.module import Module
from ...framework.random_stream import RandomStream
from ...framework.structure import Structure
from ...framework.templates import Held, Parameter
from .sources import require_flax


def to_nnx(module: Module, *example_inputs: Any) -> Any:
    """An nnx module that computes what a zkynet Module computes, starting from its values.

    Parameters become nnx.Param (a frozen one a plain nnx.Variable), states nnx.BatchStat, random streams nnx.Rngs,
    under the same paths. It can be trained in flax's loop (nnx.grad, nnx.jit, nnx.Optimizer); `train()` and `eval()`
    switch it as they do for nnx modules. `state_dict()` gives the values back under zkynet's names, for
    `module.load_state_dict`.

    Args:
        module: any Module; its Python control flow must not depend on values.
        example_inputs: arrays; needed by a module whose sizes come from its first input, and checked when given.

    Raises:
        InputError: when it is no Module, or is given inputs that it does not take.
        ShapeError: when inputs do not fit.

    >>> import numpy as np
    >>> from zkynet import nn
    >>> line = nn.Linear(2, 3)
    >>> twin = to_nnx(line, np.ones((1, 2), np.float32))
    >>> sorted(twin.state_dict()), twin(np.ones((5, 2), np.float32)).shape
    (['bias', 'weight'], (5, 3))
    """
    require_flax()
    if not isinstance(module, Module):
        kind = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise InputError(f"to_nnx needs a zkynet Module, but got {kind}.")
    if any(part.deferred for part in module.modules()):
        if not example_inputs:
            raise InputError(f"{module.functional_name} takes its sizes from its first input: pass example inputs.")
        with _in_mode(module, False):
            module(*example_inputs)
    made = _twin_class()(module)
    if example_inputs:
        Program.of(module, False, *_flattened(example_inputs))
    return made


# The function of the values -------------------------------------------------------------------------------------


class Program(NamedTuple):
    """A Module in one mode, for inputs of one signature."""

    run: Callable[..., list[jax.Array]]
    captured: list[Held]
    states: list[Held]
    tree: Any

    @classmethod
    def of(cls, module: Module, training: bool, avals: Sequence[Aval], tree: Any) -> Program:
        # Under nnx.jit: arrays that the module makes in Python must be values, as programs are kept.
        with _in_mode(module, training), jax.ensure_compile_time_eval():
            traced = trace(lambda *leaves: _called(module, tree.unflatten(leaves)), avals)
        return cls(differentiable(traced.structure, len(traced.structure.outputs) - len(traced.states)),
                   traced.captured, traced.states, traced.tree)


def _called(module: Module, arguments: Any) -> Any:
    args, named = arguments
    return module(*args, **named)


def _flattened(args: tuple, named: dict[str, Any] | None = None) -> tuple[list[Aval], Any]:
    leaves, tree = jax.tree.flatten((args, named or {}))
    for leaf in leaves:
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float)):
            raise InputError(f"inputs are arrays or numbers, but one is a {type(leaf).__name__}.")
    return [aval_of(leaf) for leaf in leaves], tree


@contextmanager
def _in_mode(module: Module, training: bool) -> Iterator[None]:
    """In the mode asked for; parts that are in another mode than the whole stay so while it keeps its own."""
    if module.training == training:
        yield
        return
    before = [(part, part._training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, mode in before:
            part._take_mode(mode)


def differentiable(structure: Structure, count: int) -> Callable[..., list[jax.Array]]:
    """The structure as a function of arrays that JAX differentiates by zkynet's rules, to any order.

    Gradients flow to floating inputs, from the first `count` outputs: what follows are new values of states.
    """
    wanted = tuple([slot for slot in structure.inputs if structure.aval(slot).inexact])
    outputs = tuple([i for i in range(count) if structure.out_avals[i].inexact])

    @jax.custom_vjp
    def run(*arrays: jax.Array) -> list[jax.Array]:
        return structure.evaluate(*arrays)

    def forward(*arrays: jax.Array) -> tuple[list[jax.Array], tuple[jax.Array, ...]]:
        return run(*arrays), arrays

    def backward(arrays: tuple[jax.Array, ...], cotangents: Sequence[Any]) -> tuple[Any, ...]:
        derived = vjp_structure(structure, wanted, outputs)
        total = len(structure.outputs)
        found = differentiable(derived, total + len(wanted))(*arrays, *[cotangents[i] for i in outputs])
        gradients = iter(found[total:])
        return tuple([next(gradients) if slot in wanted else np.zeros(structure.aval(slot).shape, jax.dtypes.float0)
                      for slot in structure.inputs])

    run.defvjp(forward, backward)
    return run


# The nnx module -------------------------------------------------------------------------------------------------


class _Programs:
    """What an nnx module knows besides its values: the zkynet Module and its programs. Copies share it."""

    def __init__(self, module: Module):
        self.module = module
        self.known: dict[tuple, Program] = {}
        held = {**dict(module.named_parameters()), **dict(module.named_states())}
        self.paths = {one: path for path, one in held.items()}

    def program(self, training: bool, args: tuple, named: dict[str, Any]) -> tuple[Program, list[Any]]:
        avals, tree = _flattened(args, named)
        # As in zkynet.compile; the version changes when parts get modes of their own.
        key = training, modes.version, config.compute_dtype() if config.casts else None, tree, *avals
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = Program.of(self.module, training, avals, tree)
        return found, jax.tree.leaves((args, named))


@functools.cache
def _twin_class() -> Any:
    from flax import nnx

    class Part(nnx.Module):
        """A place for the variables of a sub-module."""

    class ZkynetModule(nnx.Module):
        """A zkynet Module inside flax."""

        def __init__(self, module: Module):
            self.programs = _Programs(module)
            self.deterministic = not module.training
            for held, path in self.programs.paths.items():
                *parents, name = path.split(".")
                place: Any = self
                for parent in parents:
                    if not hasattr(place, parent):
                        setattr(place, parent, Part())
                    place = getattr(place, parent)
                setattr(place, name, _variable(held, nnx))

        def _at(self, path: str) -> Any:
            return functools.reduce(getattr, path.split("."), self)

        def __call__(self, *args: Any, **named: Any) -> Any:
            program, leaves = self.programs.program(not self.deterministic, args, named)
            arrays = [self._read(held) for held in program.captured]
            made = program.run(*[jnp.asarray(leaf) for leaf in leaves], *arrays)
            count = len(made) - len(program.states)
            for held, new in zip(program.states, made[count:], strict=True):
                if not isinstance(held, RandomStream):  # drawing from flax's stream has advanced it
                    self._at(self.programs.paths[held]).set_value(new)
            return program.tree.unflatten(made[:count])

        def _read(self, held: Held) -> Any:
            path = self.programs.paths.get(held)
            if path is None:
                return held.value  # an array of the module that nothing updates
            found = self._at(path)
            return jax.random.key_data(found.default()) if isinstance(held, RandomStream) else found.get_value()

        def state_dict(self) -> dict[str, jax.Array]:
            """The present values by zkynet's names; without the random streams, which are flax's here."""
            return {path: self._at(path).get_value() for held, path in self.programs.paths.items()
                    if not isinstance(held, RandomStream)}

    return ZkynetModule


def _variable(held: Held, nnx: Any) -> Any:
    if isinstance(held, RandomStream):
        return nnx.Rngs(jax.random.wrap_key_data(held.value, impl="threefry2x32"))
    if isinstance(held, Parameter):
        return (nnx.Param if held.trainable else nnx.Variable)(held.value)
    return nnx.BatchStat(held.value)
