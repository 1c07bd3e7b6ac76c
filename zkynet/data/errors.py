"""The error of this package; wrong arguments and shapes raise the framework's own."""

from __future__ import annotations

from ..framework.errors import ZkynetError


class DataError(ZkynetError, ValueError):
    """A file or a data set does not hold what was expected of it; the message names the file, and the line if any."""
