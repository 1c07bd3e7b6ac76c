"""Contract 2: what may be passed to a Module, and what becomes of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import f32, floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.errors import InputError, ShapeError

DOUBLE = module(lambda x: op.add(x, x))


@pytest.mark.parametrize("value, dtype", [
    (3, "int32"), (True, "bool"), (2.5, "float32"), (np.float32(2.5), "float32"), (np.int8(3), "int8"),
    (np.arange(3), "int32"), (np.arange(3.0), "float32"), (jnp.arange(3), "int32"), ([1, 2], "int32"),
    ([[1.0, 2.0]], "float32"), (np.array([1], np.float16), "float16"), (jnp.ones(2, jnp.bfloat16), "bfloat16"),
    (1 + 2j, "complex64"), (np.zeros((0, 3), np.float32), "float32"),
])
def test_numbers_and_arrays_keep_shape_and_dtype(value, dtype):
    result = module(lambda x: op.identity(x))(value)
    assert result.root.dtype == dtype and result.value.dtype == dtype
    assert result.value.shape == np.shape(value)
    np.testing.assert_array_equal(np.asarray(result.value), np.asarray(value, result.value.dtype))


def test_numpy_inputs_are_copied_as_values_are_read_later():
    x = floats(3)
    result = DOUBLE(x)
    expected = x + x
    x[:] = 0
    same(result.value, expected)


def test_nodes_results_and_parameters_are_inputs():
    w = cg.Parameter("w", 2.0)
    assert DOUBLE(w).value == 4
    assert DOUBLE(DOUBLE(1.0)).value == 4
    assert DOUBLE(DOUBLE(1.0).root).value == 4
    result = DOUBLE(w)
    result.back()
    assert result.grad(w) == 2
    assert result.grad(DOUBLE.input("x")) == 2


def test_a_gradient_through_an_integer_is_computed_in_float32():
    m = module(lambda x: op.mult(op.square(x), x))
    result = m(np.array([2, 3]))
    assert result.value.dtype == "int32"
    result.back(np.ones(2))
    same(result.grad(m.input("x")), f32([12, 27]))


def test_integers_that_only_index_stay_integers_and_have_no_gradient():
    @cg.operator(no_gradient=("index",))
    def take_rows(table, index):
        assert jnp.issubdtype(index.dtype, jnp.integer)
        return table[index]

    m = module(lambda table, index: take_rows(table, op.add(index, 1)))
    table, index = floats(4, 2), np.array([0, 2, 2])
    result = m(table, index)
    cotangent = floats(3, 2)
    result.back(cotangent)
    expected = jax.vjp(lambda t: t[index + 1], table)[1](cotangent)[0]
    same(result.grad(m.input("table")), expected)
    same(result.grad(m.input("index")), np.zeros(3, np.float32))


def test_a_boolean_mask_may_be_multiplied():
    m = module(lambda x, mask: op.mult(x, mask))
    result = m(f32([1, 2]), np.array([True, False]))
    assert result.value.tolist() == [1, 0]
    result.back(np.ones(2))
    assert result.grad(m.input("x")).tolist() == [1, 0]


def test_a_missing_input_is_named():
    m = module(lambda x, y: op.add(x, y))
    with pytest.raises(InputError, match=r"missing its input 'y': it takes \(x, y\)"):
        m(1.0)
    with pytest.raises(InputError, match="'x', 'y'"):
        m()
    assert m(1.0, 2.0).value == 3


def test_an_extra_input_is_named_where_it_was_passed():
    with pytest.warns(UserWarning, match="the extra positional input 5.0, 6.0 is ignored") as caught:
        assert DOUBLE(1.0, 5.0, 6.0).value == 2
    assert caught[0].filename == __file__


def test_an_extra_input_of_a_submodule_is_named_where_it_was_passed():
    m = module(lambda x: DOUBLE(x, 7.0))
    with pytest.warns(UserWarning, match="extra positional input 7.0") as caught:
        m(1.0)
    assert caught[0].filename == __file__


def test_keyword_inputs():
    m = module(lambda x, y: op.add(op.mult(x, 10.0), y))
    assert m(1.0, y=2.0).value == m(y=2.0, x=1.0).value == 12
    result = m(y=2.0, x=1.0)
    result.back()
    assert (result.grad(m.input("x")), result.grad(m.input("y"))) == (10, 1)
    with pytest.raises(InputError, match="'x' twice"):
        m(1.0, x=1.0)
    with pytest.raises(InputError, match="no input 'z'; its inputs are: x, y"):
        m(1.0, z=1.0)


def test_default_inputs():
    class Scaled(cg.Module):
        def call(self, x, factor=3.0, offset=None):
            y = op.mult(x, factor)
            return y if offset is None else op.add(y, offset)

    m = Scaled()
    assert [v.short_name for v in m.inputs] == ["x", "factor", "offset"]
    assert (m(2.0).value, m(2.0, 4.0).value, m(2.0, offset=1.0).value, m(2.0, 1.0, None).value) == (6, 8, 7, 2)


def test_any_number_of_inputs():
    class Total(cg.Module):
        def call(self, first, *others):
            for other in others:
                first = op.add(first, other)
            return first

    assert Total()(1.0).value == 1
    assert Total()(1.0, 2.0, 3.0).value == 6
    assert module(lambda x: Total()(x, x, 1.0))(2.0).value == 5


class Affine(cg.Module):
    """Takes a dict and a tuple, returns a dict."""

    def call(self, pair, named):
        a, b = pair
        return {"sum": op.add(a, op.mult(b, named["scale"])), "parts": (a, named["deep"][0])}


def test_trees_of_inputs_and_outputs():
    result = Affine()((1.0, f32([2, 3])), {"scale": 10.0, "deep": [4.0]})
    same(result.value, {"sum": f32([21, 31]), "parts": (jnp.float32(1), jnp.float32(4))})
    assert result["sum"].shape == (2,)
    result["sum"].back(np.ones(2))
    with pytest.raises(Exception, match=r"(?s)needs one output.*Affine returned a dict of 3"):
        result.back()


def test_the_gradient_of_a_tree_input_is_a_tree():
    m = Affine()
    result = m((1.0, f32([2, 3])), {"scale": 10.0, "deep": [4.0]})
    root = result["sum"]
    root.back(np.ones(2))
    total = module(lambda x: op.mult(x["a"], op.square(x["b"])))
    graph = total({"a": 2.0, "b": 3.0})
    graph.back()
    same(graph.grad(total.input("x")), {"a": jnp.float32(9), "b": jnp.float32(12)})


def test_a_tuple_result_unpacks():
    first, second = module(lambda x: (op.add(x, 1.0), op.square(x)))(3.0)
    assert (first.value, second.value) == (4, 9)
    second.back()
    assert second.children[0].gvalue == 6
    pair = module(lambda x: (op.add(x, 1.0), op.square(x)))(3.0)
    assert len(pair) == 2 and [node.value for node in list(pair)] == [4, 9]


@pytest.mark.parametrize("value", ["text", np.array(["a"]), np.array([object()]), object(), {1, 2},
                                   np.datetime64("2020"), b"bytes", [[1, 2], [3]],
                                   np.zeros(2, dtype=[("field", "f4")])])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(InputError, match="needs a number"):
        DOUBLE(value)
    with pytest.raises(InputError, match="add needs a number"):
        op.add(1.0, value)
    assert DOUBLE(1.0).value == 2


def test_a_number_too_large_for_its_dtype_is_refused_at_once():
    with pytest.raises(InputError, match="1099511627776"):
        op.add(2**40, 1)
    with pytest.raises(InputError, match="x"):
        DOUBLE(2**40)
    for value in (np.array([2**40, 1]), [2**31], np.uint64(2**32)):
        with pytest.raises(InputError, match=r"do not fit into u?int32"):
            DOUBLE(value)
    with pytest.raises(InputError, match="do not fit into int32"):
        cg.Parameter("p", np.array([-2**31 - 1]))


def test_a_list_of_nodes_is_no_array():
    with pytest.raises(InputError, match=r"list with nodes in it.*op.stack"):
        zkynet.grad(lambda x: op.sum([x, x * x]))(3.0)
    with pytest.raises(InputError, match=r"list with nodes in it"):
        op.square([[op.sin(1.0)], [2.0]])


def test_a_variable_is_no_value():
    with pytest.raises(InputError, match=r"template Variable\('x'\) itself"):
        op.square(cg.Variable("x"))
    m = module(lambda x: op.add(x, m.input("x")))
    with pytest.raises(InputError, match="Inside call.., use the argument of that name"):
        m(1.0)


def test_parameters_keep_their_dtype():
    w = cg.Parameter("w", f32([1, 2]))
    w.value = np.array([3, 4])
    assert w.dtype == "float32" and w.value.tolist() == [3, 4]
    w.value = np.array([0.5, 0.25])
    assert w.dtype == "float32"
    with pytest.raises(ShapeError, match=r"has shape \(2,\), but the new value has shape \(3,\)"):
        w.value = np.ones(3)
    with pytest.raises(InputError, match="'w' needs a number"):
        w.value = "high"


def test_an_integer_parameter_becomes_real_rather_than_losing_digits():
    w = cg.Parameter("w", 1)
    w.value = 0.5
    assert w.value == 0.5
