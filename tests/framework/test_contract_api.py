"""Contract 1: the API of the README, as written there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, module, same

from zkynet.framework import cg, op
from zkynet.framework.errors import GraphError, InputError


class SimpleModel(cg.Module):
    """A rather simple function that represents:

    f(x,w) = (x+w)*x^2

    where x is an input and w is a parameter.
    """
    def __init__(self, w0=1):
        super().__init__(inputs=(cg.Variable("x"),),
                         params=(cg.Parameter("w", w0),))

    def call(self, x):
        a = op.add(x, self.param("w"))
        b = op.square(x)
        c = op.mult(a, b)
        return c


class CompositeModel_NoWeightSharing_DifferentInputs(cg.Module):
    """used to test composition"""
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x1"),
                                 cg.Variable("x2")))
        # I expect the weights in the two may differ
        self._m1 = SimpleModel()
        self._m2 = SimpleModel()

    def call(self, x1, x2):
        a = self._m1(x1)
        b = self._m2(x2)
        return op.add(a, b)


class CompositeModel_WeightSharing_DifferentInputs(cg.Module):
    """used to test composition"""
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x1"),
                                 cg.Variable("x2")))
        # I expect the weights in the two may differ
        self._m1 = SimpleModel(w0=2)

    def call(self, x1, x2):
        a = self._m1(x1)
        b = self._m1(x2)
        return op.add(a, b)


class CompositeModel_NoWeightSharing_SameInputs(cg.Module):
    """used to test composition"""
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x1"),))
        # I expect the weights in the two may differ
        self._m1 = SimpleModel()
        self._m2 = SimpleModel()

    def call(self, x1):
        a = self._m1(x1)
        b = self._m2(x1)
        return op.add(a, b)


class CompositeModel_WeightSharing_SameInputs(cg.Module):
    """used to test composition"""
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x1"),))
        # I expect the weights in the two may differ
        self._m1 = SimpleModel()

    def call(self, x1):
        a = self._m1(x1)
        b = self._m1(x1)
        return op.add(a, b)


class Multiply(cg.Operator):
    def __init__(self):
        super().__init__(inputs=(cg.Variable("a"), cg.Variable("b")))

    def call(self, a, b):
        return a.value * b.value

    def _gradfn(self, inpt):
        def _a_grad(a, b):
            return b.value
        def _b_grad(a, b):
            return a.value
        if inpt.short_name == "a":
            return _a_grad
        elif inpt.short_name == "b":
            return _b_grad
        else:
            raise ValueError(
                f"Unknown input for {self.functional_name}: {inpt.short_name}")


def test_forward_pass():
    m = SimpleModel()
    result = m(3)
    assert isinstance(result, cg.ModuleGraph)
    assert jnp.issubdtype(result.value.dtype, jnp.integer)
    assert result.value == 36 and result.root.value == 36


def test_each_call_is_an_independent_graph():
    m = SimpleModel()
    result1 = m(3)
    result2 = m(3)
    assert result1 != result2
    assert result1.root != result2.root
    assert result1.call_id != result2.call_id
    assert not set(result1.nodes) & set(result2.nodes)


def test_a_vector_input():
    result = SimpleModel()(np.array([3, 4, 5]))
    assert result.value.tolist() == [36, 80, 150]


def test_back_and_grad():
    m = SimpleModel()
    result = m(3)
    result.back()
    assert result.grad(m.param("w")) == 9
    assert result.grad(m.input("x")) == 33


def test_no_weight_sharing_no_input_sharing():
    m = CompositeModel_NoWeightSharing_DifferentInputs()
    result = m(3, 4)
    assert result.value == 36 + 80
    result.back()
    assert [result.grad(m.input(name)) for name in ("x1", "x2")] == [33, 56]
    assert [result.grad(sub.param("w")) for sub in (m._m1, m._m2)] == [9, 16]


def test_weight_sharing_no_input_sharing():
    m = CompositeModel_WeightSharing_DifferentInputs()
    result = m(3, 3)
    assert result.value == 90
    result.back()
    assert [result.grad(m.input(name)) for name in ("x1", "x2")] == [39, 39]
    assert result.grad(m._m1.param("w")) == 18
    assert len([n for n in cg.get_input_nodes(result.root) if n.template is m._m1.param("w")]) == 1


@pytest.mark.parametrize("shared", [False, True])
def test_input_sharing_ignores_the_extra_input_with_a_warning(shared: bool):
    m = (CompositeModel_WeightSharing_SameInputs if shared else CompositeModel_NoWeightSharing_SameInputs)()
    with pytest.warns(UserWarning, match="takes 1 inputs .x1.; the extra positional input 4 is ignored") as caught:
        result = m(3, 4)
    assert caught[0].filename == __file__
    assert result.value == 72
    result.back()
    assert result.grad(m.input("x1")) == 66
    assert result.grad(m._m1.param("w")) == (18 if shared else 9)
    assert len(cg.get_input_nodes(result.root)) == (2 if shared else 3)


@pytest.mark.filterwarnings("ignore:.*extra positional input:UserWarning")
@pytest.mark.parametrize("model, inputs", [
    (SimpleModel, (3,)), (CompositeModel_NoWeightSharing_DifferentInputs, (3, 4)),
    (CompositeModel_WeightSharing_DifferentInputs, (3, 3)), (CompositeModel_NoWeightSharing_SameInputs, (3, 4)),
    (CompositeModel_WeightSharing_SameInputs, (3, 4)),
])
def test_plot_of_each(model, inputs, monkeypatch, tmp_path):
    from zkynet.visual import plot_cg

    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    m = model()
    result = m(*inputs)
    plot_cg(result.root, wait=2, title=f"test_visualize_{model.__name__}_**Same**Inputs")
    assert list(tmp_path.rglob("*.html"))


def test_multiply_as_an_operator():
    m = module(lambda a, b: Multiply()(a, b))
    result = m(3.0, 4.0)
    assert result.value == 12
    result.back()
    assert [result.grad(m.input(name)) for name in "ab"] == [4, 3]
    with pytest.raises(Exception, match="no input 'c'"):
        Multiply().gradfn(cg.Variable("c"))


def test_an_operator_may_return_a_number_an_array_or_a_node():
    class Returns(cg.Operator):
        def __init__(self, what):
            super().__init__(inputs=(cg.Variable("x"),))
            self.what = what

        def call(self, x):
            results = {"number": 2.0, "numpy": f32([1, 2]), "array": x.value * 3, "node": op.mult(x, 3.0)}
            return results[self.what]

    assert Returns("number")(1.0).value == 2
    assert Returns("numpy")(1.0).value.tolist() == [1, 2]
    assert Returns("array")(1.0).value == Returns("node")(1.0).value == 3


def test_build_makes_a_module_of_a_function():
    m = cg.Module.build("Cube", lambda x: op.mult(x, op.square(x)), (cg.Variable("x"),))
    assert isinstance(m, cg.Module) and m.functional_name == "Cube"
    result = m(2.0)
    result.back()
    assert result.value == 8 and result.grad(m.input("x")) == 12


def test_nodes_know_their_place_in_the_graph():
    result = SimpleModel()(3)
    c = result.root
    a, b = c.children
    assert (c.name, a.name, b.name) == ("mult", "add", "square")
    x, w = a.children
    assert b.children == (x,) and x.parents == (a, b) and w.parents == (a,)
    assert a.parents == (c,) and c.parents == ()
    assert x.isleaf() and w.isleaf() and not c.isleaf()
    assert cg.get_input_nodes(c) == [x, w] == cg.get_input_nodes(result)
    nodes = cg.get_all_nodes(c)
    assert set(nodes) == {x, w, a, b, c} and nodes == result.nodes
    assert all(nodes.index(child) < nodes.index(node) for node in nodes for child in node.children)
    assert len({node.id for node in nodes}) == 5
    assert {node.call_id for node in nodes} == {result.call_id}


def test_nodes_have_values_and_gradients():
    result = SimpleModel()(3)
    a, b = result.root.children
    assert [n.gvalue for n in result.nodes] == [None] * 5
    result.back()
    assert (a.value, b.value) == (4, 9)
    assert result.root.gvalue == 1 and a.gvalue == 9 and b.gvalue == 4
    assert [float(n.gvalue) for n in a.children] == [33, 9]


def test_gradfn_is_the_local_derivative_as_a_callable_module():
    derivative = Multiply().gradfn(cg.Variable("a"))
    assert isinstance(derivative, cg.Module)
    assert derivative(3.0, 4.0).value == 4
    same(op.square.gradfn(op.square.input("x"))(f32([1, 2])).value, f32([2, 4]))


def test_node_grad_of_a_child_is_the_local_derivative():
    result = SimpleModel()(3.0)
    a, b = result.root.children
    assert result.root.grad(a) == 9 and result.root.grad(b) == 4
    with pytest.raises(GraphError, match="not a child"):
        result.root.grad(a.children[0])


def test_gradients_before_back_and_of_strangers_are_errors_that_say_what_to_do():
    m, other = SimpleModel(), SimpleModel()
    result = m(3)
    with pytest.raises(GraphError, match=r"call back\(\)"):
        result.grad(m.param("w"))
    result.back()
    with pytest.raises(GraphError, match=r"(?s)no part of this graph.*Parameter\('SimpleModel.w'"):
        result.grad(other.param("w"))
    with pytest.raises(InputError, match="no parameter 'v'; its parameters are: w"):
        m.param("v")
    with pytest.raises(InputError, match="no input 'y'; its inputs are: x"):
        m.input("y")


def test_jax_agrees():
    def f(x, w):
        return (x + w) * x**2

    w: Any = f32([0.5, -1.0, 2.0])
    m = SimpleModel(w)
    x = f32([3, 4, 5])
    result = m(x)
    result.back()
    dx, dw = jax.jacrev(f, (0, 1))(x, w)
    same(result.grad(m.input("x")), dx)
    same(result.grad(m.param("w")), dw)
