"""Every operator against its reference in jax.numpy, by the rows of all `cases_*.py`.

A row costs two compiled programs, one of ours and one of JAX's, each giving the value, the gradient, the
forward-mode derivative and the second derivatives at once. Finite differences run our program again at
points nearby, so they compile nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case

from zkynet.framework import config, op, operators, transforms
from zkynet.framework.avals import Aval, aval_like, aval_of
from zkynet.framework.compile import known_values, run
from zkynet.framework.operator import operator
from zkynet.framework.operators.control import trace
from zkynet.framework.operators.registry import REGISTRY
from zkynet.framework.structure import Structure

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
NUMERIC_TOLERANCE = 1e-6


def all_cases() -> list[Case]:
    """The rows of every cases_*.py beside this file."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
    return [case for name in modules for case in importlib.import_module(name).CASES]


def public_names() -> set[str]:
    """What the operator modules offer: the functions of zkynet.framework.op."""
    names: set[str] = set()
    for info in pkgutil.iter_modules(operators.__path__):
        module = importlib.import_module(f"{operators.__name__}.{info.name}")
        names.update(getattr(module, "__all__", ()))
    return names


CASES = all_cases()


# The derivatives that are compared, once in terms of zkynet and once of JAX ---------------------------------


class Derivatives:
    """Which inputs and outputs of a row are differentiated, and how often."""

    def __init__(self, case: Case, reference: Callable[..., Any], inputs: Sequence[Any]):
        floating = [i for i, x in enumerate(inputs) if jnp.issubdtype(x.dtype, jnp.inexact)]
        outputs = jax.tree.leaves(jax.eval_shape(reference, *inputs))
        self.wrt = () if case.order == 0 else tuple(floating if case.wrt is None else case.wrt)
        self.moving = tuple(i for i, o in enumerate(outputs) if jnp.issubdtype(o.dtype, jnp.inexact))
        self.outputs = outputs
        self.order = case.order if self.wrt and self.moving else 0

    def restricted(self, function: Callable[..., Any], inputs: Sequence[Any]) -> Callable[..., list[Any]]:
        """The floating outputs as a function of the differentiated inputs alone."""

        def moving(*values: Any) -> list[Any]:
            given = list(inputs)
            for index, value in zip(self.wrt, values, strict=True):
                given[index] = value
            leaves = jax.tree.leaves(function(*given))
            return [leaves[i] for i in self.moving]

        return moving


def by_zkynet(case: Case, what: Derivatives) -> Callable[..., list[Any]]:
    """(inputs, cotangents, tangents, directions) -> [values, gradients, jvps, second derivatives]."""

    def everything(inputs: list[Any], cotangents: list[Any], tangents: list[Any]) -> list[Any]:
        parts: list[Any] = [jax.tree.leaves(case.function(*inputs))]
        if not what.order:
            return parts
        function = what.restricted(case.function, inputs)
        argnums = tuple(range(len(what.wrt)))
        at = [inputs[i] for i in what.wrt]

        def pulled(given: list[Any], values: list[Any]) -> Any:
            return list(transforms.vjp(function, argnums)(*values, cotangent=given)[1])

        parts.append(pulled(cotangents, at))
        parts.append(transforms.jvp(function, argnums)(*at, tangent=tuple(tangents))[1])
        if what.order > 1:
            parts.append(transforms.vjp(pulled, (0, 1))(cotangents, at, cotangent=tangents)[1])
        return parts

    return everything


def by_jax(case: Case, what: Derivatives) -> Callable[..., list[Any]]:
    """The same, with JAX's derivatives of the reference."""

    def everything(inputs: list[Any], cotangents: list[Any], tangents: list[Any]) -> list[Any]:
        parts: list[Any] = [jax.tree.leaves(case.reference(*inputs))]
        if not what.order:
            return parts
        function = what.restricted(case.reference, inputs)
        at = [inputs[i] for i in what.wrt]

        def pulled(given: list[Any], values: list[Any]) -> Any:
            return list(jax.vjp(function, *values)[1](given))

        parts.append(pulled(cotangents, at))
        parts.append(jax.jvp(function, tuple(at), tuple(tangents))[1])
        if what.order > 1:
            parts.append(jax.vjp(pulled, cotangents, at)[1](tangents))
        return parts

    return everything


# Checks -----------------------------------------------------------------------------------------------------


class Program:
    """Our side of a row: one compiled program, run at any point."""

    def __init__(self, function: Callable[..., Any], arguments: Any):
        avals = jax.tree.map(lambda x: aval_of(x) if hasattr(x, "sharding") else aval_like(x), arguments)
        self.structure, self.captured, self.tree = trace(function, list(avals), "a row")

    def __call__(self, arguments: Any) -> list[Any]:
        arrays = [*jax.tree.leaves(arguments), *known_values(self.captured)]
        return jax.tree.unflatten(self.tree, run(self.structure, arrays))


