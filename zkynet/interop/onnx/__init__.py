"""ONNX in and out: `export` writes a Module as a model, `load` makes a trainable Module of one.

>>> from zkynet import nn
>>> from zkynet.interop import onnx
>>> import numpy as np
>>> model = onnx.export(nn.Linear(3, 2), np.zeros((1, 3), np.float32))
>>> [node.op_type for node in model.graph.node]
['Gemm']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .export_trace import ExportError


def export(module: Any, *example_inputs: Any, path: Any = None, opset: int | None = None,
           dynamic_batch: bool | Mapping[str, int] = True, input_names: Sequence[str] | None = None,
           output_names: Sequence[str] | None = None) -> Any:
    """A Module in evaluation mode as an ONNX model, checked and with inferred shapes.

    Parameters and states become initializers under their names in the module ("layer1.0.conv1.weight"), nodes are named
    by the path of the module that made them. An operator that ONNX does not have is written as several that it has, or
    by the rule that the operator declares (`Operator.onnx`).

    Args:
        module: a Module, or any function of nodes.
        *example_inputs: arrays, or tuples and dicts of arrays; their shapes and dtypes are those of the model. As
            everywhere, int64 and float64 become int32 and float32 outside of `zkynet.precision("float64")`.
        path: where to write the model too, as a whole or not at all.
        opset: version of the ONNX operators, at least 18; the newest that the installed onnxruntime runs by default.
        dynamic_batch: True: axis 0 of the first input, and of all inputs that are as long, may have any length. A dict
            from input name to axis: those axes instead, which share one length. False: all shapes are those of the
            example.
        input_names, output_names: left out, inputs are named as in `call`, outputs "output" or "output_0" ...

    Returns:
        onnx.ModelProto.

    Raises:
        ExportError: when operators cannot be exported: all of them at once, each with its module and source line; and
            where a shape depends on the batch in a way that ONNX cannot express.
        InputError: when the arguments do not fit.

    Positions out of range, which read nan in zkynet, are errors when the model runs.

    >>> from zkynet.framework import op
    >>> from zkynet.interop import onnx
    >>> import numpy as np
    >>> model = onnx.export(lambda x: op.tanh(x) * 2.0, np.zeros((4, 3), np.float32), input_names=["x"])
    >>> model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    'batch'
    """
    from .exporter import export as write

    return write(module, example_inputs, path, opset, dynamic_batch, input_names, output_names)


def load(path_or_model: Any, trainable: bool = True) -> Any:
    """A trainable Module of an ONNX model (a path, bytes or a ModelProto); see `importer.load`."""
    from .importer import load as read

    return read(path_or_model, trainable)


__all__ = ["ExportError", "export", "load"]
