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
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile `function` with Numba on its first call; keep its Python type."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # Numba sets it from the environment
        return cast("Callable[Parameters, Result]", _interpreted(function))
    return cast("Callable[Parameters, Result]", numba.njit(cache=True)(function))


def _interpreted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run `function` as it stands, on arrays that look as they do to compiled code.

    There, the fields of a record are attributes, and 64-bit numbers wrap without a word.
    """

    @wraps(function)
    def run(*arguments: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*map(_with_attributes, arguments))

    return run


def _with_attributes(argument: Any) -> Any:
    records = isinstance(argument, np.ndarray) and argument.dtype.names is not None
    return argument.view(np.recarray) if records else argument
