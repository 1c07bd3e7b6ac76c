"""Operators: declared once, they run eagerly and compiled, differentiate, batch and plot.

`Operator` is the class a researcher derives from; `@operator` makes one of a plain function of arrays. Both
end in `apply`, which makes a node: it looks up (or infers) the operator's signature for these shapes and
never touches a value.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from . import config
from .attributes import exact
from .avals import Aval, aval_like, aval_of, x64_mode
from .binding import bind
from .errors import GraphError, InputError, ShapeError, TracedValueError, ZkynetError
from .leaves import as_node, unwrap
from .nodes import Engine, HostLeaf, LeafNode, Node, OperatorNode, register_end
from .session import Call, Session, current_session, describe_origin, user_frame
from .templates import Variable


class Signature:
    """An operator with its static attributes at given input shapes and dtypes: what is the same in all calls."""

    __slots__ = ("operator", "attrs", "in_avals", "aval", "kwargs", "projections")

    def __init__(self, operator: Operator, attrs: tuple, in_avals: tuple[Aval, ...], aval: Any):
        self.operator = operator
        self.attrs = attrs
        self.in_avals = in_avals
        self.aval = aval  # a tuple of avals when the operator has several outputs
        self.kwargs = dict(zip(operator.attributes, attrs, strict=True))
        self.projections: list[Signature] | None = None  # those of its outputs, when it has several

    def __repr__(self) -> str:
        inputs = ", ".join(map(repr, self.in_avals))
        attrs = "".join(f", {k}={v!r}" for k, v in self.kwargs.items())
        return f"{self.operator.name}({inputs}{attrs}) -> {self.aval!r}"


class Operator:
    """A primitive operation with its own gradient: derive, override `call` and one gradient rule.

    `call(self, *inputs, **attributes)` computes the output from `input.value`; it returns an array, a
    number, a node, or a tuple of those (several outputs). Gradient rules, at most one of:

    - `_gradfn(self, inpt)` returns a function of the inputs: the local derivative with respect to `inpt`,
      either elementwise (broadcastable to the output) or a full Jacobian (output.shape + input.shape);
    - `vjp(self, cotangent, output, *inputs, **attributes)` returns the cotangents of the inputs, as nodes;
    - none: the derivative is taken by `jax.vjp` of the body.

    Optional: `jvp(self, tangents, output, *inputs, **attributes)`, `batch(self, axis_size, batched, *arrays,
    **attributes)`, `onnx(self, ...)`; `jit = False` for a body that must run in Python on NumPy arrays.

    Args:
        inputs: the Variables; `Variable("i", differentiable=False)` for one without gradient.
        attributes: static attributes with their defaults; hashable, part of the compiled structure.

    >>> class Cube(Operator):
    ...     def __init__(self):
    ...         super().__init__(inputs=(Variable("x"),))
    ...     def call(self, x):
    ...         return x.value ** 3
    ...     def vjp(self, cotangent, output, x):
    ...         return (cotangent * 3.0 * x * x,)
    >>> float(Cube()(2.0).value)
    8.0
    """

    jit: bool = True
    variadic: bool = False
    selective: bool = False  # whether the vjp rule is also given `needed`: for each input, whether it is asked for
    name: str
    inputs: tuple[Variable, ...] = ()
    attributes: dict[str, Any] = {}
    _ready = False
    _same: Operator | None = None
    _plain_inputs = -1  # how many inputs, once it is known that there is nothing else to bind

    def __init__(self, inputs: Sequence[Variable] = (), attributes: dict[str, Any] | None = None,
                 name: str | None = None):
        self.name = name or type(self).__name__
        self.inputs = tuple(inputs)
        self.attributes = dict(attributes or {})
        for variable in self.inputs:
            if not isinstance(variable, Variable):
                raise InputError(f"inputs of {self.name} must be cg.Variable, but one is {variable!r}")
            variable.owner = self.name
        self._signatures: dict[tuple, Signature] = {}
        self._bound: dict[tuple, tuple] = {}  # attributes by how they were given
        self._ready = True

    # What a subclass overrides -------------------------------------------------------------------------

    def call(self, *inputs: Any, **attributes: Any) -> Any:
        raise GraphError(f"operator {self.name} does not define call(); it must compute the output.")

    _gradfn: Callable[[Any], Callable] | None = None
    vjp: Callable[..., Any] | None = None
    jvp: Callable[..., Any] | None = None
    batch: Callable[..., Any] | None = None
    onnx: Callable[..., Any] | None = None

    # What the framework uses ---------------------------------------------------------------------------

    @property
    def functional_name(self) -> str:
        return self.name

    def input(self, name: str) -> Variable:
        for variable in self.inputs:
            if variable.short_name == name:
                return variable
        known = ", ".join(v.short_name for v in self.inputs)
        raise InputError(f"operator {self.name} has no input {name!r}; it has: {known}.")

    def input_name(self, index: int) -> str:
        last = len(self.inputs) - 1
        if self.variadic and index >= last:
            return f"{self.inputs[last].short_name}[{index - last}]"
        return self.inputs[index].short_name

    def differentiable(self, index: int) -> bool:
        return self.inputs[min(index, len(self.inputs) - 1)].differentiable

    def gradfn(self, variable: Variable) -> Any:
        """The local derivative with respect to one input, as a Module of the same inputs.

        >>> from zkynet.framework import cg, op
        >>> float(op.mult.gradfn(cg.Variable("a"))(3.0, 4.0).value)
        4.0
        """
        from .rules import LocalDerivative

        return LocalDerivative.module(self, self.input(variable.short_name))

    def evaluate(self, kwargs: dict[str, Any], *arrays: Any) -> Any:
        """The output array(s) from input arrays (possibly tracers): the body of compiled programs."""
        if not self.jit and any(isinstance(array, Tracer) for array in arrays):
            return self._call_back(kwargs, arrays)
        if self.batch is not None:
            return self._with_batch_rule(kwargs)(*arrays)
        return self._run_body(kwargs, *arrays)

    def _run_body(self, kwargs: dict[str, Any], *arrays: Any) -> Any:
        token = current_session.set(Session())
        try:
            box = LeafNode if self.jit else HostLeaf
            boxes = [box(aval_of(array), array, None, Call(), None) for array in arrays]
            return unwrap(self.call(*boxes, **kwargs), self)
        finally:
            current_session.reset(token)

    def _with_batch_rule(self, kwargs: dict[str, Any]) -> Callable[..., Any]:
        """The body, for which `vmap` uses the operator's own rule."""
        rule = self.batch
        assert rule is not None
        body = jax.custom_batching.custom_vmap(lambda *arrays: self._run_body(kwargs, *arrays))
        def batched_rule(axis_size: int, batched: Sequence[bool], *arrays: Any) -> Any:
            out = unwrap(rule(axis_size, tuple(batched), *arrays, **kwargs), self)
            return out, jax.tree.map(lambda _: True, out)

        body.def_vmap(batched_rule)
        return body

    def _call_back(self, kwargs: dict[str, Any], arrays: Sequence[Any]) -> Any:
        """Run a `jit = False` body from inside a compiled program."""
        aval = self.infer(kwargs, tuple(aval_of(array) for array in arrays))
        result = tuple(a.struct for a in aval) if isinstance(aval, tuple) else aval.struct

        def on_host(*values: Any) -> Any:
            out = self.evaluate(kwargs, *(np.asarray(value) for value in values))
            return jax.tree.map(lambda s, v: np.asarray(v, s.dtype), result, out)

        return jax.pure_callback(on_host, result, *arrays, vmap_method="sequential")

    def infer(self, kwargs: dict[str, Any], in_avals: tuple[Aval, ...]) -> Any:
        """Abstract evaluation: the aval of the output, or a tuple of avals."""
        if not self.jit:  # Python code cannot be traced: try it on zeros
            with jax.ensure_compile_time_eval():
                out = self.evaluate(kwargs, *(np.zeros(a.shape, a.dtype) for a in in_avals))
            return tuple(aval_of(np.asarray(o)) for o in out) if isinstance(out, tuple) else aval_of(np.asarray(out))
        out = jax.eval_shape(lambda *arrays: self.evaluate(kwargs, *arrays), *(a.struct for a in in_avals))
        if out is None:
            unwrap(out, self)  # raises
        return tuple(map(aval_like, out)) if isinstance(out, tuple) else aval_like(out)

    def _check_ready(self) -> None:
        if not self._ready:
            raise GraphError(f"{type(self).__name__} was used before Operator.__init__: call super().__init__(...) "
                             "with its inputs at the start of __init__.")

    def signature(self, attrs: tuple, in_avals: tuple[Aval, ...]) -> Signature:
        """That of these attributes and inputs in the present mode; in 64 bits also where an input is of that mode."""
        wide = (config.casts or not in_avals) and x64_mode()
        key: tuple = (attrs, *in_avals, True) if wide else (attrs, *in_avals)
        store: dict = self._signatures
        for value in attrs:
            if hasattr(value, "uses"):  # a structure keeps what belongs to it, so that both can be freed
                store, key = value.uses, (self, *key)
                break
        found = store.get(key)
        if found is None:
            kwargs = dict(zip(self.attributes, attrs, strict=True))
            try:
                with jax.enable_x64(x64_mode() or any(aval.x64 for aval in in_avals)):
                    aval = self.infer(kwargs, in_avals)
            except ZkynetError:
                raise
            except Exception as error:
                raise self._does_not_fit(kwargs, in_avals, error) from error
            found = store.setdefault(key, Signature(self, attrs, in_avals, aval))
        return found

    def _does_not_fit(self, kwargs: dict[str, Any], in_avals: tuple[Aval, ...], error: Exception) -> ShapeError:
        inputs = ", ".join(f"{self.input_name(i)}: {aval!r}" for i, aval in enumerate(in_avals))
        attrs = "".join(f", {k}={v!r}" for k, v in kwargs.items())
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        session = current_session.get()
        scope = f" in {session.scope.path}" if session is not None and session.scope is not None else ""
        frame = describe_origin(user_frame())
        return ShapeError(f"operator {self.name}({inputs}{attrs}){scope} at {frame}: {reason}")

    def __call__(self, *args: Any, **attributes: Any) -> Any:
        """Make the node of this operator applied to `args`; inputs first, then static attributes."""
        if attributes or len(args) != self._plain_inputs:
            args, attrs = bind(self, args, attributes)
        else:
            attrs = ()
        return apply(self._same or self._share(), args, attrs)

    def _share(self) -> Operator:
        """The instance under whose identity structures are cached: equal operators made anew in every call
        share one, so that writing `Multiply()(a, b)` inside `call()` compiles once."""
        self._check_ready()
        own = {k: v for k, v in self.__dict__.items() if k not in _ENGINE_FIELDS}
        try:
            key = (type(self), self.name, tuple(v.short_name for v in self.inputs),
                   tuple(v.differentiable for v in self.inputs), exact(tuple(self.attributes.items())),
                   exact(tuple(own.items())))
            shared = _shared_operators.setdefault(key, self)
        except TypeError:  # something unhashable: this instance stands for itself
            shared = self
        if not self.attributes and not self.variadic:
            self._plain_inputs = len(self.inputs)
        self._same = shared
        return shared

    def __setattr__(self, name: str, value: Any) -> None:
        if "_same" in self.__dict__ and name != "_same":
            raise GraphError(f"operator {self.name} was already used, so {name!r} cannot change: compiled programs "
                             "depend on it. Make a new instance, or declare it as a static attribute.")
        super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict) -> Operator:
        """A new operator with equal attributes: it shares compiled programs with this one."""
        made = object.__new__(type(self))
        own = {name: value for name, value in self.__dict__.items() if name not in ("_same", "_signatures", "_bound")}
        made.__dict__.update(copy.deepcopy(own, memo), _signatures={}, _bound={})
        return made

    def __repr__(self) -> str:
        return f"<operator {self.name}({', '.join(v.short_name for v in self.inputs)})>"


