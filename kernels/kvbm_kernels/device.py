"""Device functions: plain Python that a kernel calls, compiled without asking for a GPU.

What this is
    Numba's own ways to write a function for kernels want a driver when they compile.
    These do not, so that all kernels compile on any machine, and the tests read the
    code that comes out. In the simulator, and where Numba's CUDA target is missing,
    a device function is the plain Python function that it was written as.

Interface, as rules of use
    * `@device_function(result, *parameters)` names Numba types; integers given to it
      are converted to them. The body is compiled as it stands.
    * `@instruction(result, *parameters, lower=...)` is for a body that cannot be compiled, such
      as an access to an address: the decorated function is the meaning, and `lower` writes the
      code.
    * `WHY_NOT` says what is missing for compiling, and is empty where nothing is.

Source: numba-cuda's `type_callable` and `lower_builtin`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
from numba import cuda

Function = TypeVar("Function", bound=Callable[..., Any])
Lowering = Callable[[Any, list[Any]], Any]
"""From a builder and the converted arguments to the result: llvmlite values."""

SIMULATED: Final = bool(numba.config.ENABLE_CUDASIM)  # type: ignore[attr-defined]  # from the environment
"""Whether kernels run in Numba's simulator in this process."""

WHY_NOT: Final = (
    "kernels run in Numba's simulator here (NUMBA_ENABLE_CUDASIM)"
    if SIMULATED
    else ""
    if "numba_cuda" in str(cuda.__file__)
    else "numba-cuda is not installed, or its start-up hook did not run: install the extra cuda13"
)


def device_function(result: str, *parameters: str) -> Callable[[Function], Function]:
    """Make a function callable from kernels; its body is compiled."""

    def decorate(function: Function) -> Function:
        if not WHY_NOT:
            _register(function, result, parameters, _compiled_body(function, result, parameters))
        return function

    return decorate


def instruction(result: str, *parameters: str, lower: Lowering) -> Callable[[Function], Function]:
    """Make a function callable from kernels; `lower` writes its code."""

    def decorate(function: Function) -> Function:
        if not WHY_NOT:
            _register(function, result, parameters, lambda _, builder, args: lower(builder, args))
        return function

    return decorate


def numba_type(name: str) -> Any:
    """Give the Numba type of a name; `uint64x2` is a pair."""
    from numba.cuda import types  # noqa: PLC0415  # only numba-cuda has it

    word, _, count = name.partition("x")
    return types.UniTuple(getattr(types, word), int(count)) if count else getattr(types, name)


def _compiled_body(function: Function, result: str, parameters: tuple[str, ...]) -> Any:
    from numba.cuda.typing import signature  # noqa: PLC0415

    def lower(context: Any, builder: Any, args: list[Any]) -> Any:
        kinds = signature(numba_type(result), *map(numba_type, parameters))
        return context.compile_internal(builder, function, kinds, args)

    return lower


def _register(
    function: Callable[..., Any], result: str, parameters: tuple[str, ...], lower: Any
) -> None:
    from numba.cuda import types  # noqa: PLC0415
    from numba.cuda.extending import lower_builtin, type_callable  # noqa: PLC0415

    kinds = [types.BaseTuple if "x" in name else types.Number for name in parameters]

    def typer(*given: Any) -> Any:
        fits = len(given) == len(kinds) and all(map(isinstance, given, kinds))
        return numba_type(result) if fits else None

    typer.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # Numba reads it
    type_callable(function)(lambda _: typer)

    def emit(context: Any, builder: Any, signature: Any, args: list[Any]) -> Any:
        converted = [
            context.cast(builder, value, given, numba_type(name))
            for value, given, name in zip(args, signature.args, parameters, strict=True)
        ]
        made = lower(context, builder, converted)
        return context.get_dummy_value() if result == "void" else made

    lower_builtin(function, *kinds)(emit)
