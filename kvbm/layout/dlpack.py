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

import ctypes
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kvbm.layout.dtypes import DType

HOST = 1
CUDA = 2
PINNED = 3

Device: TypeAlias = tuple[int, int]

_FP8_SINCE = 1
"""Minor version of DLPack 1 that gave FP8 its numbers. PyTorch takes them, but asks for 1.0."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


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
        managed = _Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        if not dtype.in_numpy and dtype is not DType.BF16:
            managed.minor = _FP8_SINCE
        tensor = managed.tensor
    else:
        if not bits.flags.writeable and not copy:
            raise BufferError(
                "the block is read-only, which an unversioned capsule cannot say; give the view "
                "itself to from_dlpack(), or ask for a copy"
            )
        capsule = (bits.copy() if copy else bits).__dlpack__()
        tensor = _Tensor.from_address(_pointer(capsule, b"dltensor"))
    tensor.device_type, tensor.device_id = dl_device or shown
    if versioned or dtype is DType.BF16:
        tensor.type_code = dtype.dlpack_code
    return capsule


def _numpy_knows_versions() -> bool:
    return np.lib.NumpyVersion(np.__version__) >= "2.1.0"
