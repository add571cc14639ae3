"""DLPack: hand an array to another library without a copy, under its true name.

What this is
    NumPy can export an array of its own types in host memory. It knows neither BF16 and
    FP8 nor GPU memory. So NumPy exports the bits, and this module corrects two labels in
    what it made: the type of an element and the device. The capsule's memory management
    stays NumPy's, which is C and survives the end of the interpreter.

Interface, as rules of use
    * Consumers call `from_dlpack(view)`; nobody calls this module but views.
    * BF16 goes under its own name. So does FP8 to consumers that name a version (as
      PyTorch does, and takes it); those that name none are older than DLPack's FP8 and
      get uint8. NumPy refuses both: use `view.numpy()`.
    * Read-only memory goes only to consumers that name a version of at least 1.0, because
      older capsules cannot say it.
    * Pinned memory goes as host memory, which it also is: PyTorch refuses the name of its
      own for it. Who wants that name asks for it with `dl_device`.
    * No stream is waited for: what fills a block says itself when the bytes are there.

Clauses: KV-INT-01
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kvbm.layout.capsules import tensor_in
from kvbm.layout.dtypes import DType

HOST = 1
CUDA = 2
PINNED = 3

Device: TypeAlias = tuple[int, int]

_FP8_SINCE = 1
"""Minor version of DLPack 1 that gave FP8 its numbers. PyTorch takes them, but asks for 1.0."""


def public(device: Device) -> Device:
    """Give the device under which consumers see memory: host for pinned host memory."""
    return (HOST, 0) if device[0] == PINNED else device


def export(
    bits: NDArray[Any],
    dtype: DType,
    device: Device,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: Device | None = None,
    copy: bool | None = None,
) -> Any:
    """Wrap an array in a DLPack capsule. The parameters after `device` are DLPack's own.

    Parameters
    ----------
    bits
        The array, in `dtype.bits`. On a GPU only its address is looked at.
    dtype
        What the bits are.
    device
        Where they are.

    Raises
    ------
    BufferError
        The consumer asks for what cannot be given without a wrong claim.
    """
    on_gpu = device[0] == CUDA
    if stream is not None and not on_gpu:
        raise BufferError(f"stream = {stream!r}: host memory has no streams")
    shown = public(device)
    if dl_device is not None and tuple(dl_device) not in (shown, device):
        raise BufferError(f"the block is on device {shown}, not on {tuple(dl_device)}")
    if copy and (on_gpu or dl_device == device != shown):
        raise BufferError("only a copy in plain host memory can be made here")
    versioned = max_version is not None and max_version >= (1, 0) and _numpy_knows_versions()
    if versioned:
        capsule: Any = bits.__dlpack__(max_version=(1, 0), copy=copy)
    else:
        if not bits.flags.writeable and not copy:
            raise BufferError(
                "the block is read-only, which an unversioned capsule cannot say; give the view "
                "itself to from_dlpack(), or ask for a copy"
            )
        capsule = (bits.copy() if copy else bits).__dlpack__()
    tensor, managed = tensor_in(capsule)
    if managed is not None and not dtype.in_numpy and dtype is not DType.BF16:
        managed.minor = _FP8_SINCE
    tensor.device_type, tensor.device_id = dl_device or shown
    if versioned or dtype is DType.BF16:
        tensor.type_code = dtype.dlpack_code
    return capsule


def _numpy_knows_versions() -> bool:
    return np.lib.NumpyVersion(np.__version__) >= "2.1.0"
