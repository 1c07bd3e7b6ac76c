"""Transformer layers and stacks against PyTorch's of the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_judge import judge, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import op
from zkynet.framework.errors import InputError

LENGTH, SOURCE, BATCH, WIDTH, HEADS, WIDE = 3, 4, 2, 8, 2, 6
X, MEMORY = sample(LENGTH, BATCH, WIDTH), sample(SOURCE, BATCH, WIDTH, seed=1)
LATER = np.triu(np.ones((LENGTH, LENGTH), bool), 1)
PADDING = np.array([[False, False, True], [False, False, False]])
SOURCE_PADDING = np.array([[False, True, False, True], [False, False, False, True]])
SIZES = {"dim_feedforward": WIDE, "dropout": 0.0}


def first(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(0, 1)


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    return tuple(getattr(m, name)(WIDTH, HEADS, **SIZES, **options) for m in (nn, torch.nn))  # pyright: ignore[reportReturnType]


ENCODERS: dict[str, tuple[dict[str, Any], np.ndarray, dict[str, Any]]] = {
    "plain": ({}, X, {}),
    "norm first, gelu": ({"norm_first": True, "activation": "gelu"}, X, {"src_mask": LATER, "is_causal": True}),
    "batch first, padding": ({"batch_first": True}, first(X), {"src_key_padding_mask": PADDING}),
    "no bias": ({"bias": False, "layer_norm_eps": 1e-3}, X, {}),
    "no batch": ({}, X[:, 0], {"src_mask": sample(LENGTH, LENGTH)}),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_layer(name: str) -> None:
    options, x, call = ENCODERS[name]
    judge(*pair("TransformerEncoderLayer", **options), x, **call)


DECODERS: dict[str, tuple[dict[str, Any], tuple, dict[str, Any]]] = {
    "plain": ({}, (X, MEMORY), {}),
    "norm first, gelu": ({"norm_first": True, "activation": "gelu"}, (X, MEMORY), {"tgt_mask": LATER}),
    "batch first, masks": ({"batch_first": True}, (first(X), first(MEMORY)), {
        "tgt_mask": LATER, "tgt_is_causal": True, "memory_mask": sample(LENGTH, SOURCE) > 0.6,
        "tgt_key_padding_mask": PADDING, "memory_key_padding_mask": SOURCE_PADDING}),
    "no bias": ({"bias": False}, (X, MEMORY), {}),
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_layer(name: str) -> None:
    options, inputs, call = DECODERS[name]
    judge(*pair("TransformerDecoderLayer", **options), *inputs, **call)


def test_encoder() -> None:
    ours, theirs = pair("TransformerEncoderLayer", norm_first=True)
    judge(*(library.TransformerEncoder(layer, 2, library.LayerNorm(WIDTH), False, True)
            for library, layer in ((nn, ours), (torch.nn, theirs))),
          X, mask=LATER, src_key_padding_mask=PADDING, is_causal=None)


def test_decoder() -> None:
    ours, theirs = pair("TransformerDecoderLayer")
    judge(nn.TransformerDecoder(ours, 2), torch.nn.TransformerDecoder(theirs, 2), X, MEMORY, tgt_mask=LATER,
          tgt_is_causal=None, memory_key_padding_mask=SOURCE_PADDING)


def test_causal_needs_no_mask() -> None:
    layer = pair("TransformerEncoderLayer")[0]
    np.testing.assert_allclose(layer(X, is_causal=True).value, layer(X, src_mask=LATER).value, rtol=1e-6, atol=1e-6)


def test_an_activation_of_your_own() -> None:
    ours, theirs = (m.TransformerEncoderLayer(WIDTH, HEADS, **SIZES, activation=f)
                    for m, f in ((nn, nn.SiLU()), (torch.nn, torch.nn.functional.silu)))
    judge(ours, theirs, X)
    judge(nn.TransformerEncoderLayer(WIDTH, HEADS, **SIZES, activation=lambda x: op.tanh(x)),
          torch.nn.TransformerEncoderLayer(WIDTH, HEADS, **SIZES, activation=torch.tanh), X)


def test_copies_have_weights_and_dropout_of_their_own() -> None:
    nn.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, HEADS, WIDE, 0.5), 2)
    one, two = encoder.layers
    assert one.linear1.weight is not two.linear1.weight
    np.testing.assert_array_equal(one.linear1.weight.value, two.linear1.weight.value)
    streams = [tuple(np.asarray(state.value).tolist()) for _, state in encoder.named_states()]
    assert len(streams) == 8 and len(set(streams)) == 8  # four dropouts in each layer
    assert (np.asarray(encoder(X).value) != np.asarray(encoder(X).value)).any()
    encoder.eval()
    np.testing.assert_array_equal(encoder(X).value, encoder(X).value)


def test_dropouts_have_modes_of_their_own_and_may_be_replaced() -> None:
    """Monte-Carlo dropout: dropouts alone are put back into training mode."""
    layer: Any = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDE, 0.5).eval()
    expected = np.asarray(layer(X).value)
    layer.dropout2.train()
    assert (np.asarray(layer(X).value) != np.asarray(layer(X).value)).any()
    layer.dropout = layer.dropout1 = layer.dropout2 = nn.Identity()
    np.testing.assert_array_equal(layer.train(False)(X).value, expected)


@pytest.mark.parametrize("batch_first", [True, False])
def test_generating_an_encoder(batch_first: bool) -> None:
    """One token after another, as a GPT does, against the whole sequence."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, **SIZES, batch_first=batch_first, norm_first=True,
                                       rotary=nn.RotaryPositions(WIDTH // HEADS))
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH))
    x, time = (first(X), 1) if batch_first else (X, 0)
    whole = encoder(x, is_causal=True).value
    step = zkynet.compile(lambda now, cache: encoder(now, cache=cache))
    cache: Any = encoder.new_cache(BATCH, 5)
    outputs, compiled = [], []
    for t in range(LENGTH):
        output, cache = step(np.take(x, [t], time), cache)
        outputs.append(output)
        compiled.append(zkynet.compile_stats().compilations)
    np.testing.assert_allclose(np.concatenate(outputs, time), whole, rtol=1e-5, atol=1e-5)
    assert compiled == compiled[:1] * LENGTH


def test_generating_a_decoder() -> None:
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, **SIZES), 2)
    whole = decoder(X, MEMORY, tgt_is_causal=True).value
    step = zkynet.compile(lambda now, memory, cache: decoder(now, memory, cache=cache))
    cache: Any = decoder.new_cache(BATCH, LENGTH)
    for t in range(LENGTH):
        output, cache = step(X[t:t + 1], MEMORY, cache)
        np.testing.assert_allclose(output[0], whole[t], rtol=1e-5, atol=1e-5)


def test_errors_and_names() -> None:
    with pytest.raises(InputError, match="knows the activations relu, tanh, sigmoid, .* got 'sine'"):
        nn.TransformerEncoderLayer(WIDTH, HEADS, activation="sine")
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDE)
    with pytest.raises(InputError, match="num_layers must be an int >= 1, but got 0"):
        nn.TransformerEncoder(layer, 0)
    assert repr(layer) == "TransformerEncoderLayer(8, 2, dim_feedforward=6)"
    assert repr(nn.TransformerEncoder(layer, 2)) == f"TransformerEncoder({layer!r}, 2)"
