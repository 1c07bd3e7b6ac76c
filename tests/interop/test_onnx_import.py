"""Reading ONNX models: sources, errors, weights, folding, random numbers, linear models and trees of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

import zkynet
from zkynet import nn, optim
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError, TracedValueError, ZkynetError
from zkynet.interop import onnx as interop

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, weights=None, opset=20, domains=(), functions=()):
    """A ModelProto; inputs and outputs are given as name to (element type, shape)."""
    given, made = ([helper.make_tensor_value_info(name, kind[0], kind[1]) for name, kind in side.items()]
                   for side in (inputs, outputs))
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "net", given, made, tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def linear(**options):
    return model_of([helper.make_node("Gemm", ["x", "fc.weight", "fc.bias"], ["y"], transB=1, name="fc")],
                    {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 2])},
                    {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)},
                    **options)


X = np.ones((2, 3), np.float32)


# Sources ----------------------------------------------------------------------------------------------------


def test_a_path_bytes_and_a_proto_give_the_same(tmp_path):
    model = linear()
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    results = [np.asarray(interop.load(source)(X).value).tolist()
               for source in (path, str(path), model, model.SerializeToString())]
    assert results == [[[4.0, 13.0]] * 2] * 4


def test_external_data_is_read_from_the_folder_of_the_file_only(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "net.onnx"
    onnx.save(linear(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert np.asarray(interop.load(path)(X).value)[0].tolist() == [4.0, 13.0]
    with pytest.raises(InputError, match="another file: load it by its path"):
        interop.load(path.read_bytes())
    model = onnx.load(path, load_external_data=False)
    for entry in (e for t in model.graph.initializer for e in t.external_data if e.key == "location"):
        entry.value = "../net.data"
    (tmp_path / "net.data").write_bytes((tmp_path / "in" / "net.data").read_bytes())
    (tmp_path / "in" / "escaping.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="keeps weights in other files"):
        interop.load(tmp_path / "in" / "escaping.onnx")
    (tmp_path / "in" / "net.data").unlink()
    with pytest.raises(InputError, match="cannot be read.*Put them next to the model"):
        interop.load(path)


# Errors -----------------------------------------------------------------------------------------------------


def _cycle():
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="one"), helper.make_node("Neg", ["a"], ["b"], name="two")]
    return model_of(nodes, {"x": (FLOAT, [2])}, {"b": (FLOAT, [2])})


def _unknown():
    nodes = [helper.make_node("Foo", ["x"], ["a"], name="first"), helper.make_node("Bar", ["a"], ["b"], domain="other"),
             helper.make_node("Foo", ["b"], ["y"], name="last")]
    return model_of(nodes, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, domains=(("other", 3),))


def _damaged_weight():
    model = linear()
    model.graph.initializer[0].raw_data = b"123"
    return model


BAD = {
    "missing file": (lambda: "no/such/file.onnx", "cannot read 'no/such/file.onnx'.*No such file"),
    "folder": (lambda: ".", "cannot read '.'"),
    "no model": (lambda: b"\xff\xfe nothing", "no ONNX model, or it is damaged"),
    "empty": (lambda: b"", "no ONNX model, or it is damaged"),
    "cut short": (lambda: linear().SerializeToString()[:-40], "damaged|no valid"),
    "no source": (lambda: 3, "given as a path, bytes or an onnx.ModelProto, but got int"),
    "opset too new": (lambda: linear(opset=99), "opset version 99 of ai.onnx, but the installed onnx knows versions 1"),
    "cycle": (_cycle, "has a cycle: ONNX node .* is computed from itself"),
    "unknown operators": (_unknown, r"Foo \(version 20\): 'first', 'last'; other.Bar \(version 3\): 'b'"),
    "damaged weight": (_damaged_weight, "damaged|no valid ONNX model"),
    "undefined value": (lambda: model_of([helper.make_node("Relu", ["z"], ["y"])], {"x": (FLOAT, [2])},
                                         {"y": (FLOAT, [2])}), "no valid ONNX model.*z"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_bad_models_are_refused_with_the_reason(make, message):
    with pytest.raises(InputError, match=message):
        interop.load(make())


def test_damaged_files_give_one_kind_of_error():
    content = linear().SerializeToString()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in generator.integers(len(damaged), size=2):
            damaged[place] = generator.integers(256)
        try:
            interop.load(bytes(damaged))
        except ZkynetError:
            refused += 1
    assert 100 < refused < 300


def test_wrong_inputs_are_named():
    net = interop.load(linear())
    for x, message in ((np.ones(3, np.float32), r"input 'x' has the shape \(\?, 3\)"),
                       (np.ones((2, 4), np.float32), r"input 'x' has the shape \(\?, 3\), but got float32\[2,4\]")):
        with pytest.raises(ShapeError, match=message):
            net(x)
    with pytest.raises(InputError, match="missing its input 'x'"):
        net()
    with pytest.raises(InputError, match="trainable is True or False"):
        interop.load(linear(), trainable=1)  # pyright: ignore[reportArgumentType]
    gather = model_of([helper.make_node("Gather", ["e", "i"], ["y"])], {"i": (TensorProto.INT64, ["n"])},
                      {"y": (FLOAT, ["n", 2])}, {"e": np.ones((4, 2), np.float32)})
    with pytest.raises(InputError, match="input 'i' takes int32, but got float32"):
        interop.load(gather)(np.ones(3, np.float32))


def test_values_that_decide_shapes_must_be_known():
    net = interop.load(model_of([helper.make_node("NonZero", ["x"], ["i"]), helper.make_node("Size", ["i"], ["y"])],
                                {"x": (FLOAT, ["n"])}, {"y": (TensorProto.INT64, [])}))
    assert int(net(np.array([0.0, 2.0, 3.0], np.float32)).value) == 2
    with pytest.raises(TracedValueError, match="ONNX node NonZero.*decides shapes"):
        zkynet.compile(lambda x: net(x))(np.ones(3, np.float32))


# Weights ----------------------------------------------------------------------------------------------------


def test_what_becomes_a_parameter_a_state_and_a_constant():
    nodes = [helper.make_node("BatchNormalization", ["x", "bn/s", "bn/b", "bn/m", "bn/v"], ["a"]),
             helper.make_node("Clip", ["a", "low"], ["b"]), helper.make_node("Add", ["b", "mask"], ["c"]),
             helper.make_node("Mul", ["c", "half"], ["d"]), helper.make_node("Reshape", ["d", "shape"], ["e"]),
             helper.make_node("MatMul", ["e", "::w"], ["y"])]
    weights = {"bn/s": [1.0, 2.0], "bn/b": [0.0, 1.0], "bn/m": [0.5, 1.0], "bn/v": [1.0, 4.0], "low": [-1.0],
               "mask": [[0.0, -np.inf]], "half": 0.5, "::w": [[1.0], [2.0]]}
    net = interop.load(model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 1])},
                                {**{k: np.asarray(v, np.float32) for k, v in weights.items()},
                                 "shape": np.array([-1, 2])}))
    assert {name for name, _ in net.named_parameters()} == {"bn_s", "bn_b", "w"}
    assert {name for name, _ in net.named_states()} == {"bn_m", "bn_v"}
    assert all(p.trainable for p in net.parameters())
    assert not interop.load(linear(), trainable=False).parameters(trainable=True)
    net.load_state_dict(net.state_dict())


def test_integers_and_shapes_are_computed_before_the_graph():
    """Shape, Gather, Concat and Reshape, as the older exporters write them: no node of the graph is left of them."""
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["n"]),
             helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
             helper.make_node("Constant", [], ["m"], value_ints=[-1]),
             helper.make_node("Concat", ["n1", "m"], ["shape"], axis=0),
             helper.make_node("Reshape", ["x", "shape"], ["y"])]
    net = interop.load(model_of(nodes, {"x": (FLOAT, ["n", 2, 3])}, {"y": (FLOAT, None)},
                                {"zero": np.array(0), "axes": np.array([0])}))
    for count in (2, 5):
        y = net(np.zeros((count, 2, 3), np.float32))
        assert y.shape == (count, 6) and [n.name for n in y.nodes if not n.isleaf()] == ["reshape"]


def test_a_table_of_the_file_is_read_at_positions_that_a_program_is_given():
    net = interop.load(model_of([helper.make_node("GatherND", ["table", "at"], ["y"])],
                                {"at": (TensorProto.INT64, ["n", 2])}, {"y": (TensorProto.INT64, ["n"])},
                                {"table": np.arange(6).reshape(2, 3)}))
    np.testing.assert_array_equal(zkynet.compile(lambda at: net(at))(np.array([[0, 1], [-1, 2]], np.int32)), [1, 5])


def test_functions_of_the_file_are_expanded():
    body = [helper.make_node("Mul", ["a", "a"], ["s"]), helper.make_node("Add", ["s", "b"], ["out"])]
    function = helper.make_function("own", "SquarePlus", ["a", "b"], ["out"], body, [helper.make_opsetid("", 20)])
    net = interop.load(model_of([helper.make_node("SquarePlus", ["x", "w"], ["y"], domain="own")],
                                {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, {"w": np.array([1.0, 2.0], np.float32)},
                                domains=(("own", 1),), functions=(function,)))
    y = net(np.array([3.0, 4.0], np.float32))
    assert np.asarray(y.value).tolist() == [10.0, 18.0]
    y.back(np.ones(2, np.float32))
    assert np.asarray(y.grad(net.param("w"))).tolist() == [1.0, 1.0]


def test_an_import_is_a_part_of_other_modules_and_of_compiled_steps():
    class Net(cg.Module):
        def __init__(self):
            super().__init__()
            self.base = interop.load(linear())
            self.scale = cg.Parameter("scale", np.float32(2.0))

        def call(self, x):
            return op.mean(op.square(self.base(x) * self.scale))

    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["scale", "base.fc.weight", "base.fc.bias"]
    optimizer = optim.SGD(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        loss = net(X)
        optimizer.step(loss)
        losses.append(float(loss.value))
    assert losses[2] < losses[1] < losses[0]
    compiled = zkynet.compile(lambda x: net(x))
    np.testing.assert_allclose(compiled(X), net(X).value, rtol=1e-6)


def _batch_net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


@pytest.mark.parametrize("dynamic", [True, False])
def test_our_own_files_come_back(dynamic):
    net = _batch_net()
    x = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    float(op.mean(net(x).root).value)  # moves the running statistics
    net.eval()
    back = interop.load(interop.export(net, x, dynamic_batch=dynamic))
    np.testing.assert_allclose(back(x).value, net(x).value, atol=1e-6)
    assert sum(p.value.size for p in back.parameters()) == sum(p.value.size for p in net.parameters())


def test_random_numbers_have_the_moments_that_the_file_asks_for():
    nodes = [helper.make_node("RandomNormal", [], ["a"], shape=[4000], mean=1.0, scale=2.0),
             helper.make_node("RandomUniformLike", ["a"], ["b"], low=-1.0, high=3.0),
             helper.make_node("Bernoulli", ["p"], ["c"]),
             helper.make_node("Multinomial", ["l"], ["d"], sample_size=4000)]
    net = interop.load(model_of(nodes, {"p": (FLOAT, [4000]), "l": (FLOAT, [1, 3])},
                                {"a": (FLOAT, [4000]), "b": (FLOAT, [4000]), "c": (FLOAT, [4000]),
                                 "d": (TensorProto.INT32, [1, 4000])}))
    logits = np.log(np.array([[0.2, 0.3, 0.5]], np.float32))
    a, b, c, d = (np.asarray(v) for v in net(np.full(4000, 0.25, np.float32), logits).value)
    again = np.asarray(net(np.full(4000, 0.25, np.float32), logits).value[0])
    assert abs(a.mean() - 1) < 0.15 and abs(a.std() - 2) < 0.15 and not (a == again).any()
    assert abs(b.mean() - 1) < 0.1 and -1 <= b.min() and b.max() < 3
    assert abs(c.mean() - 0.25) < 0.03 and set(np.unique(c)) == {0.0, 1.0}
    np.testing.assert_allclose(np.bincount(d[0]) / 4000, [0.2, 0.3, 0.5], atol=0.04)


# What scikit-learn's converters write, against onnxruntime ---------------------------------------------------

ML = "ai.onnx.ml"
TREE = dict(
    nodes_treeids=[0] * 5 + [1] * 3, nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2], nodes_featureids=[0, 0, 1, 0, 0, 2, 0, 0],
    nodes_modes=["BRANCH_LEQ", "LEAF", "BRANCH_GT", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"],
    nodes_values=[0.1, 0, -0.3, 0, 0, 0.2, 0, 0], nodes_truenodeids=[1, 0, 3, 0, 0, 1, 0, 0],
    nodes_falsenodeids=[2, 0, 4, 0, 0, 2, 0, 0])
LEAVES = ([0, 0, 0, 1, 1], [1, 3, 4, 1, 2])


def _votes(what, ids, weights):
    return {f"{what}_treeids": LEAVES[0], f"{what}_nodeids": LEAVES[1], f"{what}_ids": ids, f"{what}_weights": weights}


LEARNED = {
    "linear regression": ("LinearRegressor", dict(targets=2, coefficients=[1.0, 2, 3, -1, 0, 1], intercepts=[0.5, -1])),
    "logistic regression": ("LinearClassifier", dict(
        coefficients=[1.0, 2, 3, -1, 0, 1, 0.5, 1, -2], intercepts=[0.5, -1, 0], classlabels_ints=[3, 5, 9],
        post_transform="SOFTMAX")),
    "two classes": ("LinearClassifier", dict(coefficients=[-1.0, -2, -3, 1.0, 2, 3], intercepts=[-0.5, 0.5],
                                             classlabels_ints=[0, 1], post_transform="LOGISTIC")),
    "scaler": ("Scaler", dict(offset=[0.5, 1, 2], scale=[2.0, 1, 0.5])),
    "normalizer": ("Normalizer", dict(norm="L2")),
    "imputer": ("Imputer", dict(replaced_value_float=float("nan"), imputed_value_floats=[1.0, 2, 3])),
    "regression trees": ("TreeEnsembleRegressor", dict(
        **TREE, **_votes("target", [0] * 5, [1.0, 2, 3, 10, 20]), n_targets=1, base_values=[0.5])),
    "averaged trees": ("TreeEnsembleRegressor", dict(
        **TREE, **_votes("target", [0] * 5, [1.0, 2, 3, 10, 20]), n_targets=1, aggregate_function="AVERAGE")),
    "classification trees": ("TreeEnsembleClassifier", dict(
        **TREE, **_votes("class", [0, 1, 2, 0, 1], [1.0, 0.4, 0.7, 0.2, 0.5]), classlabels_int64s=[4, 6, 8])),
}


@pytest.mark.parametrize(("name", "attributes"), LEARNED.values(), ids=LEARNED.keys())
def test_models_of_scikit_learn_compute_as_in_onnxruntime(name, attributes):
    runtime = pytest.importorskip("onnxruntime")
    classifies = name.endswith("Classifier")
    outputs = {"label": (TensorProto.INT64, ["n"]), "y": (FLOAT, None)} if classifies else {"y": (FLOAT, None)}
    model = model_of([helper.make_node(name, ["x"], list(outputs), domain=ML, **attributes)],
                     {"x": (FLOAT, ["n", 3])}, outputs, domains=((ML, 3),))
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    if name == "Imputer":
        x[x > 0.5] = np.nan
    expected = runtime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    result = interop.load(model)(x).value
    for ours, theirs in zip(result if classifies else (result,), expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-5, atol=1e-6)


ONE_SCORE = {
    "linear": ("LinearClassifier", dict(coefficients=[1.0, 2, 3], intercepts=[0.5], classlabels_ints=[4, 6])),
    "trees": ("TreeEnsembleClassifier", dict(**TREE, **_votes("class", [0] * 5, [0.9, -0.4, 0.7, 0.2, -0.5]),
                                             classlabels_int64s=[4, 6])),
}


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize(("name", "attributes"), ONE_SCORE.values(), ids=ONE_SCORE.keys())
def test_one_score_for_two_classes_counts_as_in_onnx_itself(name, attributes, transform):
    from onnx.reference import ReferenceEvaluator

    node = helper.make_node(name, ["x"], ["label", "y"], domain=ML, post_transform=transform, **attributes)
    model = model_of([node], {"x": (FLOAT, ["n", 3])}, {"label": (TensorProto.INT64, ["n"]), "y": (FLOAT, None)},
                     domains=((ML, 3),))
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    for ours, theirs in zip(interop.load(model)(x).value, ReferenceEvaluator(model).run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)


def test_coefficients_of_linear_models_are_trained():
    model = model_of([helper.make_node("LinearRegressor", ["x"], ["y"], domain=ML, name="lr",
                                       coefficients=[1.0, 2, 3], intercepts=[0.5])],
                     {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 1])}, domains=((ML, 1),))
    net = interop.load(model)
    assert list(net.state_dict()) == ["lr.coefficients", "lr.intercepts"]
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    optimizer.step(op.mean(op.square(net(X).root)))
    assert np.asarray(net.param("lr.coefficients").value).tolist() != [1.0, 2.0, 3.0]


def test_no_operator_has_two_rules():
    from zkynet.interop.onnx import import_registry

    assert len(import_registry.rule_names()) > 150
    assert import_registry.clashes == []
