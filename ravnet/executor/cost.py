"""What a graph costs: an estimate of floating-point operations and of bytes moved, from shapes alone.

The unit is one floating-point addition or multiplication (FLOP). Every operator has a rule, by its name:

| operators | FLOP |
|---|---|
| products (matmul, linear, conv and their gradients, einsum) | 2 for each multiplication with its addition |
| elementwise, reductions | a weight for each element read (or written, where that is more): `WEIGHTS`, else 1 |
| pooling | 1 for each element of each window |
| moving and making data (reshape, concat, getitem, full, ...) | 0 |
| optimizer_step | 3 for each element of parameters, gradients and state |
| sort, top_k | n log2 n for each row of n |
| solve, det, cholesky | 2 n^3 / 3 for elimination, n^3 / 3 for Cholesky, 2 n^2 for each right side; inv: 2 n^3 |
| scanned, mapped, branch, loop | their body's, for each step; the dearer branch; one step of a loop of unknown length |
| operators of your own | 1 for each element read or written |

Bytes are those of all inputs and outputs of each operator, as if each went through memory; compiled programs move
fewer. Functions that run late count 1 FLOP an element of what is known of their inputs; `late` says how many they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from zkynet.framework.avals import Aval
from zkynet.framework.operator import Signature
from zkynet.framework.structure import Structure

from ..wire.graph import Call, CallGraph, operators_of


@dataclass(frozen=True)
class Cost:
    """Of a graph.

    Attributes:
        flops, bytes: estimates, as above.
        calls: calls of programs, of which `programs` are different.
        late: calls whose cost is hardly known.
        parts: groups of calls that share no result: so many participants can work at the same time.
    """

    flops: int
    bytes: int
    calls: int
    programs: int
    late: int
    parts: int

    @property
    def participants(self) -> int:
        """The largest number of participants that is of use."""
        return max(1, self.parts)

    def summary(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


class NodeCost(NamedTuple):
    """Of a node: its operator, the module and line that made it, FLOP and bytes of one run."""

    operator: str
    place: str | None
    flops: int
    bytes: int


def cost_of(graph: CallGraph) -> Cost:
    """The cost of a graph; each program's is found once and counted for each of its calls."""
    known: dict[Structure, tuple[int, int]] = {}
    flops = moved = late = 0
    for call in graph.calls:
        if isinstance(call.program, Structure):
            own = structure_cost(call.program, known)
        else:
            own = _late_cost(graph, call)
            late += 1
        flops, moved = flops + own[0], moved + own[1]
    return Cost(flops, moved, len(graph.calls), len(graph.programs()), late, len(graph.components()))


def structure_cost(structure: Structure, known: dict[Structure, tuple[int, int]] | None = None) -> tuple[int, int]:
    """(FLOP, bytes) of one run of a structure."""
    known = {} if known is None else known
    if structure not in known:
        flops = moved = 0
        for _, signature, _ in operators_of(structure):
            own = _operator_cost(signature, known)
            flops, moved = flops + own[0], moved + own[1]
        known[structure] = flops, moved
    return known[structure]


def node_costs(graph: CallGraph) -> Iterator[NodeCost]:
    """The cost of every node of a graph, in the order of execution; together they are `cost_of(graph)`."""
    known: dict[Structure, tuple[int, int]] = {}
    for call in graph.calls:
        program = call.program
        if isinstance(program, Structure):
            places = graph.places.get(program, {})
            for slot, signature, _ in operators_of(program):
                yield NodeCost(signature.operator.name, places.get(slot, call.origin),
                               *_operator_cost(signature, known))
        else:
            yield NodeCost(program.function, call.origin, *_late_cost(graph, call))


def _late_cost(graph: CallGraph, call: Call) -> tuple[int, int]:
    avals = [aval for number in call.inputs if (aval := graph.aval(number)) is not None]
    return sum(aval.size for aval in avals), sum(aval.nbytes for aval in avals)


