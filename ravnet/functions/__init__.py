"""The mathematics behind every function of ravop, as a table on zkynet's operators.

>>> from zkynet.framework import op
>>> FUNCTIONS["matmul"].call(op.ones((2, 3)), op.ones((3, 1))).value.tolist()
[[3.0], [3.0]]
"""

from .choosing import NOWHERE
from .function import Bound, Function, Input, Parameter
from .index_text import parse_index, read_index, write_index
from .late import call_late, named
from .learners import fit
from .table import FUNCTIONS

__all__ = ["Bound", "FUNCTIONS", "Function", "Input", "NOWHERE", "Parameter", "call_late", "fit", "named",
           "parse_index", "read_index", "write_index"]
