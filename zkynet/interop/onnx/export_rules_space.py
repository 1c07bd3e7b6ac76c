"""Rules of convolution, pooling and resizing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from ...framework.operators import pool_kernels, pool_operators
from ...framework.operators.resize import resize, taps
from .export_graph import Graph, Value
from .export_rules import by_nodes, in_dtype, rule
from .export_trace import Dim, Unsupported

# Convolution ------------------------------------------------------------------------------------------------


@rule("conv")
def _conv(graph: Graph, x: Value, weight: Value, *, stride: tuple, padding: tuple, dilation: tuple,
          groups: int) -> str:
    pads = [p for column in zip(*padding, strict=True) for p in column]
    return in_dtype(graph, "Conv", graph.out.dtype, x, weight, kernel_shape=_static(weight.shape[2:]), strides=stride,
                    pads=_static(pads), dilations=dilation, group=groups)


@rule("conv_transpose")
def _conv_transpose(graph: Graph, g: Value, weight: Value, *, size: tuple, stride: tuple, padding: tuple,
                    dilation: tuple, groups: int) -> str:
    kernel, befores = _static(weight.shape[2:]), [before for before, _ in padding]
    # What is cut off at the end; where that is negative, it is output that no element reaches.
    afters = [(n - 1) * s + d * (k - 1) + 1 - m - before for n, m, k, s, d, before in
              zip(_static(g.shape[2:]), _static(size), kernel, stride, dilation, befores, strict=True)]
    beyond = [max(-a, 0) for a in afters]
    usual = all(extra < s for extra, s in zip(beyond, stride, strict=True))
    name = in_dtype(graph, "ConvTranspose", graph.out.dtype, g, weight, kernel_shape=kernel, strides=stride,
                    pads=[*befores, *(max(a, 0) for a in afters)], dilations=dilation, group=groups,
                    output_padding=beyond if usual else [0] * len(beyond))
    if usual:
        return name
    return graph.add("Pad", name, np.array([0] * (len(beyond) + 4) + beyond, np.int64), np.zeros((), graph.out.dtype))


def _static(numbers: Any) -> list[int]:
    if any(isinstance(n, Dim) for n in numbers):
        raise Unsupported("its spatial shape depends on the batch size. Export with dynamic_batch=False")
    return [int(n) for n in numbers]


@rule("add_channels")
def _add_channels(graph: Graph, x: Value, bias: Value) -> Any:
    """The bias of the convolution before it, if there is one."""
    maker = graph.nodes[-1] if graph.nodes else None
    if (maker is not None and maker.op_type in ("Conv", "ConvTranspose") and list(maker.output) == [x]
            and len(maker.input) == 2 and x.dtype == bias.dtype and graph.is_only_reader(0)):
        maker.input.append(bias)
        return x
    return graph.expand(_plus_channels, x, bias)


def _plus_channels(x: Any, bias: Any) -> Any:
    return x + op.reshape(bias, shape=(-1, *(1,) * (x.ndim - 2)))


@by_nodes("sum_channels")
def _sum_channels(x: Any) -> Any:
    return op.sum(x, axis=tuple([a for a in range(x.ndim) if a != 1]))


# Pooling ----------------------------------------------------------------------------------------------------


def _reach(n: int, kernel: int, stride: int, before: int, dilation: int, count: int) -> int:
    """How far the last window goes beyond the end; negative where a rest is left."""
    return (count - 1) * stride + dilation * (kernel - 1) + 1 - n - before


def _pooled(graph: Graph, op_type: str, x: Value, how: dict[str, Any], outputs: int = 1, **more: Any) -> Any:
    space = _static(x.shape[2:])
    dilation = how.get("dilation", (1,) * len(space))
    afters = [max(0, _reach(*one)) for one in zip(space, how["kernel"], how["stride"], how["padding"], dilation,
                                                  how["size"], strict=True)]
    if any(a >= k for a, k in zip(afters, how["kernel"], strict=True)):
        raise Unsupported(f"its windows of {how['kernel']} elements, {dilation} apart, reach {afters} beyond the input")
    if max(dilation) > 1:
        more["dilations"] = dilation
    return graph.add(op_type, x, outputs=outputs, kernel_shape=how["kernel"], strides=how["stride"],
                     pads=[*how["padding"], *afters], **more)


def _computed_in(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind == "f" else np.dtype("float64" if dtype.itemsize > 2 else "float32")


@rule("max_pool")
def _max_pool(graph: Graph, x: Value, **how: Any) -> Any:
    inner = _computed_in(x.dtype)
    name = _pooled(graph, "MaxPool", graph.cast(x, inner), how)
    return name if inner == x.dtype else graph.cast(name, x.dtype)


@rule("max_pool_indices")
def _max_pool_indices(graph: Graph, x: Value, **how: Any) -> Any:
    """ONNX counts through the whole array, so what is left by the size of a plane is the place in that."""
    _, places = _pooled(graph, "MaxPool", graph.cast(x, _computed_in(x.dtype)), how, outputs=2)
    plane = math.prod(_static(x.shape[2:]))
    return graph.cast(graph.add("Mod", places, np.array(plane, np.int64)), graph.out.dtype)


@by_nodes("adaptive_max_pool_indices")
def _adaptive_max_pool_indices(x: Any, *, size: tuple) -> Any:
    """One axis after the other: the largest of each window's, and where that was."""
    space = x.shape[2:]
    places = op.broadcast_to(op.reshape(op.arange(math.prod(space)), shape=space), shape=x.shape)
    for axis in reversed(range(2, x.ndim)):
        table = pool_kernels.adaptive_table(space[axis - 2], size[axis - 2])
        values, candidates = op.take(x, table, axis), op.take(places, table, axis)
        best = op.argmax(values, axis=axis + 1, keepdims=True)
        x, places = (op.squeeze(op.take_along_axis(part, best, axis + 1), axis=axis + 1)
                     for part in (values, candidates))
    return places


