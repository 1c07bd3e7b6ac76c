"""What a session needs of whoever runs its graphs: the embedded engine here, a remote gateway elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..wire.graph import CallGraph
from .federated import Part


@dataclass(frozen=True)
class Failure:
    """Why a value was not computed: the operator, its inputs' shapes, its place in the requester's script."""

    message: str


@dataclass(frozen=True)
class GraphInfo:
    """A graph of an account.

    Attributes:
        about: name, algorithm, approach, rules, gpu_required.
        cost: what `Cost.summary` gave.
        status: "activated", "executing", "computed", "failed" (computed, but for some ops), "stopped" (by an error of
            the engine, or by the user) or "interrupted" (its process ended).
        message: why it stopped, or what it waits for.
        done, total: calls of programs.
    """

    id: int
    about: dict[str, Any]
    cost: dict[str, Any]
    status: str
    message: str
    done: int
    total: int


class Engine(Protocol):
    """Graphs of one account, by id. What belongs to other accounts is as if it did not exist."""

    def submit(self, graph: CallGraph, wanted: Collection[int], cost: Mapping[str, Any]) -> int:
        """Keep a graph that is activated; returns its id."""
        ...

    def start(self, graph: int, participants: int) -> None:
        """Begin, or go on, to compute it in the background; raises StateError when it runs or is done."""
        ...

    def wait(self, graph: int, seconds: float) -> None:
        """Return when it is not running any more, or after some seconds."""
        ...

    def stop(self, graph: int) -> None:
        """End a run after the present call; what is computed is kept."""
        ...

    def info(self, graph: int) -> GraphInfo | None:
        """Its state now."""
        ...

    def graphs(self) -> list[GraphInfo]:
        """All of them, oldest first."""
        ...

    def names(self, graph: int) -> dict[str, int]:
        """Its persist names."""
        ...

    def number(self, graph: int, name: str) -> int | None:
        """The value of a persist name."""
        ...

    def state(self, graph: int, number: int) -> str:
        """"pending", "computed" or "failed"."""
        ...

    def result(self, graph: int, number: int) -> np.ndarray | Failure | None:
        """A value; None when it is not there yet."""
        ...

    def failures(self, graph: int) -> list[str]:
        """Why values failed."""
        ...

    def contribute(self, graph: int, source: str, part: Part) -> str:
        """Take a participant's part of a federated graph, from a source once; returns how many have contributed."""
        ...

    def flush(self) -> None:
        """Stop and forget all graphs of the account."""
        ...
