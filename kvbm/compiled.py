"""The one door to Numba: plain Python loops over arrays, compiled on first use.

What this is
    The inner loops of this package are written once, as plain Python over NumPy
    arrays. `compiled` hands them to Numba; `function.py_func` is the same text,
    interpreted, and the tests compare the two.

Interface, as rules of use
    * A compiled function takes arrays and numbers and touches nothing else.
    * The machine code is cached beside the source and renewed when *that file*
      changes. A constant that comes from another file is frozen into the cache:
      pass such values as arguments.
    * Set `NUMBA_DISABLE_JIT=1` to step through everything in a debugger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile `function` with Numba on its first call; keep its Python type."""
    return cast("Callable[Parameters, Result]", numba.njit(cache=True)(function))
