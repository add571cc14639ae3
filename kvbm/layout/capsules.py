"""DLPack's structures, as both who gives memory out and who takes it in read them.

What this is
    The tensor of dlpack.h, version 1, in its two wrappings, and how to find it in a capsule.

Interface, as rules of use
    * tensor_in(capsule) gives the tensor, and its versioned wrapping if it has one. Both
      are the capsule's own memory: writing changes it, and they live as long as it does.
    * A capsule that is never marked as used stays its own owner: it frees what it holds
      when it is dropped, and nobody needs to call its deleter.
"""

from __future__ import annotations

import ctypes
from typing import Any


class Tensor(ctypes.Structure):
    """`DLTensor`. Shape and strides are counted in elements; no strides means C order."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Versioned(ctypes.Structure):
    """`DLManagedTensorVersioned`; the lowest bit of its flags says "read-only"."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


# Prototypes of our own: `ctypes.pythonapi.X` is one object that the whole process shares.
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)


def tensor_in(capsule: Any) -> tuple[Tensor, Versioned | None]:
    """Find the tensor in a capsule, and its versioned wrapping, or None if it is an old one.

    Raises
    ------
    ValueError
        It is no DLPack capsule, or a used one.
    """
    if _is_valid(capsule, b"dltensor_versioned"):
        versioned = Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        return versioned.tensor, versioned
    return Tensor.from_address(_pointer(capsule, b"dltensor")), None
