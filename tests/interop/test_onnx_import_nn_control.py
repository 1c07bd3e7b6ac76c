"""Imported control flow: If, Loop and Scan, with known and with traced conditions, judged by onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_nodes import array, by_onnxruntime

import zkynet
from zkynet.framework import op
from zkynet.framework.errors import TracedValueError
from zkynet.interop.onnx import load

parser = pytest.importorskip("onnx.parser")

X = array(4, 3)


def model(text: str):
    return parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>\n' + text)


CHOICE = model("""
net (float[4,3] x, bool take) => (float[4,3] y) {
  y = If (take) <then_branch = first () => (float[4,3] a) { a = Mul(x, x) },
                 else_branch = second () => (float[4,3] b) { b = Neg(x) }>
}""")

SHAPES = model("""
net (float[4,3] x, bool take) => (float[n,3] y) {
  y = If (take) <then_branch = first () => (float[8,3] a) { a = Concat<axis = 0>(x, x) },
                 else_branch = second () => (float[4,3] b) { b = Neg(x) }>
}""")

# y <- y * 2 + x, and all of them on the way
COUNTED = model("""
net (float[4,3] x, int64 trips) => (float[4,3] last, float[n,4,3] steps) {
  last, steps = Loop (trips, , x) <body = body (int64 i, bool c, float[4,3] before)
    => (bool on, float[4,3] after, float[4,3] seen) {
      on = Identity(c)
      two = Constant<value_float = 2.0>()
      twice = Mul(before, two)
      after = Add(twice, x)
      seen = Identity(after)
  }>
}""")

# doubled until the sum of squares is large
UNTIL = model("""
net (float[4,3] x) => (float[4,3] last) {
  most = Constant<value = int64 {9223372036854775807}>()
  yes = Constant<value = bool {1}>()
  last = Loop (most, yes, x) <body = body (int64 i, bool c, float[4,3] before) => (bool on, float[4,3] after) {
      after = Add(before, before)
      total = ReduceSumSquare<keepdims = 0>(after)
      limit = Constant<value_float = 5000.0>()
      on = Less(total, limit)
  }>
}""")

# step i adds the first i + 1 rows: a shape that changes
GROWING = model("""
net (float[4,3] x) => (float[3] last, float[n,3] steps) {
  trips = Constant<value = int64 {4}>()
  yes = Constant<value = bool {1}>()
  start = Constant<value = float[3] {0.0, 0.0, 0.0}>()
  last, steps = Loop (trips, yes, start) <body = body (int64 i, bool c, float[3] before)
    => (bool on, float[3] after, float[3] seen) {
      on = Identity(c)
      zero = Constant<value = int64[1] {0}>()
      one = Constant<value = int64 {1}>()
      next = Add(i, one)
      end = Unsqueeze(next, zero)
      rows = Slice(x, zero, end)
      total = ReduceSum<keepdims = 0>(rows, zero)
      after = Add(before, total)
      seen = Identity(after)
  }>
}""")

# a running sum along axis 1, from the end, given back in reverse
SCANNED = model("""
net (float[4] start, float[4,3] x) => (float[4] last, float[4,3] sums) {
  last, sums = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
                     scan_output_axes = [1], scan_output_directions = [1],
                     body = body (float[4] before, float[4] part) => (float[4] after, float[4] seen) {
      after = Add(before, part)
      seen = Tanh(after)
  }> (start, x)
}""")

CASES = {
    "if-true": (CHOICE, [X, np.array(True)]),
    "if-false": (CHOICE, [X, np.array(False)]),
    "if-shapes": (SHAPES, [X, np.array(True)]),
    "loop-counted": (COUNTED, [X, np.array(3, np.int64)]),
    "loop-never": (COUNTED, [X, np.array(0, np.int64)]),
    "loop-until": (UNTIL, [X]),
    "loop-growing": (GROWING, [X]),
    "scan": (SCANNED, [array(4, seed=1), X]),
}


@pytest.mark.parametrize("case", CASES)
def test_control_flow_agrees_with_onnxruntime(case):
    proto, arrays = CASES[case]
    found = load(proto)(*arrays).value
    found = found if isinstance(found, tuple) else (found,)
    for ours, theirs in zip(found, by_onnxruntime(proto, arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_traced_condition_chooses_while_the_program_runs():
    net = load(CHOICE)

    @zkynet.compile
    def both(x, take):
        return op.sum(net(x, take))

    for take in (True, False):
        np.testing.assert_allclose(both(X, np.array(take)), (X * X).sum() if take else -X.sum(), rtol=1e-5)
    slope = zkynet.grad(lambda x: op.sum(net(x, np.array(True))))(X)
    np.testing.assert_allclose(slope, 2 * X, rtol=1e-6)


def test_branches_of_different_shapes_need_a_known_condition():
    net = load(SHAPES)

    @zkynet.compile
    def total(x, take):
        return op.sum(net(x, take))

    with pytest.raises(Exception, match="op.cond") as caught:
        total(X, np.array(True))
    assert "If" in str(caught.value)


def test_counted_loops_and_scans_have_gradients():
    counted, scanned = load(COUNTED), load(SCANNED)
    slope = zkynet.grad(lambda x: op.sum(counted(x, np.array(3, np.int64))[0]))(X)
    np.testing.assert_allclose(slope, np.full_like(X, 2 ** 3 + 7), rtol=1e-6)
    start = array(4, seed=1)
    slope = zkynet.grad(lambda x: op.sum(scanned(start, x)[0] ** 2))(X)
    np.testing.assert_allclose(slope, np.repeat(2 * (start + X.sum(1))[:, None], 3, axis=1), rtol=1e-5)


def test_a_loop_that_ends_by_its_condition_runs_inside_of_compile():
    net = load(UNTIL)
    (expected,) = by_onnxruntime(UNTIL, [X])
    np.testing.assert_allclose(zkynet.compile(lambda x: net(x))(X), expected, rtol=1e-6)
    slope = zkynet.grad(lambda x: op.sum(net(x)))(X)  # step by step, outside
    np.testing.assert_allclose(slope, expected / X, rtol=1e-5)


def test_collecting_the_steps_of_a_traced_count_is_refused():
    net = load(COUNTED)
    with pytest.raises(TracedValueError, match="the trip count decides shapes"):
        zkynet.compile(lambda x, n: net(x, n)[1])(X, np.array(3))


def test_the_first_scan_runs_each_example_for_its_length():
    """Version 8: batches on axis 0, sequences on axis 1."""
    from onnx import TensorProto, helper

    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    body = helper.make_graph([helper.make_node("Add", ["before", "part"], ["after"]),
                              helper.make_node("Identity", ["after"], ["seen"])], "body",
                             [info("before", []), info("part", [])], [info("after", []), info("seen", [])])
    node = helper.make_node("Scan", ["lengths", "start", "x"], ["last", "sums"], body=body, num_scan_inputs=1)
    graph = helper.make_graph([node], "net", [helper.make_tensor_value_info("lengths", TensorProto.INT64, [2]),
                                              info("start", [2]), info("x", [2, 3])], [info("last", [2]),
                                                                                      info("sums", [2, 3])])
    net = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=4))
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    last, sums = net(np.array([3, 2]), np.zeros(2, np.float32), x).value
    np.testing.assert_array_equal(last, [6, 9])
    np.testing.assert_array_equal(sums, [[1, 3, 6], [4, 9, 0]])
