"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, vmap: functions of functions.

Each takes a Module or a Python function of nodes and returns a function of the same inputs: arrays in,
arrays out; nodes in, nodes out, so that they nest. The function runs as plain Python at every call (control
flow may depend on values); its derivative is built once per structure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from .avals import Aval
from .backward import jvp_structure, vjp_structure
from .compile import due_updates, evaluate, known_values, leaf_name, pending_of, run, structure_of
from .errors import GraphError, InputError, ShapeError
from .gradients import jacobian_structure
from .leaves import Named, array_leaf, as_node, grounded, zeros_aval
from .nodes import Expression, Node
from .operators.control import mapped, name_of, nodes_of, trace
from .operators.elementwise import identity
from .operators.shape import moveaxis
from .session import Session, current_session
from .structure import Structure, linearize
from .templates import Parameter, Template
from .undo import undo

Argnums = int | Sequence[int] | None


class _Run:
    """One call of a function on nodes: its outputs, and the structure from what is differentiated to them."""

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any],
                 argnums: Argnums, wrt: Sequence[Parameter] | None, name: str):
        outer = current_session.get()
        session = outer or Session()
        self.session = session if outer is None else None  # whose updates a failure takes back
        token = current_session.set(session)
        try:
            self.on_nodes = outer is not None or _has_nodes((args, kwargs))
            self._choose(args, argnums, wrt, name)
            nodes, trees = self._ground(args, session, name)
            self.outputs, self.out_tree = nodes_of(function(*trees, **kwargs), name)
            del nodes
        except BaseException:
            if outer is None:
                undo(session)
            raise
        finally:
            current_session.reset(token)
        self.states = [] if outer is not None else due_updates(self.outputs)
        roots = [*self.outputs, *pending_of(self.states)]
        key, self.leaves, slots = linearize(roots, arguments=self.targets, through=True)
        self.structure = structure_of(key)
        if self.structure.names is None:
            self.structure.names = [leaf_name(leaf) for leaf in self.leaves]
        if not self.structure.derived:
            self.structure.remember(slots)  # for the messages of wrong rules
        self.slots = tuple([slots[target] for target in self.targets])
        self.of = tuple(range(len(self.outputs)))
        self.what = f"{name} of {name_of(function)}"

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and self.session is not None:
            undo(self.session)

    def _choose(self, args: Sequence[Any], argnums: Argnums, wrt: Sequence[Parameter] | None, name: str) -> None:
        if argnums is None and wrt is None:
            argnums = 0
        self.single = isinstance(argnums, int)
        numbers = () if argnums is None else (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if any(not -len(args) <= n < len(args) for n in numbers):
            raise InputError(f"{name}: argnums={argnums} but the function was called with {len(args)} "
                             "positional inputs.")
        self.numbers = [n % len(args) for n in numbers]
        self.wrt = wrt

    def _ground(self, args: Sequence[Any], session: Session, name: str) -> tuple[list[Node], list[Any]]:
        """Nodes of all inputs; those that are differentiated become `targets`, each a node of its own."""
        targets: dict[int, tuple[list[Node], Any]] = {}
        trees = []
        for number, arg in enumerate(args):
            if number not in self.numbers:
                trees.append(arg)
                continue
            items, tree = jax.tree.flatten(arg, is_leaf=_is_leaf)
            pairs = [_target(item, session, name) for item in items]
            targets[number] = [target for target, _ in pairs], tree
            trees.append(jax.tree.unflatten(tree, [node for _, node in pairs]))
        self.arg_trees = [targets[n][1] for n in self.numbers]
        self.targets = [node for n in self.numbers for node in targets[n][0]]
        self.counts = [len(targets[n][0]) for n in self.numbers]
        if self.wrt is not None:
            for parameter in self.wrt:
                self.targets.append(grounded(_parameter(parameter, name), session, parameter))
        return self.targets, trees

    def scalar(self, name: str) -> None:
        if len(self.outputs) != 1 or self.outputs[0].shape != () or self.outputs[0].dtype == bool:
            raise ShapeError(f"{name} needs a function that returns one scalar, but {self.what} returned "
                             f"{[o.aval for o in self.outputs]}. Reduce it (op.sum, op.mean), or use jacobian or vjp.")

    def finish(self, program: Structure, extra: Sequence[Node] = ()) -> list[Any]:
        """Run the program (arrays), or continue the graph with it (nodes)."""
        inputs = [*self.leaves, *extra]
        if self.on_nodes:
            made = program.replay(inputs)
            return [made[slot] for slot in program.outputs]
        outputs = run(program, known_values(inputs), lambda: self.what)
        count = len(self.outputs)
        for state, value in zip(self.states, outputs[count:count + len(self.states)], strict=True):
            state.commit(value)
        return outputs

    def value(self, outputs: list[Any]) -> Any:
        return jax.tree.unflatten(self.out_tree, outputs[:len(self.outputs)])

    def assemble(self, parts: Sequence[Any]) -> Any:
        """Derivatives in the form of what was differentiated: one input, a tuple of them, parameters, or both."""
        by_input, position = [], 0
        for tree, count in zip(self.arg_trees, self.counts, strict=True):
            by_input.append(jax.tree.unflatten(tree, parts[position:position + count]))
            position += count
        inputs = by_input[0] if self.single else tuple(by_input)
        if self.wrt is None:
            return inputs
        return (inputs, list(parts[position:])) if self.numbers else list(parts[position:])


def _target(item: Any, session: Session, name: str) -> tuple[Node, Node]:
    """What is differentiated, and the node that the function gets for it."""
    if isinstance(item, Expression):
        # A node of its own: given twice it has two derivatives; where the function uses it besides it is a constant.
        node = identity(as_node(item, session, Named(name)))
        return node, node
    if isinstance(item, Template):
        item = grounded(item, session, Named(name)).value
    # A leaf of its own: where the function uses the same array or parameter besides, that is a constant.
    node = array_leaf(item, None, None, name)
    target = node if node.isleaf() else node.inputs[0]  # below the cast to the precision in force
    target.call = session.call
    return target, node


def _parameter(parameter: Any, name: str) -> Parameter:
    if not isinstance(parameter, Parameter):
        raise InputError(f"{name}: wrt takes a list of Parameters, but got {parameter!r}.")
    return parameter


def _has_nodes(tree: Any) -> bool:
    return any(isinstance(leaf, Expression) for leaf in jax.tree.leaves(tree, is_leaf=_is_leaf))


def _is_leaf(x: Any) -> bool:
    return isinstance(x, (Expression, Template))


def value_and_grad(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The function returning (f(x), grad f(x)); see `grad`.

    >>> import zkynet
    >>> value, gradient = zkynet.value_and_grad(lambda x: x * x)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _Run(f, args, kwargs, argnums, wrt, "grad") as call:
            call.scalar("grad")
            outputs = call.finish(vjp_structure(call.structure, call.slots, call.of, seeded=True))
        return call.value(outputs), call.assemble(outputs[len(call.structure.outputs):])

    return wrapped


def grad(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The gradient of a scalar function, as a function of the same inputs.

    Args:
        f: a Module or a Python function of nodes.
        argnums: which positional input(s): an int (default 0) or a tuple of ints. Inputs may be trees.
        wrt: Parameters instead of inputs (or besides them, when argnums is given too).

    Raises:
        ShapeError: when f does not return one scalar.

    >>> import zkynet
    >>> from zkynet.framework import op
    >>> float(zkynet.grad(zkynet.grad(lambda x: x * x * x))(2.0))
    12.0
    """
    both = value_and_grad(f, argnums, wrt)

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapped


def vjp(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The function (x, cotangent=c) -> (f(x), c^T J): the vector-Jacobian product.

    `cotangent` has the structure and shapes of what f returns.

    >>> import zkynet, numpy as np
    >>> _, row = zkynet.vjp(lambda x: x * x)(np.ones(2, np.float32), cotangent=np.ones(2, np.float32))
    >>> row.tolist()
    [2.0, 2.0]
    """

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, cotangent: Any, **kwargs: Any) -> Any:
        with _Run(f, args, kwargs, argnums, wrt, "vjp") as call:
            seeds = _like(cotangent, [o.aval for o in call.outputs], call.out_tree, call, "cotangent", "output")
            outputs = call.finish(vjp_structure(call.structure, call.slots, call.of), seeds)
        return call.value(outputs), call.assemble(outputs[len(call.structure.outputs):])

    return wrapped


def jvp(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The function (x, tangent=t) -> (f(x), J t): forward mode.

    `tangent` has the form of what is differentiated: one input, a tuple of inputs, a list for `wrt`.

    >>> import zkynet
    >>> [float(v) for v in zkynet.jvp(lambda x: x * x)(3.0, tangent=2.0)]
    [9.0, 12.0]
    """

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, tangent: Any, **kwargs: Any) -> Any:
        with _Run(f, args, kwargs, argnums, wrt, "jvp") as call:
            form = jax.tree.structure(call.assemble(range(len(call.targets))))
            seeds = _like(tangent, [t.aval for t in call.targets], form, call, "tangent", "input")
            outputs = call.finish(jvp_structure(call.structure, call.slots), seeds)
        count = len(call.structure.outputs)
        return call.value(outputs), call.value(outputs[count:])

    return wrapped


def _like(tree: Any, avals: list[Aval], form: Any, call: _Run, what: str, of: str) -> list[Node]:
    """The nodes of a given cotangent or tangent, checked against what it belongs to."""
    call.on_nodes |= _has_nodes(tree)
    nodes, given = nodes_of(tree, what)
    if given != form or [n.shape for n in nodes] != [a.shape for a in avals]:
        raise ShapeError(f"{call.what}: the {what} needs the form and shapes of its {of}, "
                         f"{jax.tree.unflatten(form, avals)}, but has "
                         f"{jax.tree.unflatten(given, [n.aval for n in nodes])}.")
    from .operators.shape import cast

    wanted = [zeros_aval(a).dtype for a in avals]
    token = current_session.set(current_session.get() or Session())
    try:
        nodes = [n if n.dtype == d else cast(n, dtype=d) for n, d in zip(nodes, wanted, strict=True)]
    finally:
        current_session.reset(token)
    if not call.on_nodes:
        for node in nodes:
            _ = node.value
    return nodes


def jacobian(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The full derivative, of shape f(x).shape + x.shape, as a function of the same inputs (reverse mode).

    >>> import zkynet, numpy as np
    >>> zkynet.jacobian(lambda x: x * x)(np.array([1.0, 2.0], np.float32)).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _Run(f, args, kwargs, argnums, wrt, "jacobian") as call:
            if len(call.outputs) != 1:
                raise ShapeError(f"{call.what}: jacobian needs one output, but got {len(call.outputs)}.")
            outputs = call.finish(jacobian_structure(call.structure, call.slots))
        return call.assemble(outputs[len(call.structure.outputs):])

    return wrapped


def hessian(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The matrix of second derivatives of a scalar function, of shape x.shape + x.shape, for one input.

    >>> import zkynet, numpy as np
    >>> from zkynet.framework import op
    >>> zkynet.hessian(lambda x: op.sum(x * x))(np.ones(2, np.float32)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    if argnums is not None and (wrt is not None or not isinstance(argnums, int)) or wrt is not None and len(wrt) != 1:
        raise GraphError("hessian takes one input or one parameter; use hvp for the product with a vector over many.")
    if wrt is not None:
        inner = grad(f, argnums, wrt)
        rows = jacobian(lambda *a, **k: inner(*a, **k)[0], argnums, wrt)

        return lambda *args, **kwargs: rows(*args, **kwargs)[0]
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], argnums: Argnums = None, wrt: Sequence[Parameter] | None = None) -> Any:
    """The function (x, vector=v) -> H v, the Hessian-vector product: forward mode over reverse mode.

    Pearlmutter, "Fast exact multiplication by the Hessian", 1994. Costs about two gradients; H is never formed.

    >>> import zkynet
    >>> float(zkynet.hvp(lambda x: x * x * x)(2.0, vector=1.0))
    12.0
    """
    forward = jvp(grad(f, argnums, wrt), argnums, wrt)

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, vector: Any, **kwargs: Any) -> Any:
        product = forward(*args, tangent=vector, **kwargs)[1]
        return jax.tree.map(_in_dtype_of, product, vector, is_leaf=_is_leaf)

    return wrapped


def _in_dtype_of(product: Any, vector: Any) -> Any:
    """Second derivatives arrive in the dtype of what they belong to, whatever the precision in force."""
    dtype = getattr(vector, "dtype", product.dtype)
    if product.dtype == dtype or not jax.numpy.issubdtype(dtype, jax.numpy.inexact):
        return product
    from .operators.shape import cast

    return cast(product, dtype=dtype) if isinstance(product, Expression) else product.astype(dtype)


def vmap(f: Callable[..., Any], in_axes: int | None | Sequence[int | None] = 0, out_axes: int = 0) -> Any:
    """Vectorise: f is written for one example and runs on a batch. Keyword inputs are the same for all examples.

    Args:
        in_axes: for each positional input the axis that is mapped over, or None to give all examples the same.
        out_axes: where the outputs have the mapped axis.

    Raises:
        ShapeError: when the mapped axes differ in length or there is none.

    >>> import zkynet, numpy as np
    >>> from zkynet.framework import op
    >>> zkynet.vmap(lambda x: op.sum(x * x))(np.ones((3, 2), np.float32)).tolist()
    [2.0, 2.0, 2.0]
    """

    @functools.wraps(f, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        axes: list[Any] = list(in_axes) if isinstance(in_axes, Sequence) else [in_axes] * len(args)
        if len(axes) != len(args):
            raise InputError(f"vmap: in_axes has {len(axes)} entries for {len(args)} inputs.")
        outer = current_session.get()
        token = current_session.set(outer or Session())
        try:
            outputs, tree = _vmapped(functools.partial(f, **kwargs), args, axes, out_axes)
        finally:
            current_session.reset(token)
        if outer is not None or _has_nodes((args, kwargs)):
            return jax.tree.unflatten(tree, outputs)
        evaluate(outputs)
        return jax.tree.unflatten(tree, [node.value for node in outputs])

    return wrapped


def _vmapped(f: Callable[..., Any], args: Sequence[Any], axes: list[int | None], out_axes: int) -> tuple[list, Any]:
    from .operators.control import row_aval

    nodes: list[Node] = []
    flat_axes: list[int | None] = []
    trees = []
    for arg, axis in zip(args, axes, strict=True):
        leaves, tree = nodes_of(arg, "vmap")
        if axis is not None and any(axis >= n.ndim or axis < -n.ndim for n in leaves):
            raise ShapeError(f"vmap: axis {axis} is out of range for {[n.aval for n in leaves]}.")
        leaves = [moveaxis(n, axis, 0) if axis not in (None, 0) else n for n in leaves]
        nodes += leaves
        flat_axes += [None if axis is None else 0] * len(leaves)
        trees.append(jax.tree.unflatten(tree, [n.aval if axis is None else row_aval(n.aval) for n in leaves]))
    sizes = {n.shape[0] for n, axis in zip(nodes, flat_axes, strict=True) if axis == 0}
    if len(sizes) != 1:
        raise ShapeError(f"vmap needs one common length of the mapped axes, but got {sorted(sizes)}.")
    structure, captured, tree = trace(f, trees, "vmap")
    parts = mapped(*nodes, *captured, structure=structure, in_axes=(*flat_axes, *(None,) * len(captured)),
                   size=sizes.pop())
    return [part if out_axes == 0 else moveaxis(part, 0, out_axes) for part in parts], tree


def local_derivative(node: Any, index: int) -> Node:
    """d node / d input, through this operator alone: elementwise where that is all, else the full Jacobian."""
    from .operators.shape import full
    from .rules import LocalDerivative

    operator, child = node.operator, node.inputs[index]
    if operator._gradfn is not None:
        return LocalDerivative.node(node, index)
    # An input that is given twice counts only at this position.
    arguments = [identity(n) for n in node.inputs]
    structure = structure_of(linearize([operator_again(node, arguments)], arguments=arguments)[0])
    slot = structure.inputs[index]
    if getattr(operator, "elementwise", False) and child.shape == node.shape:
        program = vjp_structure(structure, (slot,))
        aval = zeros_aval(child.aval) if not node.aval.inexact else node.aval
        leaves = [*node.inputs, full(shape=node.shape, dtype=aval.dtype, value=1)]
    else:
        program, leaves = jacobian_structure(structure, (slot,)), list(node.inputs)
    return program.replay(leaves)[program.outputs[-1]]


def operator_again(node: Any, inputs: Sequence[Node]) -> Node:
    from .operator import apply

    return apply(node.operator, tuple(inputs), node.signature.attrs)
