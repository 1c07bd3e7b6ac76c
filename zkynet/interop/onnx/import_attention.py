"""Import rules of attention, rotary positions and linear attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...framework import op
from ...framework.errors import InputError
from .import_nn import choice
from .import_registry import dtype_of, importer

# Scaled dot products ----------------------------------------------------------------------------------------


def _heads(x: Any, count: int) -> Any:
    """(batch, steps, heads * size) to (batch, heads, steps, size)."""
    batch, steps, width = x.shape
    return op.transpose(op.reshape(x, shape=(batch, steps, count, width // count)), axes=(0, 2, 1, 3))


def _merged(x: Any) -> Any:
    """(batch, heads, steps, size) to (batch, steps, heads * size)."""
    batch, _, steps, _ = x.shape
    return op.reshape(op.transpose(x, axes=(0, 2, 1, 3)), shape=(batch, steps, -1))


def _shared(x: Any, heads: int) -> Any:
    """Keys or values with each head repeated for the group of query heads that share it."""
    return x if x.shape[1] == heads else op.repeat(x, heads // x.shape[1], axis=1)


def _scores(q: Any, k: Any, scale: float | None) -> Any:
    root = math.sqrt(1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
    return op.matmul(q * root, op.swapaxes(k * root, axis1=2, axis2=3))


def _both(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a & b if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else op.logical_and(a, b)


def _window(ctx: Any, steps: int, total: int, offset: Any) -> Any:
    """Which keys each query may see for its place: those before it, and those in its window. None for all."""
    left, right = ctx.attr("left_window_size", -1), ctx.attr("right_window_size", -1)
    if ctx.attr("is_causal", 0):
        right = 0 if right < 0 else min(right, 0)
    if left < 0 and right < 0:
        return None
    ahead = np.arange(total)[None, :] - np.arange(steps)[:, None]
    if not isinstance(offset, int):  # one for each example
        ahead = op.subtract(ahead, op.reshape(offset, shape=(-1, 1, 1, 1)))
    else:
        ahead = ahead - offset
    seen = None
    if right >= 0:
        seen = ahead <= right
    return seen if left < 0 else _both(seen, ahead >= -left)


def _masks(ctx: Any, q: Any, mask: Any, past: int, total: int, lengths: Any) -> tuple[Any, Any]:
    """Which keys may be seen (None for all), and what is added to the scores (None for nothing)."""
    steps = q.shape[2]
    offset: Any = past
    if lengths is not None and past == 0:
        offset = op.subtract(lengths, steps)
    allowed = _window(ctx, steps, total, offset)
    if lengths is not None:
        inside = op.less(np.arange(total), op.reshape(lengths, shape=(-1, 1, 1, 1)))
        allowed = _both(allowed, inside)
    if mask is None:
        return allowed, None
    boolean = mask.dtype == np.dtype(bool)
    short = total - mask.shape[-1]
    if short > 0:
        mask = op.pad(mask, {mask.ndim - 1: (0, short)}, value=False if boolean else -math.inf)
    if boolean:
        return _both(allowed, mask), None
    return allowed, mask


def _probabilities(scores: Any, allowed: Any, bias: Any) -> Any:
    """softmax over the keys that may be seen; zeros for a query that may see none."""
    if allowed is None and bias is None:
        return op.softmax(scores)
    seen = allowed if bias is None else _both(allowed, op.greater(bias, -math.inf))
    if isinstance(seen, np.ndarray) and seen.any(-1).all():
        return op.softmax(scores)
    live = op.any(seen, axis=-1, keepdims=True)
    zero = np.zeros((), scores.dtype)
    return op.where(live, op.softmax(op.where(live, scores, zero)), zero)


@importer("Attention")
def _(ctx, q, k, v, mask=None, past_key=None, past_value=None, lengths=None):
    flat = q.ndim == 3
    if flat:
        count = ctx.attr("kv_num_heads")
        q, k, v = _heads(q, ctx.attr("q_num_heads")), _heads(k, count), _heads(v, count)
    if (past_key is None) != (past_value is None):
        raise InputError("past keys and past values come together, but only one of them was given.")
    past = 0 if past_key is None else past_key.shape[2]
    if past_key is not None:
        k, v = op.concat(past_key, k, axis=2), op.concat(past_value, v, axis=2)
    present, heads = (k, v), q.shape[1]
    stages = [_scores(q, _shared(k, heads), ctx.attr("scale", None))]
    softcap = ctx.attr("softcap", 0.0)
    stages.append(op.tanh(stages[0] / softcap) * softcap if softcap else stages[0])
    allowed, bias = _masks(ctx, q, mask, past, k.shape[2], lengths)
    scores = stages[1] if bias is None else stages[1] + bias
    if allowed is not None:
        scores = op.where(allowed, scores, np.full((), -np.inf, scores.dtype))
    stages.append(scores)
    precision = ctx.attr("softmax_precision", None)
    if precision:
        scores = op.cast(scores, dtype=dtype_of(precision))
    stages.append(op.cast(_probabilities(scores, allowed, bias), dtype=q.dtype))
    y = op.matmul(stages[3], _shared(v, heads))
    return _merged(y) if flat else y, *present, stages[ctx.attr("qk_matmul_output_mode", 0)]


@importer("FlexAttention", domain="ai.onnx.preview", fold=False)
def _(ctx, q, k, v):
    heads, precision = q.shape[1], ctx.attr("softmax_precision", None)
    wide = dtype_of(precision) if precision else np.promote_types(q.dtype, np.float32) if q.dtype.kind == "f" \
        else np.dtype("float32")
    scores = op.cast(_scores(q, _shared(k, heads), ctx.attr("scale", None)), dtype=wide)
    if "score_mod" in ctx.attributes:
        (scores,) = ctx.graph("score_mod")(scores)
    probabilities = op.softmax(scores)
    if "prob_mod" in ctx.attributes:
        (probabilities,) = ctx.graph("prob_mod")(probabilities)
    return op.matmul(op.cast(probabilities, dtype=q.dtype), _shared(v, heads))


# Positions --------------------------------------------------------------------------------------------------


@importer("RotaryEmbedding")
def _(ctx, x, cos, sin, positions=None):
    """Su et al., "RoFormer", 2021: pairs of elements are turned by angles that grow with the position."""
    flat = x.ndim == 3
    turned = _heads(x, ctx.attr("num_heads")) if flat else x
    width = ctx.attr("rotary_embedding_dim", 0) or turned.shape[-1]
    if positions is not None:
        cos, sin = op.take(cos, positions, axis=0), op.take(sin, positions, axis=0)
    cos, sin = (op.expand_dims(table, axis=1) for table in (cos, sin))  # the same for all heads
    rest, turned = turned[..., width:], turned[..., :width]
    if ctx.attr("interleaved", 0):
        a, b = turned[..., 0::2], turned[..., 1::2]
        y = op.reshape(op.stack(cos * a - sin * b, sin * a + cos * b, axis=-1), shape=turned.shape)
    else:
        a, b = turned[..., :width // 2], turned[..., width // 2:]
        y = op.concat(cos * a - sin * b, sin * a + cos * b, axis=-1)
    if rest.shape[-1]:
        y = op.concat(y, rest, axis=-1)
    return _merged(y) if flat else y


# Linear attention -------------------------------------------------------------------------------------------


def _steps(x: Any, heads: int) -> Any:
    """(batch, steps, heads * size) to (steps, batch, heads, size), in float32 at least."""
    batch, steps, width = x.shape
    wide = x if x.dtype.itemsize > 2 else op.cast(x, dtype=np.dtype("float32"))
    return op.transpose(op.reshape(wide, shape=(batch, steps, heads, width // heads)), axes=(1, 0, 2, 3))


@importer("LinearAttention")
def _(ctx: Any, query: Any, key: Any, value: Any, past: Any = None, decay: Any = None, beta: Any = None) -> tuple:
    """A matrix that each step decays and writes to, S = e^g S + k v^T, read by the query; with the delta rule what
    is written is the difference to what the key reads (Yang et al., "Gated delta networks", 2024)."""
    heads, q_heads, rule = ctx.attr("kv_num_heads"), ctx.attr("q_num_heads"), choice(
        ctx, "update_rule", "gated_delta", "linear", "gated", "delta")
    batch, size, width = query.shape[0], query.shape[-1] // q_heads, value.shape[-1] // heads
    q, k, v = _steps(query, q_heads), _steps(key, heads), _steps(value, heads)
    g = _steps(decay, heads) if "gated" in rule else None
    b = _steps(beta, beta.shape[-1]) if "delta" in rule else None
    q = op.reshape(q, shape=(*q.shape[:2], heads, q_heads // heads, size)) \
        * (ctx.attr("scale", 0.0) or 1.0 / math.sqrt(size))
    state = op.zeros((batch, heads, size, width), q.dtype) if past is None else op.cast(past, dtype=q.dtype)

    def step(state: Any, xs: Any) -> tuple:
        q, k, v, g, b = xs
        if g is not None:
            state = state * op.expand_dims(op.exp(g), axis=-1)
        if b is not None:
            v = b * (v - op.squeeze(op.matmul(op.expand_dims(k, axis=2), state), axis=2))
        state = state + op.expand_dims(k, axis=-1) * op.expand_dims(v, axis=-2)
        return state, op.matmul(q, state)

    last, read = op.scan(step, state, (q, k, v, g, b))
    y = op.reshape(op.transpose(read, axes=(1, 0, 2, 3, 4)), shape=(batch, query.shape[1], q_heads * width))
    return op.cast(y, dtype=query.dtype), op.cast(last, dtype=query.dtype if past is None else past.dtype)
