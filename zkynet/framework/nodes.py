"""Grounded nodes: what one call made of the templates.

A node knows its shape and dtype at once and its value only when somebody asks. It refers to its inputs,
never to its users, so a graph is freed as soon as its last result is dropped.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from operator import index
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .avals import Aval
from .errors import GraphError, InputError
from .session import Call, Origin, Scope, describe_origin
from .symbols import SYMBOLS, Symbols

if TYPE_CHECKING:
    from .operator import Operator, Signature
    from .templates import Parameter, Template, Variable


class Engine:
    """What nodes need of the modules built on top of them; those fill it in when they are imported."""

    evaluate: Callable[[list[Node]], None]
    back: Callable[..., None]
    local_derivative: Callable[[Node, Node], jax.Array]
    symbols = SYMBOLS


_serials = itertools.count()
# Leaves keep numbers and NumPy arrays as they came; reading one makes it a JAX array.
_LAZY_KINDS = frozenset((int, float, bool, complex, np.ndarray))


class Expression(Symbols):
    """What a node and the result of a Module have in common."""

    __slots__ = ()

    @property
    def root(self) -> Any:
        raise NotImplementedError  # overridden by both subclasses

    @property
    def value(self) -> Any:
        return self.root.value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.root.aval.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.root.aval.dtype

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no len()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Node]:
        return (self[i] for i in range(len(self)))

    # Plain Python control flow may depend on values: asking computes that part of the graph.
    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return index(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value, dtype=dtype)


class Node(Expression):
    """A value of one call: a leaf, or an operator applied to other nodes."""

    __slots__ = ("aval", "_value", "call", "scope", "origin", "serial", "__weakref__")
    aval: Aval
    _value: Any
    call: Call
    scope: Scope | None
    origin: Origin | None
    serial: int
    signature: Signature  # of operator nodes

    inputs: tuple[Node, ...] = ()
    template: Template | None = None
    operator: Operator | None = None

    @property
    def root(self) -> Node:
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def value(self) -> jax.Array:
        """The array; computed (with everything it needs, in one compiled program) at the first reading."""
        value = self._value
        if value is None:
            Engine.evaluate([self])
            value = self._value
        if value.__class__ in _LAZY_KINDS:
            value = self._value = jnp.asarray(value)
        return value

    @property
    def is_computed(self) -> bool:
        return self._value is not None

    @property
    def call_id(self) -> str:
        return self.call.id

    @property
    def id(self) -> str:
        return f"{self.call.id}:{self.serial}"

    @property
    def where(self) -> str | None:
        """'file:line' in the user's code that made this node."""
        return describe_origin(self.origin)

    @property
    def children(self) -> tuple[Node, ...]:
        """The nodes this one is computed from."""
        return self.inputs

    @property
    def parents(self) -> tuple[Node, ...]:
        """The nodes computed from this one, in the finished graphs that reach it."""
        return parents_of(self)

    def isleaf(self) -> bool:
        return not self.inputs

    @property
    def name(self) -> str:
        raise NotImplementedError  # overridden by both subclasses

    @property
    def attrs(self) -> dict[str, Any]:
        return {}

    def back(self, cotangent: Any = None) -> None:
        """Backpropagate from this node: afterwards every node below it has `.gvalue`.

        Args:
            cotangent: of this node's shape, for the vector-Jacobian product. Left out, a scalar gives
                gradients and a tensor full Jacobians of shape `self.shape + node.shape`.
        """
        Engine.back(self, cotangent)

    @property
    def gvalue(self) -> jax.Array | None:
        """The gradient of the last `back()` at this node, zeros where none flows; None before, or outside its graph."""
        backward = self.call.backward
        return None if backward is None else backward.gradient(self)

    def grad(self, wrt: Node | Parameter | Variable) -> jax.Array:
        """The local derivative with respect to a child node, or after `back()` the gradient at a template.

        >>> from zkynet.framework import op
        >>> y = op.mult(3.0, 4.0)
        >>> float(y.grad(y.children[0]))
        4.0
        """
        if isinstance(wrt, Node):
            return Engine.local_derivative(self, wrt)
        return gradient_at(self, wrt)

    def retain(self) -> Node:
        """Have `back()` compute this node's gradient together with the leaves' (no extra program).

        This and `on_gradient` are about `back()`; `zkynet.grad` gives what it is asked for.
        """
        self.on_gradient(None)
        return self

    def on_gradient(self, observer: Callable[[jax.Array], None] | None) -> None:
        """Call `observer(gradient)` during every `back()` that reaches this node."""
        observers = self.call.observers = self.call.observers or {}
        observers.setdefault(self.serial, []).append(observer)

    def __repr__(self) -> str:
        value = f" = {short_value(self._value)}" if self._value is not None else ""
        return f"<{self.name}: {self.aval!r}{value}>"


