"""Every operator, exported: onnxruntime gives what zkynet gives, at another batch size than the example's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from onnx_rows import ROWS, Row, sample

from zkynet.framework import cg, op
from zkynet.framework.avals import aval_of
from zkynet.framework.operators import recurrent, resize  # noqa: F401 - they enter their operators in the registry
from zkynet.framework.operators.registry import REGISTRY

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from zkynet.interop.onnx import ExportError, export, exporter  # noqa: E402
from zkynet.interop.onnx.export_rules import REFUSED, RULES  # noqa: E402
from zkynet.interop.onnx.export_trace import Step, trace  # noqa: E402


def run(model: Any, inputs: Any) -> list[np.ndarray]:
    """What onnxruntime makes of the inputs; those that the graph does not read are no inputs of a session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    given = dict(zip([one.name for one in model.graph.input], map(np.asarray, inputs), strict=True))
    return session.run(None, {one.name: given[one.name] for one in session.get_inputs()})


def check(function: Any, model: Any, inputs: Any, tolerance: float = 1e-5) -> None:
    names = [cg.Variable(f"x{i}") for i in range(len(inputs))]
    expected = jax.tree.leaves(cg.Module.build("F", function, tuple(names))(*inputs).value)
    found = run(model, inputs)
    assert len(found) == len(expected)
    for got, want in zip(found, map(np.asarray, expected), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def other_size(row: Row) -> list[np.ndarray]:
    """The inputs with one example more."""
    length = row.inputs[0].shape[0]
    return [np.concatenate([x, x[1:2]]) if x.shape[:1] == (length,) else x for x in row.inputs]


@pytest.mark.parametrize("row", ROWS, ids=[f"{i}-{row}" for i, row in enumerate(ROWS)])
def test_onnxruntime_gives_the_same(row):
    model = export(row.function, *row.inputs, dynamic_batch=not row.fixed)
    check(row.function, model, row.inputs if row.fixed else other_size(row))


def test_every_operator_has_a_rule_or_a_reason():
    known = set(REGISTRY)
    assert known - set(RULES) - set(REFUSED) == set(), "neither exported nor listed in REFUSED"
    assert set(RULES) & set(REFUSED) == set()
    assert set(RULES) - {"literal"} <= known and set(REFUSED) <= known


def test_every_rule_is_tried_by_a_row_of_its_name():
    assert set(RULES) - {"literal"} - {row.operator for row in ROWS} == set()
    for row in ROWS:
        program = trace(row.function, [[aval_of(x) for x in row.inputs]]).program
        assert row.operator in {item.operator.name for item in program.items if isinstance(item, Step)}, row


RANDOM = {"bernoulli", "categorical", "dropout", "normal", "permutation", "randint", "random_key", "split_key",
          "truncated_normal", "uniform"}


def unpooled(unpool: Any, pooled: Any, stride: int = 2) -> Any:
    return unpool(pooled[0], pooled[1], 2, stride)


CUBES = sample(2, 2, 4, 4, 4)
# Public functions of other numbers of axes than those in the rows.
OTHERS = {
    "adaptive_avg_pool1d": lambda x: op.adaptive_avg_pool1d(x[:, :, 0, 0], 3),
    "adaptive_avg_pool3d": lambda x: op.adaptive_avg_pool3d(x, (2, 3, None)),
    "adaptive_max_pool1d": lambda x: op.adaptive_max_pool1d(x[:, :, 0, 0], 3),
    "adaptive_max_pool3d": lambda x: op.adaptive_max_pool3d(x, (2, 3, None)),
    "avg_pool3d": lambda x: op.avg_pool3d(x, 2),
    "max_pool3d": lambda x: op.max_pool3d(x, 2),
    "lp_pool1d": lambda x: op.lp_pool1d(op.abs(x[:, :, 0, 0]) + 0.1, 3, 2),
    "conv_transpose3d": lambda x: op.conv_transpose3d(x, CUBES[:, :, :2, :2, :2], stride=2),
    "max_unpool1d": lambda x: unpooled(op.max_unpool1d, op.max_pool1d(x[:, :, 0, 0], 2, return_indices=True)),
    "max_unpool2d": lambda x: unpooled(op.max_unpool2d, op.max_pool2d(x[:, :, 0], 2, 1, return_indices=True), 1),
    "max_unpool3d": lambda x: unpooled(op.max_unpool3d, op.max_pool3d(x, 2, return_indices=True)),
    "inner": lambda x: op.inner(x, CUBES),
    "diag": lambda x: op.diag(x[:, 0, 0, 0, 0]) @ x[:, 0, 0, 0],
    "full_like": lambda x: op.full_like(x, 2.0) + op.ones_like(x),
    "ones_like": lambda x: op.ones_like(x) * op.zeros((x.shape[0], 1, 1, 1, 1)),
    "zeros": lambda x: op.zeros(x.shape, "int32"),
}


def test_public_functions_of_other_numbers_of_axes():
    def every(x):
        return [call(x) for call in OTHERS.values()]

    check(every, export(every, CUBES), [np.concatenate([CUBES, -CUBES[:1]])])


def test_every_public_function_is_exported_or_random():
    rows = (Path(__file__).parent / "onnx_rows.py").read_text()
    named = set(re.findall(r"\w+", rows)) | set(OTHERS) | {row.operator for row in ROWS}
    assert set(op.__all__) - RANDOM - named == set()
    assert RANDOM <= set(op.__all__)
    for name in ("uniform", "dropout"):
        with pytest.raises(ExportError, match="draws random numbers"):
            export(lambda x, f=name: getattr(op, f)(op.random_key(0), x.shape) if f == "uniform"
                   else op.dropout(x, op.random_key(0)), CUBES)


def test_newest_opset_is_one_that_onnxruntime_runs():
    assert exporter.newest_opset() >= 21
    check(lambda x: op.tanh(x), export(lambda x: op.tanh(x), np.zeros((2, 3), np.float32)),
          [np.ones((4, 3), np.float32)])
