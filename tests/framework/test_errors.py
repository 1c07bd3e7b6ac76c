"""Contract 6 and bad input: errors come at the line that caused them and say what to do; the next call works."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from checks import floats, here, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.errors import (
    DeviceError,
    GraphError,
    InputError,
    NonFiniteError,
    RuleError,
    ShapeError,
    TracedValueError,
    ZkynetError,
)


def works():
    """A call that has nothing to do with what failed before."""
    m = module(lambda x: op.square(x))
    result = m(3.0)
    result.back()
    return result.value == 9 and result.grad(m.input("x")) == 6


@pytest.fixture(autouse=True)
def the_next_call_works():
    yield
    assert works()


def test_all_errors_are_zkynet_errors_and_the_kind_python_users_expect():
    for kind, builtin in ((InputError, TypeError), (ShapeError, ValueError), (NonFiniteError, FloatingPointError),
                          (DeviceError, ValueError), (GraphError, Exception), (RuleError, Exception)):
        assert issubclass(kind, ZkynetError) and issubclass(kind, builtin)
    assert issubclass(TracedValueError, GraphError)


class Inner(cg.Module):
    line = ""

    def call(self, x):
        Inner.line = here(1)
        return op.matmul(x, x)


class Outer(cg.Module):
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),))
        self.blocks = [Inner(), Inner()]

    def call(self, x):
        return self.blocks[1](op.sin(x))


@pytest.mark.parametrize("run", [lambda m, x: m(x), lambda m, x: zkynet.grad(m)(x), lambda m, x: zkynet.compile(m)(x),
                                 lambda m, x: zkynet.vmap(m)(x[None]), lambda m, x: zkynet.checkpoint(m)(x),
                                 lambda m, x: op.scan(lambda c, y: (c, m(y)), 0.0, x[None])],
                         ids=["call", "grad", "compile", "vmap", "checkpoint", "scan"])
def test_a_shape_error_comes_at_the_calling_line_with_operator_and_module_path(run):
    with pytest.raises(ShapeError) as caught:
        run(Outer(), floats(2, 3))
    text = str(caught.value)
    assert "operator matmul(" in text and "float32[2,3]" in text
    assert Inner.line in text
    assert ".blocks.1 at" in text or "Inner" in text
    frames = [str(entry.path) for entry in caught.traceback]
    assert __file__ in frames


def test_the_module_path_is_that_of_the_outermost_call():
    with pytest.raises(ShapeError, match=r" in Outer\.blocks\.1 at "):
        Outer()(floats(2, 3))


def test_a_shape_error_outside_of_modules_names_the_line():
    with pytest.raises(ShapeError) as caught:
        op.add(floats(2), floats(3))
    line = here(-1)
    assert str(caught.value).startswith("operator add(a: float32[2], b: float32[3]) at " + line)
    with pytest.raises(ShapeError, match=r"operator add\(a: float32\[2\], b: float32\[3\]\)"):
        _ = floats(2) + op.sin(floats(3))


def test_nothing_was_computed_before_the_error():
    seen = []

    def call(x):
        y = op.sin(x)
        seen.append(y)
        return op.matmul(y, y)

    with pytest.raises(ShapeError):
        module(call)(floats(2, 3))
    assert not seen[0].is_computed


@pytest.mark.parametrize("build, message", [
    (lambda: op.matmul(floats(2, 3), floats(2, 3)), "operator matmul"),
    (lambda: op.reshape(floats(6), (4, 2)), "operator reshape.*shape="),
    (lambda: op.concat([floats(2), floats(2, 2)], axis=0), "operator concat"),
    (lambda: op.transpose(floats(2, 3), (0, 2)), "operator transpose"),
    (lambda: op.sum(floats(2), axis=3), "operator sum.*axis"),
    (lambda: op.sum(floats(2), colour=3), "does not take colour; its attributes are: axis"),
    (lambda: op.sin(), "missing its input"),
    (lambda: op.add(floats(2)), "missing its input 'b'"),
    (lambda: op.add(1.0, None), "needs a number, an array, a node or a Parameter, but got NoneType"),
    (lambda: op.add(1.0, Outer()), "but got Outer"),
    (lambda: op.add(1.0, op.sin), "but got FunctionOperator"),
])
def test_what_does_not_fit_an_operator_is_refused_at_once(build, message):
    with pytest.raises((ShapeError, InputError), match=message):
        build()


def test_a_call_that_returns_nothing_is_named():
    class Forgetful(cg.Module):
        def call(self, x):
            op.sin(x)

    for run in (Forgetful(), module(lambda x: Forgetful()(x)), zkynet.grad(Forgetful()), zkynet.compile(Forgetful()),
                zkynet.vmap(Forgetful())):
        with pytest.raises(GraphError, match=r"call\(\) of Forgetful returned None: is a return statement missing\?"):
            run(floats(1) if run is not None else None)


def test_a_call_may_leave_out_some_of_its_outputs():
    some = cg.Module.build("Some", lambda x: (x * 2.0, None), (cg.Variable("x"),))
    assert some(1.0).value == (2.0, None)
    assert module(lambda x: some(x)[0] + 1.0)(1.0).value == 3.0


@pytest.mark.parametrize("value", ["text", object(), np.array(["a"])])
def test_a_call_that_returns_no_value_is_named(value):
    with pytest.raises(InputError, match="the output of Model needs a number"):
        module(lambda x: value)(1.0)


def test_a_module_without_call_says_so():
    with pytest.raises(GraphError, match=r"Empty does not define call\(\)"):
        type("Empty", (cg.Module,), {})(inputs=(cg.Variable("x"),))(1.0)
    with pytest.raises(GraphError, match=r"operator Empty does not define call\(\)"):
        type("Empty", (cg.Operator,), {})(inputs=(cg.Variable("x"),))(1.0)


class Endless(cg.Module):
    def __init__(self):
        super().__init__()
        self.other: cg.Module = self

    def call(self, x):
        return self.other(op.sin(x))


@pytest.mark.parametrize("run", [lambda m: m, zkynet.grad, zkynet.compile], ids=["call", "grad", "compile"])
def test_modules_that_call_each_other_without_end_are_named(run):
    a, b = Endless(), Endless()
    a.other, b.other = b, a
    assert a.modules() == [a, b] and a.parameters() == []
    with pytest.raises(GraphError, match="Endless calls itself without end"):
        run(a)(1.0)


def test_a_node_that_left_the_loop_it_was_traced_in_says_so():
    kept = []

    def keep(x):
        kept.append(op.sin(x))
        return x

    zkynet.vmap(keep)(floats(2))
    with pytest.raises(TracedValueError, match="only shapes are known"):
        _ = kept[0].value
    with pytest.raises(TracedValueError, match="only shapes are known"):
        op.square(kept[0]).back()
    assert "sin" in repr(kept[0])


def test_values_of_a_node_by_python():
    y = op.sin(0.0)
    assert float(y) == 0 and int(y) == 0 and not y and np.asarray(y) == 0 and jnp.asarray(y) == 0
    assert list(range(3))[op.add(1, 1)] == 2
    assert [float(v) for v in op.sin(floats(2))] == pytest.approx(np.sin(floats(2)).tolist())
    with pytest.raises(TypeError, match="len"):
        len(y)
    with pytest.raises(TypeError):
        list(y)
    with pytest.raises((ValueError, TypeError)):
        bool(op.sin(floats(2)))
    with pytest.raises((TypeError, IndexError)):
        list(range(3))[op.sin(1.0)]


def test_a_result_of_several_outputs_is_not_one_value():
    pair = module(lambda x: (op.sin(x), op.cos(x)))(0.0)
    same(pair.value, (np.float32(0), np.float32(1)))
    for use in (lambda: op.square(pair), lambda: pair.back(), lambda: pair.grad(cg.Parameter("w")), lambda: pair + 1.0):
        with pytest.raises((GraphError, InputError), match=r"one output|several outputs"):
            use()


def test_gradients_of_what_the_graph_does_not_contain_name_what_it_contains():
    m, other = module(lambda x: x * m.w, cg.Parameter("w", 2.0)), module(lambda x: x * other.w, cg.Parameter("w", 3.0))
    result, stranger = m(1.0), other(1.0)
    result.back()
    with pytest.raises(GraphError, match=r"(?s)Parameter\('w', float32\[\]\) is no part.*this graph has: .*Model.x"):
        result.grad(other.w)
    with pytest.raises(GraphError, match="has no gradient: call back.. first, on a graph that contains it"):
        result.grad(stranger.root)


def test_an_error_of_jax_inside_a_program_leaves_nothing_behind():
    boom = [True]

    @cg.operator(jit=False)
    def host(x):
        if boom[0]:
            raise RuntimeError("on purpose")
        return x

    host.def_vjp(lambda g, y, x: (g,))
    compiled = zkynet.compile(lambda x: host(op.sin(x)))
    with pytest.raises(Exception, match="on purpose"):
        compiled(1.0)
    assert works()
    boom[0] = False
    same(compiled(0.0), np.float32(0))
