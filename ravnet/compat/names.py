"""The module names of Raven's libraries, and what stands for each here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_V1 = {"": "ravnet.dl.v1", ".layers": "ravnet.dl.v1.layers", ".optimizers": "ravnet.dl.v1.optimizers",
       ".loss_functions": "ravnet.dl.v1.loss_functions", ".load_onnx_model": "ravnet.dl.v1.load_onnx_model"}
_V2 = {"": "ravnet.compat.models", ".layers": "ravnet.compat.layers", ".optimizers": "ravnet.dl.optimizers",
       ".loss_functions": "ravnet.dl.loss_functions", ".load_onnx_model": "ravnet.dl.v1.load_onnx_model"}
_UTILS = {".utils": "ravnet.dl.utils", ".utils.data_manipulation": "ravnet.dl.utils.data_manipulation"}
_PROVIDER = "ravnet.compat.provider"

# Raven's name: ours; None for packages that only hold others.
MODULES: dict[str, str | None] = {
    "ravop": "ravnet.compat.ravop",
    "ravop.core": "ravnet.compat.ravop",  # of early versions
    "ravdl": None,
    **{f"ravdl{name}": ours for name, ours in _UTILS.items()},
    **{f"ravdl.v2{name}": ours for name, ours in {**_V2, **_UTILS}.items()},
    **{f"ravdl.{one}{name}": ours for one in ("neural_networks", "v1") for name, ours in {**_V1, **_UTILS}.items()},
    "ravpy": _PROVIDER,
    "ravpy.initialize": _PROVIDER,
    "ravpy.utils": _PROVIDER,
    "ravpy.participate": _PROVIDER,
    "ravpy.distributed": None,
    "ravpy.distributed.participate": _PROVIDER,
    "ravpy.federated": None,
    "ravpy.federated.participate": "ravnet.compat.federated",
}


class RavenFinder(MetaPathFinder, Loader):
    """Imports Raven's names as modules with the contents of ours."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname in MODULES:
            return ModuleSpec(fullname, self, is_package=any(name.startswith(f"{fullname}.") for name in MODULES))
        known = [name for name in MODULES if name.startswith(f"{fullname.partition('.')[0]}.")]
        if known:
            raise ModuleNotFoundError(f"ravnet has no module that stands for {fullname!r}; it has: "
                                      f"{', '.join(known)}.", name=fullname)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name, space = module.__name__, vars(module)
        ours = MODULES[name]
        if ours is None:
            return
        source = importlib.import_module(ours)
        public = [item for item in vars(source).get("__all__") or dir(source) if not item.startswith("_")]
        for item in public:
            if f"{name}.{item}" in MODULES:  # now, so that importing it later does not put the module in its place
                importlib.import_module(f"{name}.{item}")
        space.update({item: getattr(source, item) for item in public}, __all__=public, __doc__=source.__doc__)
        space["__getattr__"] = lambda item: getattr(source, item)


def install() -> None:
    """Make Raven's names importable in this process."""
    if not any(isinstance(finder, RavenFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, RavenFinder())
