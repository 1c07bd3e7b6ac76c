"""Adding up cotangents, in place where one of them is zero but for a part.

What is read n times at different positions, a sequence step by step for instance, gets n cotangents of full
size that are nearly all zeros. Added as such they cost n times the whole; written into one another, n parts.
"""

from __future__ import annotations

from typing import Any

from ..nodes import Node, OperatorNode
from .create import filled
from .elementwise import add
from .gather import scattered, window_added
from .index import added
from .shape import place


def plus(a: Node, b: Node) -> Node:
    """a + b, for two nodes of one shape and dtype."""
    for total, part in ((a, b), (b, a)):
        written = _written_into(total, part)
        if written is not None:
            return written
    return add(a, b)


def _written_into(total: Node, part: Any) -> Node | None:
    """`part` added to `total` where it is not zero; None when it is not known to be zero anywhere."""
    if part.__class__ is not OperatorNode:
        return None
    kind, inputs, attributes = part.signature.operator, part.inputs, part.signature.kwargs
    if kind is place:
        (values,) = inputs
        if 8 * values.aval.size > part.aval.size:  # then one fused pass over all is faster
            return None
        index = tuple(zip(attributes["starts"], values.shape, attributes["steps"], strict=True))
        return added(total, values, index=index, outside=None, distinct=True)
    if kind not in (added, scattered, window_added):
        return None
    base = total if _is_zero(inputs[0]) else _written_into(total, inputs[0])
    return None if base is None else kind(base, *inputs[1:], **attributes)


def _is_zero(node: Any) -> bool:
    return (node.__class__ is OperatorNode and node.signature.operator is filled
            and node.signature.kwargs["value"] == 0)
