"""What can go wrong between a requester and its graph; bad arguments are zkynet's InputError and ShapeError."""

from __future__ import annotations

from zkynet.framework.errors import ZkynetError


class RavnetError(ZkynetError):
    """Base of the errors below."""


class StateError(RavnetError):
    """A verb came at the wrong time: before initialize, without a graph, after activate, before execute."""


class PersistNameError(RavnetError):
    """A persist name is unknown or already used."""


class ExecutionError(RavnetError):
    """An op could not be computed; the message names it, its inputs' shapes and its line."""
