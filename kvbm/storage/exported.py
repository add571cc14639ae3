"""Exported memory: where somebody else's array lies, read from what it says of itself.

What this is
    Arrays describe themselves in three ways: DLPack, `__cuda_array_interface__` (and its
    elder brother for NumPy), and Python's buffers. Each of them is read into one value:
    address, bytes, device, read-only or not. Nothing is copied and nothing is imported, so
    element types that NumPy does not have, such as bfloat16, are fine.

Interface, as rules of use
    * describe(owner) gives an `Exported`. Keep it: it keeps the memory alive.
    * The elements must be dense, in whatever order of axes: engines permute axes.

Clauses: KV-INT-05
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kvbm.errors import InvalidStorageConfig
from kvbm.layout.capsules import tensor_in
from kvbm.storage.base import CPU

CUDA: Final = 2


@dataclass(frozen=True, slots=True)
class Exported:
    """Memory of somebody else."""

    address: int
    size: int
    """Bytes."""
    device: tuple[int, int]
    """(device type, device id) of DLPack."""
    read_only: bool
    keep: object
    """What must live as long as the memory is used."""


def describe(owner: Any) -> Exported:
    """Say where the bytes of `owner` lie.

    Parameters
    ----------
    owner
        A NumPy array, or anything with `__dlpack__`, `__cuda_array_interface__` or a buffer.

    Raises
    ------
    InvalidStorageConfig
        It is none of these, or has gaps between its elements.
    """
    if isinstance(owner, np.ndarray):
        return _from_interface(owner, owner.__array_interface__, CPU)
    if hasattr(owner, "__dlpack__"):
        return _from_dlpack(owner)
    if hasattr(owner, "__cuda_array_interface__"):
        return _from_interface(owner, owner.__cuda_array_interface__, (CUDA, 0))
    try:
        array = np.asarray(memoryview(owner))
    except (TypeError, ValueError) as error:
        rule = f"must be an array, export DLPack, or have a buffer ({error})"
        raise InvalidStorageConfig("owner", type(owner).__name__, rule) from error
    return _from_interface(array, array.__array_interface__, CPU)


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements lie side by side without gap or overlap, in any order of the axes.

    Parameters
    ----------
    shape, strides
        Extent of each axis, and its stride in elements.

    Examples
    --------
    >>> is_dense((2, 3), (3, 1)), is_dense((2, 3), (1, 2)), is_dense((2, 3), (6, 2))
    (True, True, False)
    """
    expected = 1
    for stride, extent in sorted(zip(strides, shape, strict=True)):
        if extent != 1:  # the stride of a single element is never taken
            if stride != expected:
                return False
            expected *= extent
    return True


def _need_dense(owner: object, shape: Sequence[int], strides: Sequence[int]) -> None:
    if not is_dense(shape, strides):
        rule = f"has gaps (shape {tuple(shape)}, strides {tuple(strides)}); give a contiguous one"
        raise InvalidStorageConfig("owner", type(owner).__name__, rule)


# ── array interfaces ──────────────────────────────────────────────────────────────────────


def _from_interface(owner: Any, interface: dict[str, Any], device: tuple[int, int]) -> Exported:
    shape, (address, read_only) = interface["shape"], interface["data"]
    dtype = np.dtype(interface["typestr"])
    if dtype.hasobject:
        rule = "holds Python objects; give an array of numbers"
        raise InvalidStorageConfig("owner", type(owner).__name__, rule)
    size = math.prod(shape) * dtype.itemsize
    strides = interface.get("strides")
    if strides is not None and size:
        # Bytes as one more axis: strides that are no multiple of the element need no case.
        _need_dense(owner, (*shape, dtype.itemsize), (*strides, 1))
    return Exported(address or 0, size, device, read_only, owner)


# ── DLPack ────────────────────────────────────────────────────────────────────────────────

_READ_ONLY: Final = 1


def _from_dlpack(owner: Any) -> Exported:
    try:
        try:
            capsule = owner.__dlpack__(max_version=(1, 0))
        except TypeError:  # an exporter from before versions
            capsule = owner.__dlpack__()
    except (BufferError, RuntimeError) as error:
        rule = f"does not let its memory out ({error})"
        raise InvalidStorageConfig("owner", type(owner).__name__, rule) from error
    # Old capsules cannot say "read-only"; who exports them does so for mutable memory.
    tensor, versioned = tensor_in(capsule)
    read_only = versioned is not None and bool(versioned.flags & _READ_ONLY)
    shape = tensor.shape[: tensor.ndim]
    size = (math.prod(shape) * tensor.type_bits * tensor.type_lanes + 7) // 8
    if tensor.strides and size:
        _need_dense(owner, shape, tensor.strides[: tensor.ndim])
    return Exported(
        address=(tensor.data or 0) + tensor.byte_offset,
        size=size,
        device=(tensor.device_type, tensor.device_id),
        read_only=read_only,
        keep=(owner, capsule),
    )
