"""The graph: templates, per-call graphs, gradients, compiled programs."""

from . import gradients, transforms  # noqa: F401 - they complete the nodes
