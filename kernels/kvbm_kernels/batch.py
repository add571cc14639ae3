"""Batched copies: many pointer pairs in one call of the driver, by the copy engines.

What this is
    `cuMemcpyBatchAsync` takes no multiprocessor and, from arrays, costs a few microseconds for
    any number of copies. The bindings build Python lists for it, which costs more than the
    copies; so it is called where it lies, with the arrays as they are.

Interface, as rules of use
    * Copies of a batch run in any order: none may read what another writes.
    * Not on the legacy default stream. Not while a graph is recorded.
    * A driver before CUDA 12.8 has no batches; then each pair is queued by itself.

Source: CUDA driver API, `cuMemcpyBatchAsync`. CUDA 12 has one more argument, `failIdx`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kvbm_kernels import driver
from kvbm_kernels.driver import CudaError

STREAM_ORDER: Final = 1
"""The source is read in stream order. It is always right."""

BATCHES_SINCE: Final = 12080
ONE_ARGUMENT_LESS_SINCE: Final = 13000

Copy = Callable[[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], Any], None]


class Attributes(ctypes.Structure):
    """`CUmemcpyAttributes`, with its two locations spelled out."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in ("order", "src_type", "src_id", "dst_type", "dst_id", "flags")
    )


def copy_batch(
    dst: NDArray[np.uint64], src: NDArray[np.uint64], sizes: NDArray[np.uint64], stream: Any
) -> None:
    """Queue one copy for each index.

    Parameters
    ----------
    dst, src, sizes
        Arrays of equal length, of 64-bit numbers, contiguous. The driver reads them before
        this returns.
    stream
        Any object that is a CUDA stream.

    Raises
    ------
    ValueError
        The arrays do not fit each other.
    CudaError
        The driver refused; none or all of the copies may have been queued.
    """
    for array in (dst, src, sizes):
        if array.dtype != np.uint64 or array.shape != dst.shape or not array.flags.c_contiguous:
            raise ValueError("batches are three contiguous arrays of 64-bit numbers, equally long")
    if dst.size:
        _copier()(dst, src, sizes, stream)


@cache
def _copier() -> Copy:
    version = driver.version()
    if version < BATCHES_SINCE:
        return one_by_one
    cuda = ONE_ARGUMENT_LESS_SINCE if version >= ONE_ARGUMENT_LESS_SINCE else BATCHES_SINCE
    address = driver.entry_point("cuMemcpyBatchAsync", cuda)
    return batched(address, fail_index=cuda < ONE_ARGUMENT_LESS_SINCE) if address else one_by_one


def one_by_one(
    dst: NDArray[np.uint64], src: NDArray[np.uint64], sizes: NDArray[np.uint64], stream: Any
) -> None:
    """Queue the copies each by itself."""
    for to, at, size in zip(dst.tolist(), src.tolist(), sizes.tolist(), strict=True):
        if size:
            driver.copy(to, at, size, stream)


def batched(address: int, *, fail_index: bool) -> Copy:
    """Make a copier from the address of the driver's function."""
    pointer, count = ctypes.c_void_p, ctypes.c_size_t
    extra = (pointer,) if fail_index else ()
    kinds = (*(pointer,) * 3, count, pointer, pointer, count, *extra, pointer)
    function = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(address)
    attributes, first = Attributes(order=STREAM_ORDER), count(0)  # one for all, from copy 0 on

    def copy(
        dst: NDArray[np.uint64], src: NDArray[np.uint64], sizes: NDArray[np.uint64], stream: Any
    ) -> None:
        failed = count(0)
        error = function(
            *(dst.ctypes.data, src.ctypes.data, sizes.ctypes.data, dst.size),
            *(ctypes.addressof(attributes), ctypes.addressof(first), 1),
            *((ctypes.addressof(failed),) if fail_index else ()),
            driver.handle(stream),
        )
        if error:
            raise CudaError(f"cuMemcpyBatchAsync: CUDA error {error}")

    return copy
