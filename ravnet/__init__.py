"""Raven's interface on zkynet: record a graph, activate, execute, track and fetch it.

    import ravnet as R

    R.initialize("<TOKEN>")
    R.Graph(name="sum", algorithm="example", approach="distributed")
    total = R.t([1, 2, 3]) + R.t([10, 20, 30])
    total.persist_op(name="total")
    R.activate()
    R.execute()
    R.track_progress()
    R.fetch_persisting_op(op_name="total")

Every function of `ravnet.functions` is offered here, too: `R.matmul(a, b)`, `R.sum(x, axis=0)`.
"""

from __future__ import annotations

import os as _os
from typing import Any as _Any

from zkynet.framework.session import add_internal_package as _add_internal_package

from .api.session import (
    Graph,
    Scalar,
    Tensor,
    activate,
    epsilon,
    execute,
    fetch_persisting_op,
    flush,
    get_my_graphs,
    inf,
    initialize,
    minus_one,
    model,
    one,
    pi,
    t,
    track_progress,
)
from .api.verbs import function_named as _function_named
from .functions import FUNCTIONS as _FUNCTIONS

__all__ = ["Graph", "Scalar", "Tensor", "activate", "epsilon", "execute", "fetch_persisting_op", "flush",
           "get_my_graphs", "inf", "initialize", "minus_one", "model", "one", "pi", "t", "track_progress"]

_add_internal_package(_os.path.dirname(_os.path.abspath(__file__)))  # lines in errors are the script's


def __getattr__(name: str) -> _Any:
    return _function_named(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_FUNCTIONS})
