"""Einstein summation."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ..errors import InputError
from ..nodes import Node
from .arguments import misfit, node_of
from .linalg import diagonal
from .registry import builtin
from .shape import broadcast_to, reshape, sum_to


@builtin(name="einsum")
def contracted(*operands, subscripts):
    """An Einstein sum in its plain form: explicit output, no ellipsis, no letter twice in one operand."""
    return jnp.einsum(subscripts, *operands)


@contracted.def_vjp
def _(g, y, *operands, subscripts):
    """The same sum with the cotangent in the place of the operand."""
    terms, out = _terms(subscripts)
    return [_pull(g, out, [(other, term) for i, (other, term) in enumerate(zip(operands, terms, strict=True))
                           if i != index], operand, terms[index]) for index, operand in enumerate(operands)]


def _terms(subscripts: str) -> tuple[list[str], str]:
    left, out = subscripts.split("->")
    return left.split(","), out


def _pull(g: Node, out: str, others: Sequence[tuple[Node, str]], operand: Node, term: str) -> Node:
    known = out + "".join(other for _, other in others)
    kept = "".join(letter for letter in term if letter in known)
    terms = ",".join([out, *(other for _, other in others)])
    part = contracted(g, *(other for other, _ in others), subscripts=f"{terms}->{kept}")
    # A letter of this operand alone, or one along which all others had length 1, was summed out: its cotangent is the
    # same all along that axis. And an axis of length 1 of this operand may have been broadcast.
    lengths = dict(zip(kept, part.shape, strict=True))
    if kept != term:
        part = reshape(part, shape=tuple([lengths.get(letter, 1) for letter in term]))
    shape = jnp.broadcast_shapes(part.shape, operand.shape)
    part = part if part.shape == shape else broadcast_to(part, shape=shape)
    return part if part.shape == operand.shape else sum_to(part, shape=operand.shape)


def einsum(subscripts: str, *operands: Any) -> Node:
    """The sum of products that `subscripts` describe: `op.einsum("ij,jk->ik", a, b)` is the matrix product.

    A letter that is missing in the output is summed over. Without "->" the output has the letters that occur
    once, in alphabetical order. "..." stands for further axes, which are broadcast. A letter twice in one
    operand takes its diagonal.

    Args:
        subscripts: NumPy's notation.
        operands: one for each comma-separated term.

    Raises:
        InputError: when the subscripts cannot be read.
        ShapeError: when they do not fit the operands.

    >>> from zkynet.framework import op
    >>> import numpy as np
    >>> op.einsum("bij,bjk->bik", np.ones((5, 2, 3)), np.ones((5, 3, 4))).shape
    (5, 2, 4)
    >>> float(op.einsum("ii", [[1.0, 2.0], [3.0, 4.0]]).value)
    5.0
    """
    if not isinstance(subscripts, str):
        raise InputError(f"einsum needs its subscripts first, as a string, but got {type(subscripts).__name__}.")
    nodes = [node_of(operand, "einsum") for operand in operands]
    terms, out = _plain(subscripts, nodes)
    for index, term in enumerate(terms):
        nodes[index], terms[index] = _without_repeats(nodes[index], term)
    return contracted(*nodes, subscripts=f"{','.join(terms)}->{out}")


def _plain(subscripts: str, nodes: Sequence[Node]) -> tuple[list[str], str]:
    """One letter for each axis of each operand, and the output's letters."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = [letter for letter in (left + right).replace("...", "") if letter != ","]
    if not all(letter in string.ascii_letters for letter in letters):
        raise InputError(f"einsum cannot read {subscripts!r}: axes are letters, '...' stands for several, "
                         "operands are separated by commas, '->' precedes the output.")
    if len(terms) != len(nodes):
        raise InputError(f"einsum: {subscripts!r} describes {len(terms)} operands, but got {len(nodes)}.")
    spare = [letter for letter in string.ascii_letters if letter not in letters]
    counts = [node.ndim - len(term.replace("...", "")) for term, node in zip(terms, nodes, strict=True)]
    for term, count, node in zip(terms, counts, nodes, strict=True):
        if count < 0 or (count and "..." not in term):
            raise misfit("einsum", f"the term {term!r} of {subscripts!r} does not fit {node.aval!r}: one letter for "
                                   "each axis, or '...' for the rest.")
    most = max((count for term, count in zip(terms, counts, strict=True) if "..." in term), default=0)
    rest = "".join(spare[:most])
    full = [term.replace("...", rest[most - count:]) for term, count in zip(terms, counts, strict=True)]
    if not arrow:
        once = [letter for letter in sorted(set(letters)) if letters.count(letter) == 1]
        return full, rest + "".join(once)
    out = right.replace("...", rest)
    unknown = [letter for letter in out if out.count(letter) > 1 or letter not in "".join(full)]
    if unknown:
        raise InputError(f"einsum: {unknown[0]!r} in the output of {subscripts!r} must occur there once, and in an "
                         "operand.")
    return full, out


def _without_repeats(node: Node, term: str) -> tuple[Node, str]:
    """Take the diagonal of axes with the same letter, which becomes the last axis."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            if node.shape[first] != node.shape[second]:
                raise misfit("einsum", f"{letter!r} stands for axes of different length in {node.aval!r}.")
            node = diagonal(node, axis1=first, axis2=second)
            term = term[:first] + term[first + 1:second] + term[second + 1:] + letter
    return node, term


__all__ = ["einsum"]