_ENGINE_FIELDS = {"name", "inputs", "attributes", "_signatures", "_bound", "_ready", "_plain_inputs"}
_shared_operators: dict[tuple, Operator] = {}


_NUMBERS = frozenset((float, int, bool, complex))


class FunctionOperator(Operator):
    """An operator whose body is a plain function of arrays; what `@operator` returns."""

    def __init__(self, body: Callable[..., Any], name: str, inputs: Sequence[Variable],
                 attributes: dict[str, Any], variadic: bool, jit: bool = True):
        super().__init__(inputs, attributes, name)
        self.body = body
        self.variadic = variadic
        self.jit = jit
        self.__doc__ = body.__doc__
        self.__signature__ = inspect.signature(body)

    def evaluate(self, kwargs: dict[str, Any], *arrays: Any) -> Any:
        if not self.jit and any(isinstance(array, Tracer) for array in arrays):
            return self._call_back(kwargs, arrays)
        if not getattr(self, "elementwise", False):
            # Numbers that are part of a structure arrive as such; bodies are written for arrays.
            arrays = tuple([jnp.asarray(a) if a.__class__ in _NUMBERS else a for a in arrays])
        return self.body(*arrays, **kwargs)

    def __deepcopy__(self, memo: dict) -> Operator:
        return self  # a function, as Python's own

    def _share(self) -> Operator:
        self._plain_inputs = -1 if self.attributes or self.variadic else len(self.inputs)
        self._same = self
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def def_vjp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `rule(cotangent, output, *inputs, **attributes)` returns the inputs' cotangents."""
        self.vjp = rule
        return rule

    def def_jvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `rule(tangents, output, *inputs, **attributes)` returns the output's tangent."""
        self.jvp = rule
        return rule


