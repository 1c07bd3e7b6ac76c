"""Contract 5: calls that fail leave nothing behind; calls at the same time do not see each other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import f32, module, same

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.session import current_session


class Counting(cg.Module):
    """Counts its calls; fails after counting where told."""

    def __init__(self):
        super().__init__(inputs=(cg.Variable("x"),), params=(cg.Parameter("w", 2.0),))
        self.count = cg.State("count", 0)
        self.fail = False

    def call(self, x):
        self.count.value = op.add(self.count, 1)
        if self.fail:
            raise KeyboardInterrupt if self.fail == "interrupt" else RuntimeError("on purpose")
        return op.mult(x, self.param("w"))


@pytest.mark.parametrize("kind", [True, "interrupt"])
@pytest.mark.parametrize("run", [lambda m: m(1.0), lambda m: zkynet.grad(m)(1.0), lambda m: zkynet.compile(m)(1.0),
                                 lambda m: module(lambda x: m(m(x)))(1.0)], ids=["call", "grad", "compile", "nested"])
def test_a_failing_call_leaves_nothing_behind(run, kind):
    m = Counting()
    m.fail = kind
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        run(m)
    assert current_session.get() is None
    assert m.count.value == 0
    m.fail = False
    result = m(3.0)
    result.back()
    assert (result.value, result.grad(m.param("w")), m.count.value) == (6, 3, 1)


def test_a_failing_call_takes_back_all_its_updates_but_not_earlier_ones():
    m = Counting()
    m(1.0)
    m.fail = True

    with pytest.raises(RuntimeError):
        module(lambda x: m(x))(1.0)
    assert m.count.value == 1


@pytest.mark.parametrize("transform", [zkynet.grad, zkynet.value_and_grad, zkynet.hessian])
def test_a_transform_that_refuses_the_output_takes_back_updates(transform):
    m = Counting()
    with pytest.raises(zkynet.ZkynetError):
        transform(m)(np.ones(3, np.float32))
    assert m.count.value == 0


def test_a_wrong_cotangent_takes_back_updates():
    m = Counting()
    with pytest.raises(zkynet.ZkynetError):
        zkynet.vjp(m)(1.0, cotangent=np.ones(2))
    assert m.count.value == 0


def test_a_call_inside_a_failing_call_can_be_caught():
    def call(x):
        try:
            op.add(np.ones(2), np.ones(3))
        except zkynet.ZkynetError:
            return op.square(x)

    result = module(call)(3.0)
    assert result.value == 9 and {n.call_id for n in result.nodes} == {result.call_id}


def test_a_failing_submodule_that_is_caught_leaves_the_outer_path_right():
    m = Counting()
    m.fail = True

    def call(x):
        try:
            m(x)
        except RuntimeError:
            pass
        return op.square(x)

    result = module(call)(3.0)
    assert result.root.scope.path == "Model"


def test_threads_do_not_see_each_other():
    barrier = threading.Barrier(4, timeout=30)
    w = cg.Parameter("w", 2.0)

    def call(x):
        barrier.wait()  # all four calls are open at the same time
        y = op.mult(x, w)
        barrier.wait()
        return op.square(y)

    m = module(call)

    def work(k):
        result = m(float(k))
        result.back()
        ids = {n.call_id for n in result.nodes}
        gradients = float(result.grad(w)), float(result.grad(m.input("x")))
        return float(result.value), *gradients, ids == {result.call_id}, ids

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    assert [f[:4] for f in found] == [(4.0 * k * k, 4.0 * k * k, 8.0 * k, True) for k in range(4)]
    assert len(set.union(*(f[4] for f in found))) == 4


def test_a_failing_thread_does_not_disturb_another():
    ready, failed = threading.Event(), threading.Event()

    def slow(x):
        ready.set()
        assert failed.wait(30)
        return op.square(x)

    def failing(x):
        raise RuntimeError("on purpose")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: module(slow)(3.0).value)
        assert ready.wait(30)
        with pytest.raises(RuntimeError):
            module(failing)(1.0)
        failed.set()
        assert future.result() == 9


def test_a_thread_started_inside_a_call_is_outside_of_it():
    def call(x):
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lambda: module(lambda x: op.add(x, 1.0))(5.0)).result()
        assert isinstance(other, cg.ModuleGraph) and other.value == 6
        return op.square(x)

    assert module(call)(3.0).value == 9


def test_first_calls_of_one_structure_in_many_threads_agree():
    barrier = threading.Barrier(8, timeout=30)
    m = module(lambda x: op.mult(op.sin(op.square(x)), op.cos(x)))

    def work(_):
        barrier.wait()
        result = m(0.7)
        result.back()
        return float(result.value), float(result.grad(m.input("x")))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1


def test_asyncio_tasks_do_not_see_each_other():
    m = module(lambda x: op.square(x))

    async def task(k, order):
        with zkynet.precision("bfloat16" if k % 2 else "float32"):
            await asyncio.sleep(0)  # all tasks are inside their block now
            order.append(k)
            result = m(f32([k]))
            await asyncio.sleep(0)
            order.append(k)
            result.back(np.ones(1))
            return result.root.dtype.name, float(result.grad(m.input("x"))[0]), result.call_id

    async def main():
        order: list[int] = []
        return await asyncio.gather(*(task(k, order) for k in range(4))), order

    found, order = asyncio.run(main())
    assert order == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [f[:2] for f in found] == [("bfloat16" if k % 2 else "float32", 2.0 * k) for k in range(4)]
    assert len({f[2] for f in found}) == 4


def test_calls_in_worker_threads_of_asyncio():
    m = module(lambda x: op.square(x))

    async def main():
        return await asyncio.gather(*(asyncio.to_thread(lambda k=k: float(m(float(k)).value)) for k in range(4)))

    assert asyncio.run(main()) == [0, 1, 4, 9]


def test_a_python_body_that_fails_inside_call_takes_back_updates():
    state = cg.State("s", 1.0)
    boom = [True]

    @cg.operator(jit=False)
    def fragile(x):
        if boom[0]:
            raise RuntimeError("on purpose")
        return x

    def call(x):
        state.value = op.add(fragile(x), state)
        return op.square(x)

    m = module(call)
    with pytest.raises(Exception, match="on purpose"):
        _ = m(3.0).value
    boom[0] = False
    assert state.value == 1
    assert m(3.0).value == 9
    same(state.value, np.float32(4))
