"""What `export` promises about names, shapes, modes, files, rules of one's own, and errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from onnx_rows import sample
from test_onnx_export_operators import check, run

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.operator import operator

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from zkynet.interop.onnx import ExportError, export  # noqa: E402

X = sample(3, 4)


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


class Net(cg.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.layers = nn.BatchNorm1d(4), [nn.Linear(4, 3), nn.ReLU()]
        self.drop, self.shift = nn.Dropout(0.5), cg.Constant("shift", np.float32(2.0))

    def call(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(self.norm(x) if layer is self.layers[0] else x)
        return self.drop(x) + self.shift


def shape_of(value: Any) -> list[Any]:
    return [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]


# Names and shapes -------------------------------------------------------------------------------------------


def test_names_are_those_of_the_module():
    model = export(Net(), X)
    assert {one.name for one in model.graph.initializer} >= {
        "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "layers.0.weight", "layers.0.bias",
        "shift"}
    assert [(node.name, node.op_type) for node in model.graph.node] == [
        ("norm.BatchNormalization", "BatchNormalization"), ("layers.0.Gemm", "Gemm"), ("layers.1.Relu", "Relu"),
        ("Add", "Add")]
    assert [one.name for one in model.graph.input] == ["x"] and [one.name for one in model.graph.output] == ["output"]
    assert model.graph.name == "Net" and model.producer_name == "zkynet"


def test_the_batch_is_an_axis_of_any_length():
    model = export(lambda a, b, w: (a @ w, op.concat(a, b), op.reshape(a, (-1,))), X, X, sample(4, 2))
    assert [shape_of(one) for one in model.graph.input] == [["batch", 4], ["batch", 4], [4, 2]]
    assert [shape_of(one) for one in model.graph.output] == [["batch", 2], ["2*batch", 4], ["4*batch"]]
    fixed = export(lambda a: a * 2.0, X, dynamic_batch=False)
    assert shape_of(fixed.graph.input[0]) == shape_of(fixed.graph.output[0]) == [3, 4]


def test_the_axis_of_the_batch_may_be_named():
    net = nn.LSTM(4, 2)
    steps = sample(5, 3, 4)
    model = export(net, steps, dynamic_batch={"input": 1})
    assert shape_of(model.graph.input[0]) == [5, "batch", 4]
    check(lambda x: net(x), model, [sample(5, 7, 4)])


def test_numbers_that_depend_on_the_batch_are_computed():
    def centred(x):
        count = x.shape[0]
        return (x - op.sum(x, axis=0) * (1.0 / count)) / float(count), op.arange(count + 1), x[:count - 1], x[::-1]

    check(centred, export(centred, X), [sample(6, 4)])


def test_names_may_be_given():
    model = export(lambda a: (a, a, a * 2.0), X, input_names=["in"], output_names=["same", "again", "twice"])
    check(lambda a: (a, a, a * 2.0), model, [sample(5, 4)])
    assert [one.name for one in model.graph.output] == ["same", "again", "twice"]


def test_outputs_and_inputs_may_be_trees():
    model = export(lambda pair, scale: {"sum": pair[0] + pair[1]["b"] * scale, "rest": (pair[0],)}, (X, {"b": X}),
                   np.float32(2.0))
    assert [one.name for one in model.graph.input] == ["input_0.0", "input_0.1.b", "input_1"]
    assert [one.name for one in model.graph.output] == ["output_rest_0", "output_sum"]
    rest, total = run(model, [X, X, np.float32(2.0)])
    np.testing.assert_allclose(total, 3.0 * X, rtol=1e-6)
    np.testing.assert_array_equal(rest, X)


def test_a_weight_used_twice_is_one_initializer():
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    model = export(net, X)
    assert sorted(one.name for one in model.graph.initializer) == ["0.bias", "0.weight"]
    check(lambda x: net(x), model, [X])


# Modes ------------------------------------------------------------------------------------------------------


def test_it_is_exported_in_evaluation_mode_and_left_in_its_own():
    net = Net().train()
    net.norm.eval()
    before = {name: np.asarray(value) for name, value in net.state_dict().items()}
    model = export(net, X)
    assert [net.training, net.norm.training, net.drop.training] == [True, False, True]
    assert all(np.array_equal(value, net.state_dict()[name]) for name, value in before.items())
    np.testing.assert_allclose(run(model, [X])[0], net.eval()(X).value, atol=1e-6)


def test_modes_are_restored_when_it_fails():
    net = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    with pytest.raises(ShapeError, match="in_features=4"):
        export(net, sample(3, 5))
    assert net.training and all(module.training for module in net.modules())


def test_float64():
    with zkynet.precision("float64"):
        x = np.linspace(0.0, 1.0, 12).reshape(3, 4)
        model = export(lambda a: op.softmax(a @ x.T) + 1.0, x)
        (found,) = run(model, [x])
        np.testing.assert_allclose(found, (op.softmax(op.matmul(x, x.T)) + 1.0).value, rtol=1e-12)
        assert found.dtype == np.float64


def test_layers_that_take_their_size_from_the_input():
    net = nn.Sequential(nn.Linear(None, 2), nn.Tanh())
    check(lambda x: net(x), export(net, X), [sample(5, 4)])


# Files and opsets -------------------------------------------------------------------------------------------


def test_it_is_written_to_a_file(tmp_path):
    path = tmp_path / "net.onnx"
    model = export(Net(), X, path=path)
    assert onnx.load(path) == model
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        export(Net(), X, path=tmp_path / "no folder" / "net.onnx")


@pytest.mark.parametrize("opset", [18, 21])
def test_older_opsets(opset):
    def function(x):
        return (op.normalize(op.gelu(x)), op.max(x, axis=1), op.sort(x), op.hardswish(x), op.cumsum(x, axis=1),
                op.avg_pool1d(op.expand_dims(x, axis=1), 2), op.prod(x))

    model = export(function, X, opset=opset)
    assert model.opset_import[0].version == opset
    check(function, model, [sample(5, 4)])


def test_opsets_that_are_too_old_or_new():
    with pytest.raises(InputError, match="opset must be from 18 to"):
        export(Net(), X, opset=11)


# Rules of one's own -----------------------------------------------------------------------------------------


class Swish(cg.Operator):
    """x sigmoid(beta x), with a rule."""

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),), attributes={"beta": 1.0})

    def call(self, x, *, beta):
        return x.value / (1.0 + np.e ** (-beta * x.value))

    def onnx(self, graph, x, *, beta):
        scaled = graph.add("Mul", x, np.float32(beta))
        return graph.add("Mul", x, graph.add("Sigmoid", scaled))


def test_a_custom_operator_declares_its_rule():
    swish = Swish()
    model = export(lambda x: swish(x, beta=2.0) + 1.0, X)
    assert [node.op_type for node in model.graph.node] == ["Mul", "Sigmoid", "Mul", "Add"]
    check(lambda x: swish(x, beta=2.0) + 1.0, model, [sample(5, 4)])


def test_a_rule_knows_shapes_and_may_give_several_outputs():
    @operator
    def both(x, y):
        return x + y, x - y

    def rule(graph, x, y):
        assert x.shape[1:] == (4,) and x.dtype == np.float32 and len(graph.outs) == 2
        return graph.add("Add", x, y), graph.add("Sub", x, y)

    both.onnx = rule
    check(lambda x: both(x, x * 2.0), export(lambda x: both(x, x * 2.0), X), [sample(5, 4)])


# Errors -----------------------------------------------------------------------------------------------------


class Odd(cg.Operator):
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x):
        return x.value + 1.0


class Noisy(cg.Module):
    def __init__(self):
        super().__init__()
        self.inner = cg.Module.build("Inner", self._inner, (cg.Variable("x"),))

    @staticmethod
    def _inner(x):
        return Odd()(x)

    def call(self, x):
        return op.dropout(self.inner(x), op.random_key(3), p=0.5)


def test_what_cannot_be_exported_is_listed_at_once():
    here = line()
    with pytest.raises(ExportError) as caught:
        export(Noisy(), X)
    first, *rest = str(caught.value).splitlines()
    assert first == "3 operators cannot be exported:"
    text = "\n".join(sorted(rest))
    assert f"Odd in Noisy.inner at {__file__}:{here - 7}: it is an operator of your own without a rule" in text
    assert f"dropout in Noisy at {__file__}:{here - 4}: it draws random numbers" in text
    assert f"random_key in Noisy at {__file__}:{here - 4}" in text


def test_also_inside_loops():
    odd = Odd()
    with pytest.raises(ExportError, match=r"^1 operator cannot be exported:\n  Odd at .*test_onnx_export.py:\d+"):
        export(lambda x: op.scan(lambda c, row: (odd(c), row), x[:, 0], op.swapaxes(x, 0, 1)), X)


def test_graphs_that_depend_on_the_batch():
    def function(x):
        for _ in range(x.shape[0]):
            x = op.sin(x)
        return x

    with pytest.raises(ExportError, match="depends on the batch size.*dynamic_batch=False"):
        export(function, X)
    check(function, export(function, X, dynamic_batch=False), [X])


def test_arrays_that_depend_on_the_batch():
    def function(x):
        return x + np.arange(x.shape[0], dtype=np.float32)[:, None]

    with pytest.raises(ExportError, match="an array in the graph depends on the batch size.*op.arange"):
        export(function, X)
    check(function, export(function, X, dynamic_batch=False), [X])


def test_modules_for_one_batch_size_only():
    with pytest.raises(ExportError, match="cannot be traced at other batch sizes.*dynamic_batch=False"):
        export(lambda x: x + sample(3, 4), X)


def test_parts_of_the_batch_whose_length_is_no_multiple():
    with pytest.raises(ExportError, match=r"getitem at .*no multiple of that plus a constant"):
        export(lambda x: x[:3] * 2.0, X)


def test_wrong_arguments():
    with pytest.raises(InputError, match="input_names needs 1 different names"):
        export(Net(), X, input_names=["a", "b"])
    with pytest.raises(InputError, match="output_names needs 2 different names"):
        export(lambda x: (x, x), X, output_names=["a", "a"])
    with pytest.raises(InputError, match="dynamic_batch names y, but the inputs are x"):
        export(Net(), X, dynamic_batch={"y": 0})
    with pytest.raises(InputError, match="has the shape .3, 4., and no axis 2"):
        export(Net(), X, dynamic_batch={"x": 2})
    with pytest.raises(InputError, match="share one length"):
        export(lambda a, b: (a, b), X, X, dynamic_batch={"input_0": 0, "input_1": 1})
    with pytest.raises(InputError, match="arrays of numbers as its examples, but got str"):
        export(lambda a: a, "x")
    with pytest.raises(InputError, match="missing its input 'x'"):
        export(Net())
