"""The import arrows between packages, and what no file may do; read from the syntax trees of all files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(p for package in ("zkynet", "ravnet") for p in (ROOT / package).rglob("*.py"))

# Which packages of ours a package may import; the complete list. A package that is not named here fails.
ARROWS: dict[str, set[str]] = {
    "zkynet.framework": set(),
    "zkynet.nn": {"zkynet.framework"},
    "zkynet.optim": {"zkynet.framework"},
    "zkynet.models": {"zkynet.framework", "zkynet.nn"},
    "zkynet.data": {"zkynet.framework"},  # its errors and dtypes
    "zkynet.visual": {"zkynet.framework"},
    "zkynet.quant": {"zkynet.framework", "zkynet.nn"},
    "zkynet.train": {
        "zkynet", "zkynet.framework", "zkynet.nn", "zkynet.optim", "zkynet.models", "zkynet.data", "zkynet.visual",
        "zkynet.quant",
    },
    "zkynet.interop": {"zkynet.framework", "zkynet.nn"},
    "zkynet": {"zkynet.framework", "zkynet.visual"},
    "ravnet": {"zkynet", "ravnet.api", "ravnet.functions", "ravnet.wire"},  # the facade, errors and the command line
    "ravnet.functions": {"zkynet", "ravnet"},
    "ravnet.wire": {"zkynet", "ravnet"},
    "ravnet.executor": {"zkynet", "ravnet", "ravnet.wire", "ravnet.functions"},
    "ravnet.api": {"zkynet", "ravnet", "ravnet.wire", "ravnet.functions", "ravnet.executor"},
    "ravnet.dl": {"zkynet", "ravnet", "ravnet.api"},
    "ravnet.compat": {"zkynet", "ravnet", "ravnet.api", "ravnet.dl", "ravnet.executor"},
    "ravnet.gateway": {"ravnet.wire"},
}
# Third-party packages that may be imported by the package at module level. Anything else: inside a function,
# and only where FUNCTION_LEVEL says so.
MODULE_LEVEL: dict[str, set[str]] = {
    "zkynet.framework": {"jax", "numpy"},
    "zkynet.nn": {"jax", "numpy"},
    "zkynet.optim": {"jax", "numpy", "optax"},
    "zkynet.models": {"jax", "numpy"},
    "zkynet.data": {"jax", "numpy"},
    "zkynet.visual": {"jax", "numpy"},
    "zkynet.quant": {"jax", "numpy"},
    "zkynet.train": {"jax", "numpy", "optax", "orbax", "pydantic", "yaml", "typer", "rich", "tensorboardX"},
    "zkynet.interop": {"jax", "numpy"},
    "ravnet": {"typer"},
    "ravnet.functions": {"jax", "numpy"},
    "ravnet.wire": {"jax", "ml_dtypes", "numpy", "pydantic"},
    "ravnet.api": {"jax", "numpy", "httpx"},
    "ravnet.dl": {"jax", "numpy"},
    "ravnet.compat": {"numpy"},
    "ravnet.gateway": {"fastapi", "pydantic", "sqlalchemy", "uvicorn", "starlette"},
    "ravnet.executor": {"jax", "ml_dtypes", "numpy", "httpx"},
}
FUNCTION_LEVEL: dict[str, set[str]] = {
    "zkynet.visual": {"graphviz", "matplotlib", "IPython"},
    "zkynet.data": {"PIL", "sklearn"},
    "zkynet.train": {"matplotlib", "safetensors"},
    "zkynet.interop": {"onnx", "onnxruntime", "flax", "torch", "safetensors", "PIL", "google"},
    "ravnet.functions": {"sklearn"},
    "ravnet.wire": {"safetensors"},
    "ravnet.api": {"rich"},
    "ravnet.dl": {"rich"},
    "ravnet.compat": {"dotenv"},
}
HEAVY = {"onnx", "flax", "torch", "optax", "graphviz", "matplotlib", "sklearn", "rich", "pydantic"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    """'zkynet.nn' of 'zkynet.nn.linear'; 'zkynet' of the package itself and of modules right in it."""
    parts = module.split(".")
    if (ROOT / Path(*parts[:2])).is_dir() or len(parts) > 2:
        return ".".join(parts[:2])
    return parts[0]


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """All imported modules as (absolute name, whether at module level, line); relative ones resolved."""
    tree = ast.parse(path.read_text())
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
              for n in ast.walk(f) if n is not f}
    package = name_of(path).split(".")
    if path.stem != "__init__":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            # `from zkynet import nn` imports a package by name.
            names = [f"{start}.{a.name}" if start in ("zkynet", "ravnet") else start for a in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            yield name, id(node) not in inside, node.lineno


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """All dotted names that are read, as written: 'jax.vjp'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node), node


