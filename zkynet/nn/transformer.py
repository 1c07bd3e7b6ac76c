"""Transformer layers: attention and a small net for each position, with what is around them added and normalised."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..framework import cg, op
from ..framework.random_stream import RandomStream
from .attention import Cache, MultiheadAttention
from .dropout import Dropout
from .given import Activation, activation_of
from .init import fresh_seed
from .layer import Layer
from .linear import Linear
from .normalization import LayerNorm
from .positions import RotaryPositions


class _Block(Layer):
    """Branches that are added to what they start from, normalised before (norm_first) or after the sum.

    Layers call one another with all inputs by position: then nothing needs to be looked up.
    """

    self_attn: MultiheadAttention
    norm_first: bool

    def _make(self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Activation,
              layer_norm_eps: float, batch_first: bool, norm_first: bool, bias: bool, rotary: RotaryPositions | None,
              cross: bool) -> None:
        """The parts in the order that PyTorch has them in."""
        self.norm_first = norm_first
        self.activation = activation_of(activation, self.functional_name)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rotary=rotary)
        if cross:
            self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        for number in range(1, 4 if cross else 3):
            setattr(self, f"norm{number}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias))
            setattr(self, f"dropout{number}", Dropout(dropout))

    def _with(self, x: Any, number: int, branch: Callable[[Any], Any]) -> Any:
        """x with one branch added."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return op.add(x, dropout(branch(norm(x))))
        return norm(op.add(x, dropout(branch(x))))

    def _feed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def extra(self) -> str:
        attention = self.self_attn
        return (f"{attention.embed_dim}, {attention.num_heads}, dim_feedforward={self.linear1.out_features}"
                + (", norm_first=True" if self.norm_first else ""))


class TransformerEncoderLayer(_Block):
    """Self-attention, then a net of two layers for each position (torch.nn.TransformerEncoderLayer):

        x = norm1(x + self_attn(x)),    y = norm2(x + linear2(activation(linear1(x))))

    or, with norm_first, x = x + self_attn(norm1(x)), y = x + linear2(activation(linear1(norm2(x)))). Vaswani et al.,
    "Attention is all you need", 2017. With is_causal it is the layer of a GPT.

    Args:
        d_model: size of input and output.
        nhead: number of heads.
        dim_feedforward: width between linear1 and linear2.
        dropout: probability of zero in the branches and among the weights of attention, in training mode.
        activation: a name in `nn.given.ACTIVATIONS` ("relu", "gelu", ...), a function of a node, or a Module.
        layer_norm_eps: added to variances.
        batch_first: whether input and output are (batch, length, d_model) instead of (length, batch, d_model).
        norm_first: whether branches are normalised before instead of after; training then needs no warm-up.
        bias: whether linear layers and norms have biases.
        rotary: `RotaryPositions(d_model / nhead)`, for self-attention.

    Called with the input; src_mask, src_key_padding_mask and is_causal as `MultiheadAttention`'s attn_mask,
    key_padding_mask and is_causal; and cache, from `new_cache`: then it returns (output, next cache).

    Raises:
        InputError, ShapeError: as `MultiheadAttention`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.TransformerEncoderLayer(8, 2, 16)(np.ones((5, 3, 8), np.float32), is_causal=True).shape
    (5, 3, 8)
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Activation = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, *, rotary: RotaryPositions | None = None):
        super().__init__()
        self._make(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   rotary, cross=False)

    def call(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = False,
             cache: Cache | None = None) -> Any:
        following: list[Any] = []

        def attend(x: Any) -> Any:
            output, _, *rest = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, True, is_causal, cache)
            following.extend(rest)
            return output

        x = self._with(self._with(src, 1, attend), 2, self._feed_forward)
        return (x, *following) if following else x

    def new_cache(self, batch_size: int, length: int, **options: Any) -> Cache:
        """An empty cache for generating up to `length` positions; see `MultiheadAttention.new_cache`."""
        return self.self_attn.new_cache(batch_size, length, **options)


class TransformerDecoderLayer(_Block):
    """Self-attention, attention to the encoder's output, then a net of two layers for each position
    (torch.nn.TransformerDecoderLayer):

        x = norm1(x + self_attn(x)),    x = norm2(x + multihead_attn(x, memory)),
        y = norm3(x + linear2(activation(linear1(x))))

    or, with norm_first, normalised before each branch. Vaswani et al., "Attention is all you need", 2017.

    Args: as for `TransformerEncoderLayer`.

    Called with tgt and memory; tgt_mask, tgt_key_padding_mask and tgt_is_causal are for self-attention, memory_mask,
    memory_key_padding_mask and memory_is_causal for attention to the memory; and cache, from `new_cache`, for
    self-attention: then it returns (output, next cache).

    Raises:
        InputError, ShapeError: as `MultiheadAttention`.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> tgt, memory = np.ones((4, 3, 8), np.float32), np.ones((5, 3, 8), np.float32)
    >>> nn.TransformerDecoderLayer(8, 2, 16)(tgt, memory, tgt_is_causal=True).shape
    (4, 3, 8)
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Activation = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, *, rotary: RotaryPositions | None = None):
        super().__init__()
        self._make(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   rotary, cross=True)

    def call(self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
             tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None, tgt_is_causal: Any = False,
             memory_is_causal: Any = False, cache: Cache | None = None) -> Any:
        following: list[Any] = []

        def attend(x: Any) -> Any:
            output, _, *rest = self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal,
                                              cache)
            following.extend(rest)
            return output

        def look_up(x: Any) -> Any:
            return self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask, True,
                                       memory_is_causal, None)[0]

        x = self._with(self._with(self._with(tgt, 1, attend), 2, look_up), 3, self._feed_forward)
        return (x, *following) if following else x

    def new_cache(self, batch_size: int, length: int, **options: Any) -> Cache:
        """An empty cache for generating up to `length` positions; see `MultiheadAttention.new_cache`."""
        return self.self_attn.new_cache(batch_size, length, **options)


