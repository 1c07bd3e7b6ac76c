"""The backend that ONNX's tools run models on, and a part of ONNX's own conformance suite: all models that came from
PyTorch, the simple ones, and the first tests of each operator. `python -m tests.onnx_conformance` runs all."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from zkynet.framework.errors import InputError

onnx = pytest.importorskip("onnx")
import onnx_conformance as suite  # noqa: E402 - beside conftest.py
from onnx import TensorProto, helper  # noqa: E402 - after the skip

from zkynet.interop.onnx import backend  # noqa: E402

GAPS = set(re.findall(r"`(test_\w+)`", (Path(suite.__file__).parents[1] / "docs" / "onnx_gaps.md").read_text()))
PER_OPERATOR = 1


def _node_cases():
    """The first tests of each operator; those that are expanded are the same test in other words."""
    count: Counter = Counter()
    for case in suite.cases("node"):
        name = suite.operator_of(case, case.model, {})
        count[name] += "_expanded" not in case.name
        if "_expanded" not in case.name and count[name] <= PER_OPERATOR:
            yield case


@pytest.mark.parametrize("kind", suite.KINDS[1:])
def test_models_of_the_suite_pass(kind):
    outcomes = [suite.run_case(case) for case in suite.cases(kind)]
    assert len(outcomes) >= 20
    assert [(o.name, o.detail) for o in outcomes if o.status != "passed"] == []


def test_the_first_tests_of_each_operator_pass_but_for_known_gaps():
    outcomes = [suite.run_case(case) for case in _node_cases()]
    assert len({o.operator for o in outcomes}) > 180
    assert [(o.name, o.detail) for o in outcomes if o.status != "passed" and o.name not in GAPS] == []
    stale = {o.name for o in outcomes if o.status == "passed"} & GAPS
    assert not stale, "docs/onnx_gaps.md lists tests that pass: write it again"


def test_outputs_have_the_declared_dtypes_and_names():
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Cast", ["sum"], ["0"], to=TensorProto.DOUBLE)],
        "g", [helper.make_tensor_value_info(n, TensorProto.INT64, [2]) for n in "ab"],
        [helper.make_tensor_value_info("sum", TensorProto.INT64, [2]),
         helper.make_tensor_value_info("0", TensorProto.DOUBLE, [2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    a, b = np.array([2**40, 1]), np.array([1, 2])
    outputs = backend.run_model(model, [a, b])
    assert outputs["sum"].dtype == np.int64 and outputs["sum"].tolist() == [2**40 + 1, 3]
    assert outputs["0"].dtype == np.float64 and outputs[1].tolist() == [2.0**40 + 1, 3.0]
    prepared = backend.Backend.prepare(model)
    assert prepared.run({"b": b, "a": a})[0].tolist() == outputs[0].tolist()
    with pytest.raises(InputError, match=r"takes 2 inputs \(a, b\), but got 3"):
        prepared.run([a, b, a])


def test_single_nodes_and_devices():
    node = helper.make_node("TopK", ["x", "k"], ["values", "places"])
    values, places = backend.run_node(node, [np.array([1.0, 5.0, 3.0]), np.array([2])], opset_version=13)
    assert values.tolist() == [5.0, 3.0] and places.tolist() == [1, 2] and places.dtype == np.int64
    assert issubclass(backend.Backend, onnx.backend.base.Backend)
    assert backend.Backend.supports_device("CPU") and not backend.supports_device("CPU:7")
    assert not backend.supports_device("toaster")
    with pytest.raises(InputError, match="no device 'CPU:7'"):
        backend.prepare(onnx.ModelProto(), "CPU:7")
