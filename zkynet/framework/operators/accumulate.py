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
    writes: list[Any] = []  # last first: there may be thousands
    while part.__class__ is OperatorNode and part.signature.operator in (added, scattered, window_added):
        writes.append(part)
        part = part.inputs[0]
    base = total if writes and is_zero(part) else _placed_into(total, part)
    if base is None:
        return None
    for write in reversed(writes):
        base = write.signature.operator(base, *write.inputs[1:], **write.signature.kwargs)
    return base


def _placed_into(total: Node, part: Any) -> Node | None:
    """The same for a part that is a `place` in zeros."""
    if part.__class__ is not OperatorNode or part.signature.operator is not place:
        return None
    (values,) = part.inputs
    if 8 * values.aval.size > part.aval.size:  # then one fused pass over all is faster
        return None
    attributes = part.signature.kwargs
    index = tuple(zip(attributes["starts"], values.shape, attributes["steps"], strict=True))
    return added(total, values, index=index, outside=None, distinct=True)


def is_zero(node: Any) -> bool:
    """Whether a node is known to be zeros."""
    return (node.__class__ is OperatorNode and node.signature.operator is filled
            and node.signature.kwargs["value"] == 0)
