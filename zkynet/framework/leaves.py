"""Leaves: how arrays, numbers, parameters and states enter a graph, and how a body's result leaves it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import config
from .avals import Aval, aval_of, is_jax_array, kept_dtype, make_aval
from .errors import InputError
from .nodes import Expression, LeafNode, Node, not_a_value
from .session import Call, Session
from .templates import Held, Parameter, Template, is_numeric


class Named:
    """Who asks for a node, where that is no operator."""

    def __init__(self, name: str):
        self.name = name


def as_node(value: Any, session: Session | None, op: Any) -> Node:
    """The node of anything that may be an input of an operator."""
    if isinstance(value, Node):
        return value
    if value.__class__ is Parameter:  # what most others are
        leaf = grounded(value, session, op)
        return cast_leaf(leaf) if config.casts else leaf
    if isinstance(value, Expression):
        root = value.root
        if isinstance(root, Node):
            return root
        raise InputError(f"{op.name} needs one node, but got a result with several outputs; take one of them.")
    if isinstance(value, Template):
        leaf = grounded(value, session, op)
        return cast_leaf(leaf) if config.casts else leaf
    return array_leaf(value, session, None, op.name)


def grounded(template: Template, session: Session | None, op: Any) -> Node:
    """The node of a parameter, state or constant in this call, in its own dtype."""
    if not isinstance(template, Held):
        raise InputError(f"{op.name} got the template {template!r} itself. Inside call(), use the argument of that "
                         "name, which holds this call's node.")
    owner = session
    while owner is not None and owner.outer is not None:
        owner = owner.outer
    pending = template._pending
    if pending is not None:
        if owner is not None and pending.call is owner.call:
            return pending
        if isinstance(template, Parameter) or (owner is not None and owner.traced):
            _ = template.value  # a program reads it at every call; what is differentiated must be a leaf
        else:
            # An earlier call's update: continue its graph, but do not differentiate through it.
            from .operators.shape import stop_gradient

            return stop_gradient(pending)
    if owner is None:
        return LeafNode(template.aval, template._value, template, Call(), None)
    leaf = owner.leaves.get(template)
    if leaf is None or leaf._value is not template._value:
        leaf = owner.leaves[template] = LeafNode(template.aval, template._value, template, owner.call, None)
    return leaf


def array_leaf(value: Any, session: Session | None, template: Template | None, name: str) -> Node:
    """A leaf of an array or a number. NumPy arrays are copied, as the value is read later."""
    kind = type(value)
    if kind is float or kind is int or kind is bool or kind is complex:
        call = session.call if session is not None else Call()
        aval = aval_of(value)
        if kind is int and value.bit_length() >= 8 * aval.dtype.itemsize:
            raise InputError(f"{name}: {value} does not fit into {aval.dtype}. Pass a float, or use "
                             'zkynet.precision("float64"), which has 64-bit integers.')
        return LeafNode(aval, value, template, call, None)
    if template is not None and is_jax_array(value):  # what most inputs are
        leaf = LeafNode(aval_of(value), value, template, session.call if session is not None else Call(), None)
        return cast_leaf(leaf) if config.casts else leaf
    key = None
    if session is not None and template is None:
        key = id(value)
        leaf = session.leaves.get(key)
        if leaf is not None:
            return cast_leaf(leaf)
    array = value if is_jax_array(value) else _copied_array(
        value, name if template is None else f"input {template.name!r}")
    leaf = LeafNode(aval_of(array), array, template, session.call if session is not None else Call(), None)
    if key is not None and array is value and session is not None:
        session.leaves[key] = leaf
    return cast_leaf(leaf) if config.casts else leaf


def _copied_array(value: Any, name: str) -> Any:
    if isinstance(value, (list, tuple)) and any(isinstance(item, Expression) for item in jax.tree.leaves(value)):
        raise InputError(f"{name} got a {type(value).__name__} with nodes in it, which would become a constant: join "
                         "them by op.stack or op.concat.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise not_a_value(value, name) from None
    if not is_numeric(array.dtype) or value is None:
        raise not_a_value(value, name)
    return np.array(array, dtype=kept_dtype(array, name), copy=True)


def cast_leaf(leaf: Node) -> Node:
    """Bring a floating leaf to the precision in force; the gradient arrives in the leaf's own dtype."""
    return leaf if leaf.inputs else in_precision(leaf)


def in_precision(node: Node) -> Node:
    """A node of real floating point numbers in the precision in force; any other as it is."""
    target, aval = config.compute_dtype(), node.aval
    if target is None or aval.dtype == target or aval.weak_type or not jnp.issubdtype(aval.dtype, jnp.floating):
        return node
    from .operators.shape import cast

    return cast(node, dtype=target)


def placeholder(aval: Aval, template: Template | None, call: Call) -> LeafNode:
    """A leaf whose value is not known: an argument of a structure."""
    return LeafNode(aval, None, template, call, None)


def zeros_aval(aval: Aval) -> Aval:
    """The aval of a cotangent: integers and booleans are differentiated as if they were float32."""
    return aval if aval.inexact else make_aval(aval.shape, np.dtype("float32"))


def unwrap(result: Any, op: Any) -> Any:
    """The array(s) of what an operator's body returned."""
    if isinstance(result, (tuple, list)):
        return tuple(unwrap(item, op) for item in result)
    if isinstance(result, Expression):
        return result.value
    if isinstance(result, (jax.Array, np.ndarray)):
        return result
    if isinstance(result, (bool, int, float, complex, np.generic)):
        return jnp.asarray(result)
    raise InputError(f"call() of operator {op.name} must return an array, a number or a node, but returned "
                     f"{type(result).__name__}." + (" Is a return statement missing?" if result is None else ""))
