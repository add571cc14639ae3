"""Storages: regions of bytes, in memory, on a device, on disk, or the caller's own."""

from kvbm.storage.advice import (
    calculate_storage_requirements,
    get_optimal_storage,
    validate_storage,
)
from kvbm.storage.base import (
    RegistrationHandle,
    Storage,
    StorageAllocator,
    StorageKind,
    StorageStatistics,
    StorageType,
)
from kvbm.storage.borrowed import BorrowedStorage
from kvbm.storage.device import DeviceAllocator, EmulatedDeviceStorage
from kvbm.storage.disk import DiskCalls, DiskStorage
from kvbm.storage.disk_allocator import DiskAllocator
from kvbm.storage.disk_engine import DiskEngine, DiskRequest, EngineStatistics, wait
from kvbm.storage.null import (
    NullAllocator,
    NullDeviceAllocator,
    NullDeviceStorage,
    NullStorage,
)
from kvbm.storage.pages import PAGE, pages
from kvbm.storage.pinned import PinnedAllocator, PinnedStorage
from kvbm.storage.system import SystemAllocator, SystemStorage

__all__ = [
    "PAGE",
    "BorrowedStorage",
    "DeviceAllocator",
    "DiskAllocator",
    "DiskCalls",
    "DiskEngine",
    "DiskRequest",
    "DiskStorage",
    "EmulatedDeviceStorage",
    "EngineStatistics",
    "NullAllocator",
    "NullDeviceAllocator",
    "NullDeviceStorage",
    "NullStorage",
    "PinnedAllocator",
    "PinnedStorage",
    "RegistrationHandle",
    "Storage",
    "StorageAllocator",
    "StorageKind",
    "StorageStatistics",
    "StorageType",
    "SystemAllocator",
    "SystemStorage",
    "calculate_storage_requirements",
    "get_optimal_storage",
    "pages",
    "validate_storage",
    "wait",
]
