"""Attention against PyTorch's of the same weights; the cache against the whole sequence; positions against formulas."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch_judge import assert_close, judge, load, sample, torch

import zkynet
from zkynet import nn
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError

QUERIES, KEYS, BATCH, EMBED, HEADS = 3, 4, 2, 6, 2
Q, K = sample(QUERIES, BATCH, EMBED), sample(KEYS, BATCH, EMBED, seed=1)
LATER = np.triu(np.ones((QUERIES, QUERIES), bool), 1)
PADDING = np.array([[False, False, True, True], [False, True, False, False]])
ADDED = np.array([[-np.inf, 0.0, 0.0], [0.0, -np.inf, 0.0]], np.float32)


def pair(**options: Any) -> tuple[Any, Any]:
    ours = nn.MultiheadAttention(EMBED, HEADS, **options)
    theirs = torch.nn.MultiheadAttention(EMBED, HEADS, **options)
    if options.get("bias", True):  # which start at zero
        with torch.no_grad():
            theirs.in_proj_bias.copy_(torch.tensor(sample(3 * EMBED, seed=8)))
    return ours, theirs


CASES: dict[str, tuple[dict[str, Any], tuple, dict[str, Any]]] = {
    "self": ({}, (Q, Q, Q), {}),
    "memory": ({}, (Q, K, K), {}),
    "all differ": ({}, (Q, K, sample(KEYS, BATCH, EMBED, seed=2)), {}),
    "no bias": ({"bias": False}, (Q, K, K), {}),
    "sizes": ({"kdim": 5, "vdim": 3}, (Q, sample(KEYS, BATCH, 5), sample(KEYS, BATCH, 3)), {}),
    "sizes, no bias": ({"kdim": 5, "bias": False}, (Q, sample(KEYS, BATCH, 5), K), {}),
    "weights of all heads": ({}, (Q, K, K), {"average_attn_weights": False}),
    "no batch": ({}, (Q[:, 0], K[:, 0], K[:, 0]), {}),
    "no batch, masks": ({}, (Q[:, 0], K[:, 0], K[:, 0]), {"key_padding_mask": PADDING[0],
                                                          "attn_mask": sample(QUERIES, KEYS) > 0.5}),
    "padding": ({}, (Q, K, K), {"key_padding_mask": PADDING}),
    "added padding": ({}, (Q, K, K), {"key_padding_mask": sample(BATCH, KEYS, seed=4)}),
    "causal": ({}, (Q, Q, Q), {"attn_mask": LATER, "is_causal": True}),
    "added mask": ({}, (Q, K, K), {"attn_mask": sample(QUERIES, KEYS, seed=3)}),
    "minus infinity": ({}, (Q, Q, Q), {"attn_mask": np.where(LATER, -np.inf, 0.0).astype(np.float32)}),
    "mask of each head": ({}, (Q, K, K), {"attn_mask": sample(BATCH * HEADS, QUERIES, KEYS, seed=3) > 0.5}),
    "both masks": ({}, (Q, K, K), {"attn_mask": np.eye(QUERIES, KEYS) > 0.5, "key_padding_mask": PADDING[[1, 0]]}),
    "a key and value of its own": ({"add_bias_kv": True}, (Q, K, K), {"attn_mask": np.eye(QUERIES, KEYS) > 0.5}),
    "zeros to attend to": ({"add_zero_attn": True, "batch_first": True}, (Q, Q, Q), {"attn_mask": sample(3, 2, 2)[0]}),
    "both, masks": ({"add_bias_kv": True, "add_zero_attn": True, "kdim": 5}, (Q, sample(KEYS, BATCH, 5), K), {
        "key_padding_mask": PADDING, "attn_mask": sample(BATCH * HEADS, QUERIES, KEYS, seed=3) > 0.5}),
    "batch first": ({"batch_first": True}, (Q.swapaxes(0, 1), K.swapaxes(0, 1), K.swapaxes(0, 1)),
                    {"key_padding_mask": PADDING}),
}


@pytest.mark.parametrize("name", CASES)
def test_multihead_attention(name: str) -> None:
    options, inputs, call = CASES[name]
    judge(*pair(**options), *inputs, **call)


class OutputOnly(torch.nn.Module):
    """PyTorch's attention without weights."""

    def __init__(self, attention: Any):
        super().__init__()
        self.attention = attention

    def forward(self, *inputs: Any, **call: Any) -> Any:
        return self.attention(*inputs, **call, need_weights=False)[0]


