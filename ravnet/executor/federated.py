"""Federated graphs: what they ask of participants' tables, and the statistics of a table, all that leaves it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zkynet.data import DataError, csv
from zkynet.framework.errors import InputError

from ..functions import FUNCTIONS, call_late
from ..wire.graph import CallGraph, Late

FEWEST = 3  # rows: the mean and the variance of one or two tell their values
_EXAMPLE = '{"rules": {"age": {"min": 18, "max": 80}, "salary": {}}, "max_clients": 2}'


class Part(NamedTuple):
    """What a participant contributes: how many rows it has, and each column's mean and variance (divided by n)."""

    size: int
    means: list[float]
    variances: list[float]


@dataclass(frozen=True)
class Rules:
    """What a federated graph asks of its participants.

    Attributes:
        columns: for each one, in order, the least and the largest value that it may have.
        max_clients: how many participants contribute.
    """

    columns: dict[str, tuple[float, float]]
    max_clients: int

    @classmethod
    def read(cls, text: str | None) -> Rules:
        """Rules of JSON text: {"rules": {column: {"min": number, "max": number}}, "max_clients": n}; limits may lack.

        Raises:
            InputError: when they are anything else.

        >>> Rules.read('{"rules": {"age": {"min": 18}}, "max_clients": 2}')
        Rules(columns={'age': (18.0, inf)}, max_clients=2)
        """
        try:
            found = json.loads(text or "null")
        except (TypeError, ValueError) as error:
            raise _wrong(f"got {text!r} ({error})") from None
        if not isinstance(found, dict) or found.keys() != {"rules", "max_clients"}:
            raise _wrong(f"got {text!r}")
        columns, most = found["rules"], found["max_clients"]
        if not isinstance(columns, dict) or not columns:
            raise _wrong(f"got the columns {columns!r}")
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise _wrong(f"got max_clients {most!r}, which is a number from 1 on")
        return cls({name: _limits(name, limits) for name, limits in columns.items()}, most)


def _limits(name: str, given: Any) -> tuple[float, float]:
    """The least and the largest value of a column."""
    numbers = isinstance(given, dict) and all(
        isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in given.values())
    if not numbers or not given.keys() <= {"min", "max"}:
        raise _wrong(f"got {given!r} for the column {name!r}, where {{'min': number, 'max': number}} stands")
    least, most = float(given.get("min", -math.inf)), float(given.get("max", math.inf))
    if not least <= most:
        raise _wrong(f"got a minimum of {least} and a maximum of {most} for the column {name!r}")
    return least, most


def _wrong(what: str) -> InputError:
    return InputError(f"a federated graph has rules={_EXAMPLE!r}, JSON text, but {what}.")


def part_of(path: str | os.PathLike[str], rules: Rules) -> Part:
    """The statistics of the columns that the rules name, of a file of comma-separated values with a header.

    Values have 32 bits, the statistics 64.

    Raises:
        InputError: when there is no such file, a column is missing, a value is missing, no number or out of range, or
            there are so few rows that the statistics would tell them.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no file {os.fspath(path)!r} to take part with.")
    try:
        rows = np.asarray(csv(path, features=list(rules.columns)).arrays[0], np.float64)
    except DataError as error:
        raise InputError(f"this table cannot take part. {error}") from None
    for name, values, (least, most) in zip(rules.columns, rows.T, rules.columns.values(), strict=True):
        with np.errstate(over="ignore"):  # the limits in 32 bits, too: a 0.1 of the table is the 0.1 of the rules
            low, high = np.float32(least), np.float32(most)
        allowed = (values >= low) & (values <= high) & np.isfinite(values)
        if not allowed.all():
            raise InputError(f"this table cannot take part: {path}, column {name!r} has {(~allowed).sum()} of "
                             f"{len(values)} values outside of the rules' range from {least:g} to {most:g}.")
    if len(rows) < FEWEST:
        raise InputError(f"this table cannot take part: {path} has {len(rows)} rows, and mean and variance of fewer "
                         f"than {FEWEST} tell what they are.")
    return Part(len(rows), rows.mean(0).tolist(), rows.var(0).tolist())


def statistics(graph: CallGraph, parts: Sequence[Part]) -> dict[int, np.ndarray]:
    """The results of those calls of a graph whose inputs are the participants' parts."""
    sizes, means, variances = (np.array(values, np.float64) for values in zip(*parts, strict=True))
    given: Mapping[str, np.ndarray] = {"sizes": sizes, "means": means, "variances": variances,
                                       "deviations": np.sqrt(variances)}
    found = {}
    for call in graph.calls:
        program = call.program
        if isinstance(program, Late) and not call.inputs and FUNCTIONS[program.function].supplied:
            inputs = [given[slot.name] for slot in FUNCTIONS[program.function].inputs]
            found[call.first] = np.asarray(call_late(program.function, inputs, json.loads(program.params)))
    return found
