"""ravpy's interface, for the machine that the script runs on: it computes the graphs of an account here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zkynet.framework.errors import InputError

from .. import execute, track_progress
from .. import initialize as begin
from ..api import session
from ..api.graph import APPROACHES
from ..api.report import table
from ..errors import StateError
from ..executor.engine import Engine, GraphInfo

__all__ = ["Client", "initialize", "list_graphs", "participate"]

_WAITING = {"distributed": ("activated", "interrupted", "stopped"),
            "federated": ("activated", "interrupted", "stopped", "executing")}
_OTHERS = {"distributed": "it is computed of the data of its participants, who contribute them by "
                          "ravpy.federated.participate.participate(graph_id=, file_path=)",
           "federated": "it has data of its own, and is computed by ravpy.distributed.participate.participate()"}


@dataclass(frozen=True)
class Client:
    """What `initialize` gives. This machine is always connected to itself."""

    token: str
    connected: bool = True


_client: Client | None = None


def initialize(token: Any = None, *, ravenverse_token: Any = None) -> Client:
    """Say whose graphs are computed: the token with which their requester calls `R.initialize`.

    Raises:
        InputError: when it is no text.
    """
    global _client
    found = token if token is not None else ravenverse_token
    begin(found)
    _client = Client(found)
    return _client


def list_graphs(approach: str | None = None) -> list[dict[str, Any]]:
    """Print the account's graphs of an approach ("distributed" or "federated"; all by default); returns the rows.

    Raises:
        StateError: before `initialize`.
        InputError: for an unknown approach.
    """
    if approach is not None and approach not in APPROACHES:
        raise InputError(f"the approach of graphs is one of {', '.join(APPROACHES)}, but got {approach!r}.")
    rows = [{"id": info.id, **{key: info.about.get(key) for key in ("name", "approach", "algorithm", "rules")},
             "status": info.status, "cost": info.cost.get("flops")}
            for info in engine().graphs() if approach in (None, info.about.get("approach"))]
    print(table(rows))
    return rows


def participate(token: Any = None, graph_id: int | None = None) -> GraphInfo:
    """Compute a graph of the account on this machine, and show the progress until it is done.

    Args:
        token: of the account; may be left out after `initialize`.
        graph_id: of the graph; by default the oldest that waits for someone to compute it.

    Returns:
        the graph's last state.

    Raises:
        StateError: when there is no such graph, none waits, or it is a federated one.
        ExecutionError: when it came to a stop.
    """
    of_token(token)
    graph = chosen(graph_id, "distributed")
    if graph.status in ("computed", "failed"):
        print(f"graph {graph.id} is computed already")
        return graph
    if graph.status != "executing":  # else another process does; it is only watched
        execute(graph_id=graph.id)
    return track_progress(graph_id=graph.id)


def of_token(token: Any) -> None:
    """Go on as this account, if one is given."""
    if token is not None and (_client is None or _client.token != token):
        initialize(token)


def engine() -> Engine:
    """The account's."""
    return session._the_session().engine


def chosen(graph_id: int | None, approach: str) -> GraphInfo:
    """The graph of this id, or else the oldest one of an approach that waits for someone to take part.

    Raises:
        StateError: when there is none, or it is of another approach.
    """
    graphs = engine().graphs()
    if graph_id is not None:
        found = [info for info in graphs if info.id == graph_id]
        missing = f"the account has no graph {graph_id!r}"
    else:
        found = [info for info in graphs if info.status in _WAITING[approach] and info.about["approach"] == approach]
        missing = f"no {approach} graph of the account waits for participants: its requester calls R.activate() first"
    if not found:
        raise StateError(f"{missing}. list_graphs() shows those that there are.")
    if found[0].about["approach"] != approach:
        raise StateError(f"graph {graph_id} is {found[0].about['approach']}: {_OTHERS[approach]}.")
    return found[0]