def _operator_cost(signature: Signature, known: dict[Structure, tuple[int, int]]) -> tuple[int, int]:
    moved = 0
    if signature.operator.name not in _FREE:
        moved = sum(aval.nbytes for aval in (*flat(signature.in_avals), *flat(signature.aval)))
    return operator_flops(signature, known), moved


def operator_flops(signature: Signature, known: dict[Structure, tuple[int, int]] | None = None) -> int:
    """FLOP of one operator at one signature."""
    name = signature.operator.name
    if name in _BODIES:
        return _BODIES[name](signature.kwargs, lambda body: structure_cost(body, {} if known is None else known)[0])
    rule = _RULES.get(name)
    if rule is not None:
        return int(rule(signature, flat(signature.in_avals), flat(signature.aval)))
    if name in _MOVES or name in _FREE:
        return 0
    return round(WEIGHTS.get(name, 1.0) * max(_size(flat(signature.in_avals)), _size(flat(signature.aval))))


def flat(avals: Any) -> list[Aval]:
    """All avals of a (nested) tuple of them."""
    if isinstance(avals, (tuple, list)):
        return [one for aval in avals for one in flat(aval)]
    return [avals]


def _size(avals: list[Aval]) -> int:
    return max([aval.size for aval in avals], default=0)


# FLOP for each element, where it is not 1.
WEIGHTS: dict[str, float] = {
    **dict.fromkeys(("divide", "reciprocal", "sqrt", "rsqrt", "remainder", "floor_divide", "cofactor"), 4),
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "tanh", "sinh",
                     "cosh", "sigmoid", "erf", "erfc", "cbrt", "hypot", "elu", "celu", "selu", "silu", "softsign"), 10),
    **dict.fromkeys(("arcsin", "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh", "erfinv", "power",
                     "gelu", "mish", "softplus", "logsigmoid", "tanhshrink", "logaddexp", "logsubexp", "log1mexp",
                     "binary_cross_entropy"), 20),
    **dict.fromkeys(("softmax", "softmin", "log_softmax", "logsumexp", "log_sum_exp", "logcumsumexp", "cross_entropy",
                     "soft_cross_entropy"), 15),
    **dict.fromkeys(("var", "std", "norm", "running_moments", "deviation"), 3),
    **dict.fromkeys(("normalize", "standardize"), 8),
    **dict.fromkeys(("standard_uniform", "bernoulli", "randint", "dropout", "permutation"), 25),
    **dict.fromkeys(("standard_normal", "truncated_normal", "categorical"), 45),
    "linear_recurrence": 4, "integer_power": 3, "resize": 8, "resize_spread": 8,
}
_MOVES = frozenset((
    "full", "basis", "arange", "eye", "cast", "broadcast_to", "concat", "stack", "split", "slice", "place", "flip",
    "roll", "repeat", "tile", "getitem", "set_at", "gather", "one_hot", "dynamic_slice", "dynamic_update_slice",
    "diagonal", "embed_diagonal", "tril", "triu", "pad", "transpose", "moveaxis", "swapaxes", "pick_in_plane",
    "place_in_plane", "max_pool_spread", "max_pool_pick", "random_key", "split_key"))
# What a compiled program does not do at all.
_FREE = frozenset(("identity", "stop_gradient", "barrier", "reshape", "expand_dims", "squeeze", "output", "literal"))

_Rule = Callable[[Signature, list[Aval], list[Aval]], float]