class LeafNode(Node):
    """A node without inputs: a grounded Variable, Parameter, State, or a constant."""

    __slots__ = ("template",)

    def __init__(self, aval: Aval, value: Any, template: Template | None, call: Call, scope: Scope | None):
        self.aval = aval
        self._value = value
        self.template = template
        self.call = call
        self.scope = scope
        self.origin = None
        self.serial = next(_serials)

    @property
    def name(self) -> str:
        return "constant" if self.template is None else self.template.short_name


class HostLeaf(LeafNode):
    """An input of a body that runs in Python: its value stays the NumPy array that it is."""

    __slots__ = ()

    @property
    def value(self) -> Any:
        return self._value


class OperatorNode(Node):
    """An operator applied to nodes."""

    __slots__ = ("signature", "inputs")

    def __init__(self, signature: Signature, inputs: tuple[Node, ...], call: Call, scope: Scope | None,
                 origin: Origin | None):
        self.aval = signature.aval
        self.signature = signature
        self.inputs = inputs
        self._value = None
        self.call = call
        self.scope = scope
        self.origin = origin
        self.serial = next(_serials)

    @property
    def operator(self) -> Operator:
        return self.signature.operator

    @property
    def name(self) -> str:
        return self.signature.operator.name

    @property
    def attrs(self) -> dict[str, Any]:
        return dict(self.signature.kwargs)


def short_value(value: Any) -> str:
    try:
        array = np.asarray(value)
    except GraphError:  # a stand-in for a value that is still to be computed
        return repr(value)
    if array.size == 1:
        return f"{array.item():.6g}" if array.dtype.kind == "f" else str(array.item())
    text = np.array2string(array, precision=4, threshold=6, edgeitems=2, separator=", ")
    return " ".join(text.split()) if array.size <= 16 else "[...]"


def topological(roots: list[Node], since: int = 0) -> list[Node]:
    """All nodes that the roots depend on, inputs before users (a node is made after its inputs).

    Those with a serial below `since` are left out, and so is what only they depend on.
    """
    seen = set(roots)
    found = list(seen)
    for node in found:  # grows while it runs
        for child in node.inputs:
            if child not in seen and child.serial >= since:
                seen.add(child)
                found.append(child)
    found.sort(key=lambda node: node.serial)
    return found


def register_end(call: Call, root: Node) -> None:
    """Remember, weakly, that `root` ends a graph of this call."""
    ends = call.ends
    if ends is None:
        ends = call.ends = []
    elif len(ends) >= 16 and len(ends) & (len(ends) - 1) == 0:  # now and then forget those that are gone
        ends[:] = [reference for reference in ends if reference() is not None]
    ends.append(weakref.ref(root))


def parents_of(node: Node) -> tuple[Node, ...]:
    found: dict[Node, None] = {}
    for reference in node.call.ends or ():
        root = reference()
        if root is not None:
            for user in topological([root]):
                if node in user.inputs:
                    found[user] = None
    return tuple(found)


