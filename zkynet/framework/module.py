"""Module: the template of a function. Each call runs `call()` in plain Python and makes a graph of its own."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import jax
import numpy as np

from . import modes
from .avals import is_jax_array
from .errors import GraphError, InputError, ShapeError
from .leaves import Named, array_leaf, as_node, grounded
from .nodes import Expression, LeafNode, ModuleGraph, Node, OperatorNode, register_end
from .session import Call, Scope, Session, current_session, is_internal, user_frame
from .templates import Held, Parameter, State, Template, Variable, as_array
from .undo import remember, undo

_defaults: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()  # inputs that may be left out


class Module:
    """A function of inputs and parameters, written as plain Python over `op`.

    Derive, call `super().__init__`, override `call`. Sub-modules and parameters are found by attribute (also
    in lists, tuples and dicts). Calling the module returns a `ModuleGraph`; inside another module's call, the
    output node.

    Args:
        inputs: the input Variables, in order; left out, the parameters of `call` are taken.
        params: Parameters; more may be set as attributes.

    >>> from zkynet.framework import cg, op
    >>> class Line(cg.Module):
    ...     def __init__(self):
    ...         super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 2.0),))
    ...     def call(self, x):
    ...         return x * self.param("w")
    >>> float(Line()(3.0).value)
    6.0
    """

    deferred: bool = False  # whether parameters are still missing, as their sizes come from the first input
    _training: bool | None = True  # None: as the file says that it was read from
    _internal: bool = False  # whether `call` is code of this package: its nodes belong to the line that called it
    _rest: str | None = None  # the name of `*args`, when `call` takes any number of inputs
    _inputs: tuple[Variable, ...]
    _params: dict[str, Parameter]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        code = getattr(cls.call, "__code__", None)
        cls._internal = code is not None and is_internal(code)

    def __init__(self, inputs: Sequence[Variable] | None = None, params: Sequence[Parameter] = ()):
        if inputs is None:
            inputs = [Variable(p.name) for p in _call_parameters(self)]
            parameters = inspect.signature(self.call).parameters.values()
            self._rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._inputs = self._declared(inputs, Variable, "inputs")
        self._params = {p.short_name: p for p in self._declared(params, Parameter, "parameters")}

    def _declared(self, templates: Any, kind: type, what: str) -> tuple:
        if not isinstance(templates, (tuple, list)):
            raise InputError(f"{self.functional_name}: {what} are given as a tuple, but got {templates!r}.")
        for template in templates:
            if not isinstance(template, kind):
                raise InputError(f"{self.functional_name} needs a cg.{kind.__name__} here, but got {template!r}.")
            template.owner = template.owner or self.functional_name
        names = [template.short_name for template in templates]
        if len(set(names)) != len(names):
            raise InputError(f"{self.functional_name} has two {what} of the same name: {names}.")
        return tuple(templates)

    # What a subclass overrides -------------------------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise GraphError(f"{self.functional_name} does not define call(); it must return the output node.")

    @staticmethod
    def build(name: str, call_fun: Callable[..., Any], inputs: Sequence[Variable]) -> Module:
        """A Module of a plain function of nodes.

        >>> from zkynet.framework import cg, op
        >>> cube = cg.Module.build("Cube", lambda x: x * x * x, (cg.Variable("x"),))
        >>> float(cube(2.0).value)
        8.0
        """
        made = type(name, (Module,), {"call": staticmethod(call_fun)})(inputs)
        return made

    # Names ---------------------------------------------------------------------------------------------

    @property
    def functional_name(self) -> str:
        return type(self).__name__

    @property
    def inputs(self) -> tuple[Variable, ...]:
        return self._inputs

    def input(self, name: str) -> Variable:
        """The input Variable of this name."""
        for variable in self._inputs:
            if variable.short_name == name:
                return variable
        known = ", ".join(v.short_name for v in self._inputs) or "none"
        raise InputError(f"{self.functional_name} has no input {name!r}; its inputs are: {known}.")

    def param(self, name: str) -> Parameter:
        """The Parameter of this name, declared in `params` or set as an attribute."""
        try:
            return self._params[name]
        except KeyError:
            found = vars(self).get(name)
            if isinstance(found, Parameter):
                return found
        except AttributeError:
            raise self._not_initialised() from None
        known = ", ".join(path for path, _ in self.named_parameters()) or "none"
        raise InputError(f"{self.functional_name} has no parameter {name!r}; its parameters are: {known}.")

    def _own(self, kind: type) -> Iterator[tuple[str, Any]]:
        """Attributes of a kind, also inside lists, tuples and dicts, as (name, object)."""
        for name, value in list(vars(self).items()):
            if name in ("_inputs", "_params"):
                continue
            yield from _search(name, value, kind)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct sub-modules with their attribute names ("layers.0" for the first in a list)."""
        yield from self._own(Module)

    def named_modules(self, prefix: str = "", _seen: set | None = None) -> Iterator[tuple[str, Module]]:
        """This module ("") and all below it, each once, with dotted paths."""
        seen = set() if _seen is None else _seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> list[Module]:
        return [module for _, module in self.named_modules()]

    def _named(self, kind: type) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules():
            if not hasattr(module, "_params"):
                raise module._not_initialised()
            if module.deferred:
                raise GraphError(f"{path or module.functional_name} takes its sizes from its first input and has no "
                                 "parameters yet: call the model once with an example input first, or give the sizes.")
            declared = module._params.items() if kind is Parameter else ()
            for name, found in itertools.chain(declared, module._own(kind)):
                if id(found) not in seen:
                    seen.add(id(found))
                    yield (f"{path}.{name}" if path else name), found

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters, a shared one once, with dotted paths."""
        yield from self._named(Parameter)

    def parameters(self, trainable: bool | None = None) -> list[Parameter]:
        """All parameters; with `trainable=True` (False) only those that are (not) trained."""
        found = [parameter for _, parameter in self.named_parameters()]
        return found if trainable is None else [p for p in found if p.trainable == trainable]

    def named_states(self) -> Iterator[tuple[str, State]]:
        yield from self._named(State)

    # State ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, jax.Array]:
        """The arrays of all parameters and states by path."""
        return {path: held.value for path, held in itertools.chain(self.named_parameters(), self.named_states())}

    def load_state_dict(self, arrays: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Set parameters and states by path, which keep their dtypes; nothing changes when anything does not fit.
        What is shared may be given under any of its paths; PyTorch gives it under all.

        Returns:
            the missing and the unexpected paths; with `strict` any of them is an error.

        Raises:
            InputError: with `strict`, when paths are missing or unexpected.
            ShapeError: for another shape, numbers that the dtype cannot hold but for rounding, or two arrays for what
                is shared.
        """
        own = dict(itertools.chain(self.named_parameters(), self.named_states()))
        first: dict[Any, str] = {held: path for path, held in own.items()}
        found: dict[str, Any] = {
            path: held for path in arrays if (held := own.get(path) or self._held_at(path)) in first}
        given = set(found.values())
        missing = [path for path, held in own.items() if held not in given and not held.optional]
        unexpected = [path for path in arrays if path not in found]
        if strict and (missing or unexpected):
            raise InputError(f"state does not fit {self.functional_name}: missing {missing}, unexpected {unexpected}. "
                             "Pass strict=False to load what fits.")
        news = {path: as_array(arrays[path], path) for path in found}
        wrong = [f"{path} {misfit}" for path, new in news.items() if (misfit := found[path].misfit(new))]
        wrong += [f"{path} is {first[held]}, but got another array" for path, held in found.items()
                  if path not in own and first[held] in news
                  and not np.array_equal(news[path], news[first[held]], equal_nan=True)]
        if wrong:
            raise ShapeError(f"state does not fit {self.functional_name}: {'; '.join(wrong)}.")
        for path, new in news.items():
            found[path].value = new.astype(found[path].dtype)
        return missing, unexpected

    def _held_at(self, path: str) -> Held | None:
        """What is held at a path, be it a further one of what is shared."""
        own = {**self._params, **dict(self._own(Held))}
        below = [child._held_at(path.removeprefix(f"{name}.")) for name, child in self.named_children()
                 if path.startswith(f"{name}.")]
        return own.get(path) or next(filter(None, below), None)

    @property
    def training(self) -> bool:
        """Whether this module is in training mode, as opposed to evaluation; those below it have modes of their own."""
        return bool(self._training)

    @training.setter
    def training(self, mode: bool) -> None:
        self._take_mode(mode)

    def _take_mode(self, mode: bool | None) -> None:
        if mode != self._training:
            modes.changed(self, self._training, mode)
            self._training = mode

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it in training mode (`self.training`)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all below it in evaluation mode."""
        return self.train(False)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode; afterwards each module is in the mode that it was in before."""
        before = [(module, module._training) for module in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for module, mode in before:
                module._take_mode(mode)

    # Calling -------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        session = current_session.get()
        if session is not None:
            return self._nested(session, args, kwargs)
        session = Session()
        token = current_session.set(session)
        try:
            session.scope = Scope(self, None)
            if self.deferred:
                remember(session)
            if self._internal:
                session.origin = user_frame(2)
            nodes, named, bound = self._bind(args, kwargs, session)
            returned = self.call(*nodes, **named)
            root = returned if isinstance(returned, Node) else _as_output(returned, session, self)
            graph = ModuleGraph(root, session.call, self, bound)
        except BaseException as error:
            undo(session)
            if isinstance(error, RecursionError):
                raise self._endless() from None
            raise
        finally:
            current_session.reset(token)
        for node in (root,) if isinstance(root, Node) else graph.roots:
            register_end(session.call, node)
            for call in session.continues or ():
                register_end(call, node)
        return graph

    def _nested(self, session: Session, args: Any, kwargs: dict[str, Any]) -> Any:
        outer, updates, origin = session.scope, len(session.updates), session.origin
        session.scope = scope = Scope(self, outer)
        session.origin = (origin or user_frame()) if self._internal else None
        if self.deferred:
            remember(session)
        try:
            inputs = self.__dict__.get("_inputs")
            if inputs is None or kwargs or len(args) != len(inputs) or not _all_made_in(session.call, args):
                args, kwargs, _ = self._bind(args, kwargs, session, stacklevel=5)
            returned = self.call(*args, **kwargs)
            return returned if isinstance(returned, Node) else _as_output(returned, session, self)
        except BaseException as error:
            undo(session, updates, scope)  # the caller may catch the error and go on
            if isinstance(error, RecursionError):
                raise self._endless() from None
            raise
        finally:
            session.scope, session.origin = outer, origin

    def _bind(self, args: tuple, kwargs: dict[str, Any], session: Session,
              stacklevel: int = 4) -> tuple[list, dict[str, Any], dict]:
        """Ground the inputs: nodes by position, nodes by keyword, and which node stands for which Variable."""
        try:
            variables = self._inputs
        except AttributeError:
            raise self._not_initialised() from None
        if len(args) > len(variables):
            if self._rest is None:
                args = self._drop_extra(args, stacklevel)
            else:
                count = len(args) - len(variables)
                variables = (*variables, *(Variable(f"{self._rest}[{i}]") for i in range(count)))
        bound: dict[Variable, Any] = {}
        nodes = [_ground(value, variable, session, bound) for value, variable in zip(args, variables)]  # noqa: B905
        if len(args) == len(variables) and not kwargs:
            return nodes, kwargs, bound
        named = {}
        for name, value in kwargs.items():
            variable = self.input(name)
            if variable in variables[:len(args)]:
                raise InputError(f"{self.functional_name} got input {name!r} twice, by position and by keyword.")
            named[name] = _ground(value, variable, session, bound)
        self._check_missing(variables[len(args):], named)
        return nodes, named, bound

    def _drop_extra(self, args: tuple, stacklevel: int) -> tuple:
        count = len(self._inputs)
        extra = ", ".join(repr(value)[:40] for value in args[count:])
        warnings.warn(
            f"{self.functional_name} takes {count} inputs ({', '.join(v.short_name for v in self._inputs)}); "
            f"the extra positional input {extra} is ignored.", stacklevel=stacklevel)
        return args[:count]

    def _check_missing(self, variables: Sequence[Variable], named: dict[str, Any]) -> None:
        kind = type(self)
        defaults = _defaults.get(kind)
        if defaults is None:
            defaults = _defaults[kind] = {p.name for p in _call_parameters(self) if p.default is not p.empty}
        missing = [v.short_name for v in variables if v.short_name not in named and v.short_name not in defaults]
        if missing:
            raise InputError(
                f"{self.functional_name} is missing its input {', '.join(map(repr, missing))}: it takes "
                f"({', '.join(v.short_name for v in self._inputs)}).")

    def _endless(self) -> GraphError:
        return GraphError(f"{self.functional_name} calls itself without end (a cycle of modules): give the recursion "
                          "an end in call().")

    def _not_initialised(self) -> GraphError:
        return GraphError(f"{self.functional_name} was used before Module.__init__: call super().__init__(...) at the "
                          "start of its __init__.")

    def __repr__(self) -> str:
        return f"{self.functional_name}({', '.join(v.short_name for v in getattr(self, '_inputs', ()))})"


def _search(name: str, value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _search(f"{name}.{index}", item, kind)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _search(f"{name}.{key}", item, kind)


def _call_parameters(module: Module) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in inspect.signature(module.call).parameters.values() if p.kind not in kinds]


def _all_made_in(call: Call, values: tuple) -> bool:
    """Whether all are nodes of this call, so that there is nothing to ground."""
    for value in values:
        kind = value.__class__
        if kind is not OperatorNode and kind is not LeafNode or value.call is not call:
            return False
    return True


def _ground(value: Any, variable: Variable, session: Session, bound: dict[Variable, Any]) -> Any:
    """The node (or structure of nodes) that stands for an input in this call."""
    if isinstance(value, Node):
        bound[variable] = value
        if value.call is not session.call:
            session.continues = (session.continues or set()) | {value.call}
        return value
    if value.__class__ in _PLAIN or is_jax_array(value):
        node = array_leaf(value, session, variable, variable.short_name)
        bound[variable] = _uncast(node)
        return node
    if value is None:
        return None
    if isinstance(value, Expression):
        return _ground(value.root, variable, session, bound)
    if isinstance(value, Template):
        bound[variable] = grounded(value, session, variable)
        return as_node(value, session, variable)
    if isinstance(value, (tuple, dict)) or isinstance(value, list) and not _is_numbers(value):
        tree = bound[variable] = jax.tree.map(lambda item: _ground(item, variable, session, {}), value,
                                              is_leaf=lambda item: isinstance(item, (Expression, Template)))
        return tree
    node = array_leaf(value, session, variable, variable.short_name)
    bound[variable] = _uncast(node)
    return node


# What most inputs are: no need to look whether they are anything else.
_PLAIN = (int, float, bool, np.ndarray)


def _uncast(node: Node) -> Node:
    """The leaf itself where the precision in force made a cast of it: gradients arrive in the leaf's own dtype."""
    return node if node.__class__ is LeafNode else node.inputs[0]


def _is_numbers(value: list) -> bool:
    return all(_is_numbers(v) if isinstance(v, list) else isinstance(v, (int, float, np.generic)) for v in value)


def _as_output(returned: Any, session: Session, module: Module) -> Any:
    if returned is None:
        raise GraphError(f"call() of {module.functional_name} returned None: is a return statement missing?")
    if isinstance(returned, (tuple, list, dict)):
        return jax.tree.map(lambda item: _as_output(item, session, module), returned,
                            is_leaf=lambda item: isinstance(item, (Expression, Template)))
    return as_node(returned, session, Named(f"the output of {module.functional_name}"))
