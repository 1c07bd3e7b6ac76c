"""A wrong gradient rule is reported with operator, input, expected, received and the user's own line."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest
from checks import floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.errors import RuleError

A, B = floats(2, 3), floats(3, seed=1)


def with_rule(rule, differentiable=True, outputs=1):
    """An operator of two inputs with this vjp rule."""
    class Wrong(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("first"), cg.Variable("second", differentiable)))

        def call(self, first, second):
            y = first.value * second.value
            return y if outputs == 1 else (y, jnp.sum(y))

        def vjp(self, cotangent, output, first, second):
            return rule(cotangent, output, first, second)

    return Wrong()


def raising(g, y, a, b):
    raise ZeroDivisionError("in the rule")


def with_values(g, y, a, b):
    return jnp.asarray(g.value) * 2, g


def wrong_operator(g, y, a, b):
    return op.matmul(g, a), g


VJP = {
    "shape": (lambda g, y, a, b: (op.sum(g, axis=0), g), "first",
              r"has shape \(3,\); expected \(2, 3\), the input's shape"),
    "shape of the second": (lambda g, y, a, b: (g, op.concat([g, g], axis=0)), "second",
                            r"has shape \(4, 3\); expected \(3,\).*or the output's, where the input was broadcast"),
    "dtype": (lambda g, y, a, b: (op.cast(g, dtype=np.dtype("int32")), g), "first",
              "has dtype int32; expected float32"),
    "boolean": (lambda g, y, a, b: (g, g > 0.0), "second", "has dtype bool; expected float32"),
    "None": (lambda g, y, a, b: (None, g), "first", r"is None where a gradient is due. Return zeros, or declare the "
             r"input with cg.Variable\(name, differentiable=False\)"),
    "text": (lambda g, y, a, b: (g, "text"), "second", "is a str; expected a node, an array or a number"),
    "too few": (lambda g, y, a, b: (g,), None, "returned 1 cotangents for 2 inputs. Return a tuple with one for each"),
    "too many": (lambda g, y, a, b: (g, g, g), None, "returned 3 cotangents for 2 inputs"),
    "no tuple": (lambda g, y, a, b: g, None, "returned 1 cotangents for 2 inputs"),
    "nothing": (lambda g, y, a, b: None, None, "returned None|returned 1 cotangents for 2 inputs"),
    "exception": (raising, None, "raised ZeroDivisionError: in the rule"),
    "values": (with_values, None, "It receives nodes|only shapes are known"),
    "operator": (wrong_operator, None, "raised ShapeError: operator matmul"),
}


def back(f, *args):
    result = module(f)(*args)
    root = result.root
    root.back()
    return [root.grad(v) for v in result.module.inputs]


@pytest.mark.parametrize("run", [lambda f, *a: back(f, *a), lambda f, *a: zkynet.grad(f, (0, 1))(*a),
                                 lambda f, *a: zkynet.compile(zkynet.grad(f, (0, 1)))(*a),
                                 lambda f, *a: zkynet.vmap(zkynet.grad(f, (0, 1)), (None, None, 0))(*a, floats(2))],
                         ids=["back", "grad", "compile", "vmap"])
@pytest.mark.parametrize("kind", VJP)
def test_a_wrong_rule_is_named(kind, run):
    rule, which, message = VJP[kind]
    operator = with_rule(rule)

    def f(a, b, scale=1.0):
        return op.sum(operator(a, b)) * scale

    line = f.__code__.co_firstlineno + 1
    with pytest.raises(RuleError, match=message) as caught:
        run(f, A, B)
    text = str(caught.value)
    assert "operator Wrong" in text
    if which is not None:
        assert f"input '{which}'" in text
    assert f"{__file__}:{line}" in text, "the line that called the operator"
    assert re.search(rf"rule at {re.escape(__file__)}:\d+", text), "the line of the rule"
    same(zkynet.grad(lambda x: op.sum(x * x))(A), 2 * A)


GRADFN = {
    "shape": (lambda a, b: b.value[:2],
              r"has shape \(2,\); expected an elementwise derivative broadcastable to the output "
              r"\(2, 3\), or the full Jacobian \(2, 3, 2, 3\)"),
    "exception": (lambda a, b: a.value.nothing, "raised AttributeError"),
    "None": (lambda a, b: None, "is not an array, a number or a node"),
    "text": (lambda a, b: "text", "is not an array, a number or a node"),
    "arguments": (lambda a: a.value, "raised TypeError"),
}


@pytest.mark.parametrize("kind", GRADFN)
def test_a_wrong_local_derivative_is_named(kind):
    rule, message = GRADFN[kind]

    class Wrong(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("a"), cg.Variable("b")))

        def call(self, a, b):
            return a.value * b.value

        def _gradfn(self, inpt):
            return rule

    def f(a, b):
        return op.sum(Wrong()(a, b))

    with pytest.raises(RuleError, match=message) as caught:
        zkynet.grad(f)(A, B)
    text = str(caught.value)
    assert "operator Wrong" in text and "input 'a'" in text and __file__ in text


def test_a_gradfn_that_returns_no_function_is_named():
    class Wrong(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("a"),))

        def call(self, a):
            return a.value

        def _gradfn(self, inpt):
            return None if inpt.short_name == "a" else (lambda a: 1.0)

    with pytest.raises(RuleError, match="operator Wrong.*_gradfn must return a function"):
        zkynet.grad(Wrong())(1.0)


def test_rules_that_are_not_needed_are_not_asked():
    operator = with_rule(lambda g, y, a, b: (g * b, None))
    same(zkynet.grad(lambda a: op.sum(operator(a, B)))(A), np.broadcast_to(B, (2, 3)))


def test_an_input_without_gradient_may_have_none():
    operator = with_rule(lambda g, y, a, b: (g * b, None), differentiable=False)
    same(zkynet.grad(lambda a, b: op.sum(operator(a, b)), (0, 1))(A, B), (np.broadcast_to(B, (2, 3)), 0 * B))


def test_numbers_and_arrays_are_cotangents_too():
    @cg.operator
    def constant(x):
        return x * 2

    constant.def_vjp(lambda g, y, x: (2.0,))
    assert zkynet.grad(constant)(3.0) == 2
    constant.def_vjp(lambda g, y, x: (np.float32(2.0),))
    with pytest.raises(RuleError, match="used an array of its own.*Make it an input"):
        zkynet.grad(lambda x: constant(op.sin(x)))(3.0)


def test_a_rule_may_return_the_cotangent_in_the_shape_of_the_output():
    operator = with_rule(lambda g, y, a, b: (g * b, g * a))
    expected = (np.broadcast_to(B, (2, 3)), A.sum(0))
    same(zkynet.grad(lambda a, b: op.sum(operator(a, b)), (0, 1))(A, B), expected)


@pytest.mark.parametrize("rule, message", [
    (lambda g, y, a, b: (g[0] * g[1], None), "input 'second'.* is None"),
    (lambda g, y, a, b: (g[1], g[1]), r"input 'first'.*has shape \(\); expected \(2, 3\)"),
    (lambda g, y, a, b: (g, g), "raised|is a tuple"),
])
def test_a_wrong_rule_of_several_outputs_is_named(rule, message):
    operator = with_rule(rule, outputs=2)

    def f(a, b):
        y, total = operator(a, b)
        return op.sum(y) * total

    with pytest.raises(RuleError, match=message) as caught:
        zkynet.grad(f, (0, 1))(A, B)
    assert "operator Wrong" in str(caught.value)


def test_a_gradfn_of_several_outputs_says_that_it_needs_a_vjp_rule():
    class Two(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))

        def call(self, x):
            return x.value, x.value

        def _gradfn(self, inpt):
            return lambda x: 1.0

    with pytest.raises(RuleError, match="operator Two.*needs a vjp rule"):
        zkynet.grad(lambda x: Two()(x)[0])(1.0)


def test_a_wrong_jvp_rule_is_named():
    class Wrong(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))

        def call(self, x):
            return x.value * 2

        def jvp(self, tangents, output, x):
            return op.sum(tangents[0])

    with pytest.raises(RuleError, match=r"operator Wrong.*jvp.*shape \(\); expected \(3,\)"):
        zkynet.jvp(Wrong())(B, tangent=B)
