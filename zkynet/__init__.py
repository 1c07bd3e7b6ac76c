"""zkynet: computational graphs that you can see and change, at compiled speed, on JAX.

>>> from zkynet.framework import cg, op
>>> import zkynet
>>> float(zkynet.grad(lambda x: op.sin(x))(0.0))
1.0
"""

from .framework import debug
from .framework.compile import clear_compile_cache, compile_stats, explain_compiles, use_disk_cache
from .framework.compiled import compile
from .framework.config import device, precision, set_device, set_precision
from .framework.errors import ZkynetError
from .framework.gradcheck import gradcheck
from .framework.operators.control import checkpoint
from .framework.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp, vmap
from .visual import summary

__version__ = "0.1.0"

__all__ = [
    "ZkynetError", "checkpoint", "clear_compile_cache", "compile", "compile_stats", "debug", "device",
    "explain_compiles", "grad", "gradcheck", "hessian", "hvp", "jacobian", "jvp", "precision", "set_device",
    "set_precision", "summary", "use_disk_cache", "value_and_grad", "vjp", "vmap",
]
