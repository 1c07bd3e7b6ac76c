"""Imported layers in training: gradients, running statistics and dropout, judged by torch."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_nodes import array, model_of

torch = pytest.importorskip("torch")

import zkynet  # noqa: E402
from zkynet import nn  # noqa: E402
from zkynet.framework import op  # noqa: E402
from zkynet.interop.onnx import load  # noqa: E402

IMAGE = array(2, 4, 6, 5)
GRID = array(2, 3, 4, 2, low=-1.2, high=1.2)
KERNEL = array(6, 4, 3, 3, seed=1)
OFFSET = array(2, 18, 4, 3, seed=2) * 0.4
CONV = torch.nn.functional


def _torch_deform(x, weight, offset):
    from torchvision.ops import deform_conv2d

    return deform_conv2d(x, offset, weight)


# (operator, version, inputs, constant ones, attributes, torch's function)
GRADIENTS = {
    "conv-same": ("Conv", 11, [IMAGE, KERNEL], (), {"auto_pad": "SAME_UPPER"},
                  lambda x, w: CONV.conv2d(x, w, padding=1)),
    "conv-transpose": ("ConvTranspose", 11, [IMAGE, array(4, 2, 3, 3, seed=1)], (), {"strides": [2, 2], "pads": [1] * 4,
                                                                                    "output_padding": [1, 1]},
                       lambda x, w: CONV.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)),
    "max-pool": ("MaxPool", 12, [IMAGE], (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
                 lambda x: CONV.max_pool2d(x, 2, ceil_mode=True)),
    "average-pool": ("AveragePool", 19, [IMAGE], (), {"kernel_shape": [3, 3], "pads": [1] * 4},
                     lambda x: CONV.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    "layer-norm": ("LayerNormalization", 17, [IMAGE, array(5, seed=1), array(5, seed=2)], (), {},
                   lambda x, w, b: CONV.layer_norm(x, (5,), w, b)),
    "group-norm": ("GroupNormalization", 21, [IMAGE, array(4, seed=1), array(4, seed=2)], (), {"num_groups": 2},
                   lambda x, w, b: CONV.group_norm(x, 2, w, b)),
    "rms-norm": ("RMSNormalization", 23, [IMAGE, array(5, seed=1)], (), {},
                 lambda x, w: CONV.rms_norm(x, (5,), w, 1e-5)),
    "linear-resize": ("Resize", 13, [IMAGE, None, None, np.array([2, 4, 9, 3])], (3,), {"mode": "linear"},
                      lambda x: CONV.interpolate(x, (9, 3), mode="bilinear")),
    "cubic-resize": ("Resize", 13, [IMAGE, None, None, np.array([2, 4, 9, 3])], (3,), {"mode": "cubic"},
                     lambda x: CONV.interpolate(x, (9, 3), mode="bicubic")),
    "nearest-resize": ("Resize", 13, [IMAGE, None, None, np.array([2, 4, 9, 3])], (3,),
                       {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
                       lambda x: CONV.interpolate(x, (9, 3))),
    "grid-sample": ("GridSample", 20, [IMAGE, GRID], (), {},
                    lambda x, g: CONV.grid_sample(x, g, align_corners=False)),
    "deform-conv": ("DeformConv", 19, [IMAGE, KERNEL, OFFSET], (), {}, _torch_deform),
    "affine-grid": ("AffineGrid", 20, [array(2, 2, 3), np.array([2, 1, 3, 4])], (1,), {},
                    lambda t: CONV.affine_grid(t, (2, 1, 3, 4), align_corners=False)),
    "attention": ("Attention", 23, [array(2, 4, 3, 8), array(2, 2, 3, 8, seed=1), array(2, 2, 3, 8, seed=2)], (),
                  {"is_causal": 1}, lambda q, k, v: CONV.scaled_dot_product_attention(q, k, v, is_causal=True,
                                                                                      enable_gqa=True)),
    "cross-entropy": ("SoftmaxCrossEntropyLoss", 13, [array(5, 3), np.array([0, 2, 1, 2, 0]), array(3, low=0.5)],
                      (1, 2), {"ignore_index": 1},
                      lambda x: CONV.cross_entropy(x, torch.tensor([0, 2, 1, 2, 0]), torch.tensor(array(3, low=0.5)),
                                                   ignore_index=1)),
    "p-relu": ("PRelu", 16, [IMAGE, array(4, 1, 1, seed=1)], (), {}, lambda x, s: CONV.prelu(x, s.reshape(4))),
    "hard-swish": ("HardSwish", 14, [IMAGE], (), {}, CONV.hardswish),
    "dft": ("DFT", 20, [array(2, 6, 1)], (), {"onesided": 1}, lambda x: torch.view_as_real(torch.fft.rfft(x[..., 0]))),
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_values_and_gradients_agree_with_torch(case):
    name, opset, inputs, constant, attributes, judge = GRADIENTS[case]
    model = load(model_of(name, inputs, opset, 1, constant, **attributes))
    arrays = [x for i, x in enumerate(inputs) if x is not None and i not in constant]
    weight = None

    def objective(*values):
        nonlocal weight
        y = model(*values)
        weight = array(*y.shape, seed=7)
        return op.sum(y * weight)

    value, gradients = zkynet.value_and_grad(objective, argnums=tuple(range(len(arrays))))(*arrays)
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    theirs = (judge(*tensors) * torch.tensor(weight)).sum()
    theirs.backward()
    np.testing.assert_allclose(float(value), theirs.item(), rtol=2e-4, atol=2e-4)
    for ours, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(np.asarray(ours), tensor.grad.numpy(), rtol=2e-3, atol=2e-4)


def _batch_norm(producer: str, opset: int = 15, outputs: int = 1) -> tuple:
    x = array(3, 4, 5)
    inputs = [x, array(4, low=0.5), array(4, seed=1), array(4, seed=2), array(4, seed=3, low=0.5)]
    proto = model_of("BatchNormalization", inputs, opset, outputs, (1, 2, 3, 4))
    proto.producer_name = producer
    return x, inputs, load(proto)


def test_batch_normalization_in_training_is_that_of_torch():
    x, inputs, model = _batch_norm("pytorch")
    layer = torch.nn.BatchNorm1d(4)
    layer.load_state_dict({"weight": torch.tensor(inputs[1]), "bias": torch.tensor(inputs[2]),
                           "running_mean": torch.tensor(inputs[3]), "running_var": torch.tensor(inputs[4]),
                           "num_batches_tracked": torch.tensor(0)})
    for module in (model, layer):
        module.train()
    for seed in range(2):
        batch = x + array(3, 4, 5, seed=seed)
        np.testing.assert_allclose(model(batch).value, layer(torch.tensor(batch)).detach(), rtol=1e-4, atol=1e-5)
    held = model.state_dict()
    np.testing.assert_allclose(held["x3"], layer.running_mean, rtol=1e-5)
    np.testing.assert_allclose(held["x4"], layer.running_var, rtol=1e-5)
    for module in (model, layer):
        module.eval()
    np.testing.assert_allclose(model(x).value, layer(torch.tensor(x)).detach(), rtol=1e-4, atol=1e-5)


def test_running_variance_of_other_files_is_that_of_the_onnx_text():
    x, inputs, model = _batch_norm("somebody else")
    model.train()
    model(x).value  # noqa: B018 - reading makes the update
    np.testing.assert_allclose(model.state_dict()["x4"], inputs[4] * 0.9 + x.var(axis=(0, 2)) * 0.1, rtol=1e-5)


def test_low_precision_does_not_stop_running_statistics():
    x, _, model = _batch_norm("pytorch")
    model.train()
    with zkynet.precision("bfloat16"):
        for _ in range(80):
            assert model(x + 10.0).value.dtype.name == "bfloat16"
    np.testing.assert_allclose(model.state_dict()["x3"], x.mean(axis=(0, 2)) + 10.0, rtol=1e-2)


@pytest.mark.parametrize("opset, inputs, attributes", [
    (7, [IMAGE], {"ratio": 0.25}), (22, [IMAGE, np.array(0.25, np.float32)], {}),
], ids=["ratio-attribute", "ratio-input"])
def test_dropout_drops_in_training_only(opset, inputs, attributes):
    model = load(model_of("Dropout", inputs, opset, 1, tuple(range(1, len(inputs))), **attributes))
    np.testing.assert_array_equal(model(IMAGE).value, IMAGE)
    model.train()
    first, second = np.asarray(model(IMAGE).value), np.asarray(model(IMAGE).value)
    assert (first != second).any()
    kept = first != 0
    assert 0.55 < kept.mean() < 0.9
    np.testing.assert_allclose(first[kept], IMAGE[kept] / 0.75, rtol=1e-5)


def test_evaluation_whatever_the_file_says():
    model = load(model_of("Dropout", [IMAGE, np.array(0.5, np.float32), np.array(True)], 13, 1, (1, 2)))

    def drops() -> bool:
        return bool((np.asarray(model(IMAGE).value) == 0).any())

    assert drops()
    with model.evaluating():
        assert not drops()
    assert drops() and not model.training
    nn.Sequential(model).eval()
    assert not drops()


def test_evaluation_of_batch_normalization_that_an_older_file_trains():
    x, inputs, model = _batch_norm("pytorch", opset=9, outputs=5)
    scale, bias, mean, variance = map(torch.tensor, inputs[1:])
    expected = CONV.batch_norm(torch.tensor(x), None, None, scale, bias, training=True)
    np.testing.assert_allclose(model(x).value[0], expected, rtol=1e-4, atol=1e-5)
    expected = CONV.batch_norm(torch.tensor(x), mean, variance, scale, bias)
    np.testing.assert_allclose(model.eval()(x).value[0], expected, rtol=1e-4, atol=1e-5)


def test_dropout_mask_is_that_of_its_output():
    model = load(model_of("Dropout", [IMAGE], 13, 2)).train()
    y, mask = model(IMAGE).value
    assert mask.dtype == bool
    np.testing.assert_allclose(y, np.where(mask, IMAGE * 2.0, 0.0), rtol=1e-6)


def test_max_pool_indices_unpool():
    image = IMAGE[..., :4]
    y, places = load(model_of("MaxPool", [image], 12, 2, kernel_shape=[2, 2], strides=[2, 2]))(image).value
    unpool = load(model_of("MaxUnpool", [np.asarray(y), np.asarray(places, np.int64)], 11, kernel_shape=[2, 2],
                           strides=[2, 2]))
    theirs, indices = CONV.max_pool2d(torch.tensor(image), 2, return_indices=True)
    expected = CONV.max_unpool2d(theirs, indices, 2)
    np.testing.assert_allclose(unpool(y, places).value, expected)


def test_channel_slopes_of_the_old_p_relu():
    slope = array(4, seed=1)
    found = load(model_of("PRelu", [IMAGE, slope], 6))(IMAGE, slope).value
    np.testing.assert_allclose(found, CONV.prelu(torch.tensor(IMAGE), torch.tensor(slope)), rtol=1e-6)


def test_statistics_for_each_element_of_the_old_batch_normalization():
    """Version 7 with spatial=0: one mean and variance for each element of an example."""
    parts = [array(4, 6, 5, seed=s, low=0.5) for s in range(4)]
    found = load(model_of("BatchNormalization", [IMAGE, *parts], 7, spatial=0))(IMAGE, *parts).value
    scale, bias, mean, variance = parts
    np.testing.assert_allclose(found, (IMAGE - mean) / np.sqrt(variance + 1e-5) * scale + bias, rtol=1e-4, atol=1e-5)
