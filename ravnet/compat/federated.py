"""ravpy's federated participation: it needs a requester and participants on different machines."""

from __future__ import annotations

from typing import Any

from ..errors import StateError

__all__ = ["participate"]


def participate(token: Any = None, graph_id: int | None = None, file_path: Any = None) -> None:
    """Contribute the statistics of a file to a federated graph.

    Raises:
        StateError: always, in this version.
    """
    raise StateError("federated participation comes with the remote service, which this version does not have: the "
                     "statistics of several participants are brought together there. What graphs of data on this "
                     "machine compute, R.mean(), R.variance() and R.std() give.")
