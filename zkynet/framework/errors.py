"""Every error the framework raises on purpose. Each says what was expected, what came, where, and what to do."""

from __future__ import annotations


class ZkynetError(Exception):
    """Base class of all errors that zkynet raises on purpose."""


class GraphError(ZkynetError):
    """A graph was built, read or differentiated in a way that has no meaning."""


class InputError(ZkynetError, TypeError):
    """A Module or an operator was called with the wrong inputs."""


class ShapeError(ZkynetError, ValueError):
    """Shapes or dtypes do not fit an operator; raised at the line that called it."""


class RuleError(ZkynetError):
    """An operator's own gradient rule gave something that cannot be a cotangent."""


class TracedValueError(GraphError):
    """A value was asked for while only the structure is known (inside compile, scan, cond or vmap)."""


class DeviceError(ZkynetError, ValueError):
    """No such device, or no such precision."""


class NonFiniteError(ZkynetError, FloatingPointError):
    """A node produced a NaN or an infinity while debug.nan_checks() was on."""
