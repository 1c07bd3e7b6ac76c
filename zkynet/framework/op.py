from .operators.elementwise import *  # noqa
from .operators.linalg import *  # noqa
from .operators.shape import *  # noqa
