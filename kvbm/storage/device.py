"""Device storage: memory of an accelerator, or host memory that stands in for it.

What this is
    `DeviceAllocator()` needs CUDA and says what is missing where it is not there.
    `DeviceAllocator.emulated()` works everywhere: host memory that calls itself Device,
    for learning, for tests, and for engines that compute on the CPU.

Interface, as rules of use
    * An engine's own tensors need no allocator: `BorrowedStorage(tensor)`.
    * An emulated storage has the type Device(id), and its DLPack device is the CPU, because
      that is where readers find the bytes.
    * `make` is where memory of a real device comes in: a function of (size, device id).

Clauses: KV-CAP-01, KV-TIR-09
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Self, final

from kvbm.errors import CudaUnavailable
from kvbm.storage.base import Storage, StorageType, checked_integer, checked_size
from kvbm.storage.pages import pages
from kvbm.storage.region import Region


@final
class EmulatedDeviceStorage(Region):
    """`size` bytes of host memory in the place of a device's.

    Examples
    --------
    >>> storage = DeviceAllocator.emulated(1).allocate(4096)
    >>> storage.storage_type, storage.device()
    (Device(1), (1, 0))
    """

    def __init__(self, size: int, device_id: int = 0) -> None:
        size = checked_size(size)
        kind = StorageType.Device(checked_integer("device_id", device_id, 0))
        super().__init__(kind, size, pages(size, repr(kind)))


@final
class DeviceAllocator:
    """Makes storages of one device.

    Parameters
    ----------
    device_id
        Which device, from 0.
    make
        Function of (size in bytes, device id) that gives a storage of type Device(id).

    Raises
    ------
    CudaUnavailable
        There is no way to the device's memory. It says what is missing and what to use.
    """

    def __init__(
        self, device_id: int = 0, *, make: Callable[[int, int], Storage] | None = None
    ) -> None:
        self.device_id = checked_integer("device_id", device_id, 0)
        if make is None:
            raise CudaUnavailable(device_id, _missing())
        self._make = make

    @classmethod
    def emulated(cls, device_id: int = 0) -> Self:
        """Give an allocator of host memory that stands in for a device."""
        return cls(device_id, make=EmulatedDeviceStorage)

    def allocate(self, size: int) -> Storage:
        """Give `size` bytes of the device, or raise a `StorageError`."""
        return self._make(checked_size(size), self.device_id)


def _missing() -> str:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"no NVIDIA driver can be loaded ({error})"
    return "a driver is there, but no allocator for it was passed as `make`"
