"""NumPy as old scripts knew it: names that newer versions removed, for the script's own files alone."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


class _Cast:
    """np.cast["float32"](x) and np.cast[np.float32](x)."""

    def __getitem__(self, dtype: Any) -> Any:
        return lambda values: np.asarray(values, dtype=dtype)


# Some of them NumPy still has, with another meaning (np.bool is a dtype of its own now).
OLD_NAMES: dict[str, Any] = {
    "cast": _Cast(), "float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex,
    "long": int, "unicode": str, "float_": np.float64, "int0": np.intp, "complex_": np.complex128, "bool8": np.bool_,
    "string_": np.bytes_, "unicode_": np.str_, "cfloat": np.complex128, "singlecomplex": np.complex64,
    "NaN": np.nan, "NAN": np.nan, "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf, "NINF": -np.inf,
    "PZERO": 0.0, "NZERO": -0.0, "product": np.prod, "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any,
    "round_": np.round, "row_stack": np.vstack, "in1d": lambda values, test, **options: np.isin(
        np.ravel(values), test, **options),
    "trapz": np.trapezoid, "asfarray": lambda values, dtype=np.float64: np.asarray(values, dtype=dtype),
    "msort": lambda values: np.sort(values, axis=0), "asscalar": lambda array: array.item(),
}


def old_numpy() -> ModuleType:
    """A module with all that numpy has, and the names that it had once."""
    made = ModuleType("numpy", np.__doc__)
    vars(made).update({**vars(np), **OLD_NAMES})  # with numpy's own __getattr__, for what it loads when asked
    return made


def shim(script: Path) -> None:
    """From now on, `import numpy` in the script and in files of its folder gives the old names too; other files see
    numpy itself. The script may be a link, or lie behind one: Python looks for modules where it leads."""
    real, old, own, start = builtins.__import__, old_numpy(), str(script.absolute()), f"{script.resolve().parent}/"
    others = tuple([place for place in _others() if place.startswith(start)])

    def importing(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        found = real(name, globals, locals, fromlist, level)
        if found is not np:
            return found
        file = str((globals or {}).get("__file__") or "")
        return old if file == own or file.startswith(start) and not file.startswith(others) else found

    builtins.__import__ = importing


def _others() -> list[str]:
    """Where files are that are nobody's script: the environment, and this project."""
    project = Path(__file__).resolve().parents[2]
    places = [Path(place) for place in (sys.prefix, sys.base_prefix, *sys.path) if Path(place).name != ""]
    packages = [place for place in places if place.name in ("site-packages", "dist-packages")]
    return [f"{place}/" for place in [sys.prefix, sys.base_prefix, *packages, project / "ravnet", project / "zkynet"]]
