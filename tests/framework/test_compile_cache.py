"""Contract 9 and the cache: what is compiled, when again, why, and how much is kept."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from checks import floats, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework import compile as compiling
from zkynet.framework.compile import count_compilations
from zkynet.framework.errors import InputError, TracedValueError
from zkynet.framework.structure import Structure


class Model(cg.Module):
    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"), cg.Variable("rate")), params=(cg.Parameter("w", floats(3)),))

    def call(self, x, rate):
        return op.sum(op.sin(x * self.param("w")) * rate)


def step(m, x, rate: Any = 2.0):
    result = m(x, rate)
    result.back()
    return result.grad(m.param("w")), result.value


@pytest.fixture
def model():
    zkynet.clear_compile_cache()
    return Model()


def test_call_and_back_are_one_program(model):
    with count_compilations() as count:
        step(model, floats(3))
    assert count() == 1


@pytest.mark.parametrize("again", [
    lambda m: step(m, floats(3, seed=5)),
    lambda m: step(m, floats(3), 7.5),
    lambda m: (setattr(m.param("w"), "value", floats(3, seed=6)), step(m, floats(3))),
    lambda m: (setattr(m.param("w"), "value", np.arange(3)), step(m, floats(3))),
    lambda m: step(m, floats(3).astype(np.float64)),
    lambda m: step(Model(), floats(3)),
], ids=["values", "Python number", "parameters", "parameters of integers", "float64 of NumPy", "another instance"])
def test_the_same_structure_compiles_nothing(model, again):
    step(model, floats(3))
    before = zkynet.compile_stats()
    again(model)
    after = zkynet.compile_stats()
    assert after.compilations == before.compilations and after.hits > before.hits


@pytest.mark.parametrize("again", [
    lambda m: step(m, floats(1)), lambda m: step(m, np.arange(3)), lambda m: step(m, floats(3), np.float32(2)),
    lambda m: step(m, floats(3), 2),
], ids=["shape", "dtype", "strong type", "integer"])
def test_another_structure_compiles_one_more(model, again):
    step(model, floats(3))
    with count_compilations() as count:
        again(model)
        assert count() == 1
        again(model)
    assert count() == 1


def test_going_back_to_an_earlier_shape_compiles_nothing(model):
    for size in (3, 1):
        step(model, floats(size))
    with count_compilations() as count:
        for size in (3, 1, 3):
            step(model, floats(size))
    assert count() == 0


def test_transforms_share_programs_between_functions_of_the_same_structure():
    zkynet.clear_compile_cache()
    with count_compilations() as count:
        for factor in (1.0, 2.0):
            assert zkynet.grad(lambda x, factor=factor: x * x * factor)(3.0) == 6 * factor
    assert count() == 1


def test_the_order_of_python_objects_does_not_matter():
    zkynet.clear_compile_cache()
    with count_compilations() as count:
        for a, b in ((1.0, 2.0), (2.0, 1.0), (1.0, 1.0)):
            m = module(lambda a, b: op.sin(a) + op.cos(b))
            _ = m(a, b).value
    assert count() == 1


def test_a_training_step_compiles_once_though_the_rate_changes():
    """Forward, backward and update are one program; rate and parameters are its arguments."""
    m = Model()

    def train(x, rate):
        loss, (gradient,) = zkynet.value_and_grad(lambda x: m(x, 1.0), wrt=[m.param("w")])(x)
        m.param("w").value = m.param("w") - rate * gradient
        return loss

    compiled = zkynet.compile(train)
    w = np.asarray(m.param("w").value)
    x = floats(3, seed=1)
    with count_compilations() as count:
        for rate in (0.1, 0.2, np.float32(0.3).item()):
            same(compiled(x, rate), np.float32(np.sum(np.sin(x * w))))
            w = w - np.float32(rate) * np.cos(x * w) * x
            same(m.param("w").value, w)
    assert count() == 1


# compile ---------------------------------------------------------------------------------------------------


def test_a_compiled_function_runs_python_once_for_each_signature():
    traced = []

    def f(x, mode="sum", *, scale=1.0):
        traced.append((x.shape, mode))
        return {"sum": op.sum, "max": op.max}[mode](x) * scale

    compiled = zkynet.compile(f)
    for _ in range(2):
        same(compiled(floats(3)), np.sum(floats(3)))
        same(compiled(floats(4)), np.sum(floats(4)))
        same(compiled(floats(3), "max", scale=2.0), 2 * np.max(floats(3)))
    assert traced == [((3,), "sum"), ((4,), "sum"), ((3,), "max")]


def test_a_compiled_function_follows_its_parameters():
    m = Model()
    compiled = zkynet.compile(m)
    x = floats(3, seed=1)
    for k in range(3):
        m.param("w").value = floats(3, seed=k)
        same(compiled(x, 2.0), np.float32(2 * np.sum(np.sin(x * floats(3, seed=k)))))


def test_a_compiled_function_takes_and_gives_trees():
    compiled = zkynet.compile(lambda t: {"sum": t["a"] + t["b"][0], "same": t["a"]})
    same(compiled({"a": floats(3), "b": (1.0,)}), {"sum": floats(3) + 1, "same": floats(3)})


def test_a_compiled_function_of_nodes_continues_the_graph():
    compiled = zkynet.compile(lambda x: op.sin(x))
    y = compiled(op.square(2.0))
    assert isinstance(y, cg.Node)
    assert zkynet.grad(compiled)(0.0) == 1
    assert zkynet.grad(lambda x: compiled(x) * 2.0)(0.0) == 2


def test_a_compiled_function_notices_training_and_evaluation_mode():
    class Modal(cg.Module):
        traced = 0

        def call(self, x):
            Modal.traced += 1
            return x * 2.0 if self.training else x

    m = Modal()
    compiled = zkynet.compile(m)
    for _ in range(3):
        assert (m.train() and compiled(3.0)) == 6
        assert (m.eval() and compiled(3.0)) == 3
    assert Modal.traced == 2
    one, other = Modal(), Modal()
    both = zkynet.compile(lambda x: one(x) + other(x) * 10.0)
    one.eval()
    assert both(1.0) == 21
    one.train()
    other.eval()
    assert both(1.0) == 12
    other.training = True
    assert both(1.0) == 22
    other.training = False
    assert both(1.0) == 12


def test_a_compiled_function_that_asks_for_a_value_says_what_to_use():
    with pytest.raises(TracedValueError, match="op.cond"):
        zkynet.compile(lambda x: x if x > 0.0 else -x)(1.0)
    with pytest.raises(InputError, match="hashable static values, but got set"):
        zkynet.compile(lambda x: x)({1})


def test_a_compiled_function_may_fail_once():
    fail = [True]

    def f(x):
        if fail[0]:
            raise RuntimeError("on purpose")
        return op.sin(x)

    compiled = zkynet.compile(f)
    with pytest.raises(RuntimeError):
        compiled(0.0)
    fail[0] = False
    assert compiled(0.0) == 0


# The cache -------------------------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_drops_the_least_recently_used(monkeypatch):
    zkynet.clear_compile_cache()
    monkeypatch.setattr(compiling, "CACHE_LIMIT", 8)
    f = module(lambda x: op.negative(x))
    favourite = floats(1)
    for size in range(2, 30):
        _ = f(floats(size)).value
        _ = f(favourite).value
        assert zkynet.compile_stats().structures <= 8
    with count_compilations() as count:
        _ = f(favourite).value
        assert count() == 0
        same(f(floats(2)).value, -floats(2))
        assert count() == 1


def test_dropped_programs_are_freed(monkeypatch):
    zkynet.clear_compile_cache()
    monkeypatch.setattr(compiling, "CACHE_LIMIT", 8)
    gradient = zkynet.grad(lambda x: op.scan(lambda c, x: (op.sin(c) + x, c), 0.0, x)[0])
    seen = []
    for size in range(1, 9):
        gradient(floats(size))
        seen += [weakref.ref(s) for s in compiling._structures.values() if s.program is not None]
    zkynet.clear_compile_cache()
    gc.collect()
    assert not [r for r in seen if r() is not None]


def test_a_compiled_function_keeps_a_bounded_number_of_programs(monkeypatch):
    monkeypatch.setattr(compiling, "CACHE_LIMIT", 8)
    compiled = zkynet.compile(lambda x: op.negative(x))
    for size in [*range(1, 30), 1]:
        same(compiled(floats(size)), -floats(size))
        assert len(compiled.programs) <= 8


def test_bodies_of_loops_are_freed_with_the_programs_that_use_them():
    def structures():
        gc.collect()
        return sum(type(o) is Structure for o in gc.get_objects())

    def loop(x):
        return op.sum(op.scan(lambda c, x: (op.sin(c) + x, c), op.zeros(x.shape[1:]), x)[0])

    zkynet.clear_compile_cache()
    before = structures()
    for size in range(2, 6):
        zkynet.grad(loop)(floats(3, size))
    assert structures() > before + 8
    zkynet.clear_compile_cache()
    assert structures() <= before


def test_clearing_the_cache_forgets_statistics():
    _ = op.sin(1.0).value
    zkynet.clear_compile_cache()
    stats = zkynet.compile_stats()
    assert (stats.compilations, stats.hits, stats.structures) == (0, 0, 0) and zkynet.explain_compiles() == []
    assert op.sin(0.0).value == 0


def test_explanations_say_what_changed():
    zkynet.clear_compile_cache()
    m = module(lambda x, rate: op.sum(op.sin(x)) * rate)
    for x, rate in ((floats(32, 64), 2.0), (floats(17, 64), 2.0), (floats(17, 64), 2)):
        m(x, rate).back()
        result = m(x, rate)
        result.back()
        result.grad(m.input("x"))
    _ = module(lambda x: op.cos(x))(1.0).value
    first, shape, dtype, other = zkynet.explain_compiles()
    assert (first.what, first.reason) == ("Model, backward", "the first program")
    assert shape.reason == "input x went from float32[32,64] to float32[17,64]"
    assert dtype.reason.startswith("input rate went from float32[] (weak) to int32[] (weak)")
    assert other.what == "Model"
    assert "operators" in str(first) and zkynet.explain_compiles(last=1) == [other]


def test_explanations_name_another_operator():
    zkynet.clear_compile_cache()
    for function in (op.sin, op.cos):
        _ = module(lambda x, function=function: function(op.square(x)))(1.0).value
    assert zkynet.explain_compiles()[-1].reason == "operator 1 went from sin to cos"


def test_many_threads_share_one_cache():
    zkynet.clear_compile_cache()
    f = module(lambda x: op.sin(op.cos(x)))
    found = []
    threads = [threading.Thread(target=lambda k=k: found.append(f(floats(k)).value)) for k in (3, 3, 4, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert len(found) == 4 and zkynet.compile_stats().structures == 2


def test_programs_are_kept_on_disk_where_asked(tmp_path):
    import os
    import subprocess
    import sys
    from pathlib import Path

    script = ("import sys, zkynet; from zkynet.framework import op; zkynet.use_disk_cache(sys.argv[1]); "
              "print(op.sin(op.sin(0.0)).value)")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, capture_output=True, text=True,
                          timeout=120, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir())
