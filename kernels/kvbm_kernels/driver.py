"""The CUDA driver, each call checked: memory, plain copies, and where its functions are.

What this is
    The few calls of cuda-python's bindings that this package makes, as functions that
    raise. All imports of cuda-python are in here, inside functions: a machine without
    it can import everything else.

Interface, as rules of use
    * `missing()` says in a sentence why there is no GPU to use, or nothing.
    * A device is current on the calling thread before anything is allocated; `launch.Gpu`
      sees to it.
    * Free what you allocate. Addresses are plain numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from kvbm_kernels.device import WHY_NOT

PORTABLE: Final = 1
"""Pinned memory that all devices may use; its address is the same for host and device."""


class CudaError(RuntimeError):
    """The driver refused. Carries the name of the call and of the error."""


@cache
def bindings() -> Any:
    """Give cuda-python's module of driver functions."""
    from cuda.bindings import driver  # noqa: PLC0415

    return driver


@cache
def core() -> Any:
    """Give cuda-python's module of objects: devices, streams, kernels, the linker."""
    import cuda.core  # noqa: PLC0415

    if hasattr(cuda.core, "Device"):
        return cuda.core
    import cuda.core.experimental  # noqa: PLC0415  # where it was before version 0.5

    return cuda.core.experimental


def missing() -> str:
    """Say why no GPU can be used here; nothing if one can."""
    if WHY_NOT:
        return WHY_NOT
    try:
        call("cuInit", 0)
        count = int(call("cuDeviceGetCount"))
    except ImportError as error:
        return f"cuda-python is not installed: {error}"
    except RuntimeError as error:  # the library is not found, or has no device
        return str(error).partition("\n")[0]
    return "" if count else "the driver sees no device"


def call(name: str, *arguments: Any) -> Any:
    """Call a driver function; give its result, if it has one.

    Raises
    ------
    CudaError
        It failed, or an earlier launch did.
    """
    error, *results = getattr(bindings(), name)(*arguments)
    if int(error) != 0:
        raise CudaError(f"{name}: {error.name}")
    return results[0] if results else None


def device_memory(size: int) -> int:
    """Allocate on the current device; the address is a multiple of 256."""
    return int(call("cuMemAlloc", size))


def free_device_memory(address: int) -> None:
    """Give it back."""
    call("cuMemFree", address)


def pinned_memory(size: int) -> int:
    """Allocate page-locked host memory, which kernels can reach at the same address."""
    return int(call("cuMemHostAlloc", size, PORTABLE))


def free_pinned_memory(address: int) -> None:
    """Give it back."""
    call("cuMemFreeHost", address)


def copy(dst: int, src: int, size: int, stream: Any) -> None:
    """Queue a copy between any two places that the driver knows."""
    call("cuMemcpyAsync", dst, src, size, handle(stream))


def handle(stream: Any) -> int:
    """Give the number of any object that is a CUDA stream."""
    return int(stream.__cuda_stream__()[1])


def version() -> int:
    """Give the version of CUDA that the driver speaks, as 13000 for 13.0."""
    return int(call("cuDriverGetVersion"))


def entry_point(name: str, cuda: int) -> int:
    """Give the address of a driver function, in the form of one version of CUDA; 0 if none."""
    error, address, _ = bindings().cuGetProcAddress(name.encode(), cuda, 0)
    return int(address) if int(error) == 0 and address else 0
