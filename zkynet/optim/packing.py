"""How an optimizer's state is kept: its small arrays lie in one.

Each array that goes into a program and comes out of it costs about two microseconds, and Adam has two for each
parameter: for a small net that is longer than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax

SMALL = 2**14  # elements; copying more than these in and out costs more than passing them


@dataclass(frozen=True)
class Layout:
    """Where the leaves of a state are. Hashable, for equal layouts share compiled programs.

    Attributes:
        tree: the state without its leaves.
        names: of the leaves, their paths in the tree.
        shapes: of the leaves.
        alone: the numbers of the leaves that are arrays of their own.
        packed: the numbers of those that lie one after the other in one array, by what they are and by dtype.
    """

    tree: Any
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    alone: tuple[int, ...]
    packed: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, state: Any, small: int = SMALL) -> Layout:
        """That of this state, of arrays or their shapes; what is one of a kind, or above `small` elements, is alone."""
        found, tree = jax.tree_util.tree_flatten_with_path(state)
        names = tuple([jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in found])
        shapes = tuple([leaf.shape for _, leaf in found])

        def kind(number: int) -> tuple[str, str]:
            return names[number].rpartition(".")[0], str(found[number][1].dtype)

        little = sorted([n for n, shape in enumerate(shapes) if kind(n)[0] and prod(shape) <= small], key=kind)
        groups = [tuple(group) for _, group in groupby(little, kind)]
        packed = tuple([group for group in groups if len(group) > 1])
        alone = tuple(sorted(set(range(len(found))).difference(*packed)))
        return cls(tree, names, shapes, alone, packed)

    @property
    def array_names(self) -> list[str]:
        return [*(self.names[n] for n in self.alone), *(f"packed.{i}" for i in range(len(self.packed)))]

    def pack(self, leaves: Sequence[Any]) -> list[Any]:
        """Leaves, in the order of their names, to the arrays that are kept."""
        return [*(leaves[n] for n in self.alone),
                *(_joined([leaves[n] for n in group]) for group in self.packed)]

    def unpack(self, arrays: Sequence[Any]) -> list[Any]:
        """The reverse."""
        leaves: dict[int, Any] = dict(zip(self.alone, arrays, strict=False))
        for group, array in zip(self.packed, arrays[len(self.alone):], strict=True):
            leaves |= zip(group, _apart(array, [self.shapes[n] for n in group]), strict=True)
        return [leaves[n] for n in range(len(self.names))]


def together(rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """The rule, which must treat every element alike, computed for small parameters together.

    XLA makes slices of what is kept packed from what is put together here, so that nothing is copied. What the state
    has one number of for each parameter becomes a vector of these. A rule that takes it with its arrays gets `apart`,
    a function that gives the parameters' own arrays, and numbers, of what was put together.
    """
    inner = optax.with_extra_args_support(rule)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        groups = _small_groups(updates)
        shapes = {number: gradient.shape for number, gradient in updates.items()}
        members = {number for group in groups for number in group}

        def join(own: Any) -> Any:
            lone = {number: array for number, array in own.items() if number not in members}
            return lone | {group[0]: _joined([own[n] for n in group]) for group in groups}

        def apart(own: Any) -> Any:
            if own.keys() == shapes.keys():  # already, or nothing was put together
                return own
            parts: dict[int, Any] = {}
            for group in groups:
                numbers = [shapes[n] for n in group]
                scalars = own[group[0]].size != sum(map(prod, numbers))
                parts |= zip(group, _apart(own[group[0]], [()] * len(group) if scalars else numbers), strict=True)
            return own | parts

        def restored(old: Any, new: Any) -> Any:
            return {n: array.reshape(old[n].shape) for n, array in apart(new).items()}

        own = None if params is None else join(params)
        directions, following = inner.update(join(updates), by_parameter(join, state), own, apart=apart)
        return apart(directions), by_parameter(restored, state, following)

    return optax.GradientTransformation(rule.init, update)


def by_parameter(change: Callable[..., Any], *states: Any) -> Any:
    """The state with every dict by parameter changed; other leaves are those of the last state."""

    def is_one(tree: Any) -> bool:
        return isinstance(tree, dict) and all(isinstance(key, int) for key in tree)

    return jax.tree.map(lambda *nodes: change(*nodes) if is_one(nodes[0]) else nodes[-1], *states, is_leaf=is_one)


def _small_groups(arrays: dict[int, Any]) -> list[list[int]]:
    """The numbers of small arrays, those of one dtype together; nothing where there is one only."""
    groups: dict[Any, list[int]] = {}
    for number, array in arrays.items():
        if array.size <= SMALL:
            groups.setdefault(array.dtype, []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def _joined(arrays: Sequence[Any]) -> Any:
    return jnp.concatenate([jnp.ravel(array) for array in arrays])


def _apart(array: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    sizes = [prod(shape) for shape in shapes]
    return [array[end - size:end].reshape(shape)
            for shape, size, end in zip(shapes, sizes, accumulate(sizes), strict=True)]