class Ours(cg.Module):
    def __init__(self, attention: Any):
        super().__init__()
        self.attention = attention

    def call(self, query: Any, key: Any, value: Any, **call: Any) -> Any:
        output, weights = self.attention(query, key, value, need_weights=False, **call)
        assert weights is None
        return output


def test_without_weights() -> None:
    ours, theirs = pair()
    judge(Ours(ours), OutputOnly(theirs), Q, Q, Q)
    # What goes in once is projected at once: one linear operator for the input, one for the output.
    shared = Ours(ours)
    made = cg.Module.build("Shared", lambda x: shared(x, x, x), (cg.Variable("x"),))
    names = [node.name for node in cg.get_all_nodes(made(Q))]
    assert names.count("linear") == 2
    np.testing.assert_allclose(made(Q).value, shared(Q, Q, Q).value, rtol=1e-5, atol=1e-6)


def test_the_query_is_key_and_value_by_default() -> None:
    layer = nn.MultiheadAttention(EMBED, HEADS)
    np.testing.assert_allclose(layer(Q)[0].value, layer(Q, Q, Q)[0].value, rtol=1e-5, atol=1e-6)
    assert nn.MultiHeadAttention is nn.MultiheadAttention


def test_causal_needs_no_mask() -> None:
    layer = nn.MultiheadAttention(EMBED, HEADS)
    ours, masked = layer(Q, is_causal=True), layer(Q, attn_mask=LATER)
    np.testing.assert_allclose(ours[0].value, masked[0].value, rtol=1e-6, atol=1e-7)
    assert not np.asarray(ours[1].value)[:, LATER].any()


def test_a_query_without_keys_is_finite() -> None:
    layer = nn.MultiheadAttention(EMBED, HEADS)
    nothing = np.ones((BATCH, KEYS), bool)
    output, weights = layer(Q, K, K, nothing)
    np.testing.assert_allclose(weights.value, 1 / KEYS, rtol=1e-6)
    gradient = zkynet.grad(lambda k: op.sum(op.square(layer(Q, k, k, nothing)[0])))(K)
    assert np.isfinite(output.value).all() and np.isfinite(gradient).all()


def test_no_query_attends_to_what_is_forbidden_by_booleans() -> None:
    """PyTorch judges, with both masks as numbers: weights are nan where -inf takes away all that booleans leave. (Where
    those leave nothing, ours are uniform.)"""
    ours, theirs = pair()
    load(ours, theirs.state_dict())
    numbers = [torch.tensor(mask) for mask in (ADDED, np.where(LATER, -np.inf, 0.0).astype(np.float32))]
    expected = theirs(*[torch.tensor(Q)] * 3, key_padding_mask=numbers[0], attn_mask=numbers[1])[1]
    assert expected[0, 0].isnan().all() and not expected[:, 1:].isnan().any()
    assert_close(ours(Q, attn_mask=LATER, key_padding_mask=ADDED)[1].value, expected, "weights")
    nothing = LATER | (np.arange(QUERIES) == 1)[:, None]
    weights = np.asarray(ours(Q, attn_mask=nothing, key_padding_mask=ADDED)[1].value)
    np.testing.assert_allclose(weights[:, 1], 1 / QUERIES, rtol=1e-6)
    assert_close(weights[:, 2], expected[:, 2], "weights of another query")


def test_further_keys_are_seen_by_all_that_a_cache_serves() -> None:
    layer = nn.MultiheadAttention(EMBED, HEADS, add_bias_kv=True, add_zero_attn=True)
    whole, weights = layer(Q, is_causal=True)
    later = np.pad(LATER, ((0, 0), (0, 2)))
    assert not np.asarray(weights.value)[:, later].any() and np.asarray(weights.value)[:, ~later].all()
    first, _, cache = layer(Q[:2], cache=layer.new_cache(BATCH, QUERIES))
    last, _, _ = layer(Q[2:], cache=jax.tree.map(lambda node: node.value, cache))
    np.testing.assert_allclose(np.concatenate([first.value, last.value]), whole.value, rtol=1e-5, atol=1e-6)