def random_like(like: Sequence[Any], seed: int) -> list[jax.Array]:
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.uniform(-1.0, 1.0, x.shape), x.dtype) for x in like]


def check_close(ours: Any, theirs: Any, case: Case, what: str) -> None:
    a, b = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(a) == len(b), f"{what}: {len(a)} results, the reference has {len(b)}"
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        name = f"{case}, {what} {index}"
        assert x.shape == y.shape, f"{name}: shape {x.shape}, the reference has {y.shape}"
        assert x.dtype == y.dtype, f"{name}: dtype {x.dtype}, the reference has {y.dtype}"
        x, y = np.asarray(x), np.asarray(y)
        if not case.nan and x.dtype.kind in "fc":
            assert not np.isnan(x).any(), f"{name}: ours has a NaN: {x} (reference {y}); see Case.nan"
        finite = np.abs(y[np.isfinite(y)]) if y.dtype.kind in "fc" else np.zeros(0)
        floor = 1e-3 * case.tolerance * max(1.0, finite.max(initial=0.0))
        np.testing.assert_allclose(x, y, rtol=case.tolerance, atol=floor, err_msg=name)


def check_numerically(case: Case, what: Derivatives, program: Program, arguments: Any, parts: list[Any]) -> None:
    """The jvp against differences of values, the second derivatives against differences of gradients."""
    inputs, cotangents, tangents = jax.tree.map(np.asarray, arguments)  # JAX would compile the sums below

    def at(t: float) -> list[Any]:
        moved = list(inputs)
        for index, direction in zip(what.wrt, tangents, strict=True):
            moved[index] = inputs[index] + t * direction
        return program([moved, cotangents, tangents])

    pairs = [(lambda p: [p[0][i] for i in what.moving], parts[2], "finite difference of the value")]
    if what.order > 1:
        pairs.append((lambda p: [_dot(p[1], tangents)], [_dot(parts[3][1], tangents)],
                      "finite difference of the gradient"))
    estimates = [_differences(at, h) for h in STEPS]
    for choose, analytic, name in pairs:
        errors = []
        for difference in estimates:
            for a, n in zip(analytic, difference(choose), strict=True):
                scale = max(1.0, np.abs(a).max(initial=0.0))
                errors.append(np.abs(np.asarray(a) - n).max(initial=0.0) / scale)
        per_step = np.reshape(errors, (len(STEPS), -1)).max(axis=1)
        assert per_step.min() < NUMERIC_TOLERANCE, (
            f"{case}: {name} differs by {per_step.min():.2g} (relative) at the best of the steps {STEPS}")


def _dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    return sum(np.vdot(x, y) for x, y in zip(a, b, strict=True))


def _differences(at: Callable[[float], Any], h: float) -> Callable[..., list[np.ndarray]]:
    """The five-point formula, whose error is of order h^4."""
    points = [at(t) for t in (-2 * h, -h, h, 2 * h)]

    def difference(choose: Callable[..., list[Any]]) -> list[np.ndarray]:
        a, b, c, d = ([np.asarray(v) for v in choose(p)] for p in points)
        return [(8 * (z - y) - (w - x)) / (12 * h) for x, y, z, w in zip(a, b, c, d, strict=True)]

    return difference


def check_float32(case: Case, inputs: Sequence[Any]) -> None:
    """float32 in, float32 out and back, by shapes and dtypes alone: nothing is compiled."""
    narrow = [jax.ShapeDtypeStruct(x.shape, np.float32 if x.dtype == np.float64 else _narrow(x.dtype))
              for x in inputs]
    what = Derivatives(case, case.reference, narrow)
    if case.order > 1:
        what.order = min(what.order, 1)
    seeds = [[what.outputs[i] for i in what.moving], [narrow[i] for i in what.wrt]]
    program = Program(by_zkynet(case, what), [narrow, *seeds])
    found = jax.tree.unflatten(program.tree, program.structure.out_avals)
    expected = [what.outputs, *([seeds[1], seeds[0]] if what.order else [])]
    for ours, theirs, name in zip(found, expected, ("value", "gradient", "jvp"), strict=False):
        assert [a.dtype for a in ours] == [t.dtype for t in theirs], f"{case}: dtypes of the {name} in float32"


def _narrow(dtype: np.dtype) -> np.dtype:
    return np.dtype({"int64": "int32", "uint64": "uint32", "complex128": "complex64"}.get(dtype.name, dtype.name))


def wide_avals(structure: Structure) -> list[Aval]:
    """Floating values inside a structure that are neither bfloat16 nor a Python number's."""
    found = [item if item.__class__ is Aval else item.aval for item, _ in structure.instructions]
    flat = [aval for item in found for aval in (item if isinstance(item, tuple) else (item,))]
    return [a for a in flat if a.inexact and not a.weak_type and a.dtype != jnp.bfloat16]


