"""Import rules of neural networks, judged by onnxruntime: layers, attributes and versions of operators."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_nodes import array, by_onnxruntime, by_zkynet, fed, model_of

X = array(2, 4, 7, 6)
LINE = array(2, 4, 11)
SEQUENCE = array(5, 3, 4)

_CONV = [X, array(6, 2, 3, 2, seed=1), array(6, seed=2)]
_TRANSPOSED = [X, array(4, 3, 3, 2, seed=1), array(3, seed=2)]
_STATISTICS = [array(4, seed=1), array(4, seed=2), array(4, seed=3), array(4, seed=4, low=0.5)]

# (operator, version, inputs, attributes, number of outputs)
LAYERS = [
    ("Conv", 11, _CONV, {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [2, 3]}, 1),
    ("Conv", 11, _CONV[:2], {"group": 2, "auto_pad": "SAME_LOWER", "strides": [2, 2]}, 1),
    ("Conv", 11, [LINE, array(3, 4, 3, seed=1)], {"auto_pad": "SAME_UPPER", "strides": [3]}, 1),
    ("Conv", 11, [array(1, 2, 4, 5, 4), array(2, 2, 2, 3, 2, seed=1)], {"auto_pad": "VALID"}, 1),
    ("ConvTranspose", 11, _TRANSPOSED, {"pads": [1, 0, 2, 1], "strides": [3, 2], "output_padding": [1, 1]}, 1),
    ("ConvTranspose", 11, _TRANSPOSED[:2], {"strides": [2, 3], "output_shape": [14, 19]}, 1),
    ("ConvTranspose", 11, _TRANSPOSED[:2], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 1),
    ("ConvTranspose", 11, _TRANSPOSED[:2], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, 1),
    ("ConvTranspose", 11, [X, array(4, 3, 3, 2, seed=1)], {"group": 2, "dilations": [2, 2]}, 1),
    ("MaxPool", 12, [X], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1], "ceil_mode": 1}, 2),
    ("MaxPool", 12, [X], {"kernel_shape": [2, 2], "dilations": [2, 1], "strides": [2, 3], "storage_order": 1}, 2),
    ("MaxPool", 12, [X], {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}, 1),
    ("MaxPool", 12, [array(2, 2, 9, kind=np.int8, low=-90, high=90)], {"kernel_shape": [4], "pads": [2, 1]}, 1),
    ("MaxPool", 8, [array(1, 2, 4, 5, 4)], {"kernel_shape": [2, 3, 2], "pads": [0, 1, 0, 0, 1, 0]}, 1),
    ("AveragePool", 19, [X], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}, 1),
    ("AveragePool", 19, [X], {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 1),
    ("AveragePool", 19, [X], {"kernel_shape": [3, 2], "dilations": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 1),
    ("AveragePool", 11, [LINE], {"kernel_shape": [4], "auto_pad": "SAME_UPPER", "strides": [3]}, 1),
    ("LpPool", 11, [X], {"kernel_shape": [3, 2], "p": 3, "strides": [2, 1], "pads": [1, 0, 1, 1]}, 1),
    ("LpPool", 18, [X], {"kernel_shape": [2, 2], "p": 1, "dilations": [2, 1], "ceil_mode": 1, "strides": [2, 2]}, 1),
    ("GlobalLpPool", 2, [X], {"p": 3}, 1),
    ("GlobalAveragePool", 1, [X], {}, 1),
    ("GlobalMaxPool", 1, [LINE], {}, 1),
    ("BatchNormalization", 15, [X, *_STATISTICS], {"epsilon": 1e-3}, 1),
    ("BatchNormalization", 9, [array(3, 4), *_STATISTICS], {}, 1),
    ("BatchNormalization", 15, [X, *_STATISTICS], {"training_mode": 1, "momentum": 0.7}, 3),
    ("InstanceNormalization", 6, [X, *_STATISTICS[:2]], {"epsilon": 1e-2}, 1),
    ("LayerNormalization", 17, [X, array(7, 6, seed=1), array(7, 6, seed=2)], {"axis": 2}, 3),
    ("LayerNormalization", 17, [X, array(6, seed=1)], {"epsilon": 0.1}, 1),
    ("GroupNormalization", 21, [X, *_STATISTICS[:2]], {"num_groups": 2}, 1),
    ("LpNormalization", 1, [X], {"axis": 1, "p": 1}, 1),
    ("LpNormalization", 1, [X], {"axis": 2}, 1),
    ("MeanVarianceNormalization", 13, [X], {"axes": [1, 3]}, 1),
    ("LRN", 13, [X], {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 1.5}, 1),
    ("Softmax", 11, [X], {"axis": 2}, 1),
    ("Softmax", 8, [X], {}, 1),
    ("LogSoftmax", 11, [X], {"axis": -2}, 1),
    ("LogSoftmax", 13, [X], {"axis": 1}, 1),
    ("Hardmax", 11, [X], {"axis": 2}, 1),
    ("Dropout", 7, [X], {"ratio": 0.3}, 1),
    ("Dropout", 12, [X, np.array(0.4, np.float32)], {}, 2),
    ("PRelu", 16, [X, array(4, 1, 1, seed=1)], {}, 1),
    ("Selu", 6, [X], {"alpha": 1.5, "gamma": 0.5}, 1),
    ("Celu", 12, [X], {"alpha": 0.7}, 1),
    ("ThresholdedRelu", 10, [X], {"alpha": 0.5}, 1),
    ("HardSigmoid", 6, [X], {"alpha": 0.4, "beta": 0.6}, 1),
    ("HardSwish", 14, [X], {}, 1),
    ("Mish", 18, [X], {}, 1),
    ("Gelu", 20, [X], {"approximate": "tanh"}, 1),
    ("Shrink", 9, [X], {"lambd": 0.4, "bias": 0.2}, 1),
    ("Softplus", 1, [X * 30], {}, 1),
    ("Upsample", 9, [X, np.array([1, 1, 2, 1.5], np.float32)], {"mode": "nearest"}, 1),
    ("Upsample", 7, [X], {"mode": "linear", "scales": [1.0, 1.0, 2.0, 3.0]}, 1),
    ("Resize", 10, [X, np.array([1, 1, 0.6, 0.5], np.float32)], {"mode": "nearest"}, 1),
    ("Resize", 10, [X, np.array([1, 1, 2.5, 0.5], np.float32)], {"mode": "linear"}, 1),
    ("Resize", 13, [X, None, np.array([1, 1, 1.7, 0.6], np.float32)],
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, 1),
    ("Resize", 13, [X, None, np.array([1, 1, 2, 1.5], np.float32)], {"mode": "cubic", "cubic_coeff_a": -0.5}, 1),
    ("Resize", 13, [X, None, None, np.array([2, 4, 3, 11])],
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 1),
    ("Resize", 13, [X, np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.3], np.float32), None,
                    np.array([2, 4, 5, 5])],
     {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}, 1),
    ("GridSample", 16, [X, array(2, 3, 5, 2, low=-1.4, high=1.4)], {"padding_mode": "reflection"}, 1),
    ("GridSample", 16, [X, array(2, 3, 5, 2, low=-1.4, high=1.4)], {"mode": "bicubic", "align_corners": 1}, 1),
    ("GridSample", 16, [X, array(2, 3, 5, 2, low=-1.4, high=1.4)], {"mode": "nearest", "padding_mode": "border"}, 1),
    ("GridSample", 20, [array(1, 2, 3, 4, 5), array(1, 2, 3, 2, 3, low=-1.2, high=1.2)], {"align_corners": 1}, 1),
    ("AffineGrid", 20, [array(2, 2, 3), np.array([2, 1, 3, 4])], {"align_corners": 1}, 1),
    ("RoiAlign", 16, [X, np.array([[0, 0, 9, 7], [2, 3, 8, 12.5]], np.float32), np.array([1, 0])],
     {"output_height": 2, "output_width": 3, "spatial_scale": 0.5}, 1),
    ("RoiAlign", 10, [X, np.array([[0, 0, 9, 7], [2, 3, 2.1, 12.5]], np.float32), np.array([1, 0])],
     {"output_height": 2, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.5}, 1),
    ("RoiAlign", 16, [-1 - np.abs(X), np.array([[0, 0, 5.6, 6.3], [2.3, 3.2, 3.1, 4.1]], np.float32), np.array([1, 0])],
     {"mode": "max"}, 1),
    ("MaxRoiPool", 1, [X, np.array([[1, 0, 0, 3, 4], [0, 1, 2, 5, 6], [0, 9, 9, 9, 9]], np.float32)],
     {"pooled_shape": [2, 3]}, 1),
    ("NonMaxSuppression", 11, [array(1, 9, 4, low=0), array(1, 2, 9, low=0), np.array([3]),
                               np.array([0.2], np.float32), np.array([0.1], np.float32)], {}, 1),
    ("NonMaxSuppression", 11, [array(2, 9, 4, low=0.1), array(2, 1, 9, low=0), np.array([4]),
                               np.array([0.3], np.float32)], {"center_point_box": 1}, 1),
    ("Col2Im", 18, [array(2, 12, 12), np.array([5, 7]), np.array([2, 3])], {"pads": [0, 1, 1, 0], "strides": [2, 1],
                                                                            "dilations": [1, 2]}, 1),
]


def names(rows: list) -> list[str]:
    return [f"{row[0]}-{row[1]}-{'-'.join(row[3])}" for row in rows]


@pytest.mark.parametrize("row", LAYERS, ids=names(LAYERS))
def test_layers_agree_with_onnxruntime(row):
    name, opset, inputs, attributes, outputs = row
    static = tuple(i for i, x in enumerate(inputs) if x is not None and (x.dtype == np.int64 or name in STATIC and i))
    model = model_of(name, inputs, opset, outputs, constant=static, **attributes)
    arrays = fed(inputs, static)
    for ours, theirs in zip(by_zkynet(model, arrays), by_onnxruntime(model, arrays), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


STATIC = {"Upsample", "Resize"}

_NET = {"RNN": 1, "LSTM": 4, "GRU": 3}
RECURRENT = [
    ("RNN", {"direction": "bidirectional", "activations": ["Relu", "Tanh"]}),
    ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]}),
    ("LSTM", {}),
    ("LSTM", {"direction": "reverse"}),
    ("LSTM", {"direction": "bidirectional", "peepholes": True}),
    ("LSTM", {"clip": 0.3, "lengths": True}),
    ("LSTM", {"input_forget": 1, "activations": ["HardSigmoid", "Softsign", "Tanh"], "activation_alpha": [0.3],
              "activation_beta": [0.4]}),
    ("GRU", {}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "lengths": True}),
    ("GRU", {"direction": "reverse", "lengths": True}),
]


@pytest.mark.parametrize("name, given", RECURRENT, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_recurrent_nets_agree_with_onnxruntime(name, given):
    attributes = dict(given)
    gates, size, count = _NET[name], 3, 2 if attributes.get("direction") == "bidirectional" else 1
    lengths = np.array([5, 2, 3], np.int32) if attributes.pop("lengths", False) else None
    inputs = [SEQUENCE, array(count, gates * size, 4, seed=1), array(count, gates * size, size, seed=2),
              array(count, 2 * gates * size, seed=3), lengths, array(count, 3, size, seed=4)]
    if name == "LSTM":
        inputs.append(array(count, 3, size, seed=5))
        if attributes.pop("peepholes", False):
            inputs.append(array(count, 3 * size, seed=6))
    model = model_of(name, inputs, 14, 3 if name == "LSTM" else 2, hidden_size=size, **attributes)
    for ours, theirs in zip(by_zkynet(model, fed(inputs)), by_onnxruntime(model, fed(inputs)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


QUANTIZED = [
    ("QuantizeLinear", [X * 50, np.array([0.5, 1, 2, 0.1], np.float32), np.array([1, 0, 128, 7], np.uint8)],
     {"axis": 1}, 13),
    ("QuantizeLinear", [X * 50, np.float32(0.7), np.int8(3)], {}, 10),
    ("DequantizeLinear", [array(2, 4, kind=np.int8, low=-120, high=120), array(4, low=0.1), np.array([1, -4, 9, 0],
                                                                                                    np.int8)], {}, 13),
    ("DequantizeLinear", [array(2, 4, kind=np.int32, low=-9e5, high=9e5), np.float32(0.01)], {}, 10),
    ("DequantizeLinear", [array(2, 6, kind=np.uint8, low=0, high=255), array(2, 3, low=0.1),
                          array(2, 3, kind=np.uint8, low=0, high=9)], {"axis": 1, "block_size": 2}, 21),
    ("DynamicQuantizeLinear", [X], {}, 11),
    ("MatMulInteger", [array(3, 4, kind=np.uint8, low=0, high=255), array(4, 2, kind=np.int8, low=-120, high=120),
                       np.uint8(7), np.array([3, -2], np.int8)], {}, 10),
    ("QLinearMatMul", [array(3, 4, kind=np.uint8, low=0, high=255), np.float32(0.02), np.uint8(120),
                       array(4, 2, kind=np.int8, low=-120, high=120, seed=1), np.float32(0.03), np.int8(3),
                       np.float32(0.05), np.uint8(100)], {}, 10),
    ("ConvInteger", [array(1, 2, 5, 5, kind=np.uint8, low=0, high=255), array(3, 2, 3, 3, kind=np.uint8, low=0,
                                                                             high=255), np.uint8(9), np.uint8(4)],
     {"pads": [1, 1, 1, 1]}, 10),
    ("QLinearConv", [array(1, 2, 5, 5, kind=np.uint8, low=0, high=255), np.float32(0.02), np.uint8(99),
                     array(3, 2, 3, 3, kind=np.int8, low=-120, high=120), np.array([0.01, 0.02, 0.03], np.float32),
                     np.zeros(3, np.int8), np.float32(0.3), np.uint8(128), array(3, kind=np.int32, low=-99, high=99)],
     {"pads": [1, 0, 1, 0], "strides": [2, 1]}, 10),
]


@pytest.mark.parametrize("name, inputs, attributes, opset", QUANTIZED, ids=[f"{r[0]}-{r[3]}" for r in QUANTIZED])
def test_quantized_arithmetic_agrees_with_onnxruntime(name, inputs, attributes, opset):
    inputs = [np.asarray(x) for x in inputs]
    constant = tuple(i for i, x in enumerate(inputs) if i and name == "QLinearConv")  # onnxruntime wants it so
    model = model_of(name, inputs, opset, 3 if name.startswith("Dynamic") else 1, constant, **attributes)
    arrays = fed(inputs, constant)
    for ours, theirs in zip(by_zkynet(model, arrays), by_onnxruntime(model, arrays), strict=True):
        assert ours.dtype == theirs.dtype
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        else:
            np.testing.assert_array_equal(ours, theirs)