def _product(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
    """a (.., m, k) times b (.., k, n): 2 k for each element of the result."""
    a, b = inputs[:2]
    if signature.operator.name in ("matmul", "linear"):
        inner = a.shape[-1]
    else:  # of m k, k n and m n elements
        inner = math.sqrt(a.size * b.size / outputs[0].size) if outputs[0].size else 0
    return outputs[0].size * (2 * inner + (len(inputs) > 2))


def _einsum(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
    """2 for each combination of indices, with one multiplication more for each operand more."""
    lengths: dict[str, int] = {}
    terms = str(signature.kwargs["subscripts"]).split("->")[0].replace(" ", "").split(",")
    for term, aval in zip(terms, inputs, strict=False):
        before, dots, after = term.partition("...")
        rest = aval.shape[len(before):len(aval.shape) - len(after)] if dots else ()
        lengths.update(zip(before, aval.shape, strict=False))
        lengths.update(zip(reversed(after), reversed(aval.shape), strict=False))
        lengths.update({f".{place}": length for place, length in enumerate(reversed(rest))})
    return max(2, len(inputs)) * math.prod(lengths.values())


def _conv(sized: int, weight: int | None) -> _Rule:
    """Every element of the side with `g`'s shape meets (in / groups) * kernel weights."""
    def rule(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
        kernel = outputs[0] if weight is None else inputs[weight]
        return 2 * (outputs[0] if sized < 0 else inputs[sized]).size * math.prod(kernel.shape[1:])

    return rule


def _windows(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
    return _size(outputs) * math.prod(signature.kwargs["kernel"])


def _windows_back(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
    return inputs[0].size * math.prod(signature.kwargs["kernel"])


def _sorting(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
    x = inputs[0]
    axis = signature.kwargs["axis"]
    length = x.size if axis is None else x.shape[axis] if x.shape else 1
    return x.size * math.log2(max(2, length))


def _square(cubes: float, sides: bool = False) -> _Rule:
    """cubes n^3 for each n x n matrix, and with `sides` 2 n^2 for each column of the other input."""
    def rule(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
        n = inputs[0].shape[-1]
        return cubes * inputs[0].size * n + (2 * n * inputs[1].size if sides else 0)

    return rule


def _recurrent(times: float) -> _Rule:
    """Each step multiplies the states (batch, hidden) with the weights (gates hidden, hidden)."""
    def rule(signature: Signature, inputs: list[Aval], outputs: list[Aval]) -> float:
        projected = max([aval for aval in inputs if len(aval.shape) == 3], key=lambda aval: aval.size)
        weight = next(aval for aval in inputs if len(aval.shape) == 2)
        return times * projected.size * (2 * min(weight.shape) + 20)

    return rule


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("matmul", "linear", "dot", "tensordot"), _product), "einsum": _einsum,
    "log_matmul": lambda *found: 15 * _product(*found),
    "conv": _conv(-1, 1), "conv_transpose": _conv(0, 1), "conv_weight": _conv(1, None),
    **dict.fromkeys(("max_pool", "max_pool_indices", "avg_pool"), _windows), "avg_pool_spread": _windows_back,
    "sort": _sorting, "top_k": _sorting,
    "inv": _square(2), "solve": _square(2 / 3, sides=True), "solve_triangular": _square(0, sides=True),
    "cholesky": _square(1 / 3), "det": _square(2 / 3), "slogdet": _square(2 / 3),
    "recurrent": _recurrent(1), "recurrent_back": _recurrent(2),
    "optimizer_step": lambda signature, inputs, outputs: 3 * sum(aval.size for aval in inputs),
    "add_at": lambda signature, inputs, outputs: inputs[1].size,
    "scatter_add": lambda signature, inputs, outputs: inputs[-1].size,
    "dynamic_add_slice": lambda signature, inputs, outputs: inputs[1].size,
}
_BODIES: dict[str, Callable[[dict[str, Any], Callable[[Structure], int]], int]] = {
    "mapped": lambda how, body: how["size"] * body(how["structure"]),
    "checkpointed": lambda how, body: body(how["structure"]),
    "branch": lambda how, body: max(body(how["if_true"]), body(how["if_false"])),
    "loop": lambda how, body: body(how["test"]) + body(how["body"]),
    "scanned": lambda how, body: how["length"] * body(how["body"]),
    "lbfgs": lambda how, body: body(how["structure"]),
}
