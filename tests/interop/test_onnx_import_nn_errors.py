"""What imported layers refuse, and what they say about it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_nodes import array, fed, model_of

from zkynet.framework.errors import InputError, ShapeError
from zkynet.interop.onnx import load

X = array(1, 2, 5, 5)

REFUSED = [
    ("Conv", 11, [X, array(3, 2, 3, 3)], {"auto_pad": "SAME"}, InputError,
     "'auto_pad' is one of NOTSET.*but got 'SAME'"),
    ("Conv", 11, [X, array(3, 2, 3, 3)], {"strides": [2]}, InputError, "do not fit an input with 2 spatial axes"),
    ("Conv", 11, [X, array(3, 4, 3, 3)], {}, ShapeError, "input of 2 channels in 1 groups needs weights"),
    ("MaxPool", 12, [X], {"kernel_shape": [9, 9]}, ShapeError, "window covers 9 elements"),
    ("Resize", 13, [X, None, array(4, low=1.0)], {"mode": "area"}, InputError,
     "'mode' is one of nearest, linear, cubic"),
    ("GridSample", 20, [X, array(1, 3, 3, 2)], {"padding_mode": "wrap"}, InputError, "'padding_mode' is one of zeros"),
    ("RNN", 14, [array(2, 1, 3), array(1, 4, 3), array(1, 4, 4)], {"activations": ["Foo"], "hidden_size": 4},
     InputError, "activation 'Foo' of a recurrent net is not known; known are: .*'scaledtanh'"),
    ("Attention", 23, [array(1, 2, 8), array(1, 2, 8), array(1, 2, 8)], {"kv_num_heads": 2}, InputError,
     "lacks its attribute 'q_num_heads'"),
    ("NegativeLogLikelihoodLoss", 13, [array(3, 2), np.array([0, 1, 0])], {"reduction": "max"}, InputError,
     "'reduction' is one of mean, sum, none"),
    ("BatchNormalization", 15, [X, *[array(3, low=0.1)] * 4], {}, ShapeError, "needs 2 elements"),
]


@pytest.mark.parametrize("name, opset, inputs, attributes, kind, message", REFUSED, ids=[r[0] for r in REFUSED])
def test_the_node_and_what_is_wrong_are_named(name, opset, inputs, attributes, kind, message):
    with pytest.raises(kind, match=message) as caught:
        load(model_of(name, inputs, opset, **attributes))(*fed(inputs))
    assert f"ONNX node {name} that makes 'y0'" in str(caught.value)


def test_images_that_cannot_be_decoded_are_empty():
    stream = np.frombuffer(b"no image at all", np.uint8)
    model = load(model_of("ImageDecoder", [stream], 20))
    assert model(stream).value.shape == (0, 0, 3)