def operator(body: Callable[..., Any] | None = None, *, name: str | None = None,
             no_gradient: bool | Sequence[str] = (), vjp: Any = None, jit: bool = True) -> Any:
    """Make an operator of a function of arrays: positional parameters are inputs, keyword-only ones static
    attributes, `*args` takes any number of inputs.

    Args:
        name: shown in graphs; the function's name by default.
        no_gradient: names of inputs that have no gradient; True for all of them.
        vjp: the gradient rule, `rule(cotangent, output, *inputs, **attributes)`, as a function returning
            the cotangents of all inputs or a tuple of functions, one for each input.

    >>> @operator
    ... def scaled(x, *, factor=2.0):
    ...     return x * factor
    >>> @scaled.def_vjp
    ... def _(cotangent, output, x, *, factor):
    ...     return (cotangent * factor,)
    >>> float(scaled(3.0, factor=5.0).value)
    15.0
    """
    if body is None:
        return lambda function: operator(function, name=name, no_gradient=no_gradient, vjp=vjp, jit=jit)
    parameters = inspect.signature(body).parameters.values()
    inputs, attributes, variadic = [], {}, False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            attributes[parameter.name] = None if parameter.default is parameter.empty else parameter.default
        else:
            variadic |= parameter.kind is parameter.VAR_POSITIONAL
            frozen = no_gradient is True or (no_gradient is not False and parameter.name in no_gradient)
            inputs.append(Variable(parameter.name, differentiable=not frozen))
    made = FunctionOperator(body, name or body.__name__, inputs, attributes, variadic, jit)
    made.vjp = vjp
    return made


