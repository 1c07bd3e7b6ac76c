"""Operators that a user writes: every style of rule, attributes, several outputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import GraphError, InputError, ShapeError

A, B, V = floats(2, 3), floats(2, 3, seed=1), floats(2, 3, seed=2)


def body_jax(a, b):
    return jnp.sin(a) * b


class Base(cg.Operator):
    def __init__(self):
        super().__init__(inputs=(cg.Variable("a"), cg.Variable("b")))

    def call(self, a, b):
        return jnp.sin(a.value) * b.value


class Elementwise(Base):
    """The local derivative, element by element."""

    def _gradfn(self, inpt):
        if inpt.short_name == "a":
            return lambda a, b: jnp.cos(a.value) * b.value
        return lambda a, b: jnp.sin(a.value)


class FullJacobian(Base):
    """The local derivative as the full Jacobian, out.shape + in.shape."""

    def _gradfn(self, inpt):
        def diagonal(x, shape):
            x = jnp.broadcast_to(x, shape)
            return jnp.diag(x.reshape(-1)).reshape(x.shape * 2)

        if inpt.short_name == "a":
            return lambda a, b: diagonal(jnp.cos(a.value) * b.value, a.shape)
        return lambda a, b: diagonal(jnp.sin(a.value), a.shape)


class NodesInGradfn(Base):
    """The local derivative written with operators."""

    def _gradfn(self, inpt):
        return (lambda a, b: op.cos(a) * b) if inpt.short_name == "a" else (lambda a, b: op.sin(a))


class Cotangents(Base):
    """The preferred style: cotangent in, cotangents out, as graph expressions."""

    def vjp(self, cotangent, output, a, b):
        return cotangent * op.cos(a) * b, cotangent * op.sin(a)


class NoRule(Base):
    pass


class WithJvp(Cotangents):
    def jvp(self, tangents, output, a, b):
        return tangents[0] * op.cos(a) * b + tangents[1] * op.sin(a)


@cg.operator
def as_function(a, b):
    return jnp.sin(a) * b


@as_function.def_vjp
def _(cotangent, output, a, b):
    return cotangent * op.cos(a) * b, cotangent * op.sin(a)


def rule_for_each(a, b):
    return jnp.sin(a) * b


rule_for_each = cg.operator(rule_for_each, vjp=(lambda g, y, a, b: g * op.cos(a) * b, lambda g, y, a, b: g * op.sin(a)))

STYLES = [Elementwise(), FullJacobian(), NodesInGradfn(), Cotangents(), NoRule(), WithJvp(), as_function, rule_for_each]


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.name)
def test_every_style_gives_value_and_derivatives(style):
    def loss(a, b):
        return op.sum(op.square(style(a, b)))

    def loss_jax(a, b):
        return jnp.sum(jnp.square(body_jax(a, b)))

    same(style(A, B).value, body_jax(A, B))
    same(zkynet.grad(loss, (0, 1))(A, B), jax.grad(loss_jax, (0, 1))(A, B), rtol=1e-4)
    same(zkynet.hvp(loss)(A, B, vector=V), jax.jvp(jax.grad(loss_jax), (A, B), (V, 0 * V))[1], rtol=1e-4, atol=1e-5)
    same(zkynet.jvp(style, (0, 1))(A, B, tangent=(V, A)), jax.jvp(body_jax, (A, B), (V, A)), rtol=1e-4)
    same(zkynet.vmap(zkynet.grad(loss))(A, B), jax.vmap(jax.grad(loss_jax))(A, B), rtol=1e-4)
    m = module(lambda a, b: style(a, b))
    result = m(A[0], B[0])
    result.back()
    same(result.grad(m.input("a")), jax.jacrev(body_jax)(A[0], B[0]), rtol=1e-4)


@pytest.mark.parametrize("style", [s for s in STYLES if s.name != "FullJacobian"], ids=lambda s: s.name)
def test_broadcasting_is_undone_for_the_rule(style):
    same(zkynet.grad(lambda a, b: op.sum(style(a, b)), (0, 1))(A, B[0]),
         jax.grad(lambda a, b: jnp.sum(body_jax(a, b)), (0, 1))(A, B[0]), rtol=1e-4)


def test_a_full_jacobian_of_a_reduction():
    class Dot(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("m"), cg.Variable("v")))

        def call(self, m, v):
            return m.value @ v.value

        def _gradfn(self, inpt):
            if inpt.short_name == "m":
                return lambda m, v: jnp.einsum("ij,k->ijk", jnp.eye(m.shape[0]), v.value)
            return lambda m, v: m.value

    v = floats(3)
    same(zkynet.jacobian(Dot(), (0, 1))(A, v), jax.jacrev(jnp.matmul, (0, 1))(A, v))


def test_operators_made_anew_in_every_call_compile_once():
    m = module(lambda a, b: Cotangents()(Elementwise()(a, b), b))
    def step():
        result = m(A, B)
        result.back(V)
        return result.grad(m.input("a"))
    first = step()
    with count_compilations() as count:
        same(step(), first)
    assert count() == 0


class Scaled(cg.Operator):
    """An attribute of the instance."""

    def __init__(self, factor):
        super().__init__(inputs=(cg.Variable("x"),))
        self.factor = factor

    def call(self, x):
        return x.value * self.factor

    def vjp(self, cotangent, output, x):
        return (cotangent * self.factor,)


@cg.operator
def scaled(x, *, factor=2):
    """A static attribute."""
    return x * factor


@scaled.def_vjp
def _(cotangent, output, x, *, factor):
    return (cotangent * factor,)


class Attributes(cg.Operator):
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),), attributes={"factor": 2, "power": 1})

    def call(self, x, factor, power):
        return (x.value * factor) ** power


@pytest.mark.parametrize("make", [lambda x, f: Scaled(f)(x), lambda x, f: scaled(x, factor=f),
                                  lambda x, f: scaled(x, f), lambda x, f: Attributes()(x, factor=f),
                                  lambda x, f: Attributes()(x, f, 1)])
def test_one_value_of_an_attribute_compiles_one_program(make):
    zkynet.clear_compile_cache()
    with count_compilations() as count:
        assert [float(make(3.0, f).value) for f in (2.0, 5.0, 2.0, 5.0)] == [6, 15, 6, 15]
    assert count() == 2
    assert zkynet.grad(lambda x: make(x, 5.0))(3.0) == 5


@pytest.mark.parametrize("make", [lambda x, f: Scaled(f)(x), lambda x, f: scaled(x, factor=f),
                                  lambda x, f: Attributes()(x, factor=f)])
def test_equal_attributes_of_different_types_are_different(make):
    x = np.array([1, 2])
    assert [make(x, f).value.dtype.name for f in (2, 2.0, np.float32(2), 2)] == ["int32", "float32", "float32", "int32"]
    assert [make(np.float32(-1), f).value.item() for f in (1, True, 1.0)] == [-1, -1, -1]
    assert np.signbit(make(1.0, -0.0).value) and not np.signbit(make(1.0, 0.0).value)


def test_a_nan_attribute_compiles_once():
    with count_compilations() as count:
        for _ in range(3):
            assert np.isnan(scaled(1.0, factor=float("nan")).value)
    assert count() == 1


def test_attributes_are_checked():
    assert scaled(1.0).value == 2 and Attributes()(3.0, power=2).value == 36
    with pytest.raises(InputError, match="scaled does not take color; its attributes are: factor"):
        scaled(1.0, color=1)
    with pytest.raises(InputError, match=r"attribute 'factor'.* is static.*got ndarray.*declare it as an input"):
        scaled(1.0, factor=np.ones(2))
    with pytest.raises(InputError, match="static"):
        scaled(1.0, factor=op.sin(1.0))
    with pytest.raises(InputError, match="must be hashable, but got dict"):
        scaled(1.0, factor={})
    with pytest.raises(InputError, match=r"missing its input 'b': it takes \(a, b\) but got 1 inputs"):
        Cotangents()(1.0)
    with pytest.raises(InputError, match="does not take 1 positional attributes"):
        Cotangents()(1.0, 2.0, 3.0)
    assert Cotangents()(b=2.0, a=0.0).value == 0


def test_an_operator_that_was_used_cannot_change():
    operator = Scaled(2.0)
    operator.factor = 3.0
    assert operator(1.0).value == 3
    with pytest.raises(GraphError, match="Scaled was already used, so 'factor' cannot change"):
        operator.factor = 4.0


def test_an_operator_without_super_init_says_so():
    class Forgot(cg.Operator):
        def __init__(self):
            pass

        def call(self, x):
            return x.value

    with pytest.raises(GraphError, match=r"Forgot was used before Operator.__init__: call super\(\).__init__"):
        Forgot()(1.0)


class Masked(cg.Operator):
    """The mask is an array-valued input that is not differentiated."""

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"), cg.Variable("mask", differentiable=False)))

    def call(self, x, mask):
        return x.value * mask.value

    def vjp(self, cotangent, output, x, mask):
        return cotangent * mask, None


def test_an_array_input_without_gradient():
    mask = f32([[1, 0, 1], [0, 1, 0]])
    same(zkynet.grad(lambda x: op.sum(op.square(Masked()(x, mask))))(A), 2 * A * mask)
    same(zkynet.hvp(lambda x: op.sum(op.square(Masked()(x, mask))))(A, vector=V), 2 * V * mask)
    same(zkynet.grad(lambda x, m: op.sum(Masked()(x, m)), (0, 1))(A, mask), (mask, 0 * mask))
    with count_compilations() as count:
        zkynet.grad(lambda x, m: op.sum(Masked()(x, m)), (0, 1))(A, 1 - mask)
    assert count() == 0


class SinCos(cg.Operator):
    """Two outputs of different shapes."""

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),))

    def call(self, x):
        return jnp.sin(x.value), jnp.sum(jnp.cos(x.value))


class SinCosRule(SinCos):
    def vjp(self, cotangents, outputs, x):
        sine, total = cotangents
        assert total.shape == () and outputs[0].shape == x.shape
        return (sine * op.cos(x) - total * op.sin(x),)


@pytest.mark.parametrize("operator", [SinCos(), SinCosRule()], ids=lambda o: o.name)
def test_several_outputs(operator):
    sine, total = operator(A)
    same((sine, total), (np.sin(A), np.float32(np.sum(np.cos(A)))))
    for pick, reference in ((lambda s, t: op.sum(s * t), lambda s, t: jnp.sum(s * t)),
                            (lambda s, t: op.sum(op.square(s)), lambda s, t: jnp.sum(jnp.square(s))),
                            (lambda s, t: t * t, lambda s, t: t * t)):
        def loss(x, pick=pick):
            return pick(*operator(x))

        def loss_jax(x, reference=reference):
            return reference(jnp.sin(x), jnp.sum(jnp.cos(x)))

        same(zkynet.grad(loss)(A), jax.grad(loss_jax)(A), rtol=1e-4)
        same(zkynet.hvp(loss)(A, vector=V), jax.jvp(jax.grad(loss_jax), (A,), (V,))[1], rtol=1e-4, atol=1e-5)
    m = module(lambda x: operator(x))
    result = m(A)
    result[1].back()
    same(result[1].grad(m.input("x")), -np.sin(A))
    assert result[0].children == result[1].children and len(result[0].children) == 1


def test_shape_errors_name_the_operator_its_inputs_and_the_line():
    with pytest.raises(ShapeError, match=r"operator Cotangents\(a: float32\[2,3\], b: float32\[4\]\)") as caught:
        Cotangents()(A, floats(4))
    assert __file__ in str(caught.value)


def test_a_body_that_fails_is_named_too():
    @cg.operator
    def fails(x):
        raise KeyError("inside")

    with pytest.raises(ShapeError, match=r"operator fails\(x: float32\[\]\).*inside") as caught:
        fails(1.0)
    assert __file__ in str(caught.value)

    @cg.operator
    def nothing(x):
        _ = x + 1

    with pytest.raises((InputError, ShapeError), match="nothing.*return"):
        nothing(1.0)