def test_dropout_among_the_weights() -> None:
    nn.manual_seed(3)
    layer = nn.MultiheadAttention(EMBED, HEADS, dropout=0.5)
    _, weights = layer(Q, K, K, average_attn_weights=False)
    _, others = layer(Q, K, K, average_attn_weights=False)
    zeros = np.asarray(weights.value) == 0.0
    assert 0 < zeros.mean() < 1 and (zeros != (np.asarray(others.value) == 0.0)).any()
    _, kept = layer.eval()(Q, K, K, average_attn_weights=False)
    np.testing.assert_allclose(np.asarray(weights.value)[~zeros], 2.0 * np.asarray(kept.value)[~zeros], rtol=1e-5)
    later = nn.MultiheadAttention(EMBED, HEADS)
    assert "stream" not in later.state_dict()  # nothing was drawn for it
    later.dropout = 0.5
    zeros = np.asarray(later(Q, K, K, average_attn_weights=False)[1].value) == 0.0
    assert 0 < zeros.mean() < 1


# The function ---------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, tuple[tuple, dict[str, Any]]] = {
    "plain": ((), {}),
    "causal": ((), {"is_causal": True}),
    "scale": ((), {"scale": 0.3}),
    "booleans": ((sample(QUERIES, KEYS, seed=3) > -0.5,), {}),
    "floats": ((sample(BATCH, 1, QUERIES, KEYS, seed=3),), {}),
    "shared heads": ((), {"enable_gqa": True}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scaled_dot_product_attention(name: str) -> None:
    further, options = FUNCTIONS[name]

    class Theirs(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            return torch.nn.functional.scaled_dot_product_attention(*inputs, **options)

    class OurFunction(cg.Module):
        def call(self, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
            return nn.scaled_dot_product_attention(query, key, value, mask, **options)

    heads = 2 if "enable_gqa" in options else 4
    inputs = sample(BATCH, 4, QUERIES, 5), sample(BATCH, heads, KEYS, 5, seed=1), sample(BATCH, heads, KEYS, 3, seed=2)
    judge(OurFunction(), Theirs(), *inputs, *further)


def test_function_with_dropout() -> None:
    inputs = sample(QUERIES, 5), sample(KEYS, 5), np.ones((KEYS, 1), np.float32)
    mean = np.mean([nn.scaled_dot_product_attention(*inputs, dropout_p=0.5, dropout_key=op.random_key(i)).value
                    for i in range(200)])
    assert abs(mean - 1.0) < 0.1
    with pytest.raises(InputError, match="dropout_p=0.5 needs a random key"):
        nn.scaled_dot_product_attention(*inputs, dropout_p=0.5)


# The cache ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("rotary", [False, True])
def test_the_cache_against_the_whole_sequence(batch_first: bool, rotary: bool) -> None:
    length, time, embed = 5, 1 if batch_first else 0, 8
    positions = nn.RotaryPositions(embed // HEADS, max_length=8) if rotary else None
    layer = nn.MultiheadAttention(embed, HEADS, batch_first=batch_first, rotary=positions)
    x = sample(*((BATCH, length) if batch_first else (length, BATCH)), embed)
    whole, weights = [np.asarray(node.value) for node in layer(x, is_causal=True)]

    step = zkynet.compile(lambda now, cache: layer(now, cache=cache))
    cache: Any = layer.new_cache(BATCH, 8)
    before = None
    for t in range(length):
        output, seen, cache = step(np.take(x, [t], time), cache)
        if t == 0:
            before = zkynet.compile_stats().compilations
        np.testing.assert_allclose(output, np.take(whole, [t], time), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(seen[:, 0, :length], weights[:, t], rtol=1e-5, atol=1e-6)
        assert not np.asarray(seen[:, 0, t + 1:]).any()
    assert zkynet.compile_stats().compilations == before
    assert int(cache["position"]) == length
    # Several at once, after a beginning of several.
    first, _, cache = step(np.take(x, range(3), time), layer.new_cache(BATCH, 8))
    rest, _, cache = step(np.take(x, range(3, 5), time), cache)
    np.testing.assert_allclose(np.concatenate([first, rest], time), whole, rtol=1e-5, atol=1e-6)


def test_a_cache_is_the_carry_of_a_scan() -> None:
    layer = nn.MultiheadAttention(EMBED, HEADS)
    x = sample(4, BATCH, EMBED)

    def step(cache: Any, now: Any) -> Any:
        output, _, cache = layer(op.expand_dims(now, axis=0), cache=cache, need_weights=False)
        return cache, output[0]

    _, outputs = op.scan(step, layer.new_cache(BATCH, 4), x)
    np.testing.assert_allclose(outputs.value, layer(x, is_causal=True)[0].value, rtol=1e-5, atol=1e-6)


def test_a_full_cache_gives_nan() -> None:
    layer = nn.MultiheadAttention(EMBED, HEADS)
    _, _, cache = layer(Q, cache=layer.new_cache(BATCH, QUERIES))
    cache = jax.tree.map(lambda node: node.value, cache)
    assert np.isnan(layer(Q[:1], cache=cache)[0].value).all()
    with pytest.raises(ShapeError, match=r"keys of shape \(3, 2, 2, 3\) do not fit into a cache of .* \(2, 2, 2, 3\)"):
        layer(Q, cache=layer.new_cache(BATCH, 2))


# Positions ------------------------------------------------------------------------------------------------------


def turned(x: np.ndarray, start: int, base: float, interleaved: bool) -> np.ndarray:
    """Rotary positions, pair by pair as in the paper."""
    y, dim = np.array(x, np.float64), x.shape[-1]
    for i in range(dim // 2):
        one, two = (2 * i, 2 * i + 1) if interleaved else (i, i + dim // 2)
        for t in range(x.shape[-2]):
            angle = (start + t) * base ** (-2 * i / dim)
            a, b = x[..., t, one].astype(np.float64), x[..., t, two].astype(np.float64)
            y[..., t, one] = a * np.cos(angle) - b * np.sin(angle)
            y[..., t, two] = a * np.sin(angle) + b * np.cos(angle)
    return y


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_positions(interleaved: bool) -> None:
    layer = nn.RotaryPositions(6, max_length=1000, base=100.0, interleaved=interleaved)
    x = sample(2, 4, 6)
    np.testing.assert_allclose(layer(x).value, turned(x, 0, 100.0, interleaved), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(x, 900).value, turned(x, 900, 100.0, interleaved), rtol=1e-5, atol=1e-6)
    assert zkynet.gradcheck(layer, x)
    # Products depend on the distance alone.
    q, k = layer(x[0]).value, layer(x[1]).value
    later_q, later_k = layer(x[0], 7).value, layer(x[1], 7).value
    np.testing.assert_allclose(q @ k.T, later_q @ later_k.T, rtol=1e-5, atol=1e-5)


def test_attention_turns_queries_and_keys() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True, rotary=nn.RotaryPositions(4))
    x = sample(1, 5, 8)
    q, k, v = np.split(x @ np.asarray(layer.param("in_proj_weight").value).T, 3, axis=-1)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        scores = turned(q[..., part], 0, 10000.0, False) @ turned(k[..., part], 0, 10000.0, False).swapaxes(1, 2) / 2.0
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        heads.append(weights @ v[..., part])
    expected = np.concatenate(heads, -1) @ np.asarray(layer.out_proj.weight.value).T
    np.testing.assert_allclose(layer(x)[0].value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [6, 5])
def test_sinusoidal_positions(dim: int) -> None:
    table = np.array([[(np.cos if i % 2 else np.sin)(t / 10000 ** (2 * (i // 2) / dim)) for i in range(dim)]
                      for t in range(20)])
    x = sample(2, 4, dim)
    np.testing.assert_allclose(nn.SinusoidalPositions(dim, 20, True)(x).value, x + table[:4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nn.SinusoidalPositions(dim, 20, True)(x, 9).value, x + table[9:13], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nn.SinusoidalPositions(dim, 20)(x).value, x + table[:2, None], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nn.SinusoidalPositions(dim, 4)(x[0]).value, x[0] + table[:4], rtol=1e-5, atol=1e-6)


def test_positions_added_to_integers_are_not_rounded() -> None:
    whole = np.arange(24, dtype=np.int32).reshape(2, 4, 3)
    for layer in (nn.SinusoidalPositions(3, batch_first=True), nn.LearnedPositions(4, 3, batch_first=True)):
        np.testing.assert_array_equal(layer(whole).value, layer(whole.astype(np.float32)).value)


def test_learned_positions() -> None:
    layer = nn.LearnedPositions(7, 6, batch_first=True)
    x, weight = sample(2, 4, 6), np.asarray(layer.weight.value)
    np.testing.assert_allclose(layer(x).value, x + weight[:4])
    np.testing.assert_allclose(layer(x, 2).value, x + weight[2:6])
    gradient = zkynet.grad(lambda: op.sum(layer(x, 2)), wrt=[layer.weight])()[0]
    np.testing.assert_array_equal(gradient, np.repeat([[0.0], [0.0], [2.0], [2.0], [2.0], [2.0], [0.0]], 6, axis=1))
    assert list(layer.state_dict()) == ["weight"] and 0.01 < weight.std() < 0.03


# Errors ---------------------------------------------------------------------------------------------------------

NO_SIZE: Any = 4.0
FEWER: Any = [sample(n, 2, 2) for n in (3, 2, 2)]
ERRORS: dict[str, tuple[Any, type, str]] = {
    "heads": (lambda: nn.MultiheadAttention(6, 4), InputError, "num_heads=4 does not divide embed_dim=6"),
    "width": (lambda: nn.MultiheadAttention(NO_SIZE, 2), InputError, "embed_dim must be an int >= 1, but got 4.0"),
    "dropout": (lambda: nn.MultiheadAttention(6, 2, -1.0), InputError, "got -1.0"),
    "rotary": (lambda: nn.MultiheadAttention(8, 2, rotary=nn.RotaryPositions(8)), InputError, "queries and keys of 4"),
    "size": (lambda: nn.MultiheadAttention(8, 2)(Q), ShapeError, r"\(L, N, 8\), .* but got \(\(3, 2, 6\)"),
    "value": (lambda: nn.MultiheadAttention(6, 2)(Q, K, Q), ShapeError, r"\(S, N, 6\), or all without N"),
    "batch": (lambda: nn.MultiheadAttention(6, 2)(Q, K[:, :1]), ShapeError, "needs query, key and value"),
    "axes": (lambda: nn.MultiheadAttention(6, 2)(Q[0, 0]), ShapeError, "needs query, key and value"),
    "mask": (lambda: nn.MultiheadAttention(6, 2)(Q, attn_mask=np.ones((2, 3), bool)), ShapeError,
             r"attn_mask of the shape \(3, 3\) or \(4, 3, 3\), but got bool\[2,3\]"),
    "padding": (lambda: nn.MultiheadAttention(6, 2)(Q, K, K, np.ones((4, 2), bool)), ShapeError,
                r"key_padding_mask of the shape \(2, 4\)"),
    "integers": (lambda: nn.MultiheadAttention(6, 2)(Q, attn_mask=np.ones((3, 3), np.int32)), InputError,
                 "attn_mask needs booleans or floats"),
    "flag": (lambda: nn.MultiheadAttention(6, 2)(Q, is_causal=0.5), InputError, "is_causal decides .* got 0.5"),
    "cache of rotary": (lambda: nn.MultiheadAttention(8, 2, rotary=nn.RotaryPositions(4, 16)).new_cache(1, 17),
                        ShapeError, "a cache of 17 positions is longer than"),
    "odd": (lambda: nn.RotaryPositions(5), InputError, "dim must be even, but is 5"),
    "too long": (lambda: nn.RotaryPositions(6, 2)(Q.swapaxes(0, 1)), ShapeError, "max_length=2, but got 3 positions"),
    "end of a table": (lambda: nn.SinusoidalPositions(6, 8)(Q, 7), InputError,
                       "max_length=8, so 3 positions start at an offset from 0 to 5, but got 7"),
    "before a table": (lambda: nn.LearnedPositions(8, 6)(Q, np.int32(-1)), InputError, "from 0 to 5, but got -1"),
    "end of angles": (lambda: nn.RotaryPositions(6, 8)(Q[:, 0], jnp.int32(6)), InputError, "0 to 5, but got 6"),
    "heads to share": (lambda: nn.scaled_dot_product_attention(*FEWER, enable_gqa=True), ShapeError,
                       r"must be a multiple .* got the shapes \(3, 2, 2\) and \(2, 2, 2\)"),
    "no length": (lambda: nn.RotaryPositions(6)(Q[0, 0]), ShapeError, r"takes an input \(..., length, dim\)"),
    "table": (lambda: nn.LearnedPositions(0, 6), InputError, "max_length must be an int >= 1, but got 0"),
    "positions": (lambda: nn.SinusoidalPositions(4)(Q), ShapeError, "dim=4, but its input"),
    "positions of axes": (lambda: nn.SinusoidalPositions(6)(Q[0, 0]), ShapeError, "takes an input of 3 axes"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    function, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        function()