def operators_of(structure: Structure) -> set[str]:
    return {item.operator.name for item, _ in structure.instructions if item.__class__ is not Aval}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case: Case) -> None:
    with config.precision("float64"):
        inputs = [jnp.asarray(x) for x in case.inputs]
        what = Derivatives(case, case.reference, inputs)
        cotangents = random_like([what.outputs[i] for i in what.moving], seed=1)
        tangents = random_like([inputs[i] for i in what.wrt], seed=2)
        arguments = [inputs, cotangents, tangents]
        program = Program(by_zkynet(case, what), arguments)
        ours = program(arguments)
        theirs = jax.jit(by_jax(case, what))(*arguments)
        for name, x, y in zip(("value", "gradient", "jvp", "second derivative"), ours, theirs, strict=False):
            check_close(x, y, case, name)
        if what.order and case.numeric:
            check_numerically(case, what, program, arguments, ours)
    if case.operator in REGISTRY:
        assert case.operator in operators_of(program.structure), f"{case} does not use the operator it names"
    if case.float32:
        check_float32(case, inputs)


def is_floating_elementwise(case: Case) -> bool:
    integers = any(jnp.issubdtype(np.asarray(x).dtype, jnp.integer) for x in case.inputs)
    return case.float32 and not integers and getattr(REGISTRY.get(case.operator), "elementwise", False)


@pytest.mark.parametrize("case", list(filter(is_floating_elementwise, CASES)), ids=str)
def test_python_numbers_do_not_widen(case: Case) -> None:
    """In bfloat16 everything stays bfloat16, in the bodies as in the rules: their constants are weak."""
    narrow = [jax.ShapeDtypeStruct(x.shape, jnp.bfloat16 if x.dtype == np.float64 else x.dtype) for x in case.inputs]
    what = Derivatives(case, case.reference, narrow)
    what.outputs = jax.tree.map(lambda o: jax.ShapeDtypeStruct(
        o.shape, jnp.bfloat16 if jnp.issubdtype(o.dtype, jnp.floating) else o.dtype), what.outputs)
    seeds = [[what.outputs[i] for i in what.moving], [narrow[i] for i in what.wrt]]
    assert not wide_avals(Program(by_zkynet(case, what), [narrow, *seeds]).structure)


# The judge judged: each of these is wrong in one way, at y = sin x.
SPOILED: dict[str, tuple[str, dict[str, Any]]] = {
    "value": ("value", {"body": lambda x: jnp.sin(x) + 1e-8}),
    "gradient": ("gradient", {"vjp": (lambda g, y, x: -(g * op.cos(x)),)}),
    "second derivative": ("second derivative", {"vjp": (lambda g, y, x: g * op.stop_gradient(op.cos(x)),)}),
    "forward mode": ("jvp", {"jvp": lambda t, y, x: t[0] * op.cos(x) * 2.0}),
    "nan": ("NaN", {"vjp": (lambda g, y, x: g * op.sqrt(op.cos(x) - 2.0),)}),
    "float32": ("float32", {"body": lambda x: jnp.sin(x).astype("float64" if x.dtype == "float64" else "float16")}),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_operator_is_caught(name: str) -> None:
    message, parts = SPOILED[name]
    made = operator(parts.get("body", lambda x: jnp.sin(x)), name="spoiled",
                    vjp=parts.get("vjp", (lambda g, y, x: g * op.cos(x),)))
    made.jvp = parts.get("jvp")
    with pytest.raises(AssertionError, match=message):
        test_operator(Case("spoiled", made, jnp.sin, (np.array([0.3, 1.0]),)))


def test_finite_differences_catch_what_the_reference_shares() -> None:
    """The same wrong rule on both sides, given to JAX as a custom derivative."""
    wrong = jax.custom_jvp(jnp.sin)
    wrong.defjvp(lambda x, t: (jnp.sin(x[0]), -jnp.cos(x[0]) * t[0]))
    made = operator(lambda x: jnp.sin(x), name="spoiled", vjp=(lambda g, y, x: -(g * op.cos(x)),))
    with pytest.raises(AssertionError, match="finite difference of the value"):
        test_operator(Case("spoiled", made, wrong, (np.array([0.3, 1.0]),)))


def test_every_operator_has_a_row() -> None:
    """Registered operators, also those that only rules and transforms use, and public functions over them."""
    tested = {case.operator for case in CASES}
    missing = sorted((set(REGISTRY) | public_names()) - tested)
    assert not missing, f"no row in any cases_*.py for: {', '.join(missing)}"


def test_rows_have_names_of_their_own() -> None:
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
