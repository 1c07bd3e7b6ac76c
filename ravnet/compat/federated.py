"""ravpy's federated participation: a table on this machine takes part in a graph of the account, row by row unseen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zkynet.framework.errors import InputError

from ..executor.engine import GraphInfo
from ..executor.federated import Rules, part_of
from .provider import chosen, engine, of_token

__all__ = ["participate"]


def participate(token: Any = None, graph_id: int | None = None,
                file_path: str | os.PathLike[str] | None = None) -> GraphInfo:
    """Contribute the statistics of a table to a federated graph: how many rows it has, their means and variances.

    The graph is computed by its requester, who waits for it after `R.execute()`, when all participants are there.

    Args:
        token: of the account; may be left out after `initialize`.
        graph_id: of the graph; by default the oldest federated one that is not computed.
        file_path: comma-separated values with a header, which names at least the columns of the graph's rules.

    Returns:
        the graph's state then.

    Raises:
        InputError: when a column is missing, or a value is missing, no number or out of the rules' range.
        StateError: when there is no such graph, it is not federated, it needs no more participants, or this file has
            taken part.
    """
    of_token(token)
    graph = chosen(graph_id, "federated")
    if file_path is None:
        raise InputError("participate() takes file_path=, a file of comma-separated values.")
    part = part_of(file_path, Rules.read(graph.about.get("rules")))
    print(f"graph {graph.id}: {engine().contribute(graph.id, str(Path(file_path).resolve()), part)}")
    return engine().info(graph.id) or graph
