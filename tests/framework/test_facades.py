"""`op` offers every public name of the operators' modules, but for those that only rules and the core use."""

from __future__ import annotations

import importlib
import pkgutil

from zkynet.framework import op, operators

INTERNAL = {"affine", "barrier", "basis", "cofactor", "embed_diagonal", "linear_recurrence", "place", "sum_to"}


def test_op_offers_every_public_operator_and_nothing_else():
    public: dict[str, object] = {}
    for found in pkgutil.iter_modules(operators.__path__):
        module = importlib.import_module(f"{operators.__name__}.{found.name}")
        public |= {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    assert set(op.__all__) == set(public) - INTERNAL
    assert all(getattr(op, name) is public[name] for name in op.__all__)
