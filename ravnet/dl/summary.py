"""The table of a model's layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .layer import Unit


def print_summary(title: str, layers: Sequence[Unit]) -> None:
    """Print one row a layer: its name, its parameters, the shape of its output without the batch; and the total."""
    rows = [("Layer", "Parameters", "Output shape")]
    rows += [(layer._title, str(layer.parameter_count) if layer.built else "?", shape_text(layer._output))
             for layer in layers]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    line = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    texts = ["|" + "|".join(f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)) + "|"
             for row in rows]
    parameters = {parameter for layer in layers for parameter in layer.parameters()}
    total = sum(parameter.aval.size for parameter in parameters)
    frozen = sum(parameter.aval.size for parameter in parameters if not parameter.trainable)
    more = "" if all(layer.built for layer in layers) else " and those of layers whose input is not known yet"
    print("\n".join([title, line, texts[0], line, *texts[1:], line,
                     f"Total parameters: {total}{more}" + (f" ({frozen} of them frozen)" if frozen else "")]))


def shape_text(shape: Any) -> str:
    """The shape of an output without the batch."""
    if shape is None:
        return "?"
    if shape and isinstance(shape[0], tuple):
        return ", ".join([shape_text(one) for one in shape])
    return str(tuple(shape[1:]))
