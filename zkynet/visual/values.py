"""The numbers shown in a picture: values and gradients in few words, and where the first bad one is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zkynet.framework.compile import evaluate
from zkynet.framework.errors import ZkynetError
from zkynet.visual.facts import Fact, Facts

COMPUTE_NODES = 200  # a graph of at most this many nodes is computed for its picture,
COMPUTE_ELEMENTS = 4_000_000  # if its values (or its gradients) do not take more room than this
SCAN_ELEMENTS = 20_000_000  # values looked through for a NaN in one picture
PRINTED = 6  # elements of an array that are printed


@dataclass(slots=True)
class Numbers:
    """By fact: the arrays at hand, and the first fact that is not finite (forward, else backward)."""

    values: dict[int, np.ndarray] = field(default_factory=dict)
    gradients: dict[int, np.ndarray] = field(default_factory=dict)
    flows: set[int] = field(default_factory=set)  # what a gradient passes, also operators with several outputs
    backed: bool = False  # whether back() was called
    bad: int | None = None
    bad_gradient: bool = False

    def lines(self, index: int) -> list[str]:
        """What stands in the box of a fact."""
        found = []
        if index in self.values:
            found.append(short(self.values[index]))
        if index in self.gradients:
            gradient, value = self.gradients[index], self.values.get(index)
            full = value is not None and gradient.shape != value.shape  # back() on a tensor: a Jacobian
            shape = f"[{','.join(map(str, gradient.shape))}] " if full else ""
            found.append(f"grad {shape}{short(gradient)}")
        return found

    def alarm(self, fact: Fact) -> str:
        """Why the fact is marked in red."""
        arrays = self.gradients if self.bad_gradient else self.values
        array = arrays[fact.index]
        what = "gradient" if self.bad_gradient else "value"
        count = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
        return f"first {what} that is not finite: {fact.name}, {count:,} of {np.size(array):,} elements"


def gather(facts: Facts, compute: bool | None = None) -> Numbers:
    """Collects what is known; computes values and gradients where they are small or `compute` says so."""
    plain = [fact for fact in facts.facts if not isinstance(fact.node.aval, tuple)]
    few = len(facts.facts) <= COMPUTE_NODES
    if compute or (compute is None and few and sum(map(_size, plain)) <= COMPUTE_ELEMENTS):
        try:
            evaluate([fact.node for fact in plain])
        except ZkynetError:
            pass  # such as a graph that is being traced: it has shapes and no values
    numbers = Numbers(backed=any(fact.node.call.backward is not None for fact in plain))
    room = SCAN_ELEMENTS
    for fact in plain:
        if fact.node.is_computed:
            room -= _size(fact)
            if room < 0:
                break
            _keep(numbers.values, fact, fact.node.value)
    numbers.flows = {fact.index for fact in facts.facts if _has_gradient(fact)}
    flowing = [fact for fact in plain if fact.index in numbers.flows]
    if compute is None:
        compute = few and sum(map(_gradient_size, flowing)) <= COMPUTE_ELEMENTS
    for fact in flowing:
        _keep(numbers.gradients, fact, _gradient(fact, compute))
    numbers.bad = next((i for i, array in numbers.values.items() if _is_bad(facts.facts[i], array)), None)
    if numbers.bad is None:
        backwards = reversed(numbers.gradients.items())
        numbers.bad = next((i for i, array in backwards if not _finite(array)), None)
        numbers.bad_gradient = numbers.bad is not None
    return numbers


def _size(fact: Fact) -> int:
    return int(np.prod(fact.node.shape, dtype=np.int64))


def _has_gradient(fact: Fact) -> bool:
    """Whether `back()` came by; a number in a formula has a gradient that nobody wants."""
    backward = fact.node.call.backward
    return (
        backward is not None
        and fact.node.serial in backward.slots
        and not (fact.is_leaf and fact.node.template is None)
    )


def _gradient_size(fact: Fact) -> int:
    """Its elements: after `back()` on a tensor it is a Jacobian."""
    backward = fact.node.call.backward
    return _size(fact) * (backward.root_aval.size if backward.jacobian else 1)


def _gradient(fact: Fact, compute: bool) -> Any:
    """The gradient at a node after `back()`; where nothing may be computed, only one that was read before."""
    backward = fact.node.call.backward
    return fact.node.gvalue if compute else backward.computed.get(backward.slots[fact.node.serial])


def _keep(arrays: dict[int, np.ndarray], fact: Fact, value: Any) -> None:
    if value is None:
        return
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError):  # random keys, and arrays spread over hosts, have no NumPy form
        return
    # NumPy knows bfloat16 and its kin only as opaque types.
    arrays[fact.index] = array.astype(np.float32) if array.dtype.kind == "V" else array


def _is_bad(fact: Fact, array: np.ndarray) -> bool:
    """Not finite; an infinite constant, such as a mask's, was meant so."""
    if fact.kind == "constant":
        return array.dtype.kind in "fc" and bool(np.isnan(array).any())
    return not _finite(array)


def _finite(array: np.ndarray) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def short(array: np.ndarray) -> str:
    """An array in few words.

    >>> short(np.array(36)), short(np.array([3.0, 4.25])), short(np.arange(10.0))
    ('= 36', '= [3, 4.25]', '0 … 9, mean 4.5')
    """
    if array.size == 0:
        return "= empty"
    if array.size == 1:
        return f"= {_number(array.reshape(-1)[0])}"
    if array.ndim == 1 and array.size <= PRINTED:
        return f"= [{', '.join(_number(item) for item in array)}]"
    if array.dtype.kind == "b":
        return f"{np.count_nonzero(array):,} of {array.size:,} true"
    finite = array[np.isfinite(array)] if not _finite(array) else array
    lost = array.size - finite.size
    bad = f"{lost:,} of {array.size:,} not finite" if lost else ""
    if not finite.size or array.dtype.kind == "c":
        return bad or "complex"
    wide = finite.astype(np.float64, copy=False)
    low, high = (_number(item, 3) for item in (finite.min(), finite.max()))
    span = f"all {low}" if low == high else f"{low} … {high}, mean {_number(wide.mean(), 3)}"
    return f"{bad}; {span}" if bad else span


def _number(item: Any, digits: int = 4) -> str:
    if isinstance(item, (bool, np.bool_)):
        return str(bool(item))
    if isinstance(item, (int, np.integer)):
        return str(int(item))
    if isinstance(item, (complex, np.complexfloating)):
        return f"{complex(item):.3g}"
    return f"{float(item):.{digits}g}"