@by_nodes("pick_in_plane")
def _pick_in_plane(x: Any, indices: Any) -> Any:
    flat = op.gather(op.flatten(x, 2), op.flatten(indices, 2), 2)
    return op.reshape(flat, shape=indices.shape)


@by_nodes("place_in_plane")
def _place_in_plane(x: Any, indices: Any, *, size: tuple) -> Any:
    planes, indices = op.full((*x.shape[:2], math.prod(size)), 0, x.dtype), op.broadcast_to(indices, shape=x.shape)
    batch, channels = (op.reshape(op.arange(n), shape=shape) for n, shape in zip(x.shape, ((-1, 1, 1), (-1, 1)),
                                                                                 strict=False))
    flat = op.set_at(planes, (batch, channels, op.flatten(indices, 2)), op.flatten(x, 2))
    return op.reshape(flat, shape=(*x.shape[:2], *size))


@rule("avg_pool")
def _avg_pool(graph: Graph, x: Value, *, include_pad: bool, divisor: int | None, **how: Any) -> Any:
    dtype, space = graph.out.dtype, _static(x.shape[2:])
    given = graph.cast(x, dtype)
    beyond = [_reach(*one) for one in zip(space, how["kernel"], how["stride"], how["padding"], (1,) * len(space),
                                          how["size"], strict=True)]
    # ONNX divides by all of the window or by its part in the input; only padding that was asked for counts here.
    plain = divisor is None and (not include_pad or all(
        a <= before for a, before in zip(beyond, how["padding"], strict=True)))
    name = _pooled(graph, "AveragePool", given, how, count_include_pad=int(include_pad or divisor is not None))
    if plain:
        return name
    windows = pool_operators.windows_of(how["kernel"], how["stride"], how["padding"], (1,) * len(space), how["size"])
    by = np.asarray(divisor or pool_kernels.divisors(space, windows, include_pad), np.float64)
    by = by[..., 0] if by.ndim else by  # without an axis for channels
    return graph.add("Mul", name, (math.prod(how["kernel"]) / by).astype(dtype))


@by_nodes("adaptive_avg_pool")
def _adaptive_avg_pool(x: Any, *, size: tuple) -> Any:
    space = x.shape[2:]
    if all(n % m == 0 for n, m in zip(space, size, strict=True)):
        kernel = tuple([n // m for n, m in zip(space, size, strict=True)])
        return pool_operators.avg_pool(x, kernel=kernel, stride=kernel, padding=(0,) * len(size), size=size)
    y = x * 1.0
    for axis, (n, m) in enumerate(zip(space, size, strict=True), 2):
        y = _times(y, axis, pool_kernels.adaptive_matrix(n, m))
    return y


def _times(x: Any, axis: int, matrix: np.ndarray) -> Any:
    product = op.tensordot(x, matrix.astype(x.dtype), axes=((axis,), (0,)))
    return op.moveaxis(product, source=-1, destination=axis)


# Resizing ---------------------------------------------------------------------------------------------------

_MODES = {"nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
          "linear": {"mode": "linear"}, "cubic": {"mode": "cubic", "cubic_coeff_a": -0.75}}


@rule("resize")
def _resize(graph: Graph, x: Value, *, size: tuple, mode: str, align_corners: bool, scale: Any) -> Any:
    """One node for planes of floats; anything else as weighted sums of rows."""
    plain = scale is None and len(size) == 2 and x.dtype == np.float32 and mode in _MODES
    if not plain:
        return graph.expand(_resized, x, size=size, mode=mode, align_corners=align_corners, scale=scale)
    how = dict(_MODES[mode])
    how.setdefault("coordinate_transformation_mode", "align_corners" if align_corners else "half_pixel")
    return graph.add("Resize", x, "", "", graph.dims((*x.shape[:2], *size)), **how)


def _resized(x: Any, *, size: tuple, mode: str, align_corners: bool, scale: Any) -> Any:
    dtype = resize(x, size=size, mode=mode, align_corners=align_corners, scale=scale).dtype
    y = x if mode.startswith("nearest") else op.cast(x, dtype)
    for axis, n, m, step in zip(range(2, x.ndim), x.shape[2:], size, scale or (None,) * len(size), strict=True):
        kind = np.float64 if y.dtype == np.float64 and not mode.startswith("nearest") else np.float32
        positions, weights = taps(n, m, mode, align_corners, step, kind)
        total: Any = None
        for place, weight in zip(positions, weights, strict=True):
            part = op.take(y, place, axis)
            if (weight != 1.0).any():
                part = part * weight.reshape(-1, *(1,) * (x.ndim - axis - 1)).astype(y.dtype)
            total = part if total is None else total + part
        y = total
    return y


