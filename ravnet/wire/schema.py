"""The call-graph file, version 1.0: its metadata as a schema, and its limits.

A file is a safetensors container. Its tensors are the leaves' data and, as bytes, programs of operators that are not in
zkynet's registry (StableHLO, by jax.export). Its metadata is one JSON document, described here. Readers accept files of
their major version; a newer minor version may have further optional fields, which an older reader ignores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zkynet.framework.errors import ZkynetError

FORMAT = "zkynet.call-graph"
VERSION = (1, 0)

Index = Annotated[int, Field(ge=0, strict=True)]
Text = Annotated[str, Field(max_length=10_000, strict=True)]


class FormatError(ZkynetError, ValueError):
    """A file is no call graph, is damaged, or asks for what this version does not know. Nothing of it was run."""


@dataclass(frozen=True)
class Limits:
    """What a reader accepts, at most; for files of strangers."""

    file_bytes: int = 4 * 2**30
    document_bytes: int = 256 * 2**20
    programs: int = 100_000
    # In all programs together; those of a program that operators run (a loop's body), twice for each use. Optimizers
    # may have as many parameters.
    operators: int = 2_000_000
    calls: int = 10_000_000
    leaves: int = 1_000_000
    value_bytes: int = 16 * 2**30  # of any one value that a program makes
    exported: bool = True  # whether operators outside the registry may come as compiled programs


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class OperatorEntry(_Model):
    """An operator of the registry, or (`tensor` given) a program of its own for one signature."""

    name: Text
    version: Index = 1
    tensor: Text | None = None


class ProgramEntry(_Model):
    """A structure. Each instruction is the index of an input's aval, or [operator, attributes, aval, input slots]."""

    instructions: list[Index | tuple[Index, Index, Index, list[Index]]]
    outputs: list[Index]
    names: list[Text] = []  # of the inputs, where they have one
    places: dict[str, Text] = {}  # where operators were written, by instruction


class LateEntry(_Model):
    """A function of ravnet.functions, by name, with its parameters as JSON text."""

    late: Text
    params: Text
    outputs: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1


class LeafEntry(_Model):
    """A value that is given: a tensor of the container (of a complex dtype: as pairs), or one number."""

    number: Index
    tensor: Text | None = None
    complex: bool = False
    value: Any = None


class Document(_Model):
    """The metadata, under the key "graph"."""

    format: Literal["zkynet.call-graph"]
    version: tuple[Index, Index]
    x64: bool = False
    about: dict[str, Any]
    operators: list[OperatorEntry]
    attributes: list[list[Any]]  # of operators, each combination once
    avals: list[list[Any]]
    programs: list[ProgramEntry | LateEntry]
    leaves: list[LeafEntry]
    places: list[Text] = []  # where calls were made
    calls: list[tuple[Index, list[Index], int]]  # program, numbers of the inputs, place (-1: unknown)
    names: dict[Text, Index]
