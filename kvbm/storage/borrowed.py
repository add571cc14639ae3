"""Borrowed storage: memory that belongs to the caller, such as an engine's KV tensor.

What this is
    A storage on memory that is there already. Nothing is copied; the owner is kept alive
    as long as the storage, or an array of it, lives.

Interface, as rules of use
    * `BorrowedStorage(tensor)` for a NumPy or torch tensor, a bytearray, an mmap, and
      whatever has DLPack, `__cuda_array_interface__` or a buffer.
    * It must be writable and dense. Permuted axes are fine.
    * Memory of a device is described and has an address; array() refuses.
    * Do not resize or free the memory by other means than dropping it.

Clauses: KV-SHD-03, KV-INT-05
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from kvbm.errors import InvalidStorageConfig, NotAccessible
from kvbm.storage.base import CPU, Bytes, StorageType
from kvbm.storage.exported import CUDA, Exported, describe
from kvbm.storage.region import Region

CUDA_HOST: Final = 3
CUDA_MANAGED: Final = 13


@final
class BorrowedStorage(Region):
    """A storage on the memory of `owner`.

    Parameters
    ----------
    owner
        A NumPy array, or anything with `__dlpack__`, `__cuda_array_interface__` or a buffer.
    storage_type
        What the storage calls itself. By default what the memory is: System, Pinned or
        Device(id). An engine on the CPU may call its tensors Device(0).

    Raises
    ------
    InvalidStorageConfig
        The memory is read-only, empty, not dense, or of a device that is not known here.

    Examples
    --------
    >>> tensor = np.zeros((2, 4), np.float16)
    >>> storage = BorrowedStorage(tensor)
    >>> storage.memset(60, 0, 16)
    >>> storage.size, float(tensor[0, 0])
    (16, 1.05859375)
    """

    def __init__(self, owner: Any, storage_type: StorageType | None = None) -> None:
        exported = describe(owner)
        name = type(owner).__name__
        if exported.read_only:
            rule = "is read-only, and a storage is written; give a writable one"
            raise InvalidStorageConfig("owner", name, rule)
        if not exported.size or not exported.address:
            raise InvalidStorageConfig("owner", name, "is empty; a storage must have bytes")
        reachable = exported.device[0] in (CPU[0], CUDA_HOST)
        natural = _type_of(name, exported.device)
        array = np.asarray(_Span(exported)) if reachable else None
        super().__init__(storage_type or natural, exported.size, array, keep=exported)
        self._addr = exported.address
        self._device = exported.device

    def device(self) -> tuple[int, int]:
        """Where the memory is, as (device type, device id) of DLPack."""
        self._need_open()
        return self._device

    def array(self) -> Bytes:
        """Give all bytes as a writable array, or raise `NotAccessible` for a device's memory."""
        if self._device[0] in (CUDA, CUDA_MANAGED):
            self._need_open()
            instead = "copy them on their device, or through host memory"
            raise NotAccessible(repr(self._storage_type), "array()", instead)
        return super().array()


class _Span:
    """Bytes at an address, as NumPy adopts them; the array keeps this, and this the owner."""

    def __init__(self, exported: Exported) -> None:
        self._keep = exported
        self.__array_interface__ = {
            "version": 3,
            "shape": (exported.size,),
            "typestr": "|u1",
            "data": (exported.address, False),
        }


def _type_of(name: str, device: tuple[int, int]) -> StorageType:
    kind, number = device
    if kind == CPU[0]:
        return StorageType.System
    if kind == CUDA_HOST:
        return StorageType.Pinned
    if kind in (CUDA, CUDA_MANAGED):
        return StorageType.Device(number)
    rule = (
        f"is on a device of DLPack type {kind}; known are CPU (1), CUDA (2, 13) and CUDA host (3)"
    )
    raise InvalidStorageConfig("owner", name, rule)
