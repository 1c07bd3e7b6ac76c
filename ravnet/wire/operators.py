"""Which operators a file may name, and how others travel: as StableHLO programs for one signature."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np
from jax import export

from zkynet.framework.errors import InputError
from zkynet.framework.operator import FunctionOperator, Operator, Signature, output
from zkynet.framework.operators.registry import REGISTRY
from zkynet.framework.structure import literal
from zkynet.framework.templates import Variable
from zkynet.nn import recurrent, upsample  # noqa: F401 - with them, all operators are in the registry
from zkynet.optim import lbfgs, update

from .schema import FormatError

PLATFORMS = ("cpu", "cuda")
# Beyond the registry: what structures are made with, and the optimizers' operators.
_FURTHER: dict[str, Operator] = {found.name: found for found in (output, literal, update.update, lbfgs.minimise)}
# Raised when an operator changes its meaning; a file with another version is refused.
VERSIONS: dict[str, int] = {}

_imported: dict[str, FunctionOperator] = {}


def is_named(operator: Operator) -> bool:
    """Whether both sides know the operator by name."""
    return REGISTRY.get(operator.name) is operator or _FURTHER.get(operator.name) is operator


def named(name: str, version: int) -> Operator:
    """The operator of this name; raises FormatError for unknown names and versions."""
    found = REGISTRY.get(name) or _FURTHER.get(name)
    if found is None:
        raise FormatError(f"the graph uses the operator {name!r:.60}, which this version of zkynet does not have.")
    if version != VERSIONS.get(name, 1):
        raise FormatError(f"the graph uses version {version} of the operator {name}, but this is version "
                          f"{VERSIONS.get(name, 1)}.")
    return found


def export_signature(signature: Signature) -> bytes:
    """The operator at this signature as a portable program; raises InputError when its body must run in Python."""
    operator = signature.operator
    if not operator.jit:
        raise InputError(f"operator {operator.name} runs in Python (jit = False), so it cannot be part of a graph that "
                         "is stored or sent. Write its body with jax.numpy.")
    body = jax.jit(lambda *arrays: operator.evaluate(signature.kwargs, *arrays))
    structs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in signature.in_avals]
    try:
        return bytes(export.export(body, platforms=PLATFORMS)(*structs).serialize())
    except Exception as error:
        raise InputError(f"operator {operator.name} cannot be exported as a program: {error}") from error


def import_program(name: str, data: np.ndarray) -> FunctionOperator:
    """An operator of an exported program; the same bytes give the same operator."""
    content = data.tobytes()
    key = hashlib.sha256(content).hexdigest()
    if key not in _imported:
        try:
            program = export.deserialize(bytearray(content))
        except Exception as error:
            raise FormatError(f"the program of operator {name!r:.60} is damaged: {error}") from None
        inputs = [Variable(f"input{i}") for i in range(len(program.in_avals))]
        made = FunctionOperator(program.call, name, inputs, {}, variadic=False)
        made.exported = content  # pyright: ignore[reportAttributeAccessIssue]
        _imported[key] = made
    return _imported[key]


def exported_bytes(signature: Signature) -> bytes:
    """The program of an operator that is not in the registry: as it came, or exported now."""
    came: Any = getattr(signature.operator, "exported", None)
    return came if came is not None else export_signature(signature)
