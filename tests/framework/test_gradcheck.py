"""gradcheck: right gradients pass, planted errors are found and named, whatever the style of the operator."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from cases import sample

from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError
from zkynet.framework.gradcheck import Verdict, gradcheck

A, B = sample(2, 3), sample(2, 3, low=0.5, high=2.0, seed=1)


def product_with(rule: Any, jvp: Any = None) -> Any:
    """y = a b with the given gradient rule."""
    made = cg.operator(lambda a, b: a * b, name="product", vjp=rule)
    made.jvp = jvp
    return made


class Seed(cg.Operator):
    """y = a b in the style of `_gradfn`; `factor` spoils the derivative in a."""

    factor = 1.0

    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("a"), cg.Variable("b")))

    def call(self, a: Any, b: Any) -> Any:
        return a.value * b.value

    def _gradfn(self, inpt: Any) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        if inpt is self.input("a"):
            return lambda a, b: b.value * self.factor
        return lambda a, b: a.value


class WrongSeed(Seed):
    factor = -1.0


class OnHost(cg.Operator):
    """y = x^3 by a body that must run in Python."""

    jit = False
    slope = 3.0

    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x: Any) -> Any:
        return np.asarray(x.value) ** 3

    def vjp(self, cotangent: Any, output: Any, x: Any) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (cotangent * (self.slope * x * x),)


class WrongOnHost(OnHost):
    slope = 2.0


class NoRule(cg.Operator):
    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),), attributes={"scale": 1.0})

    def call(self, x: Any, scale: float) -> Any:
        return jnp.sin(x.value * scale)


class OnHostWithLocalDerivative(Seed):
    """Differentiated once in Python, and not twice: JAX cannot look into it."""

    jit = False

    def call(self, a: Any, b: Any) -> Any:
        return np.asarray(a.value) * np.asarray(b.value)


class Several(cg.Module):
    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 2), cg.Parameter("b", 1.0)))

    def call(self, x: Any) -> Any:
        return {"line": x * self.param("w") + self.param("b"), "wave": (op.sin(x), op.floor(x) > 0.0)}


@cg.operator
def halves(x, *, at=1):
    """Several outputs."""
    return x[:at] ** 2, x[at:]


@halves.def_vjp
def _(g, y, x, *, at):
    return (op.concat([g[0] * 2.0 * x[:at], g[1]], axis=0),)


class Affine(cg.Module):
    def __init__(self) -> None:
        super().__init__(inputs=(cg.Variable("x"),))
        self.w = cg.Parameter("w", np.array([1.5, -0.5], np.float32))
        self.seen = cg.State("seen", np.zeros(2, np.float32))

    def call(self, x: Any) -> Any:
        self.seen.value = self.seen * 0.5 + x
        return op.sin(x * self.w) + self.seen * self.w


RIGHT: list[tuple[str, Any, tuple, dict]] = [
    ("built-in", op.mult, (A, B), {}),
    ("broadcast", op.divide, (A, sample(3, low=0.5, high=2.0)), {}),
    ("attribute by keyword", op.softplus, (A,), {"beta": 2.0}),
    ("attribute by position", op.leaky_relu, (A, 0.2), {}),
    ("any number of inputs", op.concat, ([A, B], 0), {}),
    ("Python integers", op.mult, (3, 4), {}),
    ("class style", Seed(), (A, B), {}),
    ("a class instead of an instance", Seed, (A, B), {}),
    ("in Python", OnHost(), (A,), {}),
    ("no rule", NoRule(), (A,), {"scale": 2.0}),
    ("several outputs", halves, (sample(3),), {"at": 2}),
    ("module with parameter and state", Affine(), (sample(2),), {}),
    ("module with several outputs", Several(), (3,), {}),
    ("function", lambda x, y: op.exp(x) * y, (A, B), {}),
    ("function of a tree", lambda p: p["w"] * op.sin(p["x"]), ({"w": A, "x": B},), {}),
    ("function with an integer", lambda x, n: x ** n, (B, 3), {}),
    ("one condition, not moved", op.where, (A > 0, A, B), {}),
    ("no gradient", op.floor, (A,), {}),
    ("boolean output", op.less, (A, B), {}),
    ("empty", op.sin, (np.zeros((0, 2)),), {}),
    ("tiny and huge", op.log, (np.array([1e-8, 1e-3, 1.0, 1e6]),), {}),
    ("large in log space", op.logsigmoid, (np.array([-1e4, 30.0, 1e4]),), {}),
]


@pytest.mark.parametrize(("function", "inputs", "attributes"), [r[1:] for r in RIGHT], ids=[r[0] for r in RIGHT])
def test_right_gradients_pass(function: Any, inputs: tuple, attributes: dict) -> None:
    verdict = gradcheck(function, *inputs, **attributes)
    assert verdict, verdict
    assert verdict.ok and verdict.error is None and "ok" in repr(verdict)


# Planted errors ---------------------------------------------------------------------------------------------


def test_wrong_sign() -> None:
    verdict = gradcheck(product_with((lambda g, y, a, b: g * b, lambda g, y, a, b: -(g * a))), A, B)
    assert not verdict
    worst = verdict.worst
    assert worst is not None and worst.input == "b" and worst.order == 1
    assert worst.analytic == pytest.approx(-worst.numeric, rel=1e-6)
    assert f"[{', '.join(map(str, worst.index))}]" in str(verdict) and "WRONG at input b" in str(verdict)


def test_one_wrong_element_is_located() -> None:
    spoiled = np.ones((2, 3))
    spoiled[1, 2] = 1.001
    rules = (lambda g, y, x, mask: g * op.cos(x) * mask, lambda g, y, x, mask: mask)
    wrong = cg.operator(lambda x, mask: jnp.sin(x), name="sine", no_gradient=("mask",), vjp=rules)
    verdict = gradcheck(wrong, A, spoiled)
    assert not verdict and verdict.worst is not None
    assert (verdict.worst.input, verdict.worst.index, verdict.worst.order) == ("x", (1, 2), 1)
    assert verdict.worst.analytic / verdict.worst.numeric == pytest.approx(1.001, rel=1e-6)


def test_missing_broadcast_sum() -> None:
    """One element of the cotangent where their sum is due: the right shape, the wrong number."""
    rule = (lambda g, y, a, b: g * b, lambda g, y, a, b: (g * a)[0])
    verdict = gradcheck(product_with(rule), A, sample(3))
    assert not verdict and verdict.worst is not None and verdict.worst.input == "b"


def test_wrong_second_order_only() -> None:
    rule = (lambda g, y, a, b: g * op.stop_gradient(b), lambda g, y, a, b: g * a)
    assert gradcheck(product_with(rule), A, B, order=1)
    verdict = gradcheck(product_with(rule), A, B)
    assert not verdict and verdict.worst is not None
    assert verdict.worst.order == 2 and verdict.worst.input == "b"


def test_wrong_forward_mode_only() -> None:
    rule = (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    assert gradcheck(product_with(rule, lambda t, y, a, b: t[0] * b + t[1] * a), A, B)
    verdict = gradcheck(product_with(rule, lambda t, y, a, b: t[0] * b), A, B)
    assert not verdict and verdict.worst is not None
    assert verdict.worst.mode == "forward" and "forward mode" in str(verdict)


@pytest.mark.parametrize("wrong", [WrongSeed(), WrongOnHost()], ids=["class style", "in Python"])
def test_wrong_rule_of_a_class(wrong: Any) -> None:
    verdict = gradcheck(wrong, *([A, B] if isinstance(wrong, Seed) else [A]))
    assert not verdict and verdict.worst is not None
    assert verdict.name == type(wrong).__name__ and verdict.worst.order == 1


def test_a_small_gradient_is_not_taken_for_zero() -> None:
    tiny = cg.operator(lambda x: 1e-9 * x, name="tiny", vjp=(lambda g, y, x: g * 2e-9,))
    assert not gradcheck(tiny, A)


RAISING = {
    "wrong shape": lambda g, y, a, b: (g, op.sum(g)),
    "None": lambda g, y, a, b: (g * b, None),
    "too few": lambda g, y, a, b: (g * b,),
    "an exception": lambda g, y, a, b: 1 / 0,
    "not a node": lambda g, y, a, b: ("g", "g"),
}


@pytest.mark.parametrize("rule", RAISING.values(), ids=RAISING)
def test_rules_that_cannot_be_used_give_a_verdict(rule: Any) -> None:
    verdict = gradcheck(product_with(rule), A, B)
    assert isinstance(verdict, Verdict) and not verdict
    assert verdict.error is not None and "product" in verdict.error and "WRONG" in str(verdict)


def test_second_order_that_does_not_exist_is_said_to_be_it() -> None:
    assert gradcheck(OnHostWithLocalDerivative(), A, B, order=1)
    verdict = gradcheck(OnHostWithLocalDerivative(), A, B)
    assert not verdict and verdict.error is not None and verdict.error.startswith("order 2: ")


def test_module_is_checked_in_its_parameters_and_left_as_it_was() -> None:
    module = Affine()
    before = module.state_dict()
    module.w.value = before["w"]
    verdict = gradcheck(module, sample(2))
    assert verdict
    for name, value in module.state_dict().items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, before[name])
    assert not module.w.aval.x64 and op.argmax(module(sample(2))).dtype == np.int32

    class Wrong(cg.Module):
        def __init__(self) -> None:
            super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 2.0),))

        def call(self, x: Any) -> Any:
            return product_with((lambda g, y, a, b: g * b, lambda g, y, a, b: g))(x, self.param("w"))

    verdict = gradcheck(Wrong(), 3.0)
    assert not verdict and verdict.worst is not None and verdict.worst.input == "w"


def test_names_of_trees_and_functions() -> None:
    wrong = product_with((lambda g, y, a, b: g * b, lambda g, y, a, b: g))
    verdict = gradcheck(lambda p: wrong(p["u"], p["v"][0]), {"u": A, "v": [B]})
    assert verdict.worst is not None and verdict.worst.input == "p['v'][0]"


def test_a_kink_is_reported_as_such() -> None:
    step = cg.operator(lambda x: jnp.where(x > 0, 1.0, 0.0) + x, name="step", vjp=(lambda g, y, x: g,))
    verdict = gradcheck(step, 0.0)
    assert not verdict and "kink" in str(verdict)


def test_low_precision_inside() -> None:
    """An operator that computes in float32 is held to what float32 can show."""
    rough = cg.operator(lambda x: jnp.sin(x.astype(jnp.float32)), name="rough", vjp=(lambda g, y, x: g * op.cos(x),))
    assert gradcheck(rough, A)
    wrong = cg.operator(lambda x: jnp.sin(x.astype(jnp.float32)), name="rough",
                        vjp=(lambda g, y, x: g * op.cos(x) * 1.1,))
    assert not gradcheck(wrong, A)


def test_many_elements_are_sampled() -> None:
    verdict = gradcheck(op.square, sample(40, 50), order=1)
    assert verdict and verdict.checked < 5000


def test_refusals() -> None:
    with pytest.raises(InputError, match="order must be 1 or 2"):
        gradcheck(op.mult, A, B, order=3)
    with pytest.raises(InputError, match="floating input"):
        gradcheck(op.mult, np.arange(3), np.arange(3))
    with pytest.raises(ShapeError, match="mult"):
        gradcheck(op.mult, np.zeros(2), np.zeros(3))
