"""What the initializers of an ONNX file are: weights to train, running statistics, or constants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from .reading import domain_of, graphs_of

Role = Literal["weight", "state", "constant"]

_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
_FOLDED = "pkg.onnxscript.optimizer.folded_from"
_SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"

_ALL = frozenset(range(64))
_BUT_DATA = _ALL - {0}
# Inputs that are settings of the operator, and never learned.
_SETTINGS: dict[str, frozenset[int]] = {
    **dict.fromkeys(("Clip", "Pad", "Resize", "Upsample", "Dropout", "Pow", "Mod", "QuantizeLinear",
                     "DequantizeLinear", "CumSum", "TopK"), _BUT_DATA),
    **dict.fromkeys(("Range", "OneHot", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf",
                     "Shape", "Size", "NonMaxSuppression", "QLinearConv", "QLinearMatMul", "ArgMax", "ArgMin",
                     "ConstantOfShape", "NonZero", "MelWeightMatrix"), _ALL),
}
# Inputs that are learned wherever a file has them as initializers.
_LEARNED: dict[str, frozenset[int]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "DeformConv", "Gemm", "LayerNormalization", "InstanceNormalization",
                     "GroupNormalization", "RMSNormalization", "PRelu", "RNN", "GRU", "LSTM"), _BUT_DATA),
    **dict.fromkeys(("MatMul", "Einsum"), _ALL),
    "BatchNormalization": frozenset({1, 2}),
    "Gather": frozenset({0}),
}
_STATISTICS = frozenset({3, 4})  # of BatchNormalization


def roles(model: Any, initializers: Mapping[str, np.ndarray]) -> dict[str, Role]:
    """The role of each initializer.

    PyTorch's newer exporter says what is a parameter, a buffer, or was folded from either. Elsewhere, floating
    initializers are weights, but for settings of operators (the limits of Clip), numbers (of rank 0) and masks (with
    infinite elements).
    """
    uses = _uses(model, initializers)
    kinds = _torch_kinds(model)
    return {name: _role(name, array, uses.get(name, ()), kinds, model.producer_name == "pytorch")
            for name, array in initializers.items()}


def _uses(model: Any, names: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    wanted = set(names)
    found: dict[str, list[tuple[str, int]]] = {}
    for graph in graphs_of(model.graph):
        for node in graph.node:
            operator = node.op_type if domain_of(node) == "" else ""
            for index, name in enumerate(node.input):
                if name in wanted:
                    found.setdefault(name, []).append((operator, index))
    return found


def _torch_kinds(model: Any) -> dict[str, bool]:
    """Whether an initializer is a parameter, of those of which PyTorch's exporter says so."""
    parameters: set[str] = set()
    for entry in model.graph.metadata_props:
        if entry.key == _SIGNATURE:
            parameters.update(re.findall(r"PARAMETER target='([^']*)'", entry.value))
    found: dict[str, bool] = {}
    for value in (*model.graph.value_info, *model.graph.input):
        for entry in value.metadata_props:
            if entry.key == _KIND:
                found[value.name] = entry.value == "PARAMETER"
            elif entry.key == _FOLDED:
                found[value.name] = not parameters.isdisjoint(re.findall(r"'([^']*)'", entry.value))
    return found


def _role(name: str, array: np.ndarray, uses: Iterable[tuple[str, int]], kinds: Mapping[str, bool],
          from_torch: bool) -> Role:
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    if not floating:
        return "constant"
    if any(operator == "BatchNormalization" and index in _STATISTICS for operator, index in uses):
        return "state"
    if name in kinds:
        return "weight" if kinds[name] else "constant"
    if any(index in _LEARNED.get(operator, ()) for operator, index in uses):
        return "weight"
    named = from_torch and not re.match(r"(onnx::|val_|/|\d)", name)
    if kinds or (array.ndim == 0 and not named) or array.size == 0 or not np.isfinite(array.astype(np.float32)).all():
        return "constant"
    return "weight" if any(index not in _SETTINGS.get(operator, ()) for operator, index in uses) else "constant"


def untie(graph: Any, initializers: dict[str, np.ndarray]) -> None:
    """Give each use of a weight all of whose elements are equal a copy of its own.

    PyTorch's exporters store equal tensors once: the scales of all normalisations of a fresh net are one tensor of
    ones, that also is a running variance. Trained as one, they would not do what they do in PyTorch. Weights that are
    shared on purpose have different elements, and stay shared.
    """
    alike = {name for name, array in initializers.items()
             if array.dtype.kind == "f" and array.size and (array == array.flat[0]).all()}
    met: set[str] = set()
    for node in list(graph.node):
        if domain_of(node) != "" or not alike.intersection(node.input):
            continue
        if node.op_type == "Identity":
            initializers[node.output[0]] = initializers[node.input[0]]
            alike.add(node.output[0])
            graph.node.remove(node)
            continue
        for index, name in enumerate(node.input):
            if name in alike and _may_learn(node.op_type, index, initializers[name]):
                if name in met:
                    copy = valid_name(name, met | initializers.keys())
                    initializers[copy] = initializers[name]
                    node.input[index] = copy
                met.add(name)


def _may_learn(operator: str, index: int, array: np.ndarray) -> bool:
    if operator == "BatchNormalization":
        return True
    return index in _LEARNED.get(operator, ()) or operator in ("Add", "Mul") and array.size > 1


def attributes_as_weights(graph: Any) -> dict[str, np.ndarray]:
    """Turn the coefficients of linear models, which ai.onnx.ml keeps in attributes, into inputs of their nodes.

    Returns:
        the new initializers.
    """
    found: dict[str, np.ndarray] = {}
    for index, node in enumerate(graph.node):
        if node.domain != "ai.onnx.ml" or node.op_type not in ("LinearRegressor", "LinearClassifier"):
            continue
        for attribute in node.attribute:
            if attribute.name in ("coefficients", "intercepts"):
                name = f"{node.name or node.op_type + str(index)}.{attribute.name}"
                found[name] = np.asarray(attribute.floats, np.float32)
        names = [f"{node.name or node.op_type + str(index)}.{what}" for what in ("coefficients", "intercepts")]
        node.input.extend(name if name in found else "" for name in names)
    return found


def valid_name(name: str, taken: set[str]) -> str:
    """A name for state_dict: letters, digits, dots, dashes; not yet taken.

    >>> valid_name("/layer/onnx::Conv_3", set())
    'layer_onnx_Conv_3'
    """
    base = made = re.sub(r"[^\w.\-]+", "_", name).strip("_.") or "weight"
    count = 1
    while made in taken:
        count += 1
        made = f"{base}_{count}"
    taken.add(made)
    return made