class _Stack(Layer):
    """Copies of a layer, one above the other, and perhaps a norm."""

    norm: cg.Module | None = None

    def __init__(self, layer: Any, num_layers: int, norm: cg.Module | None = None):
        super().__init__()
        self.check_sizes(1, num_layers=num_layers)
        self.num_layers = num_layers
        self.layers = [_copied(layer) for _ in range(num_layers)]
        if norm is not None:
            self.norm = norm

    def _through(self, x: Any, caches: Any, call: Callable[..., Any]) -> Any:
        following = []
        for index, layer in enumerate(self.layers):
            if caches is None:
                x = call(layer, x, None)
            else:
                x, after = call(layer, x, caches[index])
                following.append(after)
        x = x if self.norm is None else self.norm(x)
        return x if caches is None else (x, tuple(following))

    def new_cache(self, batch_size: int, length: int, **options: Any) -> tuple[Cache, ...]:
        """Empty caches, one for each layer, for generating up to `length` positions; see
        `MultiheadAttention.new_cache`."""
        return tuple([layer.new_cache(batch_size, length, **options) for layer in self.layers])

    def extra(self) -> str:
        return f"{self.layers[0]!r}, {self.num_layers}"


def _copied(layer: Any) -> Any:
    """A copy with parameters of its own, which start with the same values, and with random streams of their own."""
    made = copy.deepcopy(layer)
    for _, stream in made.named_states():
        if isinstance(stream, RandomStream):
            stream.reset(fresh_seed())
    return made


class TransformerEncoder(_Stack):
    """`num_layers` copies of a layer, one above the other (torch.nn.TransformerEncoder).

    Args:
        encoder_layer: a `TransformerEncoderLayer`; as in PyTorch its copies start with the same values.
        num_layers: how many.
        norm: a layer for the output; with norm_first, a `LayerNorm`.
        enable_nested_tensor, mask_check: taken for PyTorch's sake, whose fast path they are about; nothing depends on
            them.

    Called with the input; mask, src_key_padding_mask and is_causal, which go to all layers (None is False: the mask
    alone decides); and cache, from `new_cache`: then it returns (output, next cache).

    Parameters: layers.0 ..., norm.

    Raises:
        InputError: when num_layers is less than 1.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    >>> encoder(np.ones((5, 3, 8), np.float32)).shape
    (5, 3, 8)
    """

    def __init__(self, encoder_layer: Any, num_layers: int, norm: cg.Module | None = None,
                 enable_nested_tensor: bool = True, mask_check: bool = True):
        super().__init__(encoder_layer, num_layers, norm)

    def call(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = None,
             cache: Any = None) -> Any:
        return self._through(src, cache, lambda layer, x, its: layer(x, mask, src_key_padding_mask, is_causal, its))


class TransformerDecoder(_Stack):
    """`num_layers` copies of a layer, one above the other (torch.nn.TransformerDecoder).

    Args:
        decoder_layer: a `TransformerDecoderLayer`; as in PyTorch its copies start with the same values.
        num_layers: how many.
        norm: a layer for the output; with norm_first, a `LayerNorm`.

    Called with tgt and memory; tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal and
    memory_is_causal, which go to all layers (None is False: the mask alone decides); and cache, from `new_cache`: then
    it returns (output, next cache).

    Parameters: layers.0 ..., norm.

    Raises:
        InputError: when num_layers is less than 1.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2, nn.LayerNorm(8))
    >>> decoder(np.ones((4, 3, 8), np.float32), np.ones((5, 3, 8), np.float32), tgt_is_causal=True).shape
    (4, 3, 8)
    """

    def __init__(self, decoder_layer: Any, num_layers: int, norm: cg.Module | None = None):
        super().__init__(decoder_layer, num_layers, norm)

    def call(self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
             tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None, tgt_is_causal: Any = None,
             memory_is_causal: Any = False, cache: Any = None) -> Any:
        return self._through(tgt, cache, lambda layer, x, its: layer(
            x, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal, its))