@operator
def output(outputs, *, index):
    """One of the outputs of an operator that has several."""
    return outputs[index]


@operator
def host_result(*values, host, count):
    """What a `jit = False` operator computed in Python (the first values), tied to the inputs it came from.

    `count` is the number of outputs, 0 for one that is no tuple; `host` the operator and its attributes.
    """
    return tuple(values[:count]) if count else values[0]


def apply(op: Operator, args: tuple, attrs: tuple) -> Any:
    """Make the node of `op` applied to `args`: a tuple of nodes when the operator has several outputs."""
    session = current_session.get()
    nodes = args
    for arg in args:
        if arg.__class__ is not OperatorNode:
            found = []
            for a in args:
                found.append(a if a.__class__ is OperatorNode else as_node(a, session, op))
            nodes = tuple(found)
            break
    if not op.jit:
        host = _apply_on_host(op, nodes, attrs, session)
        if host is not None:
            return host
    # One or two inputs are the common case and worth a faster key.
    count = len(nodes)
    if count == 2:
        key = attrs, nodes[0].aval, nodes[1].aval
    elif count == 1:
        key = attrs, nodes[0].aval
    else:
        key = attrs, *[n.aval for n in nodes]
    if config.casts and x64_mode():  # asking for the mode costs a fifth of a node
        key = *key, True
    signature = op._signatures.get(key) if count else None
    if signature is None:
        signature = op.signature(attrs, tuple([n.aval for n in nodes]))
    if session is not None:
        node = OperatorNode(signature, nodes, session.call, session.scope, session.origin or user_frame())
    else:
        node = OperatorNode(signature, nodes, nodes[0].call if nodes else Call(), None, user_frame())
        for call in {n.call for n in nodes}:
            register_end(call, node)
    return outputs_of(node) if signature.aval.__class__ is tuple else node


def outputs_of(node: Node) -> tuple[OperatorNode, ...]:
    """The nodes that stand for the outputs of an operator with several."""
    return tuple([
        OperatorNode(_projection(node.signature, i), (node,), node.call, node.scope, node.origin)
        for i in range(len(node.signature.aval))
    ])


def _projection(signature: Signature, index: int) -> Signature:
    if signature.projections is None:
        signature.projections = [Signature(output, (i,), (signature.aval,), aval)
                                 for i, aval in enumerate(signature.aval)]
    return signature.projections[index]


def _apply_on_host(op: Operator, nodes: tuple[Node, ...], attrs: tuple, session: Session | None) -> Any:
    """Run a Python body now, on values; None when those are not known (inside a traced function)."""
    try:
        Engine.evaluate(list(nodes))
        values = [np.asarray(node.value) for node in nodes]
    except TracedValueError:
        return None
    out = op.evaluate(dict(zip(op.attributes, attrs, strict=True)), *values)
    call = session.call if session is not None else Call()
    scope = session.scope if session is not None else None

    several = isinstance(out, tuple)
    results = [jnp.asarray(value) for value in (out if several else (out,))]
    leaves = [LeafNode(aval_of(value), value, None, call, scope) for value in results]
    made = apply(host_result, (*leaves, *nodes), ((op, attrs), len(results) if several else 0))
    for node, value in zip(made if several else (made,), results, strict=True):
        node._value = value
    return made
