"""Rules of reductions, sorting, and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...framework import op
from ...framework.errors import GraphError
from .registry import add_rules, axes_of, dtype_of, node, rank, rule, shape_of
from .rules_shape import cast

# Sums and moments -------------------------------------------------------------------------------------------------


def _reduction(ours: Any) -> dict[str, Any]:
    """Over everything, and over some axes."""
    return {
        "": lambda x, dtype=None: ours(cast(x, dtype)),
        "dims": lambda x, dims=None, keep=False, dtype=None: ours(
            cast(x, dtype), axis=axes_of(dims), keepdims=bool(keep)),
    }


for _name, _ours, _overload in (("sum", op.sum, "dim_IntList"), ("mean", op.mean, "dim"),
                                ("prod", op.prod, "dim_int")):
    _made = _reduction(_ours)
    add_rules({_name: _made[""], f"{_name}.{_overload}": _made["dims"]})
add_rules({
    "amax": lambda x, dims=(), keep=False: op.max(x, axis=axes_of(dims), keepdims=bool(keep)),
    "amin": lambda x, dims=(), keep=False: op.min(x, axis=axes_of(dims), keepdims=bool(keep)),
    "logsumexp": lambda x, dims, keep=False: op.logsumexp(x, axis=axes_of(dims), keepdims=bool(keep)),
    "any": lambda x: op.any(x), "all": lambda x: op.all(x),
    "count_nonzero": lambda x, dims=None: op.count_nonzero(x, axis=axes_of(dims)),
    "argmax": lambda x, dim=None, keep=False: op.argmax(x, axis=dim, keepdims=bool(keep)),
    "argmin": lambda x, dim=None, keep=False: op.argmin(x, axis=dim, keepdims=bool(keep)),
    "max": lambda x: op.max(x), "min": lambda x: op.min(x),
    "cumsum": lambda x, dim, dtype=None: op.cumsum(cast(x, dtype), axis=dim),
    "cumprod": lambda x, dim, dtype=None: op.cumprod(cast(x, dtype), axis=dim),
    "trace": lambda x: op.trace(x),
})
for _name, _ours in (("any", op.any), ("all", op.all)):
    add_rules({f"{_name}.dim{more}": lambda x, dims=None, keep=False, ours=_ours: ours(
        x, axis=axes_of(dims), keepdims=bool(keep)) for more in ("", "s")})


def _moment(ours: Any) -> dict[str, Any]:
    """Variance and standard deviation: PyTorch's are unbiased unless told otherwise."""
    return {
        "": lambda x, unbiased=True: ours(x, ddof=int(bool(unbiased))),
        ".dim": lambda x, dims, unbiased=True, keep=False: ours(
            x, axis=axes_of(dims), ddof=int(bool(unbiased)), keepdims=bool(keep)),
        ".correction": lambda x, dims=None, correction=None, keep=False: ours(
            x, axis=axes_of(dims), ddof=1 if correction is None else correction, keepdims=bool(keep)),
    }


for _name, _ours in (("var", op.var), ("std", op.std)):
    add_rules({_name + overload: made for overload, made in _moment(_ours).items()})
_var = _moment(op.var)
add_rules({
    "var_mean": lambda x, unbiased=True: (_var[""](x, unbiased), op.mean(x)),
    "var_mean.dim": lambda x, dims, unbiased=True, keep=False: (
        _var[".dim"](x, dims, unbiased, keep), op.mean(x, axis=axes_of(dims), keepdims=bool(keep))),
    "var_mean.correction": lambda x, dims=None, correction=None, keep=False: (
        _var[".correction"](x, dims, correction, keep), op.mean(x, axis=axes_of(dims), keepdims=bool(keep))),
})


def _extreme(position: Any) -> Any:
    """The extreme along an axis and where it is; the gradient goes to that place alone."""
    def found(x: Any, dim: int, keep: bool = False) -> tuple[Any, Any]:
        if not rank(x):
            return node(x), op.full((), 0, dtype_of(4))
        places = position(x, axis=dim, keepdims=True)
        values = op.gather(x, places, axis=dim)
        return (values, places) if keep else (op.squeeze(values, axis=dim), op.squeeze(places, axis=dim))
    return found


