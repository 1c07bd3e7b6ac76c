"""compile(f): for functions whose Python control flow does not depend on values; a call costs one dispatch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from . import compile as compiling
from . import config, modes
from .avals import Aval, aval_of
from .compile import known_values, leaf_name, pending_of, program_of, structure_of, watcher
from .errors import InputError
from .leaves import cast_leaf, placeholder
from .nodes import Expression, LeafNode, Node, topological
from .operators.control import name_of, nodes_of
from .session import Session, current_session
from .structure import Structure, linearize
from .symbols import Symbols
from .templates import Constant, Held, Template
from .undo import undo


class Traced(NamedTuple):
    """A function's structure for one signature of its inputs.

    The structure's inputs are the function's, then `captured`: parameters and states, read at every call, and arrays
    (as constants). Its outputs are the function's, then the new values of `states`.
    """

    structure: Structure
    captured: list[Held]
    states: list[Held]
    tree: Any

    @property
    def single(self) -> bool:
        return self.tree == _SINGLE


_SINGLE = jax.tree.structure(0)


class Compiled:
    """A compiled function: `call()` ran once for each signature (shapes, dtypes, modes) of its inputs."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.programs: dict[tuple, tuple[Traced, Callable[..., list[jax.Array]]]] = {}
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_session.get() is not None:
            return self.function(*args, **kwargs)
        try:
            # Arrays by position are the common case; their order says everything about the structure.
            avals = []
            for arg in args:
                if isinstance(arg, Symbols):  # a node or a Parameter
                    raise AttributeError
                avals.append(aval_of(arg))
            leaves, treedef = args, len(args)
            if kwargs:
                raise AttributeError
        except AttributeError:
            leaves, treedef = jax.tree.flatten((args, kwargs), is_leaf=_is_leaf)
            if any(isinstance(leaf, Expression) for leaf in leaves):
                return self.function(*args, **kwargs)
            avals = [_signature(leaf) for leaf in leaves]
        key = (treedef, modes.version, config.compute_dtype() if config.casts else None, *avals)
        found = self.programs.get(key)
        if found is None:
            traced = _trace(self.function, args, kwargs, avals)
            found = traced, program_of(traced.structure, lambda: f"compile of {name_of(self.function)}")
            if len(self.programs) >= compiling.CACHE_LIMIT:
                for old in list(self.programs)[: compiling.CACHE_LIMIT // 2]:
                    self.programs.pop(old, None)
            self.programs[key] = found
        program, run = found
        if leaves is not args:
            leaves = [leaf for leaf, aval in zip(leaves, avals, strict=True) if aval.__class__ is Aval]
        given = [*leaves, *[held.value for held in program.captured]]
        watch = watcher.get()
        try:
            outputs = run(*given) if watch is None else watch(program.structure, given)
        except OverflowError as error:
            raise InputError(f"compile: an int among the inputs does not fit ({error}). Pass a float, or use "
                             'zkynet.precision("float64"), which has 64-bit integers.') from None
        if program.states:
            count = len(outputs) - len(program.states)
            for state, value in zip(program.states, outputs[count:], strict=True):
                state.commit(value)
            outputs = outputs[:count]
        return outputs[0] if program.single else program.tree.unflatten(outputs)


def trace(function: Callable[..., Any], avals: Sequence[Aval]) -> Traced:
    """The structure of a function of nodes, one for each aval; nothing is computed or compiled."""
    return _trace(function, tuple(avals), {}, list(avals))


def _trace(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], avals: list[Any]) -> Traced:
    session = Session(traced=True)
    token = current_session.set(session)
    try:
        leaves, treedef = jax.tree.flatten((args, kwargs), is_leaf=_is_leaf)
        inputs: list[Any] = [placeholder(a, None, session.call) if a.__class__ is Aval else leaf
                             for a, leaf in zip(avals, leaves, strict=True)]
        args, kwargs = jax.tree.unflatten(treedef, [
            cast_leaf(i) if config.casts and i.__class__ is LeafNode else i for i in inputs])
        outputs, tree = nodes_of(function(*args, **kwargs), "compile")
        states = _updated(outputs, session)
        given = [node for node in inputs if isinstance(node, LeafNode)]
        key, found, slots = linearize([*outputs, *pending_of(states)], arguments=given, literals=True)
    except BaseException:
        undo(session)
        raise
    finally:
        current_session.reset(token)
    for state, pending, value in reversed(session.updates):
        state.restore(pending, value)
    captured = found[len(given):]
    known_values(captured)
    structure = structure_of(key)
    structure.remember(slots)  # for nan_checks
    if structure.names is None:
        structure.names = [""] * len(given) + [leaf_name(leaf) for leaf in captured]
    sources = [leaf.template if isinstance(leaf.template, Held) else Constant("captured", leaf._value)
               for leaf in captured]
    return Traced(structure, sources, states, tree)


def _updated(outputs: list[Node], session: Session) -> list[Held]:
    found: dict[Held, None] = {}
    for state, _, _ in session.updates:
        if state._pending is not None:
            found[state] = None
    for node in topological(outputs):
        for state in node.call.updated or ():
            if state._pending is not None:
                found[state] = None
    return list(found)


def _is_leaf(x: Any) -> bool:
    return isinstance(x, (Expression, Template)) or x is None


def _signature(leaf: Any) -> Any:
    """The aval of an array or number; anything else is static and must be hashable."""
    if isinstance(leaf, (jax.Array, np.ndarray, bool, int, float, complex, np.generic)):
        return aval_of(leaf)
    try:
        hash(leaf)
    except TypeError:
        raise InputError(f"compile: inputs are arrays, numbers or hashable static values, but got "
                         f"{type(leaf).__name__}.") from None
    return leaf


def compile(f: Callable[..., Any]) -> Compiled:
    """Compile a Module or a function of nodes, for those who promise that its Python control flow does not
    depend on values: `f` runs once per signature (shapes and dtypes of the inputs, training or evaluation
    mode); every further call costs one dispatch.

    Python numbers inside `f` become part of the program; inputs, parameters and states do not: changing them
    compiles nothing. Arrays from outside of `f` are those of the first call: what changes belongs into a Parameter or
    State. Updates of states are committed at every call.

    Raises:
        TracedValueError: when `f` asks for a value while it is traced.

    >>> import zkynet
    >>> from zkynet.framework import op
    >>> f = zkynet.compile(zkynet.grad(lambda x: op.sin(x) * x))
    >>> round(float(f(1.0)), 4)
    1.3818
    """
    return Compiled(f)