def test_every_package_is_known():
    packages = {package_of(name_of(path)) for path in FILES}
    assert packages <= set(ARROWS), "a new package needs its arrows in this file and in docs"


@pytest.mark.parametrize("package", sorted(ARROWS))
def test_packages_import_only_along_the_arrows(package: str):
    wrong = []
    for path in FILES:
        if package_of(name_of(path)) != package:
            continue
        for name, _, line in imports(path):
            if name.split(".")[0] not in ("zkynet", "ravnet"):
                continue
            target = package_of(name)
            if target != package and target not in ARROWS[package] and target.split(".")[0] not in ARROWS[package]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, f"{package} may import only {sorted(ARROWS[package])}: {wrong}"


def test_zkynet_never_imports_ravnet():
    wrong = [path for path in FILES if name_of(path).startswith("zkynet")
             for name, _, _ in imports(path) if name.split(".")[0] == "ravnet"]
    assert not wrong


def test_third_party_packages_are_imported_only_where_listed():
    wrong = []
    for path in FILES:
        package = package_of(name_of(path))
        for name, at_module_level, line in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in ("zkynet", "ravnet"):
                continue
            allowed = MODULE_LEVEL.get(package, set())
            if not at_module_level:
                allowed = allowed | FUNCTION_LEVEL.get(package, set())
            if top not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {top}")
    assert not wrong


@pytest.mark.parametrize("facade", ["zkynet/framework/cg.py", "zkynet/framework/op.py", "zkynet/__init__.py"])
def test_facades_hold_no_logic(facade: str):
    """A docstring, imports and `__all__` (and, in zkynet, the version)."""
    for node in ast.parse((ROOT / facade).read_text()).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "__version__")
        assert docstring or names or isinstance(node, ast.Import | ast.ImportFrom), f"{facade}:{node.lineno}"


def test_import_zkynet_is_light():
    script = f"import sys, zkynet; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_jax_differentiates_in_one_place_only():
    """Rules are written by hand: JAX's own differentiation serves one class, for operators without a rule. The other
    place gives JAX our rules: in a net that flax differentiates, custom_vjp stands for zkynet's reverse walk."""
    wanted = {"vjp", "grad", "jvp", "jacrev", "jacfwd", "hessian", "linearize", "linear_transpose", "value_and_grad",
              "custom_vjp", "custom_jvp", "custom_gradient"}
    found = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        homes = {id(n): c.name for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for n in ast.walk(c)}
        for text, node in calls(tree):
            start, _, last = text.rpartition(".")
            if last in wanted and start in ("jax", "jax.api", "jax.numpy"):
                found.append((package_of(name_of(path)), homes.get(id(node)), text))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jax":
                assert not wanted & {alias.name for alias in node.names}, f"{path}:{node.lineno}"
    assert sorted(found, key=str) == [("zkynet.framework", "JaxVjp", "jax.vjp"),
                                      ("zkynet.interop", None, "jax.custom_vjp")]


def test_nothing_is_unpickled_or_evaluated_as_code():
    """One file runs code: the script that its user names on the command line."""
    for path in FILES:
        assert not {name.split(".")[0] for name, _, _ in imports(path)} & {"pickle", "dill", "cloudpickle", "marshal",
                                                                           "shelve", "joblib"}, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                runs_a_script = called == "exec" and path == ROOT / "ravnet" / "compat" / "runner.py"
                assert called not in ("eval", "exec", "__import__") or runs_a_script, f"{path}:{node.lineno}"
                allow = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert not any(ast.unparse(k.value) != "False" for k in allow), f"{path}:{node.lineno}"


def test_no_file_is_longer_than_500_lines():
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 500}
    assert not long


def test_the_reader_of_imports_resolves_what_python_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "zkynet" / "nn" / "linear.py"
    file.parent.mkdir(parents=True)
    file.write_text("from ..framework import op\nfrom . import init\nfrom zkynet import optim\n"
                    "import jax.numpy as jnp\ndef f():\n    import torch\n")
    found = [(name, level) for name, level, _ in imports(file)]
    assert found == [("zkynet.framework", True), ("zkynet.nn", True), ("zkynet.optim", True), ("jax.numpy", True),
                     ("torch", False)]
