"""CharRNN and GPT: no look ahead, generation equal to the plain forward pass, one program for every token."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from overfit import count, overfit

import zkynet
from zkynet import models, nn
from zkynet.framework.errors import InputError, ShapeError
from zkynet.models.sequences import drawn

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 11, (2, 7)).astype(np.int32)
MAKERS: dict[str, Any] = {
    "lstm": lambda: models.CharRNN(11, 12, layers=2),
    "gru": lambda: models.CharRNN(11, 12, kind="gru"),
    "rnn": lambda: models.CharRNN(11, 12, kind="rnn"),
    "gpt": lambda: models.GPT(11, context=16, width=12, layers=2, heads=3),
    "gpt, not tied": lambda: models.GPT(11, context=16, width=12, layers=1, heads=2, tied=False),
}


@pytest.fixture(params=MAKERS)
def net(request: pytest.FixtureRequest) -> Any:
    nn.manual_seed(0)
    return MAKERS[request.param]()


def greedy(net: Any, tokens: np.ndarray, count: int) -> np.ndarray:
    """Tokens that are likeliest after all before them, by a whole forward pass for each."""
    for _ in range(count):
        padded = np.concatenate([tokens, np.zeros((len(tokens), 16 - tokens.shape[1]), np.int32)], axis=1)
        logits = np.asarray(net(padded).value)[:, tokens.shape[1] - 1]
        tokens = np.concatenate([tokens, logits.argmax(-1)[:, None]], axis=1).astype(np.int32)
    return tokens


def generate(net: Any, *args: Any, **kwargs: Any) -> np.ndarray:
    return (net.generate if isinstance(net, models.GPT) else net.sample)(*args, **kwargs)


def test_no_token_sees_a_later_one(net: Any) -> None:
    net.eval()
    changed = TOKENS.copy()
    changed[:, 4] = (changed[:, 4] + 1) % 11
    a, b = np.asarray(net(TOKENS).value), np.asarray(net(changed).value)
    assert a.shape == (2, 7, 11)
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert (np.abs(a[:, 4:] - b[:, 4:]).max(-1) > 1e-6).all()


def test_generation_is_the_plain_forward_pass_token_by_token(net: Any) -> None:
    net.eval()
    for parameter in net.parameters():  # far from ties
        parameter.value = parameter.value * 4.0
    np.testing.assert_array_equal(generate(net, TOKENS, 8, temperature=0.0), greedy(net, TOKENS, 8))


def test_one_program_serves_all_tokens_prompts_and_temperatures(net: Any) -> None:
    generate(net, TOKENS, 1)
    before = zkynet.compile_stats().compilations
    a = generate(net, TOKENS[:, :3], 9, seed=1)
    b = generate(net, TOKENS[:, :3], 9, temperature=0.3, seed=1)
    c = generate(net, TOKENS[:, :3], 9, seed=1)
    assert zkynet.compile_stats().compilations == before
    assert a.shape == (2, 12) and a.dtype == np.int32 and (a == c).all() and (a != b).any()
    assert (a[:, :3] == TOKENS[:, :3]).all()
    assert net.training


def test_generating_leaves_every_module_in_its_mode(net: Any) -> None:
    net.dropout.eval()
    before = [module.training for module in net.modules()]
    generate(net, TOKENS, 1)
    assert [module.training for module in net.modules()] == before and before.count(False) == 1


def test_evaluation_mode_ends_where_modules_share_one() -> None:
    shared = nn.Dropout()
    net = nn.Sequential(shared, nn.Sequential(shared)).train()
    net[1].eval()
    shared.train()
    with pytest.raises(ZeroDivisionError), net.evaluating():
        assert not any(module.training for module in net.modules())
        raise ZeroDivisionError
    assert [module.training for module in net.modules()] == [True, True, False]


def test_a_batch_is_learned_by_heart_and_said_again(net: Any) -> None:
    nn.manual_seed(0)
    text = RNG.integers(0, 11, (1, 12)).astype(np.int32)
    text[0, :11] = RNG.permutation(11)  # each token says what follows
    text[0, 11] = text[0, 0]
    first, last = overfit(net, models.SequenceLoss(), text[:, :-1], text[:, 1:], 120)
    assert first == pytest.approx(np.log(11), abs=0.7) and last < 0.1
    np.testing.assert_array_equal(generate(net, text[:, :2], 9, temperature=0.0), text[:, :11])


def test_a_copy_generates_with_its_own_weights(net: Any) -> None:
    generate(net, TOKENS, 1, temperature=0.0)
    other = copy.deepcopy(net)
    for parameter in other.parameters():
        parameter.value = RNG.normal(size=parameter.shape)
    before = generate(net, TOKENS, 6, temperature=0.0)
    assert (generate(other, TOKENS, 6, temperature=0.0) != before).any()
    assert (generate(net, TOKENS, 6, temperature=0.0) == before).all()


def test_a_full_context_goes_on_with_its_last_half() -> None:
    nn.manual_seed(0)
    net = models.GPT(11, context=6, width=12, layers=1, heads=2)
    net.eval()
    for parameter in net.parameters():
        parameter.value = parameter.value * 4.0
    made = net.generate(TOKENS[:, :2], 9, temperature=0.0)
    assert made.shape == (2, 11)
    for place in range(2, 11):  # up to 6 tokens are read; then again 3, up to 6, and so on
        held = place if place <= 6 else 3 + (place - 7) % 4
        logits = np.asarray(net(made[:, place - held:place]).value)[:, -1]
        np.testing.assert_array_equal(made[:, place], logits.argmax(-1))
    assert net.generate(RNG.integers(0, 11, (1, 20)), 2).shape == (1, 22)  # a prompt that is longer than the context


def test_draws_follow_the_softmax_at_a_temperature_and_stay_within_the_likeliest() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    many = np.broadcast_to(logits, (20000, 4))
    program = zkynet.compile(lambda key, degree: drawn(many, key, degree, None))
    key = np.array([0, 7], np.uint32)
    for degree in (1.0, 0.5):
        expected = np.exp(logits / degree) / np.exp(logits / degree).sum()
        shares = np.bincount(np.asarray(program(key, np.float32(degree))), minlength=4) / 20000
        np.testing.assert_allclose(shares, expected, atol=0.015)
    assert set(np.asarray(program(key, np.float32(0.0))).tolist()) == {0}
    best = np.asarray(zkynet.compile(lambda key, degree: drawn(many, key, degree, 2))(key, np.float32(1.0)))
    np.testing.assert_allclose(np.bincount(best, minlength=4) / 20000, [0.625, 0.375, 0, 0], atol=0.015)


def test_the_loss_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    logits = RNG.normal(size=(2, 7, 11)).astype(np.float32)
    for reduction in ("none", "sum", "mean"):
        expected = torch.nn.functional.cross_entropy(torch.tensor(logits).transpose(1, 2), torch.tensor(TOKENS).long(),
                                                     reduction=reduction)
        np.testing.assert_allclose(models.SequenceLoss(reduction=reduction)(logits, TOKENS).value, expected.numpy(),
                                   rtol=1e-5)
    with pytest.raises(ShapeError, match=r"targets \(batch, length\), but got \(2, 7, 11\) and \(2, 6\)"):
        models.SequenceLoss()(logits, TOKENS[:, 1:])


def test_gpt_has_gpt2s_number_of_parameters() -> None:
    """The smallest GPT-2 has 124,439,808; here by its formula, as its tables take half a gigabyte."""
    def formula(v: int, c: int, w: int, n: int) -> int:
        return v * w + c * w + n * (12 * w * w + 13 * w) + 2 * w

    assert formula(50257, 1024, 768, 12) == 124_439_808
    assert count(models.GPT(50, context=10, width=12, layers=3, heads=2)) == formula(50, 10, 12, 3)
    untied = models.GPT(50, context=10, width=12, layers=3, heads=2, tied=False)
    assert count(untied) == formula(50, 10, 12, 3) + 50 * 12


def test_gpt_starts_as_gpt2_does() -> None:
    nn.manual_seed(0)
    state = models.GPT(100, context=100, width=64, layers=8, heads=2, std=0.02).state_dict()
    assert float(state["embedding.weight"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(state["layers.3.linear1.weight"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(state["layers.3.linear2.weight"].std()) == pytest.approx(0.02 / 4, rel=0.05)
    assert not state["layers.0.linear1.bias"].any()
    assert (state["layers.0.linear1.weight"] != state["layers.1.linear1.weight"]).any()
    narrow = models.GPT(100, context=100, width=48, layers=1, heads=2).state_dict()
    assert float(narrow["embedding.weight"].std()) == pytest.approx(0.08, rel=0.05)  # 0.02 sqrt(768 / 48)


def test_text_in_parts_gives_what_the_whole_gives() -> None:
    nn.manual_seed(0)
    net = models.CharRNN(11, 12, layers=2)
    first, state = net(TOKENS[:, :3], net.first_state(2))
    second, _ = net(TOKENS[:, 3:], tuple(part.value for part in state))
    np.testing.assert_allclose(np.concatenate([first.value, second.value], axis=1), net(TOKENS).value, atol=1e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: models.CharRNN(5, kind="elman"), "kinds lstm, gru, rnn, but got 'elman'"),
    (lambda: models.GPT(5, layers=0), "at least one layer.*layers=0"),
    (lambda: models.GPT(5, width=10, heads=3), "num_heads=3 does not divide embed_dim=10"),
    (lambda: models.GPT(5, 4, 8, 1, 2)(np.zeros((1, 5), np.int32)), r"at most context=4, but got the shape \(1, 5\)"),
    (lambda: models.GPT(5, 4, 8, 1, 2).new_cache(1, 9), "context=4 tokens, fewer than a cache of 9"),
    (lambda: models.CharRNN(5, 8).sample(np.zeros((1, 0), np.int32), 3), "at least one token"),
    (lambda: models.CharRNN(5, 8).sample([[0.5]], 3), r"integers \(batch, length\), but got float64\[1, 1\]"),
    (lambda: models.CharRNN(5, 8).sample([[0]], 3, top_k=0), "top_k=0"),
    (lambda: models.CharRNN(5, 8).sample([[4, 5]], 3), "tokens of a prompt are from 0 to 4, but got 5"),
    (lambda: models.GPT(5, 4, 8, 1, 2).generate([[-1, 4]], 3), "from 0 to 4, but got -1"),
    (lambda: models.CharRNN(5, 8)(np.array([1, 2])), r"takes tokens \(batch, length\), but got the shape \(2,\)"),
])
def test_errors_say_what_was_expected(make: Any, message: str) -> None:
    with pytest.raises((InputError, ShapeError), match=message):
        make()