add_rules({"max.dim": _extreme(op.argmax), "min.dim": _extreme(op.argmin)})


@rule("norm.Scalar", "norm.ScalarOpt_dim", "linalg_vector_norm", "frobenius_norm.dim")
def _norm(x: Any, order: Any = 2, dims: Any = None, keep: bool = False, dtype: Any = None) -> Any:
    if isinstance(order, (list, tuple)):  # Frobenius has none
        order, dims, keep = 2, order, bool(dims)
    return op.norm(cast(x, dtype), ord=2 if order is None else order, axis=axes_of(dims), keepdims=bool(keep))


@rule("linalg_norm")
def _(x: Any, order: Any = None, dims: Any = None, keep: bool = False, dtype: Any = None) -> Any:
    """With an order it is the norm of a matrix, which is not that of its elements; Frobenius' is."""
    matrix = (rank(x) if dims is None else len(dims)) == 2
    if matrix and order not in (None, "fro"):
        raise GraphError(f"torch.linalg.norm of a matrix is supported with ord=None or 'fro', not {order!r}: for that "
                         "of its elements use torch.linalg.vector_norm.")
    return _norm(x, order, dims, keep, dtype)


# Order ------------------------------------------------------------------------------------------------------------


@rule("topk")
def _(x: Any, k: Any, dim: int = -1, largest: bool = True, *_: Any) -> tuple[Any, Any]:
    return op.top_k(x, int(k), axis=dim, largest=bool(largest))


@rule("sort")
def _sort(x: Any, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    places = op.argsort(x, axis=dim, descending=bool(descending))
    return op.gather(x, places, axis=dim), places


add_rules({
    "sort.stable": lambda x, stable, dim=-1, descending=False: _sort(x, dim, descending),
    "argsort": lambda x, dim=-1, descending=False: op.argsort(x, axis=dim, descending=bool(descending)),
    "argsort.stable": lambda x, stable, dim=-1, descending=False: op.argsort(
        x, axis=dim, descending=bool(descending)),
})

# Softmax ----------------------------------------------------------------------------------------------------------

add_rules({
    "softmax": lambda x, dim, dtype=None: op.softmax(cast(x, dtype), axis=dim),
    "log_softmax": lambda x, dim, dtype=None: op.log_softmax(cast(x, dtype), axis=dim),
    "_softmax": lambda x, dim, half: op.softmax(x, axis=dim),
    "_log_softmax": lambda x, dim, half: op.log_softmax(x, axis=dim),
})

# Products ---------------------------------------------------------------------------------------------------------


def _scaled(x: Any, factor: Any) -> Any:
    return x if factor == 1 else x * factor


@rule("addmm", "addmv", "baddbmm")
def _(x: Any, a: Any, b: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(op.matmul(a, b), alpha)
    return product if beta == 0 else _scaled(x, beta) + product


@rule("einsum")
def _(subscripts: str, operands: Sequence[Any], *_: Any) -> Any:
    return op.einsum(subscripts, *operands)


@rule("bilinear")
def _(a: Any, b: Any, weight: Any, bias: Any = None) -> Any:
    y = op.einsum("...i,oij,...j->...o", a, weight, b)
    return y if bias is None else y + bias


@rule("linear")
def _(x: Any, weight: Any, bias: Any = None) -> Any:
    if rank(x) == 1 or len(shape_of(weight)) == 1:
        y = op.matmul(x, weight if rank(weight) == 1 else op.transpose(weight))
        return y if bias is None else y + bias
    return op.linear(x, weight, bias)


add_rules({
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot"), lambda a, b: op.matmul(a, b)),
    "inner": lambda a, b: op.inner(a, b),
    "outer": lambda a, b: op.outer(a, b),
    "tensordot": lambda a, b, over_a, over_b: op.tensordot(a, b, axes=(tuple(over_a), tuple(over_b))),
})
