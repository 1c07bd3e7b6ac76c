"""Attention: scaled dot products, many heads, and the cache with which a net generates one token after another."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..framework import cg, op
from ..framework.errors import InputError, ShapeError
from ..framework.nodes import Node
from ..framework.operators.arguments import node_of
from ..framework.operators.einsum import contracted
from .dropout import Dropping
from .linear import Linear
from .positions import RotaryPositions

Cache = dict[str, Any]


def is_set(given: Any, name: str) -> bool:
    """A flag that was given to a call, where Python's values become nodes; None, with which PyTorch says nothing, is
    False."""
    if given is None:
        return False
    value = given._value if isinstance(given, Node) else given
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} decides what is computed, so it must be True or False, but got {value!r}.")
    return bool(value)


def masked_softmax(scores: Any, *masks: Any) -> Any:
    """Softmax along the last axis. Boolean masks are True where attention is allowed, others are added.

    A row in which booleans allow nothing is uniform, not nan; one in which numbers take away the rest is nan.
    """
    allowed, added = None, False
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype != bool:
            scores, added = scores + mask, True
        else:
            allowed = mask if allowed is None else op.logical_and(allowed, mask)
    if allowed is not None:
        forbidden: Any = float(jnp.finfo(scores.dtype).min)
        if added:  # an added -inf is less than that, and what is forbidden must stay below it
            forbidden = op.where(op.any(allowed, axis=-1, keepdims=True), -math.inf, forbidden)
        scores = op.where(allowed, scores, forbidden)
    return op.softmax(scores, axis=-1)


def causal_mask(queries: int, keys: int) -> Any:
    """(queries, keys): whether the key is not later than the query; made inside the program."""
    return op.tril(op.ones((queries, keys), dtype="bool"))


def checked_mask(mask: Any, name: str) -> Any:
    if mask is not None and not (mask.dtype == bool or mask.aval.inexact):
        raise InputError(f"{name} needs booleans or floats that are added to the scores, but got {mask.aval!r}.")
    return mask


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
                                 dropout_key: Any = None) -> Any:
    """y = softmax(query key^T scale + mask) value (torch.nn.functional.scaled_dot_product_attention).

    Vaswani et al., "Attention is all you need", 2017.

    Args:
        query: (..., L, E); key: (..., S, E); value: (..., S, V).
        attn_mask: broadcastable to (..., L, S); booleans, True where attention is allowed, or floats that are added.
        dropout_p: probability of zero among the weights; then `dropout_key` is a random key.
        is_causal: whether query i attends to keys 0 ... i only.
        scale: 1 / sqrt(E) by default.
        enable_gqa: whether several heads (axis -3) of the query share one of key and value, in order (Ainslie et al.,
            "GQA: training generalized multi-query transformer models", 2023).

    Returns:
        (..., L, V). A query for which no key is allowed by booleans gets the mean of all values; one for which -inf is
        added to all that are allowed gets nan.

    Raises:
        ShapeError: when they do not fit.
        InputError: for a mask of integers, and for dropout without a key.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]], np.float32)
    >>> nn.scaled_dot_product_attention(x * 0, x, x, is_causal=True).value.tolist()
    [[1.0], [2.0]]
    """
    name = "scaled_dot_product_attention"
    query, key, value = (node_of(x, name) for x in (query, key, value))
    mask = None if attn_mask is None else checked_mask(node_of(attn_mask, name), "attn_mask")
    causal = causal_mask(query.shape[-2], key.shape[-2]) if is_causal else None
    if enable_gqa:
        key, value = (_for_all_heads(x, query) for x in (key, value))
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ op.swapaxes(key, axis1=-1, axis2=-2)
    weights = masked_softmax(scores, mask, causal)
    if dropout_p:
        if dropout_key is None:
            raise InputError(f"{name}: dropout_p={dropout_p} needs a random key as dropout_key (op.random_key, or "
                             "drawn from a RandomStream).")
        weights = op.dropout(weights, dropout_key, p=dropout_p)
    return weights @ value


def _for_all_heads(x: Any, query: Any) -> Any:
    """Keys or values with each head repeated for the heads of the query that share it."""
    shapes = query.shape, x.shape
    if min(map(len, shapes)) < 3 or not x.shape[-3] or query.shape[-3] % x.shape[-3]:
        raise ShapeError("scaled_dot_product_attention: with enable_gqa the heads (axis -3) of the query must be a "
                         f"multiple of those of key and value, but got the shapes {shapes[0]} and {shapes[1]}.")
    return op.repeat(x, query.shape[-3] // x.shape[-3], axis=-3)


class MultiheadAttention(Dropping):
    """Attention with several heads (torch.nn.MultiheadAttention):

        head_h = softmax(q_h k_h^T / sqrt(E / H)) v_h,    y = concat(head_1 ... head_H) out_proj

    with q, k, v the projections of query, key and value, cut into H parts. Vaswani et al., "Attention is all you need",
    2017.

    Args:
        embed_dim: E, size of query and output.
        num_heads: H; divides E.
        dropout: probability of zero among the weights, in training mode.
        bias: whether projections have biases.
        add_bias_kv: whether a learned key and value, the same for all sequences, follow the others.
        add_zero_attn: whether a key and a value of zeros follow the others. Masks do not hide these two.
        kdim, vdim: sizes of key and value; E by default.
        batch_first: whether inputs are (batch, length, size) instead of (length, batch, size).
        rotary: `RotaryPositions(E / H)` that turn queries and keys.

    Called as in PyTorch with query (L, N, E), key (S, N, kdim) and value (S, N, vdim), all with or all without the
    batch axis N; key and value are the query by default. Further:

    - key_padding_mask (N, S): booleans, True for keys to ignore, or floats that are added;
    - attn_mask (L, S) or (N H, L, S): booleans, True where attention is not allowed, or floats that are added;
    - is_causal: query i attends to keys 0 ... i only; no attn_mask is needed;
    - need_weights: whether the weights are returned, their mean over the heads unless average_attn_weights=False;
    - cache: see `new_cache`.

    Returns:
        output (L, N, E), and weights (N, L, S), or (N, H, L, S) when not averaged, or None without need_weights; with a
        cache also the next cache. S counts what add_bias_kv and add_zero_attn add. A query for which no key is allowed
        by booleans attends to all alike; where -inf is added to all that are allowed, its weights are nan.

    Parameters: in_proj_weight (3 E, E), or where kdim or vdim differ q_proj_weight (E, E), k_proj_weight (E, kdim) and
    v_proj_weight (E, vdim); in_proj_bias (3 E,); bias_k and bias_v (1, 1, E) with add_bias_kv; out_proj.weight (E, E)
    and out_proj.bias (E,).

    Raises:
        InputError: when a size is no int or less than 1, num_heads does not divide embed_dim, or dropout is no
            probability; and for masks of integers.
        ShapeError: when inputs, masks or cache do not fit.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> output, weights = nn.MultiheadAttention(8, 2, batch_first=True)(np.ones((3, 5, 8), np.float32), is_causal=True)
    >>> output.shape, weights.shape, weights.value[0, 1].round(3).tolist()
    ((3, 5, 8), (3, 5, 5), [0.5, 0.5, 0.0, 0.0, 0.0])
    """

    in_proj_weight: cg.Parameter | None = None
    q_proj_weight: cg.Parameter
    k_proj_weight: cg.Parameter
    v_proj_weight: cg.Parameter
    in_proj_bias: cg.Parameter | None = None
    bias_k: cg.Parameter | None = None
    bias_v: cg.Parameter | None = None

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, *, rotary: RotaryPositions | None = None):
        super().__init__()
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.check_sizes(1, embed_dim=embed_dim, num_heads=num_heads, kdim=self.kdim, vdim=self.vdim)
        if embed_dim % num_heads:
            raise InputError(f"{self.functional_name} cuts embed_dim into equal heads, but num_heads={num_heads} does "
                             f"not divide embed_dim={embed_dim}.")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.add_zero_attn, self.batch_first, self.rotary = add_zero_attn, batch_first, rotary
        if rotary is not None and rotary.dim != self.head_dim:
            raise InputError(f"{self.functional_name} turns queries and keys of {self.head_dim} = embed_dim / "
                             f"num_heads dimensions, but rotary is {rotary!r}.")
        if self.kdim == self.vdim == embed_dim:
            self.make("in_proj_weight", (3 * embed_dim, embed_dim), "xavier_uniform")
        else:
            for name, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
                self.make(f"{name}_proj_weight", (embed_dim, size), "xavier_uniform")
        if bias:
            self.make("in_proj_bias", (3 * embed_dim,), "zeros")
        if add_bias_kv:
            for name in ("bias_k", "bias_v"):
                self.make(name, (1, 1, embed_dim), "xavier_normal")
        self.out_proj = Linear(embed_dim, embed_dim, bias, bias_init="zeros")
        self.dropout = dropout  # draws a seed, after the weights

    # Calling -------------------------------------------------------------------------------------------

    def call(self, query: Any, key: Any = None, value: Any = None, key_padding_mask: Any = None,
             need_weights: Any = True, attn_mask: Any = None, average_attn_weights: Any = True, is_causal: Any = False,
             cache: Cache | None = None) -> Any:
        key = query if key is None else key
        value = key if value is None else value
        self._check(query, key, value)
        batched = query.ndim == 3
        time = 0 if batched and not self.batch_first else 1
        q, k, v = self._heads(query, key, value)
        offset = None if cache is None else cache["position"]
        if self.rotary is not None:
            q, k = self.rotary.turned(q, time, offset), self.rotary.turned(k, time, offset)
        masks = []
        if cache is not None:
            k, v, cache, seen = self._remember(k, v, cache, time)
            masks.append(seen)
        elif is_set(is_causal, "is_causal"):
            masks.append(causal_mask(q.shape[time], k.shape[time]))
        masks += self._masks(q.shape, k.shape[time], key_padding_mask, attn_mask, batched, time)
        output, weights = self._attend(q, *self._with_further_keys(k, v, masks, time), time)
        if cache is not None:
            output = op.where(op.less_equal(cache["position"], k.shape[time]), output, math.nan)
        output = output if batched else op.squeeze(output, axis=0)
        if is_set(need_weights, "need_weights"):
            weights = op.mean(weights, axis=1) if is_set(average_attn_weights, "average_attn_weights") else weights
            weights = weights if batched else op.squeeze(weights, axis=0)
        else:
            weights = None
        return (output, weights) if cache is None else (output, weights, cache)

    def _check(self, query: Any, key: Any, value: Any) -> None:
        shapes = tuple(query.shape), tuple(key.shape), tuple(value.shape)
        batch = 0 if self.batch_first else 1
        fits = all([len(shape) == len(shapes[0]) and shape[-1] == size
                    for shape, size in zip(shapes, (self.embed_dim, self.kdim, self.vdim), strict=True)])
        if fits and len(shapes[0]) == 3:
            fits = shapes[1][:2] == shapes[2][:2] and shapes[0][batch] == shapes[1][batch]
        if not fits or len(shapes[0]) not in (2, 3) or shapes[1][:-1] != shapes[2][:-1]:
            query, keys = ("N, L", "N, S") if self.batch_first else ("L, N", "S, N")
            raise ShapeError(f"{self.functional_name} needs query, key and value of the shapes ({query}, "
                             f"{self.embed_dim}), ({keys}, {self.kdim}), ({keys}, {self.vdim}), or all without N, but "
                             f"got {shapes}.")

    def _heads(self, query: Any, key: Any, value: Any) -> list[Any]:
        """The projections with the heads on an axis of their own; what is projected alike is one product."""
        if self.in_proj_weight is None:
            weights, counts = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight], [1, 1, 1]
            inputs = [query, key, value]
        else:
            inputs, counts = ([query], [3]) if query is key is value else ([query, key], [1, 2]) if key is value \
                else ([query, key, value], [1, 1, 1])
            weights = _parts(self.in_proj_weight, counts, self.embed_dim)
        biases: list[Any] = [None] * len(counts)
        if self.in_proj_bias is not None:
            biases = _parts(self.in_proj_bias, counts, self.embed_dim)
        found = []
        for input, count, weight, bias in zip(inputs, counts, weights, biases, strict=True):
            projected = op.linear(input, weight, bias)
            found += op.split(projected, count, axis=-1) if count > 1 else [projected]
        heads = self.num_heads, self.head_dim
        return [op.reshape(x, shape=(*x.shape[:-1], *heads) if x.ndim == 3 else (1, x.shape[0], *heads)) for x in found]

    def _masks(self, shape: tuple[int, ...], keys: int, key_padding_mask: Any, attn_mask: Any, batched: bool,
               time: int) -> list[Any]:
        """The masks of the call, broadcastable to (N, H, L, S); booleans True where attention is allowed."""
        batch, length = shape[1 - time], shape[time]
        own = (length, keys), (batch * self.num_heads, length, keys)
        padding = ((batch, keys),) if batched else ((keys,),)
        masks = []
        for mask, name, wanted, placed in (
                (attn_mask, "attn_mask", own, (-1, self.num_heads, length, keys)),
                (key_padding_mask, "key_padding_mask", padding, (batch, 1, 1, keys))):
            if checked_mask(mask, name) is None:
                continue
            if mask.shape not in wanted:
                raise ShapeError(f"{self.functional_name} needs {name} of the shape "
                                 f"{' or '.join(map(str, wanted))}, but got {mask.aval!r}.")
            if mask.shape != own[0] or wanted is padding:
                mask = op.reshape(mask, shape=placed)
            masks.append(op.logical_not(mask) if mask.dtype == bool else mask)
        return masks

    def _with_further_keys(self, k: Any, v: Any, masks: list[Any], time: int) -> tuple[Any, Any, list[Any]]:
        """Keys, values and masks with what add_bias_kv and add_zero_attn put behind them."""
        count = (self.bias_k is not None) + bool(self.add_zero_attn)
        if not count:
            return k, v, masks
        k, v = self._lengthened(k, self.bias_k, time), self._lengthened(v, self.bias_v, time)
        return k, v, [op.pad(mask, {-1: (0, count)}, value=1 if mask.dtype == bool else 0) for mask in masks]

    def _lengthened(self, x: Any, bias: cg.Parameter | None, time: int) -> Any:
        shape, parts = (*x.shape[:time], 1, *x.shape[time + 1:]), [x]
        if bias is not None:
            parts.append(op.broadcast_to(op.reshape(bias, shape=(1, 1, *shape[2:])), shape=shape))
        if self.add_zero_attn:
            parts.append(op.zeros(shape, dtype=x.dtype))
        return op.concat(*parts, axis=time)

    def _attend(self, q: Any, k: Any, v: Any, masks: list[Any], time: int) -> tuple[Any, Any]:
        """The output, and the weights (N, H, L, S)."""
        queries, keys = ("nlhd", "nshd") if time else ("lnhd", "snhd")
        scores = contracted(q * self.head_dim**-0.5, k, subscripts=f"{queries},{keys}->nhls")
        weights = self.dropped(masked_softmax(scores, *masks))
        heads = contracted(weights, v, subscripts=f"nhls,{keys}->{queries}")
        return self.out_proj(op.reshape(heads, shape=(*heads.shape[:2], self.embed_dim))), weights

    # Generating ----------------------------------------------------------------------------------------

    def new_cache(self, batch_size: int, length: int, dtype: Any = np.float32) -> Cache:
        """An empty cache of the keys and values of up to `length` positions, for self-attention.

        Called with it, the layer takes the queries to stand right after what the cache holds: each attends to all of
        that and to those among the queries that are not later. It returns the next cache besides, of the same shapes.
        So one program made by `zkynet.compile` serves all tokens, and a cache may be the carry of `op.scan`. (Outside
        of both, where nothing is computed before it is asked for, go on with the values of the cache.) Where the cache
        has no place left for the queries, the output is nan.

        >>> import zkynet
        >>> from zkynet import nn
        >>> import numpy as np
        >>> layer = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> step = zkynet.compile(lambda x, cache: layer(x, cache=cache, need_weights=False)[::2])
        >>> output, cache = step(np.ones((1, 1, 8), np.float32), layer.new_cache(batch_size=1, length=4))
        >>> output, cache = step(np.ones((1, 1, 8), np.float32), cache)
        >>> int(cache["position"]), cache["key"].shape
        (2, (1, 4, 2, 4))
        """
        if self.rotary is not None and length > self.rotary.max_length:
            raise ShapeError(f"{self.functional_name}: a cache of {length} positions is longer than {self.rotary!r}.")
        sizes = (batch_size, length) if self.batch_first else (length, batch_size)
        empty = np.zeros((*sizes, self.num_heads, self.head_dim), dtype)
        return {"key": empty, "value": empty.copy(), "position": np.int32(0)}

    def _remember(self, k: Any, v: Any, cache: Cache, time: int) -> tuple[Any, Any, Cache, Any]:
        """All keys and values, the next cache, and (L, S) which of them a query may attend to."""
        shape, held = k.shape, cache["key"].shape
        if shape[1 - time] != held[1 - time] or shape[2:] != held[2:] or shape[time] > held[time]:
            raise ShapeError(f"{self.functional_name}: keys of shape {shape} do not fit into a cache of shape {held}; "
                             "see new_cache.")
        position = cache["position"]
        starts = [position if axis == time else 0 for axis in range(4)]
        keys, values = (op.dynamic_update_slice(cache[name], new, starts) for name, new in (("key", k), ("value", v)))
        places = op.expand_dims(position + op.arange(0, shape[time]), axis=1)
        seen = op.less_equal(op.arange(0, held[time]), places)
        return keys, values, {"key": keys, "value": values, "position": position + np.int32(shape[time])}, seen

    def extra(self) -> str:
        more = "".join(f", {name}={value}" for name, value, usual in (
            ("dropout", self.dropout, 0.0), ("bias", self.in_proj_bias is not None, True),
            ("add_bias_kv", self.bias_k is not None, False), ("add_zero_attn", self.add_zero_attn, False),
            ("kdim", self.kdim, self.embed_dim), ("vdim", self.vdim, self.embed_dim),
            ("batch_first", self.batch_first, False)) if value != usual)
        return f"{self.embed_dim}, {self.num_heads}{more}"


def _parts(stacked: Any, counts: list[int], size: int) -> list[Any]:
    """The rows of a parameter, `count * size` for each count."""
    return [stacked] if len(counts) == 1 else list(op.split(stacked, [count * size for count in counts], axis=0))


MultiHeadAttention = MultiheadAttention
