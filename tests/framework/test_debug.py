"""When a value is not finite, the first node that is to blame is named, forward or backward."""

from __future__ import annotations

import numpy as np
import pytest

import zkynet
from zkynet.framework import cg, op
from zkynet.framework.debug import find_nonfinite, nan_checks
from zkynet.framework.errors import NonFiniteError


class Scale(cg.Module):
    def call(self, x):
        return op.log(x) * 2.0


class Model(cg.Module):
    def __init__(self):
        super().__init__()
        self.scale = Scale()

    def call(self, x):
        return op.sum(self.scale(x) + 1.0)


def test_a_finite_graph_has_no_culprit():
    assert find_nonfinite(Model()(np.array([1.0, 2.0], np.float32))) is None


def test_the_first_forward_node_is_named_with_module_path_and_line():
    found = find_nonfinite(Model()(np.array([1.0, 0.0], np.float32)))
    assert found is not None
    assert (found.node.name, found.direction, found.what) == ("log", "forward", "inf")
    assert found.module == "Model.scale"
    assert found.where is not None and found.where.startswith(__file__)
    assert "log" in str(found) and "Model.scale" in str(found)


def test_a_gradient_that_is_not_finite_is_found_where_the_value_is():
    root = cg.Module.build("Root", lambda x: op.sum(op.sqrt(x)), (cg.Variable("x"),))
    found = find_nonfinite(root(np.array([0.0, 1.0], np.float32)))
    assert found is not None
    assert (found.node.name, found.direction, found.what) == ("x", "backward", "inf")
    assert find_nonfinite(root(np.array([0.0, 1.0], np.float32)), backward=False) is None


def test_an_infinite_constant_is_a_mask_and_no_culprit():
    mask = np.array([0.0, -np.inf], np.float32)
    masked = cg.Module.build("Masked", lambda x: op.sum(op.softmax(op.where(mask < 0, 0.0, x))), (cg.Variable("x"),))
    assert find_nonfinite(masked(np.ones(2, np.float32)), backward=False) is None


def test_an_input_that_is_nan_is_named_itself():
    found = find_nonfinite(Model()(np.array([np.nan, 1.0], np.float32)))
    assert found is not None and found.node.name == "x" and found.what == "nan"


def test_nan_checks_raise_where_it_arises_and_only_inside_the_block():
    model, x = Model(), np.array([-1.0, 2.0], np.float32)
    with pytest.raises(NonFiniteError, match=r"operator log gave nan .* in Model.scale, made at .*test_debug.py"), \
            nan_checks():
        _ = model(x).value
    assert np.isnan(model(x).value)


def test_nan_checks_name_a_backward_operator_with_the_line_of_its_forward_node():
    root = cg.Module.build("Root", lambda x: op.sum(op.sqrt(x)), (cg.Variable("x"),))
    result = root(np.array([0.0, 1.0], np.float32))
    result.back()
    with pytest.raises(NonFiniteError, match=r"gave inf .*test_debug.py"), nan_checks():
        result.grad(root.input("x"))


def test_nan_checks_look_into_compiled_functions():
    compiled, x = zkynet.compile(Model()), np.array([-1.0, 2.0], np.float32)
    assert np.isnan(compiled(x))
    with pytest.raises(NonFiniteError, match=r"operator log gave nan .* in Model.scale, made at .*test_debug.py"), \
            nan_checks():
        compiled(x)


def test_nan_checks_of_nothing():
    with pytest.raises(NonFiniteError, match="empty"), nan_checks():
        _ = op.mean(np.zeros(0, np.float32)).value


def test_looking_for_what_is_not_finite_leaves_gradients_as_they_were():
    root = cg.Module.build("Double", lambda x: x * 2.0, (cg.Variable("x"),))
    result = root(3.0)
    result.back(5.0)
    assert find_nonfinite(result) is None
    assert result.grad(root.input("x")) == 10


def test_nan_checks_pass_what_is_finite_unchanged():
    x = np.array([1.0, 2.0], np.float32)
    with nan_checks():
        checked = Model()(x).value
    assert checked == pytest.approx(float(Model()(x).value), rel=1e-6)


def test_a_printed_result_shows_the_tree_with_shapes_and_values():
    result = Model()(np.array([1.0, 2.0], np.float32))
    before = str(result)
    assert "Model.scale" in before and "log = log(x): float32[2]" in before
    assert "= 3.38" not in before  # nothing is computed by printing
    _ = result.value
    assert "= 3.38" in str(result)


def test_a_printed_result_counts_the_parameters_of_its_graph():
    w = cg.Parameter("w", np.ones((2, 3), np.float32))
    twice = cg.Module.build("Twice", lambda x: (x @ w) + op.sum(w), (cg.Variable("x"),))
    assert "6 parameters in 1 arrays" in str(twice(np.ones((4, 2), np.float32)))


def test_a_disk_cache_is_filled(tmp_path, monkeypatch):
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    keys = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes")
    before = {key: getattr(jax.config, key) for key in keys}
    try:
        zkynet.use_disk_cache(tmp_path)
        _ = op.tanh(op.sin(np.arange(7.0, dtype=np.float32)) * 0.123).value
        assert any(tmp_path.iterdir())
    finally:
        for key, value in before.items():
            jax.config.update(key, value)
        compilation_cache.reset_cache()