def gradient_at(node: Node, wrt: Any, bound: dict | None = None) -> jax.Array:
    """The gradient of the last back() at a template, summed over the leaves that stand for it."""
    backward = node.call.backward
    if backward is None:
        raise GraphError(f"no gradients yet: call back() on the result before grad({wrt!r}).")
    target = (bound or {}).get(wrt)
    if isinstance(target, Node):
        gradient = backward.gradient(target)
    elif target is not None:  # a structure of inputs; None for those that the graph does not use
        return jax.tree.map(backward.gradient, target)
    else:
        gradient = backward.gradient_of_template(wrt)
    if gradient is None:
        kind = type(wrt).__name__
        raise GraphError(
            f"{wrt!r} is no part of this graph, so there is no gradient with respect to it. "
            f"Pass a {kind} that the call used; this graph has: {backward.describe_templates()}."
        )
    return gradient


class ModuleGraph(Expression):
    """What a Module's call returns: the computational graph grounded to the given inputs.

    `root` is the output node (or the tuple or dict of nodes that `call()` returned), `value` its value.
    """

    __slots__ = ("_root", "call", "module", "inputs")

    def __init__(self, root: Any, call: Call, module: Any, inputs: dict[Any, Node]):
        self._root = root
        self.call = call
        self.module = module
        self.inputs = inputs

    @property
    def root(self) -> Any:
        return self._root

    @property
    def value(self) -> Any:
        """The output array, or arrays in the structure that `call()` returned; one program for all."""
        if isinstance(self._root, Node):
            return self._root.value
        Engine.evaluate(self.roots)
        return jax.tree.map(lambda node: node.value, self._root)

    @property
    def roots(self) -> list[Node]:
        return jax.tree.leaves(self._root)

    @property
    def call_id(self) -> str:
        return self.call.id

    @property
    def nodes(self) -> list[Node]:
        """All nodes, inputs before users."""
        return topological(self.roots)

    def single_root(self, purpose: str) -> Node:
        if isinstance(self._root, Node):
            return self._root
        raise GraphError(
            f"{purpose} needs one output, but {self.module.functional_name} returned a "
            f"{type(self._root).__name__} of {len(self.roots)}. Take one of them: result.root[...]."
        )

    def back(self, cotangent: Any = None) -> None:
        """Backpropagate from the root; see `Node.back`."""
        Engine.back(self.single_root("back()"), cotangent)

    def grad(self, wrt: Parameter | Variable | Node) -> jax.Array:
        """After `back()`: the gradient of the root with respect to a parameter, an input or a node."""
        root = self.single_root("grad()")
        if isinstance(wrt, Node):
            gradient = wrt.gvalue
            if gradient is None:
                raise GraphError(f"{wrt!r} has no gradient: call back() first, on a graph that contains it.")
            return gradient
        return gradient_at(root, wrt, self.inputs)

    def __getitem__(self, index: Any) -> Node:
        if isinstance(self._root, Node):
            return super().__getitem__(index)
        return self._root[index]

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__() if isinstance(self._root, Node) else iter(self._root)

    def __len__(self) -> int:
        return super().__len__() if isinstance(self._root, Node) else len(self._root)

    def __repr__(self) -> str:
        shown = jax.tree.map(lambda node: repr(node.aval), self._root)
        return f"<ModuleGraph of {self.module.functional_name}, call {self.call_id}: {shown}>"

    def __str__(self) -> str:
        from .describe import describe_graph

        return describe_graph(self)


def not_a_value(value: Any, name: str) -> InputError:
    return InputError(
        f"{name} needs a number, an array, a node or a Parameter, but got {type(value).__name__} "
        f"{str(value)[:60]!r}."
    )


def get_all_nodes(root: Node | ModuleGraph) -> list[Node]:
    """All nodes of a graph, inputs before users."""
    return topological(root.roots if isinstance(root, ModuleGraph) else [root])


def get_input_nodes(root: Node | ModuleGraph) -> list[Node]:
    """The leaves of a graph: grounded inputs, parameters, states and constants."""
    return [node for node in get_all_nodes(root) if node.isleaf()]
