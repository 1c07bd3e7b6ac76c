"""Seeing what was built: pictures of computational graphs, and summaries of modules."""

from zkynet.visual.dot import DotMissing
from zkynet.visual.plot import Plot, plot_cg
from zkynet.visual.summary import Summary, summary

__all__ = ["DotMissing", "Plot", "Summary", "plot_cg", "summary"]
